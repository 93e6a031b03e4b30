"""Outcomes as they come, in any order, and the result that they make."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.results.cache_report import CacheReport
from crystallize.results.columns import Column, in_order_of_recording
from crystallize.results.condition import ConditionMetrics
from crystallize.results.provenance import Provenance, TraceStore
from crystallize.results.result import ExperimentMetrics, Result
from crystallize.store.layout import BASELINE
from crystallize.utils.growing import put

if TYPE_CHECKING:
    from crystallize.store.layout import ArtifactEntry
    from crystallize.store.outcome import CacheNote, Outcome, OutcomeError

_NO_SEED = -1


class Collected:
    """What has arrived of one condition.

    Parameters
    ----------
    name : str
        The condition.
    coordinates : mapping, optional
        The level of each factor, if it is a cell of a design.
    """

    def __init__(self, name: str, coordinates: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.coordinates = coordinates
        self.columns: dict[str, Column] = {}
        self.tags: dict[str, dict[int, list[Mapping[str, Any] | None]]] = {}
        self.seeds = _Seeds()
        self.traces = TraceStore()
        self.errors: dict[int, OutcomeError] = {}
        self.artifacts: dict[int, Sequence[ArtifactEntry]] = {}
        self.cache_notes: Counter[CacheNote] = Counter()

    def add(self, replicate: int, outcome: Outcome) -> None:
        """Take its outcome in one replicate."""
        columns, metrics = self.columns, outcome.metrics
        for place, (metric, values) in enumerate(metrics.items()):
            column = columns.get(metric)
            if column is None:
                column = columns[metric] = Column()
            column.put(replicate, values, place)
        self.seeds.put(replicate, outcome.seed)
        self.traces.put(replicate, outcome.trace)
        if outcome.tags:
            for metric, tagged in outcome.tags.items():
                self.tags.setdefault(metric, {})[replicate] = tagged
        if outcome.error is not None:
            self.errors[replicate] = outcome.error
        if outcome.artifacts:
            self.artifacts[replicate] = outcome.artifacts
        if outcome.cache:
            self.cache_notes.update(outcome.cache)

    def finish(self) -> ConditionMetrics:
        """Return what all replicates have given."""
        return ConditionMetrics(
            self.name,
            in_order_of_recording(self.columns),
            {metric: dict(sorted(tags.items())) for metric, tags in sorted(self.tags.items())},
            self.seeds,
            [error for _, error in sorted(self.errors.items())],
            coordinates=self.coordinates,
        )


def make_result(
    conditions: Mapping[str, Collected],
    *,
    experiment: str,
    replicates: int,
    master_seed: int,
    steps: Iterable[tuple[str, dict[str, Any]]],
) -> Result:
    """Return the result of a run, which depends on the outcomes and not on the order in which they came.

    Parameters
    ----------
    conditions : mapping of str to Collected
        What was collected, in the order of the conditions.
    experiment : str
        Name of the experiment, or its id.
    replicates : int
        How many replicates the run has.
    master_seed : int
        What its random streams derive from.
    steps : iterable of (str, dict)
        Name and parameters of each step of the pipeline.
    """
    artifacts = [
        entry
        for replicate in sorted({replicate for each in conditions.values() for replicate in each.artifacts})
        for each in conditions.values()
        for entry in each.artifacts.get(replicate, ())
    ]
    order = {name: place for place, name in enumerate(conditions)}
    errors = sorted(
        (error for each in conditions.values() for error in each.errors.values()),
        key=lambda error: (error.replicate, order[error.condition]),
    )
    baseline = conditions.get(BASELINE) or Collected(BASELINE)  # apply may run a treatment alone
    treatments = {name: each.finish() for name, each in conditions.items() if name != BASELINE}
    provenance = Provenance(
        list(steps),
        {name: (each.traces, each.seeds, each.errors) for name, each in conditions.items()},
        replicates,
    )
    return Result(
        experiment=experiment,
        replicates=replicates,
        master_seed=master_seed,
        metrics=ExperimentMetrics(baseline.finish(), treatments),
        errors=errors,
        artifacts=artifacts,
        provenance=provenance,
        cache=CacheReport({name: each.cache_notes for name, each in conditions.items()}),
    )


class _Seeds(Sequence[int | None]):
    """The seed of each replicate, eight bytes each unless one does not fit."""

    __slots__ = ("_large", "_seeds")

    def __init__(self) -> None:
        self._seeds = array("q")
        self._large: dict[int, Any] = {}

    def put(self, replicate: int, seed: Any) -> None:
        fits = type(seed) is int and 0 <= seed < 2**63
        put(self._seeds, replicate, seed if fits else _NO_SEED, _NO_SEED)
        if not fits and seed is not None:
            self._large[replicate] = seed

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, replicate: Any) -> Any:
        if isinstance(replicate, slice):
            return [self[position] for position in range(*replicate.indices(len(self)))]
        seed = self._seeds[replicate]
        return self._large.get(replicate) if seed == _NO_SEED else seed
