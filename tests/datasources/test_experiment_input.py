from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from crystallize import (
    Artifact,
    DataSource,
    Experiment,
    ExperimentInput,
    data_source,
    grid,
    open_run,
    precise,
)
from crystallize.datasources.datasource import chosen_runs
from crystallize.errors import (
    ArtifactNotFoundError,
    InvalidTypeError,
    NewerSchemaError,
    ReplicateMismatchError,
)
from crystallize.utils.context import FrozenContext


def producer(name: str, out: Artifact | None = None) -> Experiment:
    def produce(data: Any, ctx: Any) -> Any:
        content = f"{name} {ctx['replicate']}"
        if out is None:
            ctx.artifacts.write("data.txt", content.encode())
        else:
            out.write(content)
        return data

    return Experiment(lambda: None, [produce], name=name, outputs=[] if out is None else [out])


def source_of(name: str) -> Any:
    return producer(name).artifact_datasource(step="ProduceStep", name="data.txt")


def context(replicate: int = 0) -> FrozenContext:
    return FrozenContext(replicate=replicate, condition="baseline")


class Numbers(DataSource):
    def fetch(self, ctx: FrozenContext) -> list[int]:
        return [ctx["replicate"]]


def test_the_pipeline_gets_a_dictionary_by_alias() -> None:
    @data_source
    def constant(ctx: Any, *, value: int = 1) -> int:
        return value

    bundle = ExperimentInput(a=constant(value=2), b=Numbers(), c=lambda: "c", d=lambda ctx: ctx["condition"])
    assert bundle.fetch(context(3)) == {"a": 2, "b": [3], "c": "c", "d": "baseline"}
    assert bundle.replicates is None


def test_several_artifacts_are_read_together() -> None:
    out = Artifact("x.txt", loader="text")
    producer("loaded", out).run(replicates=2)
    producer("path").run(replicates=3)
    bundle = ExperimentInput(loaded=out, path=source_of("path"))

    def use(data: dict[str, Any]) -> Any:
        return data, {"loaded": data["loaded"], "path": data["path"].read_text()}

    result = Experiment(bundle, [use], name="consumer").run()
    result.raise_for_errors()
    assert result.metrics.baseline.metrics == {
        "loaded": ["loaded 0", "loaded 1", "loaded 0"],
        "path": ["path 0", "path 1", "path 2"],
    }


def test_unequal_numbers_of_replicates_are_refused_by_name_and_number() -> None:
    producer("one").run(replicates=2)
    producer("two").run(replicates=3)
    bundle = ExperimentInput(first=source_of("one"), second=source_of("two"))
    for look in (
        lambda: bundle.replicates,
        Experiment(bundle, [lambda data: data]).run,
    ):
        with pytest.raises(ReplicateMismatchError, match="'first' has 2, 'second' has 3"):
            look()
    producer("one").run(replicates=1)
    with pytest.raises(
        ReplicateMismatchError, match="give 'first' 3 replicates too, or have 'second' read it"
    ):
        bundle.replicates  # noqa: B018


def test_another_number_than_the_sources_have_is_refused() -> None:
    producer("one").run(replicates=2)
    bundle = ExperimentInput(first=source_of("one"), number=lambda: 1)
    assert bundle.replicates == 2
    with pytest.raises(ReplicateMismatchError, match=r"3 replicates.* 2\b"):
        Experiment(bundle, [lambda data: data]).run(replicates=3)


def test_a_source_that_cannot_be_read_fails_each_outcome_with_its_own_error() -> None:
    bundle = ExperimentInput(missing=source_of("never run"), number=lambda: 1)
    with pytest.raises(ArtifactNotFoundError, match="never run"):
        bundle.fetch(context())


def test_an_async_source_makes_the_whole_awaitable() -> None:
    async def slow(ctx: Any) -> int:
        await asyncio.sleep(0)
        return int(ctx["replicate"])

    bundle = ExperimentInput(slow=slow, fast=lambda: "fast")
    assert asyncio.run(bundle.fetch(context(4))) == {"slow": 4, "fast": "fast"}
    result = Experiment(bundle, [lambda data: (data, {"slow": data["slow"]})], name="consumer").run(
        replicates=3
    )
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["slow"] == [0, 1, 2]


