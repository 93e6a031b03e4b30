"""A run's metadata.json: what ran, with which code, where, and how it ended."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from crystallize.errors import NewerSchemaError, StoreError
from crystallize.store.accounting import now
from crystallize.store.layout import METADATA, read_in
from crystallize.store.locks import is_being_made
from crystallize.utils.failures import safe_repr
from crystallize.utils.files import atomic_write_bytes
from crystallize.utils.json_text import parse_json, to_json

RUNNING = "running"
FINISHED = "complete"
FAILED = "failed"
INTERRUPTED = "interrupted"
DELETED = "deleted"

SCHEMA_VERSION = 1
"""Which entries there are, and what they mean: raised when an older reader would misunderstand them."""

_Check = Callable[[Any], bool]
_ENTRIES: Mapping[str, tuple[_Check, Collection[str]]] = {
    "a text": (
        lambda value: value is None or isinstance(value, str),
        (
            *("run", "id", "name", "description", "datasource", "order", "status", "started", "finished"),
            *("deleted", "user", "host", "folder", "replaces"),
        ),
    ),
    "a number from 0 on": (
        lambda value: value is None or (isinstance(value, int | float) and value >= 0),
        ("duration",),
    ),
    "a whole number from 0 on": (
        lambda value: value is None or (type(value) is int and value >= 0),
        ("replicates", "failed_outcomes", "artifact_bytes"),
    ),
    "a whole number": (lambda value: value is None or type(value) is int, ("master_seed",)),
    "an object": (
        lambda value: isinstance(value, dict),
        (
            *("files", "signature", "signature.steps", "signature.conditions", "other_conditions", "hooks"),
            *("code", "environment", "environment.variables", "packages", "removed"),
        ),
    ),
    "an object of whole numbers": (
        lambda value: isinstance(value, dict) and all(type(each) is int for each in value.values()),
        ("shared_inputs",),
    ),
    "an object or null": (
        lambda value: value is None or isinstance(value, dict),
        ("failure_policy", "stopping", "preregistration", "execution", "execution.settings"),
    ),
    "an object of objects": (
        lambda value: isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()),
        ("conditions",),
    ),
    "a list of objects": (
        lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
        ("pipeline", "inputs", "hypotheses", "numeric_libraries", "earlier_sessions"),
    ),
    "a list of objects, each with a name": (
        lambda value: (
            isinstance(value, list)
            and all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in value)
        ),
        ("plugins",),
    ),
    "a list of texts": (
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
        ("initial_ctx", "command", "stopped_inputs"),
    ),
}
"""What the entries are, where they are there: their readers rely on it."""

_damaged: set[str] = set()
_log = logging.getLogger("crystallize.store")


def write_metadata(run: Path, metadata: dict[str, Any], status: str) -> None:
    """Write the metadata of `run` with its new status; any but ``running`` ends the run now."""
    metadata["status"] = status
    if status != RUNNING:
        metadata["finished"] = now()
    _write(run, {"schema_version": SCHEMA_VERSION} | metadata)


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
        metadata = {"schema_version": SCHEMA_VERSION}
    before = metadata.get("removed")  # it was deleted before, and that was cut off
    removed = removed | before if isinstance(before, dict) else removed
    _write(run, metadata | {"status": DELETED, "deleted": now(), "removed": removed})


def _write(run: Path, metadata: dict[str, Any]) -> None:
    # A line for each entry: to be read by people too, and several times faster than json's own indentation.
    lines = (f"  {to_json(key)}: {to_json(value, default=safe_repr)}" for key, value in metadata.items())
    atomic_write_bytes(run / METADATA, "{{\n{}\n}}\n".format(",\n".join(lines)).encode())


def read_metadata(run: Path) -> dict[str, Any] | None:
    """Return the metadata of the run in folder `run`, or None if it has none.

    Raises
    ------
    StoreError
        If the file is there and cannot be read, or is no run's.
    NewerSchemaError
        If a newer Crystallize has written it.
    """
    path = os.path.join(run, METADATA)  # noqa: PTH118
    try:
        stat = os.lstat(path)
        return _parsed(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except StoreError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def run_token(run: Path) -> str | None:
    """Return what tells the run in folder `run` from all others, or None if it has no metadata that can be read."""
    try:
        token = (read_metadata(run) or {}).get("run")
    except StoreError:
        return None
    return token if isinstance(token, str) else None


def is_complete(run: Path, *, refuse_newer: bool = False) -> bool:
    """Tell whether the run in folder `run` ended as it should; a run with damaged metadata did not.

    Parameters
    ----------
    run : Path
        The folder.
    refuse_newer : bool, default False
        Raise NewerSchemaError for the run of a newer Crystallize: who looks for a run to read must not pass it over.
    """
    try:
        return (read_metadata(run) or {}).get("status") == FINISHED
    except StoreError as error:
        if refuse_newer and isinstance(error, NewerSchemaError):
            raise
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


def status_of(run: Path, metadata: Mapping[str, Any] | None) -> str | None:
    """Return the status that a run's metadata tell, or None; ``interrupted`` if its process was killed."""
    status = (metadata or {}).get("status")
    return INTERRUPTED if status == RUNNING and not is_being_made(run) else status


def time_in(metadata: Mapping[str, Any], key: str) -> datetime | None:
    """Return the time that an entry of some metadata is, in UTC if they do not say where; None if it is none."""
    try:
        when = datetime.fromisoformat(metadata.get(key))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@lru_cache(maxsize=64)
def _parsed(path: str, *_changes: int) -> dict[str, Any]:
    """Parse the file once for each of its states."""
    metadata = parse_json(read_in(os.path.dirname(path), METADATA))  # noqa: PTH120
    version = metadata.get("schema_version") if isinstance(metadata, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError(
            "this is not the metadata of a run: it is no JSON object with a schema_version of 1 or more",
            path,
            "Move the file away if it is another program's; else run the experiment again",
        )
    if version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"the metadata of a run have schema version {version}, and this Crystallize reads {SCHEMA_VERSION}",
            path,
            "A newer Crystallize has written them: pip install --upgrade crystallize-lab",
        )
    for kind, (is_right, names) in _ENTRIES.items():
        for name in names:
            outer, _, key = name.rpartition(".")
            entries = metadata.get(outer) if outer else metadata
            if isinstance(entries, dict) and key in entries and not is_right(entries[key]):
                raise StoreError(
                    f"the metadata of a run are damaged: {name!r} is not {kind}",
                    path,
                    "Put a copy back, or run the experiment again",
                )
    return cast("dict[str, Any]", metadata)


def _unreadable(path: str, error: Exception) -> StoreError:
    reason = getattr(error, "strerror", None) or error
    hint = (
        "Look at the rights of its folder"
        if isinstance(error, PermissionError)
        else "Run the experiment again"
    )
    return StoreError(f"the metadata of a run cannot be read: {reason}", path, hint)
