"""The page that ``crystallize plugins show`` prints of one plugin."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import TYPE_CHECKING

import typer

from crystallize.cli.plugins_list import COLOURS, plain, width

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from crystallize.plugins.details import Page

_INDENT = "  "
_WIDEST = 100  # of running text


def print_page(page: Page) -> None:
    """Print a page for people."""
    each = page.installed
    status = typer.style(each.status, fg=COLOURS[each.status])
    origin = f"{each.kind} of {each.distribution} {each.version}"
    typer.echo(f"{typer.style(each.name, bold=True)}: {origin}, {status}")
    for paragraph in _prose(page):
        typer.echo()
        _print_wrapped(paragraph)
    typer.echo()
    typer.echo(f"entry point  {each.name} = {page.value}")
    typer.echo(f"group        {each.group}")
    if page.source is not None:
        typer.echo(f"source       {page.source[0]}:{page.source[1]}")
    if page.homepage:
        typer.echo(f"homepage     {page.homepage}")
    _print_settings(page)
    _print_section("Environment variables", list(_columns(page.environment.items())))
    _print_section("Hooks, in the order of a run", list(_columns(_calls(page))))
    if each.status in ("active", "failed"):
        _print_section("To switch it off", page.switch_off)
    if each.kind == "command" and each.status == "active":
        typer.echo(f"\nIts options: crystallize {each.name} --help")


def _prose(page: Page) -> Iterator[str]:
    """Yield what is wrong, and the docstring's text before its first section."""
    if page.installed.error:
        yield page.installed.error
    if page.disabled_by:
        yield f"It is switched off by {page.disabled_by}, so it was not imported."
    text = re.split(r"^\w[\w ]*\n-{3,}$", page.documentation, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if text:
        yield from re.split(r"\n\s*\n", plain(text))
    elif page.distribution_summary:
        yield f"Its distribution says: {page.distribution_summary}"


def _print_settings(page: Page) -> None:
    if not page.settings:
        return
    typer.echo()
    typer.secho("Settings", bold=True)
    for setting in page.settings:
        kind = f": {setting.type}" if setting.type else ""
        default = " (must be given)" if setting.default is None else f" = {setting.default}"
        typer.echo(f"{_INDENT}{setting.name}{kind}{default}")
        _print_wrapped(plain(setting.description), _INDENT * 3)


def _calls(page: Page) -> Iterator[tuple[str, str, str]]:
    for call in page.calls:
        place = f"{call.position} of {call.of}" if call.of else ""
        yield call.hook, call.runs_in, ", ".join(filter(None, (place, *call.options)))


def _columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()


def _print_section(title: str, lines: Collection[str]) -> None:
    if lines:
        typer.echo()
        typer.secho(title, bold=True)
        for line in lines:
            typer.echo(f"{_INDENT}{line}")


def _print_wrapped(text: str, indent: str = "") -> None:
    for line in wrap(text, min(width(), _WIDEST), initial_indent=indent, subsequent_indent=indent):
        typer.echo(line)
