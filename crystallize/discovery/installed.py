"""The entry points that are installed, by group: found without an import, and judged.

What several distributions claim goes to the core if it is among them, and to nobody otherwise. What is switched
off claims nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from difflib import get_close_matches
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from crystallize.discovery.entry_points import (
    CORE,
    GROUPS,
    KINDS,
    PLUGINS,
    PREFIX,
    Found,
    distributions,
    normalise,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_NEAR = 0.75  # "plugin" and "executions" are near; another project's "crystallize.exporters" is not
_NEAR_AS_A_WHOLE = 0.9
_TICK_NS = 50_000_000  # file systems stamp changes with the clock of the last tick, some milliseconds ago


class _Catalogue(NamedTuple):
    """What the last scan of ``sys.path`` found, and how the path looked then."""

    paths: list[str]
    stamps: list[tuple[int, int] | None]
    is_settled: bool  # whether a later change of a folder is sure to show in its stamp
    declared: dict[str, tuple[Found, ...]]
    found: dict[str, tuple[Found, ...]]  # judged, with nothing switched off
    hidden: tuple[Found, ...]


_catalogue: dict[str, _Catalogue] = {}  # one entry at most


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
    declared, found = known.declared.get(group, ()), known.found.get(group, ())
    if is_off is None or found == declared:  # no name is claimed twice
        return found
    return tuple(_judged(declared, is_off))


def hidden() -> tuple[Found, ...]:
    """Return what is declared by copies of a distribution that another copy on ``sys.path`` hides.

    The `fault` of each says which copy is used. They are sorted like what :func:`find` returns.
    """
    return _current().hidden


def misspelt_groups() -> list[tuple[str, list[Found]]]:
    """Return the groups that nobody reads and whose name is nearly one of ours, by distribution.

    Other groups that begin with ``crystallize.`` are left alone: an add-on may have a group of its own.

    Returns
    -------
    list of (str, list of Found)
        The group that was meant, and what one distribution declares in the one that it wrote.
    """
    unread = [found for group, declared in _current().declared.items() if _meant(group) for found in declared]
    unread.sort(key=lambda found: (normalise(found.distribution), found.group))
    by_group = groupby(unread, key=lambda found: (found.distribution, found.group))
    return [(_meant(group), list(declared)) for (_, group), declared in by_group]


def _meant(group: str) -> str:
    """Return which of our groups a name was meant to be; an empty text if none, or if it is one."""
    if group in GROUPS:
        return ""
    if not group.startswith(PREFIX):
        return next(iter(get_close_matches(group, GROUPS, n=1, cutoff=_NEAR_AS_A_WHOLE)), "")
    short = {name.removeprefix(PREFIX): name for name in GROUPS}
    short |= {kind: name for name, kind in KINDS.items()}
    nearest = get_close_matches(group.removeprefix(PREFIX), short, n=1, cutoff=_NEAR)
    return short[nearest[0]] if nearest else ""


def _current() -> _Catalogue:
    known = _catalogue.get("last")
    stamps = [_stamp(path) for path in sys.path]
    if known is None or not known.is_settled or known.stamps != stamps or known.paths != sys.path:
        if known is not None:
            importlib.invalidate_caches()
        newest = max((stamp[1] for stamp in stamps if stamp), default=0)
        known = _Catalogue(list(sys.path), stamps, newest < time.time_ns() - _TICK_NS, *_scan())
        _catalogue["last"] = known
    return known


def _stamp(path: str) -> tuple[int, int] | None:
    """Return what changes when something is installed into a folder, or removed; None if it is not there."""
    try:
        status = os.stat(path or ".")  # noqa: PTH116 - a Path costs more than the call
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns


def _scan() -> tuple[dict[str, tuple[Found, ...]], dict[str, tuple[Found, ...]], tuple[Found, ...]]:
    every: list[Found] = []
    hidden: list[Found] = []
    for used, *others in distributions():
        every += used.declared
        why = f"{used.name} {used.version} in {used.folder} is used in its place"
        hidden += [found._replace(fault=why, shadowed=True) for copy in others for found in copy.declared]
    every.sort(key=_in_order)
    declared = {group: tuple(found) for group, found in groupby(every, key=lambda found: found.group)}
    judged = {group: tuple(_judged(found)) for group, found in declared.items()}
    return declared, judged, tuple(sorted(hidden, key=_in_order))


def _in_order(found: Found) -> tuple[str, ...]:
    return found.group, found.name, normalise(found.distribution), found.value


def _judged(
    entries: Iterable[Found], is_off: Callable[[Found], bool] = lambda found: False
) -> Iterator[Found]:
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
