"""Arguments, warnings and progress of the execution strategies."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import pty
import random
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from crystallize import Experiment
from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.plugins import execution
from crystallize.plugins.execution import (
    AsyncExecution,
    ParallelExecution,
    ProcessExecution,
    SerialExecution,
    ThreadExecution,
)

EVERY = [SerialExecution, ParallelExecution, ThreadExecution, ProcessExecution, AsyncExecution]


def plain(replicates, **more):
    return SimpleNamespace(owed=iter(range(replicates)), **more)


# -- arguments ---------------------------------------------------------------------------------------------


def test_the_module_has_the_documented_names():
    assert execution.TYPE_CHECKING is False
    assert set(execution.VALID_EXECUTOR_TYPES) == {"thread", "process"}


def test_arguments_may_be_given_by_position():
    assert SerialExecution(True).settings == {"progress": True}
    assert AsyncExecution(True).settings == {"progress": True, "max_concurrency": None}
    assert ParallelExecution(3, "thread", True).settings == {
        "max_workers": 3,
        "executor_type": "thread",
        "progress": True,
        "workers": None,
    }


@pytest.mark.parametrize("strategy", EVERY)
def test_progress_is_a_bool(strategy):
    with pytest.raises(InvalidTypeError, match="progress is True or False, got 'yes'"):
        strategy(progress="yes")


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_of_workers_is_at_least_one(number):
    for make in (ParallelExecution, ThreadExecution, ProcessExecution):
        with pytest.raises(InvalidValueError, match=f"max_workers is at least 1, got {number}"):
            make(max_workers=number)
    with pytest.raises(InvalidValueError, match="max_concurrency"):
        AsyncExecution(max_concurrency=number)


@pytest.mark.parametrize("number", [True, "3", 2.5])
def test_a_number_of_workers_is_an_int(number):
    for make in (ParallelExecution, ThreadExecution, ProcessExecution):
        with pytest.raises(InvalidTypeError, match="max_workers is an int"):
            make(max_workers=number)
    with pytest.raises(InvalidTypeError, match="max_concurrency"):
        AsyncExecution(max_concurrency=number)


def test_an_unknown_executor_type_brings_a_suggestion():
    with pytest.raises(InvalidValueError, match=r"'proces'.*Did you mean 'process'\?"):
        ParallelExecution(executor_type="proces")
    with pytest.raises(InvalidTypeError, match="executor_type"):
        ParallelExecution(executor_type=None)


def test_there_are_no_more_threads_than_replicates_and_at_most_32_by_default():
    for replicates, most in ((3, 3), (80, 32)):
        together = threading.Barrier(most)

        def thread_of(i, together=together, most=most):
            if i < most:
                together.wait(60)
            time.sleep(0.02)
            return threading.get_ident()

        found = ThreadExecution().run_experiment_loop(plain(replicates), thread_of)
        assert len(set(found)) == most


def test_there_are_no_more_processes_than_cores_by_default():
    found = ProcessExecution().run_experiment_loop(plain(20), lambda i: (time.sleep(0.01), os.getpid())[1])
    assert 1 <= len(set(found)) <= execution.usable_cores()


# -- threads and tasks -------------------------------------------------------------------------------------

WORD = contextvars.ContextVar("word", default="none")


@pytest.mark.parametrize("strategy", [ThreadExecution(4), AsyncExecution(), SerialExecution()])
def test_context_variables_of_the_caller_are_seen(strategy):
    token = WORD.set("said before")
    try:
        assert strategy.run_experiment_loop(plain(8), lambda i: WORD.get()) == ["said before"] * 8
    finally:
        WORD.reset(token)


def test_threads_close_their_event_loops():
    from crystallize.utils.aio import run_awaitable

    async def loop_in_use():
        return asyncio.get_running_loop()

    loops = ThreadExecution(3).run_experiment_loop(plain(9), lambda i: run_awaitable(loop_in_use()))
    assert len(set(loops)) <= 3
    assert all(loop.is_closed() for loop in loops)


def test_ctrl_c_waits_for_the_threads_in_flight_and_reports_them():
    told = []

    def replicate_fn(replicate):
        if replicate == 3:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return replicate

    with pytest.raises(KeyboardInterrupt):
        ThreadExecution(4).run_experiment_loop(plain(500, replicate_done=told.append), replicate_fn)
    assert {0, 1, 2, 3} <= set(told)
    assert len(told) < 100


def test_a_second_ctrl_c_abandons_the_threads(run_python):
    done = run_python(
        "import os, signal, threading, time\n"
        "from types import SimpleNamespace as S\n"
        "from crystallize.plugins.execution import ThreadExecution\n"
        "def again():\n"
        "    for _ in range(2):\n"
        "        time.sleep(0.3)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=again, daemon=True).start()\n"
        "try:\n"
        "    ThreadExecution(2).run_experiment_loop(S(owed=iter(range(4))), lambda i: time.sleep(600))\n"
        "except KeyboardInterrupt:\n"
        "    print('abandoned')\n",
        fresh=True,
    )
    assert done.stdout == "abandoned\n"


def test_replicates_with_acall_share_one_loop_at_the_same_time():
    barrier = []

    class ReplicateFn:
        async def acall(self, replicate):
            barrier.append(replicate)
            while len(barrier) < 20:
                await asyncio.sleep(0)
            return replicate

        def __call__(self, replicate):
            raise AssertionError("acall is there")

    assert AsyncExecution().run_experiment_loop(plain(20), ReplicateFn()) == list(range(20))


def test_max_concurrency_bounds_what_is_under_way():
    under_way, most = set(), []

    async def replicate_fn(replicate):
        under_way.add(replicate)
        most.append(len(under_way))
        await asyncio.sleep(0.001)
        under_way.remove(replicate)
        return replicate

    strategy = AsyncExecution(max_concurrency=4)
    assert strategy.run_experiment_loop(plain(30), replicate_fn) == list(range(30))
    assert max(most) == 4


def test_the_users_own_loop_can_drive_the_replicates():
    class ReplicateFn:
        def __init__(self, loop):
            self.loop = loop

        async def acall(self, replicate):
            await asyncio.sleep(0)
            return asyncio.get_running_loop()

    async def main():
        home = asyncio.get_running_loop()
        drive = AsyncExecution().run_experiment_loop
        return set(await asyncio.to_thread(drive, plain(3), ReplicateFn(home))) == {home}

    assert asyncio.run(main())


def test_an_error_cancels_the_other_tasks_and_waits_for_them():
    ended = []

    async def replicate_fn(replicate):
        if replicate == 1:
            raise LookupError("no")
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(replicate)

    with pytest.raises(LookupError):
        AsyncExecution().run_experiment_loop(plain(3), replicate_fn)
    assert ended == [0, 2]


# -- the warning about shared random state -----------------------------------------------------------------


class SeedPlugin:
    pass


SEEDED = SimpleNamespace(records=[SimpleNamespace(plugin=SeedPlugin())])


def draw_like_the_ignorant(_replicate):
    random.seed(1)
    return random.random()


@pytest.mark.parametrize("make", [lambda: ThreadExecution(2), lambda: AsyncExecution()])
def test_shared_random_state_is_warned_of_once(make, caplog):
    strategy = make()
    for _ in range(2):
        strategy.run_experiment_loop(plain(2, plugins=SEEDED), draw_like_the_ignorant)
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("crystallize.execution", "WARNING")
    ]
    assert "ctx.rng" in caplog.text
    assert "process" in caplog.text


@pytest.mark.parametrize(
    "strategy",
    [ThreadExecution(1), AsyncExecution(max_concurrency=1), SerialExecution(), ProcessExecution(2)],
)
def test_where_nothing_is_shared_there_is_no_warning(strategy, caplog):
    with caplog.at_level(logging.WARNING):
        strategy.run_experiment_loop(plain(2, plugins=SEEDED), draw_like_the_ignorant)
    assert caplog.text == ""


@pytest.mark.parametrize(("draws", "warnings"), [(False, 0), (True, 1)])
def test_async_replicates_are_warned_of_shared_generators_only_if_they_draw_from_them(
    draws, warnings, caplog
):
    async def step(data, ctx):
        return data, {"value": random.random() if draws else ctx.rng.random()}

    for _ in range(2):  # each run leaves the generators in the same state
        with caplog.at_level(logging.WARNING):
            Experiment(
                lambda: 0, [step], seed=1, replicates=3, execution="async", disable_plugins=["artifact"]
            ).run()
        assert caplog.text.count("share the global random state") == warnings
        caplog.clear()


def test_without_a_seed_plugin_there_is_no_warning(caplog):
    for plugins in (None, [], SimpleNamespace(records=[])):
        ThreadExecution(2).run_experiment_loop(plain(2, plugins=plugins), lambda i: i)
    assert caplog.text == ""


# -- progress ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", EVERY)
def test_without_a_terminal_progress_is_one_line_without_control_characters(strategy, capfd):
    def replicate_fn(replicate):
        error = "an error" if replicate < 2 else None
        return SimpleNamespace(outcomes=[SimpleNamespace(error=error), SimpleNamespace(error=error)])

    strategy(progress=True).run_experiment_loop(plain(5, name="mine"), replicate_fn)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("mine: 5/5 replicates in ")
    assert err.endswith(" s, 2 with errors\n")
    assert err[:-1].isprintable()


def test_in_a_notebook_without_ipywidgets_progress_is_one_line_and_no_warning(run_python):
    code = (
        "import builtins, sys, types\n"
        "sys.modules['ipykernel'] = types.ModuleType('ipykernel')\n"
        "class ZMQInteractiveShell: ...\n"  # what rich knows a notebook by
        "builtins.get_ipython = lambda: ZMQInteractiveShell()\n"
        "from types import SimpleNamespace as S\n"
        "from crystallize.plugins.execution import SerialExecution\n"
        "SerialExecution(True).run_experiment_loop(S(owed=iter(range(4)), name='mine'), lambda i: i)\n"
    )
    done = run_python(code, fresh=True)  # where warnings are errors
    assert done.stderr.startswith("mine: 4/4 replicates in ")


def test_an_error_stream_that_takes_nothing_does_not_end_a_run_with_progress(monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stderr", Full())
    assert SerialExecution(True).run_experiment_loop(plain(2, name="mine"), lambda i: i) == [0, 1]


def test_on_a_terminal_there_is_a_bar(run_python, tmp_path):
    import subprocess
    import sys

    code = (
        "from types import SimpleNamespace as S\n"
        "from crystallize.plugins.execution import SerialExecution\n"
        "SerialExecution(True).run_experiment_loop(S(owed=iter(range(4)), name='[odd] {name} [/]'), lambda i: i)\n"
    )
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(
            [sys.executable, "-c", code], stderr=theirs, check=True, env={**os.environ, "TERM": "xterm"}
        )
        os.close(theirs)
        shown = b""
        try:
            while chunk := terminal.read(65536):
                shown += chunk
        except OSError:  # Linux says so at the end of a terminal
            pass
    assert "4/4" in shown.decode()
    assert "[odd] {name} [/]" in shown.decode()


def test_progress_costs_no_import_when_it_is_off(run_python):
    run_python(
        "import sys\n"
        "from types import SimpleNamespace as S\n"
        "from crystallize.plugins.execution import SerialExecution, ThreadExecution\n"
        "SerialExecution().run_experiment_loop(S(owed=iter(range(4))), abs)\n"
        "ThreadExecution(2).run_experiment_loop(S(owed=iter(range(4))), abs)\n"
        "heavy = {'rich', 'numpy', 'asyncio', 'multiprocessing'} & set(sys.modules)\n"
        "assert not heavy, heavy\n",
        fresh=True,
    )
