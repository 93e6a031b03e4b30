"""How a graph stops: by Ctrl-C, from another thread, and when the task that awaits it is cancelled."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from crystallize import ExperimentGraph
from crystallize.errors import ExecutionError
from crystallize.experiments.run import RunCancelled

PATIENCE = 60


@pytest.mark.usefixtures("warm_processes")
def test_ctrl_c_stops_those_that_run_and_starts_no_other(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys, time
            from pathlib import Path
            from crystallize import Experiment, ExperimentGraph

            def work(data, ctx):
                Path(ctx["mark"]).touch()
                if ctx["mark"] == "b" and ctx["replicate"] == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)
                return data

            def build(name):
                execution = sys.argv[1]
                return Experiment(
                    lambda: 0, [work], name=name, replicates=100000, initial_ctx={"mark": name}, execution=execution
                )

            graph = ExperimentGraph(*map(build, sys.argv[2]))
            graph.add_experiment(build("after"))
            graph.add_dependency("after", "b")
            try:
                graph.run()
            except KeyboardInterrupt:
                print("interrupted")
            """
        )
    )
    for number, (execution, names) in enumerate((("serial", "ab"), ("thread", "ab"), ("serial", "b"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, str(script), execution, names],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.stdout == "interrupted\n", done.stderr
        assert not (folder / "after").exists()
        for name in names:
            (stored,) = (folder / "data" / name).glob("*/metadata.json")
            assert json.loads(stored.read_text())["status"] == "interrupted"


def test_ctrl_c_in_a_step_stops_the_graph(node: Any) -> None:
    def interrupt(ctx: Any) -> None:
        raise KeyboardInterrupt

    a, b = node("a", before=interrupt), node("b")
    with pytest.raises(KeyboardInterrupt):
        ExperimentGraph(a, b, node("c", b, a)).run()


def test_a_graph_can_be_cancelled_from_another_thread(node: Any) -> None:
    graph = ExperimentGraph()

    def cancel(ctx: Any) -> None:
        if ctx["replicate"] == 1:
            threading.Thread(target=graph.cancel).start()
        time.sleep(0.002)

    for name in "ab":
        graph.add_experiment(node(name, before=cancel, replicates=20000))
    with pytest.raises(RunCancelled):
        graph.run()
    assert list(graph.run(replicates=1)) == ["a", "b"], "it is free again"


def test_a_graph_is_awaited_in_a_running_loop(node: Any) -> None:
    async def main() -> tuple[list[str], int]:
        ticks = [0]

        async def tick() -> None:
            while True:
                ticks[0] += 1
                await asyncio.sleep(0)

        ticking = asyncio.ensure_future(tick())
        a = node("a")
        results = await ExperimentGraph(a, node("b", a), node("c", a)).arun(replicates=2)
        ticking.cancel()
        return list(results), ticks[0]

    names, ticks = asyncio.run(main())
    assert names == ["a", "b", "c"]
    assert ticks > 1, "the loop was free meanwhile"


def test_run_works_where_a_loop_is_running(node: Any) -> None:
    async def notebook() -> list[str]:
        a = node("a")
        return list(ExperimentGraph(a, node("b", a), node("c", a)).run())

    assert asyncio.run(notebook()) == ["a", "b", "c"]


def test_a_cancelled_task_ends_the_graph(node: Any) -> None:
    async def main() -> ExperimentGraph:
        started = asyncio.Event()
        loop = asyncio.get_running_loop()

        def work(ctx: Any) -> None:
            loop.call_soon_threadsafe(started.set)
            time.sleep(0.002)

        graph = ExperimentGraph(*(node(name, before=work, replicates=20000) for name in "ab"))
        task = asyncio.ensure_future(graph.arun())
        await asyncio.wait_for(started.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return graph

    graph = asyncio.run(main())
    assert {each.run_kind for each in graph.experiments.values()} == {None}, "nothing is under way"


def test_a_graph_does_one_run_at_a_time(node: Any) -> None:
    said: list[str] = []

    def run_again(ctx: Any) -> None:
        try:
            graph.run()
        except ExecutionError as error:
            said.append(str(error))

    graph = ExperimentGraph(node("a", before=run_again))
    graph.run()
    assert "is running already" in said[0]


@pytest.mark.parametrize("execution", ["process", "async"])
@pytest.mark.usefixtures("warm_processes")
def test_ctrl_c_does_not_wait_for_what_processes_and_tasks_are_at(tmp_path: Path, execution: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import asyncio, os, signal, threading, time
            from pathlib import Path
            from crystallize import Experiment, ExperimentGraph

            async def work(data, ctx):
                Path(ctx["mark"]).touch()
                await asyncio.sleep({10 * PATIENCE})
                return data

            def interrupt():
                while not (Path("a").exists() and Path("b").exists()):
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGINT)

            graph = ExperimentGraph(
                *(
                    Experiment(lambda: 0, [work], name=name, initial_ctx={{"mark": name}}, execution={execution!r})
                    for name in "ab"
                )
            )
            threading.Thread(target=interrupt).start()
            try:
                graph.run()
            except KeyboardInterrupt:
                print("interrupted")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "interrupted\n", done.stderr
