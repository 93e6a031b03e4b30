"""The built-in verifiers, against SciPy, published figures and laws that hold for any data."""

from __future__ import annotations

import itertools
import math
import os
import pickle
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from statistics import fmean, mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crystallize.errors import (
    CrystallizeError,
    InvalidTypeError,
    InvalidValueError,
    MissingMetricError,
    MissingParameterError,
)
from crystallize.statistics.moments import as_numbers, means_of_rows, moments
from crystallize.statistics.verifier import verifier
from crystallize.statistics.verifiers import (
    dunnett_test,
    equivalence_test,
    mcnemar_test,
    non_inferiority_test,
    paired_t_test,
    sign_flip_test,
    welch_t_test,
    wilcoxon_test,
)

from .published import MAIZE

TESTS = [welch_t_test, paired_t_test, sign_flip_test]

# Student (1908), section IX: additional hours of sleep of ten patients after two drugs (Cushny and Peebles).
DEXTRO = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
LAEVO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

sane = st.floats(-1e6, 1e6, allow_nan=False)
samples = st.integers(2, 30).flatmap(
    lambda n: st.tuples(st.lists(sane, min_size=n, max_size=n), st.lists(sane, min_size=n, max_size=n))
)


def compare(factory, baseline, treatment, **arguments):
    return factory(**arguments)({"x": baseline}, {"x": treatment})


def test_paired_t_test_gives_what_student_published():
    found = compare(paired_t_test, DEXTRO, LAEVO)
    assert found["difference"] == pytest.approx(1.58)
    assert found["statistic"] == pytest.approx(4.0621, abs=5e-5)
    assert found["degrees_of_freedom"] == 9
    assert found["p_value"] == pytest.approx(0.002832890197384273, rel=1e-12)
    assert found["interval"] == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert found["significant"] is True
    assert found["n"] == 10


def test_welch_t_test_gives_the_known_values_for_the_sleep_data():
    found = compare(welch_t_test, DEXTRO, LAEVO)
    assert found["statistic"] == pytest.approx(1.8608, abs=5e-5)
    assert found["degrees_of_freedom"] == pytest.approx(17.776473516178488, rel=1e-12)
    assert found["p_value"] == pytest.approx(0.0793941401873583, rel=1e-12)
    assert found["interval"] == pytest.approx((-0.2054832, 3.3654832), abs=1e-6)
    assert found["significant"] is False
    assert found["n"] == (10, 10)


@pytest.mark.parametrize("n", [(2, 2), (5, 40), (40, 5), (300, 300)])
def test_welch_t_test_agrees_with_scipy(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(3, 1, n[0]), rng.normal(3.3, 4, n[1])
    found = compare(welch_t_test, a.tolist(), b.tolist(), alpha=0.1)
    reference = stats.ttest_ind(b, a, equal_var=False)
    interval = reference.confidence_interval(0.9)
    assert found["p_value"] == pytest.approx(reference.pvalue, rel=1e-12)
    assert found["statistic"] == pytest.approx(reference.statistic, rel=1e-12)
    assert found["degrees_of_freedom"] == pytest.approx(reference.df, rel=1e-12)
    assert found["interval"] == pytest.approx((interval.low, interval.high), rel=1e-12)


@pytest.mark.parametrize("n", [2, 7, 300])
def test_paired_t_test_agrees_with_scipy(n):
    rng = np.random.default_rng(n)
    a = rng.normal(3, 1, n)
    b = a + rng.normal(0.1, 0.3, n)
    found = compare(paired_t_test, a, b, alpha=0.01)
    reference = stats.ttest_rel(b, a)
    interval = reference.confidence_interval(0.99)
    assert found["p_value"] == pytest.approx(reference.pvalue, rel=1e-12)
    assert found["statistic"] == pytest.approx(reference.statistic, rel=1e-12)
    assert found["degrees_of_freedom"] == reference.df
    assert found["interval"] == pytest.approx((interval.low, interval.high), rel=1e-12)


def test_exact_sign_flip_test_counts_all_exchanges():
    # 2^10 exchanges fit into the resamples, so they are all tried; SciPy counts the same ones.
    found = compare(sign_flip_test, DEXTRO, LAEVO)
    differences = np.array(LAEVO) - np.array(DEXTRO)
    reference = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, axis=0
    )
    assert found["p_value"] == pytest.approx(reference.pvalue, rel=1e-12)
    assert found["difference"] == found["statistic"] == pytest.approx(1.58)


