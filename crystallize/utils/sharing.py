"""Values that are used more than once, in a form that no use of them can change for the next one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from crystallize.utils.imports import imported
from crystallize.utils.shared_generators import deep_copy

SCALARS = frozenset({int, float, bool, str, type(None)})


def protect(value: Any) -> Any:
    """Return `value` in a form whose change nobody else sees.

    Lists, dicts and sets come as copies, NumPy arrays as read-only views without a copy, data frames as copies that
    share their memory until they are written to, anything else by reference.
    A value that nobody can change comes itself.
    """
    return _remade(value, _as_view)


def snapshot(value: Any) -> Any:
    """Return `value` as it is now: containers and arrays as copies; a NumPy scalar becomes Python's."""
    return _remade(value, _as_copy)


def to_python(value: Any) -> Any:
    """Turn a NumPy scalar, or array without dimensions, into Python's number, a masked one into NaN; leave the rest.

    A quantity with a unit is no number: its item is a quantity again.
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        found = math.nan if getattr(value, "mask", False) else value.item()
        if getattr(found, "dtype", None) == "longdouble":  # of which NumPy gives one again
            return float(found)
        return value if type(found) is type(value) else found
    return value


def _remade(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return `value` with containers made anew, and anything else as `leaf` gives it."""
    kind = type(value)
    if kind in SCALARS:
        return value
    if kind is list:
        return [_remade(item, leaf) for item in value]
    if kind is dict:
        return {
            key if type(key) in SCALARS else _remade(key, leaf): _remade(item, leaf)
            for key, item in value.items()
        }
    if kind is tuple or (isinstance(value, tuple) and hasattr(kind, "_make")):
        items = [_remade(item, leaf) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return tuple(items) if kind is tuple else kind._make(items)
    if isinstance(value, list | dict | set | bytearray | deque):
        return deep_copy(value)
    return leaf(value)


def _as_view(value: Any) -> Any:
    numpy = imported("numpy")  # an array can only be here if somebody has imported NumPy
    if numpy is not None and isinstance(value, numpy.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    pandas, polars = imported("pandas"), imported("polars")
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        # Before version 3, what writes to a shallow copy writes to both.
        return value.copy(deep=int(pandas.__version__.partition(".")[0]) < 3)
    if polars is not None and isinstance(value, polars.DataFrame | polars.Series):
        return value.clone()
    return value


def _as_copy(value: Any) -> Any:
    number = to_python(value)
    if number is not value or getattr(value, "ndim", None) is None:
        return number
    try:
        return deep_copy(value)
    except Exception:  # PyTorch, for one, copies no tensor that belongs to a computation
        return value
