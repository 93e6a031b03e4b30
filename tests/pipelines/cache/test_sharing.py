"""One cache, many threads, tasks and processes: each value is made once, and nobody sees half of one."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from crystallize import FrozenContext, pipeline_step

TOGETHER = threading.Barrier(4, timeout=60)


def leave_a_byte(name: str) -> None:
    with Path(name).open("ab") as file:
        file.write(b".")


@pipeline_step(cacheable=True)
def slow(data: int) -> Any:
    leave_a_byte("calls")
    time.sleep(0.2)
    return data, {"size": data}


@pipeline_step(cacheable=True)
async def slow_async(data: int) -> Any:
    leave_a_byte("calls")
    await asyncio.sleep(0.2)
    return data, {"size": data}


@pipeline_step(cacheable=True)
def meets_the_others(data: int, ctx: FrozenContext) -> Any:
    TOGETHER.wait()  # each outcome has an input of its own, so that none waits for another
    return ctx["replicate"]


@pipeline_step(cacheable=True)
def fails_once(data: int) -> Any:
    leave_a_byte("calls")
    if Path("calls").stat().st_size == 1:
        raise ValueError("the first time")
    return data


EXECUTIONS = {
    "thread": (slow, {"strategy": "thread", "max_workers": 4}),
    "process": (slow, {"strategy": "process", "max_workers": 2}),
    "async": (slow_async, "async"),
}


@pytest.mark.parametrize(("step", "execution"), EXECUTIONS.values(), ids=EXECUTIONS)
def test_a_value_is_made_by_one_and_read_by_the_others(step: Any, execution: Any, run: Any) -> None:
    result = run(step, replicates=6, execution=execution)
    assert result.metrics.baseline.metrics["size"] == [3] * 6
    assert Path("calls").stat().st_size == 1
    assert (result.explain_cache().count("miss"), result.explain_cache().count("hit")) == (1, 5)


def test_inputs_that_may_differ_do_not_wait_for_each_other(run: Any) -> None:
    result = run(meets_the_others, replicates=4, execution={"strategy": "thread", "max_workers": 4})
    assert result.explain_cache().count("miss") == 4


@pipeline_step(cacheable=True)
def draws_with_the_others(data: int, ctx: FrozenContext) -> Any:
    TOGETHER.wait()
    return data, {"drawn": random.random(), "of": ctx["replicate"]}


DRAWN, SEEDED = threading.Event(), threading.Event()


def seen_to_be_seeded(ctx: FrozenContext) -> int:
    if ctx["replicate"] == 1:
        DRAWN.wait(60)  # and then makes room for the last one
    elif ctx["replicate"] == 2:
        SEEDED.set()
    return 3


@pipeline_step(cacheable=True)
def draws_before_another_is_seeded(data: int, ctx: FrozenContext) -> Any:
    if ctx["replicate"] == 0:
        random.random()
        DRAWN.set()
        SEEDED.wait(60)
    return data


def test_nothing_is_kept_that_may_have_drawn_from_a_generator_that_threads_share(
    run: Any, warnings: Any, entries: Any
) -> None:
    four = {"strategy": "thread", "max_workers": 4}
    result = run(draws_with_the_others, replicates=4, execution=four)
    assert len(set(result.metrics.baseline.metrics["drawn"])) == 4
    assert entries() == []
    assert "drew from random" in warnings()[0]

    two = {"strategy": "thread", "max_workers": 2}
    run(draws_before_another_is_seeded, data=seen_to_be_seeded, replicates=3, execution=two)
    assert "drew from random" in warnings()[0]


def test_who_waits_for_one_that_fails_runs_the_step_itself(run: Any) -> None:
    from crystallize import Experiment

    experiment = Experiment(
        lambda: 3, [fails_once], seed=1, execution={"strategy": "thread", "max_workers": 3}
    )
    result = experiment.run(replicates=3)
    assert len(result.errors) == 1
    assert Path("calls").stat().st_size == 2


MODEL = """
class Model:
    pass