def test_fishers_exact_p_value_of_darwins_maize():
    found = compare(sign_flip_test, [0] * 15, MAIZE, resamples=2**15)
    assert found["p_value"] == 1726 / 32768
    assert compare(paired_t_test, [0] * 15, MAIZE)["p_value"] == pytest.approx(
        0.049702944021800866, rel=1e-12
    )


def test_random_sign_flip_test_is_close_to_scipy_and_repeatable():
    rng = np.random.default_rng(1)
    a = rng.normal(size=60)
    b = a + rng.normal(0.25, 1, 60)
    found = compare(sign_flip_test, a, b)
    reference = stats.permutation_test(
        (b - a,), np.mean, permutation_type="samples", n_resamples=20_000, rng=2, axis=0
    )
    assert found["p_value"] == pytest.approx(reference.pvalue, abs=0.01)
    assert compare(sign_flip_test, a, b) == found
    assert compare(sign_flip_test, a, b, seed=1) != found
    assert found["interval"] == pytest.approx(stats.ttest_rel(b, a).confidence_interval(), abs=0.05)


def test_random_sign_flips_count_the_observed_one_so_that_no_p_value_is_zero():
    # Of 2^60 exchanges two are as far from zero: none of the 999 random ones is.
    assert compare(sign_flip_test, [0.0] * 60, [1.0] * 60, resamples=999)["p_value"] == 1 / 1000


@pytest.mark.parametrize(
    ("test", "spread"),
    [
        *itertools.product(
            [
                paired_t_test(),
                welch_t_test(),
                wilcoxon_test(),
                dunnett_test(),
                equivalence_test(margin=2.0),
                non_inferiority_test(margin=2.0, direction="max"),
            ],
            [0.0, 0.001],
        ),
        (mcnemar_test(), 0.0),
    ],
    ids=str,
)
def test_however_small_no_p_value_is_zero(test, spread):
    found = test({"a": [0.0] * 2000}, {"a": np.linspace(1.0, 1.0 + spread, 2000).tolist()})
    assert 0 < found["p_value"] < 1e-300
    assert found["significant"]


def test_sign_flip_test_keeps_its_level_for_skewed_data_where_few_pairs_are_random():
    # Under the null hypothesis P(p <= alpha) <= alpha: with 5 random exchanges too, some of them empty.
    rng = np.random.default_rng(3)
    draws = rng.exponential(size=(4000, 2, 4))
    rejected = [
        compare(sign_flip_test, a, b, alpha=0.25, resamples=5, seed=i)["significant"]
        for i, (a, b) in enumerate(draws)
    ]
    assert fmean(rejected) < 0.25 + 4 * math.sqrt(0.25 * 0.75 / len(rejected))


def test_with_random_exchanges_each_p_value_is_as_likely_as_the_others():
    # The data and 5 random exchanges of them are 6 samples that cannot be told apart, if the conditions do not differ.
    draws = np.random.default_rng(4).normal(size=(1200, 2, 30))
    p_values = [
        compare(sign_flip_test, a, b, resamples=5, seed=i)["p_value"] for i, (a, b) in enumerate(draws)
    ]
    found = Counter(round(6 * p_value, 9) for p_value in p_values)
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert stats.chisquare(list(found.values())).pvalue > 1e-3


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-20, 20).map(lambda x: x / 4), min_size=1, max_size=12),
    st.sampled_from([0.01, 0.05, 0.3]),
    st.integers(0, 40).map(lambda x: x / 8 - 2.5),
    st.sampled_from([7, 9999]),
)
def test_interval_of_the_sign_flip_test_holds_the_shifts_that_it_does_not_reject(d, alpha, shift, resamples):
    # The same exchanges are used for every shift, so this is an identity, ties and empty exchanges included.
    arguments = {"alpha": alpha, "resamples": resamples}
    low, high = compare(sign_flip_test, [0.0] * len(d), d, **arguments)["interval"]
    rejected = compare(sign_flip_test, [shift] * len(d), d, **arguments)["significant"]
    if not (math.isclose(shift, low, abs_tol=1e-9) or math.isclose(shift, high, abs_tol=1e-9)):
        assert rejected == (not low <= shift <= high)


