"""Numbers as text: with how many decimals, and below each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_DIGITS = 3  # significant ones, of the spread: more would be noise
_LARGEST = 1e9  # a number from here on is not written out


def choose_decimals(spreads: Iterable[float | None], values: Iterable[float | None]) -> int | None:
    """Return how many decimals show the spreads with some digits; None if decimals would not be readable.

    Without a spread the values decide.
    """
    known = [abs(x) for x in values if x is not None and math.isfinite(x)]
    largest = max(known, default=0.0)
    sizes = [abs(x) for x in spreads if x and math.isfinite(x)]
    size = max(sizes, default=largest)
    if size == 0 or (not sizes and all(x.is_integer() for x in known)):
        return 0 if largest < _LARGEST else None
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(size) + 1e-12))
    return decimals if decimals <= 6 and largest < _LARGEST else None


def decimals_of_each(
    spreads: Sequence[float | None], values: Sequence[float | None], digits: int = 2
) -> list[int | None]:
    """Return how many decimals show each value of a column: for most the same, more where they would hide it.

    Beside a treatment that went astray by a million, a difference of 0.18 is not nothing: so many digits of its own
    spread stay.
    """
    common = choose_decimals(spreads, values)
    if common is None:
        return [None] * len(values)
    found: list[int | None] = []
    for spread, value in zip(spreads, values, strict=True):
        own = choose_decimals([spread], [value])
        is_hidden = own is None and value and round(value, common) == 0
        found.append(None if is_hidden else max(common, (own or 0) - _DIGITS + digits))
    return found


def format_number(value: float | None, decimals: int | None, *, sign: str = "") -> str:
    """Return a number with this many decimals, or in scientific notation if they are None; None is no text."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return format(value, "" if math.isnan(value) else sign)
    return format(value, f"{sign}.{_DIGITS - 1}e" if decimals is None else f"{sign}.{decimals}f")


def align_points(cells: Sequence[str]) -> list[str]:
    """Pad cells to one width: decimal points stand below each other, words and powers of ten end on the right."""
    is_word = [not cell[-1:].isdigit() or "e" in cell for cell in cells]
    after = [
        0 if word or "." not in cell else len(cell) - cell.index(".")
        for cell, word in zip(cells, is_word, strict=True)
    ]
    most = max(after, default=0)
    filled = [
        cell if word else cell + " " * (most - own)
        for cell, own, word in zip(cells, after, is_word, strict=True)
    ]
    width = max(map(len, filled), default=0)
    return [cell.rjust(width) for cell in filled]
