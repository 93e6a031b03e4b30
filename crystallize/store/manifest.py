"""A run's _manifest.json: which step wrote each artifact, and the size and hash of each file.

::

    {"model.bin": {
        "step": "ModelStep",
        "files": {"replicate_0/baseline/ModelStep/model.bin": {"size": 11, "digest": "xxh3_128:..."}}}}
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from crystallize.errors import ArtifactError, ArtifactNotFoundError, StoreError
from crystallize.store.layout import MANIFEST, ArtifactEntry, read_in, replicate_folder, replicate_number
from crystallize.utils.digests import Measured, measure_file
from crystallize.utils.files import atomic_write_bytes, is_settled
from crystallize.utils.json_text import parse_json, to_json
from crystallize.utils.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_Entries: TypeAlias = "dict[tuple[str, str, str], ArtifactEntry]"
"""By name, replicate's folder and condition."""


def write_manifest(run: Path, entries: Iterable[ArtifactEntry]) -> None:
    """Write the manifest of the run in folder `run`; of several writes to one file the last one counts."""
    manifest: dict[str, dict[str, Any]] = {}
    for entry in entries:
        of_name = manifest.setdefault(entry.name, {"step": entry.step, "files": {}})
        of_name["step"] = entry.step
        of_name["files"][entry.path] = {"size": entry.size, "digest": entry.digest}
    atomic_write_bytes(run / MANIFEST, f"{to_json(manifest)}\n".encode())


def read_manifest(run: Path) -> list[ArtifactEntry]:
    """Return all artifacts of the run in folder `run`, by name.

    Raises
    ------
    StoreError
        If the manifest cannot be read.
    """
    path = run / MANIFEST
    try:
        return [
            stored_entry(name, relative, file["size"], file["digest"])
            for name, artifact in parse_json(read_in(run, MANIFEST)).items()
            for relative, file in artifact["files"].items()
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise StoreError(
            "the manifest of a run cannot be read", str(path), f"Run the experiment again ({error!r})"
        ) from error


def stored_entry(name: str, path: str, size: int, digest: str) -> ArtifactEntry:
    """Return an entry that a file tells of; its path is the one that the store gives, and leads nowhere else.

    Raises
    ------
    ValueError, TypeError
        If it is not.
    """
    folder, condition, step, _ = map(_checked, path.split("/"))
    replicate = replicate_number(folder)
    if path != f"{replicate_folder(replicate)}/{condition}/{step}/{name}":
        raise ValueError(f"no artifact {name!r} is stored in {path!r}")
    if type(size) is not int or not isinstance(digest, str):
        raise TypeError(f"size and digest of {path!r} are {size!r} and {digest!r}")
    return ArtifactEntry(name, step, replicate, condition, path, size, digest)


@lru_cache(maxsize=1024)  # few names, and many files
def _checked(name: str) -> str:
    return check_name("part of a path", name)


class ManifestIndex:
    """Finds entries in the manifest of one run after the other, and holds the one that was read last.

    Whoever reads many artifacts of a run keeps one, so that its manifest is parsed once, however many others are read
    in between.
    """

    def __init__(self) -> None:
        self._held: tuple[tuple[Any, ...], _Entries] = ((), {})

    def find(self, run: Path, name: str, replicate: str, condition: str) -> ArtifactEntry | None:
        """Return the entry of artifact `name` in that outcome, or None if no step wrote it there.

        Raises
        ------
        StoreError
            If the manifest cannot be read.
        """
        return self._entries(run).get((name, replicate, condition))

    def names(self, run: Path) -> list[str]:
        """Return the names of all artifacts of the run in folder `run`."""
        return sorted({name for name, _, _ in self._entries(run)})

    def _entries(self, run: Path) -> _Entries:
        path = os.path.join(run, MANIFEST)  # noqa: PTH118
        try:
            stat = os.lstat(path)
        except FileNotFoundError:
            return {}
        state = (path, stat.st_mtime_ns, stat.st_size, stat.st_ino)
        held, entries = self._held  # which another thread may replace
        if held != state:
            entries = _parsed(*state)
            self._held = state, entries
        return entries


def check_unchanged(path: Path, entry: ArtifactEntry) -> None:
    """Compare the file at `path` with what was written there.

    A file that was read once is not read again in this process, as long as its size and its times of change stay
    what they are and lie far enough back to tell a later change.

    Raises
    ------
    ArtifactNotFoundError
        If it is gone.
    ArtifactError
        If size or hash differ, or it is no plain file.
    """
    try:
        stat = os.lstat(path)
        measure = _measured_once if is_settled(max(stat.st_mtime_ns, stat.st_ctime_ns)) else _measured
        found = measure(os.fspath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    except FileNotFoundError:
        raise ArtifactNotFoundError(
            f"artifact {path.name!r} was written, with {entry.size} bytes, and is gone: removed by "
            "artifact_retention, by `crystallize runs prune`, or by hand",
            str(path),
            "Run the producing experiment again",
        ) from None
    except OSError as error:
        raise _changed(path, error.strerror or str(error)) from error
    if found.size != entry.size:
        raise _changed(path, f"{entry.size} bytes then, {found.size} bytes now")
    if found.digest != entry.digest:
        raise _changed(path, f"the hash of its content was {entry.digest}, and is {found.digest}")


def _measured(path: str, *_changes: int) -> Measured:
    return measure_file(path)


_measured_once = lru_cache(maxsize=4096)(_measured)


def _changed(path: Path, how: str) -> ArtifactError:
    return ArtifactError(
        f"artifact {path.name!r} is not what was written: {how}",
        str(path),
        "Run the experiment that produces it again",
    )


@lru_cache(maxsize=4)  # several indexes may be of one run
def _parsed(path: str, *_changes: int) -> _Entries:
    return {
        (entry.name, replicate_folder(entry.replicate), entry.condition): entry
        for entry in read_manifest(Path(path).parent)
    }