@pytest.mark.parametrize("test", TESTS)
@settings(deadline=None, max_examples=40)
@given(pair=samples)
def test_swapping_the_conditions_turns_only_the_signs(test, pair):
    there, back = compare(test, *pair), compare(test, *reversed(pair))
    assert back["p_value"] == pytest.approx(there["p_value"], rel=1e-9)
    assert back["difference"] == pytest.approx(-there["difference"])
    assert back["statistic"] == pytest.approx(-there["statistic"])
    assert back["interval"] == pytest.approx(tuple(-end for end in reversed(there["interval"])))


@pytest.mark.parametrize("test", TESTS)
@settings(deadline=None, max_examples=40)
@given(
    pair=st.tuples(*[st.lists(st.integers(-999, 999), min_size=9, max_size=9)] * 2), by=st.integers(1, 10**6)
)
def test_shifting_both_conditions_changes_nothing(test, pair, by):
    here = compare(test, *pair)
    there = compare(test, *([value + by for value in values] for values in pair))
    assert there["p_value"] == pytest.approx(here["p_value"], rel=1e-6)
    assert there["difference"] == pytest.approx(here["difference"], abs=1e-9)


@pytest.mark.parametrize("test", TESTS)
@given(pair=samples)
@settings(deadline=None, max_examples=40)
def test_p_values_are_probabilities_and_agree_with_the_interval(test, pair):
    found = compare(test, *pair)
    assert 0 <= found["p_value"] <= 1
    low, high = found["interval"]
    assert low <= found["difference"] <= high
    assert found["significant"] == (found["p_value"] <= 0.05)
    # Where an end of the interval is zero but for rounding, either answer is right.
    if abs(found["p_value"] - 0.05) > 1e-9 and high > low and min(abs(low), abs(high)) > 1e-9:
        assert found["significant"] == (not low <= 0 <= high)


@pytest.mark.parametrize(("test", "least"), [(welch_t_test, 2 / math.comb(20, 10)), (paired_t_test, 2**-9)])
def test_values_that_do_not_vary_are_judged_by_exchanging_them(test, least):
    same = compare(test, [0.1] * 10, [0.1] * 10)
    assert (same["p_value"], same["statistic"], same["interval"]) == (1.0, 0.0, (0.0, 0.0))
    assert not same["significant"]
    other = compare(test, [0.5] * 10, [0.25] * 10)
    assert (other["p_value"], other["statistic"], other["interval"]) == (least, -math.inf, (-0.25, -0.25))
    assert other["significant"]
    assert not compare(test, [3, 3], [4, 4])["significant"]
    assert not compare(test, [3] * 2, [4] * 2, alpha=0.3)["significant"]


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("n", [0, 1])
def test_too_few_values_claim_nothing(test, n):
    found = compare(test, [1.0] * n, [2.0] * n)
    assert not found["significant"]
    assert not found["p_value"] < 1
    assert found["difference"] == (1.0 if n else pytest.approx(math.nan, nan_ok=True))


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_give_nan_and_no_warning(test, bad):
    found = compare(test, [1.0, 2.0, 3.0], [1.0, bad, 2.0])
    assert math.isnan(found["p_value"])
    assert not found["significant"]


def test_large_offsets_do_not_cost_the_variance_its_digits():
    small = compare(welch_t_test, [1.0, 2.0, 4.0], [2.0, 3.0, 7.0])
    large = compare(welch_t_test, [1e9 + 1, 1e9 + 2, 1e9 + 4], [1e9 + 2, 1e9 + 3, 1e9 + 7])
    assert large["p_value"] == pytest.approx(small["p_value"], rel=1e-6)


