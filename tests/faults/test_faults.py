"""A thousand faults: after each of them, resume owes what is owed and ends as if nothing had happened.

``make test-faults`` sets ``CRYSTALLIZE_ALL_FAULTS`` and runs all, ``make test`` a sample. A fault is drawn from
``FAULT_SEED`` and its number, so that the same two make the same fault again:
``FAULT_SEED=1 FAULTS=18 pytest "tests/faults/test_faults.py::test_fault[17]"``.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ALL = 1000
SAMPLE = 24  # one round: each kind of fault, and processes both before it and after it
SEED = int(os.environ.get("FAULT_SEED", "1"))
COUNT = int(os.environ.get("FAULTS", str(ALL if "CRYSTALLIZE_ALL_FAULTS" in os.environ else SAMPLE)))
LEAST_INSIDE_WRITES = 50

PLAN = {"conditions": 2, "replicates": 4, "seed": 5, "values": ["=nan", 2**70, "=-0.0", 0.1]}
FAILING = {**PLAN, "fails": ["t1 2", "baseline 0"], "conditions": 3, "replicates": 3}
IN_THREAD = ("serial", "thread", "async")
ERRORS = {"ENOSPC": "No space left on device", "EMFILE": "Too many open files"}

ran: set[int] = set()
came: set[int] = set()
inside_writes: set[int] = set()


@pytest.fixture(scope="module", autouse=True)
def _enough_faults_come_and_hit_inside_a_write() -> Iterator[None]:
    """Fail if the suite, whole and in whatever order, has shown too little."""
    yield
    if len(ran) == COUNT:
        told = f"{len(came)} of {COUNT} faults came, {len(inside_writes)} of them inside a write"
        assert len(inside_writes) >= LEAST_INSIDE_WRITES * COUNT // ALL, told
        assert len(came) >= COUNT * 3 // 4, told


class Draw:
    """What fault number `number` does."""

    def __init__(self, worlds: Any, number: int) -> None:
        self.random = random.Random(f"{SEED} {number}")
        self.number = number
        # processes cost a second to start: one fault in twelve has them
        self.first = "process" if number % 12 == 11 else self.random.choice(IN_THREAD)
        self.second = self.random.choice(IN_THREAD) if number % 24 != 23 else "process"
        self.plan = {
            **(FAILING if number % 5 == 4 else PLAN),
            "versioned": self.random.random() < 0.5,
            "fsync": number % 7 == 6,
        }
        self.undisturbed = worlds.end_of(self.plan)
        self.world = worlds.new(self.plan)
        self.prompt = self.random.random() < 0.5
        if self.random.random() < 0.3 and not self.plan["versioned"]:
            self.world.store_older_run()

    def call(self, what: str) -> dict[str, Any]:
        """Return a fault at a call of the store, drawn from all of them, or, one in four, inside of a write."""
        inside = (
            {"only": "^p?write", "call": self.random.randrange(20), "half": True}
            if self.number % 4 == 0
            else {}
        )
        return {
            "call": self.random.randrange(self.undisturbed.calls),
            "what": what,
            "half": self.random.random() < 0.5,
            "lasting": self.random.random() < 0.5,
            "log": str(self.world.folder / "log"),
            **inside,
        }

    def run(self, *, resume: bool = False, **options: Any) -> dict[str, Any]:
        return dict(self.world.run(self.first, resume=resume, prompt=self.prompt, **options))

    def note(self) -> None:
        """Remember whether the fault came, and whether inside of a write."""
        log = self.world.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        if lines:
            came.add(self.number)
        if any(line.startswith("inside") for line in lines):
            inside_writes.add(self.number)

    def check_in_flight(self) -> None:
        """What ran and is not on disk was in flight: no more than one replicate, if each is written at once."""
        if self.first == "serial" and self.prompt:
            ran = set(self.world.executed(self.world.phase))
            fails = set(self.plan.get("fails", ()))
            lost = {outcome.split()[1] for outcome in ran - self.world.journaled().keys() - fails}
            assert len(lost) <= 1, f"lost from the journal: {sorted(lost)}"


def killed_at_a_call(draw: Draw) -> None:
    draw.run(fault=draw.call("SIGKILL"))
    draw.check_in_flight()


def killed_at_a_call_of_the_resume(draw: Draw) -> None:
    draw.run(fault=draw.call("SIGKILL"))
    draw.world.check_readable()
    there = draw.world.journaled()
    draw.run(resume=True, fault=draw.call("SIGKILL") | {"call": draw.random.randrange(60)})
    assert not draw.world.executed(draw.world.phase).keys() & there.keys()


def killed_at_a_moment(draw: Draw) -> None:
    draw.run(kill_after=draw.random.uniform(0, 0.1), signal="SIGKILL", pause=0.003)
    if draw.world.code == -signal.SIGKILL:
        came.add(draw.number)


def interrupted_at_a_call(draw: Draw) -> None:
    report = draw.run(fault=draw.call(draw.random.choice(["SIGINT", "SIGTERM"])))
    assert report.get("error") in (None, "KeyboardInterrupt", "RunTerminated", "PluginError"), report


def interrupted_at_a_moment(draw: Draw) -> None:
    name = draw.random.choice(["SIGINT", "SIGTERM"])
    report = draw.run(kill_after=draw.random.uniform(0, 0.1), signal=name, pause=0.003)
    if draw.world.code or "error" in report:
        came.add(draw.number)


def without_space_or_descriptors(draw: Draw) -> None:
    what = draw.random.choice(list(ERRORS))
    report = draw.run(fault=draw.call(what))
    check_told(draw, report, what)
    if "error" in report and draw.world.journaled():
        assert report["arrived"], f"what was measured is not in the error: {report}"


def without_space_during_the_resume(draw: Draw) -> None:
    draw.run(fault=draw.call("SIGKILL"))
    what = draw.random.choice(list(ERRORS))
    report = draw.run(resume=True, fault=draw.call(what) | {"call": draw.random.randrange(60)})
    check_told(draw, report, what)


def check_told(draw: Draw, report: dict[str, Any], what: str) -> None:
    """An error names the reason and a file below the root."""
    assert report, (draw.world.folder / "output").read_text()
    if "error" in report:
        assert report["error"] in ("StoreError", "PluginError"), report
        assert "StoreError" in (report["error"], report["cause"]), report
        assert ERRORS[what] in report["message"], report
        assert str(draw.world.root) in report["message"], report


def killed_workers(draw: Draw) -> None:
    draw.first = "process"
    fault = draw.call("SIGKILL") | {
        "call": draw.random.randrange(12),
        "once": str(draw.world.folder / "once"),
    }
    draw.run(in_workers=fault)


def damaged_journal(draw: Draw) -> None:
    """Cut the journal off, or put a line into it, or damage one, at any place but the first line's."""
    assert "json" in draw.run()
    (file,) = draw.world.demo.glob("v*/journal.jsonl")
    content = file.read_bytes()
    first = content.index(b"\n") + 1
    place = draw.random.randrange(first, len(content))
    lines = content[first:].splitlines(keepends=True)
    line = draw.random.randrange(len(lines))
    kind = draw.random.choice(["torn", "flipped", "foreign", "removed", "twice", "swapped"])
    if kind == "torn":
        content = content[:place]
    elif kind == "flipped":
        content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    else:
        if kind == "foreign":
            lines.insert(
                line, draw.random.choice([b"{}\n", b"\n", b"\xff\x00\n", b'{"sum":"0"}\n', b"null\n"])
            )
        elif kind == "removed":
            del lines[line]
        elif kind == "twice":
            lines.insert(draw.random.randrange(len(lines)), lines[line])
        else:
            other = draw.random.randrange(len(lines))
            lines[line], lines[other] = lines[other], lines[line]
        content = content[:first] + b"".join(lines)
    file.write_bytes(content)
    came.add(draw.number)


FAULTS: tuple[Callable[[Draw], None], ...] = (
    killed_at_a_call,
    killed_at_a_call_of_the_resume,
    killed_at_a_moment,
    interrupted_at_a_call,
    without_space_or_descriptors,
    damaged_journal,
    killed_at_a_call,
    without_space_during_the_resume,
    without_space_or_descriptors,
    interrupted_at_a_moment,
)


@pytest.mark.parametrize("number", range(COUNT))
def test_fault(number: int, worlds: Any) -> None:
    draw = Draw(worlds, number)
    ran.add(number)
    fault = killed_workers if number % 24 == 11 else FAULTS[number % len(FAULTS)]
    told = (
        f"FAULT_SEED={SEED}, fault {number}: {fault.__name__}, {draw.first}, then {draw.second}, {draw.plan}"
    )
    print(told)
    try:
        fault(draw)
        draw.note()
        draw.world.resume_and_compare(draw.second, draw.undisturbed)
    except BaseException:
        for name in ("log", "output"):
            file = draw.world.folder / name
            print(file.read_text() if file.exists() else f"no {name}")
        raise
    worlds.forget(draw.world)
