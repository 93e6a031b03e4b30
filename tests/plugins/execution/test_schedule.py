"""Which replicates a worker is given next."""

from __future__ import annotations

import pytest

from crystallize.plugins.execution.schedule import Schedule


def drain(schedule):
    while schedule.left:
        yield schedule.take()


@pytest.mark.parametrize("seconds", [None, 0.0, 1e-6, 0.005, 10.0])
@pytest.mark.parametrize("replicates", [0, 1, 7, 1000])
def test_every_replicate_is_given_out_once(replicates, seconds):
    schedule = Schedule(replicates, 3)
    if seconds is not None:
        schedule.learn(seconds)
    assert [i for batch in drain(schedule) for i in batch] == list(range(replicates))


def test_nothing_is_batched_before_a_time_is_known():
    assert len(Schedule(1000, 2).take()) == 1


def test_a_batch_fills_a_fifth_of_a_second_and_becomes_shorter_towards_the_end():
    schedule = Schedule(1000, 2)
    schedule.learn(0.002)
    sizes = [len(batch) for batch in drain(schedule)]
    assert sizes[0] == 100
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-4:] == [1, 1, 1, 1]


def test_only_short_replicates_are_sent_ahead():
    schedule = Schedule(10, 2)
    assert schedule.depth == 1
    schedule.learn(5.0)
    assert schedule.depth == 1
    schedule.learn(0.001)
    assert schedule.depth == 2


def test_one_slow_replicate_does_not_end_the_batches():
    schedule = Schedule(10_000, 2)
    schedule.learn(3.0)  # the first one imports things
    schedule.learn(0.0001)
    assert len(schedule.take()) == 2000


def test_what_comes_back_is_next_and_what_killed_a_worker_is_last_and_alone():
    schedule = Schedule(4, 1)
    schedule.learn(0.001)
    first = schedule.take()
    schedule.put_last(first[:1])
    schedule.put_back(range(first[0] + 1, first.stop))
    batches = list(drain(schedule))
    assert [i for batch in batches for i in batch] == [1, 2, 3, 0]
    assert list(batches[-1]) == [0]
