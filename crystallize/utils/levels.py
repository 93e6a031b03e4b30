"""Levels of factors: what they are called, and how they are stored.

The coordinates of a treatment, the level of each factor, are its name: short, and safe as the name of a folder.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Any

from crystallize.utils.fingerprint import safe_fingerprint
from crystallize.utils.masking import masked
from crystallize.utils.sharing import to_python

_LONGEST_LEVEL = 24
_LONGEST_NAME = 100  # bytes: below it come the folders of steps and the names of artifacts
_DIGITS = 8
_UNSAFE = re.compile(r"[^\w.+~-]+")


def cell_name(levels: Mapping[str, Any]) -> str:
    """Return the name of the cell with these coordinates: ``lr=0.1,depth=2``.

    It depends on nothing else: not on the other levels, nor on the order of the cells. What is long, or would not do
    as the name of a folder, is shortened, and a hash tells it from others.
    """
    return Labels().name(levels)


def level_label(factor: str, level: Any) -> str:
    """Return a short text for a level: a number as Python writes it, the name of a function, ``64-64`` for a list."""
    if isinstance(level, str):
        return _safe(masked(factor, level), level)
    if level is None or isinstance(level, bool | int | float):
        return _safe(str(level), level)
    if isinstance(level, enum.Enum):
        return _safe(level.name, level)
    if isinstance(level, PurePath):
        return _safe(level.as_posix(), level)
    if isinstance(level, FunctionType | BuiltinFunctionType | type):
        return _safe(level.__name__, level)
    if isinstance(level, list | tuple) and level and all(map(_is_plain, level)):
        return _safe("-".join(str(to_python(each)) for each in level), level)
    return f"{_cut(type(level).__name__)}~{_hash(level)}"


class Labels:
    """The labels of levels, each made once: those of a design are few, and each is in many cells."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[str, str, Any]] = {}

    def of(self, factor: str, level: Any) -> str:
        """Return a level's :func:`level_label`."""
        return self._find(factor, level)[0]

    def name(self, levels: Mapping[str, Any]) -> str:
        """Return the :func:`cell_name` of a cell."""
        parts = [self._find(factor, level)[1] for factor, level in levels.items()]
        name = ",".join(parts)
        if len(name.encode()) <= _LONGEST_NAME:
            return name
        room = _LONGEST_NAME - _DIGITS - 1
        kept: list[str] = []
        for part in parts:
            room -= len(part.encode()) + 1
            if room < 0:
                break
            kept.append(part)
        return ",".join([*kept, f"~{_hash(name)}"])

    def _find(self, factor: str, level: Any) -> tuple[str, str, Any]:
        key = factor, id(level)
        found = self._known.get(key)
        if found is None:  # the level is kept, so that nothing else gets its id
            label = level_label(factor, level)
            found = self._known[key] = label, f"{_safe(factor, factor)}={label}", level
        return found


def factors_of(cells: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the levels of each factor of some cells, in the order in which they come."""
    found: dict[str, dict[str, Any]] = {}
    labels = Labels()
    for cell in cells:
        for factor, level in cell.items():
            found.setdefault(factor, {}).setdefault(labels.of(factor, level), level)
    return {factor: list(levels.values()) for factor, levels in found.items()}


def stored_levels(levels: Mapping[str, Any]) -> dict[str, Any]:
    """Return coordinates as they are stored and shown: plain data as they are, anything else by its label."""
    shown = {
        factor: level if _is_data(level) else level_label(factor, level)
        for factor, level in masked("", levels).items()
    }
    return {factor: list(level) if isinstance(level, tuple) else level for factor, level in shown.items()}


def _is_data(level: Any) -> bool:
    if isinstance(level, list | tuple):
        return all(map(_is_data, level))
    if isinstance(level, dict):
        return all(isinstance(key, str) for key in level) and all(map(_is_data, level.values()))
    return level is None or type(level) in (bool, int, float, str)


def _is_plain(level: Any) -> bool:
    return isinstance(to_python(level), bool | int | float | str)


def _safe(text: str, level: Any) -> str:
    """Return a text without what cannot stand in the name of a folder; if it was changed, with a hash of the level."""
    if len(text) <= _LONGEST_LEVEL and not _UNSAFE.search(text) and text and not text.endswith("."):
        return text
    return f"{_cut(_UNSAFE.sub('_', text))}~{_hash(level)}"


def _cut(text: str) -> str:
    return text[: _LONGEST_LEVEL - _DIGITS - 1].strip("._")


def _hash(value: Any) -> str:
    return safe_fingerprint(value)[:_DIGITS]
