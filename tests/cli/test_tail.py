"""``crystallize runs tail``: what another process measures, as it arrives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crystallize import Experiment, treatment


def step(data: Any, ctx: Any) -> Any:
    if ctx["replicate"] == 1 and ctx["condition"] == "high":
        raise ValueError("no luck")
    for epoch in range(2):
        ctx.record("loss", epoch + 0.25)
    return data, {"n": ctx["replicate"]}


def test_of_a_run_that_has_ended_all_outcomes_are_printed(call: Any) -> None:
    Experiment(lambda: 0, [step], name="study", treatments=[treatment("high", {})], seed=1).run(replicates=2)
    done = call("runs", "tail", "study")
    assert done.code == 0
    first, *_, failed, end = done.out.splitlines()
    assert first.split()[:3] == ["0", "baseline", "ok"]
    assert first.endswith("loss 1.25 (last of 2), n 0")
    assert failed.split()[:3] == ["1", "high", "failed"]
    assert failed.endswith("ValueError: no luck")
    assert end == "The run of study is complete."


def test_each_outcome_is_one_line_whatever_names_and_messages_hold(call: Any) -> None:
    def odd(data: Any, ctx: Any) -> Any:
        if ctx["replicate"]:
            raise ValueError("two\nlines")
        return data, {"two\nlines": 1, "a\x1btab\t": 2}

    Experiment(lambda: 0, [odd], name="study", seed=1).run(replicates=2)
    first, second, _ = call("runs", "tail", "study").out.splitlines()
    assert first.endswith(r"two\nlines 1, a\x1btab\t 2")
    assert second.endswith(r"ValueError: two\nlines")


def test_each_outcome_is_a_line_of_json(call: Any) -> None:
    Experiment(lambda: 0, [step], name="study", treatments=[treatment("high", {})], seed=1).run(replicates=2)
    lines = [json.loads(line) for line in call("runs", "tail", "study", "--json").out.splitlines()]
    assert [(line["replicate"], line["condition"], line["status"]) for line in lines] == [
        (0, "baseline", "ok"),
        (0, "high", "ok"),
        (1, "baseline", "ok"),
        (1, "high", "failed"),
    ]
    assert lines[0]["metrics"] == {"loss": [0.25, 1.25], "n": [0]}
    assert lines[3]["error"]["message"] == "no luck"


FOLLOWED = """
import sys
from crystallize import Experiment
def step(data, ctx):
    if ctx["replicate"]:
        print(flush=True)
        sys.stdin.readline()
    return data, {"x": ctx["replicate"]}
Experiment(lambda: 0, [step], name="study", seed=1).run(replicates=3)
"""


@pytest.mark.usefixtures("warm_processes")
def test_a_run_under_way_is_followed_to_its_end() -> None:
    command = [sys.executable, "-c", FOLLOWED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdin is not None
        run.stdout.readline()
        tail = subprocess.Popen(
            [sys.executable, "-m", "crystallize", "runs", "tail", "study"], stdout=subprocess.PIPE, text=True
        )
        assert tail.stdout is not None
        assert "x 0" in tail.stdout.readline()  # while the run waits
        run.stdin.write("\n\n")
        run.stdin.flush()
        rest = tail.communicate(timeout=60)[0].splitlines()
    assert [line.split()[-1] for line in rest[:2]] == ["1", "2"]
    assert rest[2:] == ["The run of study is complete."]


@pytest.mark.usefixtures("warm_processes")
def test_a_run_that_was_killed_is_told_as_interrupted(call: Any) -> None:
    command = [sys.executable, "-c", FOLLOWED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        run.stdout.readline()
        run.kill()
    done = call("runs", "tail", "study")
    assert (done.code, done.out.splitlines()[-1]) == (0, "The run of study is interrupted.")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_damaged_lines_of_the_journal_are_told(
    call: Any, arguments: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    Experiment(lambda: 0, [step], name="study", seed=1).run(replicates=4)
    journal = Path("data/study/v0/journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = [number for number, line in enumerate(lines, 1) if b'"replicate":' in line][-2:]
    for number in damaged:
        lines[number - 1] = lines[number - 1].replace(b"loss", b"lass")
    journal.write_bytes(b"".join(lines))
    done = call("runs", "tail", "study", *arguments)
    assert done.code == 0
    told = f"{journal}: lines {damaged[0]}, {damaged[1]} are damaged, and count as not written"
    assert caplog.messages[-1].endswith(told)
    assert len(done.out.splitlines()) == (2 if arguments else 3)


def test_what_is_not_stored_is_told_as_such(call: Any) -> None:
    assert call("runs", "tail", "study").code == 2
    Experiment(lambda: 0, [step], name="study", seed=1).run(replicates=1)
    done = call("runs", "tail", "study", "--version", "7")
    assert done.code == 2
    assert "version 7 is not stored" in done.err
