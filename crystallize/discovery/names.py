"""What a name means: that of an entry point, however it is spelled, or a dotted path."""

from __future__ import annotations

import logging
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from crystallize.discovery.entry_points import COMMANDS, EXECUTION, GROUPS, PLUGINS, Found, normalise
from crystallize.discovery.installed import find
from crystallize.discovery.loading import cannot_load, load
from crystallize.errors import PluginLoadError, UnknownNameError
from crystallize.utils.references import UnreachableError, import_object, search_hint
from crystallize.utils.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ADD_ONS = {(COMMANDS, "tui"): "crystallize-tui", (EXECUTION, "dask"): "crystallize-dask"}
"""What comes with distributions that may not be installed: group and name -> distribution."""

_log = logging.getLogger("crystallize.plugins")
_warned: set[str] = set()


def lookup(group: str, name: str, what: str, is_off: Callable[[Found], bool] = lambda found: False) -> Found:
    """Return the entry point of a name.

    Parameters
    ----------
    group : str
        The group to look in.
    name : str
        The name of the entry point; case, and ``-``, ``_`` and ``.``, make no difference where only one
        name can be meant. A distribution that claims a name of the core gets a warning.
    what : str
        What the group's entries are called in the error, for example ``"execution strategy"``.
    is_off : callable, optional
        Tells what is switched off: of two that claim the name, the other is meant.

    Raises
    ------
    UnknownNameError
        If nothing of that name is installed; see :func:`unknown`.
    """
    installed = find(group, is_off)
    matches = [found for found in installed if found.name == name]
    if not matches:
        folded = normalise(name)
        matches = [found for found in installed if normalise(found.name) == folded]
        if len({found.name for found in matches}) > 1:
            matches = []
    if not matches:
        raise unknown(group, name, what)
    for found in matches:
        if found.shadowed and group != PLUGINS:  # an experiment warns of those itself
            warn_once(cannot_load(found, found.fault).what)
    return min(matches, key=lambda found: (bool(found.fault), is_off(found)))


def warn_once(message: str) -> None:
    """Log a warning about what is installed, once in a process."""
    if message not in _warned:
        _warned.add(message)
        _log.warning("%s", message)


def forget_warnings() -> None:
    """Warn of everything once more, as in a new process: each test has its own installed plugins."""
    _warned.clear()


def unknown(group: str, name: str, what: str) -> UnknownNameError:
    """Make the error for a name that is not installed.

    It gives the nearest one, the distribution to install if we know one that brings it, and what is installed.
    """
    names = sorted({found.name for found in find(group)})
    return UnknownNameError(
        f"no {what} is called {name!r}",
        hint=f"{advice(group, name)} Installed: {', '.join(names) or 'none'}".strip(),
    )


def advice(group: str, name: str, others: Iterable[str] = ()) -> str:
    """Say what may have been meant by a name that is not installed, and how to get it.

    Parameters
    ----------
    group, name : str
        Where it was looked for.
    others : iterable of str, optional
        Names besides those of the group that could have been meant.
    """
    names = {found.name for found in find(group)}
    add_ons = {each: brings for (where, each), brings in ADD_ONS.items() if where == group} if name else {}
    folded = normalise(name)
    meant = folded if folded in add_ons else nearest(name, [*names, *others, *add_ons])
    hints = [f"Did you mean {meant!r}?"] if meant not in ("", folded) or meant in names else []
    if meant in add_ons and meant not in names:
        hints.append(f"It comes with {add_ons[meant]}: pip install {add_ons[meant]}.")
    if not meant and "." in name and group != COMMANDS:
        hints.append("A dotted path is written 'package.module:Name'.")
    return " ".join(hints)


def resolve(group: str, name: str, what: str) -> Any:
    """Import what a user named: an entry point, or anything by its dotted path ``package.module:Name``.

    Parameters
    ----------
    group, name, what : str
        As for :func:`lookup`.

    Raises
    ------
    UnknownNameError
        If nothing of that name is installed, there is no such module, or the module has nothing of that name.
    PluginLoadError
        If the import fails; the error says where.
    """
    if ":" not in name:
        return load(lookup(group, name, what))
    module, _, attribute = name.partition(":")
    astray = f"{name!r} leads to no {what}"
    if not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise UnknownNameError(f"{astray}: it is not of the form 'package.module:Name'")
    try:
        return import_object(module, attribute)
    except UnreachableError as failure:
        cause = failure.__cause__
        if not failure.is_missing:
            raise PluginLoadError(f"{astray}: {failure}", failure.place, "Repair it") from cause
        hint = search_hint(module) if isinstance(cause, ImportError) else ""
        raise UnknownNameError(f"{astray}: {failure}", hint=hint) from cause


def owner(module: str) -> tuple[str, str] | None:
    """Return distribution and version of the plugin distribution that a module belongs to, if it is known."""
    near: dict[int, set[tuple[str, str]]] = {}
    for found in find(GROUPS):
        target = found.value.partition(":")[0]
        if target == module:
            return found.distribution, found.version
        parts = zip(target.split("."), module.split("."), strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))
        near.setdefault(shared, set()).add((found.distribution, found.version))
    near.pop(0, None)
    # Several share no more than a namespace, which says nothing of a module beside theirs.
    owners = near[max(near)] if near else set()
    return owners.pop() if len(owners) == 1 else None