# -- numbers at the edge -----------------------------------------------------------------------------------------


def mean_and_sd(values):
    found = moments(as_numbers(values, "x"))
    return found.mean, found.sd


def test_moments_of_many_values_do_not_depend_on_the_number_of_threads():
    code = (
        "import numpy as np; from crystallize.statistics.moments import moments; "
        "print(moments(np.random.default_rng(0).normal(size=50_001)))"
    )
    said = {
        subprocess.check_output(
            [sys.executable, "-c", code], env=os.environ | {"OPENBLAS_NUM_THREADS": threads}
        )
        for threads in ("1", "2")
    }
    assert len(said) == 1


@pytest.mark.parametrize(
    "order",
    [*itertools.permutations([math.inf, 1.0, 2.0]), (-1e308, -1e308, math.inf), (math.inf, -1e308, -1e308)],
)
def test_the_mean_of_infinity_is_infinite_wherever_it_stands(order):
    mean, sd = mean_and_sd(list(order))
    assert mean == math.inf
    assert math.isnan(sd)
    assert math.isnan(mean_and_sd([math.inf, -math.inf])[0])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.floats(), min_size=1) | st.lists(st.integers(-(2**70), 2**70), min_size=1)))
def test_the_means_of_rows_are_the_exact_ones_of_each_row(rows):
    means = means_of_rows([*rows, [0.5, True]], "x")
    assert means.tolist() == pytest.approx([*map(mean, rows), 0.75], rel=2.0**-52, abs=5e-324, nan_ok=True)


def test_replicates_with_equal_means_of_their_values_are_ties():
    baseline, treatment = (
        [[1.0, 1.0, 0.0], [2, 1, 2], [True, False, False]],
        [[2.0, 0.0, 0.0], [1, 2, 2], [False, True, False]],
    )
    left, right = (means_of_rows(rows, "x").tolist() for rows in (baseline, treatment))
    assert left == right
    assert compare(wilcoxon_test, [*left, 1, 2], [*right, 3, 5])["p_value"] == 0.5


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-999, 999), min_size=2, max_size=9), st.integers(-1000, 1000))
def test_values_of_any_size_have_a_mean_and_a_standard_deviation(values, power):
    scale = 2.0**power
    mean, sd = mean_and_sd([float(value) for value in values])
    scaled_mean, scaled_sd = mean_and_sd([value * scale for value in values])
    assert scaled_mean == pytest.approx(mean * scale, rel=1e-9, abs=1e-9 * scale)
    assert scaled_sd == pytest.approx(sd * scale, rel=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9),
    st.sampled_from([0, 1e6]),
)
def test_tests_of_exchanges_see_the_ties_of_decimal_numbers_through_their_rounding(pairs, offset):
    for test in (wilcoxon_test, sign_flip_test):
        whole = compare(test, *zip(*pairs, strict=True))
        tenths = compare(test, *([offset + each / 10 for each in side] for side in zip(*pairs, strict=True)))
        assert tenths["p_value"] == whole["p_value"]


def test_one_very_large_value_makes_no_ties_of_the_others():
    baseline, treatment = [0.0, 1.0, 1.0, 1.0, 1.0], [1e20, 2.0, 1.5, 0.75, 1.25]
    expected = stats.wilcoxon(treatment, baseline, method="exact")
    assert compare(wilcoxon_test, baseline, treatment)["p_value"] == expected.pvalue
    assert compare(wilcoxon_test, baseline, treatment)["statistic"] == 15 - 2 * expected.statistic


@pytest.mark.parametrize("test", [welch_t_test, paired_t_test])
def test_the_interval_of_the_largest_numbers_is_infinite(test):
    assert compare(test, [0.0, 1.0, 2.0], [1.7e308, 1e308, -1.7e308])["interval"] == (-math.inf, math.inf)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("power", [-900, -600, 600, 900])
