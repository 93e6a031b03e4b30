"""A command of Crystallize in a process of its own, which outlives the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from shlex import join, quote
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MOST_LINES = 5000
"""So many of the last lines are kept."""
_MOST_BYTES_AT_ONCE = 1 << 16
_SECONDS_TO_END = 10
_IS_WINDOWS = os.name == "nt"


def command_line(*arguments: str) -> list[str]:
    """Return what runs ``crystallize ARGUMENTS`` as its script does: nothing is imported from the working directory."""
    return [sys.executable, "-P", "-m", "crystallize", *arguments]


class CommandProcess:
    """``crystallize ARGUMENTS`` in a process, and a session, of its own: it goes on when the terminal is closed.

    What it prints goes to a file without a name, so that it never waits for a reader, nor fails when there is none any
    more.

    Parameters
    ----------
    experiment : str
        What the command line calls the experiment that it is about.
    arguments : sequence of str
        The command's words.
    folder : pathlib.Path
        Where it runs.

    Attributes
    ----------
    lines : collections.deque of str
        The last lines that it has printed and that were read.
    is_cancelled : bool
        Whether it was asked to end.
    is_end_told : bool
        Whether a screen has told that it ended.
    began : datetime
        When it was started.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, experiment: str, arguments: Sequence[str], folder: Path) -> None:
        self.experiment = experiment
        self.arguments = tuple(arguments)
        descriptor, path = tempfile.mkstemp(prefix="crystallize-tui-")
        self._output = open(path, "rb")  # noqa: SIM115, PTH123 - it is open as long as the process
        self._rest = b""
        self.lines: deque[str] = deque(maxlen=MOST_LINES)
        self.is_cancelled = self.is_end_told = False
        self.began = datetime.now(UTC)
        session: dict[str, Any] = {"start_new_session": True}
        if _IS_WINDOWS:
            session = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        try:
            self._process = subprocess.Popen(
                command_line(*self.arguments),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "100"},
                **session,
            )
        except OSError:
            self._output.close()
            raise
        finally:
            os.close(descriptor)
            with suppress(OSError):  # where a file in use keeps its name, it is left to the system's tidying
                os.unlink(path)  # noqa: PTH108

    @property
    def resuming(self) -> list[str]:
        """The words of the command that goes on with the run that this one makes."""
        options = [word for word in self.arguments[2:] if word not in ("--resume", "--rerun")]
        return [self.arguments[0], self.experiment, *options, "--resume"]

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def cancel(self) -> None:
        """Ask it to end as Ctrl-C does, so that what has finished is kept."""
        if self.code is None:
            self.is_cancelled = True
            number = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT) if _IS_WINDOWS else signal.SIGINT
            self._process.send_signal(number)

    def end(self) -> None:
        """End it and wait until it has; a process that does not end by itself is killed."""
        self.cancel()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.close()

    def read(self) -> list[str]:
        """Return the lines that it has printed since the last call, but not more than a screen can follow."""
        if self._output.closed:
            return []
        ended = self.code is not None  # asked first: what it wrote before is read at the end
        found = self._output.read(_MOST_BYTES_AT_ONCE)
        *lines, rest = map(_last_drawn, (self._rest + found).split(b"\n"))
        if ended and len(found) < _MOST_BYTES_AT_ONCE and rest:
            lines, rest = [*lines, rest], b""
        self._rest = rest
        new = [line.decode(errors="replace").rstrip("\r") for line in lines]
        self.lines += new
        return new

    def close(self) -> None:
        """Read no more of it; the process goes on."""
        self._output.close()


def _last_drawn(line: bytes) -> bytes:
    """Return what a line shows in the end: a progress bar draws it anew again and again, each time from its start."""
    shown = line.rstrip(b"\r")
    return shown.rpartition(b"\r")[2] + line[len(shown) :][:1]


class ActiveRuns(dict["Path", CommandProcess]):
    """The runs that this session has started, by the config.yaml of their experiment."""

    def going_on(self) -> list[CommandProcess]:
        """Return those that have not ended."""
        return [each for each in self.values() if each.code is None]

    def farewell(self) -> list[str]:
        """Return what to say of the runs that go on when the terminal UI is left."""
        return [
            line
            for each in self.going_on()
            for line in (
                f"A run of {each.experiment} goes on as process {each.pid}. End it: kill -INT {each.pid}",
                f"  Watch it: crystallize runs tail {quote(each.experiment)}",
                f"  Go on with it later: crystallize {join(each.resuming)}",
            )
        ]
