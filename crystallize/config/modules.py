"""The modules beside a config.yaml, loaded under names that nothing else has.

Each folder is a package of its own, called after the folder and its whole path: ``steps.py`` of two
experiments, or an installed module called ``steps``, never meet. Loading compiles the source as it is now, no
cached bytecode, and replaces what was loaded from the same folder before; functions of the earlier load keep
their own globals. Relative imports reach everything below the folder.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.abc
import importlib.util
import linecache
import os
import re
import sys
import threading
import traceback
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from crystallize.config.document import LARGEST
from crystallize.config.errors import Problem
from crystallize.utils.failures import error_text
from crystallize.utils.files import read_plain
from crystallize.utils.imports import FOLDER_PACKAGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

_lock = threading.RLock()


class FolderModules:
    """The modules of one experiment's folder, each loaded when it is first asked for.

    Parameters
    ----------
    folder : pathlib.Path
        The folder, absolute.

    Attributes
    ----------
    problems : list of Problem
        Why modules could not be loaded.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = package_name(folder)
        self.problems: list[Problem] = []
        self._loaded: dict[str, ModuleType | None] = {}
        self._made = False

    def file(self, name: str) -> Path:
        """Return where the module `name` is, or would be."""
        package = self.folder / name / "__init__.py"
        return package if package.is_file() else self.folder / f"{name}.py"

    def exists(self, name: str) -> bool:
        """Tell whether the folder has the module `name`."""
        return self.file(name).is_file()

    def load(self, name: str) -> ModuleType | None:
        """Return the module `name`, or None if there is none or it cannot be loaded; see `problems`."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name) if self.exists(name) else None
        return self._loaded[name]

    def failed(self, name: str) -> bool:
        """Tell whether the module is there and could not be loaded."""
        return self._loaded.get(name, self) is None and self.exists(name)

    def __reduce__(self) -> Any:
        return _in_worker, (self.package, self.folder)

    def _load(self, name: str) -> ModuleType | None:
        file = self.file(name)
        try:
            read_plain(file, LARGEST)
        except OSError as error:
            self.problems.append(Problem.of_file(file, f"the file cannot be read: {error.strerror}"))
            return None
        with _lock:
            if not self._made:
                _forget(self.package)
                _make_package(self.package, self.folder)
                self._made = True
            try:
                return importlib.import_module(f"{self.package}.{name}")
            except (Exception, SystemExit) as error:  # a module may raise anything, or try to exit
                self.problems.append(blame(error, self.folder, self.file(name)))
                return None


def package_name(folder: Path) -> str:
    """Return the name that a folder's modules are loaded under; the same in every process of a machine."""
    resolved = Path(os.path.realpath(folder))
    readable = re.sub(r"\W", "_", resolved.name, flags=re.ASCII)
    digest = hashlib.blake2b(str(resolved).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return f"{FOLDER_PACKAGE}{readable}_{digest}"


def blame(error: BaseException, folder: Path, file: Path) -> Problem:
    """Return the problem for what the user's code raised, at the innermost line of the folder's own.

    Parameters
    ----------
    error : BaseException
        What was raised.
    folder : pathlib.Path
        Whose code counts as the user's own.
    file : pathlib.Path
        What to name if no line of the folder is to blame.
    """
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(folder):
        return Problem(
            Path(error.filename),
            error.lineno or 0,
            error.offset or 1,
            "",
            f"this is not Python: {error.msg}",
            "Repair the syntax",
        )
    place, line, column = file, 0, 0
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).is_relative_to(folder):
            place, line, column = Path(frame.filename), frame.lineno or 0, (frame.colno or 0) + 1
    reason = error_text(error).splitlines()[0]
    return Problem(place, line, column, "", reason, _advice(error, folder))


def _advice(error: BaseException, folder: Path) -> str:
    if not isinstance(error, ImportError):
        return ""
    missing = (error.name or "").partition(".")[0]
    if missing and ((folder / f"{missing}.py").is_file() or (folder / missing).is_dir()):
        return f"Modules of the folder are imported relatively: from .{missing} import ..."
    if isinstance(error, ModuleNotFoundError) and not missing.startswith(FOLDER_PACKAGE):
        return f"Install what provides {missing!r}, or correct the name"
    return ""


# -- importing -----------------------------------------------------------------------------------------------


def _make_package(name: str, folder: Path) -> None:
    """Make an empty package for `folder`; its modules are loaded when they are imported."""
    import cloudpickle

    _finder.install()
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    # No other process can import these names: workers get functions and classes by value.
    cloudpickle.register_pickle_by_value(package)


def _forget(name: str) -> None:
    """Remove what was loaded from a folder before."""
    inside = f"{name}."
    for known in [known for known in list(sys.modules) if known == name or known.startswith(inside)]:
        del sys.modules[known]


def _in_worker(name: str, folder: Path) -> FolderModules:
    """Let functions that were sent to this process import relatively when they run."""
    with _lock:
        if name not in sys.modules:
            _make_package(name, folder)
    return FolderModules(folder)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of folders' packages, and nothing else."""

    def install(self) -> None:
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None or not fullname.startswith(FOLDER_PACKAGE):
            return None
        finders = (FileFinder(place, (_Loader, [".py"])) for place in path)
        return next((spec for finder in finders if (spec := finder.find_spec(fullname))), None)


class _Loader(SourceFileLoader):
    """Compiles the source each time: bytecode of an edit within the same second would be stale."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        linecache.cache.pop(path, None)  # tracebacks and inspect.getsource show what is compiled now
        code: Any = self.source_to_code(read_plain(path, LARGEST), path)
        return code  # type: ignore[no-any-return]


_finder = _Finder()
