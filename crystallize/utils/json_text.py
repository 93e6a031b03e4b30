"""Python values as JSON text, and back; :mod:`crystallize.utils.exact_json` is for the very same values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from math import isfinite
from typing import Any

from crystallize.utils.failures import safe_repr

_LONGEST_INT = 10_000  # bits; Python refuses to write much longer ones in decimal
_DEEPEST = 100


def to_json(
    value: Any,
    *,
    strict: bool = False,
    indent: int | None = None,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Return `value` as JSON text in ASCII.

    Floats have all their digits. A key that is no text becomes one, and an integer of more than some 3,000 digits
    its hexadecimal text. What stands inside of itself, or is nested too deep, becomes ``"..."``.

    Parameters
    ----------
    value : object
        The value.
    strict : bool, default False
        Whether it is for readers of any kind: NaN and the infinities, which JSON lacks, become null. If not, they
        are written as ``NaN`` and ``Infinity``, which :func:`parse_json` and Python's own reader give back.
    indent : int, optional
        How far each level is indented; everything stands in one line, if not given.
    default : callable, optional
        Gives what is written in place of a value that JSON has no form for. By default arrays and sets become
        lists, and all else its ``repr``.
    """
    default = default or _json_default
    encoder = _encoder(default, strict, indent)
    try:
        return encoder.encode(value)
    except (TypeError, ValueError, RecursionError):  # an odd key, a cycle, a number that is too long or none
        return encoder.encode(_made_of_json_types(value, default, strict, ()))


def parse_json(content: bytes | str) -> Any:
    """Return the value that JSON text stands for.

    Raises
    ------
    ValueError
        If it is not JSON in UTF-8, or nested deeper than can be read.
    """
    try:
        return json.loads(content.decode() if isinstance(content, bytes) else content)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def is_same_json(one: Any, other: Any) -> bool:
    """Tell whether two values made of JSON's types are the same: 1, 1.0 and true are equal, but not the same."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same_json, one, other))
    return type(one) is type(other) and repr(one) == repr(other)  # which tells 0.0 from -0.0


@lru_cache(maxsize=8)
def _encoder(default: Callable[[Any], Any], strict: bool, indent: int | None) -> json.JSONEncoder:
    # json.dumps would make one for each value
    return json.JSONEncoder(default=default, allow_nan=not strict, indent=indent)


def _json_default(value: Any) -> Any:
    with suppress(Exception):  # a quantity with a unit has no list, a file of arrays that is closed no items
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, set | frozenset):
            return sorted(value, key=repr)
        if hasattr(value, "tolist"):  # NumPy's arrays and scalars
            return value.tolist()
    return safe_repr(value)


def _made_of_json_types(
    value: Any, default: Callable[[Any], Any], strict: bool, inside: tuple[int, ...]
) -> Any:
    """Return `value` made of nothing but JSON's types; `inside` are the containers that hold it."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return None if strict and not isfinite(value) else value
    if isinstance(value, int):
        return value if value.bit_length() < _LONGEST_INT else hex(value)
    if id(value) in inside or len(inside) > _DEEPEST:
        return "..."
    deeper = (*inside, id(value))
    if isinstance(value, dict):
        return {_key(key): _made_of_json_types(item, default, strict, deeper) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_made_of_json_types(item, default, strict, deeper) for item in value]
    return _made_of_json_types(default(value), default, strict, deeper)


def _key(key: Any) -> Any:
    """Return a key as json itself would write it, or else as text."""
    if hasattr(key, "tolist"):  # a NumPy number is the same key as Python's
        key = key.tolist()
    if isinstance(key, float):
        return key if isfinite(key) else json.dumps(key)
    if isinstance(key, int):
        return key if key.bit_length() < _LONGEST_INT else hex(key)
    return key if key is None or isinstance(key, str) else safe_repr(key)
