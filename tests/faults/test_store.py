"""A kill or an error of the file system at each call of the store: afterwards, resume ends as if nothing had happened.

Each fault strikes a forked child at its N-th call below the root: the child is killed there, in the middle of the
write if it is one, or the call raises. Another child resumes the run. A sample of the faults runs with all tests;
``make test-faults`` sets ``CRYSTALLIZE_ALL_FAULTS`` and runs them all.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np  # a child that is forked need not import it
import orjson
import pytest

from crystallize import ArtifactPlugin, Experiment, Hypothesis, Result, Treatment, paired_t_test

assert np
assert orjson

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

REPLICATES = 3
KILLED = 99
SAMPLE = 1 if os.environ.get("CRYSTALLIZE_ALL_FAULTS") else 9
CALLS = ("open", "write", "replace", "rename", "mkdir", "unlink", "rmdir", "ftruncate", "truncate", "fsync")
TIMES = (
    "run",
    "started",
    "finished",
    "duration",
    "command",
    "replaces",
    "packages",
    "numeric_libraries",
    "code",
)


def step(data: Any, ctx: Any) -> Any:
    with Path(ctx["marks"]).open("a") as marks:
        marks.write(f"{ctx['condition']} {ctx['replicate']}\n")
    ctx.artifacts.write("model.bin", f"{ctx['condition']} {ctx['replicate']}".encode() * 10)
    ctx.record("loss", ctx.rng.random() + ctx.get("shift", 0.0), tags={"fold": ctx["replicate"]})
    ctx.record("odd", [float("nan"), 2**80, -0.0][ctx["replicate"]])
    return data


def experiment(folder: Path, versioned: bool, execution: str = "serial") -> Experiment:
    return Experiment(
        lambda ctx: ctx.rng.random(),
        [step],
        name="study",
        seed=3,
        replicates=REPLICATES,
        initial_ctx={"marks": "marks"},
        treatments=[Treatment("high", {"shift": 1.0})],
        hypotheses=[Hypothesis(paired_t_test(), metrics="loss", direction="max")],
        plugins=[ArtifactPlugin(folder, versioned=versioned)],
        execution=execution,
    )


class Ended(NamedTuple):
    """How a child ended: its exit code, and what it returned or raised."""

    code: int
    returned: Any


def in_a_fork(function: Callable[[], Any]) -> Ended:
    """Call a function in a child that shares nothing with this process but the disk."""
    sys.stdout.flush()
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        write, leave, code = os.write, os._exit, 0
        logging.disable(logging.CRITICAL)
        try:
            returned = function()
        except BaseException as error:
            returned, code = (type(error).__name__, str(error), hasattr(error, "result")), 1
        write(theirs, pickle.dumps(returned))
        leave(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        content = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, pickle.loads(content) if content else None)


def strike(root: Path, at: int, fault: str) -> list[str]:
    """Have a fault strike this process at its `at`-th call that changes something below `root`.

    Returns
    -------
    list of str
        It grows with each call that was struck, and was survived.
    """
    calls = itertools.count(1)
    hits: list[str] = []
    opened: set[int] = set()

    def struck(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            target = arguments[0]
            is_ours = target in opened if isinstance(target, int) else str(target).startswith(str(root))
            if name == "open":
                is_ours = is_ours and bool(arguments[1] & (os.O_WRONLY | os.O_RDWR))
            if is_ours and (
                (number := next(calls)) == at or (number > at and fault.endswith("from then on"))
            ):
                if fault == "kill":
                    if name == "write":
                        real(target, bytes(arguments[1])[: len(arguments[1]) // 2])
                    os._exit(KILLED)
                hits.append(name)
                code = getattr(errno, fault.split(maxsplit=1)[0])
                raise OSError(code, os.strerror(code))
            returned = real(*arguments, **options)
            if is_ours and name == "open":
                opened.add(returned)
            return returned

        return call

    for name in CALLS:
        setattr(os, name, struck(name, getattr(os, name)))
    return hits


def all_of(result: Result) -> tuple[Any, ...]:
    """Return what is to be the same: the result, its provenance, the files, and the metadata but for times."""
    assert result.path is not None
    files = {
        path.relative_to(result.path).as_posix(): path.read_bytes()
        for path in sorted(result.path.rglob("*"))
        if path.is_file() and path.name not in ("metadata.json", "journal.jsonl")
    }
    metadata = json.loads((result.path / "metadata.json").read_text())
    metadata = {key: value for key, value in metadata.items() if key not in TIMES}
    for key in ("plugins", "hooks", "execution"):  # they name the strategy
        metadata.pop(key)
    return result.to_json(), list(map(repr, result.provenance)), files, metadata


def ran() -> list[str]:
    marks = Path("marks")
    lines = sorted(marks.read_text().split("\n")[:-1]) if marks.exists() else []
    marks.unlink(missing_ok=True)
    return lines


def outcomes_in(root: Path) -> list[str]:
    """Return the outcomes that succeeded and whose lines are whole in the journal."""
    lines = [
        line for journal in root.rglob("journal.jsonl") for line in journal.read_bytes().split(b"\n")[:-1]
    ]
    found = [json.loads(line) for line in lines if b'"replicate":' in line]
    return sorted(f"{each['condition']} {each['replicate']}" for each in found if each["status"] == "ok")


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("fault", ["kill", "ENOSPC", "ENOSPC from then on", "EMFILE"])
def test_after_a_fault_at_any_call_of_the_store_resume_ends_as_if_nothing_had_happened(
    fault: str, versioned: bool, tmp_path: Path
) -> None:
    everything = sorted(f"{name} {i}" for name in ("baseline", "high") for i in range(REPLICATES))
    root = tmp_path / "undisturbed"
    expected = in_a_fork(lambda: all_of(experiment(root, versioned).run()))
    assert expected.code == 0, expected.returned
    assert ran() == everything
    strategies = itertools.cycle(["serial", "thread", "async"])
    struck = 0
    for at in itertools.count(1 + len(fault) % SAMPLE, SAMPLE):
        where = f"{fault} at call {at}"
        root = tmp_path / str(at)

        def disturbed(root: Path = root, at: int = at) -> bool:
            hits = strike(root, at, fault)
            experiment(root, versioned).run()
            return bool(hits)

        ended = in_a_fork(disturbed)
        ran()
        stored = outcomes_in(root)
        if ended.code == 1 and stored:
            assert ended.returned[2], f"{where}: what was measured is not in the error, {ended.returned}"
        execution = next(strategies)
        resumed = in_a_fork(lambda: all_of(experiment(root, versioned, execution).run(strategy="resume")))  # noqa: B023
        assert resumed.code == 0, f"{where}: {resumed.returned}"
        assert resumed.returned == expected.returned, where
        assert not set(stored) & set(ran()), f"{where}: what was in the journal ran again"
        if ended == (0, False):  # there was no such call
            break
        struck += 1
    assert struck >= 40 // SAMPLE


def test_faults_strike_in_the_middle_of_writes(tmp_path: Path) -> None:
    """The suite would show nothing if its faults missed the writes."""
    torn = 0
    for at in range(1, 90):
        root = tmp_path / str(at)

        def disturbed(root: Path = root, at: int = at) -> None:
            strike(root, at, "kill")
            experiment(root, versioned=True).run()

        assert in_a_fork(disturbed).code in (0, KILLED)
        for file in root.rglob("*"):
            if file.is_file() and file.name.endswith((".tmp", "journal.jsonl")):
                content = file.read_bytes()
                torn += bool(content) and not content.endswith(b"\n")
    assert torn >= 12
