"""Files that are whole or absent: written beside their place and renamed."""

from __future__ import annotations

import contextlib
import os
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 18  # small enough that what was hashed is still in the CPU's cache when it is written

_process_token = os.urandom(4).hex()
_serial = count()


def unique_suffix() -> str:
    """Return a text that no other call returns: in this process, its forks, other processes or machines."""
    return f"{os.getpid():x}-{_process_token}-{next(_serial):x}"


def atomic_write_bytes(
    path: str | Path,
    content: bytes | bytearray | memoryview,
    *,
    observe: Callable[[memoryview], object] | None = None,
) -> None:
    """Write a file so that a reader sees all of it or, until then, what was there before.

    Folders that are missing are made. The content is not flushed to the disk's platters: it survives the end
    of the process at any moment, though not the loss of power.

    Parameters
    ----------
    path : str or Path
        The file.
    content : bytes-like
        What it will hold; not copied.
    observe : callable, optional
        Called with each part of `content` just before that part is written, for example a hash's ``update``.

    Raises
    ------
    OSError
        If the file cannot be written. Nothing is left behind then.
    """
    target = os.fspath(path)
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name[:100]}.{unique_suffix()}.tmp")  # noqa: PTH118
    try:
        descriptor = os.open(beside, _CREATE, 0o666)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        descriptor = os.open(beside, _CREATE, 0o666)
    try:
        try:
            _write_all(descriptor, content, observe)
        finally:
            os.close(descriptor)
        os.replace(beside, target)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)  # noqa: PTH108
        raise


def _write_all(
    descriptor: int, content: bytes | bytearray | memoryview, observe: Callable[[memoryview], object] | None
) -> None:
    rest = memoryview(content).cast("B")
    while rest:
        part = rest[:_CHUNK]
        if observe is not None:
            observe(part)
        while part:
            written = os.write(descriptor, part)
            part = part[written:]
        rest = rest[_CHUNK:]
