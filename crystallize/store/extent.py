"""Which outcomes of a journal count where a stopping rule has ended the run, or dropped conditions from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple


def takes_part(condition: str, replicate: int, dropped: Mapping[str, int]) -> bool:
    """Tell whether a condition has a part in a replicate.

    Parameters
    ----------
    dropped : mapping of str to int
        For each condition that a rule has dropped, the first replicate that it has no part in.
    """
    return replicate < dropped.get(condition, replicate + 1)


class Extent(NamedTuple):
    """How far a run goes that a rule watches: what was in flight when it decided is in the journal, and does not count.

    Attributes
    ----------
    replicates : int or None
        How many replicates count; None if all do, by now.
    dropped : mapping of str to int
        For each condition that the rule dropped, the first replicate that it has no part in.
    """

    replicates: int | None = None
    dropped: Mapping[str, int] = {}

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Extent:
        """Return the extent of the run that has these metadata; of one that no rule watches, everything counts."""
        stopping = metadata.get("stopping")
        if not isinstance(stopping, Mapping):
            return cls()
        replicates, dropped = stopping.get("replicates"), stopping.get("dropped")
        return cls(
            replicates if type(replicates) is int else None, dropped if isinstance(dropped, Mapping) else {}
        )

    def includes(self, replicate: int, condition: str) -> bool:
        """Tell whether the outcome of a condition in a replicate counts."""
        return (self.replicates is None or replicate < self.replicates) and (
            not self.dropped or takes_part(condition, replicate, self.dropped)
        )

    def count_owed(self, replicate: int, conditions: Collection[str]) -> int:
        """Return how many of the conditions have a part in a replicate."""
        if not self.dropped:
            return len(conditions)
        return sum(takes_part(name, replicate, self.dropped) for name in conditions)
