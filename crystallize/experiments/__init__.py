"""Experiments: their definition and their runs."""
