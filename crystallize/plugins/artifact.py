"""The plugin that stores runs: results, metadata and artifacts."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import InvalidTypeError, InvalidValueError, StoreError
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import BasePlugin
from crystallize.store.layout import APPLY, COMPLETE, RESULTS, RunLocation, replicate_folder
from crystallize.store.manifest import write_manifest
from crystallize.store.metadata import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    describe_run,
    write_metadata,
)
from crystallize.store.sink import ArtifactSink
from crystallize.store.versions import Claim, claim_run, prune
from crystallize.utils.files import atomic_write_bytes, atomic_write_json
from crystallize.utils.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.result import Result
    from crystallize.utils.context import FrozenContext


@dataclass
class _Run:
    """A run under way; workers get its folder only."""

    base: str
    claim: Claim | None = None
    metadata: dict[str, Any] | None = None
    begun: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.base,)


class ArtifactPlugin(BasePlugin):
    """Stores each run below ``<root_dir>/<experiment's name or id>/v<N>/``.

    Parameters
    ----------
    root_dir : str or Path, default "data"
        The root folder. A relative one counts from the working directory when a run starts.
    versioned : bool, default False
        Whether each run gets a new version. If not, all runs use ``v0``; the last complete run stays readable
        there until the next one is complete.
    artifact_retention : int, optional
        How many of the newest complete versions keep their artifacts. By default all do. Results and metadata
        stay for ever.
    """

    def __init__(
        self, root_dir: str | Path = "data", versioned: bool = False, artifact_retention: int | None = None
    ) -> None:
        if not isinstance(root_dir, str | os.PathLike):
            raise InvalidTypeError(f"root_dir is a path, got {root_dir!r}", "ArtifactPlugin")
        if not isinstance(versioned, bool):
            raise InvalidTypeError(f"versioned is True or False, got {versioned!r}", "ArtifactPlugin")
        if artifact_retention is not None:
            _check_retention(artifact_retention)
        self.root_dir = os.fspath(root_dir)
        self.versioned = versioned
        self.artifact_retention = artifact_retention
        self._runs: dict[str, _Run] = {}

    def location(self, experiment: Experiment) -> RunLocation:
        """Return where `experiment` stores its runs."""
        return RunLocation(self.root_dir, experiment.folder_name, self.versioned)

    def before_run(self, experiment: Experiment) -> None:
        """Claim a folder for the run and write its metadata."""
        if experiment.run_kind == APPLY:
            return
        check_name("experiment", experiment.folder_name)
        self._give_up(self._runs.pop(experiment.folder_name, None))
        metadata = describe_run(experiment)
        with _store_errors(self.root_dir):
            claim = claim_run(self.location(experiment))
            try:
                write_metadata(claim.folder, metadata, RUNNING)
            except BaseException:
                claim.discard()
                raise
        self._runs[experiment.folder_name] = _Run(str(claim.folder), claim, metadata)

    @hookimpl(wrapper=True)
    def run_experiment_loop(
        self, experiment: Experiment, replicate_fn: Callable[[int], Any]
    ) -> Generator[None, Any, Any]:
        """Note in the metadata how a run that does not reach its end has ended."""
        run = self._runs.get(experiment.folder_name)
        if run is not None:
            run.begun = True
        try:
            return (yield)
        except BaseException as error:
            self._give_up(
                self._runs.pop(experiment.folder_name, None),
                FAILED if isinstance(error, Exception) else INTERRUPTED,
            )
            raise

    def before_replicate(self, experiment: Experiment, ctx: FrozenContext) -> None:
        """Lead the artifacts of this context to their folder."""
        condition = ctx["condition"]
        if experiment.run_kind == APPLY:
            base = str(self.location(experiment).folder / APPLY)
            ctx.artifacts.sink = ArtifactSink(base, (condition,), 0, condition)
            return
        run = self._runs.get(experiment.folder_name)
        if run is not None:
            replicate = ctx["replicate"]
            parts = (replicate_folder(replicate), condition)
            ctx.artifacts.sink = ArtifactSink(run.base, parts, replicate, condition)

    def after_run(self, experiment: Experiment, result: Result) -> None:
        """Write results, markers, manifest and metadata, and make the run the one that readers find."""
        if experiment.run_kind == APPLY:
            return
        run = self._runs.pop(experiment.folder_name, None)
        if run is None or run.claim is None or run.metadata is None:
            return
        try:
            with _store_errors(run.base):
                self._write_end(run.claim.folder, run.metadata, result)
                result.path = run.claim.publish()
        except BaseException:
            self._give_up(run)
            raise
        if self.versioned and self.artifact_retention is not None:
            with _store_errors(self.root_dir):
                prune(self.location(experiment), self.artifact_retention)

    @staticmethod
    def _write_end(folder: Path, metadata: dict[str, Any], result: Result) -> None:
        """Write all that a complete run has; the metadata, which call it complete, come last."""
        failed = {error.condition for error in result.errors}
        for condition in result.conditions:
            metrics = result.condition(condition).metrics
            atomic_write_json(folder / condition / RESULTS, {"metrics": metrics})
            if condition not in failed:
                atomic_write_bytes(folder / condition / COMPLETE, b"")
        write_manifest(folder, result.artifacts)
        write_metadata(folder, metadata | {"failed_outcomes": len(result.errors)}, FINISHED)

    @staticmethod
    def _give_up(run: _Run | None, status: str = FAILED) -> None:
        """End a run that will not be completed; one that had not begun leaves nothing."""
        if run is None or run.claim is None or run.metadata is None:
            return
        if not run.begun:
            run.claim.discard()
            return
        with contextlib.suppress(OSError):  # the error that ended the run says more
            write_metadata(run.claim.folder, run.metadata, status)
        run.claim.release()


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
