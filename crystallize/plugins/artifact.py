"""The plugin that stores runs: results, metadata and artifacts."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from crystallize.errors import InvalidTypeError, InvalidValueError, StoreError
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import BasePlugin
from crystallize.store.layout import APPLY, COMPLETE, RESULTS, RunLocation
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
from crystallize.utils.files import atomic_write_bytes, to_json
from crystallize.utils.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from crystallize.experiments.experiment import Experiment
    from crystallize.results.columns import Column
    from crystallize.results.result import Result
    from crystallize.utils.context import FrozenContext

_one_at_a_time = threading.Lock()
# Experiments of a graph begin and end in threads. Writing a folder is dozens of short system calls, and threads that
# take the interpreter from each other after every one of them need twice as long as one after the other.


@dataclass
class _Run:
    """A run under way, as the coordinator knows it; in a worker it is its sink only."""

    sink: ArtifactSink
    name: str = ""
    claim: Claim | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    begun: bool = False
    in_loop: bool = False


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
        self._runs: WeakKeyDictionary[Experiment, _Run] = WeakKeyDictionary()
        self._sent: dict[str, ArtifactSink] = {}  # in a worker: what came with the plugin, by the run's name
        self._latest: tuple[Experiment | None, ArtifactSink | None] = (None, None)  # of before_replicate

    def location(self, experiment: Experiment) -> RunLocation:
        """Return where `experiment` stores its runs."""
        return RunLocation(self.root_dir, experiment.folder_name, self.versioned)

    def before_run(self, experiment: Experiment) -> None:
        """Claim a folder for the run and write its metadata."""
        self._latest = (None, None)
        if experiment.run_kind == APPLY:
            return
        name = check_name("experiment", experiment.folder_name)
        if any(run.in_loop and run.name == name for run in self._known_runs()):
            raise StoreError(
                f"two experiments called {name!r} run at the same time with one ArtifactPlugin",
                self.root_dir,
                "Give each an ArtifactPlugin of its own",
            )
        self._give_up(self._runs.pop(experiment, None))
        with _one_at_a_time, _store_errors(self.root_dir):
            metadata = describe_run(experiment)
            claim = claim_run(self.location(experiment))
            try:
                write_metadata(claim.folder, metadata, RUNNING)
            except BaseException:
                claim.discard()
                raise
        self._runs[experiment] = _Run(ArtifactSink(str(claim.folder)), name, claim, metadata)

    @hookimpl(wrapper=True)
    def run_experiment_loop(
        self, experiment: Experiment, replicate_fn: Callable[[int], Any]
    ) -> Generator[None, Any, Any]:
        """Note in the metadata how a run that does not reach its end has ended."""
        run = self._runs[experiment]
        run.begun = run.in_loop = True
        try:
            return (yield)
        except BaseException as error:
            self._give_up(self._runs.pop(experiment), error)
            raise
        finally:
            run.in_loop = False

    def before_replicate(self, experiment: Experiment, ctx: FrozenContext) -> None:
        """Lead the artifacts of this context to their folder."""
        latest, sink = self._latest
        if latest is experiment:
            ctx.artifact_sink = sink
            return
        if experiment.run_kind == APPLY:
            folder = self.location(experiment).folder / APPLY
            ctx.artifact_sink = ArtifactSink(str(folder), by_replicate=False)
            return
        run = self._runs.get(experiment)
        if run is None:  # the first time in a worker
            run = self._runs[experiment] = _Run(self._sent[experiment.folder_name])
        self._latest = (experiment, run.sink)
        ctx.artifact_sink = run.sink

    @hookimpl(tryfirst=True)  # the others find the run stored, and its folder in result.path
    def after_run(self, experiment: Experiment, result: Result) -> None:
        """Write results, markers, manifest and metadata, and make the run the one that readers find."""
        if experiment.run_kind == APPLY:
            return
        self._latest = (None, None)
        run = self._runs.pop(experiment, None)
        if run is None or run.claim is None:
            return
        try:
            with _one_at_a_time, _store_errors(run.sink.base):
                metadata = run.metadata | {
                    "plugins": experiment.plugins.describe(),  # again: a strategy may have learnt of itself
                    "failed_outcomes": len(result.errors),
                }
                self._write_end(run.claim.folder, metadata, result)
                result.path = run.claim.publish()
        except BaseException as error:
            self._give_up(run, error)
            raise
        if self.versioned and self.artifact_retention is not None:
            with _store_errors(self.root_dir):
                prune(self.location(experiment), self.artifact_retention)

    def _known_runs(self) -> list[_Run]:
        """Return the runs under way; the experiments of a graph may share the plugin, each in its thread."""
        # Iterating over the mapping itself would fail when another thread begins a run.
        experiments = [reference() for reference in self._runs.keyrefs()]
        return [run for each in experiments if each is not None and (run := self._runs.get(each)) is not None]

    def __getstate__(self) -> dict[str, Any]:
        sent = {run.name: run.sink for run in self._known_runs() if run.in_loop}
        return self.__dict__ | {"_runs": None, "_sent": sent, "_latest": (None, None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._runs = WeakKeyDictionary()

    @staticmethod
    def _write_end(folder: Path, metadata: dict[str, Any], result: Result) -> None:
        """Write all that a complete run has; the metadata, which call it complete, come last."""
        failed = {error.condition for error in result.errors}
        for condition in result.conditions:
            columns = result.condition(condition).columns
            atomic_write_bytes(folder / condition / RESULTS, _results(columns).encode())
            if condition not in failed:
                atomic_write_bytes(folder / condition / COMPLETE, b"")
        write_manifest(folder, result.artifacts)
        write_metadata(folder, metadata, FINISHED)

    @staticmethod
    def _give_up(run: _Run | None, error: BaseException | None = None) -> None:
        """End a run that will not be completed; one that had not begun leaves nothing."""
        if run is None or run.claim is None:
            return
        if not run.begun:
            run.claim.discard()
            return
        status = FAILED if error is None or isinstance(error, Exception) else INTERRUPTED
        with contextlib.suppress(OSError):  # the error that ended the run says more
            write_metadata(run.claim.folder, run.metadata, status)
        run.claim.release()


def _results(columns: Mapping[str, Column]) -> str:
    """Return the text of results.json; from slices, for the lists of a long run are large beside its columns."""
    metrics = (
        f"{to_json(name)}: [{', '.join(to_json(values)[1:-1] for values in column.slices())}]"
        for name, column in columns.items()
    )
    return f'{{"metrics": {{{", ".join(metrics)}}}}}\n'


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
