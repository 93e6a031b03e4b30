"""Designs whose cells are spread over ranges, or chosen from a grid that would be too large."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import InvalidTypeError, InvalidValueError, UnknownNameError
from crystallize.experiments.designs import factorial
from crystallize.experiments.designs.design import Design, check_factors
from crystallize.experiments.designs.ranges import Range
from crystallize.experiments.treatment import check_context
from crystallize.utils.checks import check_count
from crystallize.utils.randomness import check_seed
from crystallize.utils.wording import name_hint

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

Rows = Sequence[Sequence[float]]


def design(
    kind: str,
    factors: Mapping[str, Any] | None = None,
    /,
    *,
    n: int | None = None,
    seed: int | None = None,
    axial: float | None = None,
    **more_factors: Range | Iterable[Any],
) -> Design:
    """Make the treatments of a design of experiments: few cells for many factors.

    Parameters
    ----------
    kind : {"latin_hypercube", "sobol", "fractional", "plackett_burman", "central_composite"}
        ``latin_hypercube`` and ``sobol`` spread `n` cells over the ranges. ``fractional`` is a fraction of a two-level
        grid, `n` a power of two. ``plackett_burman`` is for the main effects of many two-level factors. And
        ``central_composite`` is for curved surfaces: corners, ends of the axes, and the centre.
    factors : mapping, optional
        Factors whose names are no keywords, or are those of the other parameters.
    n : int, optional
        How many cells; Plackett-Burman designs have as few as they can by default.
    seed : int, default 0
        Of the two that are drawn. The same seed makes the same design, so that a run can be resumed.
    axial : float, default 1
        Of a central composite: how far the ends of the axes are from the centre, where the corners are at 1.
        ``2 ** (k / 4)`` for `k` factors makes the design rotatable.
    **more_factors : Range or iterable
        A range, :func:`linear`, :func:`log` or :func:`integers`; or a list of levels, of which ``fractional`` and
        ``plackett_burman`` take two.

    Returns
    -------
    Design
        Levels within ranges have six digits.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    InvalidTypeError, InvalidValueError
        If something else is not as it has to be.

    Examples
    --------
    >>> search = design("latin_hypercube", n=64, lr=log(1e-4, 1e-1), depth=integers(2, 9), seed=1)
    >>> screening = design("fractional", n=8, lr=[0.01, 0.1], depth=[2, 4], width=[8, 64], bias=[False, True])
    """
    if kind not in KINDS:
        raise UnknownNameError(f"there is no design {kind!r}", hint=name_hint(kind, "The designs are", KINDS))
    chosen = KINDS[kind]
    for option, value in (("n", n), ("seed", seed), ("axial", axial)):
        if value is not None and option not in chosen.options:
            raise InvalidValueError(
                f"the design {kind!r} takes no {option}",
                hint=f"If it is a factor, write design({kind!r}, {{{option!r}: ...}})",
            )
    given = _check(kind, factors, more_factors)
    rows = chosen.make(
        len(given),
        None if n is None else check_count("n", n),
        0 if seed is None else check_seed(seed),
        _check_axial(axial),
    )
    cells = (
        {factor: _level(levels, part) for (factor, levels), part in zip(given.items(), row, strict=True)}
        for row in rows
    )
    return Design(cells, f"the design {kind!r} of {len(rows)} cells", _hint(kind, len(given)))


def _hint(kind: str, factors: int) -> str:
    """Say what to do where a design of a kind has a cell twice."""
    if kind == "plackett_burman":
        sizes = (size for size in range(4, 4 * factors + 5, 4) if _is_without_repeats(factors, size))
        size = next(sizes, None)
        other = "Take" if size is None else f"Write n={size}, which has no cell twice, or"
        return f"{other} design('fractional', ...). Replicates repeat all cells alike"
    if "seed" not in KINDS[kind].options:
        return "Take the corners alone, with grid(...), or another axial"
    return "Have fewer cells, another seed, or wider ranges"


def _is_without_repeats(factors: int, size: int) -> bool:
    try:
        rows = factorial.plackett_burman(factors, size)
    except InvalidValueError:
        return False
    return len(set(rows)) == len(rows)


def _level(levels: Range | list[Any], part: float) -> Any:
    return (
        levels.at(part)
        if isinstance(levels, Range)
        else levels[min(int(part * len(levels)), len(levels) - 1)]
    )


def _check(
    kind: str, factors: Mapping[str, Any] | None, more: Mapping[str, Any]
) -> dict[str, Range | list[Any]]:
    both = {**({} if factors is None else check_context(factors, "design")), **more}
    if not both:
        check_factors("design", None, both)  # refuses it
    check_context(both, "design")
    return {factor: check_factor(kind, factor, levels) for factor, levels in both.items()}


def check_factor(kind: str, factor: str, levels: Any) -> Range | list[Any]:
    """Return the range of a factor, or its levels, if the design of this kind takes it.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it does not, or they are no levels.
    """
    if isinstance(levels, Range):
        return levels
    found = check_factors("design", None, {factor: levels})[factor]
    takes = KINDS[kind].takes
    if takes == "two" and len(found) != 2:
        raise InvalidValueError(
            f"a factor of the design {kind!r} has two levels, and {factor!r} has {len(found)}"
        )
    if takes == "ranges":
        raise InvalidTypeError(
            f"a factor of the design {kind!r} is a range, and {factor!r} is {found!r}",
            hint="A range is linear, log or integers, from its low end to its high one",
        )
    return found


def _check_axial(axial: float | None) -> float:
    if axial is None:
        return 1.0
    if isinstance(axial, bool) or not isinstance(axial, int | float) or not 1 <= axial < float("inf"):
        raise InvalidValueError(f"axial is a number of at least 1, got {axial!r}")
    return float(axial)


def _latin_hypercube(factors: int, n: int | None, seed: int, axial: float) -> Rows:
    """Spread n cells so that each n-th part of each range has one.

    McKay, Beckman and Conover (1979), "A comparison of three methods for selecting values of input variables",
    Technometrics 21.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    count = _needed("latin_hypercube", n)
    strata = np.stack([rng.permutation(count) for _ in range(factors)], axis=1)
    return _as_rows((strata + rng.random(strata.shape)) / count)


