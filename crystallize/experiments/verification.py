"""Running a stored run again, in a scratch folder, to see whether it measures the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.datasources.datasource import chosen_runs
from crystallize.errors import (
    ArtifactError,
    InvalidTypeError,
    InvalidValueError,
    StoreError,
    UnknownNameError,
    ValidationError,
)
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.treatment import as_treatments, with_baseline
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.results.circumstances import compare_circumstances
from crystallize.results.closeness import Tolerance, distance, leaves
from crystallize.results.hypotheses_file import format_hypotheses, read_hypotheses
from crystallize.results.load import load_result
from crystallize.results.measured import MeasuredRun
from crystallize.results.reruns import Calibration, compare, find_tolerances
from crystallize.results.verification import INCONCLUSIVE, Difference, Verification, judge, ranges
from crystallize.store.finding import LATEST, during_swap, find_version
from crystallize.store.layout import BASELINE
from crystallize.store.metadata import FINISHED, status_of
from crystallize.store.reader import lock_run
from crystallize.utils.checks import check_bool, check_count
from crystallize.utils.files import remove_folder
from crystallize.utils.json_text import parse_json
from crystallize.utils.signals import termination_ends_the_run
from crystallize.utils.wording import counted, did_you_mean, name_hint

if TYPE_CHECKING:
    from crystallize.datasources.datasource import DataSource
    from crystallize.experiments.treatment import Treatment, Treatments
    from crystallize.statistics.hypothesis_result import HypothesisResult
    from crystallize.store.outcome import Outcome


def verify(
    experiment: Experiment,
    run: int | str | os.PathLike[str] = LATEST,
    *,
    replicates: int | Collection[int] | None = None,
    treatments: Treatments | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
    calibrate: int | None = None,
    ignore: Collection[str] = (),
    keep: bool = False,
) -> Verification:
    """Run a stored run again, and tell whether it measures the same.

    It is run in a scratch folder, with the stored run's master seed, under its conditions, on the very artifacts of
    other experiments that it read. Every outcome is compared: metrics with their tags, artifacts by their hash, and of
    one that failed the kind and the message of its error. If all of that is the same, so must be what the experiment's
    hypotheses say of the stored metrics. The stored run stays as it is.

    Parameters
    ----------
    experiment : Experiment
        The experiment, as it is defined now, with its own plugins and execution strategy.
    run : int, "latest" or path, optional
        A version of the experiment, or the folder of a run; the newest complete one, if not given.
    replicates : int or collection of int, optional
        How many of the first to run again, or which ones; all that the run has measured, if not given.
    treatments : sequence of Treatment, optional
        Those of the run, if it was given others than the experiment's own.
    rtol, atol : float, default 0
        How far a number may be from the stored one: as a fraction of the larger of the two, or in the metric's unit; it
        is enough to keep to one of them. By default every bit counts.
    calibrate : int, optional
        Run it so many times, at least 2, and take the tolerance of each metric from the spread of the reruns; see
        :func:`crystallize.results.reruns.find_tolerances`. A metric that is the same in all of them must be exactly so
        in the stored run. An artifact that differs between them is not compared, nor a metric that is no number.
    ignore : collection of str, optional
        Metrics and artifacts that are not compared, such as one that measures time.
    keep : bool, default False
        Whether the scratch folder stays; its path is the ``scratch`` of what is returned.

    Returns
    -------
    Verification
        The verdict, and what it is founded on.

    Raises
    ------
    StoreError
        If there is no such run, it has measured nothing, or cannot be read.
    UnknownNameError
        If the run has no such replicate, metric or artifact.
    CrystallizeError
        If the experiment is another one, or cannot be run as it is defined; of the kind that fits.
    """
    if not isinstance(experiment, Experiment):
        raise InvalidTypeError(
            f"verify takes the experiment itself, got {experiment!r:.60}",
            hint="Experiment.from_yaml(folder) is that of a folder; on the command line, 'crystallize verify NAME'",
        )
    tolerance = Tolerance.of(rtol, atol)
    if calibrate is not None:
        check_count(
            "calibrate", calibrate, least=2, hint="A tolerance comes from what differs between reruns"
        )
        if not tolerance.is_exact:
            raise InvalidValueError(
                "a tolerance is given, and is to be found", hint="Leave one of the two out"
            )
    check_bool("keep", keep)
    is_wanted = _choice(replicates)
    folder = _find(experiment, run)
    with _not_removed(folder):
        stored = MeasuredRun(folder)
        _check_experiment(experiment, stored)
        chosen, reasons = _choose_treatments(experiment, stored, treatments)
        survey = _survey(experiment, stored, chosen, is_wanted)
        _check_asked(stored, survey, replicates, ignore)
        if lost := stored.count_lost(survey.outcomes):
            reasons.append(f"{counted(lost, 'outcome')} of the run cannot be read from its journal any more")
        found = Verification(
            INCONCLUSIVE,
            folder,
            str(status_of(stored.folder, stored.metadata)),
            with_baseline(each.name for each in chosen),
            survey.replicates,
            reasons=[*reasons, survey.problem] if survey.problem else reasons,
            left_out=dict.fromkeys(ignore, "left out"),
        )
        if survey.problem:
            return found
        with _scratch_folder(keep) as scratch:
            again = [
                _run_again(experiment, stored, chosen, survey, scratch / f"rerun_{number}")
                for number in range(calibrate or 1)
            ]
            found = _compared(found, stored, again, tolerance)
            if found.findings.first is None and not lost:
                found = _with_hypotheses(found, experiment, stored, again[0])
        verdict = judge(found.findings, found.changes, found.reasons)
        return replace(found, verdict=verdict, scratch=scratch if keep else None)


# -- which run, and what of it -------------------------------------------------------------------------------


def _choice(replicates: int | Collection[int] | None) -> Callable[[int], bool]:
    """Return what tells whether a replicate is to be run again."""
    if replicates is None:
        return lambda _: True
    if isinstance(replicates, Collection) and not isinstance(replicates, str | bytes):
        numbers = frozenset(check_count("a replicate", number, least=0) for number in replicates)
        if not numbers:
            raise InvalidValueError("no replicate is to be run again", hint="Name at least one")
        return numbers.__contains__
    count = check_count("replicates", replicates)
    return lambda number: number < count


def _find(experiment: Experiment, run: int | str | os.PathLike[str]) -> Path:
    if not isinstance(run, int) and run != LATEST:
        return during_swap(Path(os.fspath(run)))
    location = experiment.location()
    if location is None:
        raise _stores_nothing(experiment)
    return find_version(location, run if isinstance(run, int) else LATEST)


def _stores_nothing(experiment: Experiment) -> ValidationError:
    return ValidationError(
        "a run can be compared only if its artifacts are written, and nothing stores them",
        f"experiment {experiment.folder_name!r}",
        "Give it an ArtifactPlugin, and do not disable the one that is installed",
    )


@contextmanager
def _not_removed(folder: Path) -> Iterator[None]:
    """Keep a run from being removed while the block runs."""
    lock = lock_run(folder)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _check_experiment(experiment: Experiment, stored: MeasuredRun) -> None:
    name = stored.metadata.get("name")
    if name is not None and name != experiment.name:
        raise InvalidValueError(
            f"this is a run of experiment {name!r}, and not of {experiment.folder_name!r}", str(stored.folder)
        )
    if type(stored.metadata.get("master_seed")) is not int:
        raise StoreError("the metadata of the run do not tell its master seed", str(stored.folder))


def _choose_treatments(
    experiment: Experiment, stored: MeasuredRun, treatments: Treatments | None
) -> tuple[list[Treatment], list[str]]:
    """Return the treatments of the run, in its order, and what to say of those that are not defined any more."""
    defined = as_treatments(experiment.treatments if treatments is None else treatments)
    known = {each.name: each for each in defined}
    gone = [name for name in stored.conditions if name != BASELINE and name not in known]
    reasons = [
        f"condition {name!r} is not defined any more. {did_you_mean(name, known)}".rstrip(" .")
        for name in gone
    ]
    return [known[name] for name in stored.conditions if name in known], reasons


class _Survey(NamedTuple):
    """What a run has measured, without the values.

    Attributes
    ----------
    measured, replicates : list of int
        The replicates that it has, and those of them that are to be run again, in order.
    outcomes : int
        How many outcomes it has in all.
    names : frozenset of str
        Its metrics and artifacts.
    inputs : sequence of mapping or None
        What it read of other experiments, as the metadata tell; None if the newest runs have to stand in.
    problem : str
        Why that cannot be read again; empty if it can.
    """

    measured: list[int]
    replicates: list[int]
    outcomes: int
    names: frozenset[str]
    inputs: Sequence[Mapping[str, Any]] | None
    problem: str


def _survey(
    experiment: Experiment, stored: MeasuredRun, chosen: Sequence[Treatment], is_wanted: Callable[[int], bool]
) -> _Survey:
    """Look through a run, and at what it read of other experiments.

    That is the runs that it read, or the newest ones if these have the very same content.
    """
    own = {each.name: each.datasource for each in chosen}
    sources = {name: own.get(name) or experiment.datasource for name in (BASELINE, *own)}
    inputs = [each for each in stored.metadata.get("inputs") or () if isinstance(each, dict)]
    survey = _look_through(stored, sources, is_wanted, inputs)
    if survey.problem:
        newest = _look_through(stored, sources, is_wanted, None)
        return survey if newest.problem else newest
    return survey


def _look_through(
    stored: MeasuredRun,
    sources: Mapping[str, DataSource],
    is_wanted: Callable[[int], bool],
    inputs: Sequence[Mapping[str, Any]] | None,
) -> _Survey:
    measured: list[int] = []
    count = 0
    names: set[str] = set()
    problem = ""
    with chosen_runs(sources.values(), inputs):
        for replicate, outcomes in stored:
            measured.append(replicate)
            count += len(outcomes)
            for outcome in outcomes:
                names.update(outcome.metrics)
                names.update(entry.name for entry in outcome.artifacts)
                source = sources.get(outcome.condition)
                if not problem and source is not None and outcome.consumed and is_wanted(replicate):
                    problem = _input_problem(source, replicate, outcome.condition, outcome.consumed)
    measured.sort()
    return _Survey(measured, list(filter(is_wanted, measured)), count, frozenset(names), inputs, problem)


def _input_problem(source: DataSource, replicate: int, condition: str, consumed: Sequence[str]) -> str:
    """Say what of the artifacts that an outcome consumed cannot be read again as it was; empty if all can."""
    whose = f"replicate {replicate}, condition {condition!r}"
    now = source.consumed(replicate, condition)
    if len(now) != len(consumed):
        return ""  # it is another data source, as the signature says
    readers = (leaf for leaf in source.leaves() if leaf.producers())
    for leaf, before, digest in zip(readers, consumed, now, strict=True):
        if before and before != digest:
            what = f"{leaf!r} of experiment {leaf.producers()[0].experiment!r}"
            return f"what it read is not there as it was: {what} {'has changed' if digest else 'is gone'} ({whose})"
    try:
        source.check_inputs(replicate, condition)
    except (ArtifactError, StoreError) as error:
        return f"what it read is not there as it was: {error.what} ({whose})"
    return ""


def _check_asked(
    stored: MeasuredRun, survey: _Survey, replicates: int | Collection[int] | None, ignore: Collection[str]
) -> None:
    """Check that the run has what is asked for."""
    where = str(stored.folder)
    if not survey.measured:
        raise StoreError("the run has measured nothing yet", where)
    if isinstance(replicates, Collection):
        lacking = sorted(set(replicates).difference(survey.measured))
        if lacking:
            raise UnknownNameError(
                f"the run has not measured replicate {lacking[0]}", where, f"It has {ranges(survey.measured)}"
            )
    elif replicates is not None and replicates > survey.measured[-1] + 1:
        raise UnknownNameError(
            f"the run has not measured {counted(replicates, 'replicate')}",
            where,
            f"It has {ranges(survey.measured)}",
        )
    for name in ignore:
        if name not in survey.names:
            raise UnknownNameError(
                f"the run has no metric or artifact {name!r}", where, name_hint(name, "It has", survey.names)
            )
    if not survey.replicates:
        raise UnknownNameError(
            "none of these replicates is measured yet", where, f"The run has {ranges(survey.measured)}"
        )


# -- running it again ----------------------------------------------------------------------------------------


@contextmanager
def _scratch_folder(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="crystallize-verify-"))
    try:
        with termination_ends_the_run():
            yield folder
    finally:
        if not keep:
            remove_folder(folder)


def _run_again(
    experiment: Experiment, stored: MeasuredRun, chosen: Sequence[Treatment], survey: _Survey, root: Path
) -> MeasuredRun:
    """Run what is to be run again, and store it below `root`."""
    replicates = max(stored.replicates or 0, survey.measured[-1] + 1)
    with _storing_in(experiment, root):
        result = experiment.repeat(
            seed=stored.metadata["master_seed"],
            replicates=replicates,
            treatments=chosen,
            only=None if len(survey.replicates) == replicates else survey.replicates,
            inputs=survey.inputs,
        )
    assert result.path is not None
    return MeasuredRun(result.path, with_journal=stored.has_journal)


@contextmanager
def _storing_in(experiment: Experiment, root: Path) -> Iterator[None]:
    """Have an experiment store its runs below `root` while the block runs."""
    plugins = [each.plugin for each in experiment.plugins.records if isinstance(each.plugin, ArtifactPlugin)]
    if not plugins:
        raise _stores_nothing(experiment)
    before = [plugin.root_dir for plugin in plugins]
    try:
        for plugin in plugins:
            plugin.root_dir = str(root)
        yield
    finally:
        for plugin, folder in zip(plugins, before, strict=True):
            plugin.root_dir = folder


# -- comparing -----------------------------------------------------------------------------------------------


def _compared(
    found: Verification, stored: MeasuredRun, again: Sequence[MeasuredRun], tolerance: Tolerance
) -> Verification:
    """Add what the comparison of the run with its reruns gives."""
    calibration = find_tolerances(again) if len(again) > 1 else Calibration({}, {})
    left_out = calibration.unsteady | found.left_out
    findings = compare(
        _part(stored, found),
        again,
        steps=stored.steps or again[0].steps,
        has_same_steps=stored.steps == again[0].steps,
        tolerances=calibration.tolerances,
        otherwise=tolerance,
        leaving_out=left_out,
    )
    lacking = [
        f"{counted(count, 'outcome')} could not be compared: {why}"
        for why, count in findings.not_compared.items()
    ]
    return replace(
        found,
        reruns=len(again),
        execution=(again[0].metadata.get("execution") or {}).get("name"),
        findings=findings,
        changes=compare_circumstances(stored.metadata, again[0].metadata),
        reasons=[*found.reasons, *lacking],
        left_out=left_out,
    )


def _part(stored: MeasuredRun, found: Verification) -> Iterator[tuple[int, Sequence[Outcome]]]:
    """Yield the outcomes of a run that were run again."""
    replicates, conditions = frozenset(found.replicates), frozenset(found.conditions)
    for replicate, outcomes in stored:
        if replicate in replicates:
            yield replicate, [each for each in outcomes if each.condition in conditions]


def _with_hypotheses(
    found: Verification, experiment: Experiment, stored: MeasuredRun, again: MeasuredRun
) -> Verification:
    """Ask the hypotheses of the stored metrics again, and add the first difference, if there is one."""
    said = {each.name: each for each in read_hypotheses(stored.folder)}
    if not said or stored.metadata.get("status") != FINISHED:
        return found
    metrics = load_result(stored.folder).metrics
    for hypothesis in experiment.hypotheses:
        if hypothesis.name not in said:
            continue
        before, now = (
            leaves(_plain(each))
            for each in (said[hypothesis.name], hypothesis.compare(metrics.baseline, metrics.treatments))
        )
        for (place, old), (other_place, new) in zip(before, now, strict=False):
            if place != other_place or distance(old, [new]) is not None:
                part = place.replace("'", "").replace("][", ".").strip("[]")
                values = {part: old}, {part: new}
                difference = Difference("hypothesis", hypothesis.name, None, None, None, *values)
                changes = compare_circumstances(stored.metadata, again.metadata, with_hypotheses=True)
                return replace(found, findings=replace(found.findings, first=difference), changes=changes)
    return found


def _plain(found: HypothesisResult) -> dict[str, Any]:
    """Return what a hypothesis found as JSON has it; tracebacks in it tell of places in files, which change."""
    plain: dict[str, Any] = parse_json(format_hypotheses([found]))[0]
    return plain | {"errors": sorted(plain.get("errors") or ())}
