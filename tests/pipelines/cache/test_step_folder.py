"""The files of one step in the cache."""

from __future__ import annotations

import os
import time
from pathlib import Path

from crystallize.pipelines.cache.reads import Question
from crystallize.pipelines.cache.step_folder import READS, StepFolder


def test_a_way_may_be_added_by_another_thread_while_one_looks_through_them(tmp_path: Path) -> None:
    folder = StepFolder(tmp_path, "0" * 32, None)
    folder.remember_way([Question("value", "lr")])
    for number, way in enumerate(folder.ways()):
        folder.remember_way([*way, Question("value", f"added {number}")])
    assert len(tuple(folder.ways())) == 3


def test_what_others_learn_in_the_same_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    mine, theirs = (StepFolder(tmp_path, "0" * 32, None) for _ in range(2))
    now = time.time_ns() + 10**12  # however long this takes
    for name in ("a", "b"):
        theirs.remember_way([Question("value", name)])
        os.utime(theirs.path / READS, ns=(now, now))
        assert (Question("value", name),) in tuple(mine.ways())


def test_what_others_have_learnt_is_seen(tmp_path: Path) -> None:
    mine, theirs = (StepFolder(tmp_path, "0" * 32, None) for _ in range(2))
    assert tuple(mine.ways()) == ()
    theirs.remember_way([Question("rng")])
    assert tuple(mine.ways()) == ((Question("rng"),),)
