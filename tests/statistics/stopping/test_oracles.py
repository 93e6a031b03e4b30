"""The numbers that rules stand on, against tables, other ways of computing them, and textbook data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crystallize.statistics.stopping.best import kim_nelson_h2
from crystallize.statistics.stopping.boundaries import bounds, crossing_probability
from crystallize.statistics.stopping.e_value import log_e_value, sequence_half_width
from crystallize.statistics.stopping.running import RunningMoments

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def seen(values: list[float]) -> RunningMoments:
    moments = RunningMoments()
    for value in values:
        moments.add(value, abs(value))
    return moments


def e_value(values: list[float], g: float) -> float:
    moments = seen(values)
    return math.exp(log_e_value(moments.t, moments.n, g))


def test_the_t_statistic_of_students_sleep_data() -> None:
    moments = seen(SLEEP)
    assert moments.t == pytest.approx(4.062127683382037, rel=1e-13)
    assert moments.mean - moments.half_width(0.05) == pytest.approx(0.7001142367230175, rel=1e-12)
    assert moments.mean + moments.half_width(0.05) == pytest.approx(2.459885763276983, rel=1e-12)


@pytest.mark.parametrize(
    ("data", "g", "expected"),
    [
        (SLEEP, 0.25, 11.880537602973),
        (SLEEP, 1, 25.475137858897),
        (SLEEP, 4, 22.917984902928),
        (DARWIN, 0.25, 2.349472809353),
        (DARWIN, 1, 1.816947766926),
        (DARWIN, 4, 1.041348916023),
    ],
)
def test_e_values_of_known_data(data: list[float], g: float, expected: float) -> None:
    assert e_value(data, g) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=40)
@given(t=st.floats(-8, 8), n=st.integers(2, 60), g=st.floats(0.05, 4))
def test_the_e_value_is_the_marginal_density_of_t_over_the_central_one(t: float, n: int, g: float) -> None:
    effects = np.linspace(-8, 8, 1601) * math.sqrt(
        g
    )  # the integrand is smooth: the trapezoid rule is exact enough
    weights = stats.norm.pdf(effects, 0, math.sqrt(g))
    marginal = np.trapezoid(stats.nct.pdf(t, n - 1, effects * math.sqrt(n)) * weights, effects)
    assert math.exp(log_e_value(t, n, g)) == pytest.approx(marginal / stats.t.pdf(t, n - 1), rel=1e-8)


def test_the_path_of_the_sleep_data_reaches_twenty_at_the_eighth_pair() -> None:
    path = [e_value(SLEEP[:n], 1) for n in range(2, 11)]
    assert path == pytest.approx(
        [1.443376, 2.701094, 5.985353, 4.177639, 8.069194, 19.756005, 36.205759, 13.564790, 25.475138],
        abs=1e-6,
    )
    assert next(n for n, e in enumerate(path, 2) if e >= 20) == 8


def test_the_path_of_darwins_maize_never_reaches_twenty() -> None:
    path = {n: e_value(DARWIN[:n], 1) for n in range(2, 16)}
    assert max(path.items(), key=lambda each: each[1]) == (14, pytest.approx(5.922, abs=5e-4))


def test_half_widths_of_the_confidence_sequence() -> None:
    sd = seen(SLEEP).sd
    assert sequence_half_width(sd, 10, 0.05) == pytest.approx(1.5051873, abs=1e-7)
    assert seen(SLEEP).half_width(0.05) == pytest.approx(0.8798858, abs=1e-7)
    assert sequence_half_width(1.0, 3, 0.05) == math.inf
    ratios = {
        n: sequence_half_width(1.0, n, 0.05) / (stats.t.ppf(0.975, n - 1) / math.sqrt(n))
        for n in (5, 10, 20, 50, 100)
    }
    assert ratios == pytest.approx({5: 3.045, 10: 1.711, 20: 1.636, 50: 1.652, 100: 1.687}, abs=5e-4)


@given(n=st.integers(5, 200), mean=st.floats(-3, 3), alpha=st.sampled_from([0.01, 0.05, 0.2]))
def test_the_confidence_sequence_excludes_zero_where_the_e_value_rejects_it(
    n: int, mean: float, alpha: float
) -> None:
    rejects = log_e_value(mean * math.sqrt(n), n) >= math.log(1 / alpha)
    half = sequence_half_width(1.0, n, alpha)
    if not math.isclose(abs(mean), half, rel_tol=1e-9):
        assert rejects == (abs(mean) > half)


@pytest.mark.parametrize(
    ("shape", "constants"),
    [
        ("pocock", {2: 2.178, 3: 2.289, 5: 2.413, 10: 2.555}),
        ("obrien-fleming", {2: 1.977, 3: 2.004, 5: 2.040, 10: 2.087}),
    ],
)
def test_group_sequential_constants_are_those_of_the_tables(shape: str, constants: dict[int, float]) -> None:
    for looks, constant in constants.items():
        shares = tuple((look + 1) / looks for look in range(looks))
        found = bounds(shares, 0.05, shape)
        assert found[-1] == pytest.approx(constant, abs=6e-4)
        factors = [1.0 if shape == "pocock" else math.sqrt(1 / share) for share in shares]
        assert found == pytest.approx([found[-1] * factor for factor in factors])


@pytest.mark.parametrize("shape", ["pocock", "obrien-fleming"])
@pytest.mark.parametrize("shares", [(0.5, 1.0), (0.2, 0.5, 1.0)])
def test_the_chance_of_crossing_a_bound_is_that_of_the_multivariate_normal(
    shape: str, shares: tuple[float, ...]
) -> None:
    limits = np.array(bounds(shares, 0.05, shape))
    covariance = [[math.sqrt(min(a, b) / max(a, b)) for b in shares] for a in shares]
    normal = stats.multivariate_normal(cov=covariance, abseps=1e-6, releps=1e-6, maxpts=200_000)
    inside = normal.cdf(limits, lower_limit=-limits, rng=np.random.default_rng(1))
    assert 1 - inside == pytest.approx(0.05, abs=5e-5)
    assert crossing_probability(shares, limits) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize(
    ("systems", "first", "expected"),
    [
        (2, 10, 6.012905),
        (2, 20, 5.211225),
        (5, 10, 11.429411),
        (5, 20, 9.015056),
        (10, 10, 15.463502),
        (10, 20, 11.511485),
    ],
)
def test_the_constant_of_kim_and_nelson(systems: int, first: int, expected: float) -> None:
    assert kim_nelson_h2(systems, first, 0.05) == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_running_moments_are_those_of_all_numbers_at_once(values: list[float]) -> None:
    moments = seen(values)
    assert moments.n == len(values)
    assert moments.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert moments.sd == pytest.approx(np.std(values, ddof=1), rel=1e-7, abs=1e-5)


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    moments = seen([1.0, math.nan, 3.0, math.inf])
    assert (moments.n, moments.missing, moments.mean) == (2, 2, 2.0)


def test_numbers_that_differ_by_their_rounding_do_not_vary() -> None:
    moments = seen([0.1 + 0.2, 0.3, 0.3])
    assert moments.sd == 0
    assert math.isnan(moments.t)
    assert log_e_value(moments.t, moments.n) == 0


@pytest.mark.parametrize("offset", [0.0, 1e12, -1e14])
def test_differences_of_values_with_a_large_offset_are_not_taken_for_rounding(offset: float) -> None:
    differences = [0.0, 0.015625, 1.0, 2.5, 1.25, -0.5]
    moments = RunningMoments()
    for each in differences:
        moments.add((offset + each) - offset, abs(offset + each))
    assert moments.mean == pytest.approx(np.mean(differences), rel=1e-12)
    assert moments.t == pytest.approx(stats.ttest_1samp(differences, 0).statistic, rel=1e-12)


def test_differences_that_are_all_rounding_are_zero_and_those_that_are_so_but_for_one_are_kept() -> None:
    moments = RunningMoments()
    for each in (0.1 + 0.2, 0.3, 0.3):
        moments.add(each - 0.3, 0.3)
    assert (moments.mean, moments.sd) == (0, 0)
    moments.add(1e-3, 0.3)
    assert moments.mean == pytest.approx(np.mean([0.1 + 0.2 - 0.3, 0, 0, 1e-3]), rel=1e-15)
    assert moments.sd == pytest.approx(5e-4)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e155, 1e307])
def test_numbers_whose_squares_are_no_floats_decide_as_others_do(size: float) -> None:
    moments = seen([size * value for value in SLEEP])
    assert moments.t == pytest.approx(4.062127683382037, rel=1e-13)
    assert moments.sd == pytest.approx(size * seen(SLEEP).sd, rel=1e-13)
