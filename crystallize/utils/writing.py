"""Folders and files that are whole or absent: written beside their place and renamed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from crystallize.errors import InvalidValueError, StoreError
from crystallize.utils.files import atomic_write_bytes, written_beside

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def make_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder `target` with `files` in it, all of them or nothing.

    Parameters
    ----------
    target : Path
        The folder. The folders above it are made where they are missing.
    files : mapping of str to bytes
        What each file holds, by its path below `target`, with ``/`` between its parts.

    Raises
    ------
    InvalidValueError
        If there is something at `target` already; it stays as it is.
    StoreError
        If the folder cannot be written. Nothing is left behind then.
    """
    refuse_existing(target)
    try:
        with written_beside(target) as beside:
            for path, content in files.items():
                file = beside / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            refuse_existing(target)
    except OSError as error:
        refuse_existing(target)  # another process was faster
        raise StoreError(
            f"the folder {str(target)!r} cannot be made: {error.strerror or error}",
            hint="Choose a place where you may write",
        ) from error


def refuse_existing(target: Path) -> None:
    """Raise InvalidValueError if there is a file or folder, or a link that leads nowhere, at `target`."""
    if os.path.lexists(target):  # unlike Path.exists, it does not follow links
        raise InvalidValueError(
            f"{str(target)!r} exists already, and is left as it is",
            hint="Choose another name, or remove it first",
        )


def write_file(path: Path, content: bytes) -> None:
    """Write a file that the user named, in place of what was there.

    Raises
    ------
    StoreError
        If it cannot be written. What was there stays as it is then.
    """
    try:
        atomic_write_bytes(path, content)
    except OSError as error:
        raise StoreError(
            f"{str(path)!r} cannot be written: {error.strerror or error}",
            hint="Choose a place where you may write",
        ) from error
