"""What the step cache did in a run, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from crystallize.utils.wording import counted, listed

if TYPE_CHECKING:
    from collections import Counter

    from crystallize.store.outcome import CacheNote

_MOST_REASONS = 5
NOTHING = "No step asked for the cache. @pipeline_step(cacheable=True) has a step's outputs kept"


class CacheReport:
    """How many outcomes of each step came from the cache, and why the others did not.

    Parameters
    ----------
    conditions : mapping of str to Counter
        For each condition, how often which note was taken.
    """

    def __init__(self, conditions: Mapping[str, Counter[CacheNote]]) -> None:
        self._conditions = conditions

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that asked for the cache, in the order in which they run."""
        return tuple(dict.fromkeys(note.step for counts in self._conditions.values() for note in counts))

    def count(self, what: str, step: str | None = None, condition: str | None = None) -> int:
        """Return how many outputs were a ``"hit"``, a ``"miss"`` or ``"uncached"``.

        Parameters
        ----------
        what : {"hit", "miss", "uncached"}
            What to count.
        step, condition : str, optional
            Count this one's only.
        """
        return sum(
            number
            for name, counts in self._conditions.items()
            for note, number in counts.items()
            if note.what == what and condition in (None, name) and step in (None, note.step)
        )

    def summary(self) -> str:
        """Return how many of all outputs came from the cache: ``6 of 8 outputs``; empty if no step was cached."""
        hits = self.count("hit")
        every = hits + self.count("miss")
        return f"{hits} of {counted(every, 'output')}" if every else ""

    def reasons(self, step: str, what: str = "miss") -> dict[str, dict[str, int]]:
        """Return why a step ran, the most frequent reason first, with the number of outputs by condition."""
        found: dict[str, dict[str, int]] = {}
        for name, counts in self._conditions.items():
            for note, number in counts.items():
                if (note.step, note.what) == (step, what):
                    by_condition = found.setdefault(note.why, {})
                    by_condition[name] = by_condition.get(name, 0) + number
        return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))

    def lines(self, step: str) -> list[str]:
        """Return what is told of one step: how many outputs came from the cache, and why others did not."""
        hits, misses = self.count("hit", step), self.count("miss", step)
        return [
            f"{step}: {counted(hits, 'output')} from the cache, {misses} made",
            *_told(self.reasons(step)),
            *(f"  not cached: {problem}" for problem in self.reasons(step, "uncached")),
        ]

    def __str__(self) -> str:
        return "\n".join(line for step in self.steps for line in self.lines(step)) or NOTHING

    def __repr__(self) -> str:
        return f"<CacheReport of {counted(len(self.steps), 'step')}>"


def _told(reasons: dict[str, dict[str, int]]) -> Iterable[str]:
    for why, conditions in list(reasons.items())[:_MOST_REASONS]:
        yield f"  {sum(conditions.values())} since {why} ({listed(conditions)})"
    if len(reasons) > _MOST_REASONS:
        yield f"  and {len(reasons) - _MOST_REASONS} more reasons"
