"""Collating the outcomes of a run into its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.experiments.treatment import stored_coordinates
from crystallize.results.collecting import Collection, make_result

if TYPE_CHECKING:
    from crystallize.hookspecs import RunningExperiment
    from crystallize.results.result import Result
    from crystallize.store.outcome import ReplicateResult


class ResultAggregator:
    """Takes the results of replicates in any order and makes the result of the run.

    What it gives depends on the results alone, not on the order of their arrival. To aggregate differently,
    subclass it and pass the class: ``Experiment(..., aggregator=MyAggregator)``. What it has of a condition is whole
    after :meth:`finish`, and not before.

    Parameters
    ----------
    experiment : RunningExperiment
        The experiment that is running: ``experiment.replicates`` and ``experiment.conditions`` are this run's.
    """

    def __init__(self, experiment: RunningExperiment) -> None:
        self.experiment = experiment
        self._collection = Collection(experiment.conditions, stored_coordinates(experiment.active_treatments))
        self._steps = experiment.pipeline.describe()  # as they are now, before anything runs

    def add(self, result: ReplicateResult) -> None:
        """Take the result of one replicate."""
        self._collection.add(result.replicate, result.outcomes)

    def finish(self) -> Result:
        """Make the result, once all replicates have been added."""
        experiment = self.experiment
        return make_result(
            self._collection.finish(),
            experiment=experiment.folder_name,
            replicates=experiment.replicates or 0,
            master_seed=experiment.master_seed,
            steps=self._steps,
        )
