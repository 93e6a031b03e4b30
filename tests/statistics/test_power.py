"""Power and numbers of replicates, against R and published figures."""

from __future__ import annotations

import math

import pytest

from crystallize.statistics.power import largest_sd, replicates_needed, smallest_effect, t_test_power


def test_power_is_what_r_documents():
    # power.t.test leaves out that the test may find the wrong sign: 2.3e-7 here. The others do not.
    assert t_test_power(1, 20, paired=False) == pytest.approx(0.8689528 + 2.3e-7, abs=1e-7)
    assert replicates_needed(1, power=0.9, paired=False) == pytest.approx(22.02109, abs=1e-5)
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
    assert replicates_needed(effect) == pytest.approx(at_80, abs=6e-5)
    assert replicates_needed(effect, power=0.9) == pytest.approx(at_90, abs=6e-5)
    assert replicates_needed(-effect) == pytest.approx(at_80, abs=6e-5)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 393.4057), (0.5, 63.7656), (0.8, 25.5246), (1, 16.7147)])
def test_replicates_of_each_condition_needed(effect, n):
    assert replicates_needed(effect, paired=False) == pytest.approx(n, abs=6e-5)


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
    assert replicates_needed(effect) > n + 1


@pytest.mark.parametrize("n", [500, 5000])
def test_power_is_a_number_where_scipys_lower_tail_is_not(n):
    assert t_test_power(0.5, n) == pytest.approx(1.0)


def test_power_grows_with_replicates_and_effect_and_is_alpha_without_one():
    powers = [t_test_power(0.3, n) for n in (2, 3, 5, 10, 50, 100, 500, 5000, 10**6)]
    assert powers == sorted(powers)
    assert t_test_power(0, 20, alpha=0.03) == pytest.approx(0.03)
    assert t_test_power(50, 100) == 1.0


def test_no_effect_is_never_found_and_one_pair_finds_none():
    assert replicates_needed(0) == math.inf
    assert replicates_needed(1e-12) == math.inf
    assert smallest_effect(1) == math.inf
    assert math.isnan(t_test_power(1, 1))


def test_the_upper_limit_of_a_standard_deviation():
    # Chi-squared with 9 degrees of freedom: 20 % lie below 5.380053.
    assert largest_sd(1, 9, 0.8) == pytest.approx(math.sqrt(9 / 5.380053), rel=1e-6)
    assert largest_sd(3, 10**8, 0.8) == pytest.approx(3, rel=1e-3)
