"""Which plugins are installed: the entry points of every distribution, found, loaded and classified.

Three small steps. :func:`find` reads names only and imports nothing, :func:`load` imports one entry point,
:func:`classify` says what kind of thing it gave. Every group of Crystallize goes through this module.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import re
import sys
import time
from functools import partial
from itertools import groupby
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crystallize.errors import PluginLoadError, UnknownNameError
from crystallize.utils.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

CORE = "crystallize-lab"
"""The distribution that Crystallize itself comes in."""

COMMANDS = "crystallize.commands"
EXECUTION = "crystallize.execution"
LOADERS = "crystallize.loaders"
PLUGINS = "crystallize.plugins"
VERIFIERS = "crystallize.verifiers"
GROUPS = (COMMANDS, EXECUTION, LOADERS, PLUGINS, VERIFIERS)
"""The groups that are read, in alphabetical order."""

Kind = Literal["class", "factory", "instance", "module"]

_PREFIX = "crystallize."
_FIELD = re.compile(r"^(Name|Version):[ \t]*(\S+)", re.MULTILINE)
_TICK_NS = 50_000_000  # file systems stamp changes with the clock of the last tick, some milliseconds ago
_log = logging.getLogger("crystallize.plugins")


class Found(NamedTuple):
    """One entry point that is installed; nothing of it is imported.

    Attributes
    ----------
    name, value, group : str
        What its distribution declares: ``name = value`` in the section ``group``.
    distribution, version : str
        The distribution that declares it.
    conflict : str
        Why it cannot be loaded: another one claims the same name. Empty for most.
    """

    name: str
    value: str
    group: str
    distribution: str
    version: str
    conflict: str = ""

    def __str__(self) -> str:
        return f"entry point {self.name!r} of {self.distribution} {self.version}"


# -- find ----------------------------------------------------------------------------------------------------


class _Catalogue(NamedTuple):
    paths: list[str]
    stamps: list[tuple[int, int] | None]
    settled: bool
    found: dict[str, tuple[Found, ...]]


_catalogue: dict[str, _Catalogue] = {}  # one entry at most: what the last scan found


def find(group: str) -> tuple[Found, ...]:
    """Return what is installed in a group, sorted by name and then distribution; import none of it.

    A distribution that is on ``sys.path`` twice counts once, the first, as Python imports it. If two
    distributions claim one name, both are returned with `conflict` set; the core's own stays usable.

    Parameters
    ----------
    group : str
        For example ``"crystallize.plugins"``.

    Notes
    -----
    The search is repeated when ``sys.path``, or a folder on it, has changed since: what is installed while
    a notebook runs is found.
    """
    known = _catalogue.get("last")
    stamps = [_stamp(path) for path in sys.path]
    if known is None or not known.settled or known.stamps != stamps or known.paths != sys.path:
        if known is not None:
            importlib.invalidate_caches()
        known = _Catalogue(list(sys.path), stamps, _settled(stamps), _scan())
        _catalogue["last"] = known
    return known.found.get(group, ())


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path or ".")  # noqa: PTH116 - a Path costs more than the call
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns


def _settled(stamps: Iterable[tuple[int, int] | None]) -> bool:
    """Tell whether a later change of a folder is sure to show in its time stamp."""
    newest = max((stamp[1] for stamp in stamps if stamp), default=0)
    return newest < time.time_ns() - _TICK_NS


def _scan() -> dict[str, tuple[Found, ...]]:
    import importlib_metadata

    every: list[Found] = []
    seen: set[str] = set()
    for distribution in importlib_metadata.distributions():
        try:
            if _PREFIX not in (distribution.read_text("entry_points.txt") or ""):
                continue
            name, _ = _name_and_version(distribution)
            if normalise(name) not in seen:
                seen.add(normalise(name))
                every += _entries(importlib_metadata.distribution(name))
        except Exception as error:  # foreign metadata may be broken in any way
            _log.debug("metadata that cannot be read was skipped: %s: %s", type(error).__name__, error)
    every.sort(key=lambda entry: (entry.group, entry.name, normalise(entry.distribution), entry.value))
    by_group = groupby(every, key=lambda entry: entry.group)
    return {group: tuple(_with_conflicts(entries)) for group, entries in by_group}


def _entries(distribution: Any) -> list[Found]:
    name, version = _name_and_version(distribution)
    entries = [entry for entry in distribution.entry_points if entry.group.startswith(_PREFIX)]
    # A dict: what is declared twice in the same words counts once.
    return list(
        dict.fromkeys(Found(entry.name, entry.value, entry.group, name, version) for entry in entries)
    )


def _name_and_version(distribution: Any) -> tuple[str, str]:
    """Read two lines of the metadata; ``distribution.name`` parses all of it with every access."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    header = dict(_FIELD.findall(text.partition("\n\n")[0]))
    return header["Name"], header.get("Version", "(unknown version)")


