"""Ranges that a design chooses levels from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.utils.checks import check_count
from crystallize.utils.sharing import to_python

_DIGITS = 6  # of a level, relative to the range: more would make names long and no design better


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, both included.

    Attributes
    ----------
    low, high : float or int
        The ends.
    scale : {"linear", "log", "integers"}
        Whether equal differences or equal ratios are equally far apart, or only whole numbers are meant.
    """

    low: float
    high: float
    scale: Literal["linear", "log", "integers"]

    def at(self, part: float) -> float | int:
        """Return the level at a part of the way from `low` (0) to `high` (1), to six digits of the range."""
        if part in (0, 1):
            return self.high if part else self.low
        if self.scale == "integers":  # each has an equal share of the way
            return min(int(self.low + part * (self.high - self.low + 1)), int(self.high))
        if self.scale == "linear":
            level, unit = self.low + part * (self.high - self.low), self.high - self.low
        else:
            level = self.low * (self.high / self.low) ** part
            unit = level * min(1.0, math.log(self.high / self.low))
        return min(max(round(level, _DIGITS - 1 - math.floor(math.log10(unit))), self.low), self.high)


def linear(low: float, high: float) -> Range:
    """Return the range of all numbers from `low` to `high`, for :func:`design`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If the ends are no finite numbers, or not in this order.
    """
    low, high = _ends(low, high)
    return Range(float(low), float(high), "linear")


def log(low: float, high: float) -> Range:
    """Return the range of all numbers from `low` to `high` on a logarithmic scale, for :func:`design`.

    From 0.001 to 0.1, half of the way is 0.01.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If the ends are no finite numbers above zero, or not in this order.
    """
    ends = _ends(low, high)
    if ends[0] <= 0:
        raise InvalidValueError(f"a logarithmic range is above zero, got {low!r} to {high!r}")
    return Range(float(ends[0]), float(ends[1]), "log")


def integers(low: int, high: int) -> Range:
    """Return the range of the whole numbers from `low` to `high`, both included, for :func:`design`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If the ends are no whole numbers, or not in this order.
    """
    for end in (low, high):
        check_count("the end of a range of integers", end, least=-(10**15))
    return Range(*_ends(int(low), int(high)), "integers")


def _ends(low: Any, high: Any) -> tuple[float, float]:
    ends = to_python(low), to_python(high)
    for end in ends:
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise InvalidTypeError(f"a range goes from a number to a number, got {low!r} to {high!r}")
        if not math.isfinite(end):
            raise InvalidValueError(f"a range has finite ends, got {low!r} to {high!r}")
    if not ends[0] < ends[1]:
        raise InvalidValueError(
            f"a range goes from the smaller number to the larger, got {low!r} to {high!r}"
        )
    return ends
