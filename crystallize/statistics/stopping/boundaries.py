"""The bounds of group-sequential tests: how large z must be at each of several looks.

The chance that a test without an effect is beyond its bound at one look or another is `alpha`. It is computed as
Armitage, McPherson and Rowe (1969), "Repeated significance tests on accumulating data", JRSS A 132, do: look by look,
by integrating the density of the sum of what was seen over where the test went on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SHAPES = ("obrien-fleming", "pocock")
_POINTS = 160  # of each integral: the chance is then right to ten digits
_WIDEST = 12.0


@lru_cache(maxsize=256)
def bounds(shares: tuple[float, ...], alpha: float, shape: str) -> tuple[float, ...]:
    """Return the bound of the absolute z at each look of a two-sided test.

    Parameters
    ----------
    shares : tuple of float
        How much of all replicates have been seen at each look; the last is 1.
    alpha : float
        The level.
    shape : {"obrien-fleming", "pocock"}
        Strict at first and hardly stricter than a single test at the end (O'Brien and Fleming, 1979), or the same at
        each look (Pocock, 1977).
    """
    factors = [1.0 if shape == "pocock" else 1 / math.sqrt(share) for share in shares]
    low, high = 0.0, _WIDEST
    while high - low > 1e-10:
        middle = (low + high) / 2
        if crossing_probability(shares, [middle * factor for factor in factors]) > alpha:
            low = middle
        else:
            high = middle
    return tuple(high * factor for factor in factors)


def crossing_probability(shares: Sequence[float], limits: Sequence[float]) -> float:
    """Return the chance that the absolute z is beyond its limit at one of the looks if there is no effect."""
    import numpy as np

    nodes, weights = _gauss_legendre()
    # The sum at share s is normal with variance s; here its density where the test goes on, by the weights' points.
    edge = min(limits[0], _WIDEST) * math.sqrt(shares[0])
    points = edge * nodes
    mass = edge * weights * _density(points, shares[0])
    for before, share, limit in zip(shares, shares[1:], limits[1:], strict=False):
        edge = min(limit, _WIDEST) * math.sqrt(share)
        following = edge * nodes
        mass = edge * weights * (_density(following[:, None] - points[None, :], share - before) @ mass)
        points = following
    return float(1 - np.sum(mass))


def _density(x: np.ndarray[Any, Any], variance: float) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(np.exp(-x * x / (2 * variance)) / math.sqrt(2 * math.pi * variance))


@lru_cache(maxsize=1)
def _gauss_legendre() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    import numpy as np

    return np.polynomial.legendre.leggauss(_POINTS)
