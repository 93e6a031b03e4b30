"""Using an experiment for inference: one pass through the pipeline, with all hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crystallize import (
    Artifact,
    BasePlugin,
    Experiment,
    PipelineStep,
    SeedPlugin,
    pipeline_step,
    treatment,
)
from crystallize.errors import InvalidValueError, UnknownNameError


@pipeline_step()
def scale(data: dict[str, list[int]], *, factor: int = 1) -> list[int]:
    return [number * factor for number in data["numbers"]]


best = treatment("best", {"factor": 10})


def experiment(**changes: Any) -> Experiment:
    arguments: dict[str, Any] = {"name": "serving", "treatments": [best], "seed": 4}
    return Experiment(lambda: {"numbers": [1, 2]}, [scale], **{**arguments, **changes})


def test_apply_returns_the_last_steps_data() -> None:
    assert experiment().apply() == [1, 2]
    assert experiment().apply(treatment=best) == [10, 20]
    assert experiment().apply("best") == [10, 20]


def test_data_takes_the_place_of_the_data_source() -> None:
    def unreachable() -> Any:
        raise AssertionError("the data source was asked")

    one = Experiment(unreachable, [scale], treatments=[best])
    assert one.apply(treatment=best, data={"numbers": [10, 20, 30]}) == [100, 200, 300]
    assert Experiment(unreachable, [lambda data: data]).apply(data=None) is None


def test_metrics_returned_with_the_data_are_taken_apart() -> None:
    assert Experiment(lambda: 3, [lambda data: (data + 1, {"m": 1})]).apply() == 4


def test_async_steps_are_awaited() -> None:
    async def double(data: int) -> int:
        return data * 2

    assert Experiment(lambda: 3, [double]).apply() == 6


def test_the_seed_takes_the_place_of_the_master_seed() -> None:
    seeds: list[int] = []
    one = Experiment(
        lambda: 0,
        [lambda data, ctx: (float(ctx.rng.random()), ctx["seed_used"])],
        plugins=[SeedPlugin(seed=1, seed_fn=seeds.append)],
    )
    first, again, own = one.apply(seed=999), one.apply(seed=999), one.apply()
    assert first == again
    assert first[1] == 999
    assert own[1] == 1
    assert own[0] != first[0]
    assert seeds == [999, 999, 1]
    assert one.master_seed == 1
    with pytest.raises(InvalidValueError, match="-1"):
        one.apply(seed=-1)


def test_all_hooks_are_called_once() -> None:
    calls: list[str] = []

    class Notes(BasePlugin):
        def before_run(self, experiment: Any) -> None:
            calls.append("before_run")

        def before_replicate(self, ctx: Any) -> None:
            calls.append(f"before_replicate {ctx['condition']}")

        def before_step(self, step: Any) -> None:
            calls.append(f"before_step {step.name}")

        def after_step(self, data: Any) -> None:
            calls.append(f"after_step {data}")

        def after_replicate(self, result: Any) -> None:
            calls.append(f"after_replicate {result.replicate}")

        def after_run(self, result: Any) -> None:
            calls.append(f"after_run {result.conditions}")

    experiment(plugins=[Notes()]).apply("best")
    assert calls == [
        "before_run",
        "before_replicate best",
        "before_step ScaleStep",
        "after_step [10, 20]",
        "after_replicate 0",
        "after_run ('baseline', 'best')",
    ]


def test_plugins_are_told_which_replicate_it_was() -> None:
    class Notes(BasePlugin):
        def after_step(self, ctx: Any) -> None:
            ctx.hand_back(self, ctx["replicate"])

        def after_replicate(self, experiment: Any, result: Any) -> None:
            self.number, self.handed_back = result.replicate, experiment.handed_back(self)

        def after_run(self, result: Any) -> None:
            self.result = result

    notes = Notes()
    experiment(plugins=[notes]).apply("best", replicate=17)
    assert notes.number == 17
    assert notes.handed_back == [(17, "best", 17)]
    assert notes.result.provenance.of("best", 17)["steps"]
    assert notes.result.arrived == 1


def test_an_error_of_a_step_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError, match="numbers"):
        experiment().apply(data={})
    assert experiment().apply() == [1, 2]


def test_stored_runs_stay_as_they_are_and_artifacts_go_elsewhere() -> None:
    class Save(PipelineStep):
        def __init__(self, out: Artifact) -> None:
            self.out = out

        def __call__(self, data: Any, ctx: Any) -> Any:
            self.out.write(str(data))
            return data

    out = Artifact("model.txt")
    one = Experiment(lambda: 1, [Save(out)], outputs=[out], name="saved", treatments=[treatment("best", {})])
    one.run(replicates=2)
    before = {path: path.read_bytes() for path in Path("data/saved/v0").rglob("*") if path.is_file()}
    one.apply("best", data=5)
    assert {path: path.read_bytes() for path in Path("data/saved/v0").rglob("*") if path.is_file()} == before
    assert Path("data/saved/apply/best/Save/model.txt").read_text() == "5"


def test_an_unknown_treatment_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'bset'.*'best'"):
        experiment().apply("bset")
