"""The randomisation test that exchanges baseline and treatment within pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from crystallize.statistics.intervals import NO_INTERVAL, Interval
from crystallize.statistics.samples import ROUNDING, moments, scaled

if TYPE_CHECKING:
    from crystallize.statistics.samples import FloatArray

_CHUNK = 2_000_000  # random signs in memory at a time
_TOGETHER = 128  # tests that share them at a time


class SignFlips(NamedTuple):
    """The p-value, and the interval of the shifts that the same test does not reject; NaN where there is neither."""

    p_value: float
    interval: Interval


def flip_signs(several: Sequence[FloatArray], alpha: float, resamples: int, seed: int) -> list[SignFlips]:
    """Test whether the means of paired differences are zero, by giving them other signs.

    All exchanges are tried if there are at most ``resamples + 1`` that matter, else random ones, which are the same for
    arrays of one length.

    Parameters
    ----------
    several : sequence of numpy.ndarray
        Differences of pairs, 1-D; a test is made of each array.
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

    found = [SignFlips(math.nan, NO_INTERVAL)] * len(several)
    by_length: dict[int, list[int]] = {}
    for place, differences in enumerate(several):
        if len(differences) and np.isfinite(differences).all():
            by_length.setdefault(len(differences), []).append(place)
    for places in by_length.values():
        for start in range(0, len(places), _TOGETHER):
            block = places[start : start + _TOGETHER]
            numbers, exponents = zip(*(scaled(several[place]) for place in block), strict=True)
            sums, counts = _sums_of_subsets(np.stack(numbers, axis=1), resamples, seed)
            for column, (place, exponent) in enumerate(zip(block, exponents, strict=True)):
                found[place] = _judge(numbers[column], exponent, sums[column], counts, alpha)
    return found


def _judge(
    differences: FloatArray, exponent: int, sums: FloatArray, counts: FloatArray, alpha: float
) -> SignFlips:
    import numpy as np

    n, tried = len(differences), len(sums)
    total = float(differences.sum())
    # Flipping a subset takes twice its sum from the total. Sums that should be equal differ by rounding.
    rounding = ROUNDING * float(np.abs(differences).sum())
    as_far = int(np.count_nonzero(np.abs(total - 2 * sums) >= abs(total) - rounding))
    p_value = (as_far + 1) / (tried + 1)
    # The means of a subset of replicates and of its complement are where the test's answer changes. A random subset
    # may be empty: that exchange, like the observed one, counts at every shift.
    some = counts > 0
    sums, counts = sums[some], counts[some]
    outside = math.floor(alpha * (tried + 1) * (1 + 1e-12)) - (tried - len(sums))
    if outside <= 0:
        return SignFlips(p_value, (-math.inf, math.inf))
    mean = moments(differences).mean
    typical = np.concatenate([sums / counts, (total - sums) / (n - counts), [mean] * (tried - len(sums) + 1)])
    ends = [outside - 1, len(typical) - outside]
    low, high = np.ldexp(np.partition(typical, ends)[ends], exponent)
    return SignFlips(p_value, (float(low), float(high)))


def _sums_of_subsets(values: FloatArray, resamples: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return sums, a row for each column of `values`, and sizes of subsets of its rows, neither empty nor whole.

    A subset and its complement are one exchange with two signs, so only subsets without the last row are taken: all of
    them, or random ones.
    """
    import numpy as np

    free = len(values) - 1
    everything = free < 63 and 2**free - 1 <= resamples
    wanted = 2**free - 1 if everything else resamples
    columns = np.column_stack([values[:-1], np.ones(free)])
    rng = np.random.default_rng(seed)
    parts = []
    step = max(1, _CHUNK // max(free, 1))
    for start in range(0, wanted, step):
        rows = min(step, wanted - start)
        if everything:
            numbers = np.arange(start + 1, start + rows + 1, dtype=np.int64)
            chosen = (numbers[:, None] >> np.arange(free)) & 1
        else:
            chosen = rng.integers(0, 2, size=(rows, free), dtype=np.int8)
        parts.append(chosen.astype(np.float64) @ columns)
    found = np.ascontiguousarray((np.concatenate(parts) if parts else np.empty((0, columns.shape[1]))).T)
    return found[:-1], found[-1]
