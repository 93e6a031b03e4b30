"""A run's metadata.json: what ran, with which code, where, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from crystallize.errors import StoreError
from crystallize.store.layout import METADATA
from crystallize.utils.failures import safe_repr
from crystallize.utils.files import atomic_write_bytes
from crystallize.utils.json_text import to_json

RUNNING = "running"
FINISHED = "complete"
FAILED = "failed"
INTERRUPTED = "interrupted"

_DISTRIBUTIONS = {"crystallize": "crystallize-lab", "numpy": "numpy"}


def describe_surroundings() -> dict[str, Any]:
    """Return with which code, where and when a run begins, if it begins now."""
    return {
        "code": {"git_commit": git_commit(Path.cwd())},
        "environment": dict(_environment()),
        "started": _now(),
    }


def write_metadata(run: Path, metadata: dict[str, Any], status: str) -> None:
    """Write the metadata of `run` with its new status; any but ``running`` ends the run now."""
    metadata["status"] = status
    if status != RUNNING:
        metadata["finished"] = _now()
    # A line for each entry: to be read by people too, and several times faster than json's own indentation.
    lines = (f"  {to_json(key)}: {to_json(value, default=safe_repr)}" for key, value in metadata.items())
    atomic_write_bytes(run / METADATA, "{{\n{}\n}}\n".format(",\n".join(lines)).encode())


def read_metadata(run: Path) -> dict[str, Any] | None:
    """Return the metadata of the run in folder `run`, or None if it has none.

    Raises
    ------
    StoreError
        If the file is there and cannot be read.
    """
    path = os.path.join(run, METADATA)  # noqa: PTH118
    try:
        stat = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _parsed(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def is_complete(run: Path) -> bool:
    """Tell whether the run in folder `run` ended as it should; a run with damaged metadata did not."""
    try:
        return (read_metadata(run) or {}).get("status") == FINISHED
    except StoreError:
        return False


def git_commit(folder: Path) -> str | None:
    """Return the commit that the git repository around `folder` has checked out, or None; runs no program."""
    parent = str(folder)
    while True:
        head = _text_of(f"{parent}/.git/HEAD")
        git = f"{parent}/.git"
        if head is None and (link := _text_of(git)) is not None:  # a linked working tree
            git = os.path.join(parent, link.removeprefix("gitdir:").strip())  # noqa: PTH118
            head = _text_of(f"{git}/HEAD")
        if head is not None:
            reference = head.removeprefix("ref:").strip()
            return _resolve_reference(Path(git), reference) if head.startswith("ref:") else head
        above = os.path.dirname(parent)  # noqa: PTH120
        if above == parent:
            return None
        parent = above


def _text_of(path: str) -> str | None:
    """Return the text of a small file, or None if there is none to be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(descriptor, 4096).decode().strip()
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        os.close(descriptor)


def _resolve_reference(git: Path, reference: str) -> str | None:
    shared = git
    with contextlib.suppress(OSError):  # there is such a file in a linked working tree only
        shared = git / (git / "commondir").read_text().strip()
    with contextlib.suppress(OSError):  # else the reference is packed
        return (shared / reference).read_text().strip()
    try:
        packed = (shared / "packed-refs").read_text()
    except OSError:
        return None
    for line in packed.splitlines():
        commit, _, name = line.partition(" ")
        if name == reference:
            return commit
    return None


@lru_cache(maxsize=1)
def _environment() -> dict[str, str | None]:
    import platform

    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()}-{platform.release()}-{platform.machine()}",
        **{name: _version(distribution) for name, distribution in _DISTRIBUTIONS.items()},
    }


def _version(distribution: str) -> str | None:
    from importlib_metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat()


@lru_cache(maxsize=64)
def _parsed(path: str, *_changes: int) -> dict[str, Any]:
    """Parse the file once for each of its states."""
    try:
        metadata = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(
            "the metadata of a run cannot be read", path, f"Run the experiment again ({error})"
        ) from error
    if not isinstance(metadata, dict):
        raise StoreError("the metadata of a run is not a JSON object", path, "Run the experiment again")
    return metadata
