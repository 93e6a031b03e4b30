"""The installed distributions that declare entry points of ours: their metadata, whole or broken.

Metadata is read as leniently as it can be: of a file with a mistake, what is right counts, and the mistake is
returned with what it spoils, so that somebody can be told.
"""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UNKNOWN_VERSION = "(unknown version)"

Stamp = tuple[int, int] | None
"""What tells whether a folder has changed; None for one that is not there."""

_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)
_TICK_NS = 50_000_000  # file systems stamp changes with the clock of the last tick, some milliseconds ago
_log = logging.getLogger("crystallize.plugins")


class Entry(NamedTuple):
    """One line of an ``entry_points.txt``.

    Attributes
    ----------
    group, name, value : str
        ``name = value`` in the section ``group``, which is empty for a mistake that belongs to none.
    fault : str
        What is wrong with the line; empty for most.
    """

    group: str
    name: str
    value: str
    fault: str = ""


class Copy(NamedTuple):
    """One copy of a distribution on ``sys.path``; most have one only.

    Attributes
    ----------
    name, version : str
        As its metadata says; without that, the name is the folder's and the version not known.
    folder : str
        The folder on the path that it is in.
    has_metadata : bool
        Whether it has a METADATA or PKG-INFO with something in it.
    entries : tuple of Entry
        What it declares.
    """

    name: str
    version: str
    folder: str
    has_metadata: bool
    entries: tuple[Entry, ...]


def normalise(name: str) -> str:
    """Fold a name as package indexes do: case, and runs of ``-``, ``_`` and ``.``, make no difference.

    >>> normalise("My._Plugin")
    'my-plugin'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def stamps_of(paths: Iterable[str]) -> list[Stamp]:
    """Return the stamps of folders; what is installed into one, or removed, changes its stamp."""
    return [_stamp(path) for path in paths]


def is_settled(stamps: Iterable[Stamp]) -> bool:
    """Tell whether a later change of a folder is sure to show in its stamp."""
    newest = max((stamp[1] for stamp in stamps if stamp), default=0)
    return newest < time.time_ns() - _TICK_NS


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path or ".")  # noqa: PTH116 - a Path costs more than the call
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns


def declaring(prefix: str) -> Iterator[list[Copy]]:
    """Yield each distribution that declares an entry point in a group that begins with `prefix`.

    It is a list of its copies on the path: first the one that counts, then those that it hides. The first on
    the path counts, as for Python's imports, but one that has metadata before one that has none (what a
    broken removal left behind), and of several in one folder the highest version.
    """
    import importlib_metadata

    seen: set[str] = set()
    for distribution in importlib_metadata.distributions():
        try:
            if prefix not in _text(distribution, "entry_points.txt"):
                continue
            copy = _read(distribution, prefix)
            if normalise(copy.name) not in seen:
                seen.add(normalise(copy.name))
                yield _with_others(copy, distribution, prefix)
        except Exception as error:  # a foreign finder, or a file system, may raise anything
            _log.debug("metadata that cannot be read was skipped: %s: %s", type(error).__name__, error)


def _with_others(copy: Copy, distribution: Any, prefix: str) -> list[Copy]:
    import importlib_metadata

    by_folder = {str(_folder(each)): each for each in importlib_metadata.distributions(name=copy.name)}
    # A folder may bear another name than its metadata; then the search by name misses it.
    by_folder.setdefault(str(_folder(distribution)), distribution)
    if len(by_folder) == 1:
        return [copy]
    unique: dict[str, Any] = {}  # one folder may be on the path twice, under two names
    for folder, each in by_folder.items():
        unique.setdefault(os.path.realpath(folder), each)
    copies = [_read(each, prefix) for each in unique.values()]
    sites = list(dict.fromkeys(copy.folder for copy in copies))
    copies.sort(key=lambda copy: _by_number(copy.version), reverse=True)
    return sorted(copies, key=lambda copy: (not copy.has_metadata, sites.index(copy.folder)))


def _by_number(version: str) -> list[int | str]:
    """Return a key by which 1.10 comes after 1.9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", version)]


def _read(distribution: Any, prefix: str) -> Copy:
    # Two lines of the metadata: distribution.name parses all of it with every access.
    text = _text(distribution, "METADATA") or _text(distribution, "PKG-INFO")
    header = dict(_FIELD.findall(text.partition("\n\n")[0]))
    folder = _folder(distribution)
    name = header.get("Name") or _name_from(folder)
    entries = _entries(_text(distribution, "entry_points.txt"), prefix, name)
    version = header.get("Version", UNKNOWN_VERSION)
    # A dict: what is declared twice in the same words counts once.
    return Copy(name, version, str(folder.parent), bool(text), tuple(dict.fromkeys(entries)))


def _text(distribution: Any, file: str) -> str:
    """Return the text of a file of the metadata, with replacements for what is not UTF-8."""
    try:
        text = distribution.read_text(file) or ""
    except UnicodeDecodeError as error:
        text = error.object.decode("utf-8", "replace")
    return str(text).lstrip("\ufeff")


def _folder(distribution: Any) -> Path:
    """Return the .dist-info or .egg-info folder.

    Nothing public tells it, and without metadata nothing else tells the name; a distribution of a foreign
    finder may have none.
    """
    return Path(str(getattr(distribution, "_path", "(unknown)")))


def _name_from(folder: Path) -> str:
    is_egg = folder.name.upper() == "EGG-INFO"  # in an egg, the folder around it bears the name
    return (folder.parent if is_egg else folder).stem.partition("-")[0] or "(unknown)"


def _entries(text: str, prefix: str, distribution: str) -> Iterable[Entry]:
    """Yield what an ``entry_points.txt`` declares in our groups, and its mistakes that concern us.

    A mistake that spoils more than one line goes by the name of the distribution.
    """
    group: str | None = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        place = f"line {number} of its entry_points.txt, {line!r},"
        if line.startswith("["):
            group = line[1:-1].strip() if line.endswith("]") else None
            if group is None and prefix in line:
                yield Entry("", distribution, "", f"{place} is not of the form [group]")
        elif group == "" and prefix in line:
            yield Entry("", distribution, "", f"{place} stands below no [group]")
        elif group is not None and group.startswith(prefix):
            name, _, value = (part.strip() for part in line.partition("="))
            fault = "" if name and value else f"{place} is not of the form name = module:attribute"
            yield Entry(group, name or distribution, value, fault)
