"""Designs of cells, each with a level of each factor, and what can be done with them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.experiments.treatment import Treatment, check_context
from crystallize.utils.levels import Labels, cell_name, factors_of, level_label
from crystallize.utils.sharing import to_python
from crystallize.utils.wording import listed, name_hint

MOST_CELLS = 100_000
"""How many cells a design may have: each becomes a condition, with a folder and a row in every table."""

_OF_A_SUM = "Leave it out once: a + (b - a) has the cells of both once"


class Cell(Mapping[str, Any]):
    """The coordinates of one treatment: the level of each factor, as ``cell["lr"]`` or ``cell.lr``."""

    __slots__ = ("_levels",)

    def __init__(self, levels: Mapping[str, Any]) -> None:
        self._levels = levels

    def __getitem__(self, factor: str) -> Any:
        return self._levels[factor]

    def __getattr__(self, factor: str) -> Any:
        if factor.startswith("_"):  # what copies and pickles ask for
            raise AttributeError(factor)
        try:
            return self._levels[factor]
        except KeyError:
            raise AttributeError(
                f"the cell has no factor {factor!r}. {name_hint(factor, 'It has', self._levels)}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._levels)

    def __len__(self) -> int:
        return len(self._levels)

    def __repr__(self) -> str:
        return f"Cell({dict(self._levels)!r})"


Predicate = Callable[[Cell], Any]


class Where(NamedTuple):
    """What :func:`where` returns: the cells that a predicate holds for."""

    predicate: Predicate


class Design:
    """Treatments made from factors: one for each cell, in order.

    :func:`grid`, :func:`zipped`, :func:`cases` and :func:`design` make them. ``a * b`` has each cell of `a` with each
    of `b`, ``a + b`` the cells of both, ``a - b`` those of `a` that are not in `b`, and ``a - where(predicate)`` those
    that the predicate does not hold for. Iterating over it gives treatments.

    Parameters
    ----------
    cells : iterable of mapping
        The level of each factor, for each cell.
    origin : str
        What it is, for messages.
    hint : str, optional
        What to do about a cell that is there twice.

    Raises
    ------
    InvalidValueError
        If there is no cell, if one is there twice, or if there are too many.
    """

    def __init__(
        self, cells: Iterable[Mapping[str, Any]], origin: str, hint: str = "Leave it out once"
    ) -> None:
        self._by_key: dict[frozenset[tuple[str, str]], Mapping[str, Any]] = {}
        labels = Labels()
        for cell in cells:
            key = frozenset((factor, labels.of(factor, level)) for factor, level in cell.items())
            other = self._by_key.setdefault(key, cell)
            if other is not cell:
                raise _same_cell(origin, other, cell, hint)
            if len(self._by_key) > MOST_CELLS:
                raise _too_many(origin, f"more than {MOST_CELLS:,}")
        if not self._by_key:
            raise InvalidValueError(f"{origin} has no cells")

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The coordinates of each treatment."""
        return tuple(map(Cell, self._by_key.values()))

    @property
    def factors(self) -> dict[str, list[Any]]:
        """The levels of each factor, in the order in which they come."""
        return factors_of(self._by_key.values())

    def where(self, predicate: Predicate) -> Design:
        """Return the design with the cells that `predicate` holds for.

        >>> len(grid(lr=[0.1, 0.01], depth=[2, 4]).where(lambda cell: cell.lr < 0.1 or cell.depth < 4))
        3
        """
        return self._chosen(Where(predicate), keeps=True)

    def __iter__(self) -> Iterator[Treatment]:
        labels = Labels()
        return (Treatment(labels.name(cell), cell, coordinates=cell) for cell in self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)

    def __mul__(self, other: Design) -> Design:
        if not isinstance(other, Design):
            return NotImplemented
        shared = self.factors.keys() & other.factors.keys()
        if shared:
            raise InvalidValueError(
                f"both sides of the product have the factor {listed(shared)}",
                hint="A factor stands on one side; a sum (+) has the cells of both",
            )
        _check_number("the product", len(self), len(other))
        cells = itertools.product(self._by_key.values(), other._by_key.values())
        return Design(({**one, **another} for one, another in cells), "the product")

    def __add__(self, other: Design) -> Design:
        if not isinstance(other, Design):
            return NotImplemented
        return Design(itertools.chain(self._by_key.values(), other._by_key.values()), "the sum", _OF_A_SUM)

    def __sub__(self, other: Design | Where) -> Design:
        if isinstance(other, Where):
            return self._chosen(other, keeps=False)
        if not isinstance(other, Design):
            return NotImplemented
        left = (cell for key, cell in self._by_key.items() if key not in other._by_key)
        return Design(left, "the difference")

    def _chosen(self, condition: Where, *, keeps: bool) -> Design:
        def is_wanted(cell: Mapping[str, Any]) -> bool:
            try:
                return bool(condition.predicate(Cell(cell))) is keeps
            except Exception as error:
                error.add_note(f"The predicate of where was asked about the cell {cell_name(cell)}")
                raise

        return Design(filter(is_wanted, self._by_key.values()), "what where(...) leaves of the design")

    def __repr__(self) -> str:
        levels = ", ".join(f"{factor}: {len(found)}" for factor, found in self.factors.items())
        return f"<Design of {len(self):,} cells; levels of {levels}>"


