"""A stored run as a Result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crystallize.errors import CrystallizeError, InvalidValueError, StoreError
from crystallize.results.collecting import Collection, make_result
from crystallize.results.hypotheses_file import read_hypotheses
from crystallize.results.preregistration import Preregistration
from crystallize.results.result import ExperimentMetrics, Result
from crystallize.results.results_file import read_results
from crystallize.statistics.stopping.report import Stopping
from crystallize.store.extent import Extent
from crystallize.store.finding import LATEST, LOOKS, find_version, locate
from crystallize.store.journal_reader import JournalReader, StoredOutcomes, has_begun
from crystallize.store.layout import BASELINE, JOURNAL, METADATA, ROOT, check_condition_name
from crystallize.store.locks import is_being_made
from crystallize.store.manifest import read_manifest
from crystallize.store.metadata import FINISHED, RUNNING, read_metadata, status_of
from crystallize.store.reader import lock_run, replicates_of


def load_result(run: str | Path) -> Result:
    """Return the result of a stored run.

    Nothing is unpickled, and none of the user's code is imported: of a metric that is no plain data it has what
    results.json has, such as the values of a pandas Series, and of most objects the ``repr``. The result is equal to
    the one that the run returned; of a run that has not ended, it has what was measured by now, and its `arrived` says
    how many replicates are complete.

    Of a run without a journal, which another tool has written, results.json tell what was measured: why an outcome
    failed, seeds, tags and provenance are not known.

    Parameters
    ----------
    run : str or pathlib.Path
        The folder ``<root>/<experiment>/v<N>``.

    Raises
    ------
    StoreError
        If there is no run, if it has neither a journal nor results, or if a file is damaged.
    """
    return load_run(run)[0]


def open_run(
    run: str | os.PathLike[str], version: int | str = LATEST, *, root_dir: str | Path = ROOT
) -> Result:
    """Return the result of a stored run; see :func:`load_result`.

    Parameters
    ----------
    run : str or path
        The experiment's name; or the path of its folder, or of the run's folder ``v<N>``.
    version : int or "latest", optional
        Which run; the newest complete one, if not given.
    root_dir : str or path, optional
        The ``root_dir`` of the plugin that stored it, where names are looked for.

    Raises
    ------
    UnknownNameError
        If no run of such an experiment is stored, with the nearest name.
    StoreError
        If there is no such version, or it cannot be read.
    """
    location, number = locate(run, root_dir)
    if number is not None and version not in (LATEST, number):
        raise InvalidValueError(
            f"{os.fspath(run)!r} is a run already, so that no other version can be asked for"
        )
    return load_result(find_version(location, version if number is None else number))


def load_run(run: str | Path) -> tuple[Result, dict[str, Any]]:
    """Return the result of a stored run, and its metadata; see :func:`load_result`.

    Both are of one run, also if another one takes its place meanwhile.
    """
    run = Path(run)
    for _ in range(LOOKS):
        lock = lock_run(run)
        if lock is None:
            hint = "A run has just begun here: read it in a moment" if is_being_made(run) else ""
            raise StoreError("no run is stored here, for there is no metadata", str(run), hint)
        try:
            loaded = _load(lock.path.parent)
        except StoreError:
            if lock.is_in_place():
                raise
        else:
            if lock.is_in_place():
                loaded[0].path = run
                return loaded
        finally:
            lock.release()
    raise StoreError(
        "one run after the other takes the place of the last while it is read", str(run), "Try again"
    )


def _load(run: Path) -> tuple[Result, dict[str, Any]]:
    metadata = read_metadata(run) or {}
    try:
        result = _from_journal(run, metadata)
    except FileNotFoundError:
        has_just_begun = status_of(run, metadata) == RUNNING
        result = _of_nothing(run, metadata) if has_just_begun else from_results(run, metadata)
    result.preregistration = Preregistration.from_metadata(metadata)
    result.shared_inputs = metadata.get("shared_inputs", {})
    result.stopped_inputs = metadata.get("stopped_inputs", [])
    return result, metadata


def _from_journal(run: Path, metadata: dict[str, Any]) -> Result:
    """Make the result of the outcomes that have been written by now; FileNotFoundError if there is no journal yet."""
    if metadata.get("status") != FINISHED and not has_begun(run / JOURNAL):
        raise FileNotFoundError(run / JOURNAL)
    extent = Extent.of(metadata)
    reader = JournalReader(run / JOURNAL)
    stored = StoredOutcomes(reader, extent=extent)
    stored.check_run(metadata.get("run"))
    session = stored.sessions[-1]
    _, _, master_seed = _described(run, metadata)
    collection = Collection(session.conditions, coordinates_of(metadata))
    arrived = last = 0
    for replicate, outcomes in stored:
        collection.add(replicate, outcomes)
        arrived += len(outcomes) == extent.count_owed(replicate, session.conditions)
        last = max(last, replicate + 1)
    reader.warn_of_damage()
    result = make_result(
        collection.finish(),
        experiment=session.experiment,
        replicates=extent.replicates or session.replicates or replicates_of(metadata) or last,
        master_seed=master_seed,
        steps=session.steps,
    )
    result.arrived = arrived
    if metadata.get("status") == FINISHED:  # else of an earlier session, which had measured other things
        result.metrics.hypotheses += read_hypotheses(run)
    if (stopping := _stopping(run, metadata)) is not None:
        result.tell_stopping(stopping)
    return result


def _of_nothing(run: Path, metadata: dict[str, Any]) -> Result:
    """Make the result of a run that has just begun."""
    experiment, names, master_seed = _described(run, metadata)
    result = make_result(
        Collection(names, coordinates_of(metadata)).finish(),
        experiment=experiment,
        replicates=replicates_of(metadata) or 0,
        master_seed=master_seed,
        steps=[(step["step"], step["params"]) for step in metadata["pipeline"]],
    )
    result.arrived = 0
    return result


def from_results(run: Path, metadata: dict[str, Any]) -> Result:
    """Make the result of a run that has no journal, as far as its files have it."""
    experiment, names, master_seed = _described(run, metadata)
    replicates = replicates_of(metadata)
    if replicates is None:
        raise _damaged_metadata(run)
    try:
        conditions = {name: read_results(run, name, replicates) for name in names}
    except FileNotFoundError as error:
        raise StoreError(
            f"the run of experiment {experiment!r} is {status_of(run, metadata)} and has no results",
            str(error.filename),
            "Run the experiment again",
        ) from None
    for name, levels in coordinates_of(metadata).items():
        if name in conditions:
            conditions[name].coordinates = levels
    errors = [error for condition in conditions.values() for error in condition.errors]
    order = {name: place for place, name in enumerate(conditions)}
    result = Result(
        experiment=experiment,
        replicates=replicates,
        master_seed=master_seed,
        metrics=ExperimentMetrics(conditions.pop(BASELINE), conditions, read_hypotheses(run)),
        errors=sorted(errors, key=lambda error: error.replicate),
        artifacts=sorted(
            (entry for entry in read_manifest(run) if entry.condition in order),
            key=lambda entry: (entry.replicate, order[entry.condition]),
        ),
        provenance=None,
    )
    if (stopping := _stopping(run, metadata)) is not None:
        result.tell_stopping(stopping)
    return result


def _stopping(run: Path, metadata: dict[str, Any]) -> Stopping | None:
    """Return why the rule that watched a run has ended it; None if there was none, or it has not."""
    if Extent.of(metadata).replicates is None:
        return None
    try:
        return Stopping.from_dict(metadata["stopping"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged_metadata(run) from error


def coordinates_of(metadata: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the coordinates of the conditions that are cells of a design; what is damaged counts as none."""
    stored = metadata.get("coordinates")
    if not isinstance(stored, dict):
        return {}
    return {name: levels for name, levels in stored.items() if isinstance(levels, dict)}


def _described(run: Path, metadata: dict[str, Any]) -> tuple[str, list[str], int]:
    """Return what the metadata say of a run: the experiment, its conditions and the master seed."""
    experiment = metadata.get("name") or metadata.get("id")
    names, master_seed = metadata.get("conditions"), metadata.get("master_seed")
    if (
        not isinstance(experiment, str)
        or not isinstance(names, dict)
        or BASELINE not in names
        or type(master_seed) is not int
    ):
        raise _damaged_metadata(run)
    try:
        for name in names:
            check_condition_name(name)
    except CrystallizeError as error:
        raise StoreError(
            f"the metadata of a run are damaged: {error.what}",
            str(run / METADATA),
            "Run the experiment again",
        ) from error
    return experiment, list(names), master_seed


def _damaged_metadata(run: Path) -> StoreError:
    return StoreError(
        "the metadata of a run do not tell its name, replicates, conditions and master seed",
        str(run / METADATA),
        "Run the experiment again",
    )
