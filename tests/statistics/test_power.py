"""Power and numbers of replicates, against R and published figures."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from scipy import integrate, stats

from crystallize.statistics.power import (
    largest_sd,
    smallest_effect,
    t_test_power,
    whole_replicates_needed,
)

PILOTS = 20_000 if os.environ.get("CRYSTALLIZE_ALL_STATISTICS") else 1_000


def test_power_is_what_r_documents():
    # power.t.test leaves out that the test may find the wrong sign: 2.3e-7 here. The others do not.
    assert t_test_power(1, 20, paired=False) == pytest.approx(0.8689528 + 2.3e-7, abs=1e-7)
    assert t_test_power(1, 22.02109, paired=False) == pytest.approx(0.9, abs=1e-6)
    assert t_test_power(0.2, 60, alpha=0.1) == pytest.approx(0.4555818, abs=5e-8)
    assert t_test_power(8 / (16 * math.sqrt(1.2)), 40) == pytest.approx(0.8037381, abs=2e-7)


@pytest.mark.parametrize(
    ("effect", "at_80", "at_90"),
    [
        (0.2, 198.1508, 264.6137),
        (0.3, 89.1494, 118.6865),
        (0.5, 33.3671, 43.9955),
        (0.8, 14.3028, 18.4462),
        (1, 9.9379, 12.5855),
        (1.5, 5.6861, 6.8700),
        (2, 4.2207, 4.9124),
    ],
)
def test_pairs_needed(effect, at_80, at_90):
    assert t_test_power(effect, at_80) == t_test_power(-effect, at_80) == pytest.approx(0.8, abs=1e-5)
    assert t_test_power(effect, at_90) == pytest.approx(0.9, abs=1e-5)
    assert whole_replicates_needed(effect) == whole_replicates_needed(-effect) == math.ceil(at_80)
    assert whole_replicates_needed(effect, power=0.9) == math.ceil(at_90)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 393.4057), (0.5, 63.7656), (0.8, 25.5246), (1, 16.7147)])
def test_replicates_of_each_condition_needed(effect, n):
    assert t_test_power(effect, n, paired=False) == pytest.approx(0.8, abs=1e-5)
    assert whole_replicates_needed(effect, paired=False) == math.ceil(n)


@pytest.mark.parametrize(
    ("n", "effect"), [(3, 3.26404), (5, 1.68200), (10, 0.99600), (20, 0.66044), (30, 0.52924)]
)
def test_smallest_effect_that_n_pairs_see(n, effect):
    assert smallest_effect(n) == pytest.approx(effect, abs=6e-6)
    assert t_test_power(smallest_effect(n), n) == pytest.approx(0.8, rel=1e-9)


@pytest.mark.parametrize(
    ("effect", "n", "power"), [(0.5, 32, 0.782), (0.8, 13, 0.754), (1, 8, 0.681), (1.5, 4, 0.533)]
)
def test_the_normal_formula_asks_for_too_few(effect, n, power):
    assert t_test_power(effect, n) == pytest.approx(power, abs=5e-4)
    assert whole_replicates_needed(effect) > n + 1


@pytest.mark.parametrize("n", [500, 5000])
def test_power_is_a_number_where_scipys_lower_tail_is_not(n):
    assert t_test_power(0.5, n) == pytest.approx(1.0)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 1000])
@pytest.mark.parametrize("paired", [True, False])
def test_searches_are_not_misled_where_scipys_lower_tail_is_not_a_number(alpha, paired):
    for n in (444, 493, 1000, 4562, 94_658, 10**6):
        effect = smallest_effect(n, alpha=alpha, paired=paired)
        # So many replicates leave little between Student's t and the normal distribution.
        size = stats.norm.isf(alpha / 2) + stats.norm.isf(0.2)
        assert effect * math.sqrt(n if paired else n / 2) == pytest.approx(size, rel=0.03)
        assert whole_replicates_needed(effect, alpha=alpha, paired=paired) in (n, n + 1)


def test_power_grows_with_replicates_and_effect_and_is_alpha_without_one():
    powers = [t_test_power(0.3, n) for n in (2, 3, 5, 10, 50, 100, 500, 5000, 10**6)]
    assert powers == sorted(powers)
    assert t_test_power(0, 20, alpha=0.03) == pytest.approx(0.03)
    assert t_test_power(50, 100) == t_test_power(1e300, 2) == t_test_power(math.inf, 3) == 1.0


def test_no_effect_is_never_found_and_one_pair_finds_none():
    assert whole_replicates_needed(0) is None
    assert whole_replicates_needed(1e-9) is None
    assert smallest_effect(1) == math.inf
    assert math.isnan(t_test_power(1, 1))


def test_the_upper_limit_of_a_standard_deviation():
    # Chi-squared with 9 degrees of freedom: 20 % lie below 5.380053.
    assert largest_sd(1, 9, 0.8) == pytest.approx(math.sqrt(9 / 5.380053), rel=1e-6)
    assert largest_sd(3, 10**8, 0.8) == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize("assurance", [0.8, 0.9])
def test_plans_from_pilots_of_ten_have_the_power_that_they_promise(assurance):
    rng = np.random.default_rng(1)
    sds = rng.normal(size=(PILOTS, 10)).std(axis=1, ddof=1)

    def share(limits):
        """Return how many of the plans have a power of 80 % for an effect of half a standard deviation."""
        return np.mean([t_test_power(0.5, whole_replicates_needed(0.5 / limit)) >= 0.8 for limit in limits])

    # A plan has it with 34 pairs, so from a standard deviation on whose effect 33 pairs just do not find.
    least = 0.5 / smallest_effect(33)
    expected = stats.chi2.sf(stats.chi2.ppf(1 - assurance, 9) * least**2, 9)
    assert assurance <= expected < assurance + 0.01
    assert share([largest_sd(sd, 9, assurance) for sd in sds]) == pytest.approx(
        expected, abs=3 * math.sqrt(expected * (1 - expected) / PILOTS)
    )
    assert share(sds) == pytest.approx(stats.chi2.sf(9 * least**2, 9), abs=3 * math.sqrt(0.25 / PILOTS))
    assert share(sds) < 0.5


@pytest.mark.parametrize(("effect", "n", "paired"), [(0.5, 34, True), (1.0, 10, True), (0.8, 26, False)])
def test_tests_have_the_power_that_is_said(effect, n, paired):
    rng = np.random.default_rng(2)
    treatment, baseline = rng.normal(effect, 1, (PILOTS, n)), rng.normal(0, 1, (PILOTS, n))
    if paired:
        found = stats.ttest_1samp(treatment, 0, axis=1).pvalue
    else:
        found = stats.ttest_ind(treatment, baseline, axis=1).pvalue
    expected = t_test_power(effect, n, paired=paired)
    assert np.mean(found <= 0.05) == pytest.approx(expected, abs=3 * math.sqrt(0.16 / PILOTS))


@pytest.mark.parametrize(
    ("effect", "paired"), [(0.2, True), (0.5, True), (0.5, False), (2.0, True), (30.0, True)]
)
def test_whole_replicates_are_the_least_that_are_enough(effect, paired):
    n = whole_replicates_needed(effect, paired=paired)
    assert t_test_power(effect, n, paired=paired) >= 0.8
    assert n == 2 or t_test_power(effect, n - 1, paired=paired) < 0.8


@pytest.mark.parametrize(("margin", "n"), [(7.0, 2), (2.7, 3), (1.6, 5), (1.0, 10), (0.68, 20), (0.2, 300)])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_power_of_two_one_sided_tests_is_the_integral_over_the_mean(margin, n, alpha):
    bound = stats.t.isf(alpha, n - 1)

    def density(mean):
        """Return that of a mean in standard errors, if the deviation is small enough for both tests."""
        most = ((margin * math.sqrt(n) - abs(mean)) / bound) ** 2
        return stats.norm.pdf(mean) * stats.chi2.cdf((n - 1) * most, n - 1)

    end = min(margin * math.sqrt(n), 9)
    expected = 2 * integrate.quad(density, 0, end, epsabs=1e-9)[0]
    assert t_test_power(margin, n, alpha=alpha, claim="equivalent") == pytest.approx(expected, abs=0.006)
    if n >= 5:
        assert t_test_power(margin, n, alpha=alpha, claim="equivalent") == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("margin", "n", "paired"), [(0.7, 20, True), (1.0, 10, True), (0.9, 22, False)])
def test_tests_against_a_margin_have_the_power_that_is_said(margin, n, paired):
    rng = np.random.default_rng(3)
    treatment, baseline = rng.normal(0, 1, (PILOTS, n)), rng.normal(0, 1, (PILOTS, n))

    def found(shift, side):
        if paired:
            p_values = stats.ttest_1samp(treatment, -shift, axis=1, alternative=side).pvalue
        else:
            p_values = stats.ttest_ind(treatment + shift, baseline, axis=1, alternative=side).pvalue
        return p_values <= 0.05

    not_worse, both = found(margin, "greater"), found(margin, "greater") & found(-margin, "less")
    for share, claim in ((not_worse, "not worse"), (both, "equivalent")):
        expected = t_test_power(margin, n, paired=paired, claim=claim)
        assert np.mean(share) == pytest.approx(expected, abs=3 * math.sqrt(0.2 / PILOTS))


@pytest.mark.parametrize("claim", ["equivalent", "not worse"])
def test_searches_find_the_margin_and_the_least_replicates(claim):
    for n in (3, 5, 10, 34, 1000, 10**6):
        margin = smallest_effect(n, claim=claim)
        assert t_test_power(margin, n, claim=claim) == pytest.approx(0.8, rel=1e-9)
        assert whole_replicates_needed(margin, claim=claim) in (n, n + 1)
    # Many replicates leave the normal distribution: of both sides together each may miss in one case of ten.
    wanted = stats.norm.isf(0.05) + stats.norm.isf(0.1 if claim == "equivalent" else 0.2)
    assert smallest_effect(10**6, claim=claim) * 1000 == pytest.approx(wanted, rel=1e-4)
    assert t_test_power(0, 20, claim="not worse") == pytest.approx(0.05)
