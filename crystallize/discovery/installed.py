"""The entry points that are installed, by group: found without an import, and judged.

What several distributions claim goes to the core if it is among them, and to nobody otherwise. What is switched
off claims nothing.
"""

from __future__ import annotations

import importlib
import re
import sys
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from crystallize.utils.distributions import Copy, Stamp, declaring, is_settled, normalise, stamps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CORE = "crystallize-lab"
"""The distribution that Crystallize itself comes in."""

COMMANDS = "crystallize.commands"
EXECUTION = "crystallize.execution"
LOADERS = "crystallize.loaders"
PLUGINS = "crystallize.plugins"
VERIFIERS = "crystallize.verifiers"
GROUPS = (COMMANDS, EXECUTION, LOADERS, PLUGINS, VERIFIERS)
"""The groups that are read, in alphabetical order."""

_PREFIX = "crystallize."
_REFERENCE = re.compile(r"([\w.]+)\s*(:\s*[\w.]+)?\s*(?:\[(.*)\])?$")


class Found(NamedTuple):
    """One entry point that is installed; nothing of it is imported.

    Attributes
    ----------
    name, value, group : str
        What its distribution declares: ``name = value`` in the section ``group``. The value is
        ``module:attribute``, or ``module``.
    distribution, version : str
        The distribution that declares it. Without metadata, the name is that of its folder and the version
        not known.
    fault : str
        Why it cannot be loaded: another one claims the same name, or its metadata has a mistake. Empty for
        most.
    shadowed : bool
        Whether the fault is that the name is one of the core's, which keeps it.
    extras : str
        The extras of its distribution that it says it needs: ``module:attribute [extras]``. Empty for most.
    """

    name: str
    value: str
    group: str
    distribution: str
    version: str
    fault: str = ""
    shadowed: bool = False
    extras: str = ""

    def __str__(self) -> str:
        return f"entry point {self.name!r} of {self.distribution} {self.version}"


class _Catalogue(NamedTuple):
    paths: list[str]
    stamps: list[Stamp]
    settled: bool
    found: dict[str, tuple[Found, ...]]  # with nothing switched off
    contested: dict[str, tuple[Found, ...]]  # of the groups in which a name is claimed twice, as declared
    hidden: tuple[Found, ...]


_catalogue: dict[str, _Catalogue] = {}  # one entry at most: what the last scan found


def find(group: str, is_off: Callable[[Found], bool] | None = None) -> tuple[Found, ...]:
    """Return what is installed in a group, sorted by name and then distribution; import none of it.

    A distribution that is on ``sys.path`` twice counts once, the first, as Python imports it. If two
    distributions claim one name, both are returned with `fault` set; the core's own stays usable. What stands
    in broken metadata is returned, too, with `fault` set if it cannot be used.

    Parameters
    ----------
    group : str
        For example ``"crystallize.plugins"``.
    is_off : callable, optional
        Tells what is switched off. That is returned as well, and leaves its name to the others.

    Notes
    -----
    The search is repeated when ``sys.path``, or a folder on it, has changed since: what is installed while
    a notebook runs is found.
    """
    known = _current()
    if is_off is None or group not in known.contested:
        return known.found.get(group, ())
    return tuple(_judged(known.contested[group], is_off))


def hidden() -> tuple[Found, ...]:
    """Return what is declared by copies of a distribution that another copy on ``sys.path`` hides.

    The `fault` of each says which copy is used. They are sorted like what :func:`find` returns.
    """
    return _current().hidden


def _current() -> _Catalogue:
    known = _catalogue.get("last")
    stamps = stamps_of(sys.path)
    if known is None or not known.settled or known.stamps != stamps or known.paths != sys.path:
        if known is not None:
            importlib.invalidate_caches()
        known = _Catalogue(list(sys.path), stamps, is_settled(stamps), *_scan())
        _catalogue["last"] = known
    return known


def _scan() -> tuple[dict[str, tuple[Found, ...]], dict[str, tuple[Found, ...]], tuple[Found, ...]]:
    every: list[Found] = []
    hidden: list[Found] = []
    for used, *others in declaring(_PREFIX):
        every += _declared(used)
        why = f"{used.name} {used.version} in {used.folder} is used in its place"
        hidden += [found._replace(fault=why) for other in others for found in _declared(other)]
    every.sort(key=_in_order)
    declared = {group: tuple(found) for group, found in groupby(every, key=lambda found: found.group)}
    judged = {group: tuple(_judged(found)) for group, found in declared.items()}
    contested = {group: declared[group] for group in declared if judged[group] != declared[group]}
    return judged, contested, tuple(sorted(hidden, key=_in_order))


def _in_order(found: Found) -> tuple[str, ...]:
    return found.group, found.name, normalise(found.distribution), found.value


def _declared(copy: Copy) -> Iterable[Found]:
    for entry in copy.entries:
        value, extras, fault = entry.value, "", entry.fault
        reference = _REFERENCE.match(value)
        if reference is not None:
            module, attribute, extras = (part or "" for part in reference.groups())
            value = module + re.sub(r"\s", "", attribute)
        elif not fault:
            fault = f"its value {value!r} is not of the form module:attribute"
        # What stands in no group of ours is told where it is seen most.
        yield Found(
            entry.name, value, entry.group or PLUGINS, copy.name, copy.version, fault, extras=extras.strip()
        )


def _judged(
    entries: Iterable[Found], is_off: Callable[[Found], bool] = lambda found: False
) -> Iterable[Found]:
    """Yield the entries of a group, those with a fault whose name another one claims that is not off."""
    for name, claims in groupby(entries, key=lambda found: found.name):
        claimants = list(claims)
        rivals = [found for found in claimants if not found.fault and not is_off(found)]
        if len(rivals) < 2:
            yield from claimants
            continue
        who = " and ".join(f"{found.distribution} {found.version}" for found in rivals)
        ours = next((found for found in rivals if normalise(found.distribution) == CORE), None)
        fault = f"the name {name!r} is claimed by {who}"
        if ours is not None:
            fault += f", and stays with {ours.distribution}"
        elif len({normalise(found.distribution) for found in rivals}) > 1:
            ways = "switched off or uninstalled" if rivals[0].group == PLUGINS else "uninstalled"
            fault += f", of which all but one must be {ways}"
        for found in claimants:
            if found is ours or not any(found is rival for rival in rivals):
                yield found
            else:
                yield found._replace(fault=fault, shadowed=ours is not None)
