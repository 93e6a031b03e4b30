"""What a value can be said to consist of."""

from __future__ import annotations

import copyreg
import functools
import gc
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from struct import Struct
from types import FunctionType
from typing import Any, NamedTuple

from crystallize.utils.shared_generators import shared_generator

ROWS_AT_A_TIME = 1 << 16
"""How many rows of a table are copied at a time where they cannot be read in place."""


class Chunks(NamedTuple):
    """Bytes that do not lie in one piece: they count as if they were joined, and never are.

    Parameters
    ----------
    pieces : iterable of bytes-like
        Each is read before the next one is asked for.
    """

    pieces: Iterable[Any]


class StandsFor(NamedTuple):
    """Another value, which has the very same content and counts in place of the one that was given.

    Parameters
    ----------
    value : object
        For example the plain array of one that lies in a file.
    """

    value: Any


class Reduced(NamedTuple):
    """What pickle would store of an object, part by part.

    Pickle's own bytes will not do: they depend on the order of sets, and on which parts are one object.
    """

    function: Any
    arguments: Any = ()
    state: Any = None
    items: list[Any] = []  # noqa: RUF012 - nobody writes to it
    pairs: dict[Any, Any] = {}  # noqa: RUF012
    setter: Any = None
    is_ordered: bool = False


def _held(value: Any) -> list[Any]:
    """Return what a compiled object calls."""
    return [each for each in gc.get_referents(value) if callable(each) and not isinstance(each, type)]


_REDUCERS: dict[type, Any] = {
    Struct: lambda value: (Struct, (value.format,)),
    type(functools.cmp_to_key(max)): lambda value: (functools.cmp_to_key, tuple(_held(value))),
}
"""For types that pickle refuses, though all that they are made of can be found."""


def reduced(value: Any) -> Reduced:
    """Return what pickle would store of an object, or raise what pickle would."""
    kind, shared = type(value), shared_generator(value)
    if shared is not None:  # its state is that of the process
        return Reduced(shared)
    reducer = _REDUCERS.get(kind) or copyreg.dispatch_table.get(kind)
    found = value.__reduce_ex__(4) if reducer is None else reducer(value)
    if isinstance(found, str):  # the name of the only one of its kind, or of a function that was wrapped
        wrapped = _held(value) if kind.__name__ == "ufunc" else getattr(value, "__wrapped__", None)
        return Reduced(found, getattr(value, "__module__", None), wrapped)
    function, arguments, state, items, pairs, setter = (*found, None, None, None, None)[:6]
    if isinstance(value, set | frozenset):
        arguments = (frozenset(value),)  # a list in pickle, in any order
    return Reduced(
        function,
        arguments,
        state,
        list(items or ()),
        dict(pairs or ()),
        setter,
        isinstance(value, OrderedDict),
    )


def closure_of(function: FunctionType) -> dict[str, Any]:
    """Return the values that a function closes over, by name; not those that nothing has assigned yet."""
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            values[name] = cell.cell_contents
    return values
