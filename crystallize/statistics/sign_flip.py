"""The randomisation test that exchanges baseline and treatment within pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from crystallize.statistics.moments import moments, scaled

if TYPE_CHECKING:
    from crystallize.statistics.moments import FloatArray

_CHUNK = 2_000_000  # random signs in memory at a time
_ROUNDING = 1e-12  # of sums of many numbers in different orders, as a share of the sum of their sizes


class SignFlips(NamedTuple):
    """The p-value of each row, and both ends of the interval of the shifts that the same test does not reject.

    All are NaN where there are no differences, or one is not finite.
    """

    p_value: FloatArray
    low: FloatArray
    high: FloatArray


def flip_signs(
    differences: FloatArray, errors: FloatArray, alpha: float, resamples: int, seed: int
) -> SignFlips:
    """Test whether the means of paired differences are zero, by giving them other signs.

    All exchanges are tried if there are at most ``resamples + 1`` that matter, else random ones, which are the same for
    all rows.

    Parameters
    ----------
    differences : numpy.ndarray
        Differences of pairs, 2-D; a test is made of each row.
    errors : numpy.ndarray
        By how much each difference may be off.
    alpha : float
        The intervals are at 1 - alpha.
    resamples, seed : int
        Number of random exchanges, and their seed.

    References
    ----------
    Fisher, R. A. (1935), The Design of Experiments, section 21. Hartigan, J. A. (1969), "Using subsample values as
    typical values", Journal of the American Statistical Association 64, 1303-1317. Phipson, B. and Smyth, G. K. (2010),
    "Permutation p-values should never be zero", Statistical Applications in Genetics and Molecular Biology 9, 39.
    """
    import numpy as np

    rows, n = differences.shape
    found = np.full((3, rows), math.nan)
    tested = np.flatnonzero(np.isfinite(differences).all(axis=1)) if n else np.array([], dtype=int)
    if tested.size:
        numbers, exponents = scaled(differences[tested])
        sums, counts = _sums_of_subsets(numbers, resamples, seed)
        together = np.ldexp(errors[tested].sum(axis=1), -exponents)
        p_value, low, high = _judge(numbers, together[:, None], sums, counts, alpha)
        found[:, tested] = p_value, np.ldexp(low, exponents), np.ldexp(high, exponents)
    return SignFlips(*found)


def _judge(
    numbers: FloatArray, errors: FloatArray, sums: FloatArray, counts: FloatArray, alpha: float
) -> SignFlips:
    import numpy as np

    n, tried = numbers.shape[1], len(counts)
    total = numbers.sum(axis=1, keepdims=True)
    # Flipping a subset takes twice its sum from the total. Sums that should be equal differ by rounding.
    rounding = np.maximum(_ROUNDING * np.abs(numbers).sum(axis=1, keepdims=True), errors)
    as_far = np.abs(total - 2 * sums) >= np.abs(total) - rounding
    p_value = (np.count_nonzero(as_far, axis=1) + 1) / (tried + 1)
    # The means of a subset of replicates and of its complement are where the test's answer changes. A random subset
    # may be empty: that exchange, like the observed one, counts at every shift.
    some = counts > 0
    empty = tried - int(np.count_nonzero(some))
    outside = math.floor(alpha * (tried + 1) * (1 + 1e-12)) - empty
    if outside <= 0:
        infinite = np.full(len(numbers), math.inf)
        return SignFlips(p_value, -infinite, infinite)
    if empty:
        sums, counts = sums[:, some], counts[some]
    mean = np.broadcast_to(moments(numbers).mean[:, None], (len(numbers), empty + 1))
    typical = np.concatenate([sums / counts, (total - sums) / (n - counts), mean], axis=1)
    # Two calls: NumPy is slower by several times with both places in one.
    ends = outside - 1, typical.shape[1] - outside
    low, high = (np.partition(typical, end, axis=1)[:, end] for end in ends)
    return SignFlips(p_value, low, high)


def _sums_of_subsets(rows: FloatArray, resamples: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return the sums of subsets of each of `rows`, neither empty nor whole, and how many values each subset has.

    A subset and its complement are one exchange with two signs, so only subsets without the last value are taken: all
    of them, or random ones.
    """
    import numpy as np

    free = rows.shape[1] - 1
    everything = free < 63 and 2**free - 1 <= resamples
    wanted = 2**free - 1 if everything else resamples
    summed = np.vstack([rows[:, :-1], np.ones(free)])
    rng = np.random.default_rng(seed)
    found = np.empty((len(summed), wanted))
    step = max(1, _CHUNK // max(free, 1))
    for start in range(0, wanted, step):
        end = min(start + step, wanted)
        if everything:
            numbers = np.arange(start + 1, end + 1, dtype=np.int64)
            chosen = (numbers[:, None] >> np.arange(free)) & 1
        else:
            chosen = rng.integers(0, 2, size=(end - start, free), dtype=np.int8)
        found[:, start:end] = summed @ chosen.astype(np.float64).T
    return found[:-1], found[-1]
