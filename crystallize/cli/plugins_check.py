"""What ``crystallize plugins check`` finds, for people."""

from __future__ import annotations

import importlib
from pathlib import Path
from textwrap import indent, wrap
from traceback import TracebackException
from typing import TYPE_CHECKING

import typer

from crystallize.cli.plugins_list import width
from crystallize.discovery import CORE, normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.plugins.strays import Stray
    from crystallize.plugins.survey import Sight

_ENGINE = str(Path(__file__).parent.parent)
_MACHINERY = ("<frozen ", importlib.__file__)


def print_report(sights: Sequence[Sight], strays: Sequence[Stray]) -> bool:
    """Print each failure, and one line that counts; return whether all is well."""
    faults = [sight for sight in sights if sight.error is not None]
    for sight in faults:
        _print_fault(sight)
    for stray in strays:
        _print_stray(stray)
    counts = {status: sum(sight.status == status for sight in sights) for status in ("active", "disabled")}
    parts = [f"{counts['active']} loaded"]
    if counts["disabled"]:
        parts.append(f"{counts['disabled']} switched off and not looked at")
    failed = len(faults) + sum(len(stray.names) for stray in strays)
    parts.append(f"{failed} failed" if failed else "all is well")
    typer.echo(f"Entry points: {', '.join(parts)}.")
    return not failed


def _print_fault(sight: Sight) -> None:
    assert sight.error is not None
    _print_headline(sight.status, str(sight.error))
    if sight.error.__cause__ is not None:
        is_ours = normalise(sight.found.distribution) == CORE
        typer.echo(indent(own_traceback(sight.error.__cause__, keep_engine=is_ours), "  "), nl=False)
    typer.echo()


def _print_stray(stray: Stray) -> None:
    names = ", ".join(map(repr, stray.names))
    text = f"nobody reads the entry point group {stray.group!r} of {stray.distribution} {stray.version}"
    _print_headline("failed", f"{text}, with {names} ({stray.folder}). Did you mean {stray.meant!r}?")
    typer.echo()


def _print_headline(status: str, text: str) -> None:
    first, *more = wrap(f"{status}: {text}", width(), subsequent_indent="  ", break_on_hyphens=False)
    typer.echo(f"{typer.style(status, fg='red')}{first.removeprefix(status)}")
    for line in more:
        typer.echo(line)


def own_traceback(error: BaseException, *, keep_engine: bool = False) -> str:
    """Return an exception with the frames of the plugin's own code, and of what that calls.

    It is empty if there are none: the message is told anyway.

    Parameters
    ----------
    error : BaseException
        What the plugin raised.
    keep_engine : bool, default False
        Keep the frames of Crystallize, too: the plugin is one of its own.
    """
    whole = TracebackException.from_exception(error)
    links: list[TracebackException | None] = [whole]
    is_told = not isinstance(error, SyntaxError)  # which shows the place itself
    while links:
        link = links.pop()
        if link is not None:
            frames = [frame for frame in link.stack if not frame.filename.startswith(_MACHINERY)]
            while frames and not keep_engine and frames[0].filename.startswith(_ENGINE):
                frames.pop(0)
            link.stack[:] = frames
            is_told = is_told and not frames
            links += [link.__cause__, None if link.__suppress_context__ else link.__context__]
    return "" if is_told else "".join(whole.format())
