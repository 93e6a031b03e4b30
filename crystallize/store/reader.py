"""A stored run, as those read it who must not mix it with another one."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from crystallize.errors import ArtifactError, StoreError
from crystallize.store.finding import LOOKS, during_swap, find_again, find_run
from crystallize.store.folders import next_version
from crystallize.store.layout import BASELINE, METADATA, RunLocation, version_number
from crystallize.store.locks import ReadLock
from crystallize.store.manifest import ManifestIndex
from crystallize.store.metadata import read_metadata, run_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")
_log = logging.getLogger("crystallize.artifacts")
_choosing = threading.Lock()


def lock_run(run: Path) -> ReadLock | None:
    """Keep the run in folder `run` from being removed; None if it has no metadata, since no run of ours wrote it.

    The lock is on a file in the folder where the run is now, which differs while another one takes its place.
    """
    for _ in range(LOOKS):
        place = during_swap(run)
        try:
            return ReadLock(place / METADATA)
        except OSError:
            read_metadata(place)  # says what is wrong with it, if it is there
    return None


def replicates_of(metadata: Mapping[str, Any] | None) -> int | None:
    """Return how many replicates a run has, or None if its metadata do not tell."""
    count = (metadata or {}).get("replicates")
    return count if type(count) is int and count > 0 else None


class _Chosen(NamedTuple):
    """The run that a consumer keeps to.

    Attributes
    ----------
    folder : pathlib.Path
        The folder that it is published as.
    token : str or None
        What tells it from others.
    metadata : dict or None
        Its metadata as they were when it was chosen, if it has a token; workers do without.
    """

    folder: Path
    token: str | None
    metadata: dict[str, Any] | None


class RunReader:
    """Finds the run to read, and what it knows of itself.

    Parameters
    ----------
    location : RunLocation
        Where the producer stores its runs.
    version : int, optional
        The version to read; the newest complete one, if not given.

    Attributes
    ----------
    manifest : ManifestIndex
        What finds the artifacts of the run.
    """

    def __init__(self, location: RunLocation, version: int | None = None) -> None:
        self.location = location
        self.version = version
        self.manifest = ManifestIndex()
        self._chosen: _Chosen | None = None
        self._lock: ReadLock | None = None
        self._holders = 0
        self._logged: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        # The lock the coordinator holds for all; metadata and manifest are as large as the experiment and its run.
        chosen = None if self._chosen is None else self._chosen._replace(metadata=None)
        return self.__dict__ | {
            "_chosen": chosen,
            "_lock": None,
            "_holders": 0,
            "manifest": ManifestIndex(),
        }

    def choose_run(self, described: Mapping[str, Any] | None = None) -> None:
        """Choose the run now and keep to it until :meth:`release_run`; until then it is not removed.

        Consumers that share a reader and run at the same time keep to one run, until the last has released it.

        Parameters
        ----------
        described : mapping, optional
            What :meth:`describe` once said of a run: it is chosen if it is still there.
        """
        with _choosing:
            if not self._holders:
                self._choose(described or {})
            self._holders += 1

    def _choose(self, described: Mapping[str, Any]) -> None:
        self._chosen = None
        self.manifest = ManifestIndex()
        while True:
            folder = self._find_described(described) or find_run(self.location, self.version)
            if folder is None:
                return
            published = self.location.folder / self.version_of(folder)
            lock = lock_run(published)
            place = folder if lock is None else lock.path.parent
            token = run_token(place)
            chosen = _Chosen(published, token, None if token is None else read_metadata(place))
            if lock is None or lock.is_in_place():
                self._chosen, self._lock = chosen, lock
                return
            lock.release()  # it was replaced meanwhile

    def _find_described(self, described: Mapping[str, Any]) -> Path | None:
        """Return the folder of the run that :meth:`describe` once described; None if it is gone."""
        number = version_number(str(described.get("version"))) if self.version is None else None
        folder = None if number is None else find_run(self.location, number)
        return folder if folder is not None and run_token(folder) == described.get("run") else None

    def release_run(self) -> None:
        """Let the run that was chosen go, unless another consumer keeps to it."""
        with _choosing:
            self._holders = max(0, self._holders - 1)
            if self._holders:
                return
            self._chosen = None
            self.manifest = ManifestIndex()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def folder(self) -> Path | None:
        """Return the folder of the run to read, or None if there is none.

        Raises
        ------
        StoreError
            If there is none any more.
        """
        if self._chosen is None:
            return find_run(self.location, self.version)
        found = find_again(self._chosen.folder, self._chosen.token)
        if found is None:
            raise StoreError(
                f"the run of experiment {self.location.experiment!r} that is being read is gone: another one took "
                "its place, it was resumed with other settings, code or inputs, or it was removed",
                str(self._chosen.folder),
                "Run this again; a rerun with versioned=True, the default, leaves alone what is being read",
            )
        return found

    def read(self, function: Callable[[RunReader, Path | None], T]) -> T:
        """Return what `function` makes of this reader and the folder of the run, again if the run is moved meanwhile.

        With ``versioned=False``, it is when another one takes its place.
        """
        while True:
            folder = self.folder()
            try:
                value = function(self, folder)
            except (OSError, ArtifactError):
                if self.folder() == folder:
                    raise
            else:
                if self.folder() == folder:
                    return value

    def expected_folder(self) -> Path:
        """Return the folder that would be read if it were there."""
        number = self.version or 0
        if self.version is None and self.location.versioned:
            number = next_version(self.location.folder)
        return self.location.folder / f"v{number}"

    def metadata(self) -> dict[str, Any] | None:
        """Return the metadata of the run to read, or None if there is no run, or it has none.

        Of one that was chosen, they are those of then.
        """
        if self._chosen is not None and self._chosen.metadata is not None:
            return self._chosen.metadata
        return self.read(lambda _, folder: None if folder is None else read_metadata(folder))

    def metadata_path(self) -> Path:
        """Return where the metadata are, or should be."""
        return (self.folder() or self.expected_folder()) / METADATA

    @property
    def replicates(self) -> int | None:
        """The producer's number of replicates, or None if no metadata tell it."""
        return replicates_of(self.metadata())

    def describe(self, artifact: str) -> dict[str, Any]:
        """Return which run the artifact is read from, for the consumer's metadata."""
        metadata = self.metadata() or {}
        folder = self.folder() if self._chosen is None else self._chosen.folder
        return {
            "experiment": self.location.experiment,
            "artifact": artifact,
            "version": None if folder is None else self.version_of(folder),
            "run": metadata.get("run"),  # v0 is written again: its number alone does not tell the run
            "started": metadata.get("started"),
        }

    def version_of(self, folder: Path) -> str:
        """Return the version that a run's folder stands for, also while it is being replaced."""
        return folder.name if version_number(folder.name) is not None else "v0"

    def condition(self, wanted: str, metadata: Mapping[str, Any] | None) -> str:
        """Return the producer's condition to read for the consumer's condition `wanted`.

        That is the same one, or the baseline, with a line in the log, if the producer has none of that name.
        """
        conditions = (metadata or {}).get("conditions")
        if wanted == BASELINE or not isinstance(conditions, dict) or wanted in conditions:
            return wanted
        if wanted not in self._logged:
            self._logged.add(wanted)
            _log.info(
                "experiment %r has no condition %r: its baseline's artifacts are read",
                self.location.experiment,
                wanted,
            )
        return BASELINE
