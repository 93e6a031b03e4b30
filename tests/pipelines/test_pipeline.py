"""The pipeline: what goes through it, what its steps are called, what identifies it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import cloudpickle
import pytest

from crystallize import Experiment, FrozenContext, Pipeline, PipelineStep, pipeline_step, standalone_context
from crystallize.errors import InvalidNameError, InvalidTypeError, InvalidValueError
from crystallize.utils.randomness import generator


@pipeline_step()
def add(data: int, *, n: int = 1) -> int:
    return data + n


@pipeline_step()
async def add_later(data: int, *, n: int = 1) -> int:
    await asyncio.sleep(0)
    return data + n


class Times(PipelineStep):
    def __init__(self, n: int, name: str = "Times") -> None:
        self.n = n
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def __call__(self, data: int, ctx: FrozenContext) -> int:
        return data * self.n

    @property
    def params(self) -> dict[str, Any]:
        return {"n": self.n}


class TimesLater(Times):
    async def __call__(self, data: int, ctx: FrozenContext) -> int:  # type: ignore[override]
        await asyncio.sleep(0)
        return data * self.n


def test_instances_factories_partials_and_plain_functions_are_mixed() -> None:
    pipeline = Pipeline([add, add(n=2), partial(add, n=3), Times(10), lambda data: data - 1, abs])
    assert pipeline.run(0, standalone_context()) == 59
    assert len(pipeline) == 6
    assert all(isinstance(step, PipelineStep) for step in pipeline.steps)


def test_any_iterable_of_steps_will_do() -> None:
    assert Pipeline(step for step in (add, add)).run(0, standalone_context()) == 2


# -- what a step returns -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "data", "metrics"),
    [
        (5, 5, {}),
        (None, None, {}),
        ((5, {"a": 1}), 5, {"a": [1]}),
        ((None, {"a": 1, "b": 2}), None, {"a": [1], "b": [2]}),
        ((5, {}), 5, {}),
        ((1, 2), (1, 2), {}),
        ((1, [("a", 1)]), (1, [("a", 1)]), {}),
        ((1, {"a": 1}, 3), (1, {"a": 1}, 3), {}),
        ([1, {"a": 1}], [1, {"a": 1}], {}),
        (({"a": 1}, {"b": 2}), {"a": 1}, {"b": [2]}),
    ],
)
def test_a_tuple_of_data_and_a_mapping_is_taken_apart_and_nothing_else(
    returned: Any, data: Any, metrics: Any
) -> None:
    ctx = standalone_context()
    assert Pipeline([lambda _: returned]).run(0, ctx) == data
    assert dict(ctx.metrics) == metrics


def test_metrics_of_all_steps_are_collected_in_order() -> None:
    def both(data: int, ctx: FrozenContext) -> Any:
        ctx.metrics.add("n", "added")
        return data + 1, {"n": data}

    ctx = standalone_context()
    assert Pipeline([both, both]).run(0, ctx) == 2
    assert ctx.metrics["n"] == ["added", 0, "added", 1]


# -- asynchronous steps ---------------------------------------------------------------------------------------------


ASYNC = Pipeline([add, add_later, TimesLater(5), add_later(n=3)])


def test_run_awaits_asynchronous_steps() -> None:
    assert ASYNC.run(0, standalone_context()) == 13


def test_a_pipeline_inside_a_step_leaves_the_step_where_it_was() -> None:
    inner = Pipeline([add, add])

    @pipeline_step()
    def outer(data: int, ctx: Any) -> Any:
        before = ctx.rng.random()
        inner.run(data, ctx)
        return ctx["step_name"], (before, ctx.rng.random())

    @pipeline_step()
    def plain(data: int, ctx: Any) -> Any:
        return ctx["step_name"], (ctx.rng.random(), ctx.rng.random())

    name, drawn = Pipeline([add, outer]).run(0, standalone_context())
    assert name == "OuterStep"
    assert drawn == Pipeline([add, plain]).run(0, standalone_context())[1]


def test_the_steps_of_a_pipeline_inside_a_step_have_an_rng_of_their_own() -> None:
    @pipeline_step()
    def draw(data: list[float], ctx: Any, *, n: int = 1) -> list[float]:
        return [*data, *ctx.rng.random(n)]

    @pipeline_step()
    def outer(data: list[float], ctx: Any) -> Any:
        return Pipeline([draw, draw]).run(data, ctx)

    def drawn(n: int) -> Any:
        return Pipeline([draw(n=n), outer, outer]).run([], standalone_context(seed=1))

    once, twice = drawn(1), drawn(2)
    assert len({*once}) == 5
    assert twice[2:] == once[1:]  # however much an earlier step draws


def test_run_works_inside_a_running_loop() -> None:
    async def notebook() -> Any:
        return ASYNC.run(0, standalone_context())

    assert asyncio.run(notebook()) == 13


def test_arun_runs_on_the_loop_it_is_awaited_on() -> None:
    loops = []

    async def note(data: int) -> int:
        loops.append(asyncio.get_running_loop())
        return data

    async def main() -> Any:
        loops.append(asyncio.get_running_loop())
        return await Pipeline([add, note, add_later]).arun(0, standalone_context())

    assert asyncio.run(main()) == 2
    assert loops[0] is loops[1]


def test_an_asynchronous_step_may_return_metrics_too() -> None:
    async def measure(data: int) -> Any:
        return data, {"m": 1}

    ctx = standalone_context()
    assert Pipeline([measure]).run(7, ctx) == 7
    assert ctx.metrics["m"] == [1]


def test_an_error_of_an_asynchronous_step_is_raised() -> None:
    async def fail(data: int) -> int:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        Pipeline([add, fail, add]).run(0, standalone_context())


# -- the context on the way -----------------------------------------------------------------------------------------


def test_each_step_finds_its_own_name_and_stream() -> None:
    seen = []

    def look(data: Any, ctx: FrozenContext) -> None:
        seen.append((ctx["step_name"], ctx.rng.random()))

    Pipeline([look, look]).run(None, standalone_context(replicate=4, seed=7))
    assert seen == [
        ("LookStep", generator(7, 4, 0).random()),
        ("LookStep-2", generator(7, 4, 1).random()),
    ]


# -- names -----------------------------------------------------------------------------------------------------------


def test_steps_of_one_name_are_numbered() -> None:
    assert Pipeline([add, Times(1), add, add]).names == ("AddStep", "Times", "AddStep-2", "AddStep-3")


def test_numbered_names_do_not_collide_with_given_ones() -> None:
    names = Pipeline([Times(1, "A"), Times(2, "A-2"), Times(3, "A"), Times(4, "A")]).names
    assert names[:2] == ("A", "A-2")
    assert len(set(names)) == 4


def test_steps_whose_names_are_one_folder_on_some_system_are_numbered_too() -> None:
    assert Pipeline([Times(1, "Fit"), Times(2, "FIT")]).names == ("Fit", "FIT-2")


@pytest.mark.parametrize("name", ["../up", "", "a/b"])
def test_a_steps_name_stays_in_its_folder(name: str) -> None:
    with pytest.raises(InvalidNameError, match="the name of a step"):
        Pipeline([Times(1, name)])


# -- bad input --------------------------------------------------------------------------------------------------------


def test_an_empty_pipeline_is_refused() -> None:
    with pytest.raises(
        InvalidValueError, match=r"the pipeline is empty. Give it at least one step"
    ) as raised:
        Pipeline([])
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    "steps", [None, 5, "steps", b"steps", {"add": add}, add, add(), Times(1), lambda data: data]
)
def test_a_pipeline_takes_a_list(steps: Any) -> None:
    with pytest.raises(InvalidTypeError, match="a pipeline takes a list of steps"):
        Pipeline(steps)


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        Pipeline([add(n=3), Times(3)]),
        Pipeline([Times(3), add(n=2)]),
        Pipeline([add(n=2)]),
        Pipeline([add(n=2), Times(4)]),
    ],
    ids=["argument", "order", "number", "params"],
)
def test_the_signature_tells_pipelines_apart(other: Pipeline) -> None:
    assert Pipeline([add(n=2), Times(3)]).signature != other.signature


def test_the_signature_of_equal_pipelines_is_equal_however_they_were_written() -> None:
    assert (
        Pipeline([partial(add, n=2), Times(3)]).signature == Pipeline([add(n=2), partial(Times, 3)]).signature
    )


CODE = """
from crystallize import Experiment, Pipeline, pipeline_step

