"""Wilcoxon's signed-rank statistic and its null distribution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crystallize.statistics.moments import by_tables
from crystallize.statistics.p_values import above_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.statistics.moments import FloatArray, NumberArray

Method = Literal["auto", "exact", "normal"]

MOST_EXACT = 50
"""Up to how many pairs the exact distribution is taken by itself."""

_TABLE = 2**15  # numbers at a time: ranks take several tables of their size


class SignedRanks(NamedTuple):
    """What Wilcoxon's test is made of: numbers, or, of a table, arrays with one for each row.

    Attributes
    ----------
    n : int
        How many differences are not zero.
    positive, negative : float
        The sum of the ranks of the positive and of the negative ones.
    p_value : float
        Two-sided; NaN if a difference is not finite, 1 if all are zero.
    """

    n: Any
    positive: Any
    negative: Any
    p_value: Any


def signed_ranks(
    differences: FloatArray, method: Method = "auto", errors: FloatArray | None = None
) -> SignedRanks:
    """Return the signed-rank statistic of `differences` (1-D), or of each row of a table, and its p-value.

    Zeros are left out, and equal sizes share their ranks: 1 - 2/3 is as large as 1/3 - 0, though rounding makes it
    larger. The exact distribution is that of the ranks as they are, so it is exact with ties too.

    Parameters
    ----------
    differences : numpy.ndarray
        The paired differences.
    method : {"auto", "exact", "normal"}
        "auto" is exact up to :data:`MOST_EXACT` differences, counted with the zeros: the data do not choose.
    errors : numpy.ndarray, optional
        By how much each difference may be off; nothing, if not given.

    References
    ----------
    Wilcoxon, F. (1945), "Individual comparisons by ranking methods", Biometrics Bulletin 1, 80-83. Pratt and Gibbons
    (1981), Concepts of Nonparametric Theory, chapter 3, for ties. The normal approximation has no correction for
    continuity.
    """
    import numpy as np

    if differences.ndim == 1:
        return SignedRanks(*(each.item() for each in signed_ranks(differences[None], method)))
    if errors is None:
        errors = np.zeros_like(differences)
    return SignedRanks(
        *by_tables(lambda rows, off: _ranks_of_rows(rows, off, method), differences, errors, size=_TABLE)
    )


def is_exact(n: int, method: Method) -> bool:
    """Tell whether the p-value of `n` differences, zeros among them, is from the exact distribution."""
    return method == "exact" or (method == "auto" and n <= MOST_EXACT)


def _ranks_of_rows(differences: FloatArray, errors: FloatArray, method: Method) -> SignedRanks:
    import numpy as np

    length = differences.shape[1]
    known = np.isfinite(differences).all(axis=1) & (length > 0)
    keys = _sorted_by_size(differences)
    sizes, positive = (keys >> np.uint64(1)).view(np.float64), keys & np.uint64(1) == 0
    zeros = np.count_nonzero(sizes == 0, axis=1)
    n = length - zeros
    # Twice the rank is an integer, with ties too.
    doubled = 2 * (np.arange(1, length + 1) - zeros[:, None])
    tied = np.zeros(len(n))
    with np.errstate(invalid="ignore"):
        gaps = np.diff(sizes)
        may_tie = (gaps <= 2 * errors.max(axis=1, keepdims=True, initial=0.0)).any(axis=1)
    for row in np.flatnonzero(may_tie & known):
        first = zeros[row]
        own = errors[row, np.argsort(np.abs(differences[row]))][first:]
        is_tie = gaps[row, first:] <= own[1:] + own[:-1]
        doubled[row, first:], tied[row] = _shared_ranks(is_tie, n[row])
    positive &= sizes != 0
    above = (doubled * positive).sum(axis=1)
    total = n * (n + 1)
    if is_exact(length, method):
        p_value: Any = _exact(
            [row[first:] for row, first in zip(doubled, zeros, strict=True)], above.tolist()
        )
    else:
        p_value = _normal(n, tied, above)
    return SignedRanks(
        np.where(known, n, length),
        np.where(known, above / 2, math.nan),
        np.where(known, (total - above) / 2, math.nan),
        np.where(known, above_zero(p_value), math.nan),
    )


def _sorted_by_size(differences: FloatArray) -> NumberArray:
    """Return each row in the order of the sizes: twice the bits of the size, and 1 more for a negative one.

    The bits of positive floats, as integers, are in the order of the floats. With the sign behind them, one sort of
    integers gives sizes and signs, in a fifth of the time of an order by which both are then taken.
    """
    import numpy as np

    bits = differences.view(np.uint64)
    keys = bits << np.uint64(1)
    keys |= bits >> np.uint64(63)
    keys.sort(axis=1)
    return keys


def _shared_ranks(is_tie: NumberArray, n: int) -> tuple[NumberArray, float]:
    """Return twice the rank of each of `n` sizes, and what ties take from the variance of the statistic, times 48.

    `is_tie` tells of each size but the first whether it is that of the one before.
    """
    import numpy as np

    starts = np.flatnonzero(np.concatenate([[True], ~is_tie]))
    counts = np.diff(starts, append=n)
    return np.repeat(2 * starts + counts + 1, counts), float((counts.astype(float) ** 3 - counts).sum())


def _exact(doubled: Sequence[NumberArray], above: Sequence[int]) -> list[float]:
    """Return, for each row of ranks, the share of all choices of signs that are at least as far from the middle."""
    found: list[float] = []
    before, shares = b"", _distribution(doubled[0][:0])
    for ranks, reached in zip(doubled, above, strict=True):
        these = ranks.tobytes()
        if these != before:  # without ties, those of one number are all the same
            before, shares = these, _distribution(ranks)
        nearest_end = min(reached, len(shares) - 1 - reached)
        found.append(min(1.0, 2 * float(shares[: nearest_end + 1].sum())))
    return found


def _distribution(doubled: NumberArray) -> FloatArray:
    """Return for each number the share of all choices of signs with which the positive ranks sum up to it."""
    import numpy as np

    shares = np.zeros(int(doubled.sum()) + 1)
    shares[0] = 1.0
    reached = 0
    for rank in doubled.tolist():  # ascending, so that few places are reached at first
        reached += rank
        shares[rank : reached + 1] += shares[: reached + 1 - rank].copy()
        shares[: reached + 1] /= 2
    return shares


def _normal(n: NumberArray, tied: FloatArray, above: NumberArray) -> FloatArray:
    import numpy as np
    from scipy.special import ndtr

    variance = (n * (n + 1) * (2 * n + 1) - tied / 2) / 24
    with np.errstate(invalid="ignore"):
        z = (above / 2 - n * (n + 1) / 4) / np.sqrt(variance)
    p_values: FloatArray = np.where(n > 0, 2 * ndtr(-np.abs(z)), 1.0)
    return p_values
