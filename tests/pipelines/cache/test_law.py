"""The law of the step cache: with it off, cold, warm, and warm but damaged, an experiment gives the same.

Hypothesis draws pipelines of steps that do whatever a step can do to its data and its context.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystallize import (
    Artifact,
    BasePlugin,
    Experiment,
    FrozenContext,
    Pipeline,
    PipelineStep,
    Treatment,
    pipeline_step,
)
from crystallize.testing import HookRecorder

# -- steps: each takes and gives a dictionary with a number `x` and an array -----------------------------------


@pipeline_step(cacheable=True)
def injected(data: Any, *, factor: float = 1.0) -> Any:
    return {**data, "x": data["x"] * factor}, {"x": data["x"] * factor}


@pipeline_step(cacheable=True)
def gets(data: Any, ctx: FrozenContext) -> Any:
    return {**data, "x": data["x"] + ctx.get("factor", 5.0) + ctx.get("late", 0.0)}


@pipeline_step(cacheable=True)
def takes_one_of_two_ways(data: Any, ctx: FrozenContext) -> Any:
    if ctx.get("factor", 1.0) > 1.5:
        return {**data, "x": data["x"] + ctx["table"]["a"]}
    return {**data, "x": data["x"] - ctx.get("other", 2.0)}


@pipeline_step(cacheable=True)
def asks_what_is_there(data: Any, ctx: FrozenContext) -> Any:
    ctx.metrics.add("keys", len([key for key in ctx if key != "step_name"]))
    return {**data, "x": data["x"] + ("factor" in ctx) + 2 * ("late" in ctx)}


@pipeline_step(cacheable=True)
def knows_the_replicate(data: Any, ctx: FrozenContext) -> Any:
    return {**data, "x": data["x"] + ctx["replicate"]}, {"condition": len(ctx["condition"])}


@pipeline_step(cacheable=True)
def adds_a_key(data: Any, ctx: FrozenContext) -> Any:
    if "late" not in ctx:
        ctx.add("late", data["x"] + 0.5)
    return {**data, "x": ctx["late"]}


@pipeline_step(cacheable=True)
def records(data: Any, ctx: FrozenContext) -> Any:
    ctx.record("loss", data["x"], tags={"fold": 1})
    ctx.metrics.add("loss", data["x"] / 2)
    ctx.record("curve", data["array"][:2], tags={"epoch": 3})
    return data, {"loss": -0.0}


@pipeline_step(cacheable=True)
def looks_at_metrics(data: Any, ctx: FrozenContext) -> Any:
    return {
        **data,
        "x": data["x"] + sum(values[-1] for name, values in ctx.metrics.items() if name != "curve"),
    }


@pipeline_step(cacheable=True)
def looks_at_artifacts(data: Any, ctx: FrozenContext) -> Any:
    return {**data, "x": data["x"] + sum(int(each.digest[-3:], 16) for each in ctx.artifacts.entries)}


@pipeline_step(cacheable=True)
def counts_the_keys(data: Any, ctx: FrozenContext) -> Any:
    return {**data, "x": data["x"] + len(ctx)}


@pipeline_step(cacheable=True)
def draws(data: Any, ctx: FrozenContext) -> Any:
    return {**data, "x": data["x"] + float(ctx.rng.normal())}, {
        "drawn": float(ctx.rng.random(dtype=np.float32))
    }


@pipeline_step(cacheable=True)
def has_a_pipeline_inside(data: Any, ctx: FrozenContext) -> Any:
    return Pipeline([draws, runs_one_more]).run(data, ctx)


@pipeline_step()
def runs_one_more(data: Any, ctx: FrozenContext) -> Any:
    return Pipeline([draws]).run(data, ctx)


@pipeline_step(cacheable=True)
def draws_from_a_shared_stream(data: Any, ctx: FrozenContext) -> Any:
    stream = ctx.stream("noise")
    child = stream.spawn(1)[0]
    return {**data, "x": data["x"] + float(stream.random())}, {"child": float(child.random())}


@pipeline_step(cacheable=True)
def draws_from_global_generators(data: Any) -> Any:
    return {**data, "x": data["x"] + random.random() + float(np.random.random())}


@pipeline_step()
def is_not_cached(data: Any, ctx: FrozenContext) -> Any:
    return data, {"stream": float(ctx.stream("noise").random())}


@pipeline_step()
def draws_from_a_global_generator_uncached(data: Any) -> Any:
    return data, {"global": random.random()}


@pipeline_step(cacheable=True)
def writes(data: Any, ctx: FrozenContext) -> Any:
    ctx.artifacts.write("plain.txt", str(data["x"]).encode())
    with ctx.artifacts.open("opened.bin") as file:
        file.write(data["array"].tobytes())
    with ctx.artifacts.path("path.bin") as path:
        path.write_bytes(b"path")
    return data


@pipeline_step(cacheable=True)
def writes_an_output(data: Any, ctx: FrozenContext, *, report: Artifact) -> Any:
    report.write(f"{data['x']:.6f}".encode())
    return data


@pipeline_step(cacheable=True)
def fails_now_and_then(data: Any) -> Any:
    if int(data["x"]) % 2:
        raise ValueError(f"odd: {data['x']}")
    return data


@pipeline_step(cacheable=True)
def changes_its_input(data: Any) -> Any:
    data["array"] += 1
    return data


@pipeline_step(cacheable=True)
def wraps_its_input(data: Any) -> Any:
    return {**data, "before": data, "array": data["array"]}


@pipeline_step()
def changes_what_it_gets(data: Any) -> Any:
    data["array"][0] += 1
    return data, {"first": float(data["array"][0]), "shared": float(data.get("before", data)["array"][0])}


@pipeline_step(cacheable=True)
def gives_it_back(data: Any) -> Any:
    return data


@pipeline_step(cacheable=True)
def cannot_be_kept(data: Any) -> Any:
    return {**data, "function": (each for each in range(3))}


@pipeline_step()
def drops_what_cannot_be_kept(data: Any) -> Any:
    return {"x": data["x"], "array": data["array"]}, {"items": len(list(data.get("function", ())))}


@pipeline_step(cacheable=True)
async def is_async(data: Any, ctx: FrozenContext) -> Any:
    return {**data, "x": data["x"] * 2 + ctx.get("factor", 0.0)}, {"async": data["x"]}


class Keeps(PipelineStep):
    cacheable = True

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        return {**data, "x": data["x"] ** 2 % 1000}, {"power": self.power}


@pipeline_step()
def reads_every_setting(data: Any, ctx: FrozenContext) -> Any:
    return data, {"settings": ctx.get("factor", 0.0) + ctx["table"]["a"]}


STEPS: list[Callable[[], Any]] = [
    injected,
    lambda: injected(factor=3.0),
    gets,
    takes_one_of_two_ways,
    asks_what_is_there,
    knows_the_replicate,
    adds_a_key,
    records,
    looks_at_metrics,
    looks_at_artifacts,
    counts_the_keys,
    draws,
    draws_from_a_shared_stream,
    has_a_pipeline_inside,
    runs_one_more,
    is_not_cached,
    writes,
    writes_an_output,
    fails_now_and_then,
    changes_its_input,
    wraps_its_input,
    changes_what_it_gets,
    gives_it_back,
    cannot_be_kept,
    drops_what_cannot_be_kept,
    is_async,
    Keeps,
]
ALONE = [draws_from_global_generators, draws_from_a_global_generator_uncached]
"""What is reproducible only where replicates do not share a process."""


def fetch(ctx: FrozenContext) -> Any:
    return {"x": float(ctx["replicate"] % 2), "array": np.arange(4.0)}


# -- the law ---------------------------------------------------------------------------------------------------


class Saboteur(BasePlugin):
    """Watches the steps begin without getting their data, and damages entries before some of them, if it is to.

    An output that was left unread may be gone by the time that somebody needs it.
    """

    affects_outcomes = False

    def __init__(self, choose: random.Random | None) -> None:
        self.choose = choose
        self.calls: list[str] = []

    def before_step(self, experiment: Any, step: Any, ctx: FrozenContext) -> None:
        self.calls.append(ctx.place())
        if self.choose is not None and self.choose.random() < 0.4:
            damage(Path(".cache"), self.choose)


class Everything:
    """All that a run gives that somebody could notice."""

    def __init__(
        self,
        steps: list[int],
        execution: Any,
        cache: Any,
        *,
        with_hooks: bool,
        sabotage: random.Random | None = None,
    ) -> None:
        saboteur = Saboteur(sabotage)
        recorder = HookRecorder()
        every = STEPS + ALONE
        experiment = Experiment(
            fetch,
            [*([] if with_hooks else [reads_every_setting]), *(every[number]() for number in steps)],
            name="drawn",
            seed=5,
            plugins=[recorder] if with_hooks else [saboteur],
            execution=execution,
            outputs={"report": Artifact("report.txt")},
            initial_ctx={"table": {"a": 7.0}},
            treatments=[Treatment("double", {"factor": 2.0}), Treatment("single", {"factor": 1.0})],
            replicates=3,
            cache=cache,
        )
        self.result = experiment.run()
        self.parts = {
            "metrics": [
                repr((self.result.condition(name).metrics, self.result.condition(name).tags))
                for name in self.result.conditions
            ],
            "seeds": [list(self.result.condition(name).seeds) for name in self.result.conditions],
            "errors": [error._replace(traceback="") for error in self.result.errors],
            "provenance": [
                str(self.result.provenance.of(condition, replicate))
                for replicate in range(3)
                for condition in self.result.conditions
            ],
            "artifacts": [(entry.path, entry.digest) for entry in self.result.artifacts],
            "files": {
                str(entry.path): (self.result.path / entry.path).read_bytes()
                for entry in self.result.artifacts
            },
            "calls": (recorder.calls, saboteur.calls),
        }


def damage(folder: Path, choose: random.Random) -> None:
    """Damage about half of the entries, each in one of several ways."""
    for path in sorted(folder.rglob("*.pkl")):
        if choose.random() < 0.5:
            continue
        content = path.read_bytes() or b"."
        at = choose.randrange(len(content))
        damaged = [
            content[:-1] + bytes([content[-1] ^ 1]),  # of the output
            content[:at],
            content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
            b"",
            b"something else",
            content + b"more",
        ]
        path.write_bytes(choose.choice(damaged))


def check(
    steps: list[int],
    strategies: list[Any],
    folder: Path,
    *,
    with_hooks: bool = True,
    states: tuple[str, ...] = ("cold", "warm", "damaged", "warm"),
) -> None:
    """Run without a cache, and then with one in each of its states, and compare."""
    expected = Everything(steps, strategies[0], False, with_hooks=with_hooks).parts
    for number, state in enumerate(states):
        if state == "damaged":
            damage(folder / ".cache", random.Random(number))
        execution = strategies[number % len(strategies)]
        sabotage = random.Random(number) if state == "damaged meanwhile" else None
        found = Everything(steps, execution, True, with_hooks=with_hooks, sabotage=sabotage).parts
        for part, value in expected.items():
            assert found[part] == value, f"{part} with the cache {state}, under {execution}"


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Return a function that goes to a new folder."""

    def go() -> Path:
        folder = tmp_path_factory.mktemp("law")
        monkeypatch.chdir(folder)
        return folder

    return go


