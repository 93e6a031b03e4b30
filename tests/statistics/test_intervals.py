"""Intervals, against published figures, SciPy, and what they promise in simulations."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from scipy import stats

from crystallize.statistics.intervals import (
    bootstrap_t_interval,
    clustered_mean,
    interval_of_changes,
    ratio_of_means,
    student_interval,
    wilson_interval,
)
from crystallize.statistics.moments import moments

from .published import MAIZE, SLEEP

RUNS = 20_000 if os.environ.get("CRYSTALLIZE_ALL_STATISTICS") else 1_500


def student(values, confidence=0.95):
    return student_interval(*moments(np.asarray(values, dtype=float))[:3], confidence)


def rate_band(share, runs):
    """Return three standard errors of a simulated rate."""
    return 3 * math.sqrt(share * (1 - share) / runs)


def test_the_ratio_of_values_with_a_large_offset_has_the_interval_of_their_difference():
    rng = np.random.default_rng(3)
    baseline = 1e9 + rng.normal(0, 1, 30)
    treatment = baseline + 1 + rng.normal(0, 0.1, 30)
    found = ratio_of_means(baseline, treatment)
    reference = stats.ttest_rel(treatment, baseline).confidence_interval()
    # The baseline's mean is known to 1e-9, so that the ratio is as uncertain as the difference.
    assert [(end - 1) * 1e9 for end in found.interval] == pytest.approx(list(reference), rel=1e-5)


def test_students_interval_is_the_published_one():
    assert student(SLEEP) == pytest.approx((0.7001142367230175, 2.459885763276983), rel=1e-12)
    assert student(MAIZE) == pytest.approx((0.0311933, 41.8354735), abs=5e-7)


@pytest.mark.parametrize("n", [2, 5, 300])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.999])
def test_students_interval_agrees_with_scipy(n, confidence):
    values = np.random.default_rng(n).normal(3, 2, n)
    reference = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert student(values, confidence) == pytest.approx((reference.low, reference.high), rel=1e-12)


def test_one_value_has_no_interval():
    for found in (
        student([1.0]),
        student([]),
        bootstrap_t_interval(np.array([1.0])),
        student([math.inf, 1.0]),
    ):
        assert all(map(math.isnan, found))


def test_students_interval_falls_short_for_skew_where_the_bootstrap_t_does_not():
    rng = np.random.default_rng(1)
    draws = rng.exponential(size=(RUNS, 10)) - 1
    student_covers = np.mean([low <= 0 <= high for low, high in map(student, draws)])
    bootstrap_covers = np.mean(
        [low <= 0 <= high for low, high in (bootstrap_t_interval(d, resamples=999) for d in draws[:1500])]
    )
    assert student_covers == pytest.approx(0.905, abs=rate_band(0.905, RUNS) + 0.01)
    assert bootstrap_covers == pytest.approx(0.947, abs=2 * rate_band(0.947, 1500))


def test_students_interval_covers_normal_differences_as_it_promises():
    draws = np.random.default_rng(2).normal(size=(RUNS, 5))
    covers = np.mean([low <= 0 <= high for low, high in map(student, draws)])
    assert covers == pytest.approx(0.95, abs=rate_band(0.95, RUNS))


def test_the_bootstrap_t_is_repeatable_close_to_students_for_normal_values_and_moves_with_them():
    values = np.random.default_rng(3).normal(size=60)
    found = bootstrap_t_interval(values)
    assert found == bootstrap_t_interval(values)
    assert found == pytest.approx(student(values), abs=0.02)
    assert bootstrap_t_interval(7 + 2 * values) == pytest.approx([7 + 2 * end for end in found])
    assert bootstrap_t_interval(np.array([2.0, 2.0])) == (2.0, 2.0)
    assert bootstrap_t_interval(np.array([1.0, 2.0])) == (-math.inf, math.inf)


def test_clusters_of_one_value_give_the_ordinary_standard_error():
    values = np.random.default_rng(4).normal(size=12)
    found = clustered_mean(values, range(12))
    assert found.error == pytest.approx(stats.sem(values), rel=1e-12)
    assert found.interval() == pytest.approx(student(values), rel=1e-12)


def test_values_that_repeat_within_a_cluster_count_once():
    values = np.random.default_rng(5).normal(size=8)
    once, often = (
        clustered_mean(values, range(8)),
        clustered_mean(np.repeat(values, 5), np.repeat(range(8), 5)),
    )
    assert often == pytest.approx(once, rel=1e-12)
    assert stats.sem(np.repeat(values, 5)) < 0.5 * often.error


def test_clustered_intervals_cover_where_values_of_a_cluster_are_alike():
    rng = np.random.default_rng(6)
    of_cluster = rng.normal(size=(RUNS, 12, 1)) + 0.5 * rng.normal(size=(RUNS, 12, 5))
    names = np.repeat(range(12), 5)
    covers, naive = [], []
    for draw in of_cluster.reshape(RUNS, 60):
        low, high = clustered_mean(draw, names).interval()
        covers.append(low <= 0 <= high)
        low, high = student(draw)
        naive.append(low <= 0 <= high)
    assert np.mean(covers) == pytest.approx(0.95, abs=rate_band(0.95, RUNS))
    assert np.mean(naive) < 0.75


@pytest.mark.parametrize(
    ("clusters", "replicates", "of_cluster", "of_replicate"),
    [(6, 10, 0.3, 1.0), (10, 6, 1.0, 0.3)],
)
def test_clustered_intervals_cover_where_each_replicate_has_all_clusters(
    clusters, replicates, of_cluster, of_replicate
):
    rng = np.random.default_rng(6)
    draws = (
        of_cluster * rng.normal(size=(RUNS, clusters, 1))
        + of_replicate * rng.normal(size=(RUNS, 1, replicates))
        + 0.5 * rng.normal(size=(RUNS, clusters, replicates))
    )
    of_each = np.repeat(range(clusters), replicates), np.tile(range(replicates), clusters)
    ends = [clustered_mean(draw.ravel(), *of_each).interval() for draw in draws]
    covers = np.mean([low <= 0 <= high for low, high in ends])
    assert 0.93 - rate_band(0.93, RUNS) < covers < 0.96 + rate_band(0.96, RUNS)


def test_of_one_replicate_clusters_alone_count():
    values = np.random.default_rng(4).normal(size=12)
    assert clustered_mean(values, range(12), [0] * 12) == clustered_mean(values, range(12))


@pytest.mark.parametrize("power", [-1000, -600, -300, 300, 600, 1000])
def test_clustered_means_keep_their_interval_for_values_of_any_size(power):
    replicates = np.tile(range(3), 4)
    values = np.random.default_rng(4).normal(size=12) + 2 * replicates
    here, there = (
        clustered_mean(each, np.repeat(range(4), 3), replicates) for each in (values, values * 2.0**power)
    )
    assert here.freedom < 3
    assert there.freedom == pytest.approx(here.freedom)
    assert [end * 2.0**-power for end in there.interval()] == pytest.approx(here.interval())


def test_one_cluster_says_nothing_about_others():
    found = clustered_mean(np.array([1.0, 2.0]), ["a", "a"])
    assert found.clusters == 1
    assert all(map(math.isnan, found.interval()))


def test_fiellers_interval_holds_the_ratios_that_student_does_not_reject():
    rng = np.random.default_rng(7)
    baseline = rng.normal(10, 1, 12)
    treatment = 1.3 * baseline + rng.normal(0, 0.5, 12)
    found = ratio_of_means(baseline, treatment)
    assert found.ratio == pytest.approx(treatment.mean() / baseline.mean(), rel=1e-12)
    for end in found.interval:
        assert stats.ttest_1samp(treatment - end * baseline, 0).pvalue == pytest.approx(0.05, rel=1e-9)
    assert ratio_of_means(-baseline, -treatment).interval == pytest.approx(found.interval)
    assert ratio_of_means(1e300 * baseline, 1e300 * treatment)[1] == pytest.approx(found.interval)


def test_a_ratio_whose_square_is_no_float_is_none():
    assert ratio_of_means(np.array([1e-10, 2e-10, 3e-10]), np.array([1e308, 2e307, 1e307])) is None


@pytest.mark.parametrize(
    "baseline", [[1.0, -1.0, 2.0], [0.0, 1.0, 2.0], [0.01, 5.0, 0.02], [1.0], [1.0, math.nan]]
)
def test_there_is_no_ratio_to_what_may_be_zero(baseline):
    assert ratio_of_means(np.array(baseline), np.ones(len(baseline))) is None


@pytest.mark.parametrize(
    ("successes", "n", "ends"),
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilsons_interval_is_newcombes(successes, n, ends):
    assert wilson_interval(successes, n) == pytest.approx(ends, abs=5e-5)
    reference = stats.binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson_interval(successes, n) == pytest.approx(
        (reference.low, reference.high), rel=1e-12, abs=1e-15
    )


def test_the_interval_of_changes_covers_what_it_promises():
    rng = np.random.default_rng(8)
    # True difference 0.3 - 0.1, of 30 pairs.
    drawn = rng.multinomial(30, [0.1, 0.3, 0.6], size=RUNS)
    intervals = [interval_of_changes(int(lost), int(gained), 30) for lost, gained, _ in drawn]
    covers = np.mean([low <= 0.2 <= high for low, high in intervals])
    assert covers == pytest.approx(0.95, abs=rate_band(0.95, RUNS) + 0.01)
    assert interval_of_changes(0, 5, 5)[1] <= 1
    assert all(map(math.isnan, interval_of_changes(0, 0, 0)))


def delays(runs, customers=25, load=0.9):
    """Simulate the mean delay of the first customers of a queue M/M/1 that is empty at first."""
    rng = np.random.default_rng(9)
    waits, total = np.zeros(runs), np.zeros(runs)
    for _ in range(customers - 1):
        waits = np.maximum(0, waits + rng.exponential(load, runs) - rng.exponential(1, runs))
        total += waits
    return total / customers


@pytest.mark.parametrize(("n", "share"), [(5, 0.837), (10, 0.859), (20, 0.877), (40, 0.888)])
def test_students_interval_covers_the_delay_of_law_and_kelton_as_often_as_is_known(n, share):
    # Law, A. M. (2015), section 9.4: the delays are skewed, so that 90 % intervals of few runs fall short.
    covers = [
        low <= 2.1241 <= high for low, high in (student(d, 0.9) for d in delays(RUNS * n).reshape(RUNS, n))
    ]
    assert np.mean(covers) == pytest.approx(share, abs=rate_band(share, RUNS))
