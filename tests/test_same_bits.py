"""The law that a number can be trusted by: how an experiment is driven changes nothing in what it gives.

Hypothesis draws experiments; each is run under every execution strategy, and results, files on disk, errors
and provenance are compared byte for byte with those of the serial run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize import (
    Artifact,
    ArtifactPlugin,
    AsyncExecution,
    Experiment,
    ParallelExecution,
    PipelineStep,
    SerialExecution,
    Treatment,
)

STRATEGIES: dict[str, Any] = {
    "thread-2": lambda: ParallelExecution(2, "thread"),
    "thread-7": lambda: ParallelExecution(7, "thread"),
    "process-2": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
    "async-3": lambda: AsyncExecution(max_concurrency=3),
}
"""Those of one worker run replicates in order, as the serial one does: their contract tests compare the bytes."""


@dataclass(frozen=True)
class StepPlan:
    """What one step of a drawn experiment does."""

    draws: int
    stream: str | None
    metric: bool
    writes: str | None
    fails_at: frozenset[int]
    is_async: bool


@dataclass(frozen=True)
class Plan:
    """A drawn experiment."""

    seed: int
    replicates: int
    treatments: tuple[float, ...]
    steps: tuple[StepPlan, ...] = field(default=())


class DrawnStep(PipelineStep):
    """Draws random numbers, records metrics, writes artifacts and fails, as its plan says."""

    def __init__(self, number: int, plan: StepPlan) -> None:
        self.number = number
        self.plan = plan
        self.artifact = Artifact(f"part-{number}.json")

    @property
    def params(self) -> dict[str, Any]:
        return {"number": self.number}

    def __call__(self, data: list[float], ctx: Any) -> Any:
        plan = self.plan
        drawn = ctx.rng.normal(size=plan.draws).tolist()
        if plan.stream is not None:
            drawn.append(float(ctx.stream(plan.stream).random()))
        data = [*data, *(value * ctx.get("scale", 1.0) for value in drawn)]
        if plan.metric:
            ctx.metrics.add(f"sum {self.number}", sum(data))
            ctx.record("size", len(data), tags={"step": self.number})
        if plan.writes == "write":
            self.artifact.write(json.dumps(data).encode())
        elif plan.writes == "open":
            with self.artifact.open("w") as file:
                json.dump(data, file)
                self._fail_as_planned(ctx)
        elif plan.writes == "path":
            with self.artifact.path() as path:
                path.write_text(json.dumps(data))
                self._fail_as_planned(ctx)
        self._fail_as_planned(ctx)
        return data

    def _fail_as_planned(self, ctx: Any) -> None:
        if ctx["replicate"] in self.plan.fails_at and ctx["condition"] != "baseline":
            raise ValueError(f"replicate {ctx['replicate']} fails in step {self.number}")


class AsyncDrawnStep(DrawnStep):
    """The same, with a turn of the event loop before it."""

    async def __call__(self, data: list[float], ctx: Any) -> Any:
        import asyncio

        await asyncio.sleep(0)
        return super().__call__(data, ctx)


def fetch(ctx: Any) -> list[float]:
    return ctx.rng.random(2).tolist()


step_plans = st.builds(
    StepPlan,
    draws=st.integers(0, 5),
    stream=st.sampled_from([None, "noise", "split"]),
    metric=st.booleans(),
    writes=st.sampled_from([None, "write", "open", "path"]),
    fails_at=st.frozensets(st.integers(0, 11), max_size=3),
    is_async=st.booleans(),
)
plans = st.builds(
    Plan,
    seed=st.integers(0, 2**40),
    replicates=st.integers(1, 12),
    treatments=st.lists(st.sampled_from([0.5, 2.0, 3.0]), unique=True, max_size=3).map(tuple),
    steps=st.lists(step_plans, min_size=1, max_size=4).map(tuple),
)


def build(plan: Plan, strategy: Any, root: Path) -> Experiment:
    steps = [
        (AsyncDrawnStep if step.is_async else DrawnStep)(number, step)
        for number, step in enumerate(plan.steps)
    ]
    return Experiment(
        fetch,
        steps,
        name="drawn",
        treatments=[Treatment(f"times {scale}", {"scale": scale}) for scale in plan.treatments],
        outputs=[step.artifact for step in steps],
        plugins=[ArtifactPlugin(root_dir=root), strategy],
        seed=plan.seed,
        replicates=plan.replicates,
    )


def everything(experiment: Experiment, root: Path) -> dict[str, str]:
    """Run the experiment; return all that it gave, in memory and on disk."""
    result = experiment.run()
    found = {
        "result": result.to_json(),
        "provenance": json.dumps(list(result.provenance), default=repr),
        "frame": result.to_frame().to_csv(),
        "summary": str(result.summary()),
    }
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        if path.name not in ("metadata.json", "journal.jsonl"):  # these hold times, and what came when
            found[path.relative_to(root).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@settings(max_examples=12, deadline=None, derandomize=True)
@given(plan=plans)
def test_every_strategy_gives_the_bytes_of_the_serial_run(
    plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("drawn")
    serial = everything(build(plan, SerialExecution(), folder / "serial"), folder / "serial")
    for name, strategy in STRATEGIES.items():
        found = everything(build(plan, strategy(), folder / name), folder / name)
        assert found == serial, f"under {name}"


def test_the_law_sees_metrics_artifacts_errors_and_seeds(tmp_path: Path) -> None:
    """A comparison of nothing with nothing would hold too."""
    plan = Plan(
        seed=7,
        replicates=3,
        treatments=(2.0,),
        steps=tuple(
            StepPlan(2, "noise", metric=True, writes=how, fails_at=frozenset({fails_at}), is_async=False)
            for how, fails_at in (("write", 0), ("path", 1), ("open", 2))
        ),
    )
    found = everything(build(plan, SerialExecution(), tmp_path), tmp_path)
    result = json.loads(found["result"])
    assert len(result["conditions"]["baseline"]["metrics"]["sum 0"]) == 3
    assert [error["replicate"] for error in result["conditions"]["times 2.0"]["errors"]] == [0, 1, 2]
    written = [name for name in found if "times 2.0/DrawnStep" in name]
    assert written == [  # each file that was whole when its step failed, or before
        "drawn/v0/replicate_0/times 2.0/DrawnStep/part-0.json",
        "drawn/v0/replicate_1/times 2.0/DrawnStep/part-0.json",
        "drawn/v0/replicate_2/times 2.0/DrawnStep/part-0.json",
        "drawn/v0/replicate_2/times 2.0/DrawnStep-2/part-1.json",
    ]
    assert len(result["artifacts"]) == 9 + len(written)
    other_seed = build(Plan(8, 3, (2.0,), plan.steps), SerialExecution(), tmp_path / "other")
    assert everything(other_seed, tmp_path / "other")["result"] != found["result"]


def test_globally_seeded_randomness_is_the_same_in_processes_too(tmp_path: Path) -> None:
    import random

    import numpy as np

    def draw(data: Any, given: Any) -> Any:
        import random

        import numpy as np

        drawn = {"python": random.random(), "numpy": float(np.random.random())}
        return data, drawn | {"given": float(given(0, 1))}

    def run(strategy: Any, root: Path) -> str:
        experiment = Experiment(
            lambda: 0,
            [draw],
            name="global",
            seed=5,
            initial_ctx={"given": np.random.normal},
            treatments=[Treatment("python's", {"given": random.gauss})],
            plugins=[ArtifactPlugin(root_dir=root), strategy],
        )
        return experiment.run(replicates=9).to_json()

    serial = run(SerialExecution(), tmp_path / "serial")
    assert run(ParallelExecution(2, "process"), tmp_path / "process") == serial


@pytest.mark.parametrize("order", ["reversed", "odd first"])
def test_the_order_of_arrival_leaves_no_trace(order: str, tmp_path: Path) -> None:
    from crystallize import BasePlugin

    class OutOfOrder(BasePlugin):
        def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
            replicates = list(range(experiment.replicates))
            arrival = (
                replicates[::-1] if order == "reversed" else sorted(replicates, key=lambda r: (r % 2 == 0, r))
            )
            results = {replicate: experiment.replicate_done(replicate_fn(replicate)) for replicate in arrival}
            return [results[replicate] for replicate in replicates]

    steps = (
        StepPlan(2, "noise", metric=True, writes="write", fails_at=frozenset({0, 3}), is_async=False),
        StepPlan(0, None, metric=True, writes=None, fails_at=frozenset({1}), is_async=True),
    )
    plan = Plan(seed=3, replicates=6, treatments=(0.5, 2.0), steps=steps)
    serial = everything(build(plan, SerialExecution(), tmp_path / "serial"), tmp_path / "serial")
    assert everything(build(plan, OutOfOrder(), tmp_path / "other"), tmp_path / "other") == serial
