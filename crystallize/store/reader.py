"""A producer's stored runs, as a consumer reads them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from crystallize.store.layout import BASELINE, METADATA, RunLocation
from crystallize.store.metadata import read_metadata
from crystallize.store.versions import find_run

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("crystallize.artifacts")


class RunReader:
    """Finds the run to read, and what it knows of itself.

    Parameters
    ----------
    location : RunLocation
        Where the producer stores its runs.
    version : int, optional
        The version to read; the newest complete one, if not given.
    """

    def __init__(self, location: RunLocation, version: int | None = None) -> None:
        self.location = location
        self.version = version
        self._chosen: int | None = None
        self._logged: set[str] = set()

    def choose_run(self) -> None:
        """Choose the version now and keep to it, so that a consumer's run never reads two runs' artifacts."""
        self._chosen = None
        if self.version is None and self.location.versioned:
            folder = self.folder()
            self._chosen = None if folder is None else int(folder.name[1:])

    def folder(self) -> Path | None:
        """Return the folder of the run to read, or None if there is none."""
        return find_run(self.location, self.version if self._chosen is None else self._chosen)

    def expected_folder(self) -> Path:
        """Return the folder that would be read if it were there."""
        return self.location.folder / (f"v{self.version or 0}" if self._fixed else "v<N>")

    @property
    def _fixed(self) -> bool:
        return self.version is not None or not self.location.versioned

    def metadata(self) -> dict[str, Any] | None:
        """Return the metadata of the run to read, or None if there is no run, or it has none."""
        folder = self.folder()
        return None if folder is None else read_metadata(folder)

    def metadata_path(self) -> Path:
        """Return where the metadata are, or should be."""
        return (self.folder() or self.expected_folder()) / METADATA

    @property
    def replicates(self) -> int | None:
        """The producer's number of replicates, or None if no metadata tell it."""
        count = (self.metadata() or {}).get("replicates")
        return count if isinstance(count, int) else None

    def describe(self, artifact: str) -> dict[str, Any]:
        """Return which run the artifact is read from, for the consumer's metadata."""
        folder, metadata = self.folder(), self.metadata() or {}
        return {
            "experiment": self.location.experiment,
            "artifact": artifact,
            "version": None if folder is None else self.version_of(folder),
            "started": metadata.get("started"),  # v0 is written again: its number alone does not tell the run
        }

    def version_of(self, folder: Path) -> str:
        """Return the version that a run's folder stands for, also while it is being replaced."""
        number = self.version if self._chosen is None else self._chosen
        return folder.name if number is None and self.location.versioned else f"v{number or 0}"

    def condition(self, wanted: str) -> str:
        """Return the producer's condition to read for the consumer's condition `wanted`.

        That is the same one, or the baseline, with a line in the log, if the producer has none of that name.
        """
        conditions = (self.metadata() or {}).get("conditions")
        if wanted == BASELINE or conditions is None or wanted in conditions:
            return wanted
        if wanted not in self._logged:
            self._logged.add(wanted)
            _log.info(
                "experiment %r has no condition %r: its baseline's artifacts are read",
                self.location.experiment,
                wanted,
            )
        return BASELINE
