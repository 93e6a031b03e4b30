"""The plugin that stores runs: results, metadata and artifacts."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from crystallize.errors import InvalidTypeError, InvalidValueError, PluginError, StoreError
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import BasePlugin
from crystallize.results.hypotheses_file import format_hypotheses
from crystallize.results.results_file import format_results
from crystallize.store.layout import APPLY, COMPLETE, HYPOTHESES, RESULTS, ROOT, RunLocation
from crystallize.store.manifest import write_manifest
from crystallize.store.metadata import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    describe_surroundings,
    read_metadata,
    write_metadata,
)
from crystallize.store.retention import MEGABYTE, prune
from crystallize.store.sink import ArtifactSink
from crystallize.store.versions import Claim, apply_folder, claim_run, find_run
from crystallize.utils.files import atomic_write_bytes
from crystallize.utils.json_text import to_json
from crystallize.utils.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from crystallize.hookspecs import RunningExperiment
    from crystallize.plugins.manager import PluginManager
    from crystallize.results.result import Result
    from crystallize.utils.context import FrozenContext

RETENTION = "CRYSTALLIZE_ARTIFACT_RETENTION"
THRESHOLD = "CRYSTALLIZE_BIG_FILE_THRESHOLD_MB"

_Number = TypeVar("_Number", int, float)
_ADDRESS = re.compile(" at 0x[0-9a-fA-F]+")  # differs from process to process
_log = logging.getLogger("crystallize.store")
_one_at_a_time = threading.Lock()
# Experiments of a graph begin and end in threads. Writing a folder is dozens of short system calls, and threads that
# take the interpreter from each other after every one of them need twice as long as one after the other.


class _Recording:
    """A run that is being stored: the coordinator's part of the plugin's state."""

    def __init__(self, claim: Claim, metadata: dict[str, Any]) -> None:
        self._claim = claim
        self._metadata = metadata
        self._is_complete = False

    def __getstate__(self) -> dict[str, Any]:
        return {}  # workers write artifacts, and nothing else

    def complete(self, plugins: PluginManager, result: Result) -> Path:
        """Write all that a complete run has; the metadata, which call it complete, come last."""
        folder = self._claim.folder
        failed = {error.condition for error in result.errors}
        for condition in result.conditions:
            atomic_write_bytes(folder / condition / RESULTS, format_results(result.condition(condition)))
            if condition not in failed:
                atomic_write_bytes(folder / condition / COMPLETE, b"")
        if result.metrics.hypotheses:
            atomic_write_bytes(folder / HYPOTHESES, format_hypotheses(result.metrics.hypotheses))
        write_manifest(folder, result.artifacts)
        plugins_now = {"plugins": plugins.describe()}  # again: a strategy may have learnt of itself
        outcome = {
            "failed_outcomes": len(result.errors),
            "artifact_bytes": sum({entry.path: entry.size for entry in result.artifacts}.values()),
            "replaces": self._claim.replaces(),
        }
        write_metadata(folder, self._metadata | plugins_now | outcome, FINISHED)
        path = self._claim.publish()
        self._is_complete = True
        return path

    def close(self, run: Any, error: BaseException | None) -> None:
        """Note of a run that was not completed how it ended; of one that had not begun, leave nothing."""
        if self._is_complete:
            return
        if not run.has_begun:
            self._claim.discard()
            return
        ended_by = (
            error.__cause__ if isinstance(error, PluginError) else error
        )  # sys.exit() in a plugin's hook
        status = INTERRUPTED if ended_by is not None and not isinstance(ended_by, Exception) else FAILED
        try:
            write_metadata(self._claim.folder, self._metadata, status)
        except OSError:  # the error that ended the run says more
            self._claim.leave()
        else:
            self._claim.release()


class ArtifactPlugin(BasePlugin):
    """Stores each run below ``<root_dir>/<experiment's name or id>/v<N>/``.

    Parameters
    ----------
    root_dir : str or Path, default "data"
        The root folder. A relative one counts from the working directory when a run starts.
    versioned : bool, default True
        Whether each run gets a new version, so that none takes the place of another. If not, all runs use ``v0``;
        the last complete run stays readable there until the next one is complete, which replaces it.
    artifact_retention : int, optional
        How many of the newest complete versions keep their artifacts; by default ``CRYSTALLIZE_ARTIFACT_RETENTION``
        of the environment says it, or all do. Results and metadata stay for ever, and so does all of a pinned run.
    big_file_threshold_mb : float, optional
        Older versions lose only artifacts of at least so many megabytes (of 10^6 bytes); by default
        ``CRYSTALLIZE_BIG_FILE_THRESHOLD_MB`` of the environment says it, or they lose all.
    """

    environment: ClassVar[Mapping[str, str]] = {
        RETENTION: "how many versions of an experiment keep their artifacts, unless artifact_retention is given",
        THRESHOLD: "from how many megabytes on older versions lose an artifact, unless big_file_threshold_mb is given",
    }

    def __init__(
        self,
        root_dir: str | Path = ROOT,
        versioned: bool = True,
        artifact_retention: int | None = None,
        big_file_threshold_mb: float | None = None,
    ) -> None:
        if not isinstance(root_dir, str | os.PathLike):
            raise InvalidTypeError(f"root_dir is a path, got {root_dir!r}", "ArtifactPlugin")
        if not isinstance(versioned, bool):
            raise InvalidTypeError(f"versioned is True or False, got {versioned!r}", "ArtifactPlugin")
        if artifact_retention is None:
            artifact_retention = _from_environment(RETENTION, int)
        if artifact_retention is not None:
            _check_retention(artifact_retention)
        if big_file_threshold_mb is not None:
            _check_threshold(big_file_threshold_mb, artifact_retention)
        elif artifact_retention is not None:
            big_file_threshold_mb = _from_environment(THRESHOLD, float)
            if big_file_threshold_mb is not None:
                _check_threshold(big_file_threshold_mb, artifact_retention)
        self.root_dir = os.fspath(root_dir)
        self.versioned = versioned
        self.artifact_retention = artifact_retention
        self.big_file_threshold_mb = big_file_threshold_mb

    def location(self, experiment: RunningExperiment) -> RunLocation:
        """Return where `experiment` stores its runs."""
        return RunLocation(self.root_dir, experiment.folder_name, self.versioned)

    def before_run(self, experiment: RunningExperiment) -> None:
        """Claim a folder for the run and write its metadata."""
        run = experiment.current_run
        state = run.state(self)
        if run.kind == APPLY:
            with _store_errors(self.root_dir):
                folder = apply_folder(self.location(experiment))
            state.sink = ArtifactSink(str(folder), by_replicate=False)
            return
        check_name("experiment", experiment.folder_name)
        with _one_at_a_time, _store_errors(self.root_dir):
            metadata = _describe_run(experiment)
            location = self.location(experiment)
            if experiment.name is None:
                _warn_of_other_definition(location, metadata)
            claim = claim_run(location)
            state.sink = ArtifactSink(str(claim.folder))
            state.recording = recording = _Recording(claim, metadata)
            run.exit_stack.push(lambda _, error, __: recording.close(run, error))
            write_metadata(claim.folder, metadata, RUNNING)

    def before_replicate(self, experiment: RunningExperiment, ctx: FrozenContext) -> None:
        """Lead the artifacts of this context to their folder."""
        ctx.artifact_sink = experiment.current_run.state(self).sink

    @hookimpl(tryfirst=True)  # the others find the run stored, and its folder in result.path
    def after_run(self, experiment: RunningExperiment, result: Result) -> None:
        """Write results, markers, manifest and metadata, and make the run the one that readers find."""
        if experiment.run_kind == APPLY:
            return
        recording = experiment.current_run.state(self).recording
        with _one_at_a_time, _store_errors(self.root_dir):
            result.path = recording.complete(experiment.plugins, result)
        if self.versioned and self.artifact_retention is not None:
            with _store_errors(self.root_dir):
                prune(
                    self.location(experiment),
                    self.artifact_retention,
                    smallest=math.ceil((self.big_file_threshold_mb or 0) * MEGABYTE),
                )


def _describe_run(experiment: RunningExperiment) -> dict[str, Any]:
    """Return the metadata of a run that begins now."""
    return {
        "run": experiment.current_run.token,
        **experiment.definition(),
        "status": RUNNING,
        "plugins": experiment.plugins.describe(),
        "hooks": experiment.plugins.order(),
        **describe_surroundings(),
        "finished": None,
    }


def _warn_of_other_definition(location: RunLocation, metadata: dict[str, Any]) -> None:
    """Say so if the experiment without a name that was stored here last is another one with the same pipeline."""
    try:
        last = find_run(location)
        stored = None if last is None else read_metadata(last)
    except StoreError:  # damaged: nothing to compare with
        return
    if stored is None:
        return
    for key, what in (("datasource", "data source"), ("initial_ctx", "initial context")):
        before, now = (_ADDRESS.sub("", to_json(each.get(key))) for each in (stored, metadata))
        if before != now:
            _log.warning(
                "the experiment without a name %s the run of another one with the same pipeline, in %s: its %s was "
                "%s, and is %s. Give each experiment a name",
                "is stored beside" if location.versioned else "takes the place of",
                last,
                what,
                before,
                now,
            )
            return


def _from_environment(variable: str, kind: Callable[[str], _Number]) -> _Number | None:
    """Return the number that a variable of the environment holds; None if it is not set or empty."""
    text = os.environ.get(variable, "").strip()
    try:
        return kind(text) if text else None
    except ValueError:
        raise InvalidValueError(
            f"{variable} is a number, got {text!r}", "the environment", f"Set it right, or unset {variable}"
        ) from None


def _check_threshold(value: object, retention: int | None) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(
            f"big_file_threshold_mb is a number of megabytes, got {value!r}", "ArtifactPlugin"
        )
    if not 0 <= value < math.inf:
        raise InvalidValueError(f"big_file_threshold_mb is 0 or more, got {value}", "ArtifactPlugin")
    if retention is None:
        raise InvalidValueError(
            "big_file_threshold_mb says what older versions lose, and without artifact_retention they lose nothing",
            "ArtifactPlugin",
            "Give both",
        )


def _check_retention(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"artifact_retention is a number of versions, got {value!r}", "ArtifactPlugin")
    if value < 1:
        raise InvalidValueError(
            f"artifact_retention is 1 or more, got {value}",
            "ArtifactPlugin",
            "A run's own artifacts are always kept; None keeps those of all runs",
        )


@contextlib.contextmanager
def _store_errors(place: str) -> Iterator[None]:
    """Turn the errors of the file system into one that says what could not be stored."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"the run cannot be stored: {error.strerror or error}",
            str(error.filename or Path(place).absolute()),
            "Look at the folder's rights and the space on its disk, or choose another root_dir",
        ) from error
