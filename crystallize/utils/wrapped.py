"""Pickling of functions that a decorator hides behind their own name.

``@pipeline_step`` leaves a factory under the function's name, so pickle cannot find the function itself by
name, and would send it to workers by value, cut off from its module's state. It is found again as the
``__wrapped__`` of whatever the name now stands for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple


class WrappedReference(NamedTuple):
    """Where a wrapped function is found by import."""

    module: str
    qualname: str


def portable(fn: Callable[..., Any]) -> Callable[..., Any] | WrappedReference:
    """Return what to pickle for `fn`: a reference if it can be imported as somebody's ``__wrapped__``."""
    module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", "<locals>")
    if module in (None, "__main__") or "<" in qualname or _sent_by_value(str(module)):
        return fn
    try:
        wrapper = attrgetter(qualname)(sys.modules[str(module)])
    except (KeyError, AttributeError):
        return fn
    return WrappedReference(str(module), qualname) if getattr(wrapper, "__wrapped__", None) is fn else fn


def restore(pickled: Callable[..., Any] | WrappedReference) -> Callable[..., Any]:
    """Return the function that :func:`portable` stood for."""
    if isinstance(pickled, WrappedReference):
        wrapper = attrgetter(pickled.qualname)(importlib.import_module(pickled.module))
        wrapped: Callable[..., Any] = wrapper.__wrapped__
        return wrapped
    return pickled


def _sent_by_value(module: str) -> bool:
    """Tell whether cloudpickle was told to send this module's functions by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and any(
        module == name or module.startswith(f"{name}.")
        for name in cloudpickle.list_registry_pickle_by_value()
    )
