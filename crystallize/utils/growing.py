"""Lists and arrays that grow as values arrive, nearly always in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from array import array


def put(values: list[Any] | array[int] | bytearray, position: int, value: Any, filler: Any) -> None:
    """Put a value at a position of an array that grows; new positions before it get the filler."""
    length = len(values)
    if position == length:
        values.append(value)
    elif position < length:
        values[position] = value
    else:
        values.extend([filler] * (position - length))
        values.append(value)
