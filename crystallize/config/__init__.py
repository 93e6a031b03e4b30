"""Experiments from folders: a config.yaml with the modules beside it."""
