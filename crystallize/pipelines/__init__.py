"""Pipelines: the steps that every outcome's data goes through."""
