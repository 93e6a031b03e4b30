"""Hashes of files as the store records them: ``xxh3_128:`` and 32 hexadecimal digits."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from crystallize.errors import StoreError
from crystallize.utils.files import atomic_write_bytes, open_plain

_ALGORITHM = "xxh3_128"
_CHUNK = 1 << 18  # small enough that what was hashed is still in the CPU's cache when it is written


class Measured(NamedTuple):
    """What is known of a file's content without reading it again: the number of bytes, and their hash."""

    size: int
    digest: str


def write_hashed(path: str | Path, content: bytes | bytearray | memoryview) -> str:
    """Write `content` by :func:`~crystallize.utils.files.atomic_write_bytes` and return its digest."""
    hasher = xxhash.xxh3_128()
    atomic_write_bytes(path, content, observe=hasher.update)
    return _text(hasher)


def measure_file(path: str | Path) -> Measured:
    """Read a plain file, and return its size and digest.

    Raises
    ------
    OSError
        If it is no plain file, or cannot be read.
    """
    hasher = xxhash.xxh3_128()
    size = 0
    with os.fdopen(open_plain(path, follow_links=False), "rb", buffering=0) as file:
        buffer = bytearray(min(_CHUNK, os.fstat(file.fileno()).st_size + 1))
        view = memoryview(buffer)
        while count := file.readinto(buffer):
            hasher.update(view[:count])
            size += count
    return Measured(size, _text(hasher))


class HashingFile(io.FileIO):
    """A new file that is hashed while it is written.

    Parameters
    ----------
    path : str or Path
        The file, which is not there yet.

    Raises
    ------
    StoreError
        If it cannot be made, or, later, written.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            super().__init__(path, "x")
        except OSError as error:
            raise _unwritable(path, error) from error
        self._path = path
        self._hasher = xxhash.xxh3_128()
        self._hashed = 0
        self._in_order = True

    def write(self, content: Any, /) -> int:
        """Write a part of `content`, as large as suits the processor's cache, and return its size."""
        with memoryview(content).cast("B") as whole, whole[:_CHUNK] as part:
            try:
                count = super().write(part)
            except OSError as error:
                raise _unwritable(self._path, error) from error
            self._hasher.update(part[:count])
        self._hashed += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to another place in the file, as some formats do to complete their header."""
        position = super().seek(offset, whence)
        self._in_order = self._in_order and position == self._hashed
        return position

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file off, or extend it."""
        self._in_order = False
        return super().truncate(size)

    def measured(self) -> Measured:
        """Return what was written, once the file is closed.

        It is read again only if it was not written here from its beginning to its end: if somebody went back in it,
        or wrote to its descriptor, as NumPy and child processes do.
        """
        if self._in_order and os.stat(self._path).st_size == self._hashed:  # noqa: PTH116
            return Measured(self._hashed, _text(self._hasher))
        return measure_file(self._path)


def _unwritable(path: str | Path, error: OSError) -> StoreError:
    return StoreError(
        f"{Path(path).name!r} cannot be written: {error.strerror or error}",
        str(path),
        "Look at the folder's rights and the space on its disk",
    )


def _text(hasher: xxhash.xxh3_128) -> str:
    return f"{_ALGORITHM}:{hasher.hexdigest()}"
