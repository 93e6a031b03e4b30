"""Outcomes as they come, in any order, and the result that they make."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.metrics.columns import Column, in_order_of_recording
from crystallize.metrics.condition import ConditionMetrics
from crystallize.results.cache_report import CacheReport
from crystallize.results.provenance import Provenance, TraceStore
from crystallize.results.result import ExperimentMetrics, Result
from crystallize.store.layout import BASELINE
from crystallize.utils.growing import put

if TYPE_CHECKING:
    from crystallize.store.layout import ArtifactEntry
    from crystallize.store.outcome import CacheNote, Outcome, OutcomeError

T = TypeVar("T")

_NO_SEED = -1
_TOGETHER = 32
"""So many replicates are collated at once."""


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

    def extend(self, replicates: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        """Take its outcomes in these replicates, which are in order."""
        if replicates[-1] - replicates[0] == len(outcomes) - 1 and self._extend(replicates[0], outcomes):
            return
        for replicate, outcome in zip(replicates, outcomes, strict=True):
            self._extend(replicate, [outcome])

    def _extend(self, first: int, outcomes: Sequence[Outcome]) -> bool:
        """Take the outcomes of `first` and the replicates after it, if they all have the same metrics; else tell so."""
        _, seeds, metrics, tags, artifacts, traces, errors, _, _, _, _, _, notes = zip(*outcomes, strict=True)
        if len(set(map(len, metrics))) > 1:
            return False
        try:
            recorded = [(name, list(map(itemgetter(name), metrics))) for name in metrics[0]]
        except KeyError:
            return False
        for place, (name, values) in enumerate(recorded):
            column = self.columns.get(name)
            if column is None:
                column = self.columns[name] = Column()
            column.extend(first, values, place)
        self.seeds.extend(first, seeds)
        self.traces.extend(first, traces)
        if any(tags):
            for replicate, tagged in enumerate(tags, first):
                for name, each in tagged.items():
                    self.tags.setdefault(name, {})[replicate] = each
        self.artifacts.update(_present(artifacts, first))
        self.errors.update(_present(errors, first))
        if any(notes):
            self.cache_notes.update(chain.from_iterable(notes))
        return True

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


def _present(values: Sequence[T], first: int) -> dict[int, T]:
    """Return those that are not empty, by replicate."""
    return {replicate: value for replicate, value in enumerate(values, first) if value} if any(values) else {}


class Collection:
    """What has arrived of all conditions of a run, in any order.

    Parameters
    ----------
    conditions : iterable of str
        The conditions, the baseline first.
    coordinates : mapping
        The level of each factor, for those that are cells of a design.
    """

    def __init__(self, conditions: Iterable[str], coordinates: Mapping[str, Mapping[str, Any]]) -> None:
        self._conditions = {name: Collected(name, coordinates.get(name)) for name in conditions}
        self._latest: list[tuple[int, Sequence[Outcome]]] = []

    def add(self, replicate: int, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of one replicate, in the order of the conditions; some may be missing."""
        self._latest.append((replicate, outcomes))
        if len(self._latest) == _TOGETHER:
            self._collate()

    def _collate(self) -> None:
        """Sort the latest outcomes into columns, which takes a third of the time if many come together."""
        latest, self._latest = sorted(self._latest, key=itemgetter(0)), []
        replicates, rows = zip(*latest, strict=True)
        if set(map(len, rows)) == {len(self._conditions)}:
            for collected, column in zip(self._conditions.values(), zip(*rows, strict=True), strict=True):
                collected.extend(replicates, column)
            return
        for replicate, outcomes in latest:
            for outcome in outcomes:
                self._conditions[outcome.condition].extend((replicate,), (outcome,))

    def finish(self) -> dict[str, Collected]:
        """Return what all replicates have given, by condition."""
        if self._latest:
            self._collate()
        return self._conditions


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
    finished = {name: each.finish() for name, each in conditions.items()}
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
    baseline = finished.pop(BASELINE, None) or Collected(BASELINE).finish()  # apply may run a treatment alone
    provenance = Provenance(
        list(steps),
        {name: (each.traces, each.seeds, each.errors) for name, each in conditions.items()},
        replicates,
    )
    return Result(
        experiment=experiment,
        replicates=replicates,
        master_seed=master_seed,
        metrics=ExperimentMetrics(baseline, finished),
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

    def extend(self, first: int, seeds: Sequence[Any]) -> None:
        if (
            first == len(self._seeds)
            and set(map(type, seeds)) == {int}
            and min(seeds) >= 0
            and max(seeds) < 2**63
        ):
            self._seeds.fromlist(list(seeds))
            return
        for replicate, seed in enumerate(seeds, first):
            self.put(replicate, seed)

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, replicate: Any) -> Any:
        if isinstance(replicate, slice):
            return [self[position] for position in range(*replicate.indices(len(self)))]
        seed = self._seeds[replicate]
        return self._large.get(replicate) if seed == _NO_SEED else seed
