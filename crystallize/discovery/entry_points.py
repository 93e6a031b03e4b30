"""The entry points that installed distributions declare in our groups, read from metadata, whole or broken.

Of a file with a mistake, what is right counts, and the mistake becomes an entry point with a fault, so that
somebody can be told.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

CORE = "crystallize-lab"
"""The distribution that Crystallize itself comes in."""

COMMANDS = "crystallize.commands"
EXECUTION = "crystallize.execution"
HASHERS = "crystallize.hashers"
LOADERS = "crystallize.loaders"
PLUGINS = "crystallize.plugins"
START = "crystallize.start"
VERIFIERS = "crystallize.verifiers"
KINDS = {
    COMMANDS: "command",
    EXECUTION: "strategy",
    HASHERS: "hasher",
    LOADERS: "loader",
    PLUGINS: "plugin",
    START: "start",
    VERIFIERS: "verifier",
}
"""The groups that are read, and what an entry of each is called."""

GROUPS = tuple(KINDS)
"""The groups that are read, in alphabetical order."""

PREFIX = "crystallize."
UNKNOWN_VERSION = "(unknown version)"

_NEARLY_PREFIX = "crystal"  # of misspelt groups, too: "crystalize.plugins", "crystallise.plugins"
_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)
_REFERENCE = re.compile(r"([\w.]+)\s*(:\s*[\w.]+)?\s*(?:\[(.*)\])?$")
_log = logging.getLogger("crystallize.plugins")


class Found(NamedTuple):
    """One entry point that is installed; nothing of it is imported.

    Attributes
    ----------
    name, value, group : str
        What its distribution declares: ``name = value`` in the section ``group``. The value is
        ``module:attribute``, or ``module``. A mistake that spoils more than one line goes by the name of the
        distribution, and one below no section by the group of the plugins, where it is seen most.
    distribution, version : str
        The distribution that declares it. Without metadata, the name is that of its folder and the version
        not known.
    folder : str
        The folder on ``sys.path`` that the distribution is in.
    fault : str
        Why it cannot be loaded: another one claims the same name, or its metadata has a mistake. Empty for
        most.
    shadowed : bool
        Whether the fault is that the name is one of the core's, which keeps it, or that another copy of its
        distribution comes first.
    extras : str
        The extras of its distribution that it says it needs: ``module:attribute [extras]``. Empty for most.
    """

    name: str
    value: str
    group: str
    distribution: str
    version: str
    folder: str
    fault: str = ""
    shadowed: bool = False
    extras: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it comes with Crystallize itself."""
        return normalise(self.distribution) == CORE

    def is_among(self, folded: Collection[str]) -> bool:
        """Tell whether its own name or that of its distribution is among these names, which :func:`normalise` gave."""
        return normalise(self.name) in folded or normalise(self.distribution) in folded

    def __str__(self) -> str:
        return f"entry point {self.name!r} of {self.distribution} {self.version}"


class Copy(NamedTuple):
    """One copy of a distribution on ``sys.path``, and what it declares; most have one only."""

    name: str
    version: str
    folder: str
    has_metadata: bool
    declared: tuple[Found, ...]


