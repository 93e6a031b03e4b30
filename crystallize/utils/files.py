"""Files: written so that they are whole or absent, and read only if they are plain."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_ATTEMPTS = 10
_COARSEST_CLOCK = 2 * 10**9  # nanoseconds between two ticks: FAT's
_CHUNK = 1 << 18  # small enough that what was hashed is still in the CPU's cache when it is written

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)

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

    As :func:`atomic_write_parts`, with one part.

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
    atomic_write_parts(path, (content,), observe=observe)


def atomic_write_parts(
    path: str | Path,
    parts: Iterable[bytes | bytearray | memoryview],
    *,
    observe: Callable[[memoryview], object] | None = None,
) -> None:
    """Write a file that consists of several parts, one behind the other, as :func:`atomic_write_bytes` does.

    Folders that are missing are made. The content is not flushed to the disk's platters: it survives the end
    of the process at any moment, though not the loss of power.

    Raises
    ------
    OSError
        If the file cannot be written. Nothing is left behind then.
    """
    target = os.fspath(path)
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name[:100]}.{unique_suffix()}.tmp")  # noqa: PTH118
    try:  # around the opening, too: what interrupts it may come when the file is there
        descriptor = _open_new(beside, folder)
        try:
            for part in parts:
                _write_all(descriptor, part, observe)
        finally:
            os.close(descriptor)
        os.replace(beside, target)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)  # noqa: PTH108
        raise


def _open_new(path: str, folder: str) -> int:
    """Open a file that is not there yet for writing; its folder is made, and again if others remove it meanwhile."""
    for _ in range(_ATTEMPTS):
        try:
            return os.open(path, _CREATE, 0o666)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # one came, or went, at this moment
                os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    return os.open(path, _CREATE, 0o666)


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


@contextlib.contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Give the block a path to make a file or a folder at, which then takes the place of `target` as one step.

    Folders that are missing above it are made. A file takes the place of another one, a folder that of none. If the
    block raises, or the place cannot be taken, nothing is left behind.
    """
    missing = [folder for folder in target.parents if not folder.exists()]  # the innermost first
    beside = target.parent / f".{target.name[:100]}.{unique_suffix()}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        os.replace(beside, target)  # noqa: PTH105
    except BaseException:
        if is_folder(beside):
            remove_folder(beside)
        else:
            with contextlib.suppress(OSError):
                beside.unlink()
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


# -- reading -------------------------------------------------------------------------------------------------


def open_plain(path: str | Path, *, follow_links: bool = True) -> int:
    """Open a file for reading if it is a plain one: no pipe, on which reading could wait for ever, and no device.

    Parameters
    ----------
    path : str or Path
        The file.
    follow_links : bool, default True
        Whether it may be a link to a plain file.

    Returns
    -------
    int
        The descriptor.

    Raises
    ------
    OSError
        If it is something else, or cannot be opened.
    """
    _check_plain(os.stat(path, follow_symlinks=follow_links), path)  # noqa: PTH116
    return os.open(path, _READ | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0)))


def open_our_own(path: str | Path) -> tuple[int, os.stat_result]:
    """Open a file where nobody but us puts any, and return its descriptor and what it is.

    As :func:`open_plain`, but what is in its place by accident is opened before it is refused, which saves a look.

    Raises
    ------
    OSError
        If it is no plain file, or cannot be opened.
    """
    descriptor = os.open(path, _READ)
    try:
        found = os.fstat(descriptor)
        _check_plain(found, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, found


def _check_plain(found: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(number, f"it is {kind}, not a plain file", os.fspath(path))


def read_plain(path: str | Path, most: int, *, follow_links: bool = True) -> bytes:
    """Return the content of a plain file of at most `most` bytes; see :func:`open_plain`.

    Raises
    ------
    OSError
        If it is no plain file, is larger, or cannot be read.
    """
    descriptor = open_plain(path, follow_links=follow_links)
    try:
        size = os.fstat(descriptor).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size} bytes, and at most {most} are read", os.fspath(path))
        content = os.read(descriptor, size)
        while len(content) < size and (part := os.read(descriptor, size - len(content))):
            content += part
        return content
    finally:
        os.close(descriptor)


def is_settled(changed_at: int) -> bool:
    """Tell whether a time of change, in nanoseconds, lies so far back that one from now on would be another."""
    return changed_at < time.time_ns() - _COARSEST_CLOCK


def is_folder(path: str | Path) -> bool:
    """Tell whether there is a folder at `path`: a link to one is none."""
    return stat.S_ISDIR(_mode(path))


def is_plain(path: str | Path) -> bool:
    """Tell whether there is a plain file at `path`: a link to one is none."""
    return stat.S_ISREG(_mode(path))


def _mode(path: str | Path) -> int:
    try:
        return os.lstat(path).st_mode
    except (OSError, ValueError):
        return 0


def put_aside(path: Path) -> None:
    """Rename what stands where it cannot be used, and say so; the next one will not find it there."""
    aside = path.with_name(f".damaged.{path.name.lstrip('.')[:100]}.{unique_suffix()}")
    path.rename(aside)
    logging.getLogger("crystallize.store").warning(
        "%s could not be used and was put aside as %s", path, aside.name
    )


def is_temporary(name: str) -> bool:
    """Tell whether a file has the name of one that :func:`atomic_write_bytes` was writing."""
    return name.startswith(".") and name.endswith(".tmp")


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that is allowed; a link in it is removed, and not followed."""
    from shutil import rmtree  # brings the codecs of archives along

    rmtree(folder, ignore_errors=True)


def remove_temporary_of_others(folder: Path) -> None:
    """Remove what other processes were writing in a folder that none of them writes to any more."""
    ours = f".{os.getpid():x}-{_process_token}-"
    for path in folder.iterdir():
        if is_temporary(path.name) and ours not in path.name:
            if is_folder(path):
                remove_folder(path)
            else:
                path.unlink(missing_ok=True)
