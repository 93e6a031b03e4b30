"""What the commands share: how they print, how they end after an error, and what the shell completes."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from rich.console import Console

    from crystallize.config.folders import ExperimentFolder
    from crystallize.discovery import Found

DONE = 0
FAILED = 1
WRONG_USE = 2
INTERRUPTED = 130


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


# -- printing ------------------------------------------------------------------------------------------------


def console(*, stderr: bool = False) -> Console:
    """Return a console that colours for people and not for pipes, and takes no text for markup."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def without_colour() -> dict[str, bool]:
    """Return the setting that keeps Typer from colouring, if ``NO_COLOR`` is set."""
    return {"color": False} if os.environ.get("NO_COLOR") else {}


def heading(text: str) -> str:
    """Return how an error begins: red for people."""
    return text if without_colour() else typer.style(text, fg="red")


def print_json(value: Any) -> None:
    """Print one JSON document on standard output; NaN and the infinities, which JSON lacks, become null."""
    from crystallize.utils.json_text import to_json

    typer.echo(to_json(value, strict=True, indent=2))


@contextmanager
def stdout_kept_clean(wanted: bool) -> Iterator[None]:
    """Send what users' code prints to standard error while the block runs, also from worker processes."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        # A stream of its own: users' code may close it.
        with (
            os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace") as aside,
            redirect_stdout(aside),
        ):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def warn(message: str) -> None:
    """Print a warning on standard error."""
    typer.secho(f"Warning: {message}", err=True, fg="yellow")


# -- errors --------------------------------------------------------------------------------------------------


def print_error(error: BaseException) -> None:
    """Print an error on standard error, with its traceback if ``--traceback`` asks for it."""
    if state.traceback:
        typer.echo(_formatted(error), err=True, nl=False)
    lines = [str(problem) for problem in getattr(error, "problems", ())]
    if len(lines) > 1:
        typer.echo(heading(f"Error: {len(lines)} problems"), err=True)
        for line in lines:
            typer.echo(f"  {line}", err=True)
    else:
        typer.echo(f"{heading('Error:')} {_text(error)}", err=True)
    for note in getattr(error, "__notes__", ()):
        typer.echo(note, err=True)


def fail(error: BaseException, code: int = WRONG_USE) -> NoReturn:
    """Print an error and end the command with an exit code."""
    print_error(error)
    raise typer.Exit(code)


def report(error: Exception) -> int:
    """Print what a command raised and return the exit code: errors of ours are the user's, others are bugs."""
    from crystallize.errors import CrystallizeError

    if isinstance(error, CrystallizeError):
        print_error(error)
        return WRONG_USE
    typer.echo(_formatted(error), err=True, nl=False)
    if state.borrowed is not None:
        whose = f"a bug in {state.borrowed.distribution} {state.borrowed.version}, whose command this is"
        hint = "Report it there, with the lines above"
    else:
        import crystallize

        whose = f"a bug in Crystallize {crystallize.__version__}"
        hint = "Report it to its developers, with the lines above"
    typer.echo(f"{heading('Error:')} {type(error).__name__}: {error}. This is {whose}. {hint}", err=True)
    return FAILED


def users_traceback(error: BaseException) -> str:
    """Return the traceback of an error that a user's code raised, from the first frame of that code on."""
    import traceback

    frame = _users_frame(error) or error.__traceback__
    return "".join(traceback.format_exception(type(error), error, frame))


def is_from_users_code(error: BaseException) -> bool:
    """Tell whether an error went through code that is not Crystallize's."""
    return _users_frame(error) is not None


def _users_frame(error: BaseException) -> TracebackType | None:
    from asyncio import __file__ as loop

    engine = (str(Path(__file__).parent.parent), str(Path(loop).parent))
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(engine):
        frame = frame.tb_next
    return frame


def _formatted(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


def _text(error: BaseException) -> str:
    from crystallize.errors import CrystallizeError

    return str(error) if isinstance(error, CrystallizeError) else f"{type(error).__name__}: {error}"


# -- experiments ---------------------------------------------------------------------------------------------


def resolve_or_exit(name: str) -> ExperimentFolder:
    """Return the folder of an experiment, by name or path; end the command with exit code 2 if there is none."""
    from crystallize.config.folders import resolve
    from crystallize.errors import CrystallizeError

    try:
        return resolve(name)
    except CrystallizeError as error:
        fail(error)


# -- completion ----------------------------------------------------------------------------------------------


def complete_experiments(incomplete: str) -> list[str]:
    """Return the names of this project's experiments that begin with `incomplete`."""
    from crystallize.config.folders import find_folders

    return _starting_with(incomplete, _without_errors(lambda: (folder.name for folder in find_folders())))


ExperimentName = Annotated[
    str,
    typer.Argument(
        metavar="NAME|PATH",
        help="The experiment's name, its folder, or its config.yaml.",
        autocompletion=complete_experiments,
        show_default=False,
    ),
]
"""The argument of a command that is about one experiment."""


def complete_treatments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the treatments of the experiment that the command line names, and of those that it depends on."""
    # With an option that has no value yet, the parser gives up and leaves the words as they are.
    words = (word for word in ctx.args if not word.startswith("-"))
    name = ctx.params.get("name") or next(words, None)
    return _starting_with(incomplete, _without_errors(lambda: _treatments(name)) if name else ())


def complete_plugins(incomplete: str) -> list[str]:
    """Return ``no:NAME`` for each installed plugin."""
    from crystallize.discovery import PLUGINS, find

    return _starting_with(incomplete, (f"no:{found.name}" for found in find(PLUGINS)))


def complete_executions(incomplete: str) -> list[str]:
    """Return the names of the installed execution strategies."""
    from crystallize.discovery import EXECUTION, find

    return _starting_with(incomplete, (found.name for found in find(EXECUTION)))


def _treatments(name: str) -> Iterator[str]:
    """Yield the treatments of an experiment and of all that it depends on, from their config.yaml alone."""
    from crystallize.config.folders import resolve
    from crystallize.config.upstream import Gathered

    for draft in Gathered(resolve(name).config).drafts:
        yield from draft.config.treatments


def _starting_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _without_errors(names: Any) -> Iterator[str]:
    """Yield what a function finds; a shell that completes has no use for an error."""
    try:
        yield from names()
    except Exception:  # whatever is wrong with a folder, the command itself will tell
        return
