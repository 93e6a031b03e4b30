"""Wilcoxon's signed-rank test, against SciPy and a count of all choices of signs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crystallize.statistics.verifiers import wilcoxon_test
from crystallize.statistics.wilcoxon import signed_ranks

from .published import MAIZE, SLEEP


def test_sleep_and_maize():
    assert signed_ranks(np.array(SLEEP)).p_value == pytest.approx(0.00390625, rel=1e-12)
    found = wilcoxon_test()({"x": [0.0] * 15}, {"x": MAIZE})
    reference = stats.wilcoxon(MAIZE, method="exact")
    assert found["p_value"] == pytest.approx(reference.pvalue, rel=1e-12)
    assert found["statistic"] == 96 - 24
    assert found["n"] == 15


@pytest.mark.parametrize("n", [1, 2, 9, 30, 50])
def test_the_exact_p_value_agrees_with_scipy(n):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    reference = stats.wilcoxon(differences, method="exact")
    assert signed_ranks(differences).p_value == pytest.approx(reference.pvalue, rel=1e-12)


@pytest.mark.parametrize("n", [8, 51, 1000])
def test_the_normal_p_value_agrees_with_scipy_ties_and_zeros_included(n):
    differences = np.round(np.random.default_rng(n).normal(0.3, 1, n), 1)
    reference = stats.wilcoxon(differences, method="asymptotic")
    assert signed_ranks(differences, "normal").p_value == pytest.approx(reference.pvalue, rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_the_exact_p_value_counts_all_choices_of_signs(differences):
    kept = [d for d in differences if d]
    ranks = stats.rankdata([abs(d) for d in kept])
    observed = abs(sum(rank * math.copysign(1, d) for rank, d in zip(ranks, kept, strict=True)))
    choices = [
        abs(sum(s * r for s, r in zip(signs, ranks, strict=True)))
        for signs in itertools.product([-1, 1], repeat=len(kept))
    ]
    expected = np.mean([each >= observed - 1e-9 for each in choices])
    assert signed_ranks(np.array(differences, dtype=float)).p_value == pytest.approx(expected)


@pytest.mark.parametrize("method", ["exact", "normal"])
def test_one_difference_of_zero_takes_no_rank(method):
    differences = np.array([0.0, 1.5, -2.5, 3.5, 4.5, -5.5, 6.5, 7.5, 8.5])
    found = signed_ranks(differences, method)
    reference = stats.wilcoxon(differences[1:], method={"exact": "exact", "normal": "asymptotic"}[method])
    assert (found.n, found.positive, found.negative) == (8, 29, 7)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-12)


def test_the_method_is_chosen_by_the_number_of_pairs_alone():
    rng = np.random.default_rng(3)
    for n, method in ((50, "exact"), (51, "normal")):
        differences = np.round(rng.normal(0.2, 1, n), 1)
        assert signed_ranks(differences) == signed_ranks(differences, method)


def test_nothing_is_claimed_from_nothing():
    assert math.isnan(signed_ranks(np.array([])).p_value)
    assert math.isnan(signed_ranks(np.array([1.0, math.nan])).p_value)
    assert signed_ranks(np.zeros(5)).p_value == 1
    assert signed_ranks(np.array([3.0])).p_value == 1


def test_an_unknown_method_is_refused_when_the_verifier_is_made():
    with pytest.raises(ValueError, match="method is 'auto', 'exact' or 'normal', got 'approx'"):
        wilcoxon_test(method="approx")
