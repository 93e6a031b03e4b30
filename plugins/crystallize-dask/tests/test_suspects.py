"""Whom a worker's death counts against."""

from __future__ import annotations

from crystallize_dask.suspects import Suspects


def test_nobody_is_a_suspect_at_first():
    assert not Suspects().any_of(range(1000))


def test_each_replicate_of_a_dead_worker_is_a_suspect_until_it_is_through():
    suspects = Suspects()
    suspects.add(range(3, 6))
    assert suspects.any_of(range(5, 9))
    for replicate in (3, 4, 5):
        suspects.acquit(replicate)
    assert not suspects.any_of(range(10))


def test_the_death_with_others_and_the_death_alone_both_count():
    suspects = Suspects()
    suspects.add([3, 4])
    assert suspects.convict(3) == 2
    assert suspects.convict(3) == 3


def test_the_culprit_of_a_case_clears_the_others_of_it():
    suspects = Suspects()
    suspects.add([3, 4])
    suspects.add([7, 8])
    suspects.convict(3)
    assert not suspects.any_of([4])
    assert suspects.any_of([8])
    assert suspects.convict(4) == 1


def test_a_second_case_is_not_closed_with_the_first():
    suspects = Suspects()
    suspects.add([3, 4, 5])
    suspects.add([4, 9])
    suspects.convict(3)
    assert suspects.any_of([4])
    assert not suspects.any_of([5])
    assert suspects.convict(9) == 2
