"""Experiments: their definition, their runs and their results."""
