"""Corrections of p-values for the number of tests that were made.

Two kinds are told apart by what stays below alpha. Holm, Hochberg and Bonferroni: the chance of even one false claim
in the family. Benjamini and Hochberg: the expected share of false ones among the claims, which lets more of them pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from crystallize.statistics.moments import FloatArray

Correction = Literal["holm", "hochberg", "benjamini-hochberg", "bonferroni", "none"]


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by the step-down method of Holm.

    Parameters
    ----------
    values : sequence of float
        The p-values of one family of tests. NaN stays NaN and is not counted.

    Returns
    -------
    list of float
        The corrected values, at most 1, in the same order.

    References
    ----------
    Holm, S. (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
    65-70.
    """
    return _corrected(values, lambda known, left: _largest_so_far(known * left))


def hochberg(values: Sequence[float]) -> list[float]:
    """Correct p-values as :func:`holm`, by a step-up method that holds for tests that do not depend negatively.

    References
    ----------
    Hochberg, Y. (1988), "A sharper Bonferroni procedure for multiple tests of significance", Biometrika 75, 800-802.
    """
    return _corrected(values, lambda known, left: _smallest_from_here(known * left))


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """Correct p-values so that the expected share of false claims among the claims is at most alpha.

    References
    ----------
    Benjamini, Y. and Hochberg, Y. (1995), "Controlling the false discovery rate", Journal of the Royal Statistical
    Society B 57, 289-300.
    """
    return _corrected(values, lambda known, left: _smallest_from_here(known * len(known) / left[::-1]))


def bonferroni(values: Sequence[float]) -> list[float]:
    """Multiply p-values by their number."""
    return _corrected(values, lambda known, _: known * len(known))


CORRECTIONS: dict[Correction, Callable[[Sequence[float]], list[float]]] = {
    "holm": holm,
    "hochberg": hochberg,
    "benjamini-hochberg": benjamini_hochberg,
    "bonferroni": bonferroni,
    "none": list,
}
"""Each correction by its name."""


TITLES = {
    "holm": "Holm",
    "hochberg": "Hochberg",
    "benjamini-hochberg": "Benjamini-Hochberg, false discovery rate",
    "bonferroni": "Bonferroni",
    "own": "by the test itself",
}
"""What people read of each; ``"own"`` is that of a verifier which corrects by itself."""


def _largest_so_far(values: FloatArray) -> FloatArray:
    import numpy as np

    return np.maximum.accumulate(values)


def _smallest_from_here(values: FloatArray) -> FloatArray:
    import numpy as np

    return np.minimum.accumulate(values[::-1])[::-1]


def _corrected(
    values: Sequence[float], correct: Callable[[FloatArray, FloatArray], FloatArray]
) -> list[float]:
    """Apply `correct` to the known values in ascending order, and put what it gives back in their places.

    Its second argument is how many values are left at each: itself, and those that are not smaller.
    """
    import numpy as np

    given = np.array(values, dtype=float)
    order = given.argsort(kind="stable")[: np.count_nonzero(~np.isnan(given))]  # NaN stands at the end
    left = np.arange(len(order), 0, -1.0)
    found = np.full(len(given), np.nan)
    found[order] = np.minimum(1.0, correct(given[order], left))
    corrected: list[float] = found.tolist()
    return corrected