def test_tests_keep_their_value_for_differences_of_any_size(test, power):
    here = compare(test, DEXTRO, LAEVO)
    there = compare(test, *([value * 2.0**power for value in side] for side in (DEXTRO, LAEVO)))
    assert there["p_value"] == pytest.approx(here["p_value"], rel=1e-9)
    assert there["difference"] == pytest.approx(here["difference"] * 2.0**power)
    assert there["interval"] == pytest.approx(tuple(end * 2.0**power for end in here["interval"]), rel=1e-9)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("offset", [2**60, -(2**60), 2**63 - 10, 2**70, 10**400])
def test_integers_of_any_size_differ_by_what_they_differ_by(test, offset):
    baseline, treatment = [1, 5, 2, 8, 3], [4, 8, 6, 10, 6]
    here = compare(test, baseline, treatment)
    there = compare(test, *([value + offset for value in side] for side in (baseline, treatment)))
    for key in ("p_value", "difference", "interval"):
        assert there[key] == pytest.approx(here[key], rel=1e-12)


def test_differences_of_integers_may_be_larger_than_the_integers():
    found = compare(paired_t_test, [-(2**63), 0], [2**63 - 1, 0])
    assert found["difference"] == pytest.approx(2.0**63)


@pytest.mark.parametrize("test", TESTS)
def test_a_difference_that_is_rounding_is_none(test):
    terms = [0.1, 0.2, 0.3]
    baseline = [(terms[0] + terms[1]) + terms[2]] * 9
    treatment = [terms[0] + (terms[1] + terms[2])] * 9
    assert baseline != treatment
    found = compare(test, baseline, treatment)
    assert (found["difference"], found["p_value"], found["significant"]) == (0.0, 1.0, False)


@pytest.mark.parametrize("test", [paired_t_test, sign_flip_test, wilcoxon_test])
def test_differences_that_vary_by_rounding_alone_are_all_the_same(test):
    baseline = [1e6 * (1 + place / 7) for place in range(10)]
    treatment = [value + 0.1 for value in baseline]
    assert len({after - before for before, after in zip(baseline, treatment, strict=True)}) > 1
    found = compare(test, baseline, treatment)
    assert (found["p_value"], found["standard_error"]) == (2**-9, 0.0)
    assert found["difference"] == pytest.approx(0.1)
    mixed = compare(paired_t_test, [*baseline, 1.0, 2.0], [*treatment, 1.2, 2.0])
    assert mixed["standard_error"] > 0.01  # the small ones are exact


@pytest.mark.parametrize("test", [paired_t_test, sign_flip_test])
def test_rounding_hides_no_pair_that_differs(test):
    baseline = [1e15] * 4 + [1.0] * 6
    found = compare(test, baseline, [value + 0.5 * (value == 1.0) for value in baseline])
    assert found["difference"] == pytest.approx(0.3)
    assert found["standard_error"] > 0.05


@pytest.mark.parametrize("test", [paired_t_test, welch_t_test, sign_flip_test, wilcoxon_test])
@pytest.mark.parametrize("offset", [0.0, 1e9, 1e12, -1e12, 1e14])
def test_values_with_a_large_offset_differ_by_what_they_differ_by(test, offset):
    # Multiples of 1/64 have no rounding, with any of these offsets.
    rng = np.random.default_rng(1)
    base = np.round(rng.normal(0, 1, 40) * 64) / 64
    treatment = base + 1 + np.round(rng.normal(0, 0.1, 40) * 64) / 64
    here = compare(test, base.tolist(), treatment.tolist())
    there = compare(test, (base + offset).tolist(), (treatment + offset).tolist())
    for key in set(here) - {"significant"}:
        assert there[key] == pytest.approx(here[key], rel=1e-9), key
    if test is paired_t_test:
        reference = stats.ttest_1samp(treatment - base, 0)
        assert there["p_value"] == pytest.approx(reference.pvalue, rel=1e-9)
        assert there["interval"] == pytest.approx(tuple(reference.confidence_interval(0.95)), rel=1e-9)


def test_single_differences_of_the_size_of_rounding_are_kept_where_others_are_larger():
    differences = [
        2.0**-12 * place for place in (-2, -1, 0, 1, 2, 5, 40, 90)
    ]  # the last place of 1e12 is 2 ** -13
    found = compare(paired_t_test, [1e12] * 8, [1e12 + each for each in differences])
    assert found["p_value"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-12)
    shifted = compare(paired_t_test, [0.0] * 8, [1e12 + each for each in differences])
    assert shifted["standard_error"] == pytest.approx(stats.sem(differences), rel=1e-12)


