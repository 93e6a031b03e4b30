"""The treatments of a config.yaml: those with names, and the cells of its designs."""

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
from crystallize.experiments.designs.ranges import Range, integers, linear, log
from crystallize.experiments.designs.sampled import KINDS, check_factor, design
from crystallize.experiments.treatment import Treatment
from crystallize.utils.names import name_key
from crystallize.utils.wording import listed, name_hint

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath
    from crystallize.config.schema import RangeConfig, TreatmentsConfig

_TOP = "treatments"
_SCALES: dict[str, Callable[[Any, Any], Range]] = {"linear": linear, "log": log, "integers": integers}


class Note(Protocol):
    """Notes a mistake at a place of the file, as ``Document.add`` does."""

    def __call__(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note it, at the place of the key if `key` is true."""


def read_treatments(config: TreatmentsConfig, note: Note) -> list[Treatment]:
    """Return the treatments: those with names, the cells of ``grid`` times ``zip`` times ``design``, and ``cases``.

    Parameters
    ----------
    config : TreatmentsConfig
        What the file says.
    note : callable
        Is told what is wrong; that is left out.
    """
    made: dict[str, Treatment] = {}

    def add(one: Treatment, path: KeyPath) -> None:
        other = made.setdefault(name_key(one.name), one)
        if other.name != one.name:
            message = f"{one.name!r} and {other.name!r} would share a folder on some systems"
            note(path, message, "Rename one", key=True)
        elif other is not one:
            message = f"there is a treatment {one.name!r} already"
            note(path, message, "Rename it, or exclude the cell", key=True)

    for name, settings in config.named.items():
        try:
            add(Treatment(name, settings or {}), (_TOP, name))
        except CrystallizeError as error:
            note((_TOP, name), error.what, error.hint, key=True)
    cells = _read_cells(config, note)
    if cells is not None:
        origin = next(key for key in ("grid", "zip", "design", "cases") if getattr(config, key))
        for cell in cells:
            add(cell, (_TOP, origin))
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
    if config.design is not None and factor in config.design.factors:
        return _TOP, "design", "factors", factor
    number = next(number for number, case in enumerate(config.cases) if factor in case)
    return _TOP, "cases", number, factor


def _read_cells(config: TreatmentsConfig, note: Note) -> Design | None:
    cells = None
    for origin, make in (("grid", grid), ("zip", zipped)):
        levels = _sound_levels(origin, getattr(config, origin), note)
        _drop_repeated(levels, (_TOP, origin), config, note)
        if levels:
            cells = _joined(cells, operator.mul, partial(make, levels), (_TOP, origin), note)
    cells = _with_sampled(cells, config, note)
    if config.cases:
        cells = _joined(cells, operator.add, partial(cases, config.cases), (_TOP, "cases"), note)
    return _without_excluded(cells, config, note)


def _joined(
    cells: Design | None,
    join: Callable[[Design, Design], Design],
    make: Callable[[], Design],
    path: KeyPath,
    note: Note,
) -> Design | None:
    made = None
    try:
        made = make()
        return made if cells is None else join(cells, made)
    except CrystallizeError as error:
        note(path, error.what, error.hint if made is None else "", key=True)
        return cells


def _drop_repeated(factors: dict[str, Any], path: KeyPath, config: TreatmentsConfig, note: Note) -> None:
    """Take out the factors that an earlier part of the treatments has, too."""
    for factor in list(factors):
        origin = place_of_factor(config, factor)[1]
        if origin != path[1]:
            note((*path, factor), f"the factor {factor!r} is in {origin!r}, too", "Remove one", key=True)
            del factors[factor]


def _with_sampled(cells: Design | None, config: TreatmentsConfig, note: Note) -> Design | None:
    """Return each of the cells with each of ``design``; the cells alone if that is not there, or has a mistake."""
    written = config.design
    if written is None:
        return cells
    path: KeyPath = (_TOP, "design")
    kind = KINDS.get(written.kind)
    if kind is None:
        hint = name_hint(written.kind, "The designs are", KINDS)
        note((*path, "kind"), f"there is no design {written.kind!r}", hint)
        return cells
    given = {name: getattr(written, name) for name in ("n", "seed", "axial")}
    options = {name: value for name, value in given.items() if value is not None}
    unfit = options.keys() - kind.options
    for option in sorted(unfit):
        note((*path, option), f"the design {written.kind!r} takes no {option}", "Remove it", key=True)
    factors: dict[str, Any] = {}
    for factor, levels in written.factors.items():
        try:
            found = levels if isinstance(levels, list) else _read_range(levels)
            factors[factor] = check_factor(written.kind, factor, found)
        except CrystallizeError as error:
            note((*path, "factors", factor), error.what, error.hint)
    _drop_repeated(factors, (*path, "factors"), config, note)
    if unfit or len(factors) < len(written.factors):
        return cells
    place = (*path, "n") if "n" in options else path
    return _joined(cells, operator.mul, partial(design, written.kind, factors, **options), place, note)


def _read_range(config: RangeConfig) -> Range:
    scales = {scale: getattr(config, scale) for scale in _SCALES if getattr(config, scale) is not None}
    if len(scales) != 1:
        raise InvalidValueError(
            f"a range has one scale, got {listed(scales)}", hint="Write {log: [low, high]}"
        )
    ((scale, ends),) = scales.items()
    if len(ends) != 2:
        hint = f"Write {{{scale}: [low, high]}}"
        raise InvalidValueError(f"a range has a low end and a high one, got {ends!r}", hint=hint)
    return _SCALES[scale](*ends)


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
