"""Which hasher is meant for a type."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from crystallize.discovery import HASHERS, Found, cannot_load, find, load, warn_once
from crystallize.errors import PluginLoadError
from crystallize.utils.failures import safe_repr
from crystallize.utils.signatures import is_async, mismatch

if TYPE_CHECKING:
    from crystallize.hashing.base import Hasher


@lru_cache(maxsize=1024)
def hasher_of(kind: type) -> Hasher | None:
    """Return the installed hasher for a type: that of the nearest class that it is derived from, or None.

    One is called after a class, ``"shapely.geometry.point.Point"``, or after a package, ``"shapely"``, and then meant
    for all types in it that have no nearer one. A broken one gets a warning, and the search goes on.
    What is installed later counts from the next process on: as long as one runs, equal content keeps its hash.
    """
    installed = {found.name: found for found in find(HASHERS) if not found.shadowed}
    names = (name for base in kind.__mro__ for name in _names(base))
    found = (usable(installed[name]) for name in names if name in installed)
    return next((hasher for hasher in found if hasher is not None), None)


def _names(kind: type) -> Iterator[str]:
    """Yield the names that a class is known by here: its own, and those of the packages it is in, the inmost first."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    while name:
        yield name
        name = name.rpartition(".")[0]


def usable(found: Found) -> Hasher | None:
    """Return the installed hasher, or None after a warning: a broken one does not hinder the others."""
    try:
        return load_installed(found)
    except PluginLoadError as error:
        warn_once(str(error))
        return None


def load_installed(found: Found) -> Hasher:
    """Return the installed hasher, checked.

    Raises
    ------
    PluginLoadError
        If it cannot be imported, or is none.
    """
    thing = load(found)
    if not callable(thing) or isinstance(thing, type) or is_async(thing) or mismatch(thing, None):
        raise cannot_load(
            found, f"it gives {safe_repr(thing)}, and a hasher is a plain function of one value"
        )
    hasher: Hasher = thing
    return hasher
