"""What is found on disk: experiments, how their last runs ended, and how long the next may take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from crystallize.cli.listing import BROKEN, in_order
from crystallize.cli.stored import location_of
from crystallize.config.errors import ConfigError
from crystallize.config.folders import find_folders
from crystallize.config.reader import read_config
from crystallize.config.treatments import treatments_of
from crystallize.errors import CrystallizeError
from crystallize.experiments.treatment import with_baseline
from crystallize.results.runs import StoredRun, read_runs
from crystallize.store.metadata import FINISHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from crystallize.config.errors import Problem
    from crystallize.config.folders import ExperimentFolder
    from crystallize.store.layout import RunLocation

_RECENT = 5  # runs that an estimate is made of: older ones are of other code


@dataclass(frozen=True)
class FoundExperiment:
    """One experiment or graph, as its folder tells of it; nothing of the user's is imported.

    Attributes
    ----------
    name, description : str
        Its name, and what it says of itself.
    folder, config : pathlib.Path
        Its folder, and the config.yaml in it.
    group, icon, color : str
        How config.yaml wants it shown.
    priority : int
        Small ones come first in their group.
    hidden : bool
        Whether `crystallize list` leaves it out.
    replicates : int or None
        How often each condition is repeated; None if config.yaml does not say.
    treatments, outputs : tuple of str
        Its treatments, and the artifacts that others may read.
    depends_on : tuple of str
        The experiments whose outputs it reads.
    runs : RunLocation or None
        Where it stores its runs; None if it stores none, or is broken.
    problems : tuple of Problem
        What is wrong with its config.yaml.
    """

    name: str
    folder: Path
    config: Path
    description: str = ""
    group: str = BROKEN
    icon: str = ""
    color: str = ""
    priority: int = 0
    hidden: bool = False
    replicates: int | None = None
    treatments: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    runs: RunLocation | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def is_graph(self) -> bool:
        """Whether it reads outputs of others, which run first."""
        return bool(self.depends_on)

    @property
    def error(self) -> str:
        """The first thing that is wrong with its config.yaml; empty for most."""
        return str(self.problems[0]) if self.problems else ""


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


def find_experiments(root: Path) -> Iterator[FoundExperiment]:
    """Yield the experiments below a folder as they are read, those with mistakes too.

    Raises
    ------
    OSError
        If `root` itself cannot be read.
    """
    for folder in find_folders(root):
        yield read_experiment(folder)


def read_experiment(folder: ExperimentFolder) -> FoundExperiment:
    """Return what the config.yaml of a folder tells."""
    try:
        config = read_config(folder.config)
    except ConfigError as error:
        return FoundExperiment(folder.name, folder.path, folder.config, problems=error.problems)
    return FoundExperiment(
        folder.name,
        folder.path,
        folder.config,
        description=config.description,
        group=config.cli.group,
        icon=config.cli.icon,
        color=config.cli.color,
        priority=config.cli.priority,
        hidden=config.cli.hidden,
        replicates=config.replicates,
        treatments=with_baseline(each.name for each in treatments_of(config.treatments))[1:],
        outputs=tuple(config.outputs),
        depends_on=tuple(dict.fromkeys(reference.experiment for reference in config.references())),
        runs=location_of(folder.name, config),
    )


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
