"""What a result tells of a plan that was written down before the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

_SHORT = 16  # characters of a hash that tell one plan from another


class Preregistration(NamedTuple):
    """The plan that a run had, and where it departed from it.

    Attributes
    ----------
    digest : str
        The plan's hash, ``sha256:`` and 64 hexadecimal digits: what others can be shown before the run.
    locked : str
        When the plan was written, in UTC.
    departures : tuple of str
        What in the run is not as it was planned, a sentence each; empty if it kept to the plan.
    """

    digest: str
    locked: str
    departures: tuple[str, ...]

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Return what is stored of a run; None if it had no plan."""
        stored = metadata.get("preregistration")
        if not isinstance(stored, Mapping):
            return None
        departures = stored.get("departures")
        return cls(
            str(stored.get("digest")),
            str(stored.get("locked")),
            tuple(map(str, departures if isinstance(departures, list) else ())),
        )

    def lines(self) -> list[str]:
        """Return the lines that stand beside the numbers of the run."""
        plan = f"plan {self.digest.partition(':')[2][:_SHORT]}, locked {self.locked[:10]}"
        if not self.departures:
            return [f"Preregistered: {plan}"]
        return [f"Departs from its {plan}:", *(f"  - {each}" for each in self.departures)]
