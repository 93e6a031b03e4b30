"""Collating the outcomes of a run into its result."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.experiments.treatment import BASELINE
from crystallize.results.columns import Column, in_order_of_recording
from crystallize.results.condition import ConditionMetrics
from crystallize.results.provenance import Provenance, TraceStore
from crystallize.results.result import ExperimentMetrics, Result
from crystallize.utils.growing import put

if TYPE_CHECKING:
    from crystallize.hookspecs import RunningExperiment
    from crystallize.store.layout import ArtifactEntry
    from crystallize.store.outcome import Outcome, OutcomeError, ReplicateResult

_NO_SEED = -1


class ResultAggregator:
    """Takes the results of replicates in any order and makes the result of the run.

    What it gives depends on the results alone, not on the order of their arrival. To aggregate differently,
    subclass it and pass the class: ``Experiment(..., aggregator=MyAggregator)``.

    Parameters
    ----------
    experiment : RunningExperiment
        The experiment that is running: ``experiment.replicates`` and ``experiment.conditions`` are this run's.
    """

    def __init__(self, experiment: RunningExperiment) -> None:
        self.experiment = experiment
        self.conditions = {name: _Collected(name) for name in experiment.conditions}

    def add(self, result: ReplicateResult) -> None:
        """Take the result of one replicate."""
        for outcome in result.outcomes:
            self.conditions[outcome.condition].add(result.replicate, outcome)

    def finish(self) -> Result:
        """Make the result, once all replicates have been added."""
        experiment = self.experiment
        collected = self.conditions
        artifacts = [
            entry
            for replicate in sorted(
                {replicate for each in collected.values() for replicate in each.artifacts}
            )
            for each in collected.values()
            for entry in each.artifacts.get(replicate, ())
        ]
        errors = sorted(
            (error for each in collected.values() for error in each.errors.values()),
            key=lambda error: (error.replicate, tuple(collected).index(error.condition)),
        )
        baseline = collected.get(BASELINE) or _Collected(BASELINE)  # apply may run a treatment alone
        treatments = {name: each.finish() for name, each in collected.items() if name != BASELINE}
        return Result(
            experiment=experiment.folder_name,
            replicates=experiment.replicates or 0,
            master_seed=experiment.master_seed,
            metrics=ExperimentMetrics(baseline.finish(), treatments),
            errors=errors,
            artifacts=artifacts,
            provenance=self._provenance(),
        )

    def _provenance(self) -> Provenance:
        pipeline = self.experiment.pipeline
        steps = [(name, step.params) for name, step in zip(pipeline.names, pipeline.steps, strict=True)]
        return Provenance(
            steps,
            {name: (each.traces, each.seeds, each.errors) for name, each in self.conditions.items()},
            self.experiment.replicates or 0,
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


class _Collected:
    """What has arrived of one condition."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.columns: dict[str, Column] = {}
        self.tags: dict[str, dict[int, list[Mapping[str, Any] | None]]] = {}
        self.seeds = _Seeds()
        self.traces = TraceStore()
        self.errors: dict[int, OutcomeError] = {}
        self.artifacts: dict[int, Sequence[ArtifactEntry]] = {}

    def add(self, replicate: int, outcome: Outcome) -> None:
        columns, metrics = self.columns, outcome.metrics
        for place, metric in enumerate(metrics):
            if metric not in columns:
                columns[metric] = Column()
            columns[metric].put(replicate, metrics[metric], place)
        self.seeds.put(replicate, outcome.seed)
        self.traces.put(replicate, outcome.trace)
        if outcome.tags:
            for metric, tagged in outcome.tags.items():
                self.tags.setdefault(metric, {})[replicate] = tagged
        if outcome.error is not None:
            self.errors[replicate] = outcome.error
        if outcome.artifacts:
            self.artifacts[replicate] = outcome.artifacts

    def finish(self) -> ConditionMetrics:
        return ConditionMetrics(
            self.name,
            in_order_of_recording(self.columns),
            {metric: dict(sorted(tags.items())) for metric, tags in sorted(self.tags.items())},
            self.seeds,
            [error for _, error in sorted(self.errors.items())],
        )
