"""The treatments of a config.yaml: those with names, and the cells of its grid."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from crystallize.errors import CrystallizeError, InvalidValueError
from crystallize.experiments.designs.design import (
    Cell,
    Design,
    Where,
    cases,
    check_equal_lengths,
    check_factors,
    grid,
    zipped,
)
from crystallize.experiments.treatment import Treatment
from crystallize.utils.names import name_key
from crystallize.utils.suggest import name_hint

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath
    from crystallize.config.schema import TreatmentsConfig

_TOP = "treatments"


class Note(Protocol):
    """Notes a mistake at a place of the file, as ``Document.add`` does."""

    def __call__(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note it, at the place of the key if `key` is true."""


def read_treatments(config: TreatmentsConfig, note: Note) -> list[Treatment]:
    """Return the treatments: those with names first, then the cells of ``grid`` times ``zip``, and ``cases``.

    Parameters
    ----------
    config : TreatmentsConfig
        What the file says.
    note : callable
        Is told what is wrong; that is left out.
    """
    made: dict[str, Treatment] = {}

    def add(one: Treatment, path: KeyPath, *, key: bool) -> None:
        other = made.setdefault(name_key(one.name), one)
        if other.name != one.name:
            note(
                path,
                f"{one.name!r} and {other.name!r} would share a folder on some systems",
                "Rename one",
                key=key,
            )
        elif other is not one:
            note(
                path, f"there is a treatment {one.name!r} already", "Rename it, or exclude the cell", key=key
            )

    for name, settings in config.named.items():
        try:
            add(Treatment(name, settings or {}), (_TOP, name), key=True)
        except CrystallizeError as error:
            note((_TOP, name), error.what, error.hint, key=True)
    design = _read_design(config, note)
    if design is not None:
        origin = next(key for key in ("grid", "zip", "cases") if getattr(config, key))
        for cell in design:
            add(cell, (_TOP, origin), key=True)
    return list(made.values())


def treatments_of(config: TreatmentsConfig) -> list[Treatment]:
    """Return the treatments of a configuration that has been checked.

    Raises
    ------
    InvalidValueError
        If there is a mistake after all.
    """

    def refuse(path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        raise InvalidValueError(message, hint=hint)

    return read_treatments(config, refuse)


def place_of_factor(config: TreatmentsConfig, factor: str) -> KeyPath:
    """Return where the file has a factor."""
    for origin in ("grid", "zip"):
        if factor in getattr(config, origin):
            return _TOP, origin, factor
    number = next(number for number, case in enumerate(config.cases) if factor in case)
    return _TOP, "cases", number, factor


def _read_design(config: TreatmentsConfig, note: Note) -> Design | None:
    design = None
    for origin, make in (("grid", grid), ("zip", zipped)):
        levels = _sound_levels(origin, getattr(config, origin), note)
        for factor in sorted(levels.keys() & ({} if design is None else design.factors)):
            note((_TOP, origin, factor), f"the factor {factor!r} is in 'grid', too", "Remove one", key=True)
            del levels[factor]
        if levels:
            design = _joined(design, operator.mul, partial(make, levels), origin, note)
    if config.cases:
        design = _joined(design, operator.add, partial(cases, config.cases), "cases", note)
    return _without_excluded(design, config, note)


def _joined(
    design: Design | None,
    join: Callable[[Design, Design], Design],
    make: Callable[[], Design],
    origin: str,
    note: Note,
) -> Design | None:
    try:
        made = make()
        return made if design is None else join(design, made)
    except CrystallizeError as error:
        note((_TOP, origin), error.what, "" if design is not None else error.hint, key=True)
        return design


def _sound_levels(origin: str, levels: Mapping[str, list[Any]], note: Note) -> dict[str, list[Any]]:
    """Return the factors whose levels are right by themselves."""
    sound: dict[str, list[Any]] = {}
    for factor in levels:
        try:
            sound |= check_factors(origin, None, {factor: levels[factor]}, distinct=origin == "grid")
        except CrystallizeError as error:
            note((_TOP, origin, factor), error.what, error.hint)
    if origin == "zip" and sound:
        try:
            check_equal_lengths(sound)
        except CrystallizeError as error:
            note((_TOP, origin), error.what, error.hint, key=True)
            return {}
    return sound


def _without_excluded(design: Design | None, config: TreatmentsConfig, note: Note) -> Design | None:
    for number, excluded in enumerate(config.exclude):
        path: KeyPath = (_TOP, "exclude", number)
        if design is None:
            note(path, "there is nothing to exclude it from", "Give 'treatments' a grid, a zip or cases")
            return None
        unknown = excluded.keys() - design.factors.keys()
        for factor in sorted(unknown):
            hint = name_hint(factor, "The factors are", design.factors)
            note((*path, factor), f"there is no factor {factor!r}", hint, key=True)
        if unknown:
            continue
        if not any(_fits(excluded, cell) for cell in design.cells):
            note(path, "it excludes nothing: no cell has these levels", "Correct it, or remove it")
        elif all(_fits(excluded, cell) for cell in design.cells):
            note(path, "it excludes all cells that are left", "Correct it, or remove it")
        else:
            design -= Where(partial(_fits, excluded))
    return design


def _fits(levels: Mapping[str, Any], cell: Cell) -> bool:
    """Tell whether a cell has all these levels; true is not 1."""
    return all(
        factor in cell and cell[factor] == level and isinstance(cell[factor], bool) is isinstance(level, bool)
        for factor, level in levels.items()
    )