@pipeline_step()
def fit(data, *, names=frozenset()):
    return data

print(Experiment(lambda: 0, Pipeline([fit(names={"a", "b", "c", "d"}), lambda data: data])).id)
"""


def test_the_id_of_an_unnamed_experiment_is_the_same_in_every_process(run_python: Any) -> None:
    ids = {run_python(CODE, env={"PYTHONHASHSEED": seed}).stdout for seed in "123"}
    assert len(ids) == 1


def test_an_experiments_id_is_its_pipelines_alone() -> None:
    one = Experiment(lambda: 1, [add], name="one", initial_ctx={"a": 1}, seed=1)
    other = Experiment(lambda: 2, [add], replicates=5)
    assert one.id == other.id
    assert other.folder_name == other.id


def test_it_can_be_pickled() -> None:
    copy = cloudpickle.loads(cloudpickle.dumps(Pipeline([add(n=2), Times(3), lambda data: data + 1])))
    assert copy.run(0, standalone_context()) == 7
    assert copy.names == ("AddStep", "Times", "LambdaStep")


def test_a_generator_as_the_last_step_is_refused_since_nobody_would_run_it():
    def never(data):
        yield data

    with pytest.raises(InvalidTypeError, match=r"'NeverStep' is a generator.*Return a list"):
        Pipeline([never])
    assert Pipeline([never, lambda data: [*data]]).run(1, standalone_context({})) == [1]