@pytest.mark.parametrize("test", TESTS)
def test_what_is_too_large_for_a_float_is_infinite_and_decides_nothing(test):
    for large in ([10**400, 2, 3.5], [10**400] * 3):
        for small in ([1, 2, 3], [1, 1, 1]):
            found = compare(test, small, large)
            assert found["difference"] == math.inf
            assert math.isnan(found["p_value"])
            assert found["significant"] is None


def test_several_metrics_give_a_result_for_each():
    found = paired_t_test()({"a": DEXTRO, "b": LAEVO}, {"a": LAEVO, "b": DEXTRO})
    assert found == {"a": compare(paired_t_test, DEXTRO, LAEVO), "b": compare(paired_t_test, LAEVO, DEXTRO)}


def test_values_are_numbers_of_any_kind_but_not_text():
    whole = compare(welch_t_test, [1, 2, 4], [10**30, 3 * 10**30, 2 * 10**30])
    assert whole["difference"] == pytest.approx(2e30)
    assert compare(welch_t_test, [True, False, True], [False, False, True])["difference"] == pytest.approx(
        -1 / 3
    )
    for odd in (
        ["1", "2"],
        [None, 1.0],
        [[1.0], [2.0]],
        [1j, 2.0],
        [Decimal(1), 2],
        [Fraction(1, 3)],
        [[1], [1, 2]],
    ):
        with pytest.raises(InvalidTypeError, match="metric 'x' is not numeric"):
            compare(welch_t_test, odd, odd)


def test_unequal_numbers_cannot_be_paired():
    with pytest.raises(InvalidValueError, match="metric 'x' is compared in pairs, but has 2 and 3 values"):
        compare(paired_t_test, [1, 2], [1, 2, 3])


def test_samples_of_different_metrics_are_refused():
    with pytest.raises(MissingMetricError, match=r"baseline: 'a'; treatment: 'b'"):
        welch_t_test()({"a": [1]}, {"b": [1]})


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize(
    ("alpha", "error"), [(0, ValueError), (1, ValueError), ("0.05", TypeError), (True, TypeError)]
)
def test_wrong_alpha_is_refused_when_the_verifier_is_made(test, alpha, error):
    with pytest.raises(error, match=r"^alpha ") as caught:
        test(alpha=alpha)
    assert isinstance(caught.value, CrystallizeError)


@pytest.mark.parametrize("arguments", [{"resamples": 0}, {"resamples": 2.5}, {"seed": -1}, {"seed": None}])
def test_wrong_resampling_is_refused_when_the_verifier_is_made(arguments):
    with pytest.raises(CrystallizeError, match=next(iter(arguments))):
        sign_flip_test(**arguments)


@pytest.mark.parametrize("test", TESTS)
def test_factories_and_verifiers_can_be_pickled(test):
    made = pickle.loads(pickle.dumps(test))(alpha=0.2)
    copy = pickle.loads(pickle.dumps(made))
    assert repr(copy) == repr(made)
    assert copy({"x": DEXTRO}, {"x": LAEVO}) == made({"x": DEXTRO}, {"x": LAEVO})


# -- the decorator -----------------------------------------------------------------------------------------------


@verifier
def ratio(baseline, treatment, *, metric, digits=3):
    """Compare the means by their ratio."""
    return {"ratio": round(fmean(treatment[metric]) / fmean(baseline[metric]), digits)}


def test_decorated_function_is_a_factory_with_settings():
    made = ratio(metric="x", digits=1)
    assert made({"x": [1, 2]}, {"x": [4, 6]}) == {"ratio": 3.3}
    assert made.settings == {"metric": "x", "digits": 1}
    assert repr(made) == "ratio(metric='x', digits=1)"
    assert (ratio.__name__, ratio.__doc__) == ("ratio", "Compare the means by their ratio.")
    assert pickle.loads(pickle.dumps(made))({"x": [1]}, {"x": [2]}) == {"ratio": 2.0}


