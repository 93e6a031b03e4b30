"""The null distribution of Wilcoxon's signed-rank statistic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from crystallize.statistics.samples import FloatArray, NumberArray

Method = Literal["auto", "exact", "normal"]

MOST_EXACT = 50
"""Up to how many pairs the exact distribution is taken by itself."""


class SignedRanks(NamedTuple):
    """What Wilcoxon's test is made of.

    Attributes
    ----------
    n : int
        How many differences are not zero.
    positive, negative : float
        The sum of the ranks of the positive and of the negative ones.
    p_value : float
        Two-sided; NaN if a difference is not finite, 1 if all are zero.
    """

    n: int
    positive: float
    negative: float
    p_value: float


def signed_ranks(differences: FloatArray, method: Method = "auto") -> SignedRanks:
    """Return the signed-rank statistic of `differences` (1-D) and its p-value.

    Zeros are left out, and equal sizes share their ranks. The exact distribution is that of the ranks as they are, so
    it is exact with ties too.

    Parameters
    ----------
    differences : numpy.ndarray
        The paired differences.
    method : {"auto", "exact", "normal"}
        "auto" is exact up to :data:`MOST_EXACT` differences, counted with the zeros: the data do not choose.

    References
    ----------
    Wilcoxon, F. (1945), "Individual comparisons by ranking methods", Biometrics Bulletin 1, 80-83. Pratt and Gibbons
    (1981), Concepts of Nonparametric Theory, chapter 3, for ties. The normal approximation has no correction for
    continuity.
    """
    import numpy as np

    if not len(differences) or not np.isfinite(differences).all():
        return SignedRanks(len(differences), math.nan, math.nan, math.nan)
    kept = differences[differences != 0]
    n = len(kept)
    if n == 0:
        return SignedRanks(0, 0.0, 0.0, 1.0)
    sizes = np.abs(kept)
    order = sizes.argsort()
    doubled, counts = _doubled_ranks(sizes[order])
    above = int(doubled[kept[order] > 0].sum())
    total = n * (n + 1)
    exact = method == "exact" or (method == "auto" and len(differences) <= MOST_EXACT)
    p_value = _exact(doubled, above) if exact else _normal(n, counts, above)
    return SignedRanks(n, above / 2, (total - above) / 2, p_value)


def _doubled_ranks(ascending: FloatArray) -> tuple[NumberArray, NumberArray]:
    """Return twice the rank of each size, an integer with ties too, and how many there are of each."""
    import numpy as np

    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    counts = np.diff(starts, append=len(ascending))
    return np.repeat(2 * starts + counts + 1, counts), counts


def _exact(doubled: NumberArray, above: int) -> float:
    """Return the share of all choices of signs that are at least as far from the middle."""
    import numpy as np

    total = int(doubled.sum())
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    reached = 0
    for rank in doubled.tolist():  # ascending, so that few places are reached at first
        reached += rank
        ways[rank : reached + 1] += ways[: reached + 1 - rank].copy()
        ways[: reached + 1] /= 2
    return min(1.0, 2 * float(ways[: min(above, total - above) + 1].sum()))


def _normal(n: int, counts: NumberArray, above: int) -> float:
    from scipy.special import ndtr

    ties = float((counts.astype(float) ** 3 - counts).sum())
    variance = (n * (n + 1) * (2 * n + 1) - ties / 2) / 24
    z = (above / 2 - n * (n + 1) / 4) / math.sqrt(variance)
    return float(2 * ndtr(-abs(z)))
