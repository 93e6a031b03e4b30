"""A context for trying a step by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crystallize import Artifact, Experiment, FrozenContext, pipeline_step, standalone_context
from crystallize.errors import InvalidTypeError, InvalidValueError


@pipeline_step()
def scale(data: list[float], ctx: FrozenContext, *, factor: float) -> Any:
    ctx.metrics.add("replicate", ctx["replicate"])
    return [x * factor for x in data], {"noise": ctx.rng.random()}


def test_a_step_is_tried_by_hand() -> None:
    ctx = standalone_context({"factor": 2.0}, replicate=3, condition="low")
    assert scale()([1.0], ctx)[0] == [2.0]
    assert ctx.metrics["replicate"] == [3]
    assert ctx["condition"] == "low"


def test_it_is_the_context_that_the_first_step_of_an_experiment_gets() -> None:
    result = Experiment(lambda: [1.0], [scale(factor=2.0)], seed=5).run(replicates=3)
    ctx = standalone_context(replicate=2, seed=5)
    _, metrics = scale(factor=2.0)([1.0], ctx)
    assert metrics["noise"] == result.metrics.baseline.metrics["noise"][2]


def test_it_is_the_baseline_of_replicate_0_with_seed_0_if_nothing_is_said() -> None:
    ctx = standalone_context()
    assert dict(ctx) == {"replicate": 0, "condition": "baseline"}
    assert ctx.rng.random() == standalone_context(seed=0).rng.random()


def test_artifacts_are_kept_in_memory_and_nothing_stays_on_disk() -> None:
    ctx = standalone_context()
    with ctx.in_force():
        Artifact("model.bin").write(b"123")
        with Artifact("table.csv").open("w") as file:
            file.write("1,2")
        with Artifact("plot.png").path() as path:
            path.write_bytes(b"456")
    assert ctx.artifacts.entries == [("model.bin", b"123"), ("table.csv", b"1,2"), ("plot.png", b"456")]
    assert not path.parent.exists()
    assert list(Path.cwd().iterdir()) == []


def test_the_mapping_that_is_passed_can_be_changed_afterwards() -> None:
    entries = {"factor": 1}
    ctx = standalone_context(entries)
    entries["factor"] = 2
    assert ctx["factor"] == 1


@pytest.mark.parametrize("key", ["replicate", "condition"])
def test_where_it_belongs_is_an_argument_and_no_entry(key: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"'{key}'.*standalone_context\({key}=...\)"):
        standalone_context({key: 3})


@pytest.mark.parametrize("wrong", [5, ["factor"], "factor"])
def test_entries_are_a_mapping(wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match="mapping"):
        standalone_context(wrong)


@pytest.mark.parametrize(
    ("seed", "kind"), [("x", InvalidTypeError), (True, InvalidTypeError), (-1, InvalidValueError)]
)
def test_the_seed_is_checked(seed: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="seed"):
        standalone_context(seed=seed)