def normalise(name: str) -> str:
    """Fold a name as package indexes do: case, and runs of ``-``, ``_`` and ``.``, make no difference.

    >>> normalise("My._Plugin")
    'my-plugin'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions() -> Iterator[list[Copy]]:
    """Yield each distribution that declares an entry point in one of our groups, or in one nearly called so.

    It is a list of its copies on the path: first the one that counts, then those that it hides. The first on
    the path counts, as for Python's imports, but one that has metadata before one that has none (what a
    broken removal left behind), and of several in one folder the highest version.
    """
    import importlib_metadata

    seen: set[str] = set()
    for distribution in importlib_metadata.distributions():
        try:
            if _NEARLY_PREFIX not in _text(distribution, "entry_points.txt"):
                continue
            copy = _read(distribution)
            if normalise(copy.name) not in seen:
                seen.add(normalise(copy.name))
                yield _with_others(copy, distribution)
        except Exception as error:  # a foreign finder, or a file system, may raise anything
            _log.debug("metadata that cannot be read was skipped: %s: %s", type(error).__name__, error)


def _with_others(copy: Copy, distribution: Any) -> list[Copy]:
    import importlib_metadata

    unique: dict[str, Any] = {}  # one folder may be on the path twice, under two names
    # A folder may bear another name than its metadata; then the search by name misses it.
    for each in (*importlib_metadata.distributions(name=copy.name), distribution):
        unique.setdefault(os.path.realpath(_info(each)), each)
    if len(unique) == 1:
        return [copy]
    copies = [_read(each) for each in unique.values()]
    folders = list(dict.fromkeys(copy.folder for copy in copies))
    copies.sort(key=lambda copy: _by_number(copy.version), reverse=True)
    return sorted(copies, key=lambda copy: (not copy.has_metadata, folders.index(copy.folder)))


def _by_number(version: str) -> list[int | str]:
    """Return a key by which 1.10 comes after 1.9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", version)]


def _read(distribution: Any) -> Copy:
    # Two lines of the metadata: distribution.name parses all of it with every access.
    text = _text(distribution, "METADATA") or _text(distribution, "PKG-INFO")
    header = header_of(text)
    info = _info(distribution)
    name, version = header.get("Name") or _name_from(info), header.get("Version", UNKNOWN_VERSION)
    folder = str(info.parent)
    blank = Found(name, "", PLUGINS, name, version, folder)
    # A dict: what is declared twice in the same words counts once.
    declared = dict.fromkeys(_declared(_text(distribution, "entry_points.txt"), blank))
    return Copy(name, version, folder, bool(text), tuple(declared))


def header_of(metadata: str) -> dict[str, str]:
    """Return ``Name`` and ``Version`` of the text of a distribution's metadata, as far as they are there."""
    return dict(_FIELD.findall(metadata.partition("\n\n")[0]))


def _text(distribution: Any, file: str) -> str:
    """Return the text of a file of the metadata, with replacements for what is not UTF-8."""
    try:
        text = distribution.read_text(file) or ""
    except UnicodeDecodeError as error:
        text = error.object.decode("utf-8", "replace")
    return str(text).lstrip("\ufeff")


def _info(distribution: Any) -> Path:
    """Return the .dist-info or .egg-info folder, which nothing public tells; a foreign finder may have none."""
    return Path(str(getattr(distribution, "_path", "(unknown)")))


def _name_from(info: Path) -> str:
    is_egg = info.name.upper() == "EGG-INFO"  # in an egg, the folder around it bears the name
    return (info.parent if is_egg else info).stem.partition("-")[0] or "(unknown)"


def _declared(text: str, blank: Found) -> Iterator[Found]:
    """Yield the entry point of each line of an ``entry_points.txt`` that concerns us, or that it has a mistake."""
    group: str | None = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        place = f"line {number} of its entry_points.txt, {line!r},"
        if line.startswith("["):
            group = line[1:-1].strip() if line.endswith("]") else None
            if group is None and PREFIX in line:
                yield blank._replace(fault=f"{place} is not of the form [group]")
        elif group == "" and PREFIX in line:
            yield blank._replace(fault=f"{place} stands below no [group]")
        elif group is not None and group.startswith(_NEARLY_PREFIX):
            name, _, value = (part.strip() for part in line.partition("="))
            entry = blank._replace(group=group, name=name or blank.name, value=value)
            reference = _REFERENCE.match(value)
            if not name or not value:
                yield entry._replace(fault=f"{place} is not of the form name = module:attribute")
            elif reference is None:
                yield entry._replace(fault=f"its value {value!r} is not of the form module:attribute")
            else:
                module, attribute, extras = (part or "" for part in reference.groups())
                yield entry._replace(value=module + re.sub(r"\s", "", attribute), extras=extras.strip())