# -- making them ---------------------------------------------------------------------------------------------


def grid(factors: Mapping[str, Iterable[Any]] | None = None, /, **more_factors: Iterable[Any]) -> Design:
    """Make a treatment for each combination of levels; the last factor changes first.

    Parameters
    ----------
    factors : mapping of str to iterable, optional
        The levels of factors whose names are no keywords.
    **more_factors : iterable
        The levels of each factor. A factor is a key of the context, and what it sets is read like any setting.

    Returns
    -------
    Design
        To be given to ``Experiment(treatments=...)``, alone or in a list with other treatments.

    Raises
    ------
    InvalidValueError
        If there are no factors, no levels, or a level is there twice.

    Examples
    --------
    >>> [treatment.name for treatment in grid(lr=[0.1, 0.01], depth=[2, 4])]
    ['lr=0.1,depth=2', 'lr=0.1,depth=4', 'lr=0.01,depth=2', 'lr=0.01,depth=4']
    """
    levels = check_factors("grid", factors, more_factors)
    _check_number("the grid", *map(len, levels.values()))
    cells = itertools.product(*levels.values())
    return Design((dict(zip(levels, cell, strict=True)) for cell in cells), "the grid")


def zipped(factors: Mapping[str, Iterable[Any]] | None = None, /, **more_factors: Iterable[Any]) -> Design:
    """Make a treatment of the first levels of all factors, one of the second ones, and so on.

    Parameters
    ----------
    factors, **more_factors
        As for :func:`grid`; all have as many levels.

    Raises
    ------
    InvalidValueError
        If one factor has more levels than another.

    Examples
    --------
    >>> [treatment.name for treatment in zipped(model=["cnn", "mlp"], epochs=[5, 20])]
    ['model=cnn,epochs=5', 'model=mlp,epochs=20']
    """
    levels = check_factors("zipped", factors, more_factors, distinct=False)
    check_equal_lengths(levels)
    return Design(
        (dict(zip(levels, cell, strict=True)) for cell in zip(*levels.values(), strict=True)), "zipped"
    )


