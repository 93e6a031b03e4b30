"""Storing one run: from the claim of its folder to the metadata that call it complete."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import PluginError, ValidationError
from crystallize.results.earlier import EarlierPart
from crystallize.results.hypotheses_file import format_hypotheses
from crystallize.results.results_file import format_results
from crystallize.store.accounting import Account, sessions_of
from crystallize.store.claims import claim_newest, claim_run
from crystallize.store.folders import is_pinned
from crystallize.store.journal import Session
from crystallize.store.journal_writer import JournalWriter
from crystallize.store.layout import (
    COMPLETE,
    HYPOTHESES,
    JOURNAL,
    RESULTS,
    replicate_number,
    replicates_in,
)
from crystallize.store.manifest import write_manifest
from crystallize.store.metadata import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    write_metadata,
)
from crystallize.store.retention import artifact_size, forget_pruned
from crystallize.utils.failures import store_errors
from crystallize.utils.files import atomic_write_bytes, is_folder, remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.datasources.datasource import DataSource
    from crystallize.hookspecs import RunningExperiment
    from crystallize.plugins.manager import PluginManager
    from crystallize.results.earlier import Consumed
    from crystallize.results.result import Result
    from crystallize.statistics.stopping.report import Stopping
    from crystallize.store.claims import Claim
    from crystallize.store.layout import RunLocation
    from crystallize.store.outcome import ReplicateResult

_log = logging.getLogger("crystallize.store")


class Recording:
    """A run that is being stored: what the coordinator knows of it, and workers do not.

    Parameters
    ----------
    experiment : RunningExperiment
        The experiment, with the run under way.
    claim : Claim
        The run's folder.
    definition : dict
        What defines the run, as the experiment describes it.
    is_resumed : bool
        Whether the folder is that of an earlier run, which is never removed.
    fsync : bool
        Whether each write of the journal waits for the disk.

    Attributes
    ----------
    definition : dict
        As it was given.
    """

    def __init__(
        self,
        experiment: RunningExperiment,
        claim: Claim,
        definition: dict[str, Any],
        *,
        is_resumed: bool,
        fsync: bool,
    ) -> None:
        self.definition = definition
        self._experiment = experiment
        self._claim = claim
        self._is_resumed = is_resumed
        self._account = Account(Path.cwd() if experiment.source is None else experiment.source.parent)
        self._metadata = _describe_run(experiment, definition, self._account)
        self._fsync = fsync
        self._journal: JournalWriter | None = None
        self._consumed = _consumed(experiment)
        self._is_over = False
        self._stored_stopping: Any = None  # of a run that is resumed: what its rule saw
        self._is_part = False  # of what is stored: conditions of which nothing is owed, and not all
        experiment.current_run.exit_stack.push(lambda _, error, __: self._close(error))

    def __getstate__(self) -> dict[str, Any]:
        return {}  # workers write artifacts, and nothing else

    @property
    def folder(self) -> Path:
        """Where the run is written."""
        return self._claim.folder

    def begin(self) -> None:
        """Write what is known of a new run."""
        write_metadata(self.folder, self._metadata, RUNNING)
        self._journal = JournalWriter(self.folder / JOURNAL, self._session(), fsync=self._fsync)

    def go_on(self, earlier: EarlierPart) -> Iterator[ReplicateResult]:
        """Yield what is there of a run that is resumed, and then begin to write the rest.

        If nothing is owed, nothing is written, so that a complete run stays as it is.

        Raises
        ------
        ValidationError
            If a stopping rule would take away what is there, or it would be measured again and the run is pinned.
        """
        run = self._experiment.current_run
        most = run.replicates
        yield from earlier.outcomes()
        if run.stop_when is not None:
            assert run.replicates is not None
            assert most is not None
            earlier.check_left_out(run.stop_when, run.replicates, run.dropped, most=most)
        earlier.report()
        if earlier.has_voided and is_pinned(self.folder):
            name = self._experiment.folder_name
            raise ValidationError(
                f"the newest run of experiment {name!r} is pinned, and what it has measured would be measured again",
                str(self.folder),
                "Run without --resume (or strategy='resume') for a new version, or unpin it: "
                f"'crystallize runs pin {name} --version {self.folder.name[1:]} --off'",
            )
        if not earlier.has_voided:
            run.token = self._metadata["run"] = earlier.metadata.get("run") or run.token
        self._metadata["earlier_sessions"] = sessions_of(earlier.metadata)
        self._stored_stopping = earlier.metadata.get("stopping")
        left_out = {each.name for each in self._experiment.treatments}.difference(self._experiment.conditions)
        if earlier.is_all_there(run.replicates, run.dropped, left_out):
            self._is_part = not left_out.isdisjoint(earlier.metadata["conditions"])
            return
        with storing(self.folder):
            self._journal = JournalWriter(
                self.folder / JOURNAL,
                self._session()._replace(again=earlier.again),
                read=earlier.reader,
                fsync=self._fsync,
                attempts={
                    (replicate, condition): outcome.attempt + 1
                    for replicate, outcomes in earlier.failed.items()
                    for condition, outcome in outcomes.items()
                },
            )
            for result in earlier.unwritten:
                self._journal.add(result)
            earlier.remove_leftovers()
            self._note_dropped()
            write_metadata(self.folder, self._metadata, RUNNING)
            forget_pruned(self.folder)  # afterwards: the metadata of a complete run count it

    def _session(self) -> Session:
        experiment = self._experiment
        return Session(
            run=self._metadata["run"],
            experiment=experiment.folder_name,
            replicates=None if experiment.current_run.stop_when else experiment.replicates,
            conditions=experiment.conditions,
            steps=tuple(experiment.pipeline.describe()),
            started=self._metadata["started"],
        )

    def add(self, result: ReplicateResult) -> None:
        """Write the outcomes of a replicate to the journal.

        Raises
        ------
        OSError
            If the disk does not take them.
        """
        if self._journal is None:
            return
        self._journal.add(result if self._consumed is None else self._with_consumed(result, self._consumed))
        if self._note_dropped():
            write_metadata(self.folder, self._metadata, RUNNING)

    def _note_dropped(self) -> bool:
        """Note which conditions a rule has dropped by now, for who reads the run as it is; tell if that is news."""
        dropped, stopping = self._experiment.current_run.dropped, self._metadata["stopping"]
        if not dropped or dropped == stopping.get("dropped"):
            return False
        self._metadata["stopping"] = {**stopping, "dropped": dict(dropped)}
        return True

    def _with_consumed(self, result: ReplicateResult, consumed: Consumed) -> ReplicateResult:
        outcomes = (
            each._replace(consumed=consumed(result.replicate, each.condition)) for each in result.outcomes
        )
        return result._replace(outcomes=tuple(outcomes))

    def complete(self, result: Result) -> Path:
        """Write all that a complete run has; the metadata, which call it complete, come last.

        Returns
        -------
        pathlib.Path
            The run's folder.
        """
        folder = self.folder
        decided = _decided(result)
        has_other_findings = decided.get("stopping") != self._stored_stopping or self._has_other_hypotheses(
            result
        )
        if self._journal is None and (self._is_part or not has_other_findings):
            self._is_over = True
            self._claim.release()
            return folder
        if self._journal is not None:
            self._journal.close()
        failed = {error.condition for error in result.errors}
        for condition in result.conditions:
            atomic_write_bytes(folder / condition / RESULTS, format_results(result.condition(condition)))
            if condition not in failed:
                atomic_write_bytes(folder / condition / COMPLETE, b"")
            else:
                (folder / condition / COMPLETE).unlink(missing_ok=True)
        if result.metrics.hypotheses:
            atomic_write_bytes(folder / HYPOTHESES, format_hypotheses(result.metrics.hypotheses))
        else:
            (folder / HYPOTHESES).unlink(missing_ok=True)
        if result.stopping is not None:
            _remove_left_out(folder, result.stopping)
        write_manifest(folder, result.artifacts)
        learnt = _describe_plugins(self._experiment.plugins)  # again: a strategy may have learnt of itself
        written = sum({entry.path: entry.size for entry in result.artifacts}.values())
        outcome: dict[str, Any] = {
            **decided,
            "failed_outcomes": len(result.errors),
            # What a resumed run had of other conditions is still there.
            "artifact_bytes": artifact_size(folder) if self._is_resumed else written,
            "replaces": self._claim.replaces(),
        }
        write_metadata(folder, self._metadata | learnt | self._account.at_end() | outcome, FINISHED)
        self._is_over = True
        try:
            return self._claim.publish()
        except BaseException:  # the run is complete all the same, and the next start puts it in its place
            self._claim.leave()
            raise

    def _has_other_hypotheses(self, result: Result) -> bool:
        found = result.metrics.hypotheses
        try:
            return (self.folder / HYPOTHESES).read_bytes() != (format_hypotheses(found) if found else b"")
        except OSError:
            return bool(found)

    def _close(self, error: BaseException | None) -> None:
        """Note of a run that was not completed how it ended; of a new one that had not begun, leave nothing."""
        if self._is_over:
            return
        if not self._is_resumed and not self._experiment.current_run.has_begun:
            if self._journal is not None:
                self._journal.close()
            self._claim.discard()
            return
        if self._journal is None:  # of a run that was to be resumed nothing has changed
            self._claim.release()
            return
        measured: Result | None = getattr(error, "result", None)
        outcome = {}
        if measured is not None:
            measured.path = self.folder
            outcome = {**_decided(measured), "failed_outcomes": len(measured.errors)}
        # A plugin's hook may have called sys.exit().
        ended_by = error.__cause__ if isinstance(error, PluginError) else error
        status = INTERRUPTED if ended_by is not None and not isinstance(ended_by, Exception) else FAILED
        try:
            with contextlib.suppress(OSError):
                self._journal.close()
            write_metadata(self.folder, self._metadata | self._account.at_end() | outcome, status)
        except OSError:  # the error that ended the run says more
            self._claim.leave()
        else:
            self._claim.release()


def begin_recording(experiment: RunningExperiment, location: RunLocation, *, fsync: bool) -> Recording:
    """Claim a folder for a new run, and write what is known of it."""
    claim = claim_run(location)
    try:
        recording = Recording(experiment, claim, experiment.definition(), is_resumed=False, fsync=fsync)
    except BaseException:
        claim.discard()
        raise
    recording.begin()
    return recording


def resume_recording(experiment: RunningExperiment, location: RunLocation, *, fsync: bool) -> Recording:
    """Claim the newest run, and give the run under way what is there of it; if nothing of it counts, begin anew."""
    claim = claim_newest(location)
    if claim is None:
        return begin_recording(experiment, location, fsync=fsync)
    run = experiment.current_run
    with contextlib.ExitStack() as otherwise:
        otherwise.callback(claim.release)
        earlier = EarlierPart(
            claim.folder, experiment.folder_name, experiment.conditions, consumed=_consumed(experiment)
        )
        seed = earlier.metadata.get("master_seed")
        if experiment.is_seed_drawn and type(seed) is int:
            run.master_seed = seed
        definition = experiment.definition()
        earlier.compare(definition["signature"])
        if earlier.is_all_changed:
            earlier.report()
        else:
            if run.replicates is not None and run.stop_when is None:
                asked, run.replicates = run.replicates, earlier.settle_replicates(run.replicates)
                if asked < run.replicates == earlier.replicates:
                    _log.info("%s has %d replicates, and keeps them all", claim.folder, run.replicates)
            run.started = earlier.metadata.get("started") or run.started
            definition = experiment.definition()  # it may relate to a plan otherwise
            if earlier.without:
                definition["other_conditions"] = earlier.without
            recording = Recording(experiment, claim, definition, is_resumed=True, fsync=fsync)
            run.stored, run.failed = recording.go_on(earlier), earlier.failed
            otherwise.pop_all()
            return recording
    return begin_recording(experiment, location, fsync=fsync)


def _decided(result: Result) -> dict[str, Any]:
    """Return what the metadata say of the rule that has ended the run; nothing if none has."""
    if result.stopping is None:
        return {}
    return {"replicates": result.replicates, "stopping": result.stopping.to_dict()}


def _remove_left_out(folder: Path, stopping: Stopping) -> None:
    """Remove the artifacts of what was in flight when a rule ended the run, or dropped a condition."""
    for each in replicates_in(folder):
        replicate = replicate_number(each.name)
        if replicate >= stopping.replicates:
            remove_folder(each)
            continue
        for condition, first in stopping.dropped.items():
            if replicate >= first and is_folder(each / condition):
                remove_folder(each / condition)


def _describe_run(
    experiment: RunningExperiment, definition: dict[str, Any], account: Account
) -> dict[str, Any]:
    """Return the metadata of a run that begins now."""
    return {
        "run": experiment.current_run.token,
        **definition,
        "status": RUNNING,
        **_describe_plugins(experiment.plugins),
        "hooks": experiment.plugins.order(),
        **account.at_start(),
        "started": experiment.current_run.started,
        "earlier_sessions": [],
    }


def _describe_plugins(plugins: PluginManager) -> dict[str, Any]:
    described = plugins.describe()
    strategy = plugins.strategy
    executed = (each for each in described if strategy is not None and each["name"] == strategy.name)
    return {"execution": next(executed, None), "plugins": described}


def _consumed(experiment: RunningExperiment) -> Consumed | None:
    """Return what tells which stored artifacts of others an outcome reads; None if no data source reads any."""
    sources: dict[str, DataSource] = {
        name: getattr(experiment.active_treatments.get(name), "datasource", None) or experiment.datasource
        for name in experiment.conditions
    }
    if not any(source.producers() for source in sources.values()):
        return None
    return lambda replicate, condition: sources[condition].consumed(replicate, condition)


def storing(place: str | Path) -> contextlib.AbstractContextManager[None]:
    """Turn the errors of the file system into one that says what could not be stored."""
    return store_errors(
        "the run cannot be stored",
        place,
        "Look at the folder's rights and the space on its disk, or choose another root_dir",
    )