TOGETHER = [
    [draws_from_a_shared_stream, draws_from_a_shared_stream],
    [draws_from_a_shared_stream, is_not_cached, draws_from_a_shared_stream],
    [is_not_cached, has_a_pipeline_inside, runs_one_more],
    [is_not_cached, looks_at_metrics],
    [adds_a_key, asks_what_is_there, gets, takes_one_of_two_ways],
    [wraps_its_input, changes_what_it_gets, gives_it_back],
    [draws_from_global_generators, draws_from_a_global_generator_uncached],
    [writes, writes],
    [gives_it_back, changes_what_it_gets, gives_it_back, injected],
]
"""Steps that have to do with each other."""


def test_nobody_can_tell_it_of_any_step_alone_nor_of_those_that_meet(fresh: Callable[[], Path]) -> None:
    every = STEPS + ALONE
    for steps in [*([each] for each in every), *TOGETHER]:
        check([every.index(each) for each in steps], ["serial"], fresh())


UNREAD = ("cold", "damaged", "damaged meanwhile", "damaged meanwhile", "warm")


def test_nobody_can_tell_it_where_the_output_of_a_step_is_not_read_for_the_next_one(
    fresh: Callable[[], Path],
) -> None:
    chains = [
        [gives_it_back, wraps_its_input, injected, gets],
        [injected, draws, writes, draws_from_a_shared_stream, records, gives_it_back, is_not_cached],
        [
            injected,
            takes_one_of_two_ways,
            is_async,
            counts_the_keys,
            changes_what_it_gets,
            knows_the_replicate,
        ],
        [wraps_its_input, looks_at_metrics, adds_a_key, asks_what_is_there, draws, fails_now_and_then],
    ]
    for steps in [*chains, *TOGETHER]:
        numbers = [(STEPS + ALONE).index(each) for each in steps]
        check(numbers, ["serial"], fresh(), with_hooks=False, states=UNREAD)


