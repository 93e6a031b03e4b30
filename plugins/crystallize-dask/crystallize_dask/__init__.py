"""Crystallize on Dask: ``execution="dask"``."""

from crystallize_dask.strategy import DaskExecution

__all__ = ["DaskExecution"]