def cases(*cells: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> Design:
    """Make a treatment of each mapping of factors to levels; they need not have the same factors.

    Examples
    --------
    >>> [treatment.name for treatment in cases({"model": "cnn", "lr": 0.1}, {"model": "mlp"})]
    ['model=cnn,lr=0.1', 'model=mlp']
    """
    given = cells[0] if len(cells) == 1 and not isinstance(cells[0], Mapping) else cells
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidTypeError(f"cases are mappings of factors to levels, got {given!r}")
    checked = []
    for number, cell in enumerate(given):
        levels = check_context(cell, f"case {number}")
        if not levels:
            raise InvalidValueError(f"case {number} sets nothing")
        checked.append({factor: to_python(level) for factor, level in levels.items()})
    return Design(checked, "cases")


def where(predicate: Predicate) -> Where:
    """Mean the cells that `predicate` holds for, to be taken from a design: ``grid(...) - where(...)``.

    Parameters
    ----------
    predicate : callable
        Is given each :class:`Cell`; of those that do not have a factor, ``cell.get("factor")`` is None.

    Examples
    --------
    >>> len(grid(lr=[0.1, 0.01], depth=[2, 4]) - where(lambda cell: cell.lr > 0.05 and cell.depth > 2))
    3
    """
    if not callable(predicate):
        raise InvalidTypeError(f"where takes a function of a cell, got {predicate!r}")
    return Where(predicate)


# -- checks --------------------------------------------------------------------------------------------------


def check_factors(
    maker: str, factors: Mapping[str, Any] | None, more: Mapping[str, Any], *, distinct: bool = True
) -> dict[str, list[Any]]:
    """Return the levels of each factor, with NumPy's numbers as Python's.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If there are none, if a factor has no levels or the same twice, or if its name is reserved.
    """
    mapping = {} if factors is None else check_context(factors, maker)
    both = mapping.keys() & more.keys()
    if both:
        raise InvalidValueError(
            f"{maker} has the factor {listed(both)} twice: in the mapping and as a keyword"
        )
    given = check_context({**mapping, **more}, maker)
    if not given:
        raise InvalidValueError(f"{maker} has no factors", hint=f"Write {maker}(lr=[0.1, 0.01])")
    return {factor: _check_levels(factor, levels, distinct=distinct) for factor, levels in given.items()}


def check_equal_lengths(levels: Mapping[str, list[Any]]) -> None:
    """Check that factors have as many levels each; raise InvalidValueError, which names two that do not."""
    (first, *others) = levels
    for other in others:
        if len(levels[other]) != len(levels[first]):
            raise InvalidValueError(
                f"factors that go together have as many levels each: {first!r} has {len(levels[first])}, and "
                f"{other!r} has {len(levels[other])}"
            )


def _check_levels(factor: str, levels: Any, *, distinct: bool) -> list[Any]:
    if isinstance(levels, str | bytes | Mapping | Set) or not isinstance(levels, Iterable):
        raise InvalidTypeError(
            f"the levels of {factor!r} are a list, got {levels!r}",
            hint=f"Write {factor}=[...], in the order in which they are to be run",
        )
    found = [to_python(level) for level in levels]
    if not found:
        raise InvalidValueError(f"the factor {factor!r} has no levels")
    if distinct:
        labels = Counter(level_label(factor, level) for level in found)
        label, count = labels.most_common(1)[0]
        if count > 1:
            same = [level for level in found if level_label(factor, level) == label]
            raise _same_level(factor, *same[:2])
        numbers: dict[float, Any] = {}
        for level in found:
            if type(level) in (int, float) and numbers.setdefault(level, level) is not level:
                raise InvalidValueError(
                    f"the levels {numbers[level]!r} and {level!r} of {factor!r} are equal",
                    hint="Name one of them",
                )
    return found


def _check_number(origin: str, *lengths: int) -> None:
    number = math.prod(lengths)
    if number > MOST_CELLS:
        raise _too_many(origin, f"{number:,}")


def _too_many(origin: str, number: str) -> InvalidValueError:
    return InvalidValueError(
        f"{origin} has {number} cells, and each is a condition: the most are {MOST_CELLS:,}",
        hint="design('latin_hypercube', n=...) covers many factors with few cells",
    )


def _same_cell(origin: str, one: Mapping[str, Any], other: Mapping[str, Any], hint: str) -> InvalidValueError:
    if dict(one) != dict(other):
        for factor, level in other.items():
            if level is not one[factor] and level != one[factor]:
                return _same_level(factor, one[factor], level)
    return InvalidValueError(f"{origin} has the cell {cell_name(one)} twice", hint=hint)


def _same_level(factor: str, one: Any, other: Any) -> InvalidValueError:
    if one is other or (type(one) is type(other) and repr(one) == repr(other)):
        return InvalidValueError(f"the factor {factor!r} has the level {one!r} twice", hint="Name it once")
    return InvalidValueError(
        f"the levels {one!r} and {other!r} of {factor!r} would both be called {level_label(factor, one)!r}",
        hint="Give each a treatment that has a name of its own",
    )
