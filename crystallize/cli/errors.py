"""How a command ends that went wrong: what is said of an error, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from crystallize.cli.screen import echo, echo_error

if TYPE_CHECKING:
    from crystallize.discovery import Found

DONE = 0
FAILED = 1
WRONG_USE = 2
INCONCLUSIVE = 3
INTERRUPTED = 130

USAGE_ERROR: type[Any] = typer.BadParameter.__bases__[0]
"""What Typer raises for arguments that it does not take; the class has no public name."""


class State:
    """What the options before the command say, and whose command it is.

    Attributes
    ----------
    traceback : bool
        Whether errors are shown with their full traceback.
    borrowed : Found or None
        The entry point of the command that was called, if it is not one of ours.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the options of an earlier call."""
        self.traceback = False
        self.borrowed: Found | None = None


state = State()


# -- telling -------------------------------------------------------------------------------------------------


def print_error(error: BaseException) -> None:
    """Print an error on standard error, with its traceback if ``--traceback`` asks for it."""
    if state.traceback:
        echo(_formatted(error), err=True, end="")
    lines = [str(problem) for problem in getattr(error, "problems", ())]
    if len(lines) > 1:
        echo_error("", f"Error: {len(lines)} problems")
        for line in lines:
            echo(f"  {line}", err=True)
    else:
        echo_error(_text(error))
    for note in getattr(error, "__notes__", ()):
        echo(note, err=True)


def fail(error: BaseException, code: int = WRONG_USE) -> NoReturn:
    """Print an error and end the command with an exit code."""
    print_error(error)
    raise typer.Exit(code)


def report(error: Exception) -> int:
    """Print what a command raised and return the exit code.

    Errors of ours are the user's, those of the operating system are what they are, and others are bugs.
    """
    from crystallize.errors import CrystallizeError

    if isinstance(error, USAGE_ERROR):
        return _report_usage(error)
    if isinstance(error, CrystallizeError) or (isinstance(error, OSError) and state.borrowed is None):
        print_error(error)
        return WRONG_USE
    echo(_formatted(error), err=True, end="")
    if state.borrowed is not None:
        whose = f"a bug in {state.borrowed.distribution} {state.borrowed.version}, whose command this is"
        hint = "Report it there, with the lines above"
    else:
        import crystallize

        whose = f"a bug in Crystallize {crystallize.__version__}"
        hint = "Report it to its developers, with the lines above"
    echo_error(f"{type(error).__name__}: {error}. This is {whose}. {hint}")
    return FAILED


def _report_usage(error: Any) -> int:
    """Print what is wrong with the arguments, and where to read about them."""
    if type(error).__name__ != "NoArgsIsHelpError":  # then the help has been shown
        message = error.format_message().strip()
        echo_error(f"{message}{_choices(error)}")
        if error.ctx is not None:
            echo(f"Try '{error.ctx.command_path} --help' for help.", err=True)
    code: int = error.exit_code
    return code


def _choices(error: Any) -> str:
    """Return the experiments that there are, if the argument that names one is missing."""
    from crystallize.cli.options import EXPERIMENT

    if getattr(getattr(error, "param", None), "metavar", None) != EXPERIMENT:
        return ""
    from crystallize.config.folders import experiments_root, find_folders
    from crystallize.errors import CrystallizeError
    from crystallize.utils.wording import listed, shown

    try:
        root = experiments_root()
        names = {folder.name for folder in find_folders(root)}
    except (CrystallizeError, OSError):
        return ""
    if not names:
        return f" There are no experiments in {shown(root)}."
    return f" The experiments in {shown(root)} are {listed(names)}."


# -- tracebacks ----------------------------------------------------------------------------------------------


def users_traceback(error: BaseException) -> str:
    """Return the traceback of an error from the first frame of a user's code on; empty if it went through none.

    A syntax error shows its line, though no frame is there.
    """
    import traceback

    from crystallize.utils.failures import users_frames

    frames = users_frames(error)
    if frames is None and not isinstance(error, SyntaxError):
        return ""
    return "".join(traceback.format_exception(type(error), error, frames))


def _has_working_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _formatted(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


def _text(error: BaseException) -> str:
    from crystallize.errors import CrystallizeError

    if isinstance(error, CrystallizeError):
        return str(error)
    if isinstance(error, OSError):
        from crystallize.utils.failures import os_error_text

        if error.filename is None and not _has_working_folder():
            return "the working folder is gone, removed or moved away. Change into one that is there"
        return os_error_text(error)
    return f"{type(error).__name__}: {error}"
