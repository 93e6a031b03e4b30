"""Results of a run that a stopping rule watches, in the order of their replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.statistics.stopping.rule import stopping_of
from crystallize.store.extent import takes_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.experiments.run import Run
    from crystallize.statistics.stopping.report import Stopping
    from crystallize.statistics.stopping.rule import StoppingRule
    from crystallize.store.outcome import ReplicateResult


class InOrder:
    """Shows a rule what arrives in any order, replicate by replicate, and holds back what is early.

    So the rule decides alike under every strategy, and so does what it drops: from the replicate after the one that
    decided it, a condition has no part in the run, whether or not somebody has run it meanwhile.

    Parameters
    ----------
    rule : StoppingRule
        The rule.
    run : Run
        The run under way; its `dropped` is kept up to date.

    Attributes
    ----------
    count : int
        How many replicates have had their turn: those from 0 on.
    is_over : bool
        Whether the rule has come to its end, or all replicates have had their turn. What is early then, and all that
        comes later, is left out.
    """

    def __init__(self, rule: StoppingRule, run: Run) -> None:
        self.count = 0
        self.is_over = False
        self._rule = rule
        self._watch = rule.begin(run.conditions)
        self._conditions = run.conditions
        self._dropped = run.dropped
        self._most = run.replicates
        self._early: dict[int, ReplicateResult] = {}

    def take(self, result: ReplicateResult) -> Iterator[ReplicateResult]:
        """Yield what counts of the replicates whose turn it is, now that `result` is there.

        Raises
        ------
        MissingMetricError, InvalidTypeError
            If the rule's metric is not recorded, or not a number.
        """
        early = self._early
        early[result.replicate] = result
        while not self.is_over and (found := early.pop(self.count, None)) is not None:
            found = self._what_counts(found)
            self._watch.see({each.condition: each.metrics for each in found.outcomes})
            self.count += 1
            self.is_over = self._watch.is_over or self.count == self._most
            if not self.is_over:  # after the last replicate there is nothing to drop a condition from
                for name in self._watch.dropped:
                    self._dropped.setdefault(name, self.count)
            yield found
        if self.is_over:
            early.clear()

    def held_back(self) -> Iterator[ReplicateResult]:
        """Yield what has not had its turn, if the run is broken off before the rule is over."""
        yield from (self._what_counts(result) for _, result in sorted(self._early.items()))

    def _what_counts(self, result: ReplicateResult) -> ReplicateResult:
        """Return a result without the conditions that the rule has dropped from it."""
        if not self._dropped:
            return result
        outcomes = (each for each in result.outcomes if self.counts(result.replicate, each.condition))
        return result._replace(outcomes=tuple(outcomes))

    def counts(self, replicate: int, condition: str) -> bool:
        """Tell whether a condition has a part in a replicate, as far as the rule has come."""
        return takes_part(condition, replicate, self._dropped)

    def owed_conditions(self, replicate: int) -> list[str]:
        """Return the conditions that a replicate needs, as far as the rule has come."""
        return [name for name in self._conditions if self.counts(replicate, name)]

    def stopping(self) -> Stopping:
        """Return what the rule saw, and why the run ended."""
        return stopping_of(self._rule, self._watch, self.count, self._dropped)