def test_inner_functions_reach_other_processes_by_cloudpickle():
    import cloudpickle

    share = 0.5

    @verifier
    def scaled(baseline_samples, treatment_samples, *, by=1.0):
        return {"value": share * by}

    assert pickle.loads(cloudpickle.dumps(scaled(by=4.0)))({}, {}) == {"value": 2.0}


def test_unknown_setting_is_named_with_the_nearest_one():
    with pytest.raises(InvalidTypeError, match=r"welch_t_test has no setting 'alfa'.*Did you mean 'alpha'\?"):
        welch_t_test(alfa=0.05)


def test_missing_setting_is_named():
    with pytest.raises(
        MissingParameterError, match=r"ratio needs a value for 'metric'.*ratio\(metric=\.\.\.\)"
    ):
        ratio()


def test_samples_given_to_the_factory_are_refused_with_the_right_call():
    with pytest.raises(TypeError, match=r"call welch_t_test\(\)\(baseline_samples, treatment_samples\)"):
        welch_t_test({"x": [1]}, {"x": [2]})


def test_functions_that_cannot_be_verifiers_are_refused_where_they_stand():
    def alone(samples):
        return {}

    async def later(baseline, treatment):
        return {}

    with pytest.raises(
        InvalidTypeError, match=r"takes the samples of .* alone does not \(.*test_verifiers.py:\d+\)"
    ):
        verifier(alone)
    with pytest.raises(InvalidTypeError, match="a verifier is not async, later is"):
        verifier(later)
    with pytest.raises(InvalidTypeError, match="@verifier decorates a function, got 3"):
        verifier(3)


def test_all_tests_agree_on_clear_cases():
    rng = np.random.default_rng(0)
    a = rng.normal(size=100)
    for test, shift in itertools.product(TESTS, (0.0, 5.0)):
        found = compare(test, a, rng.permutation(a) + shift)
        assert found["significant"] == (shift > 0), test


# -- all treatments at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "test",
    [
        welch_t_test(),
        paired_t_test(),
        sign_flip_test(resamples=99),
        wilcoxon_test(),
        wilcoxon_test(method="normal"),
        equivalence_test(margin=1),
        non_inferiority_test(margin=1, direction="max", paired=False),
    ],
    ids=repr,
)
@pytest.mark.parametrize("n", [1, 12, 70])
def test_all_treatments_at_once_give_what_each_gives_alone(test, n):
    rng = np.random.default_rng(n)
    whole = [int(value) for value in rng.integers(-3, 4, n)]
    treatments = [
        *rng.normal(0.3, 2, (40, n)).tolist(),
        whole,
        [value + 2**70 for value in whole],
        [value * 2.0**900 for value in whole],
        [1.5] * n,
        [0.0] * n,
        [math.nan] + [1.0] * (n - 1),
    ]
    baseline = rng.normal(size=n).tolist()
    pairs = [({"x": baseline}, {"x": values}) for values in treatments]
    pairs += [({"x": [0.0] * n}, {"x": whole}), ({"x": whole[:1]}, {"x": whole[-1:]})]
    for pair, found in zip(pairs, test.compare_all(pairs), strict=True):
        alone = test(*pair)
        assert list(found) == list(alone)
        size = abs(alone["difference"])
        rounding = 1e-12 * (size if math.isfinite(size) else 1.0)
        for key, value in alone.items():
            is_number = value is not None and key != "claim"
            expected = pytest.approx(value, rel=1e-12, abs=rounding, nan_ok=True) if is_number else value
            assert found[key] == expected, key


def test_a_treatment_that_cannot_be_tested_spoils_no_other():
    pairs = [({"x": DEXTRO}, {"x": values}) for values in (LAEVO, ["a"] * 10, LAEVO[:9])]
    good, odd, short = paired_t_test().compare_all(pairs)
    assert good == compare(paired_t_test, DEXTRO, LAEVO)
    assert isinstance(odd, InvalidTypeError)
    assert isinstance(short, InvalidValueError)
