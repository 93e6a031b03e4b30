"""Loaders: named pairs of bytes on disk <-> Python object, and how one is looked up."""

from crystallize.loaders.base import Loader
from crystallize.loaders.lookup import get_loader, get_writer, loader_for

__all__ = ["Loader", "get_loader", "get_writer", "loader_for"]
