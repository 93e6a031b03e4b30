"""Which loader is meant: by name, by file suffix, by dotted path."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from crystallize.discovery import (
    LOADERS,
    Found,
    cannot_load,
    classify,
    find,
    load,
    lookup,
    produce,
    resolve,
    warn_once,
)
from crystallize.errors import InvalidTypeError, PluginLoadError, UnknownNameError
from crystallize.loaders.base import FunctionLoader
from crystallize.utils.failures import error_text, safe_repr
from crystallize.utils.signatures import is_async, mismatch
from crystallize.utils.wording import listed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import PurePath

    from crystallize.loaders.base import Loader


_PICKLES = (".pkl", ".pickle")


def get_loader(loader: object) -> Loader:
    """Return the loader that is meant.

    Parameters
    ----------
    loader : str or Loader
        The name of an installed loader, the dotted path ``"package.module:Name"`` of any, or a loader itself.
        What they lead to may be a plain function of one path, too.

    Raises
    ------
    UnknownNameError
        If nothing of that name is installed, or the dotted path leads nowhere.
    InvalidTypeError
        If it is no loader: something with ``load``, ``dump`` and ``suffixes``.
    PluginLoadError
        If the loader cannot be imported, or an installed one is none.
    """
    if not isinstance(loader, str):
        return _check_loader(loader, "")
    if ":" in loader:
        return _check_loader(resolve(LOADERS, loader, "loader"), f"{loader!r} is no loader: ")
    return load_installed(lookup(LOADERS, loader, "loader"))


def get_writer(loader: object) -> Callable[[Any], bytes]:
    """Return how the loader that is meant writes a value; the arguments and errors are those of `get_loader`.

    Raises
    ------
    InvalidTypeError
        If it is a plain function, which only loads.
    """
    found = get_loader(loader)
    if isinstance(found, FunctionLoader):
        raise InvalidTypeError(
            f"{loader!r} is a function that loads, and writes nothing",
            hint="Name a writer: a function of the value that returns bytes, or a loader that has dump",
        )
    return found.dump


def loader_for(path: PurePath | str) -> Loader:
    """Return the loader that fits the suffix of a file's name.

    Our own are asked before those of other distributions; among several, the longest suffix decides. One that
    is chosen by name only never fits. Pickle is such a one: whoever wrote the file could run anything here.

    Raises
    ------
    UnknownNameError
        If none fits, or if several of other distributions do: what else is installed must not decide what is read.
    """
    name = str(path).lower()
    known: set[str] = set()
    for ours in (True, False):
        loaders = {
            found: loader
            for found in find(LOADERS)
            if found.is_ours is ours and (loader := usable(found)) is not None
        }
        if longest := max((_fit(loader, name) for loader in loaders.values()), default=0):
            best = [found for found, loader in loaders.items() if _fit(loader, name) == longest]
            if len({found.value for found in best}) > 1:  # one loader may be declared under two names
                who = " and ".join(f"{found.name!r} of {found.distribution}" for found in best)
                raise UnknownNameError(
                    f"several loaders fit the suffix of {str(path)!r}: {who}",
                    hint="Name one with loader='...', or uninstall the others",
                )
            return loaders[best[0]]
        known.update(suffix for loader in loaders.values() for suffix in loader.suffixes)
    hint = f"Name one with loader='...'; the suffixes known are {listed(known)}"
    if name.endswith(_PICKLES):
        hint = (
            "Reading a pickle runs what is in it, so pickle is never chosen by a suffix. If only you can have "
            "written the file, say loader='pickle'"
        )
    raise UnknownNameError(f"no loader fits the suffix of {str(path)!r}", hint=hint)


def _fit(loader: Loader, name: str) -> int:
    """Return how long the suffix of a loader is that fits a file's name; 0 if none does."""
    return max((len(suffix) for suffix in loader.suffixes if name.endswith(suffix.lower())), default=0)


@lru_cache(maxsize=256)
def usable(found: Found) -> Loader | None:
    """Return the installed loader, or None after a warning: a broken one does not hinder the others."""
    try:
        return load_installed(found)
    except PluginLoadError as error:
        warn_once(error.what)
        return None


def load_installed(found: Found) -> Loader:
    """Return the installed loader, made and checked.

    Raises
    ------
    PluginLoadError
        If it cannot be imported or made, or is none.
    """
    declared = load(found)
    if _is_function_of_a_path(declared):
        return FunctionLoader(declared)
    thing = produce(found)
    fault = _what_is_wrong(thing)
    if fault:
        raise cannot_load(found, f"it gives {safe_repr(thing)}, and {fault}")
    loader: Loader = thing
    return loader


def _is_function_of_a_path(thing: Any) -> bool:
    """Tell whether a thing is a function that needs one argument; one that needs none makes a loader."""
    return (
        classify(thing) == "factory"
        and not is_async(thing)
        and bool(mismatch(thing))
        and not mismatch(thing, None)
    )


def _check_loader(loader: Any, prefix: str) -> Loader:
    if _is_function_of_a_path(loader):
        return FunctionLoader(loader)
    if isinstance(loader, type) and not _what_is_wrong(loader):
        try:
            loader = loader()
        except (Exception, SystemExit) as error:  # its constructor may raise anything
            raise InvalidTypeError(
                f"the loader class {loader.__name__} cannot be called without arguments: {error_text(error)}",
                hint="Pass an instance",
            ) from error
    fault = _what_is_wrong(loader)
    if fault:
        raise InvalidTypeError(
            f"{prefix}{fault}, got {safe_repr(loader)}",
            hint="Pass the name of an installed loader, or an object that has load, dump and suffixes",
        )
    found: Loader = loader
    return found


def _what_is_wrong(loader: Any) -> str:
    """Say what a loader has that this one has not."""
    try:
        methods = all(callable(getattr(loader, name, None)) for name in ("load", "dump"))
        suffixes = getattr(loader, "suffixes", None)
    except Exception as error:  # its properties may raise anything
        return f"a loader has load(path), dump(value) and suffixes: {error_text(error)}"
    if not methods or suffixes is None:
        return "a loader has load(path), dump(value) and suffixes"
    is_property = isinstance(loader, type) and hasattr(suffixes, "__get__")
    if not is_property and not (
        isinstance(suffixes, tuple | list)
        and all(isinstance(suffix, str) and suffix[1:] and suffix[0] == "." for suffix in suffixes)
    ):
        return f"a loader's suffixes are a tuple like ('.json',), not {suffixes!r}"
    return ""
