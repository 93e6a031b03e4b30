"""Which outcomes of a journal count where a stopping rule has ended the run."""

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
    """How far a run goes, if a rule has ended it: what was in flight then stands in the journal, and does not count.

    Attributes
    ----------
    replicates : int or None
        How many replicates count; None if all do.
    dropped : mapping of str to int
        For each condition that the rule dropped, the first replicate that it has no part in.
    """

    replicates: int | None = None
    dropped: Mapping[str, int] = {}

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Extent:
        """Return the extent of the run that has these metadata; of one that no rule has ended, everything counts."""
        stopping = metadata.get("stopping")
        if not isinstance(stopping, Mapping) or type(stopping.get("replicates")) is not int:
            return cls()
        dropped = stopping.get("dropped")
        return cls(stopping["replicates"], dropped if isinstance(dropped, Mapping) else {})

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
