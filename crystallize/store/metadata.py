"""A run's metadata.json: what ran, with which code, where, and how it ended."""

from __future__ import annotations

import logging
import os
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from crystallize.errors import StoreError
from crystallize.store.layout import METADATA, read_in
from crystallize.utils.failures import safe_repr
from crystallize.utils.files import atomic_write_bytes, read_plain
from crystallize.utils.json_text import parse_json, to_json

RUNNING = "running"
FINISHED = "complete"
FAILED = "failed"
INTERRUPTED = "interrupted"
DELETED = "deleted"

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_OF_GIT = 1 << 26

_damaged: set[str] = set()
_log = logging.getLogger("crystallize.store")

_DISTRIBUTIONS = {"crystallize": "crystallize-lab", "numpy": "numpy"}


def describe_surroundings() -> dict[str, Any]:
    """Return with which code, where and when a run begins, if it begins now."""
    return {
        "code": {"git_commit": git_commit(Path.cwd()), "command": sys.orig_argv},
        "environment": dict(_environment()),
        "started": _now(),
    }


def write_metadata(run: Path, metadata: dict[str, Any], status: str) -> None:
    """Write the metadata of `run` with its new status; any but ``running`` ends the run now."""
    metadata["status"] = status
    if status != RUNNING:
        metadata["finished"] = _now()
    _write(run, metadata)


def mark_interrupted(run: Path) -> None:
    """Note that a run whose process was killed did not end; when it was killed is not known."""
    metadata = read_metadata(run)
    if metadata is not None and metadata.get("status") == RUNNING:
        _write(run, metadata | {"status": INTERRUPTED})


def mark_deleted(run: Path, removed: dict[str, Any]) -> None:
    """Note that a run is deleted, and size and digest of each file that is removed and in no manifest."""
    try:
        metadata = read_metadata(run) or {}
    except StoreError:  # it is damaged, which may be why the run is deleted
        metadata = {}
    before = metadata.get("removed")  # it was deleted before, and that was cut off
    removed = removed | before if isinstance(before, dict) else removed
    _write(run, metadata | {"status": DELETED, "deleted": _now(), "removed": removed})


def _write(run: Path, metadata: dict[str, Any]) -> None:
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
        stat = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    return _parsed(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def run_token(run: Path) -> str | None:
    """Return what tells the run in folder `run` from all others, or None if it has no metadata that can be read."""
    try:
        token = (read_metadata(run) or {}).get("run")
    except StoreError:
        return None
    return token if isinstance(token, str) else None


def is_complete(run: Path) -> bool:
    """Tell whether the run in folder `run` ended as it should; a run with damaged metadata did not."""
    try:
        return (read_metadata(run) or {}).get("status") == FINISHED
    except StoreError as error:
        if error.where not in _damaged:
            _damaged.add(error.where)
            _log.warning("a stored run is passed over: %s", error)
        return False


def has_status(run: Path, status: str) -> bool:
    """Tell whether the metadata of the run in folder `run` can be read, and have this status."""
    try:
        return (read_metadata(run) or {}).get("status") == status
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
            return _resolve_reference(Path(git), reference) if head.startswith("ref:") else _commit_in(head)
        above = os.path.dirname(parent)  # noqa: PTH120
        if above == parent:
            return None
        parent = above


def _text_of(path: str | Path) -> str | None:
    """Return the text of a file of git's, or None if there is none to be read."""
    try:
        return read_plain(path, _MOST_OF_GIT).decode().strip()
    except (OSError, ValueError):
        return None


def _commit_in(text: str | None) -> str | None:
    """Return `text` if it is a commit's id: nothing else that a file may hold gets into the metadata."""
    return text if text is not None and _COMMIT.fullmatch(text) else None


def _resolve_reference(git: Path, reference: str) -> str | None:
    if not reference.startswith("refs/") or ".." in reference:
        return None
    common = _text_of(git / "commondir")  # there is such a file in a linked working tree only
    shared = git if common is None else git / common
    commit = _commit_in(_text_of(shared / reference))
    if commit is not None:
        return commit
    for line in (_text_of(shared / "packed-refs") or "").splitlines():
        commit, _, name = line.partition(" ")
        if name == reference:
            return _commit_in(commit)
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
        metadata = parse_json(read_in(os.path.dirname(path), METADATA))  # noqa: PTH120
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(metadata, dict):
        raise StoreError("the metadata of a run is not a JSON object", path, "Run the experiment again")
    return metadata


def _unreadable(path: str, error: Exception) -> StoreError:
    reason = getattr(error, "strerror", None) or error
    return StoreError(f"the metadata of a run cannot be read: {reason}", path, "Run the experiment again")