"""
FOLDER = {
    "config.yaml": "datasource: number\nsteps: [fit, score]\nseed: 1\n",
    "datasources.py": "def number():\n    return 3\n",
    "parts.py": MODEL,
    "steps.py": f"""
from crystallize import pipeline_step
from .parts import Model as Part
{MODEL}
@pipeline_step(cacheable=True)
def fit(data):
    return [Model(), Part()]

@pipeline_step()
def score(data):
    return data, {{"are its own": isinstance(data[0], Model) and isinstance(data[1], Part)}}
""",
}


def folder(name: str) -> Any:
    """Load the experiment of a folder, which is made if it is not there."""
    from crystallize import Experiment

    Path(name).mkdir(exist_ok=True)
    for file, text in FOLDER.items():
        Path(name, file).write_text(text, encoding="utf-8")
    return Experiment.from_yaml(Path(name, "config.yaml"))


def hits(experiment: Any) -> int:
    """Run an experiment; return how many outputs were in the cache."""
    result = experiment.run()
    assert result.metrics.baseline.metrics["are its own"] == [True]
    return int(result.explain_cache().count("hit"))


def test_equal_steps_of_two_folders_share_outputs_and_each_gets_objects_of_its_own_classes() -> None:
    assert [hits(folder(name)) for name in ("one", "other", "one")] == [0, 1, 1]


def test_a_step_of_a_folder_that_was_loaded_anew_gets_no_objects_of_the_new_classes() -> None:
    before, now = folder("one"), folder("one")
    assert [hits(now), hits(before), hits(now)] == [0, 0, 1]


@pytest.mark.usefixtures("warm_processes")
def test_a_script_and_the_process_that_imports_it_share_outputs() -> None:
    Path("study.py").write_text(
        f"from crystallize import Experiment, pipeline_step\n{MODEL}\n"
        "@pipeline_step(cacheable=True)\ndef fit(data):\n    print('ran')\n    return Model()\n"
        "def main():\n"
        "    given = Experiment(lambda: 3, [fit, lambda data: (data, {'own': isinstance(data, Model)})]).run()\n"
        "    print(given.metrics.baseline.metrics['own'])\n"
        "if __name__ == '__main__':\n    main()\n",
        encoding="utf-8",
    )
    for command, printed in (
        (["study.py"], "ran\n[True]\n"),
        (["-c", "import study; study.main()"], "[True]\n"),
        (["study.py"], "[True]\n"),
    ):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
        assert done.stdout == printed


SCRIPT = """
import sys
from crystallize import Experiment, pipeline_step

@pipeline_step(cacheable=True)
def make(data, ctx):
    with open("calls", "ab") as file:
        file.write(b".")
    return list(range(100_000)), {"sum": data + ctx["replicate"] % 5}

if __name__ == "__main__":
    result = Experiment(lambda: 1, [make], seed=1, disable_plugins=["artifact"]).run(replicates=20)
    result.raise_for_errors()
    print(result.metrics.baseline.metrics["sum"])
"""


@pytest.mark.usefixtures("warm_processes")
def test_experiments_in_many_processes_share_a_folder() -> None:
    Path("script.py").write_text(SCRIPT, encoding="utf-8")
    processes = [
        subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = {process.communicate()[0] for process in processes}
    assert printed == {f"{[1 + replicate % 5 for replicate in range(20)]}\n"}
    assert Path("calls").stat().st_size == 20
    assert not [path for path in Path(".cache").rglob("*") if path.suffix in (".lock", ".tmp")]


def test_a_lock_whose_owner_was_killed_holds_nobody_up(run: Any) -> None:
    run(slow)
    (entry,) = Path(".cache").rglob("*.pkl")
    holder = (
        "import sys, pathlib\n"
        "from crystallize.pipelines.cache.step_folder import StepFolder\n"
        "lock = StepFolder(pathlib.Path('.cache'), sys.argv[1], None).lock(sys.argv[2])\n"
        "assert lock.try_acquire()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", holder, entry.parent.name, entry.stem]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        entry.unlink()
        process.kill()
    run(slow)
    assert entry.exists()
    assert os.listdir(entry.parent).count(f"{entry.stem}.lock") == 0  # noqa: PTH208
