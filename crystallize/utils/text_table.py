"""Tables of numbers as text of a limited width, and as HTML."""

from __future__ import annotations

import html
import math
import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from crystallize.utils.terminal import one_line

WIDTH = 80
_SHORTEST_NAME = len("baseline")
_DIGITS = 3  # significant ones, of the spread: more would be noise
_LARGEST = 1e9  # a number from here on is not written out


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


def choose_decimals(spreads: Iterable[float | None], values: Iterable[float | None]) -> int | None:
    """Return how many decimals show the spreads with some digits; None if decimals would not be readable.

    Without a spread the values decide.
    """
    known = [abs(x) for x in values if x is not None and math.isfinite(x)]
    largest = max(known, default=0.0)
    sizes = [abs(x) for x in spreads if x and math.isfinite(x)]
    size = max(sizes, default=largest)
    if size == 0 or (not sizes and all(x.is_integer() for x in known)):
        return 0 if largest < _LARGEST else None
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(size) + 1e-12))
    return decimals if decimals <= 6 and largest < _LARGEST else None


def decimals_of_each(
    spreads: Sequence[float | None], values: Sequence[float | None], digits: int = 2
) -> list[int | None]:
    """Return how many decimals show each value of a column: for most the same, more where they would hide it.

    Beside a treatment that went astray by a million, a difference of 0.18 is not nothing: so many digits of its own
    spread stay.
    """
    common = choose_decimals(spreads, values)
    if common is None:
        return [None] * len(values)
    found: list[int | None] = []
    for spread, value in zip(spreads, values, strict=True):
        own = choose_decimals([spread], [value])
        is_hidden = own is None and value and round(value, common) == 0
        found.append(None if is_hidden else max(common, (own or 0) - _DIGITS + digits))
    return found


def format_number(value: float | None, decimals: int | None, *, sign: str = "") -> str:
    """Return a number with this many decimals, or in scientific notation if they are None; None is no text."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return format(value, "" if math.isnan(value) else sign)
    return format(value, f"{sign}.{_DIGITS - 1}e" if decimals is None else f"{sign}.{decimals}f")


def align_points(cells: Sequence[str]) -> list[str]:
    """Pad cells to one width: decimal points stand below each other, words and powers of ten end on the right."""
    is_word = [not cell[-1:].isdigit() or "e" in cell for cell in cells]
    after = [
        0 if word or "." not in cell else len(cell) - cell.index(".")
        for cell, word in zip(cells, is_word, strict=True)
    ]
    most = max(after, default=0)
    filled = [
        cell if word else cell + " " * (most - own)
        for cell, own, word in zip(cells, after, is_word, strict=True)
    ]
    width = max(map(len, filled), default=0)
    return [cell.rjust(width) for cell in filled]


def _narrow(widths: list[int], room: int) -> list[int]:
    """Narrow the widest of `widths` until all fit into `room`, but none below a readable width."""
    widths = list(widths)
    while sum(widths) > room and max(widths) > _SHORTEST_NAME:
        widths[widths.index(max(widths))] -= 1
    return widths
