"""What a run owes: numbers that a strategy takes, with gaps, without an end, from any thread."""

from __future__ import annotations

import operator
import threading
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import BasePlugin, Experiment
from crystallize.errors import ExecutionError
from crystallize.experiments.owed import Owed


def test_it_gives_out_each_replicate_once_in_order() -> None:
    owed = Owed(range(3))
    assert list(owed) == [0, 1, 2]
    assert next(owed, None) is None


@given(there=st.sets(st.integers(0, 20)))
def test_what_has_arrived_is_not_given_out(there: set[int]) -> None:
    owed = Owed(range(15))
    for number in there:
        owed.settle(number)
    assert list(owed) == [number for number in range(15) if number not in there]
    assert all(owed.has_arrived(number) == (number in there) for number in range(25))


def test_what_arrives_while_others_are_taken_is_not_given_out_either() -> None:
    owed = Owed(range(4))
    assert next(owed) == 0
    owed.settle(1)
    assert next(owed) == 2


def test_it_may_be_without_an_end() -> None:
    owed = Owed(count())
    assert [next(owed) for _ in range(3)] == [0, 1, 2]
    assert operator.length_hint(owed, 17) == 17


def test_it_tells_about_how_many_are_left() -> None:
    owed = Owed(range(10))
    assert operator.length_hint(owed, 99) == 10
    next(owed)
    assert operator.length_hint(owed, 99) == 9


@given(taken=st.integers(0, 12), arrived=st.sets(st.integers(0, 11)))
def test_lost_is_what_was_taken_and_has_not_arrived(taken: int, arrived: set[int]) -> None:
    owed = Owed(range(12))
    numbers = [next(owed) for _ in range(taken)]
    for number in arrived:
        owed.settle(number)
    assert owed.lost() == [number for number in numbers if number not in arrived]


def test_threads_share_it_without_taking_a_number_twice() -> None:
    owed, taken = Owed(number for number in range(20_000)), []

    def take() -> None:
        taken.extend(owed)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(20_000))


# -- as a strategy sees it -------------------------------------------------------------------------------------------


class Driver(BasePlugin):
    def __init__(self, drive: Any) -> None:
        self.drive = drive

    def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> Any:
        return self.drive(experiment, replicate_fn)


def run(drive: Any, replicates: int = 4) -> Any:
    experiment = Experiment(
        lambda ctx: ctx["replicate"], [lambda data: (data, {"number": data})], plugins=[Driver(drive)]
    )
    return experiment.run(replicates=replicates)


@pytest.mark.parametrize(
    "drive",
    [
        lambda e, fn: [fn(number) for number in e.owed],
        lambda e, fn: [e.replicate_done(fn(number)) for number in e.owed],
        lambda e, fn: [fn(number) for number in range(e.replicates)],
        lambda e, fn: [e.replicate_done(fn(number)) for number in range(e.replicates)],
        lambda e, fn: sorted([e.replicate_done(fn(number)) for number in reversed(list(e.owed))]),
    ],
    ids=["taken", "taken and reported", "to the letter of the spec", "counted and reported", "backwards"],
)
def test_a_strategy_may_take_what_is_owed_or_count_and_report_or_only_return(drive: Any) -> None:
    assert run(drive).metrics.baseline.metrics == {"number": [0, 1, 2, 3]}


def test_a_number_that_was_taken_and_lost_is_an_error_that_names_it() -> None:
    def lose(experiment: Any, replicate_fn: Any) -> list[Any]:
        return [replicate_fn(number) for number in experiment.owed if number != 2]

    with pytest.raises(
        ExecutionError, match=r"plugin 'Driver', returned without replicate 2, which it had taken"
    ):
        run(lose)


def test_a_number_that_nobody_took_is_an_error_that_names_it() -> None:
    with pytest.raises(ExecutionError, match=r"plugin 'Driver', returned and left replicate 1 undone"):
        run(lambda experiment, replicate_fn: [replicate_fn(next(experiment.owed))])


def test_nothing_is_owed_outside_of_a_run() -> None:
    with pytest.raises(ExecutionError, match="no run is under way"):
        Experiment(lambda: 1, [lambda data: data]).owed  # noqa: B018
