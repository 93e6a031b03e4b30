"""Designs: treatments made from factors and their levels."""
