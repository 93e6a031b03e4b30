"""What a hasher is."""

from __future__ import annotations

from typing import Any, Protocol


class Hasher(Protocol):
    """A function of a value that returns what this value consists of.

    What it returns is hashed in place of the value, beside the value's class: numbers, texts, arrays, objects of other
    types, in any containers. It returns the same for values that are to count as the same, in every process: nothing
    that depends on where a value lies in memory, on how it was made, or on the order of a set.

    Bytes that do not lie in one piece are returned as :class:`~crystallize.hashing.Chunks`. If the value has the same
    content as one of another class, a :class:`~crystallize.hashing.StandsFor` of that one.
    ``NotImplemented`` says that this hasher does not know the type: then pickle is asked.
    """

    def __call__(self, value: Any, /) -> Any:
        """Return what the value consists of; raise any exception if nobody can know that."""
