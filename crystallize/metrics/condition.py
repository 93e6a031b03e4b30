"""What one condition gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from crystallize.errors import MissingMetricError
from crystallize.utils.wording import name_hint

if TYPE_CHECKING:
    from crystallize.metrics.columns import Column
    from crystallize.store.outcome import OutcomeError

NAN, NOT_BOTH, NO_CLUSTER = "NaN", "not recorded by both", "without a cluster in common"
"""Why a replicate that did not fail is no pair."""


class ConditionMetrics:
    """What one condition gave.

    Attributes
    ----------
    name : str
        ``"baseline"`` or the treatment's name.
    columns : dict of str to Column
        The values of each metric, compact.
    tags : dict of str to dict
        For metrics recorded with tags: for each replicate the tags of its values.
    errors : list of OutcomeError
        The failed outcomes, in replicate order.
    coordinates : dict of str to object
        The level of each factor, if the condition is a cell of a design; else empty. What is no plain data is a text.
    dropped_at : int or None
        If a stopping rule has dropped it, the first replicate that it has no part in.
    """

    def __init__(
        self,
        name: str,
        columns: dict[str, Column],
        tags: dict[str, dict[int, list[Mapping[str, Any] | None]]],
        seeds: Sequence[int | None],
        errors: list[OutcomeError],
        *,
        coordinates: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.columns = columns
        self.tags = tags
        self.errors = errors
        self.coordinates = dict(coordinates or {})
        self.dropped_at: int | None = None
        self._seeds = seeds

    @property
    def seeds(self) -> list[int | None]:
        """The ``seed_used`` of each replicate."""
        return list(self._seeds)

    def beside(self, treatment: ConditionMetrics) -> ConditionMetrics:
        """Return what a treatment is compared with: all of this, or the replicates before a rule dropped that one."""
        end = treatment.dropped_at
        if end is None:
            return self
        columns = {metric: column.before(end) for metric, column in self.columns.items()}
        tags = {
            metric: {replicate: each for replicate, each in tagged.items() if replicate < end}
            for metric, tagged in self.tags.items()
        }
        return ConditionMetrics(
            self.name,
            {metric: column for metric, column in columns.items() if len(column)},
            {metric: tagged for metric, tagged in tags.items() if tagged},
            self._seeds[:end],
            [error for error in self.errors if error.replicate < end],
            coordinates=self.coordinates,
        )

    @cached_property
    def metrics(self) -> dict[str, list[Any]]:
        """All values of each metric, flat, in replicate order."""
        return {metric: column.values() for metric, column in self.columns.items()}

    def __repr__(self) -> str:
        return f"ConditionMetrics({self.name!r}, metrics={list(self.columns)})"


def recorded_metrics(conditions: Iterable[ConditionMetrics]) -> list[str]:
    """Return the metrics that any condition recorded, in the order of recording."""
    return list(dict.fromkeys(metric for condition in conditions for metric in condition.columns))


def check_recorded(metric: str, recorded: Collection[str]) -> None:
    """Raise MissingMetricError if a metric that is asked for is not among those that were recorded."""
    if metric not in recorded:
        raise MissingMetricError(
            f"no condition recorded metric {metric!r}", hint=name_hint(metric, "Recorded were", recorded)
        )


def count_dropped(
    conditions: Iterable[ConditionMetrics], with_nan: Iterable[int], of_some: Iterable[int]
) -> dict[str, int]:
    """Count the replicates that cannot be compared, by what is the matter with them.

    Parameters
    ----------
    conditions : iterable of ConditionMetrics
        Those that are compared, mostly the baseline and a treatment; of two failures that of the earlier one counts.
    with_nan : iterable of int
        The replicates that recorded NaN under one of them.
    of_some : iterable of int
        The replicates that recorded what is compared under some of them only.
    """
    failures = [error for condition in conditions for error in condition.errors]
    reasons = (
        dict.fromkeys(of_some, NOT_BOTH)
        | dict.fromkeys(with_nan, NAN)
        | {error.replicate: error.status for error in reversed(failures)}
    )
    return dict(Counter(reasons[replicate] for replicate in sorted(reasons)))