LAW = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@LAW
@given(steps=st.lists(st.integers(0, len(STEPS) + len(ALONE) - 1), min_size=1, max_size=5))
def test_nobody_can_tell_whether_the_cache_is_on(steps: list[int], fresh: Callable[[], Path]) -> None:
    check(steps, ["serial"], fresh())


@settings(LAW, max_examples=5)
@given(steps=st.lists(st.integers(0, len(STEPS) + len(ALONE) - 1), min_size=3, max_size=7))
def test_nobody_can_tell_which_outputs_were_read(steps: list[int], fresh: Callable[[], Path]) -> None:
    check(steps, ["serial"], fresh(), with_hooks=False, states=UNREAD)


@settings(LAW, max_examples=4)
@given(steps=st.lists(st.integers(0, len(STEPS) - 1), min_size=2, max_size=5))
def test_nobody_can_tell_it_under_any_execution_strategy(steps: list[int], fresh: Callable[[], Path]) -> None:
    check(steps, ["serial", {"strategy": "thread", "max_workers": 3}, "async", "serial"], fresh())


@settings(LAW, max_examples=2)
@given(steps=st.lists(st.integers(0, len(STEPS) - 1), min_size=3, max_size=6))
def test_nobody_can_tell_it_in_worker_processes(steps: list[int], fresh: Callable[[], Path]) -> None:
    check(steps, ["serial", {"strategy": "process", "max_workers": 2}, "serial", "process"], fresh())
