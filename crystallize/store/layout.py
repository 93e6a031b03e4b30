"""Where things are on disk.

::

    <root>/<experiment>/v<N>/                    a run
        metadata.json                            what ran, where, and how it ended
        _manifest.json                           every artifact: its steps, and size and hash of each file
        <condition>/results.json                 {"metrics": {name: [values]}}
        <condition>/.crystallize_complete        none of the condition's outcomes failed
        replicate_<i>/<condition>/<step>/<name>  artifacts
    <root>/<experiment>/apply/<condition>/<step>/<name>
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

METADATA = "metadata.json"
MANIFEST = "_manifest.json"
RESULTS = "results.json"
HYPOTHESES = "hypotheses.json"
COMPLETE = ".crystallize_complete"
APPLY = "apply"
BASELINE = "baseline"

_VERSION = re.compile(r"v(\d+)")
_REPLICATE = re.compile(r"replicate_\d+")


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
    versioned: bool = False

    @property
    def folder(self) -> Path:
        """The experiment's folder, as an absolute path."""
        return Path(self.root).absolute() / self.experiment

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(Path(self.root).absolute()), self.experiment, self.versioned)


def version_number(name: str) -> int | None:
    """Return N if `name` is the name ``v<N>`` of a run's folder, else None."""
    match = _VERSION.fullmatch(name)
    return int(match[1]) if match else None


def replicates_in(run: Path) -> list[Path]:
    """Return the folders of a run that hold artifacts, one for each replicate that wrote any."""
    return [path for path in run.iterdir() if _REPLICATE.fullmatch(path.name)]


def replicate_folder(replicate: int) -> str:
    """Return the name of the folder that holds a replicate's artifacts."""
    return f"replicate_{replicate}"
