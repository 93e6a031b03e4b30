"""The plugin that stores runs: results, metadata and artifacts."""

from __future__ import annotations

import logging
import math
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from crystallize.errors import InvalidTypeError, InvalidValueError, StoreError
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import BasePlugin
from crystallize.plugins.recording import begin_recording, resume_recording, storing
from crystallize.store.finding import find_run
from crystallize.store.folders import apply_folder
from crystallize.store.layout import APPLY, ROOT, RunLocation, root_folder
from crystallize.store.metadata import read_metadata
from crystallize.store.retention import MEGABYTE, prune
from crystallize.store.sink import ArtifactSink
from crystallize.utils.checks import check_amount, check_bool, check_count, number_in_environment
from crystallize.utils.failures import comparable_text
from crystallize.utils.json_text import to_json
from crystallize.utils.names import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crystallize.hookspecs import RunningExperiment
    from crystallize.results.result import Result
    from crystallize.store.outcome import ReplicateResult

RETENTION = "CRYSTALLIZE_ARTIFACT_RETENTION"
THRESHOLD = "CRYSTALLIZE_BIG_FILE_THRESHOLD_MB"

_log = logging.getLogger("crystallize.store")
_one_at_a_time = threading.Lock()
# Experiments of a graph begin and end in threads. Writing a folder is dozens of short system calls, and threads that
# take the interpreter from each other after every one of them need twice as long as one after the other.


class ArtifactPlugin(BasePlugin):
    """Stores each run below ``<root_dir>/<experiment's name or id>/v<N>/``.

    Parameters
    ----------
    root_dir : str or Path, default "data"
        The root folder. A relative one counts from the working directory when a run starts; ``~`` is the user's own.
    versioned : bool, default True
        Whether each run gets a new version, so that none takes the place of another. If not, all runs use ``v0``;
        the last complete run stays readable there until the next one is complete, which replaces it.
    artifact_retention : int, optional
        How many of the newest complete versions keep their artifacts; by default ``CRYSTALLIZE_ARTIFACT_RETENTION``
        of the environment says it, or all do. Results and metadata stay for ever, and so does all of a pinned run.
    big_file_threshold_mb : float, optional
        Older versions lose only artifacts of at least so many megabytes (of 10^6 bytes); by default
        ``CRYSTALLIZE_BIG_FILE_THRESHOLD_MB`` of the environment says it, or they lose all.
    fsync : bool, default False
        Whether each write of the journal waits until the disk has it, so that it survives the loss of power.
    """

    affects_outcomes = False

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
        fsync: bool = False,
    ) -> None:
        if not isinstance(root_dir, str | os.PathLike):
            raise InvalidTypeError(f"root_dir is a path, got {root_dir!r}", "ArtifactPlugin")
        if artifact_retention is None:
            artifact_retention = number_in_environment(RETENTION, int, least=1)
        else:
            hint = "A run's own artifacts are always kept; None keeps those of all runs"
            artifact_retention = check_count("artifact_retention", artifact_retention, hint=hint)
        if big_file_threshold_mb is not None:
            _check_threshold(big_file_threshold_mb, artifact_retention)
        elif artifact_retention is not None:
            big_file_threshold_mb = number_in_environment(THRESHOLD, float)
        self.root_dir = root_folder(root_dir)
        self.versioned = check_bool("versioned", versioned)
        self.artifact_retention = artifact_retention
        self.fsync = check_bool("fsync", fsync)
        self.big_file_threshold_mb = big_file_threshold_mb

    def location(self, experiment: RunningExperiment) -> RunLocation:
        """Return where `experiment` stores its runs."""
        return RunLocation(self.root_dir, experiment.folder_name, self.versioned)

    def before_run(self, experiment: RunningExperiment) -> None:
        """Claim a folder for the run and write its metadata."""
        run = experiment.current_run
        if run.kind == APPLY:
            with storing(self.root_dir):
                folder = apply_folder(self.location(experiment))
            run.artifact_sink = ArtifactSink(str(folder), by_replicate=False)
            return
        check_name("experiment", experiment.folder_name)
        with _one_at_a_time, storing(self.root_dir):
            location = self.location(experiment)
            start = resume_recording if run.resumes else begin_recording
            recording = run.state(self).recording = start(experiment, location, fsync=self.fsync)
            run.artifact_sink = ArtifactSink(str(recording.folder))
            if experiment.name is None:
                _warn_of_other_definition(location, recording.definition)

    @hookimpl(tryfirst=True)  # what the others have seen is stored
    def after_replicate(self, experiment: RunningExperiment, result: ReplicateResult) -> None:
        """Write the outcomes to the journal."""
        run = experiment.current_run
        if run.kind != APPLY:
            try:
                run.state(self).recording.add(result)
            except OSError:  # not a block around it, for each replicate comes by
                with storing(self.root_dir):
                    raise

    @hookimpl(tryfirst=True)  # the others find the run stored, and its folder in result.path
    def after_run(self, experiment: RunningExperiment, result: Result) -> None:
        """Write results, markers, manifest and metadata, and make the run the one that readers find."""
        if experiment.run_kind == APPLY:
            return
        recording = experiment.current_run.state(self).recording
        with _one_at_a_time, storing(self.root_dir):
            result.path = recording.complete(result)
        if self.versioned and self.artifact_retention is not None:
            with storing(self.root_dir):
                prune(
                    self.location(experiment),
                    self.artifact_retention,
                    smallest=math.ceil((self.big_file_threshold_mb or 0) * MEGABYTE),
                )


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
        before, now = (comparable_text(to_json(each.get(key))) for each in (stored, metadata))
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


def _check_threshold(value: object, retention: int | None) -> None:
    check_amount("big_file_threshold_mb", value)
    if retention is None:
        raise InvalidValueError(
            "big_file_threshold_mb says what older versions lose, and without artifact_retention they lose nothing",
            "ArtifactPlugin",
            "Give both",
        )
