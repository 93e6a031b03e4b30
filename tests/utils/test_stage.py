"""What a step reads, draws, adds and records is noted, completely, and nothing else is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import (
    Artifact,
    BasePlugin,
    Experiment,
    FrozenContext,
    Pipeline,
    pipeline_step,
    resource_factory,
    standalone_context,
    treatment,
)
from crystallize.utils.randomness import Stream, StreamUse, generator, stream_key
from crystallize.utils.stage import (
    DATA_SOURCE,
    TREATMENT,
    RareNotes,
    StageRecord,
    describe_parameters,
    describe_value,
)

Act = Callable[[FrozenContext], Any]


def records(ctx: FrozenContext) -> list[StageRecord]:
    return [StageRecord(*fields) for fields in ctx.trace]


def noted(act: Act, entries: dict[str, Any] | None = None) -> StageRecord:
    """Return the record of a stage that does `act`; an empty one if it left none."""
    ctx = FrozenContext(entries or {}, replicate=3, condition="low", master_seed=5)
    ctx.begin_stage(2, "FitStep")
    act(ctx)
    ctx.end_stage()
    found = records(ctx)
    assert len(found) <= 1
    return found[0] if found else StageRecord(2)


# -- reading -----------------------------------------------------------------------------------------------


def test_what_is_read_is_noted_with_its_value_or_its_kind_and_size() -> None:
    entries = {"alpha": 0.5, "name": "x" * 200, "data": np.zeros((2, 3)), "rows": [1, 2], "n": np.int32(3)}
    record = noted(lambda ctx: [ctx[key] for key in entries], entries)
    assert record == StageRecord(
        2,
        reads=(
            ("alpha", 0.5),
            ("name", "<str of 200>"),
            ("data", "<ndarray float64[2, 3]>"),
            ("rows", "<list of 2>"),
            ("n", 3),
        ),
    )


def test_get_is_a_read_and_a_key_that_was_not_there_is_missing() -> None:
    record = noted(lambda ctx: (ctx.get("alpha"), ctx.get("absent", 1)), {"alpha": 0.5})
    assert (record.reads, record.missing) == ((("alpha", 0.5),), ("absent",))


def test_a_key_that_was_missing_is_noted_when_the_error_is_caught() -> None:
    def look(ctx: FrozenContext) -> None:
        with pytest.raises(KeyError):
            ctx["absent"]

    record = noted(look, {"alpha": 0.5})
    assert record == StageRecord(2, missing=("absent",)), (
        "the message's list of keys is not the step's reading"
    )


@pytest.mark.parametrize("key", ["replicate", "condition", "step_name"])
def test_the_frameworks_own_keys_are_noted_without_their_values(key: str) -> None:
    assert noted(lambda ctx: ctx[key]).reads == ((key, None),)


def test_in_tells_of_a_key_whether_it_is_there() -> None:
    record = noted(lambda ctx: ("alpha" in ctx, "beta" in ctx), {"alpha": 0.5})
    assert (record.present, record.missing, record.reads) == (("alpha",), ("beta",), ())


@pytest.mark.parametrize(
    "look", [list, len, dict, lambda ctx: ctx.keys() == set(), lambda ctx: next(iter(ctx))]
)
def test_iteration_and_length_tell_all_keys(look: Act) -> None:
    assert noted(look, {"alpha": 0.5}).keys == ("replicate", "condition", "step_name", "alpha")


def test_the_keys_are_those_of_the_first_look() -> None:
    def look(ctx: FrozenContext) -> None:
        len(ctx)
        ctx.add("beta", 1)
        len(ctx)

    keys = noted(look).keys
    assert keys is not None
    assert "beta" not in keys


def test_a_resource_is_noted_as_one() -> None:
    record = noted(lambda ctx: ctx["db"], {"db": resource_factory(lambda ctx: object())})
    assert record.reads == (("db", "<resource>"),)


def test_repr_peek_place_and_logger_leave_no_trace() -> None:
    def look(ctx: FrozenContext) -> None:
        repr(ctx), ctx.peek("alpha"), ctx.place(), ctx.logger.debug("nothing"), ctx.keys_held()

    assert noted(look, {"alpha": 0.5}) == StageRecord(2)


class Forest:
    """A model whose size is that of what it finds, as those of scikit-learn have it."""

    def __len__(self) -> int:
        raise AttributeError("'Forest' object has no attribute 'estimators_'")


@dataclass
class Weibull:
    """A distribution, whose shape is not that of an array."""

    shape: float


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1.5, 1.5),
        (None, None),
        ("short", "short"),
        (b"ab", "<bytes of 2>"),
        (object(), "<object>"),
        (1j, "<complex>"),
        (Forest(), "<Forest>"),
        (Weibull(1.5), "<Weibull>"),
    ],
)
def test_a_value_is_described_in_few_words(value: Any, told: Any) -> None:
    assert describe_value("key", value) == told


def test_a_text_that_its_key_calls_a_secret_is_noted_without_it() -> None:
    def act(ctx: FrozenContext) -> None:
        ctx["api_key"], ctx.get("url"), ctx.add("token", "hunter2"), ctx.add("max_tokens", 5)

    record = noted(act, {"api_key": "hunter2", "url": "https://me:hunter2@host"})
    assert record.reads == (("api_key", "***"), ("url", "https://me:***@host"))
    assert record.added == (("token", "***"), ("max_tokens", 5))


class Odd:
    def __repr__(self) -> str:
        return "<Odd>"


def test_parameters_are_described_as_plain_data_without_secrets() -> None:
    parameters = {"a": (1, [2.5, None]), "b": {"c": True, 3: "d"}, "e": Odd(), "f": np.float64(0.5), "g": {1}}
    secrets = {"password": "hunter2", "login": {"user": "me", "auth": ["hunter2"]}, "url": "x://me:hunter2@h"}
    assert describe_parameters(parameters) == parameters | {"e": "<Odd>", "f": 0.5, "g": "{1}"}
    assert describe_parameters(secrets) == {
        "password": "***",
        "login": {"user": "me", "auth": ["***"]},
        "url": "x://me:***@h",
    }


# -- adding and recording ----------------------------------------------------------------------------------


def test_what_is_added_is_noted() -> None:
    record = noted(lambda ctx: (ctx.add("beta", 2), ctx.add("rows", [1])))
    assert record.added == (("beta", 2), ("rows", "<list of 1>"))


def test_every_value_of_a_metric_is_its_own_stages() -> None:
    ctx = FrozenContext(replicate=0)
    ctx.begin_stage(0, "A")
    ctx.metrics.add("loss", 1.0)
    ctx.begin_stage(1, "B")
    ctx.metrics.add("loss", 2.0)
    ctx.record("loss", 3.0, tags={"epoch": 1})
    ctx.metrics.add("time", 4.0)
    ctx.begin_stage(2, "C")
    ctx.end_stage()
    assert records(ctx) == [
        StageRecord(0, metrics=(("loss", 1),)),
        StageRecord(1, metrics=(("loss", 2), ("time", 1))),
    ]


def test_metrics_that_a_step_returns_are_its_own() -> None:
    ctx = standalone_context()
    Pipeline([lambda data: (data, {"loss": 1.0}), lambda data: (data, {"loss": 2.0})]).run(0, ctx)
    assert [(record.number, record.metrics) for record in records(ctx)] == [
        (0, (("loss", 1),)),
        (1, (("loss", 1),)),
    ]


def test_artifacts_are_noted_by_their_names() -> None:
    ctx = standalone_context()
    ctx.begin_stage(0, "A")
    ctx.artifacts.write("model.bin", b"1")
    ctx.artifacts.write("model.bin", b"2")
    ctx.artifacts.write("plot.png", b"3")
    ctx.end_stage()
    assert records(ctx)[0].artifacts == ("model.bin", "plot.png")


# -- random streams ----------------------------------------------------------------------------------------


def test_streams_are_noted_with_how_far_they_were_drawn() -> None:
    record = noted(lambda ctx: (ctx.rng.random(3), ctx.stream("noise").random(5), ctx.rng.random()))
    assert record.streams == ((None, 2, 0, 4, 0, 0), ("noise", stream_key("noise"), 0, 5, 0, 0))


def test_a_stream_that_was_taken_and_not_drawn_from_is_noted() -> None:
    assert noted(lambda ctx: ctx.stream("noise")).streams == (("noise", stream_key("noise"), 0, 0, 0, 0),)


def test_a_named_stream_begins_where_an_earlier_step_has_left_it() -> None:
    ctx = FrozenContext(replicate=0, master_seed=1)
    for step in range(2):
        ctx.begin_stage(step, f"Step{step}")
        ctx.stream("noise").random(3)
    ctx.end_stage()
    uses = [StreamUse(*use) for record in records(ctx) for use in record.streams]
    assert [(use.start, use.stop) for use in uses] == [(0, 3), (3, 6)]


@given(
    words=st.lists(st.integers(0, 500), max_size=5),
    halves=st.integers(0, 3),
    spawned=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_the_position_counts_words_of_64_bits_halves_of_them_and_spawned_generators(
    words: list[int], halves: int, spawned: int, seed: int
) -> None:
    stream = Stream(generator(seed, 0, 0), 0, None)
    for count in words:
        stream.generator.random(count)
        stream.position()
    for _ in range(halves):
        stream.generator.integers(0, 2**32, dtype=np.uint32)
    if spawned:
        stream.generator.spawn(spawned)
    assert stream.position() == (sum(words) + halves / 2, spawned)


def test_the_position_is_right_after_a_long_way() -> None:
    stream = Stream(generator(1, 0, 0), 0, None)
    stream.generator.bit_generator.advance(2**100 + 12345)
    assert stream.position() == (2**100 + 12345, 0)


# -- whose notes they are ----------------------------------------------------------------------------------


def test_outside_of_a_stage_nothing_is_noted() -> None:
    ctx = FrozenContext({"alpha": 0.5}, replicate=0)
    ctx["alpha"], ctx.rng, list(ctx), ctx.get("absent"), ctx.add("beta", 1), ctx.metrics.add("loss", 1)
    ctx.begin_stage(0, "A")
    ctx.end_stage()
    ctx["alpha"], ctx.metrics.add("loss", 2)
    ctx.end_stage()
    assert ctx.trace == []


def steps_of(experiment: Experiment, condition: str = "baseline") -> list[dict[str, Any]]:
    result = experiment.run(replicates=1)
    result.raise_for_errors()
    steps: list[dict[str, Any]] = result.provenance.of(condition, 0)["steps"]
    return steps


def test_what_hooks_read_add_and_record_around_a_step_is_not_the_steps() -> None:
    class Nosy(BasePlugin):
        def before_step(self, ctx: FrozenContext) -> None:
            ctx["alpha"], ctx.rng.random(), ctx.metrics.add("before", 1)

        def after_step(self, ctx: FrozenContext) -> None:
            ctx.get("absent"), len(ctx), ctx.metrics.add("loss", 2)

    def fit(data: Any, ctx: FrozenContext) -> Any:
        return data, {"loss": 1.0}

    (step,) = steps_of(Experiment(lambda: 1, [fit], plugins=[Nosy()], initial_ctx={"alpha": 1}))
    assert step == {
        "step": "FitStep",
        "params": {},
        "reads": {},
        "missing": [],
        "metrics": {"loss": 1},
        "present": [],
        "keys": None,
        "streams": {},
        "added": {},
        "artifacts": [],
    }


def test_a_pipeline_that_a_step_runs_inside_of_itself_is_noted_as_the_steps() -> None:
    @pipeline_step
    def inner(data: Any, ctx: FrozenContext, *, alpha: float) -> Any:
        return data, {"inner": ctx.get("beta", alpha)}

    def outer(data: Any, ctx: FrozenContext) -> Any:
        data = Pipeline([inner(), inner()]).run(data, ctx)
        return data, {"outer": ctx["gamma"]}

    def last(data: Any, ctx: FrozenContext) -> Any:
        return data, {"last": ctx["step_name"]}

    first, second = steps_of(Experiment(lambda: 1, [outer, last], initial_ctx={"alpha": 1, "gamma": 2}))
    assert first["reads"] == {"alpha": 1, "gamma": 2}
    assert first["missing"] == ["beta"]
    assert first["metrics"] == {"inner": 2, "outer": 1}
    assert (second["reads"], second["metrics"]) == ({"step_name": "LastStep"}, {"last": 1})


def test_the_data_source_and_a_treatments_function_have_stages_of_their_own() -> None:
    def source(ctx: FrozenContext) -> float:
        return float(ctx.rng.random()) * ctx["scale"]

    def shift(ctx: FrozenContext) -> None:
        ctx.add("alpha", ctx["base"] + 1)

    experiment = Experiment(
        source, [lambda data: data], treatments=[treatment("low", shift)], initial_ctx={"scale": 2, "base": 3}
    )
    shifting, fetching, step = steps_of(experiment, "low")
    assert (shifting["step"], shifting["reads"], shifting["added"]) == (
        "treatment",
        {"base": 3},
        {"alpha": 4},
    )
    assert (fetching["step"], fetching["reads"], fetching["streams"]) == (
        "data source",
        {"scale": 2},
        {"rng": [0, 1]},
    )
    assert step["reads"] == {}
    assert (DATA_SOURCE, TREATMENT) == (-1, -2), "numbers that no step has"


def test_a_failed_step_leaves_the_notes_of_what_it_did_until_then() -> None:
    def fit(data: Any, ctx: FrozenContext) -> Any:
        raise ValueError(ctx["alpha"])

    result = Experiment(lambda: 1, [fit], initial_ctx={"alpha": 7}).run(replicates=1)
    assert result.provenance[0]["steps"][-1]["reads"] == {"alpha": 7}


def test_storing_an_artifact_reads_nothing_for_the_step() -> None:
    out = Artifact("out.json", loader="json")

    def write(data: Any) -> Any:
        out.write([1])
        return data

    (step,) = steps_of(Experiment(lambda: 1, [write], outputs=[out], name="writing"))
    assert (step["reads"], step["artifacts"]) == ({}, ["out.json"])


@given(picks=st.lists(st.sampled_from(["read", "get", "in", "len", "add", "metric", "rng"]), max_size=12))
def test_the_same_acts_leave_the_same_record_and_none_leave_none(picks: list[str]) -> None:
    acts: dict[str, Act] = {
        "read": lambda ctx: ctx["alpha"],
        "get": lambda ctx: ctx.get("absent"),
        "in": lambda ctx: "alpha" in ctx,
        "len": len,
        "add": lambda ctx: "new" in ctx or ctx.add("new", 1),
        "metric": lambda ctx: ctx.metrics.add("loss", 1.0),
        "rng": lambda ctx: ctx.rng.random(),
    }

    def play(ctx: FrozenContext) -> None:
        for pick in picks:
            acts[pick](ctx)

    record = noted(play, {"alpha": 1})
    assert record == noted(play, {"alpha": 1})
    assert (record == StageRecord(2)) == (not picks)
    assert bool(record.reads) == ("read" in picks)
    assert dict(record.metrics).get("loss", 0) == picks.count("metric")
    assert [use[3] for use in record.streams] == ([picks.count("rng")] if "rng" in picks else [])


def test_a_stage_that_is_undone_and_begins_once_more_leaves_one_record() -> None:
    ctx = FrozenContext({"alpha": 1}, replicate=0)
    ctx.begin_stage(0, "A")
    mark = ctx.mark()
    ctx["alpha"], ctx.metrics.add("loss", 1), "alpha" in ctx
    ctx.begin_stage(1, "B")
    ctx.rewind(mark)
    ctx.begin_stage(0, "A")
    ctx.get("absent")
    ctx.end_stage()
    assert records(ctx) == [StageRecord(0, missing=("absent",))]


@pytest.mark.parametrize("values", [1, 500])
def test_replicates_that_do_the_same_share_one_trace(values: int) -> None:
    traces = []

    class Watching(BasePlugin):
        def after_replicate(self, result: Any) -> None:
            traces.extend(outcome.trace for outcome in result.outcomes)

    def fit(data: Any, ctx: FrozenContext) -> Any:
        for value in range(values):
            ctx.record("loss", value)
        return data + ctx["alpha"]

    Experiment(lambda: 1, [fit], plugins=[Watching()], initial_ctx={"alpha": 2}).run(replicates=3)
    assert traces[0] == ((0, (("alpha", 2),), (("loss", values),)),)
    assert traces[1] is traces[0] is traces[2]


def in_two_threads(function: Callable[[str], object], *names: str) -> None:
    threads = [threading.Thread(target=function, args=(name,)) for name in names]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_two_threads_of_a_step_that_are_the_first_at_once_both_have_read() -> None:
    both = threading.Barrier(2)

    class SlowlyNoted(list):
        def append(self, note: Any) -> None:
            super().append(note)
            if type(note) is dict:
                both.wait(timeout=10)  # for the other thread

    ctx = FrozenContext({"a": 1, "b": 2})
    ctx.noted = SlowlyNoted()
    ctx.begin_stage(0, "A")
    in_two_threads(ctx.get, "a", "c")
    ctx.get("b")
    assert ctx.looks_of_stage() == {"a": 1, "b": 2, ("c",): None}
    ctx.end_stage()
    (record,) = records(ctx)
    assert dict(record.reads) == {"a": 1, "b": 2}
    assert record.missing == ("c",)


def test_two_threads_of_a_step_that_are_the_first_at_once_lose_no_notes(monkeypatch) -> None:
    both = threading.Barrier(2)

    class SlowlyMade(RareNotes):
        def __init__(self) -> None:
            super().__init__()
            with suppress(threading.BrokenBarrierError):
                both.wait(timeout=0.2)  # for the other thread, if it is let in

    monkeypatch.setattr("crystallize.utils.context.RareNotes", SlowlyMade)
    ctx = FrozenContext(replicate=0, master_seed=1)
    ctx.begin_stage(0, "A")
    in_two_threads(ctx.stream, "a", "b")
    ctx.end_stage()
    (record,) = records(ctx)
    assert {use.name for use in map(StreamUse._make, record.streams)} == {"a", "b"}
