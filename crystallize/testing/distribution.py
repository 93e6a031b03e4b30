"""A real distribution in a folder: modules and a ``.dist-info`` are all that Python looks for."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from textwrap import dedent
from typing import TYPE_CHECKING

from crystallize.discovery import PLUGINS, forget_warnings
from crystallize.hashing.lookup import hasher_of
from crystallize.loaders.lookup import usable

if TYPE_CHECKING:
    import pytest

_SECONDS_AGO = 60
_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE)
_VERSION = re.compile(r"[A-Z0-9.+!_]+", re.IGNORECASE)
_GROUP = re.compile(r"[\w.-]+")
_ENTRY = re.compile(r"[^=\s\[#;][^=\n]*")


class TmpPlugin:
    """What the fixture ``tmp_plugin`` returns: installs distributions for the time of one test.

    Each has a folder of its own, first on ``sys.path`` and in ``PYTHONPATH``: this process finds it, and every
    process that is started from now on. After the test its modules are forgotten.

    Parameters
    ----------
    root : Path
        Where the folders are made.
    monkeypatch : pytest.MonkeyPatch
        What puts them on the path, and takes them off it.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = root
        self._monkeypatch = monkeypatch
        self._folders: list[Path] = []
        self._before = dict(sys.modules)

    def __call__(
        self,
        name: str,
        files: Mapping[str, str | bytes] | None = None,
        plugins: Mapping[str, str] | None = None,
        *,
        groups: Mapping[str, Mapping[str, str]] | None = None,
        version: str = "1.0",
        metadata: Mapping[str, str | Sequence[str]] | None = None,
        on_path: bool = True,
    ) -> Path:
        """Install a distribution.

        Parameters
        ----------
        name : str
            The distribution's name, as in its pyproject.toml.
        files : mapping of str to str or bytes, optional
            The content of each file by its path, such as ``"acme/hooks.py"``. Common indentation is removed.
        plugins : mapping of str to str, optional
            The entries of the group ``crystallize.plugins``: ``{"announce": "acme.hooks:Announce"}``.
        groups : mapping, optional
            The entries of any groups: ``{"crystallize.loaders": {"toml": "acme.toml:TomlLoader"}}``.
        version : str, default "1.0"
            The distribution's version.
        metadata : mapping, optional
            More fields of its metadata, such as ``{"Summary": "Announces runs"}``; a list is a field that occurs
            several times.
        on_path : bool, default True
            Whether it can be found; if not, put the folder onto the path when the time comes.

        Returns
        -------
        Path
            The folder that it is installed in.

        Raises
        ------
        ValueError
            If a name, version, path or entry is none that a distribution could have. What an entry point leads
            to is not looked at: that it leads nowhere may be what is tested.
        """
        _check(name, _NAME, "a distribution's name is letters, digits and single . _ - between them")
        _check(version, _VERSION, "a version is letters, digits and . + ! _")
        sections = {**({PLUGINS: plugins} if plugins else {}), **(groups or {})}
        content: dict[str, str | bytes] = {
            f"{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info/METADATA": _metadata(
                name, version, metadata
            ),
            f"{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info/entry_points.txt": _entry_points(sections),
        }
        for path, source in (files or {}).items():
            content[_check_path(path)] = dedent(source) if isinstance(source, str) else source
        folder = self._new_folder(f"site-{name}-{version}")
        for path, text in content.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode() if isinstance(text, str) else text)
        # As if it had been there for a while: a folder that has just changed, as by what an import adds to it, is
        # searched with every look-up.
        (folder / "__pycache__").mkdir(exist_ok=True)
        before = folder.stat().st_mtime - _SECONDS_AGO
        os.utime(folder, (before, before))
        if on_path:
            self._monkeypatch.syspath_prepend(str(folder))
            self._monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        return folder

    def forget(self) -> None:
        """Forget the modules that came from the folders, so that the next test imports its own."""
        # As text: a path would be made of each module of the process, after each test.
        ours = tuple(f"{folder}{os.sep}" for folder in self._folders)
        # Those that were there before are from elsewhere, and to ask thousands where they are takes a while. All places
        # are found before the first is forgotten: where a namespace package is, its parent has to say.
        modules = [
            (name, _places(module))
            for name, module in list(sys.modules.items())
            if ours and self._before.get(name) is not module
        ]
        for name, places in modules:
            if any(f"{place}{os.sep}".startswith(ours) for place in places):
                del sys.modules[name]
        # What was made of them, or warned about, is remembered by what the entry point says, which another test's
        # may say as well.
        usable.cache_clear()
        hasher_of.cache_clear()
        forget_warnings()

    def _new_folder(self, name: str) -> Path:
        folder = self._root / name
        number = 1
        while folder.exists():  # the same distribution may be installed twice
            number += 1
            folder = self._root / f"{name}-{number}"
        folder.mkdir(parents=True)
        self._folders.append(folder)
        return folder


def _places(module: object) -> list[str]:
    """Return where a module's code comes from; a package without ``__init__.py`` has folders only."""
    file = getattr(module, "__file__", None)
    try:
        folders = list(getattr(module, "__path__", None) or ())
    except Exception:  # a module may be any object, whose attributes do anything
        folders = []
    return [place for place in (file, *folders) if isinstance(place, str)]


def _metadata(name: str, version: str, fields: Mapping[str, str | Sequence[str]] | None) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    for field, value in (fields or {}).items():
        for text in [value] if isinstance(value, str) else value:
            if "\n" in field or ":" in field or "\n" in text:
                raise ValueError(f"metadata are fields of one line, got {field!r}: {text!r}")
            lines.append(f"{field}: {text}")
    return "\n".join([*lines, ""])


def _entry_points(sections: Mapping[str, Mapping[str, str]]) -> str:
    lines = []
    for group, entries in sections.items():
        _check(group, _GROUP, "a group of entry points is called like crystallize.plugins")
        if not isinstance(entries, Mapping):
            raise ValueError(
                f"the group {group} is a mapping of names to 'module:attribute', got {entries!r}"
            )
        lines.append(f"[{group}]")
        for entry, value in entries.items():
            _check(entry, _ENTRY, "an entry point's name is one line without =")
            if not isinstance(value, str) or not value.strip() or "\n" in value:
                raise ValueError(f"the entry point {entry!r} is 'module:attribute', got {value!r}")
            lines.append(f"{entry} = {value}")
        lines.append("")
    return "\n".join(lines)


def _check(text: str, pattern: re.Pattern[str], rule: str) -> None:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(f"{rule}; got {text!r}")


def _check_path(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or ".." in parts:
        raise ValueError(
            f"a distribution's file has a path inside of it, such as 'acme/hooks.py'; got {path!r}"
        )
    return path
