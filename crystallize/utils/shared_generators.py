"""The random generators that a whole process shares: what draws from them does so in the process that it is in.

Functions such as ``numpy.random.normal`` are methods of these generators, and distributions of SciPy hold one. By
themselves pickle and deepcopy make a copy, which nobody seeds, and which gives the same numbers again wherever it is
made anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from importlib import import_module
from typing import Any

from crystallize.utils.imports import imported

_NUMPY = "numpy.random"
_KINDS = frozenset({"Random", "RandomState"})
_ANY_KINDS = _KINDS | {"Generator"}
_LIBRARIES = frozenset({"random", "numpy", "torch"})


def shared_generator(value: Any) -> str | None:
    """Return the module whose functions draw from this generator; None if it is none that a process shares."""
    if type(value).__name__ not in _KINDS:  # most are not, and this is asked of every object
        return None
    return next((module for module in _modules() if value is _of(module)), None)


def is_own_generator(value: Any) -> bool:
    """Tell whether `value` is a generator of ``random``, NumPy or PyTorch that is none that a process shares."""
    kind = type(value)
    is_generator = kind.__name__ in _ANY_KINDS and kind.__module__.partition(".")[0] in _LIBRARIES
    return is_generator and shared_generator(value) is None


def deep_copy(value: Any) -> Any:
    """Return a copy of `value`, of which those generators are no part."""
    return deepcopy(value, {id(shared): shared for shared in map(_of, _modules())})


def generator_reducers() -> dict[type, Callable[[Any], Any]]:
    """Return how to pickle generators, by type, as ``copyreg`` has it."""
    numpy = imported(_NUMPY)
    return {random.Random: _reduce} | ({} if numpy is None else {numpy.RandomState: _reduce})


def _reduce(generator: Any) -> Any:
    module = shared_generator(generator)
    return generator.__reduce_ex__(5) if module is None else (_of, (module,))


def _modules() -> tuple[str, ...]:
    return ("random",) if imported(_NUMPY) is None else ("random", _NUMPY)


def _of(module: str) -> Any:
    return import_module(module).random.__self__
