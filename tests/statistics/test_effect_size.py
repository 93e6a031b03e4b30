"""Effect sizes, shares of pairs, and what pairing is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from crystallize.statistics import effect_size as module
from crystallize.statistics.effect_size import (
    effect_size,
    hedges_factor,
    is_known_to_be_negative,
    share_larger,
)
from crystallize.statistics.moments import moments
from crystallize.statistics.noncentral_t import noncentral_t_cdf, noncentrality_interval

from .published import MAIZE, SLEEP


def pairing(baseline, treatment):
    return module.pairing(*(moments(np.asarray(x)) for x in (baseline, treatment, treatment - baseline)))


def test_effect_sizes_of_the_sleep_data():
    found = effect_size(np.array(SLEEP))
    assert found.d == pytest.approx(1.2845575625910546, rel=1e-12)
    assert hedges_factor(9) == pytest.approx(0.9138748917925523, rel=1e-12)
    assert found.g == pytest.approx(1.1739249035142048, rel=1e-12)
    # scipy.special.nctdtrinc gives 0.41462775691, which is wrong in the tenth digit.
    assert found.interval == pytest.approx((0.41462775638, 2.11801651398), abs=5e-12)


@pytest.mark.parametrize("t", [-30.0, -2.0, 0.0, 0.5, 40.0])
@pytest.mark.parametrize("freedom", [1, 9, 4999])
def test_the_ends_of_a_noncentrality_interval_leave_its_tails_outside(t, freedom):
    low, high = noncentrality_interval(t, freedom, 0.9)
    assert stats.nct.cdf(t, freedom, low) == pytest.approx(0.95, abs=1e-9)
    assert stats.nct.cdf(t, freedom, high) == pytest.approx(0.05, abs=1e-9)
    assert noncentrality_interval(-t, freedom, 0.9) == pytest.approx((-high, -low), abs=1e-8)


@pytest.mark.parametrize("n", [10, 50, 100, 500, 5000, 20000])
@pytest.mark.parametrize("d", [0.05, 0.1, 0.2, 0.5, 1, 2, 5])
def test_the_far_tail_of_the_noncentral_t_is_a_number(n, d):
    bound = stats.t.ppf(0.975, n - 1)
    assert 0 <= noncentral_t_cdf(-bound, n - 1, d * math.sqrt(n)) < 0.05
    assert 0.95 < noncentral_t_cdf(bound, n - 1, -d * math.sqrt(n)) <= 1


def test_what_has_no_spread_has_no_effect_size():
    for values in ([], [1.0], [2.0, 2.0], [math.nan, 1.0], [math.inf, 1.0]):
        assert effect_size(np.array(values)) is None
    assert math.isnan(
        effect_size(np.array([1.0, 2.0])).g
    )  # one degree of freedom: Hedges' factor is not defined


@pytest.mark.parametrize(
    ("t", "freedom", "noncentrality", "probability"),  # integrated with 30 digits by mpmath
    [
        (-3.5, 1250, 5.5, 1.38585951558876e-19),
        (-2.0, 444, 1.5, 0.000240568882588406),
        (4.0, 1250, 4.5, 0.308816923213178),
        (4.4, 94_658, 5.0, 0.274259467716068),
        (3e4, 5, 28_000, 0.499438967629037),
        (2e5, 2, 1e5, 0.77880078306167),
        (5e4, 1000, 50_100, 0.458459381726054),
    ],
)
def test_the_noncentral_t_is_right_where_scipys_is_not(t, freedom, noncentrality, probability):
    assert noncentral_t_cdf(t, freedom, noncentrality) == pytest.approx(probability, abs=1e-12)
    assert noncentral_t_cdf(-t, freedom, -noncentrality) == pytest.approx(1 - probability, abs=1e-12)


def test_the_effect_of_differences_that_hardly_vary_has_an_interval():
    # Chi-squared with 2 degrees of freedom says how far the standard deviation may be off.
    low, high = noncentrality_interval(1e8, 2)
    ends = [1e8 * math.sqrt(stats.chi2.ppf(share, 2) / 2) for share in (0.025, 0.975)]
    assert (low, high) == pytest.approx(ends, rel=1e-9)


def test_the_share_of_pairs_of_darwins_maize():
    assert share_larger(np.array(MAIZE)) == 13 / 15
    assert share_larger(np.array([0.0, 1.0])) == 0.5
    assert math.isnan(share_larger(np.array([])))


def test_pairing_is_worth_the_ratio_of_the_variances():
    rng = np.random.default_rng(0)
    baseline = rng.normal(size=50)
    treatment = baseline + 0.3 * rng.normal(size=50)
    found = pairing(baseline, treatment)
    assert found.correlation == pytest.approx(np.corrcoef(baseline, treatment)[0, 1], rel=1e-12)
    expected = (baseline.var(ddof=1) + treatment.var(ddof=1)) / (treatment - baseline).var(ddof=1)
    assert found.worth == pytest.approx(expected, rel=1e-12)
    assert pairing(baseline, -treatment).correlation == pytest.approx(-found.correlation)
    assert pairing(baseline, -treatment).worth < 1
    assert pairing(1e200 * baseline, 1e200 * treatment) == pytest.approx(found)


def test_pairing_of_what_never_varies_is_not_known():
    for other in ([1.0, 1.0, 1.0], [2.0, 3.0, 5.0]):
        assert pairing(np.array([1.0, 2.0, 4.0]), np.array(other)) is None
    assert pairing(np.array([1.0]), np.array([2.0])) is None


@pytest.mark.parametrize("power", range(-18, 0))
def test_the_correlation_with_what_hardly_varies_is_right_or_not_known(power):
    rng = np.random.default_rng(0)
    baseline = rng.normal(size=20)
    treatment = rng.normal(size=20) - 0.5 * baseline
    found = pairing(10.0**power * baseline, treatment)
    if found is None:
        assert power < -9
    else:
        assert found.correlation == pytest.approx(np.corrcoef(baseline, treatment)[0, 1], abs=1e-5)


def test_pairs_with_a_negative_correlation_are_told_from_chance():
    rng = np.random.default_rng(1)
    chance = [is_known_to_be_negative(np.corrcoef(*rng.normal(size=(2, 12)))[0, 1], 12) for _ in range(2000)]
    assert np.mean(chance) == pytest.approx(0.025, abs=0.0105)
    assert is_known_to_be_negative(-0.9, 8)
    assert is_known_to_be_negative(-1.0, 4)
    assert not is_known_to_be_negative(-0.9, 3)