def test_nothing_and_what_is_no_source_are_refused() -> None:
    with pytest.raises(InvalidTypeError, match="at least one"):
        ExperimentInput()
    with pytest.raises(InvalidTypeError):
        ExperimentInput(a=Path("x"))
    with pytest.raises(InvalidTypeError):
        ExperimentInput(a=3)


@pytest.mark.parametrize(
    ("there", "asked", "is_told"), [(1, 4, False), (2, 4, True), (4, 4, False), (5, 4, False)]
)
def test_that_replicates_share_several_artifacts_is_told(
    there: int, asked: int, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    out = Artifact("x.txt", loader="text")
    producer("few", out).run(replicates=there)

    def measure(data: Any) -> Any:
        return data, {"length": len(data["x"])}

    result = Experiment(ExperimentInput(x=out), [measure], name="consumer").run(replicates=asked)
    told = f"'consumer' has up to {asked} replicates, and 'few', whose artifacts it reads, has {there}"
    assert (told in caplog.text) == is_told
    for each in (result, open_run("consumer")):
        noted = f"replicates are not independent: they share those of 'few', which has {there}."
        assert (noted in str(each.summary())) == is_told


def test_that_replicates_share_artifacts_is_told_wherever_levels_are_and_of_what_was_made_of_them() -> None:
    few, middle = Artifact("x.txt", loader="text"), Artifact("y.txt", loader="text")
    producer("few", few).run(replicates=2)

    def pass_on(data: str, *, y: Artifact) -> str:
        y.write(data)
        return data

    def measure(data: str, *, factor: int = 1) -> tuple[str, dict[str, float]]:
        return data, {"length": float(factor * len(data))}

    Experiment(few, [pass_on], name="middle", outputs=[middle]).run(replicates=4)
    Experiment(middle, [measure], name="last", treatments=grid(factor=[2, 3])).run(replicates=4)
    last = open_run("last")
    assert last.shared_inputs == {"few": 2}
    note = "replicates are not independent: they share those of 'few', which has 2."
    for found in (last.summary(), last.effects("length"), last.best("length", direction="max")):
        assert note in " ".join(str(found).split())
        assert found.to_dict()["shared_inputs"] == {"few": 2}
    Experiment(middle, [measure], name="short", treatments=grid(factor=[2, 3])).run(replicates=2)
    assert open_run("short").shared_inputs == {}


def test_a_run_that_cannot_choose_what_it_reads_leaves_alone_what_another_one_keeps_to() -> None:
    out = Artifact("data.txt", loader="text")
    first = producer("first", out)
    first.run(replicates=1)
    newer = source_of("newer")
    metadata = Path("data/newer/v0/metadata.json")
    metadata.parent.mkdir(parents=True)
    metadata.write_text('{"schema_version": 99}')
    with chosen_runs([out]):
        first.run(replicates=2)
        for bundle in (ExperimentInput(a=newer, b=out), ExperimentInput(a=out, b=newer)):
            with pytest.raises(NewerSchemaError), chosen_runs([bundle]):
                pass
        assert out.default_replicates == 1
    assert out.default_replicates == 2


def test_that_the_stopping_rule_of_another_experiment_says_how_many_replicates_there_are_is_told() -> None:
    def measure(data: Any, ctx: Any, *, x: Artifact) -> Any:
        x.write(str(ctx["replicate"]))
        return data, {"m": float(ctx.rng.normal())}

    def chained(name: str, source: Any, **how: Any) -> list[str]:
        return Experiment(source, [measure], name=name, outputs=[outs[name]]).run(**how).stopped_inputs

    def are_told(name: str) -> bool:
        run = open_run(name)
        note = "has said how many replicates there are"
        assert run.stopped_inputs == run.summary().to_dict()["stopped_inputs"]
        return bool(run.stopped_inputs) and note in " ".join(str(run.summary()).split())

    outs = {name: Artifact("x", loader="text") for name in ("stopped", "fixed", "reader", "last", "few")}
    chained("stopped", lambda: None, stop_when=precise("m", half_width=1e-9, min=2, max=4))
    chained("fixed", lambda: None, replicates=4)
    assert chained("reader", ExperimentInput(x=outs["stopped"], y=outs["fixed"])) == ["stopped"]
    assert chained("last", outs["reader"]) == ["reader"]
    chained("few", outs["stopped"], replicates=3)
    told = {"stopped": False, "fixed": False, "reader": True, "last": True, "few": False}
    assert {name: are_told(name) for name in outs} == told
