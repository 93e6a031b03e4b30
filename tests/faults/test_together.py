"""Several at a time: starts, resumes and readers of one experiment."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from crystallize.errors import StoreError
from crystallize.results.load import load_result

PLAN = {"conditions": 2, "replicates": 4, "seed": 5}


@pytest.mark.parametrize("versioned", [True, False])
def test_ten_starts_at_the_same_moment_are_complete_and_unmixed(worlds: Any, versioned: bool) -> None:
    plan = {**PLAN, "versioned": versioned}
    end = worlds.end_of(plan)
    world = worlds.new(plan)
    reports = world.run_together(*(world.job("serial", resume=False) for _ in range(10)))
    assert [report.get("json") for report in reports] == [end.report["json"]] * 10
    names = {f"v{number}" for number in range(10 if versioned else 1)}
    assert {path.name for path in world.demo.iterdir()} == names
    for name in names:
        assert load_result(world.demo / name).to_json() == end.report["json"]
    assert sum(sum(world.executed(phase).values()) for phase in range(1, 11)) == 80


@pytest.mark.parametrize("versioned", [True, False])
def test_of_two_resumes_of_one_run_one_goes_on_and_the_other_is_told_or_finds_nothing_owed(
    worlds: Any, versioned: bool
) -> None:
    plan = {**PLAN, "versioned": versioned}
    end = worlds.end_of(plan)
    world = worlds.new(plan)
    world.run("serial", fault={"only": "replicate_2", "call": 0, "what": "SIGKILL"}, prompt=True)
    there = world.journaled()
    assert there
    reports = world.run_together(*(world.job("serial", resume=True, pause=0.01) for _ in range(2)))
    for report in reports:
        if "error" in report:
            assert "is being written by process" in report["message"], report
        else:
            assert report["json"] == end.report["json"]
    assert any("json" in report for report in reports)
    ran = world.executed(world.phase) + world.executed(world.phase - 1)
    assert max(ran.values()) == 1
    assert not ran.keys() & there.keys()
    world.resume_and_compare("serial", end)
    assert not world.executed(world.phase)


@pytest.mark.parametrize("versioned", [True, False])
def test_readers_during_runs_see_nothing_but_what_the_runs_measure(worlds: Any, versioned: bool) -> None:
    plan = {**PLAN, "versioned": versioned}
    end = worlds.end_of(plan)
    final = json.loads(end.report["json"])
    world = worlds.new(plan)
    seen: list[Any] = []
    wrong: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for run in list(world.demo.glob("v*")):
                try:
                    seen.append(json.loads(load_result(run).to_json()))
                except StoreError:
                    continue  # it has not begun
                except BaseException as error:
                    wrong.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            world.run_together(*(world.job("thread", resume=False, pause=0.01) for _ in range(2)))
    finally:
        done.set()
        reader.join()
    assert not wrong
    assert final in seen
    assert all(each["experiment"] == final["experiment"] for each in seen)
