"""Entry points that nobody reads, since the name of their group is misspelt."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from crystallize.discovery import GROUPS
from crystallize.plugins.survey import KINDS
from crystallize.utils.distributions import declaring

_PREFIX = "crystallize."
_ROOT = "crystal"  # "crystalize.plugins" and "crystallise.plugins" are found, too
_NEAR = 0.75  # "plugin" and "executions" are near; another project's "crystallize.exporters" is not
_NEAR_AS_A_WHOLE = 0.9


class Stray(NamedTuple):
    """The entry points of one distribution in a group that is not read.

    Attributes
    ----------
    distribution, version : str
        Where they come from.
    folder : str
        The folder on ``sys.path`` that the distribution is in.
    group : str
        The group as it is declared.
    names : tuple of str
        The entry points.
    meant : str
        The group that was meant.
    """

    distribution: str
    version: str
    folder: str
    group: str
    names: tuple[str, ...]
    meant: str


def strays() -> list[Stray]:
    """Return what stands in a group whose name is nearly one of ours, sorted by distribution.

    Other groups that begin with ``crystallize.`` are left alone: an add-on may have a group of its own.
    """
    found = []
    for copy, *_ in declaring(_ROOT):
        for group in {entry.group: None for entry in copy.entries if entry.group}:
            if meant := _meant(group):
                names = tuple(entry.name for entry in copy.entries if entry.group == group)
                found.append(Stray(copy.name, copy.version, copy.folder, group, names, meant))
    return sorted(found)


def _meant(group: str) -> str:
    """Return which of our groups a name was meant to be; an empty text if none, or if it is one."""
    if group in GROUPS:
        return ""
    if not group.startswith(_PREFIX):
        return next(iter(get_close_matches(group, GROUPS, n=1, cutoff=_NEAR_AS_A_WHOLE)), "")
    short = {name.removeprefix(_PREFIX): name for name in GROUPS}
    short |= {kind: name for name, kind in KINDS.items()}
    nearest = get_close_matches(group.removeprefix(_PREFIX), short, n=1, cutoff=_NEAR)
    return short[nearest[0]] if nearest else ""
