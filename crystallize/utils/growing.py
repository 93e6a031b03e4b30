"""Arrays that grow as values arrive, nearly always in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array


def put(numbers: array[int] | bytearray, position: int, value: int, filler: int) -> None:
    """Put a value at a position of an array that grows; new positions before it get the filler."""
    gap = position - len(numbers)
    if gap < 0:
        numbers[position] = value
        return
    if gap:
        numbers.extend([filler] * gap)
    numbers.append(value)
