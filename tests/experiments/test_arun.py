"""Awaiting a run inside a running event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from crystallize import AsyncExecution, BasePlugin, Experiment, ParallelExecution


async def wait(data: float, ctx: Any) -> tuple[float, dict[str, float]]:
    await asyncio.sleep(0)
    return data, {"value": data + float(ctx.rng.random())}


@pytest.mark.parametrize("strategy", ["serial", "thread", "process", "async"])
def test_arun_gives_what_run_gives(strategy: str) -> None:
    def build() -> Experiment:
        return Experiment(lambda: 1.0, [wait], name="awaited", execution=strategy, seed=2, replicates=5)

    assert asyncio.run(build().arun()).to_json() == build().run().to_json()


def test_run_works_where_a_loop_is_running() -> None:
    async def notebook() -> Any:
        return Experiment(lambda: 1.0, [wait], execution="async").run(replicates=3)

    assert len(asyncio.run(notebook()).metrics.baseline.metrics["value"]) == 3


def test_steps_run_on_the_loop_that_arun_was_awaited_on() -> None:
    async def main() -> Any:
        lock, home = asyncio.Lock(), asyncio.get_running_loop()

        async def uses_what_is_bound_to_the_loop(data: Any) -> Any:
            async with lock:
                await asyncio.sleep(0)
            return data, {"at home": asyncio.get_running_loop() is home}

        experiment = Experiment(lambda: 0, [uses_what_is_bound_to_the_loop], plugins=[AsyncExecution()])
        return await experiment.arun(replicates=10)

    result = asyncio.run(main())
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["at home"] == [True] * 10


def test_the_threads_of_the_loop_are_left_to_the_steps() -> None:
    async def in_a_thread(data: Any) -> Any:
        return await asyncio.to_thread(lambda: data)

    async def main() -> Any:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        experiment = Experiment(lambda: 0, [in_a_thread], execution="async", replicates=2)
        return await asyncio.wait_for(experiment.arun(), timeout=60)

    asyncio.run(main()).raise_for_errors()


def test_the_loop_is_free_while_a_run_has_its_own_thread() -> None:
    async def main() -> int:
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()

        class Arrivals(BasePlugin):
            def after_replicate(self, result: Any) -> None:
                loop.call_soon_threadsafe(arrived.set)

        run = asyncio.ensure_future(
            Experiment(lambda: 0, [lambda data: data], plugins=[Arrivals()]).arun(replicates=3)
        )
        await asyncio.wait_for(arrived.wait(), timeout=60)
        return (await run).replicates

    assert asyncio.run(main()) == 3


@pytest.mark.parametrize("strategy", [AsyncExecution(), ParallelExecution(1, "thread")])
def test_a_cancelled_task_ends_the_run(strategy: Any) -> None:
    ran: list[int] = []

    async def main() -> None:
        started = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def slow(data: Any, ctx: Any) -> Any:
            ran.append(ctx["replicate"])
            loop.call_soon_threadsafe(started.set)
            await asyncio.sleep(0.05)
            return data

        experiment = Experiment(lambda: 0, [slow], plugins=[strategy])
        task = asyncio.ensure_future(experiment.arun(replicates=1000))
        await asyncio.wait_for(started.wait(), timeout=60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(experiment.apply() or []) == 0, "the experiment is free again"

    asyncio.run(main())
    assert len(ran) <= 1001


@pytest.mark.usefixtures("warm_processes")
def test_ctrl_c_ends_an_awaited_run_and_leaves_no_process(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import asyncio, os, signal, threading, time
            from crystallize import BasePlugin, Experiment, ParallelExecution

            class Interrupt(BasePlugin):
                def after_replicate(self, result):
                    if result.replicate == 0:
                        os.kill(os.getpid(), signal.SIGINT)

            def work(data):
                time.sleep(0.02)
                return data

            experiment = Experiment(lambda: 0, [work], plugins=[Interrupt(), ParallelExecution(2, "process")])
            try:
                asyncio.run(experiment.arun(replicates=100000))
            except KeyboardInterrupt:
                print("interrupted")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "interrupted\n", done.stderr
