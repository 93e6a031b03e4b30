"""What is imported: distributions, and numeric libraries, of this process and of the workers that it has."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from crystallize.discovery.entry_points import CORE, UNKNOWN_VERSION, header_of, normalise
from crystallize.utils.imports import imported

_INSTALLED = {"site-packages", "dist-packages"}
_known: dict[str, tuple[str, str] | None] = {}  # by top-level module
_last: dict[int, dict[str, str]] = {}  # by the number of modules then; one entry at most


class Imports(NamedTuple):
    """What a process has imported.

    Attributes
    ----------
    packages : dict of str to str
        The distributions of which anything is imported, each with its version, by name.
    numeric_libraries : list of dict
        The libraries of linear algebra or parallel loops, each with its version and the threads that it uses.
    """

    packages: dict[str, str]
    numeric_libraries: list[dict[str, Any]]

    @classmethod
    def of_this_process(cls) -> Self:
        """Return those of this process."""
        libraries = _numeric_libraries()  # first, for what finds them out is imported, too
        return cls(imported_distributions(), libraries)

    @classmethod
    def joined(cls, parts: Sequence[Imports]) -> Self:
        """Return those of several processes together; of two versions, that of the later part."""
        packages = {name: version for part in parts for name, version in part.packages.items()}
        libraries: list[dict[str, Any]] = []
        for each in (library for part in parts for library in part.numeric_libraries):
            if each not in libraries:
                libraries.append(each)
        return cls(_sorted(packages.items()), libraries)


of_workers: list[Imports] = []
"""What workers of this process have told, in all its runs: what they import counts as if it were imported here."""


def note_of_worker(imports: Imports) -> None:
    """Add what a worker has told to the others; workers of a thousand runs that tell the same share one copy."""
    of_workers.append(next((each for each in of_workers if each == imports), imports))


def _numeric_libraries() -> list[dict[str, Any]]:
    """Return the numeric libraries that are loaded; without NumPy there are none, and nothing is imported for it."""
    return _libraries(len(sys.modules)) if imported("numpy") is not None else []


@lru_cache(maxsize=1)
def _libraries(_modules: int) -> list[dict[str, Any]]:
    import threadpoolctl

    return [
        {
            "library": each.get("internal_api"),
            "version": each.get("version"),
            "threads": each.get("num_threads"),
            "architecture": each.get("architecture"),
        }
        for each in threadpoolctl.threadpool_info()
    ]


def imported_distributions() -> dict[str, str]:
    """Return the distributions of which anything is imported, each with its version, by name.

    Neither the standard library nor modules that belong to no distribution are among them. Looking up a module
    takes some tenths of a millisecond, once in a process.
    """
    count = len(sys.modules)
    if count not in _last:
        found = distributions_of(
            name for name in list(sys.modules) if "." not in name and not name.startswith("_")
        )
        _last.clear()
        _last[count] = found
    return _last[count]


def distributions_of(modules: Iterable[str]) -> dict[str, str]:
    """Return the distributions that modules belong to, each with its version, by name.

    Modules need not be imported, and are not by this.
    """
    found = set()
    for name in {_top(module) for module in modules} - sys.stdlib_module_names:
        if name not in _known:
            file = _file_of(name)
            if file is None and name not in sys.modules:  # it may be installed later
                continue
            _known[name] = None if file is None else _distribution_of(name, Path(file))
        found.add(_known[name])
    return _sorted(each for each in found if each is not None)


def _sorted(packages: Iterable[tuple[str, str]]) -> dict[str, str]:
    return dict(sorted(packages, key=lambda each: normalise(each[0])))


def _top(module: str) -> str:
    """Return the outermost package of a module that has a file; those above it may be shared by distributions."""
    parts = module.split(".")
    names = [".".join(parts[: place + 1]) for place in range(len(parts))]
    return next((name for name in names if getattr(sys.modules.get(name), "__file__", None)), parts[0])


def _file_of(module: str) -> str | None:
    loaded = sys.modules.get(module)
    if loaded is not None:
        return getattr(loaded, "__file__", None)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None and spec.has_location else None


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    from importlib_metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


class _Info(NamedTuple):
    """A folder with the metadata of a distribution."""

    name: str  # normalised
    folder: Path


def _distribution_of(module: str, file: Path) -> tuple[str, str] | None:
    """Return name and version of the distribution that a top-level module belongs to, or None if there is none."""
    above = module.count(".") + (file.stem == "__init__")
    installed = file.parents[above]
    wanted = CORE if module == "crystallize" else normalise(module)
    if installed.name not in _INSTALLED:  # of a project that is worked on; its metadata lie elsewhere
        found = (info for folder in sys.path for info in _infos(folder) if info.name == wanted)
        return next(map(_read, found), None)
    infos = _infos(str(installed))
    for info in infos:
        if info.name == wanted:
            return _read(info)
    # Distributions that are called otherwise, the most likely ones first: "pyyaml" has yaml, "scikit-learn" sklearn.
    infos = sorted(infos, key=lambda info: (wanted not in info.name, wanted[0] != info.name[0]))
    pattern = re.compile(rf"^{'/'.join(map(re.escape, module.split('.')))}(?:[/\\.,]|$)", re.MULTILINE)
    return next((_read(info) for info in infos if pattern.search(_files(info))), None)


@lru_cache(maxsize=64)
def _infos(folder: str) -> list[_Info]:
    try:
        names = os.listdir(folder or ".")  # noqa: PTH208
    except OSError:
        return []
    return [
        _Info(normalise(name.partition("-")[0].removesuffix(".egg")), Path(folder, name))
        for name in names
        if name.endswith((".dist-info", ".egg-info"))
    ]


def _read(info: _Info) -> tuple[str, str]:
    header = header_of(_text(info.folder / "METADATA") or _text(info.folder / "PKG-INFO"))
    return header.get("Name", info.name), header.get("Version", UNKNOWN_VERSION)


def _files(info: _Info) -> str:
    """Return a text whose lines begin with the modules of a distribution."""
    return _text(info.folder / "top_level.txt") or _text(info.folder / "RECORD")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
