"""Lifecycle plugins and execution strategies: found, checked, called.

:mod:`crystallize.plugins.plugins` is the documented face.
"""
