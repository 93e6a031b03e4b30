"""Whom a worker's death counts against."""

from __future__ import annotations

from crystallize.plugins.execution.crash_suspects import CrashSuspects


def test_nobody_is_a_suspect_at_first():
    assert not CrashSuspects(1).any_of(range(1000))


def test_each_replicate_of_a_dead_worker_is_a_suspect_until_it_is_through():
    suspects = CrashSuspects(1)
    suspects.suspect(range(3, 6))
    assert suspects.any_of(range(5, 9))
    for replicate in (3, 4, 5):
        suspects.acquit(replicate)
    assert not suspects.any_of(range(10))


def test_the_death_with_others_and_the_death_alone_both_count():
    suspects = CrashSuspects(1)
    assert not suspects.suspect([3, 4])
    assert suspects.convict(3), "it has been tried again once, which is all that was asked for"
    assert suspects.deaths(3) == 2


def test_a_culprit_is_tried_again_as_often_as_was_asked_for():
    suspects = CrashSuspects(2)
    assert [suspects.convict(3) for _ in range(3)] == [False, False, True]


def test_a_replicate_that_is_always_in_doubt_is_not_tried_for_ever():
    suspects = CrashSuspects(1)
    assert [suspects.suspect([3]) for _ in range(6)] == [[], [], [], [], [], [3]]


def test_the_culprit_of_a_case_clears_the_others_of_it():
    suspects = CrashSuspects(1)
    suspects.suspect([3, 4])
    suspects.suspect([7, 8])
    suspects.convict(3)
    assert not suspects.any_of([4])
    assert suspects.any_of([8])
    assert suspects.deaths(4) == 0


def test_a_second_case_is_not_closed_with_the_first():
    suspects = CrashSuspects(1)
    suspects.suspect([3, 4, 5])
    suspects.suspect([4, 9])
    suspects.convict(3)
    assert suspects.any_of([4])
    assert not suspects.any_of([5])
    assert suspects.deaths(9) == 1
