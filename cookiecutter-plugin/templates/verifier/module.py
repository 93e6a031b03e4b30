"""A verifier for Crystallize: the sign test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize import verifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _check(alpha: float) -> None:
    """Refuse settings that make no sense when the verifier is made, not at the end of a long run."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies between 0 and 1, got {alpha!r}")


@verifier(check=_check)
def {{ cookiecutter.__function }}(
    baseline_samples: Mapping[str, Sequence[float]],
    treatment_samples: Mapping[str, Sequence[float]],
    *,
    alpha: float = 0.05,
) -> dict[str, Any]:
    """Exact sign test of whether the treatment's value is the larger one in half of the replicates.

    Nothing is assumed of the distribution, and outliers have no weight. Replicates in which both conditions
    have the same value say nothing, and are left out.

    Parameters
    ----------
    baseline_samples, treatment_samples : mapping of str to sequence of float
        The values of one metric, recorded once in each replicate; those at one position belong together.
    alpha : float
        Significance level.

    Returns
    -------
    dict
        ``p_value`` (two-sided), ``significant``, ``larger`` and ``smaller``: in how many replicates the
        treatment's value is larger and smaller. If a value is NaN, ``p_value`` is NaN.

    References
    ----------
    Dixon, W. J. and Mood, A. M. (1946), "The statistical sign test", Journal of the American Statistical
    Association 41, 557-566.
    """
    if len(baseline_samples) != 1 or set(baseline_samples) != set(treatment_samples):
        raise ValueError(
            f"one metric is compared, got {sorted(baseline_samples)} and {sorted(treatment_samples)}: "
            "name it in Hypothesis(metrics=...)"
        )
    (metric,) = baseline_samples
    pairs = list(zip(baseline_samples[metric], treatment_samples[metric], strict=True))
    larger = sum(after > before for before, after in pairs)
    smaller = sum(after < before for before, after in pairs)
    if any(math.isnan(value) for pair in pairs for value in pair):
        p_value = math.nan
    else:
        p_value = _two_sided(larger, smaller)
    return {"p_value": p_value, "significant": p_value <= alpha, "larger": larger, "smaller": smaller}


def _two_sided(larger: int, smaller: int) -> float:
    """Return the probability that a fair coin gives a result at least as uneven."""
    n = larger + smaller
    tail = sum(math.comb(n, k) for k in range(min(larger, smaller) + 1))
    return min(1.0, 2 * tail / (1 << n))
