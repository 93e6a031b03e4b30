"""Whether an argument, or a variable of the environment, is what it has to be."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from operator import index
from typing import Any, TypeVar

from crystallize.errors import InvalidTypeError, InvalidValueError

_Number = TypeVar("_Number", int, float)


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


def check_share(name: str, value: Any) -> None:
    """Refuse a `value` that is no number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{name} is a number between 0 and 1, got {value!r}")
    if not 0 < value < 1:
        raise InvalidValueError(f"{name} lies between 0 and 1, got {value!r}")


def check_size(name: str, value: Any) -> None:
    """Refuse a `value` that is no finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{name} is a number above 0, got {value!r}")
    if not 0 < value < math.inf:
        raise InvalidValueError(f"{name} is above 0, in the metric's unit, got {value!r}")


def check_amount(name: str, value: Any) -> float:
    """Return `value` if it is a finite number of 0 or more; raise InvalidTypeError or InvalidValueError if not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{name} is a number, got {value!r}")
    if not 0 <= value < math.inf:
        raise InvalidValueError(f"{name} is a number of 0 or more, got {value!r}")
    return float(value)


def number_in_environment(variable: str, kind: Callable[[str], _Number], *, least: int = 0) -> _Number | None:
    """Return the number that a variable of the environment holds; None if it is not set or empty.

    Raises
    ------
    InvalidValueError
        If it is none, not finite, or below `least`.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    wanted = "a whole number" if kind is int else "a number"
    try:
        number = kind(text)
    except ValueError:
        pass
    else:
        if least <= number < math.inf:
            return number
        wanted += f" of at least {least}"
    raise InvalidValueError(
        f"{variable} is {wanted}, got {text!r}", "the environment", f"Set it right, or unset {variable}"
    )
