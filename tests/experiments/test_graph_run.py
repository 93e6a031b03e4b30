"""How the experiments of a graph run: at the same time, apart from each other's failures, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crystallize import (
    ArtifactPlugin,
    BasePlugin,
    Experiment,
    ExperimentGraph,
    LoggingPlugin,
    ParallelExecution,
    SeedPlugin,
    treatment,
)
from crystallize.errors import GraphRunError
from crystallize.experiments.run import RunCancelled

PATIENCE = 60


def meet(own: str, other: str) -> Callable[[Any], None]:
    """Return what leaves a marker and waits for that of another experiment."""

    def wait(ctx: Any) -> None:
        Path(own).touch()
        give_up = time.monotonic() + PATIENCE
        while not Path(other).exists():
            assert time.monotonic() < give_up, f"{other} never ran at the same time"
            time.sleep(0.002)

    return wait


def fail(ctx: Any) -> None:
    raise ValueError("broken on purpose")


def metadata(name: str, version: str = "v0") -> Any:
    return json.loads(Path("data", name, version, "metadata.json").read_text())


# -- at the same time --------------------------------------------------------------------------------------


def test_independent_experiments_run_at_the_same_time(node: Any) -> None:
    a, b = node("a", before=meet("a.is_here", "b.is_here")), node("b", before=meet("b.is_here", "a.is_here"))
    results = ExperimentGraph(b, a).run()
    assert list(results) == ["b", "a"]
    assert not any(result.errors for result in results.values())


def test_a_consumer_starts_while_another_branch_is_still_running(node: Any) -> None:
    slow = node("slow", before=meet("slow.is_here", "reader.is_here"))
    quick = node("quick")
    reader = node("reader", quick, before=meet("reader.is_here", "slow.is_here"))
    results = ExperimentGraph(slow, quick, reader).run()
    assert list(results) == ["slow", "quick", "reader"], "the order does not depend on who was first"


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_run_at_the_same_time_than_allowed(node: Any, most: int) -> None:
    lock, running, highest = threading.Lock(), [0], [0]

    def count(ctx: Any) -> None:
        with lock:
            running[0] += 1
            highest[0] = max(highest[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    ExperimentGraph(*(node(f"n{i}", before=count) for i in range(12)), max_concurrency=most).run()
    assert highest[0] <= most


def test_a_chain_runs_in_the_callers_thread(node: Any) -> None:
    threads: list[int] = []

    def note(ctx: Any) -> None:
        threads.append(threading.get_ident())

    a = node("a", before=note)
    ExperimentGraph(a, node("b", a, before=note)).run()
    assert set(threads) == {threading.get_ident()}


def test_no_thread_is_left(node: Any) -> None:
    ExperimentGraph(*(node(f"n{i}") for i in range(8))).run()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("crystallize-graph")]


def test_experiments_may_share_plugin_objects(node: Any) -> None:
    plugins = [ArtifactPlugin("shared", versioned=True), LoggingPlugin(), SeedPlugin(seed=3)]
    graph = ExperimentGraph(*(node(f"n{i}", plugins=plugins, seed=None) for i in range(40)))
    for version in range(3):
        graph.run()
        assert len(list(Path("shared").glob(f"*/v{version}/replicate_0/baseline/*/out.json"))) == 40


def test_experiments_with_processes_and_async_steps_run_in_one_graph(node: Any) -> None:
    async def wait(data: Any) -> Any:
        await asyncio.sleep(0)
        return data, {"read": len(data)}

    parents = [node(f"p{i}", replicates=4, execution="process") for i in range(2)]
    readers = [
        Experiment(parent.outputs["out"], [wait], name=f"r{i}", execution=execution)
        for i, (parent, execution) in enumerate(zip(parents, ("async", "thread"), strict=True))
    ]
    results = ExperimentGraph(*parents, *readers).run()
    assert results["r0"].metrics.baseline.metrics["read"] == [6] * 4
    assert results["r1"].replicates == 4


# -- failures ----------------------------------------------------------------------------------------------


def test_a_failure_stops_only_what_depends_on_it(node: Any, caplog: Any) -> None:
    a, broken = node("a"), node("broken", before=fail, replicates=2)
    below, further = node("below", broken), None
    further = node("further", below, a)
    beside = node("beside", a)
    broken.source = Path("experiments/broken/config.yaml")
    graph = ExperimentGraph(a, broken, below, further, beside)
    with pytest.raises(GraphRunError) as caught:
        graph.run(replicates=2)
    error = caught.value
    assert list(error.results) == ["a", "broken", "beside"], "a failed run has a result too"
    assert set(error.failed) == {"broken"}
    assert "every outcome of condition 'baseline' failed" in error.failed["broken"]
    assert error.skipped == {"below": "broken", "further": "broken"}
    for told in (
        "1 of 5 experiments failed",
        "ValueError: broken on purpose",
        "'below' (depends on 'broken')",
        str(broken.source),
    ):
        assert told in str(error)
    assert not Path("data/below").exists()
    told = [record.getMessage() for record in caplog.records if record.name == "crystallize.graph"]
    assert any("left out, because they depend on it: 'below', 'further'" in line for line in told)


def test_a_run_that_raises_fails_its_experiment_and_is_the_errors_cause(node: Any) -> None:
    class Broken(BasePlugin):
        def before_run(self, experiment: Any) -> None:
            raise OSError("no space")

    graph = ExperimentGraph(node("a", plugins=[Broken()]), node("b"))
    with pytest.raises(GraphRunError, match="'a': PluginError: .*no space") as caught:
        graph.run()
    assert list(caught.value.results) == ["b"]
    assert caught.value.__cause__ is not None


def test_a_condition_that_fails_everywhere_fails_its_experiment(node: Any) -> None:
    def only_hot(ctx: Any) -> None:
        if ctx["condition"] == "hot":
            fail(ctx)

    a = node("a", before=only_hot, treatments=[treatment("hot", {}), treatment("cold", {})], replicates=2)
    graph = ExperimentGraph(a, node("b", a))
    with pytest.raises(GraphRunError, match="every outcome of condition 'hot' failed"):
        graph.run()
    assert set(graph.run(treatments=["cold"])) == {"a", "b"}


def test_some_failed_outcomes_are_no_failed_experiment(node: Any) -> None:
    def first_only(ctx: Any) -> None:
        if ctx["replicate"] == 0:
            fail(ctx)

    a = node("a", before=first_only, replicates=3)
    results = ExperimentGraph(a, node("b", a)).run()
    assert [len(result.errors) for result in results.values()] == [1, 1], "its consumer lacks what was not written"


def test_the_graph_can_run_again_after_a_failure(node: Any) -> None:
    broken = [True]
    a = node("a", before=lambda ctx: fail(ctx) if broken[0] else None)
    graph = ExperimentGraph(a, node("b", a))
    with pytest.raises(GraphRunError):
        graph.run()
    broken[0] = False
    assert list(graph.run()) == ["a", "b"]


# -- stopping ----------------------------------------------------------------------------------------------


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
            (stored,) = (folder / "data" / name).glob(".v0.*/metadata.json")
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


# -- random state ------------------------------------------------------------------------------------------


def warnings_in(caplog: Any) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "crystallize.graph" and record.levelno == logging.WARNING
    ]


def test_experiments_that_share_random_state_are_warned_of_once(node: Any, caplog: Any) -> None:
    graph = ExperimentGraph(node("a"), node("b"), node("c"))
    graph.run()
    graph.run()
    (warning,) = warnings_in(caplog)
    assert "ctx.rng" in warning
    assert "max_concurrency=1" in warning
    assert 'execution="process"' in warning


def test_there_is_no_warning_where_nothing_is_shared(node: Any, caplog: Any) -> None:
    a = node("a")
    ExperimentGraph(a, node("b", a)).run()
    ExperimentGraph(node("a"), node("b"), max_concurrency=1).run()
    ExperimentGraph(*(node(name, disable_plugins=["seed"], seed=None) for name in "ab")).run()
    ExperimentGraph(node("a"), node("b", plugins=[ParallelExecution(1, "process")])).run()
    assert warnings_in(caplog) == []


# -- what was read -----------------------------------------------------------------------------------------


def test_the_metadata_name_the_runs_that_were_read(node: Any) -> None:
    a, b = node("a", plugins=[ArtifactPlugin(versioned=True)]), node("b")
    graph = ExperimentGraph(a, b, node("c", a, b))
    graph.run()
    graph.run()
    assert metadata("c")["inputs"] == [
        {"experiment": "a", "artifact": "out.json", "version": "v1", "started": metadata("a", "v1")["started"]},
        {"experiment": "b", "artifact": "out.json", "version": "v0", "started": metadata("b")["started"]},
    ]


def test_two_graphs_at_once_each_read_one_version_from_start_to_end(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from crystallize import Artifact, ArtifactPlugin, Experiment, ExperimentGraph, pipeline_step

            seed = int(sys.argv[1])

            @pipeline_step()
            def produce(data, *, out: Artifact):
                out.write({"seed": seed})
                return data

            @pipeline_step()
            def consume(data, *, seen: Artifact):
                time.sleep(0.002)
                seen.write(data)
                return data

            out, seen = Artifact("out.json", loader="json"), Artifact("seen.json", loader="json")
            versioned = lambda: [ArtifactPlugin(versioned=True)]
            producer = Experiment(
                lambda: 0, [produce(out=out)], name="producer", outputs=[out], plugins=versioned(), replicates=20
            )
            consumer = Experiment(out, [consume(seen=seen)], name="consumer", outputs=[seen], plugins=versioned())
            graph = ExperimentGraph(producer, consumer)
            for _ in range(5):
                graph.run()
            """
        )
    )
    runs = [
        subprocess.Popen([sys.executable, str(script), str(seed)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for seed in (1, 2)
    ]
    for run in runs:
        _, said = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0, said
    stored = tmp_path / "data"
    versions = list((stored / "consumer").glob("v*"))
    assert len(versions) == 10
    for version in versions:
        (read,) = json.loads((version / "metadata.json").read_text())["inputs"]
        folder = stored / "producer" / read["version"]
        assert json.loads((folder / "metadata.json").read_text())["started"] == read["started"]
        (expected,) = {path.read_text() for path in folder.rglob("out.json")}
        assert {path.read_text() for path in version.rglob("seen.json")} == {expected}


def test_the_producers_version_is_pinned_when_the_consumers_run_starts(node: Any) -> None:
    a = node("a", plugins=[ArtifactPlugin(versioned=True)], replicates=3)
    again = node("a", plugins=[ArtifactPlugin(versioned=True)], replicates=3, seed=2)

    def run_producer_again(ctx: Any) -> None:
        if ctx["replicate"] == 0:
            again.run()

    b = node("b", a, before=run_producer_again)
    result = ExperimentGraph(a, b).run()["b"]
    assert result.path is not None
    read = [json.loads(path.read_text())["read"]["a"]["number"] for path in sorted(result.path.rglob("out.json"))]
    first = [json.loads(path.read_text())["number"] for path in sorted(Path("data/a/v0").rglob("out.json"))]
    assert read == first
    assert metadata("b")["inputs"][0]["version"] == "v0"
    assert Path("data/a/v1").is_dir()
