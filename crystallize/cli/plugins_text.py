"""What the commands of ``crystallize plugins`` print for people.

It is laid out by hand: loading rich for it would take longer than all else.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from shutil import get_terminal_size
from textwrap import indent, wrap
from typing import TYPE_CHECKING, Any

from crystallize.cli.errors import users_traceback
from crystallize.cli.screen import echo, styled
from crystallize.utils.text_table import columns_of, padded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from crystallize.cli.plugins_listing import Installed

_COLOURS = {"active": "green", "disabled": "yellow", "failed": "red", "shadowed": "yellow"}
_HEADINGS = ("NAME", "KIND", "STATUS", "DISTRIBUTION", "VERSION")
_GAP = "  "
_INDENT = "    "
_NARROWEST_HOOKS = 20
_NARROWEST_SUMMARY = 40
_WIDEST_PROSE = 100


def _width() -> int:
    """Return how many columns there are: of the terminal, or 80 for a pipe."""
    return get_terminal_size().columns


def _plain(text: str) -> str:
    """Return a docstring's text without the marks of reStructuredText."""
    return re.sub(r":[\w:]+:`~?([^`]+)`", r"`\1`", text.replace("``", "`"))


def _columns(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield _GAP.join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()


# -- list ----------------------------------------------------------------------------------------------------


def print_table(installed: Sequence[dict[str, Any]]) -> None:
    """Print a line for each entry, with hooks and summary beside it or, if the terminal is narrow, below it."""
    entries = [[each[heading.lower()] for heading in _HEADINGS] for each in installed]
    taken = max(map(len, _columns([_HEADINGS, *entries])))
    room = _width() - taken - 2 * len(_GAP)
    if room >= _NARROWEST_HOOKS + _NARROWEST_SUMMARY:
        _print_wide(installed, entries, room)
    else:
        # If even the entries are too wide, the distribution goes below, too.
        _print_narrow(installed, [entry[:3] for entry in entries] if taken > _width() else entries)
    for each in installed:
        if each["error"]:
            lines = wrap(f"{each['status']}: {each['error']}", _width(), subsequent_indent=_GAP)
            echo("\n" + "\n".join(lines))


def _print_wide(installed: Sequence[dict[str, Any]], entries: Sequence[list[str]], room: int) -> None:
    longest = max(map(len, ["HOOKS", *(" ".join(each["hooks"]) for each in installed)]))
    hooks_width = min(longest, room - _NARROWEST_SUMMARY)
    rows = [[*_HEADINGS, "HOOKS", "SUMMARY"]]
    for each, entry in zip(installed, entries, strict=True):
        hooks = wrap(" ".join(each["hooks"]), hooks_width)
        summary = wrap(_plain(each["summary"]), room - hooks_width)
        beside = list(zip_longest(hooks, summary, fillvalue="")) or [("", "")]
        rows.append([*entry, *beside[0]])
        rows += [[*("" for _ in entry), *cells] for cells in beside[1:]]
    for row, line in zip(rows, _columns(rows), strict=True):
        _print_entry(line, status=row[2])


def _print_narrow(installed: Sequence[dict[str, Any]], entries: Sequence[list[str]]) -> None:
    room = max(_width() - len(_INDENT), _NARROWEST_SUMMARY)
    heading, *lines = _columns([_HEADINGS[: len(entries[0])], *entries])
    _print_entry(heading, status="STATUS")
    for each, entry, line in zip(installed, entries, lines, strict=True):
        _print_entry(line, status=each["status"])
        origin = "" if len(entry) == len(_HEADINGS) else f"{each['distribution']} {each['version']}"
        hooks = f"hooks: {', '.join(each['hooks'])}" if each["hooks"] else ""
        below = [*([origin] if origin else []), *wrap(_plain(each["summary"]), room)]
        for text in [*below, *wrap(hooks, room, subsequent_indent=" " * len("hooks: "))]:
            echo(styled(_INDENT + text, dim=True))


def _print_entry(line: str, status: str) -> None:
    if status in _COLOURS:
        before, gap, after = line.partition(f"  {status}")
        echo(before, gap[:2], styled(gap[2:], fg=_COLOURS[status]), after)
    else:
        echo(styled(line, bold=True if status else None))


# -- hooks ---------------------------------------------------------------------------------------------------


def print_hooks(hooks: Sequence[dict[str, Any]]) -> None:
    """Print each hook with where it runs, and its implementers numbered in the order of the calls."""
    every = [
        (each["plugin"], f"{each['distribution']} {each['version']}", " ".join(each["options"]))
        for hook in hooks
        for each in hook["implementers"]
    ]
    rows = _columns(every)
    for number, hook in enumerate(hooks):
        if number:
            echo()
        echo(styled(f"{hook['name']}({', '.join(hook['arguments'])})", bold=True))
        for line in wrap(f"In the {hook['runs_in']}: {_plain(hook['summary'])}", _width() - len(_INDENT)):
            echo(styled(_INDENT + line, dim=True))
        for position, _ in enumerate(hook["implementers"], start=1):
            echo(f"{position:>6}. {next(rows)}")
        if not hook["implementers"]:
            echo(f"{_INDENT}Nobody implements it.")


# -- show ----------------------------------------------------------------------------------------------------


def print_page(page: dict[str, Any]) -> None:
    """Print all that is known of one entry point."""
    name, status = page["name"], page["status"]
    origin = f"{page['kind']} of {page['distribution']} {page['version']}"
    echo(styled(name, bold=True), f": {origin}, ", styled(status, fg=_COLOURS[status]))
    for paragraph in _prose(page):
        echo()
        for line in wrap(paragraph, min(_width(), _WIDEST_PROSE)):
            echo(line)
    echo()
    echo(f"entry point  {name} = {page['value']}")
    echo(f"group        {page['group']}")
    if page["source"] is not None:
        echo(f"source       {page['source']['file']}:{page['source']['line']}")
    if page["homepage"]:
        echo(f"homepage     {page['homepage']}")
    _print_section("Settings", [_setting(**each) for each in page["settings"]])
    described = _sections(page["documentation"]).get("Parameters")
    if page["settings"] and described:
        echo(f"\n{indent(_plain(described), _GAP)}")
    _print_section("Environment variables", list(_columns(page["environment"].items())))
    _print_section("Hooks, in the order of a run", list(_columns(map(_call, page["calls"]))))
    if status in ("active", "failed"):
        _print_section("To switch it off", page["switch_off"])
    if page["kind"] == "command" and status == "active":
        echo(f"\nIts options: crystallize {name} --help")


def _prose(page: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong, and the docstring's text before its first section."""
    if page["error"]:
        yield page["error"]
    if page["disabled_by"]:
        yield f"It is switched off by {page['disabled_by']}, so it was not imported."
    text = _sections(page["documentation"])[""]
    if text:
        yield from re.split(r"\n\s*\n", _plain(text))
    elif page["distribution_summary"]:
        yield f"Its distribution says: {page['distribution_summary']}"


def _sections(documentation: str) -> dict[str, str]:
    """Split a docstring in NumPy style into its sections; what stands before the first has an empty title."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", documentation, flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], map(str.strip, parts[::2]), strict=True))


def _setting(name: str, type: str, default: str | None) -> str:
    kind = f": {type}" if type else ""
    return f"{name}{kind} (must be given)" if default is None else f"{name}{kind} = {default}"


def _call(call: dict[str, Any]) -> tuple[str, str, str]:
    place = [f"{call['position']} of {call['of']}"] if call["of"] else []
    return call["hook"], call["runs_in"], ", ".join([*place, *call["options"]])


def _print_section(title: str, lines: Collection[str]) -> None:
    if lines:
        echo()
        echo(styled(title, bold=True))
        for line in lines:
            echo(_GAP + line)


# -- check ---------------------------------------------------------------------------------------------------


def print_report(installed: Sequence[Installed]) -> bool:
    """Print each failure, and one line that counts; return whether all is well."""
    failures = [each for each in installed if each.error is not None]
    for each in failures:
        text = f"{each.status}: {each.error}"
        first, *more = wrap(text, _width(), subsequent_indent=_GAP, break_on_hyphens=False)
        echo(styled(each.status, fg="red"), "\n".join([first.removeprefix(each.status), *more]))
        if each.error is not None and each.error.__cause__ is not None:
            echo(indent(users_traceback(each.error.__cause__), _GAP), end="")
        echo()
    counts = {status: sum(each.status == status for each in installed) for status in ("active", "disabled")}
    parts = [f"{counts['active']} loaded"]
    if counts["disabled"]:
        parts.append(f"{counts['disabled']} switched off and not looked at")
    parts.append(f"{len(failures)} failed" if failures else "all is well")
    echo(f"Entry points: {', '.join(parts)}.")
    return not failures
