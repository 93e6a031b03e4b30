"""What a run reads, and how many replicates it has by that."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.datasources.artifact import Artifact
from crystallize.datasources.datasource import chosen_runs
from crystallize.errors import ReplicateMismatchError, ValidationError

if TYPE_CHECKING:
    from crystallize.datasources.datasource import DataSource
    from crystallize.hookspecs import RunningExperiment
    from crystallize.statistics.stopping.rule import StoppingRule

_logger = logging.getLogger("crystallize.experiment")


def data_sources(experiment: RunningExperiment) -> dict[str, DataSource]:
    """Return every data source of the run under way, with where it comes from."""
    return {"the data source": experiment.datasource} | {
        f"the data source of treatment {name!r}": each.datasource
        for name, each in experiment.active_treatments.items()
        if each.datasource is not None
    }


def settle_sources(experiment: RunningExperiment, inputs: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Have each data source choose what it reads in the run under way: if they are given, these `inputs`."""
    sources = data_sources(experiment).values()
    experiment.current_run.exit_stack.enter_context(chosen_runs(sources, inputs))


def resolve_replicates(experiment: RunningExperiment, asked: int | None, rule: StoppingRule | None) -> int:
    """Return how many replicates a run has: as many as asked for, or as the data sources have data for, or one.

    If a `rule` ends it, that is how many it has at most: the least of what anybody says.

    Raises
    ------
    ReplicateMismatchError
        If a data source has another number.
    ValidationError
        If the rule cannot watch the experiment, or nobody says how many there are at most.
    """
    if rule is not None:
        return _most_replicates(experiment, asked, rule)
    sources = data_sources(experiment)
    default = {place: source.default_replicates for place, source in sources.items()}
    wanted = asked if asked is not None else next((count for count in default.values() if count), 1)
    counts = {place: source.replicates for place, source in sources.items()}
    known = {place: count for place, count in counts.items() if count is not None}
    for place, count in known.items():
        if count != wanted:
            origin = "are asked for" if asked is not None else f"come from {next(iter(known))}"
            raise ReplicateMismatchError(
                f"{wanted} replicates {origin}, and {place} has {count}: {sources[place]!r}",
                f"experiment {experiment.folder_name!r}",
                f"Run with replicates={count}, or without replicates, or run the producer again with {wanted}",
            )
    return wanted


def _most_replicates(experiment: RunningExperiment, asked: int | None, rule: StoppingRule) -> int:
    rule.begin(experiment.conditions)
    sources = data_sources(experiment).values()
    limits = [asked, rule.limit, *(source.replicates for source in sources)]
    known = [limit for limit in limits if limit is not None]
    known = known or [count for source in sources if (count := source.default_replicates)]
    if not known:
        raise nothing_ends(experiment, rule)
    return min(known)


def nothing_ends(experiment: RunningExperiment, rule: StoppingRule) -> ValidationError:
    """Return the error for a run that may have no end."""
    return ValidationError(
        f"nothing ends the run if the rule {rule} never decides",
        f"experiment {experiment.folder_name!r}",
        "Give the rule max=200, for example, or the run replicates=",
    )


def shared_inputs(experiment: RunningExperiment, replicates: int | None) -> dict[str, int]:
    """Return how many replicates another experiment has whose artifacts replicates share.

    It has several, but not as many: one is for all. What is read may have been made of shared artifacts, too.
    """
    replicates = replicates or 0
    leaves = [leaf for source in data_sources(experiment).values() for leaf in source.leaves()]
    counts = {
        producer: count
        for leaf in leaves
        for producer, count in leaf.shared_producers().items()
        if count < replicates
    }
    return counts | {
        location.experiment: count
        for leaf in leaves
        if isinstance(leaf, Artifact) and 1 < (count := leaf.default_replicates or 0) < replicates
        for location in leaf.producers()
    }


def warn_of_shared_inputs(experiment: RunningExperiment) -> None:
    """Say that replicates of the run under way share artifacts of another experiment, if they do."""
    for producer, count in experiment.current_run.shared_inputs.items():
        _logger.warning(
            "experiment %r has up to %d replicates, and %r, whose artifacts it reads, has %d: they are read again from "
            "the first one on. Replicates that share one are not independent, so that intervals, p-values and stopping "
            "rules promise too much",
            experiment.folder_name,
            experiment.replicates,
            producer,
            count,
        )


def stopped_inputs(experiment: RunningExperiment, replicates: int | None) -> list[str]:
    """Return the experiments that say by their stopping rules how many replicates there are.

    A run of fewer than they have is as long as somebody has said.
    """
    found = {
        producer: None
        for source in data_sources(experiment).values()
        for leaf in source.leaves()
        if (count := leaf.default_replicates) and count <= (replicates or 0)
        for producer in leaf.stopped_producers()
    }
    return list(found)
