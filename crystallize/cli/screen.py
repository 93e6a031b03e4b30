"""The one place where the commands' texts go to a screen, a file or a pipe.

Whatever is shown comes from somebody: names, messages, docstrings, log records. So every text passes through
:func:`~crystallize.utils.terminal.visible`, and colours are added to it afterwards.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import partial
from select import select
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import typer

from crystallize.utils.terminal import is_terminal, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

# -- texts ---------------------------------------------------------------------------------------------------


class Styled(NamedTuple):
    """A text with what colours it."""

    text: str
    paint: Callable[[str], str]


def styled(text: str, **style: Any) -> Styled:
    """Return a text that is shown in a style of :func:`typer.style` where colours are wanted."""
    return Styled(text, partial(typer.style, **style))


def echo(*parts: str | Styled, err: bool = False, end: str = "\n") -> None:
    """Print a text on standard output or, with `err`, on standard error; one that is closed shows nothing."""
    stream = sys.stderr if err else sys.stdout
    if stream is None or getattr(stream, "closed", False):
        return
    colours = wants_colours(stream)
    text = "".join(_shown(part, colours) for part in parts)
    with suppress(*((OSError, ValueError) if err else ())):  # there is nowhere to tell it
        stream.write(text + end)
        stream.flush()


def echo_error(text: str, heading: str = "Error:") -> None:
    """Print what went wrong on standard error, behind a red heading."""
    echo(styled(heading, fg="red"), f" {text}".rstrip(), err=True)


def _shown(part: str | Styled, colours: bool) -> str:
    if isinstance(part, str):
        return visible(part)
    text = visible(part.text)
    return part.paint(text) if colours and text else text


def print_json(value: Any) -> None:
    """Print one JSON document, in ASCII; NaN and the infinities, which JSON lacks, become null."""
    from crystallize.utils.json_text import to_json

    echo(to_json(value, strict=True, indent=2).replace("\x7f", r"\u007f"))


def wants_colours(stream: Any) -> bool:
    """Tell whether a stream leads to a terminal that has colours, and ``NO_COLOR`` does not forbid them."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console(*, stderr: bool = False) -> Console:
    """Return a console for what rich lays out; it takes no text for markup, and shows none that steers."""
    from rich.console import Console
    from rich.segment import Segment

    class _Visible(Console):
        def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    return _Visible(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


# -- streams -------------------------------------------------------------------------------------------------

_REPLACEMENTS = {"\N{CHART WITH UPWARDS TREND}": "(graph)", "\u2026": "...", "\u2212": "-", "\u00d7": "x"}
_UNREADABLE = "crystallize.unreadable"


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(_REPLACEMENTS.get(each, ascii(each)[1:-1]) for each in part), error.end


class _Tolerant(io.RawIOBase):
    """A stream whose writes never fail: what cannot be written is dropped, and why is remembered.

    A step that prints, or a bar that moves, must not end a run because a reader left or a disk is full.
    """

    def __init__(self, raw: Any) -> None:
        self._target = raw
        self.name = raw.name
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return is_terminal(self._target)

    def fileno(self) -> int:
        number: int = self._target.fileno()
        return number

    def write(self, content: Any) -> int:
        rest = memoryview(content)
        try:
            while rest and self.error is None:
                written = self._target.write(rest)
                if written is None:  # a pipe that does not wait until there is room
                    select([], [self._target], [])
                rest = rest[written or 0 :]
        except OSError as error:
            self.error = error
        return len(content)


def _text_stream(raw: Any, like: TextIO) -> io.TextIOWrapper:
    """Return a tolerant stream of texts with the encoding and the buffering of another one."""
    codecs.register_error(_UNREADABLE, _replaced)
    errors = like.errors if like.errors in ("ignore", "replace", "xmlcharrefreplace") else _UNREADABLE
    unbuffered = bool(getattr(like, "write_through", False))  # python -u
    return io.TextIOWrapper(
        _Tolerant(raw) if unbuffered else io.BufferedWriter(_Tolerant(raw)),
        encoding=like.encoding,
        errors=errors,
        line_buffering=bool(getattr(like, "line_buffering", True)),
        write_through=unbuffered,
    )


def _raw(stream: Any) -> Any:
    """Return what lies below a stream of texts and, if there is one, its buffer."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def prepare_streams() -> None:
    """Make the process's standard streams ready for whatever is shown, and whatever they lead to.

    They stay so until the process ends. One that is closed leads nowhere, lest a file that is opened later take
    its number. Streams that somebody else has put in their place are left as they are.
    """
    while True:
        number = os.open(os.devnull, os.O_RDWR)
        if number > 2:
            os.close(number)
            break
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _text_stream(_raw(stream), stream))


def unwritten() -> OSError | None:
    """Return why a part of standard output could not be written; None if it could, or nobody was reading."""
    raw = _raw(sys.stdout)
    if not isinstance(raw, _Tolerant):
        return None
    with suppress(ValueError):  # it is closed
        sys.stdout.flush()
    return raw.error if raw.error is not None and raw.error.errno != errno.EPIPE else None


@contextmanager
def stdout_kept_clean(wanted: bool = True) -> Iterator[None]:
    """Send what users' code prints while the block runs, also in workers, to standard error: it is not our answer."""
    if not wanted:
        yield
        return
    if sys.stdout is not None and not getattr(sys.stdout, "closed", False):
        sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        # A stream of its own: users' code may close it.
        with (
            io.FileIO(os.dup(2), "w") as raw,
            _text_stream(raw, sys.__stderr__ or sys.stderr) as aside,
            redirect_stdout(aside),
        ):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
