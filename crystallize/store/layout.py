"""Where things are on disk.

::

    <root>/<experiment>/v<N>/                    a run
        metadata.json                            what ran, where, and how it ended
        journal.jsonl                            every outcome as it arrived, a line each
        .pinned                                  keep the run; only if somebody asked for it
        pruned.json                              how much of the artifacts was removed; only if any were
        _manifest.json                           every artifact: its steps, and size and hash of each file
        <condition>/results.json                 {"metrics": {name: [values]}}
        <condition>/.crystallize_complete        none of the condition's outcomes failed
        replicate_<i>/<condition>/<step>/<name>  artifacts
    <root>/<experiment>/apply/<condition>/<step>/<name>
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from crystallize.errors import InvalidNameError, StoreError
from crystallize.utils.files import is_folder, read_plain
from crystallize.utils.names import check_name, name_key

ROOT = "data"
"""Where runs are stored, if nothing else is said."""

METADATA = "metadata.json"
JOURNAL = "journal.jsonl"
MANIFEST = "_manifest.json"
RESULTS = "results.json"
HYPOTHESES = "hypotheses.json"
COMPLETE = ".crystallize_complete"
PINNED = ".pinned"
PRUNED = "pruned.json"
APPLY = "apply"
CRATE = "ro-crate-metadata.json"
"""The file of an exported run that describes it."""

BASELINE = "baseline"
"""The condition that always runs, first."""

LARGEST = 1 << 30
"""How many bytes of one JSON file are read: a hundred million values, and less than would fill a memory."""

_VERSION = re.compile(r"v(0|[1-9][0-9]*)")
_REPLICATE = re.compile(r"replicate_\d+")
_FILES = frozenset({METADATA, JOURNAL, MANIFEST, HYPOTHESES, PRUNED, CRATE})


class ArtifactEntry(NamedTuple):
    """One artifact that a step wrote.

    Attributes
    ----------
    name : str
        The artifact's name, which is its file's name.
    step : str
        The step that wrote it.
    replicate : int
        The replicate that it was written in.
    condition : str
        The condition that it was written under.
    path : str
        Where the file is, relative to the run's folder, with forward slashes.
    size : int
        Bytes.
    digest : str
        ``xxh3_128:`` and the hash of the content as 32 hexadecimal digits.
    """

    name: str
    step: str
    replicate: int
    condition: str
    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class RunLocation:
    """Where an experiment stores its runs: all that a downstream experiment needs to know of it.

    Attributes
    ----------
    root : str
        The root folder. A relative one counts from the working directory at the moment of use; a pickled
        location carries the absolute one, so that workers agree with the coordinator.
    experiment : str
        The experiment's folder below the root: its name, or its id.
    versioned : bool
        Whether each run has a folder of its own, or all use ``v0``.
    """

    root: str
    experiment: str
    versioned: bool = True

    @property
    def folder(self) -> Path:
        """The experiment's folder, as an absolute path."""
        return Path(self.root).absolute() / self.experiment

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(Path(self.root).absolute()), self.experiment, self.versioned)


def root_folder(root: str | os.PathLike[str]) -> str:
    """Return the path of a root: ``~`` is the user's own folder."""
    return os.path.expanduser(os.fspath(root))  # noqa: PTH111 - an unknown ~user is left as it is


def version_number(name: str) -> int | None:
    """Return N if `name` is the name ``v<N>`` of a run's folder, else None."""
    match = _VERSION.fullmatch(name)
    return int(match[1]) if match else None


def replicates_in(run: Path) -> list[Path]:
    """Return the folders of a run that hold artifacts, one for each replicate that wrote any."""
    with os.scandir(run) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if _REPLICATE.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]


def replicate_folder(replicate: int) -> str:
    """Return the name of the folder that holds a replicate's artifacts."""
    return f"replicate_{replicate}"


def replicate_number(name: str) -> int:
    """Return the replicate of the folder that :func:`replicate_folder` has named."""
    return int(name.removeprefix("replicate_"))


def check_condition_name(name: object) -> str:
    """Return `name` if it can be the name of a condition: its folder stands beside the files of a run."""
    checked = check_name("treatment", name)
    key = name_key(checked)
    if key == BASELINE != checked:
        raise InvalidNameError(
            f"{checked!r} cannot be the name of a treatment: some systems do not tell it from {BASELINE!r}",
            hint=f"Call it {BASELINE!r} to give the baseline its settings, or choose another name",
        )
    if _REPLICATE.fullmatch(key) or key in _FILES or key.startswith("."):
        raise InvalidNameError(
            f"{checked!r} cannot be the name of a treatment: the store keeps that name for itself",
            hint="Choose another name",
        )
    return checked


def path_in(run: str | Path, *parts: str) -> str:
    """Return the path of a file in the folder `run`, which is there and does not lead out of it.

    Raises
    ------
    StoreError
        If one of the folders on the way is a link, or something else.
    """
    path = os.fspath(run)
    for part in parts[:-1]:
        path = f"{path}/{part}"
        if not is_folder(path) and os.path.lexists(path):
            raise StoreError(
                "this is a link or no folder, and nothing is read from behind it",
                path,
                "Put the folder itself in its place",
            )
    return f"{path}/{parts[-1]}"


def read_in(run: str | Path, *parts: str) -> bytes:
    """Return the content of a plain file in the folder `run`; see :func:`path_in`.

    Raises
    ------
    OSError
        If there is none, if it is a link or larger than :data:`LARGEST`, or if it cannot be read.
    """
    return read_plain(path_in(run, *parts), LARGEST, follow_links=False)