def _sobol(factors: int, n: int | None, seed: int, axial: float) -> Rows:
    """Spread n cells by a scrambled sequence of Sobol's (SciPy's)."""
    count = _needed("sobol", n)
    if count & (count - 1):
        lower = 1 << (count.bit_length() - 1)
        raise InvalidValueError(
            f"a Sobol design is balanced if it has a power of two of cells, got n={count}",
            hint=f"Use n={lower} or n={2 * lower}",
        )
    import numpy as np
    from scipy.stats import qmc

    return _as_rows(qmc.Sobol(factors, seed=np.random.default_rng(seed)).random(count))


def _as_rows(points: np.ndarray[Any, Any]) -> Rows:
    rows: Rows = points.tolist()
    return rows


def _needed(kind: str, n: int | None) -> int:
    if n is None:
        raise InvalidValueError(f"the design {kind!r} needs n, the number of its cells")
    return n


class Kind(NamedTuple):
    """A kind of design: what makes its rows, which options it has, and what its factors are."""

    make: Callable[[int, int | None, int, float], Rows]
    options: frozenset[str]
    takes: str


KINDS = {
    "latin_hypercube": Kind(_latin_hypercube, frozenset({"n", "seed"}), "any"),
    "sobol": Kind(_sobol, frozenset({"n", "seed"}), "any"),
    "fractional": Kind(lambda factors, n, *_: factorial.fractional(factors, n), frozenset({"n"}), "two"),
    "plackett_burman": Kind(
        lambda factors, n, *_: factorial.plackett_burman(factors, n), frozenset({"n"}), "two"
    ),
    "central_composite": Kind(
        lambda factors, n, seed, axial: factorial.central_composite(factors, axial),
        frozenset({"axial"}),
        "ranges",
    ),
}
