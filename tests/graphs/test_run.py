"""How the experiments of a graph run: at the same time, apart from each other's failures."""

from __future__ import annotations

import asyncio
import logging
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
    with pytest.raises(GraphRunError, match=r"'a': plugin .*no space") as caught:
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
    assert [len(result.errors) for result in results.values()] == [1, 1], (
        "its consumer lacks what was not written"
    )


def test_the_graph_can_run_again_after_a_failure(node: Any) -> None:
    broken = [True]
    a = node("a", before=lambda ctx: fail(ctx) if broken[0] else None)
    graph = ExperimentGraph(a, node("b", a))
    with pytest.raises(GraphRunError):
        graph.run()
    broken[0] = False
    assert list(graph.run()) == ["a", "b"]


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
