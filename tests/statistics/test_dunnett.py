"""Dunnett's distribution, against published figures and SciPy's quasi-Monte Carlo."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from crystallize.statistics.dunnett import dunnett_p_value, dunnett_quantile
from crystallize.statistics.verifiers import dunnett_test

from .published import CONTROL, DRUG_A, DRUG_B


def compare(control, *treatments, **settings):
    return dunnett_test(**settings).compare_all([({"x": control}, {"x": each}) for each in treatments])


def test_blood_counts_of_dunnett():
    a, b = compare(CONTROL, DRUG_A, DRUG_B, paired=False)
    assert (a["statistic"], b["statistic"]) == pytest.approx((0.857032, 3.693752), abs=1e-6)
    assert a["adjusted_p_value"] == pytest.approx(0.6201, abs=2e-4)
    assert b["adjusted_p_value"] == pytest.approx(0.00595, abs=2e-4)
    # SciPy's multivariate t with two million points; the published figures have fewer.
    assert a["adjusted_p_value"] == pytest.approx(0.6201021, abs=5e-7)
    assert b["adjusted_p_value"] == pytest.approx(0.0058254, abs=5e-7)
    assert a["interval"] == pytest.approx((-1.25722, 2.55722), abs=2e-3)
    assert b["interval"] == pytest.approx((0.83887, 4.41713), abs=2e-3)
    assert (a["significant"], b["significant"]) == (False, True)


@pytest.mark.parametrize(
    ("k", "freedom", "bound"), [(2, 10, 2.57), (5, 20, 2.73), (9, 60, 2.77), (9, 5, 3.97)]
)
def test_bounds_are_those_of_dunnetts_table(k, freedom, bound):
    # Dunnett, C. W. (1964), Biometrics 20, 482-491, table II: two-sided, 5 %, equal numbers.
    assert dunnett_quantile([math.sqrt(0.5)] * k, freedom) == pytest.approx(bound, abs=0.0051)


@pytest.mark.parametrize("k", [1, 3, 20, 300])
def test_the_integral_agrees_with_simulation(k):
    rng = np.random.default_rng(k)
    loading = 0.8
    control, own = rng.normal(size=(10_000, 1)), rng.normal(size=(10_000, k))
    normal = np.abs(loading * control + math.sqrt(1 - loading**2) * own).max(axis=1)
    for freedom in (1, 2, 7, 5000):
        largest = normal / np.sqrt(rng.chisquare(freedom, size=10_000) / freedom)
        for share in (0.05, 0.3):
            bound = dunnett_quantile([loading] * k, freedom, 1 - share)
            error = 3.5 * math.sqrt(share * (1 - share) / 10_000)
            assert np.mean(largest > bound) == pytest.approx(share, abs=error), freedom
            assert dunnett_p_value(-bound, [loading] * k, freedom) == pytest.approx(share, rel=1e-6)


def test_one_treatment_is_the_pooled_t_test():
    (found,) = compare(CONTROL, DRUG_A, paired=False)
    reference = stats.ttest_ind(DRUG_A, CONTROL)
    assert found["p_value"] == pytest.approx(reference.pvalue, rel=1e-12)
    assert found["adjusted_p_value"] == pytest.approx(reference.pvalue, rel=1e-8)
    assert found["interval"] == pytest.approx(tuple(reference.confidence_interval()), rel=1e-8)


def test_one_treatment_in_blocks_is_the_paired_t_test():
    (found,) = compare(CONTROL, [9.1, 8.9, 8.0, 9.3, 9.9, 9.0])
    reference = stats.ttest_rel([9.1, 8.9, 8.0, 9.3, 9.9, 9.0], CONTROL)
    assert found["p_value"] == pytest.approx(reference.pvalue, rel=1e-12)
    assert found["adjusted_p_value"] == pytest.approx(reference.pvalue, rel=1e-8)


def test_what_a_replicate_has_in_common_does_not_count_in_blocks():
    rng = np.random.default_rng(1)
    common, rest = rng.normal(0, 100, 12), rng.normal(size=(4, 12)) + np.array([[0], [0], [1], [3]])
    bare = compare(*rest.tolist())
    shifted = compare(*(rest + common).tolist())
    for one, other in zip(bare, shifted, strict=True):
        assert other["adjusted_p_value"] == pytest.approx(one["adjusted_p_value"], rel=1e-6)
    assert [each["significant"] for each in shifted] == [False, False, True]


def test_blocks_must_be_complete():
    with pytest.raises(ValueError, match="metric 'x' is compared in pairs, but has 6 and 5 values"):
        dunnett_test()({"x": CONTROL}, {"x": DRUG_B})


def test_treatments_with_baselines_of_their_own_are_refused():
    pairs = [({"x": CONTROL}, {"x": CONTROL}), ({"x": CONTROL[::-1]}, {"x": CONTROL})]
    with pytest.raises(ValueError, match="no baseline in common: its values of metric 'x' differ"):
        dunnett_test().compare_all(pairs)


def test_an_adjusted_p_value_is_never_below_that_of_the_treatment_alone():
    rng = np.random.default_rng(0)
    base = rng.normal(size=30)
    found = compare(base, base + 5 + rng.normal(0, 0.1, 30), base + rng.normal(0, 0.1, 30))
    assert 0 < found[0]["p_value"] < 1e-30
    assert all(each["adjusted_p_value"] >= each["p_value"] for each in found)


@pytest.mark.parametrize("shift", [10, 20, 40, 400])
def test_the_smallest_p_values_are_adjusted_for_all_treatments_too(shift):
    rng = np.random.default_rng(3)
    baseline, *others = rng.normal(size=(4, 40)) + shift * np.array([[0], [1], [1], [1]])
    for found in dunnett_test(paired=False).find_all([({"a": baseline}, {"a": each}) for each in others]):
        assert found["p_value"] < 1e-12
        assert 2.7 * found["p_value"] < found["adjusted_p_value"] < 3.000001 * found["p_value"]


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0], [1.0, math.nan]])
@pytest.mark.parametrize("paired", [True, False])
def test_nothing_is_claimed_from_nothing(values, paired):
    for found in compare(values, values, values, paired=paired):
        assert not found["significant"]
        assert not found["adjusted_p_value"] < 1


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1.1, 2.2, 3.3], [3.0, 3.0, 3.0], [1e6, 1.5e6, 1.25e6]])
@pytest.mark.parametrize("paired", [True, False])
def test_a_shift_without_any_spread_is_worth_what_exchanging_the_conditions_says(values, paired):
    shifted = [value + 0.1 for value in values]  # their differences vary by rounding
    for found in compare(values, shifted, shifted, paired=paired):
        if paired:
            assert found["p_value"] == 0.25
            assert found["adjusted_p_value"] == 0.5
        elif values == [3.0, 3.0, 3.0]:
            assert found["p_value"] == pytest.approx(2 / 20)
            assert found["adjusted_p_value"] == pytest.approx(2 * 2 / 20)
        assert not found["significant"]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("size", [1e-290, 1e-200, 1e200, 1e303])
def test_the_unit_of_a_metric_does_not_matter(size, paired):
    rng = np.random.default_rng(2)
    groups = np.round(rng.normal([[0], [50], [150]], 100, (3, 6)))
    alike, other = (
        [each["adjusted_p_value"] for each in compare(*(groups * unit).tolist(), paired=paired)]
        for unit in (1.0, 2.0 ** math.floor(math.log2(size)))
    )
    assert other == pytest.approx(alike, rel=1e-9)


@pytest.mark.parametrize("paired", [True, False])
def test_infinite_values_decide_nothing(paired):
    for found in compare([1.0, 2.0, 3.0], [1.0, math.inf, 2.0], [4.0, 5.0, 7.0], paired=paired)[:1]:
        assert math.isnan(found["adjusted_p_value"])
        assert found["significant"] is None
