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
from typing import TYPE_CHECKING, Any

import xxhash

from crystallize.errors import ArtifactError, StoreError
from crystallize.store.layout import MANIFEST, ArtifactEntry, read_in, replicate_folder
from crystallize.utils.files import atomic_write_bytes, open_plain
from crystallize.utils.json_text import parse_json, to_json
from crystallize.utils.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALGORITHM = "xxh3_128"
_CHUNK = 1 << 20


def write_hashed(path: str | Path, content: bytes | bytearray | memoryview) -> str:
    """Write `content` by :func:`~crystallize.utils.files.atomic_write_bytes` and return its digest."""
    hasher = xxhash.xxh3_128()
    atomic_write_bytes(path, content, observe=hasher.update)
    return f"{_ALGORITHM}:{hasher.hexdigest()}"


def hash_file(path: Path) -> str:
    """Return the digest of a file's content."""
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
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
    try:
        return [
            _entry(name, relative, file["size"], file["digest"])
            for name, artifact in parse_json(read_in(run, MANIFEST)).items()
            for relative, file in artifact["files"].items()
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise StoreError(
            "the manifest of a run cannot be read", str(path), f"Run the experiment again ({error!r})"
        ) from error


def _entry(name: str, path: str, size: int, digest: str) -> ArtifactEntry:
    """Return an entry of the manifest, whose path is the one that the store gives, and leads nowhere else."""
    folder, condition, step, _ = map(_checked, path.split("/"))
    replicate = int(folder.removeprefix("replicate_"))
    if path != f"{replicate_folder(replicate)}/{condition}/{step}/{name}":
        raise ValueError(f"no artifact {name!r} is stored in {path!r}")
    if type(size) is not int or not isinstance(digest, str):
        raise TypeError(f"size and digest of {path!r} are {size!r} and {digest!r}")
    return ArtifactEntry(name, step, replicate, condition, path, size, digest)


@lru_cache(maxsize=1024)  # few names, and many files
def _checked(name: str) -> str:
    return check_name("part of a path", name)


def find_artifact(run: Path, name: str, replicate: str, condition: str) -> ArtifactEntry | None:
    """Return the entry of artifact `name` that the last of its steps wrote, or None if there is none.

    Raises
    ------
    StoreError
        If the manifest cannot be read.
    """
    return _index(run).get((name, replicate, condition))


def artifact_names(run: Path) -> list[str]:
    """Return the names of all artifacts of the run in folder `run`."""
    return sorted({name for name, _, _ in _index(run)})


def check_unchanged(path: Path, entry: ArtifactEntry) -> None:
    """Compare the file at `path` with what was written there.

    Raises
    ------
    FileNotFoundError
        If it is gone.
    ArtifactError
        If size or hash differ, or it is no plain file.
    """
    hasher = xxhash.xxh3_128()
    buffer = bytearray(min(_CHUNK, entry.size + 1))
    view = memoryview(buffer)
    try:
        descriptor = open_plain(path, follow_links=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _changed(path, error.strerror or str(error)) from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        size = os.fstat(descriptor).st_size
        while size == entry.size and (count := file.readinto(buffer)):
            hasher.update(view[:count])
    if size != entry.size:
        raise _changed(path, f"{entry.size} bytes then, {size} bytes now")
    if f"{_ALGORITHM}:{hasher.hexdigest()}" != entry.digest:
        raise _changed(path, "the content has another hash")


def _changed(path: Path, how: str) -> ArtifactError:
    return ArtifactError(
        f"artifact {path.name!r} is not what was written: {how}",
        str(path),
        "Run the experiment that produces it again",
    )


def _index(run: Path) -> dict[tuple[str, str, str], ArtifactEntry]:
    path = os.path.join(run, MANIFEST)  # noqa: PTH118
    try:
        stat = os.lstat(path)
    except FileNotFoundError:
        return {}
    return _parsed(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=4)
def _parsed(path: str, *_changes: int) -> dict[tuple[str, str, str], ArtifactEntry]:
    """Index the manifest, once for each state of the file, by name, replicate's folder and condition."""
    return {
        (entry.name, replicate_folder(entry.replicate), entry.condition): entry
        for entry in read_manifest(Path(path).parent)
    }
