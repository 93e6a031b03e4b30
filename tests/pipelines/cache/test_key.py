"""What makes a step run again, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystallize import (
    FrozenContext,
    Pipeline,
    PipelineStep,
    Treatment,
    pipeline_step,
    resource_factory,
    standalone_context,
)
from crystallize.errors import InvalidTypeError, InvalidValueError

RATE = 2.0


@pipeline_step(cacheable=True)
def scale(data: Any, *, factor: float = 1.0) -> Any:
    return data * factor * RATE


@pipeline_step(cacheable=True, ignore=["verbose", "level"])
def speaks(data: Any, ctx: FrozenContext, *, verbose: bool = False) -> Any:
    return data, {"level": ctx.get("level", 0)}


@pipeline_step(cacheable=True)
def draws(data: Any, ctx: FrozenContext) -> Any:
    return float(ctx.rng.random())


def hits(result: Any) -> int:
    return result.explain_cache().count("hit")


def why(result: Any, step: str = "ScaleStep") -> str:
    (reason,) = result.explain_cache().reasons(step)
    return reason


def test_the_same_input_is_a_hit(run: Any) -> None:
    assert [hits(run(scale)), hits(run(scale))] == [0, 1]


def test_other_data_other_parameters_and_other_injected_values_are_misses(run: Any) -> None:
    run(scale)
    assert why(run(scale, data=4)) == "the data: 3 -> 4"
    assert why(run(scale, data=3.0)) == "the data: 4 -> 3.0"
    assert why(run(scale(factor=2.0))) == "factor is new"
    assert why(run(scale(factor=3.0))) == "factor: 2.0 -> 3.0"
    assert why(run(scale, initial_ctx={"factor": 5.0})) == "factor: nothing -> 5.0"
    assert why(run(scale, initial_ctx={"factor": 6.0})) == "factor: 5.0 -> 6.0"


def test_two_treatments_that_differ_in_what_a_step_reads_have_an_entry_each(run: Any, entries: Any) -> None:
    treatments = [Treatment("two", {"factor": 2.0}), Treatment("same", {"factor": 2.0})]
    result = run(scale, treatments=treatments, replicates=2)
    assert len(entries()) == 2
    assert result.explain_cache().count("hit", condition="same") == 2
    assert result.explain_cache().count("hit", condition="two") == 1


class Scaler:
    factor = 2

    def scaled(self, data: Any) -> Any:
        return data * self.factor

    def __init__(self) -> None:
        self.offset = 1

    def apply(self, data: Any) -> Any:
        return self.scaled(data) + self.offset


def test_a_method_is_a_step_with_all_of_its_class(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = pipeline_step(cacheable=True)(Scaler().apply)
    assert [hits(run(apply)), hits(run(apply))] == [0, 1]
    monkeypatch.setattr(Scaler, "factor", 3)
    result = run(apply)
    assert hits(result) == 0
    assert "class Scaler in test_key.py changed" in why(result, "ApplyStep")


@pipeline_step()
def leaves(data: Any, ctx: FrozenContext, *, size: int = 1) -> Any:
    ctx.artifacts.write("left.bin", bytes(size))
    return data


@pipeline_step(cacheable=True)
def weighs(data: Any, ctx: FrozenContext) -> Any:
    return data, {"bytes": sum(each.size for each in ctx.artifacts.entries)}


def test_a_step_that_looks_at_what_others_wrote_depends_on_it(run: Any) -> None:
    for expected in (0, 2):
        result = run(leaves, weighs, treatments=[Treatment("more", {"size": 5})])
        assert result.metrics.baseline.metrics["bytes"] == [1]
        assert result.metrics.treatments["more"].metrics["bytes"] == [5]
        assert hits(result) == expected


def test_a_global_that_somebody_changes_between_two_runs_is_a_miss(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scale)
    monkeypatch.setitem(globals(), "RATE", 3.0)
    result = run(scale)
    assert hits(result) == 0
    assert "RATE" in why(result)
    monkeypatch.setitem(globals(), "RATE", 2.0)
    assert hits(run(scale)) == 1


def test_random_numbers_are_those_of_the_replicate(run: Any) -> None:
    first, second = run(draws, replicates=3), run(draws, replicates=4)
    assert hits(first) == 0
    assert hits(second) == 3


def test_what_draws_from_a_global_generator_has_the_numbers_of_its_replicate_also_from_the_cache(
    run: Any,
) -> None:
    step = pipeline_step(cacheable=True)(lambda data: [np.random.normal])
    sample = lambda data: (data, {"drawn": float(data[0]())})  # noqa: E731
    drawn = [
        run(step, sample, replicates=4, cache=cache).metrics.baseline.metrics["drawn"]
        for cache in (False, True, True)
    ]
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(set(drawn[0])) == 4


def test_another_seed_is_a_miss_only_for_a_step_that_draws(run: Any) -> None:
    for step in (draws, scale):
        run(step)
    from crystallize import Experiment

    for step, expected in ((draws, 0), (scale, 1)):
        assert hits(Experiment(lambda: 3, [step], name="cached", seed=2).run()) == expected


def test_what_is_ignored_does_not_matter_and_is_still_in_the_provenance(run: Any) -> None:
    run(speaks(verbose=False), initial_ctx={"level": 1})
    result = run(speaks(verbose=True), initial_ctx={"level": 2})
    assert hits(result) == 1
    assert "'level': 2" in str(result.provenance.of("baseline", 0))


def test_each_of_several_values_that_it_depends_on_counts(run: Any) -> None:
    found = []
    for values in ([{"a": 1}, {"b": 1}], [{"a": 2}, {"b": 1}], [{"a": 2}, {"b": 2}], [{"a": 2}, {"b": 2}]):

        @pipeline_step(cacheable=True, depends_on=values)
        def looks_up(data: Any) -> Any:
            return data

        found.append(run(looks_up))
    assert list(map(hits, found)) == [0, 0, 0, 1]


def test_version_and_depends_on_stand_for_what_cannot_be_seen(run: Any) -> None:
    file = Path("weights.bin")
    found = []
    for version, content in (("1", b"a"), ("1", b"a"), ("2", b"a"), ("2", b"b"), ("2", b"b")):
        file.write_bytes(content)

        @pipeline_step(cacheable=True, version=version, depends_on=[file])
        def calls_a_program(data: Any) -> Any:
            return data

        found.append(run(calls_a_program))
    assert list(map(hits, found)) == [0, 1, 0, 0, 1]
    assert why(found[2], "Calls_A_ProgramStep") == "version: '1' -> '2'"
    assert why(found[3], "Calls_A_ProgramStep") == "depends_on weights.bin changed"


def test_a_link_to_a_file_that_it_depends_on_counts_by_what_is_in_the_file(run: Any) -> None:
    link = Path("weights.bin")
    found = []
    for name in ("one", "same", "other"):
        Path(name).write_text(name.replace("same", "one"), encoding="utf-8")
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        found.append(run(pipeline_step(cacheable=True, depends_on=[link])(lambda data: data)))
    assert list(map(hits, found)) == [0, 1, 0]


def test_a_text_that_names_a_file_is_not_taken_for_the_file() -> None:
    Path("weights.bin").write_bytes(b"a")
    with pytest.raises(InvalidValueError, match=r"Write Path\('weights.bin'\)"):
        pipeline_step(cacheable=True, depends_on=["weights.bin"])
    pipeline_step(cacheable=True, depends_on=["version 3", "x" * 5_000])


def test_a_file_that_it_depends_on_and_that_is_not_there_is_told(run: Any, warnings: Any) -> None:
    @pipeline_step(cacheable=True, depends_on=[Path("gone.bin")])
    def reads(data: Any) -> Any:
        return data

    run(reads, replicates=2)
    (warning,) = warnings()
    assert "gone.bin" in warning


@pytest.mark.parametrize(
    "options",
    [
        {"version": 2, "cacheable": True},
        {"depends_on": "file", "cacheable": True},
        {"ignore": "verbose", "cacheable": True},
        {"ignore": [1], "cacheable": True},
        {"cacheable": "yes"},
        {"ignore": ["verbose"]},
    ],
)
def test_wrong_options_are_told_when_the_step_is_decorated(options: dict[str, Any]) -> None:
    with pytest.raises((InvalidTypeError, InvalidValueError)):
        pipeline_step(**options)


class Model(PipelineStep):
    cacheable = True
    offset = 1.0

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        return data * self.weight + self.offset


def test_a_class_based_step_counts_by_its_code_its_class_and_its_state(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hits(run(Model(1.0))) == 0
    assert hits(run(Model(1.0))) == 1
    assert why(run(Model(2.0)), "Model") == "weight: 1.0 -> 2.0"
    monkeypatch.setattr(Model, "offset", 2.0)
    assert hits(run(Model(1.0))) == 0


class LargerModel(Model):
    cacheable = False


def test_a_subclass_may_say_that_it_is_not_cacheable(run: Any) -> None:
    assert str(run(LargerModel(1.0)).explain_cache()).startswith("No step asked")


def test_a_resource_counts_by_the_function_that_makes_it(run: Any) -> None:
    @pipeline_step(cacheable=True)
    def asks(data: Any, ctx: FrozenContext) -> Any:
        return ctx["source"](data)

    def times(factor: int) -> Any:
        return resource_factory(lambda ctx: lambda data: data * factor)

    found = [run(asks, initial_ctx={"source": times(factor)}) for factor in (2, 2, 3)]
    assert list(map(hits, found)) == [0, 1, 0]


def test_a_pipeline_inside_of_a_step_is_that_step_s(run: Any, entries: Any) -> None:
    @pipeline_step(cacheable=True)
    def outer(data: Any, ctx: FrozenContext) -> Any:
        return Pipeline([scale, draws]).run(data, ctx)

    assert [hits(run(outer)), hits(run(outer))] == [0, 1]
    assert len(entries()) == 1


def test_a_pipeline_run_by_hand_is_cached_too(entries: Any) -> None:
    for _ in range(2):
        assert Pipeline([scale]).run(2, standalone_context({"factor": 2.0})) == 8.0
    assert len(entries()) == 1


def test_what_a_step_gives_of_its_input_is_its_input() -> None:
    @pipeline_step(cacheable=True)
    def wraps(data: list[int]) -> Any:
        return {"before": data, "first": data[0]}

    for _ in range(2):
        data = [1, 2]
        assert Pipeline([wraps]).run(data, standalone_context())["before"] is data


def test_the_hash_of_an_output_is_not_that_of_what_an_uncached_step_makes_of_it(run: Any) -> None:
    @pipeline_step(cacheable=True)
    def begins(data: Any) -> Any:
        return [data, 1]

    @pipeline_step()
    def changes(data: list[int]) -> Any:
        data[0] += 1
        return data

    @pipeline_step(cacheable=True)
    def adds_up(data: list[int]) -> Any:
        return data, {"sum": sum(data)}

    assert run(begins, adds_up).metrics.baseline.metrics["sum"] == [4]
    assert run(begins, changes, adds_up).metrics.baseline.metrics["sum"] == [5]


def test_an_array_that_cannot_be_written_to_stays_so(run: Any) -> None:
    @pipeline_step(cacheable=True)
    def fixed(data: int) -> Any:
        arrays = [np.zeros(data), np.zeros(data), np.zeros(10), np.zeros(10)]
        for array in arrays[::2]:
            array.flags.writeable = False
        return arrays

    @pipeline_step()
    def asks(data: Any) -> Any:
        return data, {"writeable": [array.flags.writeable for array in data]}

    for _ in range(2):
        result = run(fixed, asks, data=20_000)
        assert result.metrics.baseline.metrics["writeable"] == [[False, True, False, True]]
    assert hits(result) == 1


def test_refresh_makes_everything_anew_and_off_leaves_the_cache_alone(run: Any, entries: Any) -> None:
    run(scale, cache=False)
    assert entries() == []
    run(scale)
    (entry,) = entries()
    before = entry.stat().st_ino
    refreshed = run(scale, cache="refresh")
    assert hits(refreshed) == 0
    assert entry.stat().st_ino != before
    assert hits(run(scale)) == 1
    with pytest.raises(InvalidValueError, match="refresh"):
        run(scale, cache="again")


def test_why_is_told_from_what_the_run_found_and_not_from_what_it_made(run: Any) -> None:
    treatments = [Treatment(f"at {factor}", {"factor": factor}) for factor in (2.0, 3.0)]
    cold = run(scale, treatments=treatments, replicates=3, data=lambda ctx: ctx["replicate"])
    assert list(cold.explain_cache().reasons("ScaleStep")) == ["nothing is stored yet"]
    more = run(
        scale,
        treatments=[Treatment("at 4", {"factor": 4.0})],
        replicates=3,
        data=lambda ctx: ctx["replicate"],
    )
    reasons = more.explain_cache().reasons("ScaleStep")
    assert all(reason.startswith("factor: ") and reason.endswith("-> 4.0") for reason in reasons)
    assert "3 outputs from the cache, 3 made" in str(more.explain_cache())


def test_a_key_that_the_step_then_adds_is_told_as_it_was_found(run: Any) -> None:
    @pipeline_step(cacheable=True)
    def adds(data: Any, ctx: FrozenContext) -> Any:
        if "late" not in ctx:
            ctx.add("late", data)
        return data

    run(adds, initial_ctx={"late": 1})
    assert why(run(adds), "AddsStep") == "late: something -> nothing"


def test_a_secret_is_not_told(run: Any, entries: Any) -> None:
    @pipeline_step(cacheable=True)
    def logs_in(data: Any, ctx: FrozenContext, *, api_key: str = "") -> Any:
        return len(ctx["password"])

    for key in ("aaaa-bbbb", "cccc-dddd"):
        result = run(logs_in(api_key=key), initial_ctx={"password": f"{key}-secret"})
    assert why(result, "Logs_InStep") == "api_key changed"
    for path in Path(".cache").rglob("*"):
        assert path.is_dir() or not any(part in path.read_bytes() for part in (b"aaaa", b"cccc"))


def test_a_stored_run_explains_its_cache_too(run: Any) -> None:
    from crystallize import open_run

    run(scale)
    result = run(scale, data=4, replicates=2)
    assert str(open_run("cached").explain_cache()) == str(result.explain_cache())
