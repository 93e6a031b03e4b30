"""Equivalence, non-inferiority and McNemar's test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from crystallize.statistics.verifiers import equivalence_test, mcnemar_test, non_inferiority_test

from .published import SLEEP


def compare(factory, baseline, treatment, **arguments):
    return factory(**arguments)({"x": baseline}, {"x": treatment})


@pytest.fixture
def draws():
    rng = np.random.default_rng(1)
    baseline = rng.normal(size=20)
    return baseline, baseline + rng.normal(0.1, 0.4, 20)


def test_equivalence_is_two_one_sided_tests(draws):
    found = compare(equivalence_test, *draws, margin=0.3)
    differences = draws[1] - draws[0]
    low = stats.ttest_1samp(differences, -0.3, alternative="greater")
    high = stats.ttest_1samp(differences, 0.3, alternative="less")
    assert found["p_value"] == pytest.approx(max(low.pvalue, high.pvalue), rel=1e-12)
    assert found["statistic"] == pytest.approx(high.statistic, rel=1e-12)
    ends = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    assert found["interval"] == pytest.approx(tuple(ends), rel=1e-12)
    assert found["claim"] == "equivalent"


def test_equivalence_of_independent_samples_is_welchs(draws):
    found = compare(equivalence_test, *draws, margin=1.5, paired=False)
    low = stats.ttest_ind(draws[1], draws[0] - 1.5, equal_var=False, alternative="greater")
    high = stats.ttest_ind(draws[1], draws[0] + 1.5, equal_var=False, alternative="less")
    assert found["p_value"] == pytest.approx(max(low.pvalue, high.pvalue), rel=1e-12)
    assert found["n"] == (20, 20)


def test_differences_that_are_no_normal_floats_are_within_a_margin_without_a_warning(draws):
    small = [(each * 1e-310).tolist() for each in draws]
    assert compare(equivalence_test, *small, margin=1.0)["significant"]


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.25, 0.3, 1])
def test_equivalence_is_claimed_if_the_interval_lies_within_the_margin(draws, margin):
    found = compare(equivalence_test, *draws, margin=margin)
    low, high = found["interval"]
    assert found["significant"] == (-margin < low and high < margin)


@pytest.mark.parametrize(("direction", "side", "margin"), [("max", "greater", -0.1), ("min", "less", 0.1)])
def test_non_inferiority_is_one_sided(draws, direction, side, margin):
    found = compare(non_inferiority_test, *draws, margin=0.1, direction=direction)
    reference = stats.ttest_1samp(draws[1] - draws[0], margin, alternative=side)
    assert found["p_value"] == pytest.approx(reference.pvalue, rel=1e-12)
    assert found["statistic"] == pytest.approx(reference.statistic, rel=1e-12)
    assert found["claim"] == "not worse"


@pytest.mark.parametrize("test", [equivalence_test, non_inferiority_test])
@pytest.mark.parametrize("n", [0, 1])
def test_one_replicate_shows_no_equivalence(test, n):
    settings = {"margin": 1.0} | ({"direction": "min"} if test is non_inferiority_test else {})
    assert math.isnan(compare(test, [1.0] * n, [1.0] * n, **settings)["p_value"])
    assert not compare(test, [1.0] * n, [1.0] * n, **settings)["significant"]


@pytest.mark.parametrize(("gap", "p_value"), [(0.5, 1 / 16), (1.0, 1.0), (-2.0, 1.0)])
def test_what_does_not_vary_is_equivalent_within_the_margin_only(gap, p_value):
    assert compare(equivalence_test, [1.0] * 4, [1.0 + gap] * 4, margin=1)["p_value"] == p_value


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"margin": 0}, "margin is above 0, in the metric's unit, got 0"),
        ({"margin": -1.0}, "margin is above 0"),
        ({"margin": math.nan}, "margin is above 0"),
        ({"margin": "1"}, "margin is a number above 0, got '1'"),
        ({"margin": 1, "paired": 1}, "paired is True or False"),
        ({"margin": 1, "alpha": 1.0}, "alpha lies between 0 and 1"),
        ({"margin": 1, "direction": "up"}, "direction is 'min' or 'max', got 'up'"),
    ],
)
def test_wrong_margins_are_refused_when_the_verifier_is_made(settings, reason):
    test = equivalence_test if "direction" not in settings else non_inferiority_test
    with pytest.raises((ValueError, TypeError), match=reason):
        test(**settings)


# -- true or false -----------------------------------------------------------------------------------------------


def pairs(lost, gained, both=3, neither=4):
    baseline = [True] * lost + [False] * gained + [True] * both + [False] * neither
    treatment = [False] * lost + [True] * gained + [True] * both + [False] * neither
    return baseline, treatment


@pytest.mark.parametrize(
    ("lost", "gained", "p_value"), [(1, 10, 0.01171875), (86, 150, 3.7159361395713866e-05)]
)
def test_mcnemars_exact_test(lost, gained, p_value):
    found = compare(mcnemar_test, *pairs(lost, gained))
    assert found["p_value"] == pytest.approx(p_value, rel=1e-12)
    assert found["p_value"] == pytest.approx(stats.binomtest(lost, lost + gained).pvalue, rel=1e-12)
    assert found["difference"] == pytest.approx((gained - lost) / (lost + gained + 7))
    assert (found["lost"], found["gained"], found["statistic"]) == (lost, gained, gained - lost)
    low, high = found["interval"]
    assert low < found["difference"] < high


def test_pairs_that_all_agree_say_nothing_against_equality():
    assert compare(mcnemar_test, [1, 0], [1, 0])["p_value"] == 1
    assert math.isnan(compare(mcnemar_test, [], [])["p_value"])


def test_mcnemar_takes_true_and_false_only():
    with pytest.raises(ValueError, match=r"metric 'x' is neither true nor false, for example 0\.5"):
        compare(mcnemar_test, [1, 0.5], [0, 1])
    with pytest.raises(ValueError, match="neither true nor false"):
        compare(mcnemar_test, SLEEP, SLEEP)
