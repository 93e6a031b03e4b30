"""Graphs of experiments, whose edges are artifacts."""
