"""The cluster of our own: scripts that use it, what they leave behind, and how they end."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
from contextlib import redirect_stderr
from pathlib import Path
from types import SimpleNamespace

import pytest
from crystallize_dask import DaskExecution

from crystallize.testing.leftovers import is_running
from crystallize.testing.subjects import wait_until


@pytest.fixture
def start_script(tmp_path):
    """Return a function that starts a script in a process group of its own."""
    started = []

    def start(text, *options, **environment):
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(text))
        process = subprocess.Popen(
            [sys.executable, *options, str(script)],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def temporary():
    """Return a folder for temporary files whose path is short, as that of a socket must be."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


LONG_RUN = """
    import os, time
    from pathlib import Path
    from crystallize import Experiment
    from crystallize_dask import DaskExecution

    def measure(data, ctx):
        Path(f"begun-{os.getpid()}").touch()
        time.sleep(0.1)
        Path(f"ended-{ctx['replicate']}").touch()
        return data, {"replicate": ctx["replicate"]}

    experiment = Experiment(lambda: 0, [measure], execution=DaskExecution(max_workers=2), replicates=1000)
    experiment.run()
"""


def test_a_script_without_a_guard_runs_once_says_nothing_and_leaves_no_file(start_script, temporary):
    script = start_script(
        """
        import logging
        from types import SimpleNamespace
        from crystallize_dask import DaskExecution
        logging.basicConfig(level=logging.INFO)
        print("started")
        FACTOR = 3
        class Point:
            def __init__(self, x): self.x = x
        def replicate_fn(i): return Point(i * FACTOR)
        results = DaskExecution(max_workers=2).run_experiment_loop(SimpleNamespace(owed=iter(range(5))), replicate_fn)
        print([r.x for r in results], {type(r) is Point for r in results})
        """,
        "-W",
        "error",
        PYTHONWARNINGS="error",
        TMPDIR=str(temporary),
    )
    out, err = script.communicate(timeout=60)
    assert (out.splitlines(), err) == (["started", "[0, 3, 6, 9, 12] {True}"], "")
    assert not list(Path.cwd().iterdir())
    assert list(temporary.iterdir()) == []


def test_a_script_whose_experiment_holds_an_array_lives_through_the_garbage_collection(start_script):
    process = start_script("""
        import gc
        import numpy as np
        from crystallize import Experiment

        def total(data, array):
            return data, {"total": float(array.sum())}

        experiment = Experiment(
            lambda: 1, [total], initial_ctx={"array": np.ones(3)}, execution="dask", disable_plugins=["artifact"]
        )
        print(experiment.run().metrics.baseline.metrics, flush=True)
        del experiment
        gc.collect()
    """)
    assert process.communicate(timeout=120) == ("{'total': [3.0]}\n", "")
    assert process.returncode == 0


def test_workers_end_when_the_coordinator_is_killed_and_leave_no_file(start_script, temporary):
    script = start_script(LONG_RUN, TMPDIR=str(temporary))
    assert wait_until(lambda: len(list(Path().glob("begun-*"))) == 2)
    script.kill()
    script.wait()
    workers = [int(path.name.partition("-")[2]) for path in Path().glob("begun-*")]
    assert wait_until(lambda: not any(map(is_running, workers)))
    assert list(temporary.iterdir()) == []


def test_ctrl_c_in_a_terminal_ends_everything_and_the_metadata_say_so(start_script):
    script = start_script(LONG_RUN)
    assert wait_until(lambda: len(list(Path().glob("ended-*"))) > 6)  # so that some have arrived
    os.killpg(script.pid, signal.SIGINT)
    _, err = script.communicate(timeout=30)
    assert err.count("Traceback") == 1
    assert [line for line in err.splitlines() if line.startswith("KeyboardInterrupt")]
    assert "this error's attribute `result`" in err
    workers = [int(path.name.partition("-")[2]) for path in Path().glob("begun-*")]
    assert not any(map(is_running, workers))
    (metadata,) = Path("data").rglob("metadata.json")
    assert json.loads(metadata.read_text())["status"] == "interrupted"


# -- what its workers are given ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Return what four replicates of one run have seen, and more of that run: a cluster takes two seconds to start."""
    folder = tmp_path_factory.mktemp("seen")
    (folder / "only_here.py").write_text("NUMBER = 12")

    def draw_after_dask():
        import random

        from dask.sizeof import sizeof
        from distributed import worker_state_machine
        from distributed.protocol.compression import byte_sample

        random.seed(5)
        sizeof({f"key {number}": number for number in range(20)})  # what Dask does to send a message
        byte_sample(memoryview(b"message" * 100), 10, 5)
        worker_state_machine.random.Random(0)  # what each new worker does
        return random.random()

    def look(replicate):
        import only_here

        found = {"number": only_here.NUMBER, "folder": str(Path.cwd()), "input": sys.stdin.read()}
        found["drawn"] = draw_after_dask()
        return found | {name: os.environ[name] for name in ("MY_SETTING", "OMP_NUM_THREADS")}

    strategy = DaskExecution(max_workers=2, resources={"GPU": 2, "licence": 0.5}, progress=True)
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as shown:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
            patch.delenv(name, raising=False)
        patch.setenv("MY_SETTING", "mine")
        patch.syspath_prepend(str(folder))
        patch.chdir(folder)
        results = strategy.run_experiment_loop(SimpleNamespace(owed=iter(range(4))), look)
    return SimpleNamespace(
        folder=folder,
        strategy=strategy,
        results=results,
        shown=shown.getvalue(),
        drawn=draw_after_dask(),
    )


def test_workers_that_are_slow_to_start_are_waited_for(monkeypatch):
    monkeypatch.setattr("crystallize_dask.transport.patience", lambda: 0.0)
    experiment = SimpleNamespace(owed=iter(range(2)))
    assert DaskExecution(max_workers=1).run_experiment_loop(experiment, lambda replicate: replicate) == [0, 1]


def test_workers_have_their_share_of_the_cores(seen):
    share = seen.strategy.settings["threads_per_worker"]
    assert share >= 1
    assert [result["OMP_NUM_THREADS"] for result in seen.results] == [str(share)] * 4


def test_workers_have_the_environment_the_folder_and_the_path_of_the_coordinator(seen):
    found = {(result["number"], result["MY_SETTING"], result["folder"]) for result in seen.results}
    assert found == {(12, "mine", str(seen.folder))}


def test_resources_are_what_one_replicate_needs_so_nobody_waits(seen):
    assert seen.strategy.settings["resources"] == {"GPU": 2, "licence": 0.5}
    assert len(seen.results) == 4


def test_dask_draws_nothing_from_the_random_generator_of_steps(seen):
    undisturbed = random.Random(5).random()
    assert [result["drawn"] for result in seen.results] == [undisturbed] * 4
    assert seen.drawn == undisturbed  # for experiments of a graph that run in the coordinator


def test_steps_find_no_input(seen):
    assert [result["input"] for result in seen.results] == [""] * 4


def test_progress_is_shown_on_standard_error(seen):
    assert "4/4" in seen.shown
