"""Which replicates a worker is given next."""

from __future__ import annotations

from itertools import count

import pytest

from crystallize.plugins.execution.schedule import Schedule


def make(replicates, workers):
    schedule = Schedule(iter(range(replicates)))
    schedule.workers = workers
    return schedule


def drain(schedule):
    while batch := schedule.take():
        yield batch


@pytest.mark.parametrize("seconds", [None, 0.0, 1e-6, 0.005, 10.0])
@pytest.mark.parametrize("replicates", [0, 1, 7, 1000])
def test_every_replicate_is_given_out_once(replicates, seconds):
    schedule = make(replicates, 3)
    if seconds is not None:
        schedule.learn(seconds)
    assert [i for batch in drain(schedule) for i in batch] == list(range(replicates))
    assert schedule.is_used_up


def test_nothing_is_batched_before_a_time_is_known():
    assert len(make(1000, 2).take()) == 1


def test_a_batch_fills_a_fifth_of_a_second_and_becomes_shorter_towards_the_end():
    schedule = make(1000, 2)
    schedule.learn(0.002)
    sizes = [len(batch) for batch in drain(schedule)]
    assert sizes[0] == 100
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-4:] == [1, 1, 1, 1]


def test_only_short_replicates_are_sent_ahead():
    schedule = make(10, 2)
    assert schedule.depth == 1
    schedule.learn(5.0)
    assert schedule.depth == 1
    schedule.learn(0.001)
    assert schedule.depth == 2


def test_one_slow_replicate_does_not_end_the_batches():
    schedule = make(10_000, 2)
    schedule.learn(3.0)  # the first one imports things
    schedule.learn(0.0001)
    assert len(schedule.take()) == 2000


def test_what_comes_back_is_next_and_what_killed_a_worker_is_last_and_alone():
    schedule = make(4, 1)
    schedule.learn(0.001)
    first = schedule.take()
    schedule.put_last(first[:1])
    schedule.put_back(first[1:])
    batches = list(drain(schedule))
    assert [i for batch in batches for i in batch] == [1, 2, 3, 0]
    assert list(batches[-1]) == [0]


def test_what_is_finished_meanwhile_is_not_given_out_again():
    schedule = make(4, 1)
    taken = [*schedule.take(), *schedule.take()]
    schedule.put_back(taken)
    schedule.finish(0)
    assert [i for batch in drain(schedule) for i in batch] == [1, 2, 3]


def test_an_open_ended_run_is_taken_to_be_half_through_and_no_more_is_taken_than_is_given_out():
    numbers = count()
    schedule = Schedule(numbers)
    schedule.workers = 2
    schedule.learn(0.001)
    for _ in range(80):
        (replicate,) = schedule.take()[:1]
        schedule.finish(replicate)
    given_out = next(numbers)
    assert len(schedule.take()) == 20
    assert next(numbers) == given_out + 21
    assert not schedule.is_used_up


def test_in_an_open_ended_run_what_is_put_last_does_not_wait_for_the_end():
    schedule = Schedule(count())
    schedule.put_last(schedule.take())
    assert list(schedule.take()) == [0]


def test_what_was_put_back_and_is_finished_does_not_hide_that_nothing_more_is_owed():
    schedule = Schedule(number for number in [0])  # of which nobody knows how many there are
    assert list(schedule.take()) == [0]
    schedule.put_back([0])
    schedule.finish(0)
    assert list(schedule.take()) == []
    assert schedule.is_used_up
