"""The t-mixture e-value: evidence against a mean of zero that may be looked at after every replicate.

It is the ratio of two densities of Student's t statistic: under effects (in standard deviations) drawn from a normal
distribution with mean 0 and variance `g`, and under no effect. The chance that it ever reaches ``1 / alpha`` without an
effect is at most `alpha`, however often one looks (Ville's inequality), for the t statistics of growing samples are
those of an invariant group, and their likelihood ratios make a martingale.

Rouder, J. N. et al. (2009), doi 10.3758/PBR.16.2.225; Perez-Ortiz, M. F. et al. (2022), arXiv 2208.07610; Wang, H. and
Ramdas, A. (2023), arXiv 2310.03722.
"""

from __future__ import annotations

import math

G = 1.0
"""Variance of the effects that are expected, in standard deviations. It decides how fast large and small effects are
found, and not whether the level is kept."""


def log_e_value(t: float, n: int, g: float = G) -> float:
    """Return the logarithm of the e-value of a mean of `n` numbers whose t statistic is `t`; 0 if `t` is NaN.

    It is a closed form; so it costs the same after ten replicates and after ten thousand.
    """
    if n < 2 or math.isnan(t):
        return 0.0
    square, c = t * t / (n - 1), 1 + n * g
    return 0.5 * (n * (math.log1p(square) - math.log1p(square / c)) - math.log(c))


def sequence_half_width(sd: float, n: int, alpha: float, g: float = G) -> float:
    """Return half the width of the confidence sequence after `n` numbers: the means that the e-value does not reject.

    Infinite as long as there are too few numbers to reject anything.
    """
    if n < 2 or math.isnan(sd):
        return math.inf
    c = 1 + n * g
    log_a = (math.log(c) - 2 * math.log(alpha)) / n
    if log_a >= math.log(c):
        return math.inf
    a = math.exp(log_a)
    return sd * math.sqrt((n - 1) * (a - 1) / (1 - a / c) / n)
