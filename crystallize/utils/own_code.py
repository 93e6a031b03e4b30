"""Which code is the user's own and which a library's, what to call a module, and where an import leads."""

from __future__ import annotations

import builtins
import importlib.util
import os
import re
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import PurePath
from types import CodeType, ModuleType
from typing import NamedTuple

from crystallize.utils.files import read_plain

_LARGEST_FILE = 1 << 26
_MADE_AT_RUN_TIME = 1 << 9  # CPython's Py_TPFLAGS_HEAPTYPE
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
_CRYSTALLIZE = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
_told_script: str | None = None  # the file of __main__ in the process that this one works for
_began = time.time()
_not_loaded: dict[str, float] = {}  # by file: when its module was last seen not to be loaded


@lru_cache(maxsize=4096)
def is_own_file(file: str) -> bool:
    """Tell whether code of this file is the user's own, and not that of a library."""
    return not file.startswith(("<frozen ", _CRYSTALLIZE, _STANDARD_LIBRARY)) and not _INSTALLED.search(file)


def is_own_module(name: str) -> bool:
    """Tell whether a module is the user's own; one that has no file is."""
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names:
        return root == "__main__"
    loaded = sys.modules.get(name), sys.modules.get(root)
    file = next((file for module in loaded if (file := getattr(module, "__file__", None))), None)
    return file is None or is_own_file(file)


def is_own_class(kind: type) -> bool:
    """Tell whether a class is the user's own."""
    module: object = kind.__module__
    if module == "builtins":  # so is a class called that exec made without a module's name
        return bool(kind.__flags__ & _MADE_AT_RUN_TIME) and getattr(builtins, kind.__name__, None) is not kind
    return isinstance(module, str) and is_own_module(module)  # a compiled one may have anything there


# -- names ---------------------------------------------------------------------------------------------------


def short_name(module: str) -> str:
    """Return what to call a module: the last part of its name; a script is called the same when it is imported."""
    if module == "__main__":
        script = script_file()
        return "__main__" if script is None else PurePath(script).stem
    return module.rpartition(".")[2]


def file_name(module: str) -> str:
    """Return the name of a module's file, whichever folder it is in; a notebook's is ``__main__``."""
    name = short_name(module)
    return name if name == "__main__" else f"{name}.py"


def script_file() -> str | None:
    """Return the file of the script that runs, also in a worker of it; None in a notebook or prompt."""
    if _told_script is not None:
        return _told_script
    file: str | None = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if file is None or file.startswith("<") else file


def work_for_script(file: str | None) -> None:
    """Let ``__main__`` be called in this process as it is in the one that sent what is worked on here."""
    global _told_script  # noqa: PLW0603 - there is one __main__
    if file is not None:
        _told_script = file


# -- imports -------------------------------------------------------------------------------------------------


class Import(NamedTuple):
    """A module that an import statement names, and its file; None for a library's."""

    module: str
    file: str | None


def imports_of(name: str, members: tuple[str, ...], package: str | None) -> Iterator[Import]:
    """Yield what an import statement imports, if it is there; nothing is imported for it.

    Parameters
    ----------
    name : str
        The module, a relative one with its dots.
    members : tuple of str
        What is taken from it; a module each, perhaps, there or further inside.
    package : str or None
        The package that the statement stands in.
    """
    try:
        module = importlib.util.resolve_name(name, package)
        root, *inner = module.split(".")
        spec = None if root in sys.stdlib_module_names else importlib.util.find_spec(root)
    except (ImportError, ValueError):  # the statement would fail as well
        return
    if spec is not None and spec.origin is not None and not is_own_file(spec.origin):
        yield Import(module, None)
        return
    found = [spec]
    for part in inner:
        found.append(_inside(found[-1], part))
    while found:
        each = found.pop()
        if each is None:
            continue
        if each.has_location and each.origin is not None:
            yield Import(each.name, each.origin if is_own_file(each.origin) else None)
        if each.submodule_search_locations is not None:
            found += (_inside(each, member) for member in members)


def loaded_otherwise(module: str, file: str) -> ModuleType | None:
    """Return the module of this name if it is loaded, and may be another one than its file would give by now."""
    loaded = sys.modules.get(module)
    if not isinstance(loaded, ModuleType):
        _not_loaded[file] = time.time()
        return None
    try:
        is_unchanged = os.stat(file).st_mtime < _not_loaded.get(file, _began)  # noqa: PTH116
    except OSError:
        is_unchanged = False
    return None if is_unchanged and loaded.__file__ == file else loaded


def _inside(package: ModuleSpec | None, name: str) -> ModuleSpec | None:
    if package is None or package.submodule_search_locations is None:
        return None
    # By its bare name: of a folder without __init__.py, Python asks the package around it, which is not imported.
    spec = PathFinder.find_spec(name, package.submodule_search_locations)
    if spec is not None:
        spec.name = f"{package.name}.{name}"
    return spec


def code_in(file: str) -> CodeType | None:
    """Return what Python makes of a file; None if it is not there, or no Python."""
    try:
        content = read_plain(file, _LARGEST_FILE)
        return _compile(content)
    except (OSError, SyntaxError, ValueError):
        return None


@lru_cache(maxsize=64)
def _compile(content: bytes) -> CodeType:
    return compile(content, "", "exec", dont_inherit=True)
