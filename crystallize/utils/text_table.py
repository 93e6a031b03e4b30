"""Tables of numbers as text of a limited width, and as HTML."""

from __future__ import annotations

import html
import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from crystallize.utils.terminal import one_line

WIDTH = 80
_SHORTEST_NAME = len("baseline")


@dataclass(frozen=True)
class TextTable:
    """A table whose first columns are names, and whose other columns are numbers.

    Attributes
    ----------
    header : tuple of str
        The name of each column.
    rows : sequence of tuple of str
        The cells, as long as the header.
    names : int
        How many columns hold names: they stand on the left and are cut in the middle where the table is too wide.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    names: int = 2

    def lines(self, width: int = WIDTH) -> list[str]:
        """Return the lines of the table, at most `width` columns wide if the numbers leave that much."""
        table = [tuple(map(one_line, row)) for row in (self.header, *self.rows)]
        widths = [max(map(columns_of, column)) for column in zip(*table, strict=True)]
        gaps = 2 * (len(widths) - 1)
        widths[: self.names] = _narrow(widths[: self.names], width - gaps - sum(widths[self.names :]))
        short = [
            shorten([row[i] for row in table], widths[i]) if i < self.names else {}
            for i in range(len(widths))
        ]
        lines = [
            "  ".join(
                padded(short[i][cell], size) if i < self.names else cell.rjust(size)
                for i, (cell, size) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        lines.insert(1, "-" * (sum(widths) + gaps))
        return lines

    def html(self) -> str:
        """Return the table in HTML."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell.strip())}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for each Chinese character, none for an accent."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int) -> str:
    """Return the text with spaces after it, `width` columns wide."""
    return text + " " * (width - columns_of(text))


def wrapped(notes: Iterable[str], width: int = WIDTH) -> list[str]:
    """Return lines of at most `width` columns; a line that goes on is indented."""
    return [line for note in notes for line in textwrap.wrap(note, width, subsequent_indent="  ")]


def shorten(names: Iterable[str], width: int) -> dict[str, str]:
    """Return a short form of at most `width` columns for each name.

    The middle is cut out. Names that would be the same then lose what they begin with in common instead; those that
    still would be end with a number.
    """
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        alike.setdefault(_cut(name, width), []).append(name)
    found: dict[str, str] = {}
    for cut, group in alike.items():
        if len(group) == 1 or width < _SHORTEST_NAME:
            found |= dict.fromkeys(group, cut)
            continue
        # Of 198 and 199 not only the last digit would be left, which would be the name of 8 and 9.
        start = len(os.path.commonprefix(group).rstrip("0123456789."))  # noqa: RUF071 - of names, not of paths
        ends = shorten([name[start:] for name in group], width - 3)
        found |= {name: f"...{ends[name[start:]]}" for name in group}
    counts = Counter(found.values())
    alike_still = [name for name, short in found.items() if counts[short] > 1]
    if width >= _SHORTEST_NAME + len(str(len(alike_still))):
        for number, name in enumerate(alike_still, 1):
            found[name] = f"{_start(name, width - 1 - len(str(number)))}~{number}"
    return found


def _cut(name: str, width: int) -> str:
    if columns_of(name) <= width:
        return name
    tail = (width - 3) // 2
    return f"{_start(name, width - 3 - tail)}...{_start(name[::-1], tail)[::-1]}"


def _start(text: str, width: int) -> str:
    """Return as much of the beginning as `width` columns hold."""
    return text[: sum(taken <= width for taken in accumulate(map(columns_of, text)))]


def _narrow(widths: list[int], room: int) -> list[int]:
    """Narrow the widest of `widths` until all fit into `room`, but none below a readable width."""
    widths = list(widths)
    while sum(widths) > room and max(widths) > _SHORTEST_NAME:
        widths[widths.index(max(widths))] -= 1
    return widths
