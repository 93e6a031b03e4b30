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
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from crystallize.discovery.entry_points import (
    GROUPS,
    KINDS,
    PLUGINS,
    PREFIX,
    Found,
    distributions,
    normalise,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_NEAR = 0.75  # "plugin" and "executions" are near; another project's "crystallize.exporters" is not
_NEAR_AS_A_WHOLE = 0.9
_TICK_NS = 50_000_000  # file systems stamp changes with the clock of the last tick, some milliseconds ago


def find(
    group: str | Sequence[str], is_off: Callable[[Found], bool] = lambda found: False
) -> tuple[Found, ...]:
    """Return what is installed in one group after the other, sorted by name and then distribution; import none of it.

    A distribution that is on ``sys.path`` twice counts once, the first, as Python imports it. If two
    distributions claim one name, both are returned with `fault` set; the core's own stays usable. What stands
    in broken metadata is returned, too, with `fault` set if it cannot be used.

    Parameters
    ----------
    group : str or sequence of str
        For example ``"crystallize.plugins"``. To ask for several groups at once takes no longer than for one.
    is_off : callable, optional
        Tells what is switched off. That is returned as well, and leaves its name to the others.

    Notes
    -----
    The search is repeated when ``sys.path``, or a folder on it, has changed since: what is installed while
    a notebook runs is found.
    """
    groups = (group,) if isinstance(group, str) else group
    declared, _ = _installed()
    return tuple(_judged([found for each in groups for found in declared if found.group == each], is_off))


def hidden() -> list[Found]:
    """Return what is declared by copies of a distribution that another copy on ``sys.path`` hides.

    The `fault` of each says which copy is used. They are sorted like what :func:`find` returns.
    """
    return _installed()[1]


def misspelt() -> list[Found]:
    """Return what is declared in groups that nobody reads and whose name is nearly one of ours.

    The `fault` of each says which group was meant. Other groups that begin with ``crystallize.`` are left alone: an
    add-on may have a group of its own.
    """
    return [
        found._replace(fault=f"nobody reads this group, found in {found.folder}. Did you mean {meant!r}?")
        for found in _installed()[0]
        if (meant := _meant(found.group))
    ]


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


def _installed() -> tuple[list[Found], list[Found]]:
    """Return what :func:`_search` found last, unless ``sys.path``, or a folder on it, has changed since."""
    stamps = tuple(map(_stamp, sys.path))
    newest = max((stamp[1] for stamp in stamps if stamp), default=0)
    # What has just changed may change once more without another stamp.
    is_settled = newest < time.time_ns() - _TICK_NS
    return (_search if is_settled else _search.__wrapped__)(tuple(sys.path), stamps)


def _stamp(path: str) -> tuple[int, int] | None:
    """Return what changes when something is installed into a folder, or removed; None if it is not there."""
    try:
        status = os.stat(path or ".")  # noqa: PTH116 - a Path costs more than the call
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns


@lru_cache(maxsize=4)  # a folder that is on the path for a while is no reason to search the rest again
def _search(
    paths: tuple[str, ...], stamps: tuple[tuple[int, int] | None, ...]
) -> tuple[list[Found], list[Found]]:
    """Search ``sys.path``, which the arguments describe, for what is declared, and what other copies hide of it."""
    importlib.invalidate_caches()
    declared: list[Found] = []
    hidden: list[Found] = []
    for used, *others in distributions():
        declared += used.declared
        why = f"{used.name} {used.version} in {used.folder} is used in its place"
        hidden += [found._replace(fault=why, shadowed=True) for copy in others for found in copy.declared]
    return sorted(declared, key=_in_order), sorted(hidden, key=_in_order)


def _in_order(found: Found) -> tuple[str, ...]:
    return found.group, found.name, normalise(found.distribution), found.value


def _judged(entries: Iterable[Found], is_off: Callable[[Found], bool]) -> Iterator[Found]:
    """Yield the entries, those with a fault whose name another one of the group claims that is not off."""
    for (_, name), claims in groupby(entries, key=lambda found: (found.group, found.name)):
        claimants = list(claims)
        rivals = [found for found in claimants if not found.fault and not is_off(found)]
        if len(rivals) < 2:
            yield from claimants
            continue
        who = " and ".join(f"{found.distribution} {found.version}" for found in rivals)
        ours = next((found for found in rivals if found.is_ours), None)
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
