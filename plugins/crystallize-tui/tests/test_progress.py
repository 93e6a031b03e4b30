"""What a journal tells of a run's progress."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from crystallize_tui.progress import MOST_FAILURES, RunningMean, RunProgress, Series
from crystallize_tui.run_text import estimate
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crystallize.store.journal import Again, Entry, Session
from crystallize.store.outcome import Outcome, OutcomeError


def session(
    *, replicates: int | None = 4, conditions: tuple[str, ...] = ("baseline", "more"), again=()
) -> Session:
    return Session("token", "a study", replicates, conditions, (("FitStep", {}),), "now", again)


def outcome(replicate: int, condition: str = "baseline", **metrics: Any) -> Entry:
    values = {name: value if isinstance(value, list) else [value] for name, value in metrics.items()}
    return Entry(replicate, Outcome(condition, 1, values, {}, started=10.0 + replicate, seconds=1.0))


def failure(replicate: int, condition: str = "baseline") -> Entry:
    error = OutcomeError(replicate, condition, "FitStep", "ValueError", "no", "Traceback")
    return Entry(replicate, Outcome(condition, 1, {}, {}, error=error, started=10.0 + replicate, seconds=1.0))


def progress(*lines: Entry | Session, sessions: tuple[Session, ...] = ()) -> RunProgress:
    made = RunProgress(sessions)
    for line in lines:
        made.add(line)
    return made


def test_before_anything_is_written_nothing_is_known():
    made = progress()
    assert (made.experiment, made.conditions, made.done, made.failed) == ("", {}, 0, 0)


def test_outcomes_are_counted_by_condition():
    made = progress(session(), outcome(0), outcome(0, "more"), failure(1), outcome(1, "more"), outcome(2))
    assert {name: (each.done, each.failed) for name, each in made.conditions.items()} == {
        "baseline": (3, 1),
        "more": (2, 0),
    }
    assert (made.owed("baseline"), made.owed("more")) == (1, 2)
    assert (made.done, made.failed) == (5, 1)


def test_the_time_left_is_that_of_what_is_owed_at_the_pace_so_far():
    made = progress(session(replicates=10), outcome(0), outcome(1))
    assert made.seconds_left("baseline") == pytest.approx(8 * 1.0)
    assert made.seconds_left("more") is None


def test_where_the_number_of_replicates_is_open_nothing_is_owed():
    made = progress(session(replicates=None), outcome(0))
    assert made.owed("baseline") is None
    assert made.seconds_left("baseline") is None


def test_the_pace_is_that_of_the_session_under_way():
    first, second = session(replicates=10), session(replicates=10)
    made = progress(first, outcome(0), second)
    assert made.seconds_left("baseline") is None
    made.add(outcome(9))
    assert made.seconds_left("baseline") == pytest.approx(8.0)


def test_an_outcome_that_was_tried_again_takes_the_place_of_its_failure():
    made = progress(session(), failure(0), outcome(0, loss=3.0))
    assert (made.done, made.failed, made.failures) == (1, 0, {})
    assert made.conditions["baseline"].metrics["loss"].n == 1


def test_a_line_that_stands_there_twice_counts_once():
    made = progress(session(), outcome(0, loss=1.0), outcome(0, loss=1.0))
    assert made.done == 1
    assert made.conditions["baseline"].metrics["loss"].n == 1


def test_what_a_later_session_declares_void_does_not_count():
    void = session(again=(Again("baseline", None, "the code"), Again("more", (1,), "an input")))
    lines = (session(), outcome(0), outcome(0, "more"), outcome(1, "more"), void, outcome(0))
    made = progress(*lines, sessions=(session(), void))
    assert {name: each.done for name, each in made.conditions.items()} == {"baseline": 1, "more": 1}
    assert not made.is_stale


def test_a_session_that_begins_meanwhile_and_declares_outcomes_void_makes_it_stale():
    assert not progress(session(), outcome(0), session()).is_stale
    assert progress(session(), outcome(0), session(again=(Again("baseline", None, "code"),))).is_stale
    assert progress(session(), outcome(0), session(conditions=("baseline", "more", "new"))).is_stale


def test_the_last_failures_are_kept_and_all_are_counted():
    made = progress(session(replicates=1000), *(failure(replicate) for replicate in range(1000)))
    assert made.failed == 1000
    assert [each.replicate for each in made.failures.values()] == list(range(1000 - MOST_FAILURES, 1000))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_mean_and_interval_are_those_of_the_textbook(values):
    running = RunningMean()
    for value in values:
        running.add([value])
    n = len(values)
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    assert running.mean == pytest.approx(mean, abs=1e-6)
    expected = stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n)
    assert running.half_width() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_several_values_of_one_replicate_count_as_their_mean():
    running = RunningMean()
    running.add([1.0, 3.0])
    running.add([4])
    assert (running.n, running.mean) == (2, 3.0)


def test_a_metric_of_which_one_value_is_no_number_is_not_numeric_as_in_the_summary():
    running = RunningMean()
    for value in (1.0, "a text", 3.0):
        running.add([value])
    assert running.n == 3
    assert estimate(running, is_plain=False) == "not numeric"


def test_truth_values_are_numbers_as_in_the_summary_and_their_share_has_no_interval_of_students():
    running = RunningMean()
    for value in (True, False, True, True):
        running.add([value])
    assert estimate(running, is_plain=False) == "0.75"


@pytest.mark.parametrize(
    "values", [[1.0, math.inf, 2.0], [-math.inf, 3.0], [math.inf, -math.inf], [math.nan, 1]]
)
def test_a_mean_of_what_is_not_finite_is_that_of_numpy(values):
    running = RunningMean()
    for value in values:
        running.add([value])
    assert running.n == len(values)
    with np.errstate(invalid="ignore"):
        assert running.mean == pytest.approx(np.mean(values), nan_ok=True)
    assert running.half_width() is None


@pytest.mark.parametrize("values", [[math.nan], [math.inf, -math.inf], [10**400]])
def test_values_without_a_mean_leave_no_interval_and_no_point(values):
    running = RunningMean()
    running.add([1.0])
    running.add(values)
    assert running.half_width() is None
    assert running.series.points == [1.0]


def test_a_series_stays_short_and_keeps_its_course():
    series = Series()
    for number in range(100_000):
        series.add(number)
        assert len(series.points) < 240
    assert series.points == sorted(series.points)
    assert series.points[0] < 1000
    assert series.points[-1] > 99_000


def test_memory_does_not_grow_with_the_outcomes_but_for_a_byte_of_each():
    made = progress(session(replicates=12_000))

    def add(numbers: range) -> int:
        for replicate in numbers:
            made.add(outcome(replicate, loss=float(replicate)))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = add(range(3_000))
        assert add(range(3_000, 12_000)) - before < 15_000
    finally:
        tracemalloc.stop()
