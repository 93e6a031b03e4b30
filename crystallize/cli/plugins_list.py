"""The tables of ``crystallize plugins list`` and ``crystallize plugins hooks``.

They are laid out by hand: loading rich for them would take longer than all else.
"""

from __future__ import annotations

from shutil import get_terminal_size
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.plugins.order import Hook, Implementer
    from crystallize.plugins.survey import Installed

COLOURS = {"active": "green", "disabled": "yellow", "failed": "red", "shadowed": "yellow"}

_HEADINGS = ("NAME", "KIND", "STATUS", "DISTRIBUTION", "VERSION")
_GAP = "  "
_NARROWEST_HOOKS = 20
_NARROWEST_SUMMARY = 40
_INDENT = "    "


def plain(text: str) -> str:
    """Return a docstring's text without the marks of reStructuredText."""
    text = text.replace("``", "`")
    if ":`" not in text:
        return text
    import re

    return re.sub(r":[\w:]+:`~?([^`]+)`", r"`\1`", text)


def width() -> int:
    """Return how many columns there are: of the terminal, or 80 for a pipe."""
    return get_terminal_size().columns


def fold(text: str, columns: int, subsequent_indent: str = "") -> list[str]:
    """Return a text as lines that fit; none if it is empty."""
    if len(text) <= columns and "\n" not in text:
        return [text] if text else []
    from textwrap import wrap

    return wrap(text, columns, subsequent_indent=subsequent_indent)


def print_table(installed: Sequence[Installed]) -> None:
    """Print a line for each entry, with hooks and summary beside it or, if the terminal is narrow, below it."""
    columns = width()
    rows = [(each.name, each.kind, each.status, each.distribution, each.version) for each in installed]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    if sum(widths) + len(_GAP) * (len(widths) - 1) > columns:
        widths = widths[:3]  # the distribution goes below, too
    indent = sum(widths) + len(_GAP) * len(widths)
    room = columns - indent - len(_GAP)
    is_wide = room >= _NARROWEST_HOOKS + _NARROWEST_SUMMARY and len(widths) == len(_HEADINGS)
    headings = _GAP.join(heading.ljust(wide) for heading, wide in zip(_HEADINGS, widths, strict=False))
    hooks_width = 0
    if is_wide:
        longest = max(len("HOOKS"), *(len(" ".join(each.hooks)) for each in installed))
        hooks_width = min(longest, room - _NARROWEST_SUMMARY)
        headings += _GAP + "HOOKS".ljust(hooks_width) + _GAP + "SUMMARY"
    lines = [typer.style(headings.rstrip(), bold=True)]
    for each, row in zip(installed, rows, strict=True):
        cells = [cell.ljust(wide) for cell, wide in zip(row, widths, strict=False)]
        cells[2] = typer.style(cells[2], fg=COLOURS[each.status])
        line = _GAP.join(cells)
        if is_wide:
            first, *more = _beside(each, hooks_width, room - hooks_width)
            lines += [f"{line}{_GAP}{first}".rstrip(), *(f"{' ' * indent}{text}".rstrip() for text in more)]
        else:
            below = _below(each, columns, with_distribution=len(widths) < len(_HEADINGS))
            lines += [line.rstrip(), *(typer.style(text, dim=True) for text in below)]
    for each in installed:
        if each.error:
            lines += ["", *fold(f"{each.status}: {each.error}", columns, "  ")]
    typer.echo("\n".join(lines))


def _beside(each: Installed, hooks_width: int, summary_width: int) -> Iterator[str]:
    hooks = fold(" ".join(each.hooks), hooks_width)
    summary = fold(plain(each.summary), summary_width)
    for number in range(max(len(hooks), len(summary), 1)):
        left = hooks[number] if number < len(hooks) else ""
        right = summary[number] if number < len(summary) else ""
        yield f"{left.ljust(hooks_width)}{_GAP}{right}"


def _below(each: Installed, columns: int, *, with_distribution: bool) -> list[str]:
    room = max(columns - len(_INDENT), _NARROWEST_SUMMARY)
    hooks = f"hooks: {', '.join(each.hooks)}" if each.hooks else ""
    lines = [f"{each.distribution} {each.version}"] if with_distribution else []
    lines += fold(plain(each.summary), room) + fold(hooks, room, "       ")
    return [_INDENT + line for line in lines]


def print_hooks(hooks: Sequence[Hook]) -> None:
    """Print each hook with where it runs, and its implementers numbered in the order of the calls."""
    every = [each for hook in hooks for each in hook.implementers]
    name_width = max((len(each.plugin) for each in every), default=0)
    origin_width = max((len(_origin(each)) for each in every), default=0)
    for number, hook in enumerate(hooks):
        if number:
            typer.echo()
        typer.secho(hook.signature, bold=True)
        for line in fold(f"In the {hook.runs_in}: {plain(hook.summary)}", width() - len(_INDENT)):
            typer.secho(_INDENT + line, dim=True)
        for position, each in enumerate(hook.implementers, start=1):
            cells = (each.plugin.ljust(name_width), _origin(each).ljust(origin_width), " ".join(each.options))
            typer.echo(f"{position:>6}. {_GAP.join(cells)}".rstrip())
        if not hook.implementers:
            typer.echo(f"{_INDENT}Nobody implements it.")


def _origin(each: Implementer) -> str:
    return f"{each.distribution} {each.version}"
