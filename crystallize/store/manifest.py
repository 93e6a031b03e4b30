"""A run's _manifest.json: which step wrote each artifact, and the size and hash of each file.

::

    {"model.bin": {
        "step": "ModelStep",
        "files": {"replicate_0/baseline/ModelStep/model.bin": {"size": 11, "digest": "xxh3_128:..."}}}}
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import xxhash

from crystallize.errors import ArtifactError, StoreError
from crystallize.store.layout import MANIFEST, ArtifactEntry, replicate_folder
from crystallize.utils.files import atomic_write_bytes
from crystallize.utils.json_text import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALGORITHM = "xxh3_128"
_CHUNK = 1 << 20


class StoredFile(NamedTuple):
    """One file of the manifest; `path` is relative to the run's folder."""

    path: str
    size: int
    digest: str


def write_hashed(path: str | Path, content: bytes | bytearray | memoryview) -> str:
    """Write `content` by :func:`~crystallize.utils.files.atomic_write_bytes` and return its digest."""
    hasher = xxhash.xxh3_128()
    atomic_write_bytes(path, content, observe=hasher.update)
    return f"{_ALGORITHM}:{hasher.hexdigest()}"


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
    entries = []
    try:
        for name, artifact in json.loads(path.read_bytes()).items():
            for relative, file in artifact["files"].items():
                folder, condition, step, _ = relative.split("/")
                replicate = int(folder.removeprefix("replicate_"))
                entries.append(
                    ArtifactEntry(name, step, replicate, condition, relative, file["size"], file["digest"])
                )
    except FileNotFoundError:
        return []
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise StoreError(
            "the manifest of a run cannot be read", str(path), f"Run the experiment again ({error!r})"
        ) from error
    return entries


def find_artifact(run: Path, name: str, replicate: str, condition: str) -> StoredFile | None:
    """Return the file of artifact `name` that the last of its steps wrote, or None if there is none.

    Raises
    ------
    StoreError
        If the manifest cannot be read.
    """
    return _index(run).get((name, replicate, condition))


def artifact_names(run: Path) -> list[str]:
    """Return the names of all artifacts of the run in folder `run`."""
    return sorted({name for name, _, _ in _index(run)})


def check_unchanged(path: Path, stored: StoredFile) -> None:
    """Compare the file at `path` with what was written there.

    Raises
    ------
    ArtifactError
        If size or hash differ.
    """
    hasher = xxhash.xxh3_128()
    size = 0
    buffer = bytearray(min(_CHUNK, stored.size + 1))
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
            size += count
    if (size, f"{_ALGORITHM}:{hasher.hexdigest()}") != (stored.size, stored.digest):
        raise ArtifactError(
            f"artifact {path.name!r} is not what was written: {stored.size} bytes then, {size} bytes now, "
            "and another hash",
            str(path),
            "Run the experiment that produces it again",
        )


def _index(run: Path) -> dict[tuple[str, str, str], StoredFile]:
    path = os.path.join(run, MANIFEST)  # noqa: PTH118
    try:
        stat = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return {}
    return _parsed(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=4)
def _parsed(path: str, *_changes: int) -> dict[tuple[str, str, str], StoredFile]:
    """Index the manifest, once for each state of the file, by name, replicate's folder and condition."""
    return {
        (entry.name, replicate_folder(entry.replicate), entry.condition): StoredFile(
            entry.path, entry.size, entry.digest
        )
        for entry in read_manifest(Path(path).parent)
    }
