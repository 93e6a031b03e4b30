"""Locks that the operating system frees when their owner ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from crystallize.utils.files import is_plain, open_plain, put_aside, read_plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HELD_BY_ANOTHER = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK})
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_LONGEST_SIGNATURE = 1000
_FOR_ALL = 0o666  # a root may be shared, and whoever finds a lock left over has to be able to take it


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
        """Take the lock if no living owner holds it; tell whether that was so.

        Of a file that only another user may open nobody can tell, and it counts as held.
        """
        try:
            return self._take(wait=False)
        except PermissionError:
            return False

    def _take(self, *, wait: bool) -> bool:
        descriptor, file = _open(self.path)
        try:
            if file.st_mode & _FOR_ALL != _FOR_ALL and sys.platform != "win32":
                with contextlib.suppress(OSError):  # it is not ours
                    os.fchmod(descriptor, _FOR_ALL)
            if _lock(descriptor, wait=wait) and _is_at(file, self.path):
                self._descriptor, descriptor = descriptor, -1
                return True
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def sign(self) -> None:
        """Write into the file whose it is, for :func:`holder_of`."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # another user's file, or a full disk
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, f"process {os.getpid()} on {host_name()}".encode(), 0)

    def leave(self) -> None:
        """Free the lock and let its file be, as the end of the process does."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
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


def holder_of(path: Path) -> str:
    """Return who has signed the lock file at `path`, or ``"another process"``."""
    try:
        text = read_plain(path, _LONGEST_SIGNATURE, follow_links=False).decode()
    except (OSError, ValueError):
        text = ""
    return text or "another process"


def host_name() -> str:
    """Return the name of this machine."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "this machine")


def _open(path: Path) -> tuple[int, os.stat_result]:
    """Open the lock file, a new one if there is none; what is no plain file is put aside."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, _FOR_ALL)
        except PermissionError:
            if not os.path.lexists(path):
                raise
            with contextlib.suppress(FileNotFoundError):  # its owner has just removed it
                descriptor = _open_foreign(path)
                return descriptor, os.fstat(descriptor)
        except OSError:
            if is_plain(path) or not os.path.lexists(path):
                raise
            put_aside(path)
        else:
            file = os.fstat(descriptor)
            if stat.S_ISREG(file.st_mode):
                return descriptor, file
            os.close(descriptor)
            put_aside(path)


def _open_foreign(path: Path) -> int:
    """Open another user's lock file; local disks lock a file that was opened for reading just as well."""
    try:
        return os.open(path, os.O_RDWR | _FLAGS)
    except PermissionError:
        return os.open(path, os.O_RDONLY | _FLAGS)


def _is_at(file: os.stat_result, path: Path) -> bool:
    """Tell whether an open file still is the one at `path`: its last owner may have removed it."""
    try:
        return os.path.samestat(file, os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for as long as the block runs."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def experiment_lock(experiment: Path) -> Path:
    """Return the file to lock while the folders of an experiment change places."""
    return experiment / ".lock"


def lock_of(folder: Path) -> Path:
    """Return the file that is locked while a process makes the run in `folder`."""
    return folder.with_name(f".{folder.name}.lock")


def is_being_made(run: Path) -> bool:
    """Tell whether a living process is making the run in folder `run`; nothing is changed to find out."""
    lock = FileLock(lock_of(run))
    if not os.path.lexists(lock.path):
        return False
    try:
        is_free = lock.try_acquire()
    except OSError:  # a folder that nobody may write to
        return True
    lock.leave()
    return not is_free


class ReadLock:
    """A mark on a file that somebody reads what belongs to it; any number of readers hold it at a time.

    While what belongs to it is being removed, this waits. On systems and disks that cannot lock so, nothing is marked,
    and readers rely on what they check themselves.

    Parameters
    ----------
    path : Path
        The file, a plain one.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = open_plain(path, follow_links=False)
        self._file = os.fstat(self._descriptor)
        if not _lock_shared(self._descriptor):
            self.release()

    def is_in_place(self) -> bool:
        """Tell whether the file still is the one at its path."""
        return _is_at(self._file, self.path)

    def release(self) -> None:
        """Take the mark away; nothing happens the second time."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def unread(path: Path) -> Iterator[bool]:
    """Keep readers away while the block runs, and tell it whether that is so: not if somebody holds a ReadLock."""
    try:
        descriptor = open_plain(path, follow_links=False)
    except OSError:
        yield True  # nothing to mark
        return
    try:
        yield _lock_exclusive(descriptor)
    finally:
        os.close(descriptor)


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

    def _lock_shared(descriptor: int) -> bool:
        return False  # an open file would keep its folder from being renamed

    def _lock_exclusive(descriptor: int) -> bool:
        return True

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

    def _lock_shared(descriptor: int) -> bool:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return True

    def _lock_exclusive(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in _HELD_BY_ANOTHER
        return True
