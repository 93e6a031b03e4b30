"""Which loader is meant: by name, by file suffix, by dotted path."""

from __future__ import annotations

import importlib
import logging
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from crystallize.discovery import CORE, LOADERS, Found, find, lookup, normalise, produce
from crystallize.errors import InvalidTypeError, PluginLoadError, UnknownNameError
from crystallize.utils.suggest import listed

if TYPE_CHECKING:
    from pathlib import PurePath

    from crystallize.loaders.base import Loader

_log = logging.getLogger("crystallize.loaders")


def get_loader(loader: object) -> Loader:
    """Return the loader that is meant.

    Parameters
    ----------
    loader : str or Loader
        The name of an installed loader, ``"package.module:Name"``, or a loader itself.

    Raises
    ------
    UnknownNameError
        If nothing of that name is installed, or the dotted path leads nowhere.
    InvalidTypeError
        If it is no loader: something with ``load``, ``dump`` and ``suffixes``.
    PluginLoadError
        If the installed loader cannot be imported.
    """
    if not isinstance(loader, str):
        return _checked(loader)
    if ":" in loader:
        return _checked(_imported(loader))
    return _checked(produce(lookup(LOADERS, loader, "loader")))


def loader_for(path: PurePath | str) -> Loader:
    """Return the loader that fits the suffix of a file's name.

    Our own are asked before those of other distributions; among several, the longest suffix decides. One that
    is chosen by name only, like pickle, never fits.

    Raises
    ------
    UnknownNameError
        If none fits.
    """
    name = str(path).lower()
    known: set[str] = set()
    for ours in (True, False):
        loaders = [
            loader
            for found in find(LOADERS)
            if (normalise(found.distribution) == CORE) is ours and (loader := _usable(found)) is not None
        ]
        fitting = [
            (len(suffix), loader) for loader in loaders for suffix in loader.suffixes if name.endswith(suffix)
        ]
        if fitting:
            return max(fitting, key=lambda pair: pair[0])[1]
        known.update(suffix for loader in loaders for suffix in loader.suffixes)
    raise UnknownNameError(
        f"no loader fits the suffix of {str(path)!r}",
        mend=f"Name one with loader='...'; the suffixes known are {listed(known)}",
    )


@lru_cache(maxsize=256)
def _usable(found: Found) -> Loader | None:
    """Return the installed loader, or None after a warning: a broken one does not hinder the others."""
    try:
        return _checked(produce(found))
    except (PluginLoadError, InvalidTypeError) as error:
        _log.warning("%s", error)
        return None


def _imported(path: str) -> object:
    module, _, name = path.partition(":")
    try:
        return attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownNameError(
            f"{path!r} leads to no loader: {error}", mend="Write it as 'package.module:Name'"
        ) from error


def _checked(loader: Any) -> Loader:
    if isinstance(loader, type) and _is_loader(loader):
        loader = loader()
    if _is_loader(loader):
        found: Loader = loader
        return found
    raise InvalidTypeError(
        f"a loader has load(path), dump(value) and suffixes, got {loader!r}",
        mend="Pass the name of an installed loader, or an object that has all three",
    )


def _is_loader(loader: Any) -> bool:
    return all(callable(getattr(loader, name, None)) for name in ("load", "dump")) and hasattr(
        loader, "suffixes"
    )