def _with_conflicts(entries: Iterable[Found]) -> Iterable[Found]:
    for name, claims in groupby(entries, key=lambda entry: entry.name):
        claimants = list(claims)
        if len(claimants) == 1:
            yield claimants[0]
            continue
        who = " and ".join(f"{entry.distribution} {entry.version}" for entry in claimants)
        conflict = f"the name {name!r} is claimed by {who}"
        for entry in claimants:
            keeps = normalise(entry.distribution) == CORE
            yield entry if keeps else entry._replace(conflict=conflict)


def normalise(name: str) -> str:
    """Fold a name as package indexes do: case, and runs of ``-``, ``_`` and ``.``, make no difference."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lookup(group: str, name: str, what: str) -> Found:
    """Return the entry point of a name.

    Parameters
    ----------
    group : str
        The group to look in.
    name : str
        The name of the entry point.
    what : str
        What the group's entries are called in the error, for example ``"execution strategy"``.

    Raises
    ------
    UnknownNameError
        If nothing of that name is installed; the error lists what is.
    """
    installed = find(group)
    matches = [found for found in installed if found.name == name]
    for found in matches:
        if not found.conflict:
            return found
    if matches:
        return matches[0]
    names = sorted({found.name for found in installed})
    listed = f"Installed: {', '.join(names)}" if names else "None is installed"
    raise UnknownNameError(
        f"no {what} is called {name!r}", mend=" ".join(filter(None, (did_you_mean(name, names), listed)))
    )


def owner(module: str) -> tuple[str, str] | None:
    """Return distribution and version of the plugin distribution that a module belongs to, if it is known."""
    package = module.partition(".")[0]
    best: Found | None = None
    for group in GROUPS:
        for found in find(group):
            target = found.value.partition(":")[0].strip()
            if target == module:
                return found.distribution, found.version
            if best is None and target.partition(".")[0] == package:
                best = found
    return (best.distribution, best.version) if best else None


# -- load ----------------------------------------------------------------------------------------------------


def load(found: Found) -> Any:
    """Import what an entry point refers to.

    Raises
    ------
    PluginLoadError
        If it cannot be imported, or its name is claimed twice; with entry point, distribution, version
        and reason.
    """
    if found.conflict:
        raise cannot_load(found, found.conflict)
    from importlib_metadata import EntryPoint

    try:
        return EntryPoint(found.name, found.value, found.group).load()
    except (Exception, SystemExit) as error:  # a plugin's module may raise anything, or try to exit
        raise cannot_load(found, f"{type(error).__name__}: {error}") from error


def cannot_load(found: Found, reason: str) -> PluginLoadError:
    """Make the error for an entry point that cannot be used, for the reason given."""
    return PluginLoadError(
        f"{found} could not be loaded: {reason}",
        f"group {found.group}, value {found.value!r}",
        f"Repair or uninstall {found.distribution}",
    )


# -- classify ------------------------------------------------------------------------------------------------


def classify(thing: object) -> Kind:
    """Say what an entry point gave: a class, a factory, a module, or the instance itself."""
    if inspect.isclass(thing):
        return "class"
    if isinstance(thing, ModuleType):
        return "module"
    if inspect.isroutine(thing) or isinstance(thing, partial):
        return "factory"
    return "instance"


def produce(found: Found) -> Any:
    """Load an entry point and return its instance: classes and factories are called without arguments.

    Raises
    ------
    PluginLoadError
        As :func:`load`, or if the class or factory cannot be called without arguments.
    """
    thing = load(found)
    kind = classify(thing)
    if kind in ("instance", "module"):
        return thing
    try:
        made = thing()
    except (Exception, SystemExit) as error:
        reason = f"the {kind} cannot be called without arguments: {type(error).__name__}: {error}"
        raise cannot_load(found, reason) from error
    if inspect.isclass(made):
        raise cannot_load(found, f"the {kind} gave the class {made.__qualname__}, not an instance")
    return made
