"""Running an experiment on what those that it depends on have stored: whether that is there, and still applies."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.datasources.datasource import chosen_runs
from crystallize.errors import GraphError
from crystallize.experiments.signature import experiment_signature
from crystallize.graphs.dependencies import Dependencies, files_of, sources_of
from crystallize.store.changes import changed_conditions
from crystallize.store.finding import find_run
from crystallize.store.journal_reader import JournalReader, StoredOutcomes, has_begun
from crystallize.store.layout import JOURNAL
from crystallize.store.metadata import read_metadata
from crystallize.utils.wording import listed

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.experiments.experiment import Experiment

_logger = logging.getLogger("crystallize.graph")


def check_stored_runs(nodes: Sequence[Experiment], treatments: Collection[str] | None = None) -> None:
    """Check what the last of `nodes` will read if it runs alone; warn of stored runs that are stale.

    They are if a file of the folder has changed, or what the experiment is made of: settings, parameters, other code;
    and if what they have read of other experiments is stored otherwise now.

    Parameters
    ----------
    nodes : sequence of Experiment
        The experiment, after all that it depends on.
    treatments : collection of str, optional
        The treatments that it will run; all of its own, if not given.

    Raises
    ------
    GraphError
        If an experiment that it reads has no stored run, or defines one of them and its run has not got it.
    """
    by_name = {node.folder_name: node for node in nodes}
    consumer = nodes[-1]
    read = Dependencies(by_name).upstream()[consumer.folder_name]
    wanted = {each.name for each in consumer.treatments if treatments is None or each.name in treatments}
    for producer in nodes[:-1]:
        name, location = producer.folder_name, producer.location()
        run = None if location is None else find_run(location)
        metadata = None if run is None else read_metadata(run)
        if run is None or metadata is None:
            if location is None or name not in read:
                continue
            raise GraphError(
                f"experiment {name!r} has no stored run",
                files_of([producer]),
                f"`crystallize run {name}` makes one, or leave --only out",
            )
        defined = {each.name for each in producer.treatments}
        lacking = (wanted & defined).difference(metadata.get("conditions") or ())
        if lacking and name in read:
            raise GraphError(
                f"experiment {name!r} defines {listed(lacking)}, which its stored run in {run} has not got",
                files_of([producer]),
                f"`crystallize run {name}` makes a run that has, or leave --only out",
            )
        reason = _change_since(producer, metadata)
        if not reason and _has_read_otherwise(producer, run):
            reason = "what it reads of other experiments has changed"
        if reason:
            _logger.warning(
                "the stored run of experiment %r in %s is stale: %s. `crystallize run %s%s` makes a new one",
                name,
                run,
                reason,
                name,
                " --set ..." if producer.initial_ctx else "",
            )


def _change_since(producer: Experiment, metadata: Mapping[str, Any]) -> str:
    """Tell what of an experiment has changed since a run of it; another seed makes no run stale."""
    stored, files = metadata.get("files"), producer.files()
    if isinstance(stored, dict) and stored:
        changed = {file for file in {*stored, *files} if stored.get(file) != files.get(file)}
        if changed:
            return f"{listed(changed)} changed since"
    signature = metadata.get("signature") or {}
    seeding = {key: signature.get(key, {}) for key in ("seed", "plugins")}
    now = experiment_signature(producer, ()) | seeding
    return next(iter(changed_conditions(signature, now).values()), "")


def _has_read_otherwise(producer: Experiment, run: Path) -> bool:
    """Tell whether an outcome of a stored run has read an artifact in whose place another one is stored now.

    One that is gone has none in its place.
    """
    sources = sources_of(producer)
    if not any(source.producers() for source in sources) or not has_begun(run / JOURNAL):
        return False
    swapped = {each.name: each.datasource for each in producer.treatments}
    with chosen_runs(sources):
        return any(
            now and now != before
            for replicate, outcomes in StoredOutcomes(JournalReader(run / JOURNAL))
            for outcome in outcomes
            for before, now in zip(
                outcome.consumed or (),
                (swapped.get(outcome.condition) or producer.datasource).consumed(
                    replicate, outcome.condition
                ),
                strict=False,  # of another number is another data source, as the signature says
            )
        )
