"""Which experiments are meant, how their last runs ended, and how long the next may take."""

from __future__ import annotations

from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from crystallize.config.project import FoundExperiment, in_order
from crystallize.errors import CrystallizeError
from crystallize.results.runs import StoredRun, read_runs
from crystallize.store.metadata import FINISHED

if TYPE_CHECKING:
    from collections.abc import Sequence

_RECENT = 5  # runs that an estimate is made of: older ones are of other code


class Past(NamedTuple):
    """What earlier runs of an experiment tell.

    Attributes
    ----------
    last : StoredRun or None
        The newest run, however it ended; None if there is none.
    estimate : timedelta or None
        How long the next one may take; None if no complete run tells.
    problem : str
        Why they cannot be read.
    """

    last: StoredRun | None = None
    estimate: timedelta | None = None
    problem: str = ""


def by_group(found: Sequence[FoundExperiment]) -> dict[str, list[FoundExperiment]]:
    """Return experiments by group, in the order of `crystallize list`."""
    groups: dict[str, list[FoundExperiment]] = {}
    for each in in_order(found):
        groups.setdefault(each.group, []).append(each)
    return groups


def matches(experiment: FoundExperiment, wanted: str) -> bool:
    """Tell whether each word of `wanted`, in any case, is in the name, group, description or a treatment."""
    text = "\n".join(
        [experiment.name, experiment.group, experiment.description, *experiment.treatments]
    ).casefold()
    return all(word in text for word in wanted.casefold().split())


def past_of(experiment: FoundExperiment) -> Past:
    """Return how the last run ended, and how long the next may take."""
    if experiment.runs is None:
        return Past()
    try:
        runs = read_runs([experiment.runs])
    except (CrystallizeError, OSError) as error:
        return Past(problem=str(error))
    return Past(runs[-1], _estimate(experiment, runs)) if runs else Past()


def _estimate(experiment: FoundExperiment, runs: Sequence[StoredRun]) -> timedelta | None:
    """Return the usual time per outcome of the newest complete runs, for all outcomes of the next one."""
    complete = [run for run in runs if run.status == FINISHED and run.took]
    of_one = [
        run.took.total_seconds() / (run.replicates * len(run.conditions))
        for run in complete[-_RECENT:]
        if run.took and run.replicates and run.conditions
    ]
    if not of_one:
        return None
    replicates = experiment.replicates or complete[-1].replicates or 1
    return timedelta(seconds=median(of_one) * replicates * (1 + len(experiment.treatments)))
