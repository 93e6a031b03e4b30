"""How far values of any kind are from each other: the same to the last bit, close, or different."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from crystallize.utils.checks import check_amount
from crystallize.utils.failures import comparable_text


@dataclass(frozen=True)
class Tolerance:
    """How far a number may be from what it is compared with.

    Attributes
    ----------
    rtol : float
        The largest distance, as a fraction of the larger of the two numbers without their signs.
    atol : float
        The largest distance, in the number's unit.
    needs_both : bool
        Whether both limits hold; else it is enough to keep one of them.
    """

    rtol: float = 0.0
    atol: float = 0.0
    needs_both: bool = False

    @classmethod
    def of(cls, rtol: Any, atol: Any) -> Tolerance:
        """Return the tolerance that a user asks for.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            If one of the two is no finite number of 0 or more.
        """
        return cls(check_amount("rtol", rtol), check_amount("atol", atol))

    @property
    def is_exact(self) -> bool:
        """Whether every bit counts."""
        return not (self.rtol or self.atol)

    def allows(self, distance: Distance) -> bool:
        """Tell whether two numbers that are not identical may be as far from each other."""
        if self.is_exact:
            return False
        kept = distance.relative <= self.rtol, distance.absolute <= self.atol
        return all(kept) if self.needs_both else any(kept)


class Distance(NamedTuple):
    """How far two values are from each other: infinitely, if they are no numbers and not the same.

    Attributes
    ----------
    absolute : float
        In the values' unit.
    relative : float
        As a fraction of the larger of the two, without their signs.
    """

    absolute: float
    relative: float

    def or_farther(self, other: Distance) -> Distance:
        """Return the larger of both, in each respect."""
        return Distance(max(self.absolute, other.absolute), max(self.relative, other.relative))


SAME = Distance(0.0, 0.0)
INCOMPARABLE = Distance(math.inf, math.inf)


def leaves(value: Any) -> list[tuple[str, Any]]:
    """Return what a value is made of: each number or other scalar in it, with its place; and each container's type.

    >>> leaves({"a": [1.5]})
    [('', <class 'dict'>), ("['a']", <class 'list'>), ("['a'][0]", 1.5)]
    """
    found: list[tuple[str, Any]] = []
    _collect(value, "", found)
    return found


def _collect(value: Any, place: str, found: list[tuple[str, Any]]) -> None:
    kind = type(value)
    items: Any
    if kind is dict:
        items = (
            (f"[{key!r}]", item) for key, item in sorted(value.items(), key=lambda entry: repr(entry[0]))
        )
    elif kind is list or kind is tuple:
        items = ((f"[{number}]", item) for number, item in enumerate(value))
    elif kind is set or kind is frozenset:
        items = ((f"[{number}]", item) for number, item in enumerate(sorted(value, key=repr)))
    elif hasattr(value, "tolist"):  # an array
        found.append((place, (value.dtype.str, value.shape)))
        _collect(value.tolist(), place, found)
        return
    else:
        found.append((place, value))
        return
    found.append((place, kind))
    for inner, item in items:
        _collect(item, place + inner, found)


def is_identical(one: Any, other: Any) -> bool:
    """Tell whether two scalars are the same, of one type and to the last bit; NaN is the same as NaN.

    Addresses in the ``repr`` of an object do not count, nor where its folder is.
    """
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is float:
        return repr(one) == repr(other)
    if kind is str:
        return bool(one == other) or comparable_text(one) == comparable_text(other)
    return bool(one == other) or repr(one) == repr(other)


def distance(value: Any, others: Sequence[Any]) -> Distance | None:
    """Return how far a scalar is from the range that others span; None if it is identical to one of them."""
    if any(is_identical(value, other) for other in others):
        return None
    numbers = [other for other in others if _is_finite(other)]
    if not _is_finite(value) or not numbers:
        return INCOMPARABLE
    return _between(value, min(max(value, min(numbers)), max(numbers)))


def spread(values: Sequence[Any]) -> Distance:
    """Return how far scalars are from each other: the largest distance of two of them."""
    if all(is_identical(values[0], value) for value in values[1:]):
        return SAME
    if not all(map(_is_finite, values)):
        return INCOMPARABLE
    return _between(min(values), max(values))


def _is_finite(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _between(one: float, other: float) -> Distance:
    try:
        gap, largest = abs(one - other), max(abs(one), abs(other))
        return Distance(float(gap), float(gap / largest) if largest else 0.0)
    except OverflowError:  # an integer beyond all floats
        return INCOMPARABLE
