"""Locks that the operating system frees when their owner ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HELD_BY_ANOTHER = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK})
_OPEN = os.O_RDWR | os.O_CREAT


class FileLock:
    """A lock in the form of a file; the file goes away with the lock.

    It holds between processes and between threads, and is free as soon as its owner has ended. On a file
    system without locks :meth:`acquire` always succeeds and :meth:`try_acquire` never does.

    Parameters
    ----------
    path : Path
        The lock file. Its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Wait until the lock is free and take it."""
        while not self._take(wait=True):
            pass  # its last owner removed the file while this one waited

    def try_acquire(self) -> bool:
        """Take the lock if no living owner holds it; tell whether that was so."""
        return self._take(wait=False)

    def _take(self, *, wait: bool) -> bool:
        descriptor = os.open(self.path, _OPEN, 0o666)
        try:
            if _lock(descriptor, wait=wait) and _is_file(descriptor, self.path):
                self._descriptor, descriptor = descriptor, -1
                return True
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def release(self) -> None:
        """Free the lock and remove its file; nothing happens if it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(descriptor)
            with contextlib.suppress(OSError):
                self.path.unlink()
        else:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for as long as the block runs."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


if sys.platform == "win32":
    import msvcrt
    import time

    def _lock(descriptor: int, *, wait: bool) -> bool:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError as error:
                if error.errno not in _HELD_BY_ANOTHER:
                    raise
                if not wait:
                    return False
                time.sleep(0.01)
            else:
                return True

    def _is_file(descriptor: int, path: Path) -> bool:
        return path.exists()

else:
    import fcntl

    def _lock(descriptor: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in _HELD_BY_ANOTHER:
                return False
            return wait  # the file system has no locks
        return True

    def _is_file(descriptor: int, path: Path) -> bool:
        """Tell whether the open file still is the one at `path`: its last owner may have removed it."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116
        except FileNotFoundError:
            return False
