"""What a worker process has of its coordinator's surroundings, and processes that can have no workers."""

from __future__ import annotations

import decimal
import os
import subprocess
import sys
import textwrap
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from crystallize.plugins.execution import ProcessExecution


def run(replicate_fn, replicates=1):
    return ProcessExecution(1).run_experiment_loop(
        SimpleNamespace(owed=iter(range(replicates))), replicate_fn
    )


class Told(UserWarning):
    """A category of the user's own."""


def look(_replicate=0):
    mask = os.umask(0)
    os.umask(mask)
    try:
        warnings.warn("look", Told, stacklevel=1)
        warned = "shown"
    except Told:
        warned = "raised"
    return {
        "mask": mask,
        "warned": warned,
        "floating point": np.geterr(),
        "digits": str(decimal.Decimal(1) / 3),
        "recursion": sys.getrecursionlimit(),
        "zone": time.strftime("%H", time.localtime(0)),
    }


def test_workers_have_the_settings_that_the_coordinator_has_now(monkeypatch):
    run(lambda i: i)  # the fork server is older than what follows
    mask, recursion = os.umask(0o27), sys.getrecursionlimit()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        sys.setrecursionlimit(recursion + 123)
        with (
            warnings.catch_warnings(),
            np.errstate(over="raise", under="call"),
            decimal.localcontext(decimal.Context(prec=7)),
        ):
            warnings.simplefilter("error", Told)
            here = look()
            assert run(look) == [here]
    finally:
        os.umask(mask)
        sys.setrecursionlimit(recursion)
        monkeypatch.undo()
        time.tzset()
    assert here["warned"] == "raised"
    assert (here["mask"], here["digits"], here["zone"]) == (0o27, "0.3333333", "09")


@pytest.mark.parametrize("method", ["", "spawn"])
def test_a_step_in_a_worker_starts_processes_as_it_does_in_the_coordinator(method, tmp_path):
    script = f"""
        import logging, multiprocessing
        from crystallize import Experiment

        def square(x):
            logging.getLogger("mine").warning("squares %s", x)
            return x * x

        def squares(data):
            with multiprocessing.Pool(1) as pool:
                # With map, a pool whose processes find no such function would wait for ever.
                return data, {{"squares": pool.apply_async(square, (data,)).get(timeout=60)}}

        if __name__ == "__main__":
            if {method!r}:
                multiprocessing.set_start_method({method!r})
            result = Experiment(lambda: 3, [squares], execution="process", disable_plugins=["artifact"]).run()
            print(result.metrics.baseline.metrics)
    """
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(script), encoding="utf-8")
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == "{'squares': [9]}\n"
    assert done.stderr == "squares 3\n"


def test_a_process_that_can_have_no_workers_is_told_why_and_what_to_do(tmp_path):
    script = """
        import multiprocessing, os, sys, tempfile
        from crystallize import Experiment
        def run():
            experiment = Experiment(
                lambda: 1, [lambda data: data], execution="process", replicates=2, disable_plugins=["artifact"]
            )
            try:
                experiment.run()
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            else:
                print("ran", flush=True)
        tempfile.tempdir = sys.argv[1]
        run()
        tempfile.tempdir = None
        multiprocessing.current_process()._config.pop("tempdir")
        with multiprocessing.get_context("fork").Pool(1) as pool:
            pool.apply(run)
        run()
        child = os.fork()
        run()
        if child:
            os.waitpid(child, 0)
        else:
            os._exit(0)
    """
    long = tmp_path / ("long" * 30)
    long.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(long)],
        capture_output=True,
        text=True,
        check=True,
    )
    too_long, daemonic, ran, *both = done.stdout.splitlines()
    assert "too long a name" in too_long
    assert "TMPDIR" in too_long
    assert "daemonic" in daemonic
    assert ran == "ran"
    forked, parent = sorted(both)
    assert "forked" in forked
    assert parent == "ran"
    for message in (too_long, daemonic, forked):
        assert message.startswith("ExecutionError ")
        assert "plugin" not in message
