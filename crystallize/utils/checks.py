"""Whether an argument is what it has to be."""

from __future__ import annotations

from operator import index
from typing import Any

from crystallize.errors import InvalidTypeError, InvalidValueError


def check_count(name: str, value: Any, *, least: int = 1, hint: str = "") -> int:
    """Return `value` if it is an int, of any kind and size, of at least `least`.

    Parameters
    ----------
    name : str
        What it is, for the message: ``"max_workers"``.
    value : object
        The argument. NumPy's integers are taken, bools are not.
    least : int, optional
        The smallest number allowed.
    hint : str, optional
        What to write instead.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it is not.
    """
    try:
        count = index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        raise InvalidTypeError(f"{name} is an int of at least {least}, got {value!r}", hint=hint)
    if count < least:
        raise InvalidValueError(f"{name} is at least {least}, got {count}", hint=hint)
    return count


def check_bool(name: str, value: Any) -> bool:
    """Return `value` if it is True or False; raise InvalidTypeError if not."""
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} is True or False, got {value!r}")
    return value
