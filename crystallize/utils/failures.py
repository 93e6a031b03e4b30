"""Exceptions of others' code: which of them end a run, what they say, and where they were raised."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.errors import CrystallizeError, StoreError
from crystallize.utils.imports import FOLDER_PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_ENGINE = (str(Path(__file__).parent.parent), str(Path(os.__file__).parent / "asyncio"))
"""Folders whose frames lie, with those of an import, between the coordinator and the user's code."""
_OF_THIS_PROCESS = re.compile(rf" at 0x[0-9a-fA-F]+|{FOLDER_PACKAGE}\w+\.")


class RunCancelled(BaseException):
    """The run was cancelled from outside: by ``Experiment.cancel``, or with the task that awaited it.

    A strategy treats it like Ctrl-C.
    """


class RunTerminated(KeyboardInterrupt, SystemExit):
    """A signal has asked the process to end while an experiment was running.

    The run ends as with Ctrl-C; if nobody catches this, so does the process, with the signal's usual exit code.

    Parameters
    ----------
    signum : int
        The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum
        self.code = 128 + signum


ADDRESSED_TO_THE_RUN = (KeyboardInterrupt, RunCancelled, GeneratorExit)
"""What ends a run when it comes out of the user's code: the user's code is not what raised it.

``GeneratorExit`` is how Python closes a computation that nobody drives any more. Everything else, ``SystemExit`` and
``asyncio.CancelledError`` too, is an error of the step or the hook that it comes from: write ``except
ADDRESSED_TO_THE_RUN: raise`` before ``except BaseException``.
"""


def is_addressed_to_the_run(error: BaseException) -> bool:
    """Tell whether what came out of a step is one of `ADDRESSED_TO_THE_RUN`, and not raised by the step itself.

    A ``GeneratorExit`` that closes a computation comes from the engine; one that a step raises is its own.
    """
    is_own = isinstance(error, GeneratorExit) and users_frames(error) is not None
    return isinstance(error, ADDRESSED_TO_THE_RUN) and not is_own


def users_frames(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception from the first frame outside of the engine on; None if all are inside.

    The engine's own frames differ between strategies, and tell a user nothing.
    """
    frames = error.__traceback__
    while frames is not None and _is_engine(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return frames


def comparable_text(text: str) -> str:
    """Return a text without what is another in each process, or wherever a folder is: addresses, its package's name.

    >>> comparable_text("<crystallize_folder_fit_43ee7453.steps.Model object at 0x7f3a5c2e>")
    '<steps.Model object>'
    """
    return _OF_THIS_PROCESS.sub("", text)


def error_text(error: BaseException) -> str:
    """Return the kind of an exception and its text, which may be hard to get: its ``__str__`` is foreign code.

    >>> error_text(ValueError("no luck"))
    'ValueError: no luck'
    >>> error_text(SystemExit())
    'SystemExit'
    """
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as unprintable:
        text = f"<no text: its __str__ raised {type(unprintable).__name__}>"
    return f"{name}: {text}" if text else name


def os_error_text(error: OSError) -> str:
    """Return what the operating system refused, and of which file.

    >>> os_error_text(PermissionError(13, "Permission denied", "data"))
    "Permission denied: 'data'"
    """
    reason = error.strerror or str(error) or type(error).__name__
    files = [repr(file) for file in (error.filename, error.filename2) if file is not None]
    return f"{reason}: {', '.join(files)}" if files else reason


@contextlib.contextmanager
def store_errors(
    what: str, where: str | Path, hint: str = "", *, unless: tuple[type[OSError], ...] = ()
) -> Iterator[None]:
    """Turn an error of the file system into one that says what cannot be done and what helps, with the system's reason.

    It names the file that the system names, or else `where`; those of the kinds `unless` stay as they are.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, (CrystallizeError, *unless)):
            raise
        place = str(error.filename or Path(where).absolute())
        raise StoreError(f"{what}: {error.strerror or error}", place, hint) from error


def safe_repr(thing: object) -> str:
    """Return the ``repr`` of an object, which is foreign code too, or else what class it is of.

    >>> safe_repr({"a": 1})
    "{'a': 1}"
    """
    try:
        return repr(thing)
    except Exception as unprintable:
        return f"<{type(thing).__name__}, whose __repr__ raised {error_text(unprintable)}>"


def place_of(error: BaseException) -> str:
    """Return ``file:line`` of what raised an exception during an import; an empty text if nothing is known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    places = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not _is_machinery(frame.f_code.co_filename)
    ]
    return places[-1] if places else ""


def _is_engine(file: str) -> bool:
    return file.startswith(_ENGINE) or _is_machinery(file)


def _is_machinery(file: str) -> bool:
    return file.startswith("<frozen ") or file == importlib.__file__
