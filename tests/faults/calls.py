"""The calls by which the store changes files below a root, counted, and one of them made to go wrong."""

from __future__ import annotations

import errno
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

WRITES = ("write", "pwrite")
TAKE_SPACE = frozenset({"open", "stream", "mkdir", "rename", "replace", "fsync", *WRITES})
TAKE_DESCRIPTORS = frozenset({"open", "read", "stream", "scandir"})
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}
_BY_PATH = ("open", "mkdir", "rename", "replace", "unlink", "remove", "rmdir", "scandir", "truncate")
_BY_DESCRIPTOR = (*WRITES, "ftruncate", "fsync")


class Calls:
    """Counts the calls of this process below a folder; at the one wanted, something happens.

    Parameters
    ----------
    root : str
        The folder.
    number : int
        The call at which it happens, counted from 0; a negative one if it never does.
    what : str
        A signal's name, which this process is sent, or an errno's, which the call fails with.
    half : bool
        Whether half of what is to be written is written before; of any other call, whether all of it happens before.
    lasting : bool
        Whether later calls fail, too.
    once : str
        A file that is made when it happens, and keeps it from happening in another process.
    log : str
        A file that names the call.
    only : str
        A regular expression; calls whose name and path it is not found in are not counted.
    """

    def __init__(
        self, root: str, number: int, what: str, *, half: bool, lasting: bool, once: str, log: str, only: str
    ) -> None:
        self._root = os.path.abspath(root)  # noqa: PTH100
        self._number, self._what, self._half, self._lasting = number, what, half, lasting
        self._once, self._log, self._only = once, log, re.compile(only)
        self._counter = itertools.count()
        self._descriptors: set[int] = set()
        self._real: dict[str, Callable[..., Any]] = {}
        self.count = 0

    def install(self) -> None:
        """Take the place of the functions of `os`."""
        for name in _BY_PATH:
            self._real[name] = getattr(os, name)
            setattr(os, name, self._by_path(name))
        for name in _BY_DESCRIPTOR:
            self._real[name] = getattr(os, name)
            setattr(os, name, self._by_descriptor(name))
        real_close = os.close

        def close(descriptor: int) -> None:
            self._descriptors.discard(descriptor)
            real_close(descriptor)

        os.close = close
        sys.addaudithook(self._see_stream)

    def _by_path(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(path: Any, *args: Any, **options: Any) -> Any:
            if not self._is_below(path, options.get("dir_fd")):
                return real(path, *args, **options)
            kind = "read" if name == "open" and not args[0] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) else name
            done = self._meet(kind, f"{path}", lambda: real(path, *args, **options))
            if name == "open":
                self._descriptors.add(done)
            return done

        return call

    def _by_descriptor(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(descriptor: int, *args: Any) -> Any:
            if descriptor not in self._descriptors:
                return real(descriptor, *args)

            def before() -> Any:
                if name not in WRITES:
                    return real(descriptor, *args)
                content = memoryview(args[0])
                return real(descriptor, content[: len(content) // 2], *args[1:])

            return self._meet(name, f"{descriptor}", lambda: real(descriptor, *args), before)

        return call

    def _see_stream(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and args[1] is not None and not isinstance(args[0], int):
            mode = args[1]
            if self._is_below(args[0], None):
                self._meet("read" if mode.startswith("r") else "stream", str(args[0]), lambda: None)

    def _is_below(self, path: Any, folder: int | None) -> bool:
        if folder is not None or isinstance(path, int):
            return (path if folder is None else folder) in self._descriptors
        return os.path.abspath(os.fsdecode(path)).startswith(self._root)  # noqa: PTH100

    def _meet(
        self, name: str, on: str, real: Callable[[], Any], before: Callable[[], Any] | None = None
    ) -> Any:
        """Make the call, unless it is the one at which something happens."""
        if not self._only.search(f"{name} {on}"):
            return real()
        number = next(self._counter)
        self.count = number + 1
        wanted = self._number >= 0 and (number == self._number or (self._lasting and number > self._number))
        if not wanted or (number == self._number and not self._is_first()):
            return real()
        if self._what in SIGNALS:
            self._tell(f"{name} {on} {number}", inside=name in WRITES and self._half)
            done = (before or real)() if self._half else None
            os.kill(os.getpid(), SIGNALS[self._what])
            return done if self._half else real()
        fitting = TAKE_SPACE if self._what == "ENOSPC" else TAKE_DESCRIPTORS
        if name not in fitting:
            if number == self._number and not self._lasting:
                self._number += 1  # this call cannot fail so: the next one that can
            return real()
        inside = self._half and name in WRITES
        self._tell(f"{name} {on} {number}", inside=inside)
        if inside and before is not None:
            before()
        code = getattr(errno, self._what)
        raise OSError(code, os.strerror(code), *([on] if name not in _BY_DESCRIPTOR else []))

    def _is_first(self) -> bool:
        if not self._once:
            return True
        try:
            os.close(self._real["open"](self._once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def _tell(self, text: str, *, inside: bool) -> None:
        descriptor = self._real["open"](self._log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self._real["write"](descriptor, f"{'inside' if inside else 'at'} {text}\n".encode())


_installed: list[Calls] = []


def install_once(root: str, fault: dict[str, Any]) -> None:
    """Count from now on, unless this process does so already."""
    if not _installed:
        _installed.append(install(root, fault))


def install(root: str, fault: dict[str, Any]) -> Calls:
    """Count from now on, and have the fault happen."""
    calls = Calls(
        root,
        fault.get("call", -1),
        fault.get("what", ""),
        half=fault.get("half", False),
        lasting=fault.get("lasting", False),
        once=fault.get("once", ""),
        log=fault.get("log", os.devnull),
        only=fault.get("only", ""),
    )
    calls.install()
    return calls
