"""Corrections for the number of tests, against published figures and laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crystallize.statistics.adjustment import CORRECTIONS, benjamini_hochberg, bonferroni, hochberg, holm

from .published import THROMBOLYSIS

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_four_p_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=1e-12)
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02], rel=1e-12)


def test_fifteen_p_values_of_benjamini_and_hochberg():
    for correct, rejected in ((bonferroni, 3), (holm, 3), (hochberg, 3), (benjamini_hochberg, 4), (list, 9)):
        assert sum(p <= 0.05 for p in correct(THROMBOLYSIS)) == rejected
    expected = [0.0015, 0.0056, 0.0247, 0.114, 0.2211, 0.278, 0.278, 0.278, 0.3213]
    assert holm(THROMBOLYSIS)[:9] == pytest.approx(expected, rel=1e-9)


@given(p_values)
def test_benjamini_hochberg_agrees_with_scipy(values):
    assert benjamini_hochberg(values) == pytest.approx(
        stats.false_discovery_control(values), rel=1e-12, abs=1e-300
    )


@given(p_values)
def test_corrections_keep_the_order_and_stand_in_the_known_order_to_each_other(values):
    found = {name: correct(values) for name, correct in CORRECTIONS.items()}
    for corrected in found.values():
        pairs = sorted(zip(values, corrected, strict=True))
        assert [p for _, p in pairs] == sorted(corrected)
        assert all(raw <= after <= 1 or after == pytest.approx(raw) for raw, after in pairs)
    for weaker, stronger in (
        ("benjamini-hochberg", "hochberg"),
        ("hochberg", "holm"),
        ("holm", "bonferroni"),
    ):
        for low, high in zip(found[weaker], found[stronger], strict=True):
            assert low <= high * (1 + 1e-12)


@pytest.mark.parametrize("correct", CORRECTIONS.values())
def test_nan_stays_nan_and_is_not_counted(correct):
    assert correct([0.01, math.nan, 0.04])[::2] == correct([0.01, 0.04])
    assert math.isnan(correct([0.01, math.nan])[1])
    assert correct([]) == []
