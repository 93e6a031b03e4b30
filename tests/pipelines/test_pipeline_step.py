"""Steps: from decorated functions, from classes, from plain functions."""

from __future__ import annotations

import inspect
import pickle
from functools import partial
from typing import Any

import cloudpickle
import pytest

from crystallize import FrozenContext, Pipeline, PipelineStep, pipeline_step, standalone_context
from crystallize.errors import InvalidTypeError
from crystallize.pipelines.pipeline_step import FunctionStep, StepFactory, as_step


@pipeline_step(cacheable=True)
def load_csv(data: Any, *, sep: str = ",") -> Any:
    """Load it."""
    return f"{data}{sep}"


@pipeline_step
def bare(data: Any) -> Any:
    return data


@pipeline_step()
async def fetch(data: Any) -> Any:
    return data


class Model(PipelineStep):
    def __init__(self, size: int = 1) -> None:
        self.size = size

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        return data, {"size": self.size}

    @property
    def params(self) -> dict[str, Any]:
        return {"size": self.size}


class AsyncModel(Model):
    async def __call__(self, data: Any, ctx: FrozenContext) -> Any:  # type: ignore[override]
        return data


class Callable:
    def __call__(self, data: Any) -> Any:
        return data


class AsyncCallable:
    async def __call__(self, data: Any) -> Any:
        return data


def plain(data: Any) -> Any:
    return data


def test_a_decorated_function_is_a_factory_of_steps() -> None:
    assert isinstance(load_csv, StepFactory)
    step = load_csv(sep=";")
    assert isinstance(step, PipelineStep)
    assert step("a", standalone_context()) == "a;"
    assert step.params == {"sep": ";"}
    assert load_csv.__name__ == "load_csv"
    assert load_csv.__doc__ == "Load it."


def test_the_decorator_works_with_and_without_parentheses() -> None:
    assert isinstance(bare, StepFactory)
    assert bare()(3, standalone_context()) == 3


@pytest.mark.parametrize(("step", "cacheable"), [(load_csv(), True), (bare(), False), (Model(), False)])
def test_cacheable_is_kept(step: PipelineStep, cacheable: bool) -> None:
    assert step.cacheable is cacheable
    assert pickle.loads(cloudpickle.dumps(step)).cacheable is cacheable


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (load_csv(), "Load_CsvStep"),
        (Model(), "Model"),
        (as_step(lambda data: data, 1), "LambdaStep"),
        (as_step(partial(plain), 1), "PlainStep"),
        (as_step(partial(load_csv, sep=";"), 1), "Load_CsvStep"),
        (as_step(Callable(), 1), "CallableStep"),
    ],
)
def test_a_function_steps_name_is_the_functions_in_title_case_and_a_class_steps_the_classes(
    step: PipelineStep, name: str
) -> None:
    assert step.name == name


@pytest.mark.parametrize(
    ("given", "kind", "params"),
    [
        (Model(3), Model, {"size": 3}),
        (load_csv, FunctionStep, {}),
        (load_csv(sep=";"), FunctionStep, {"sep": ";"}),
        (partial(load_csv, sep=";"), FunctionStep, {"sep": ";"}),
        (partial(partial(load_csv, sep=","), sep=";"), FunctionStep, {"sep": ";"}),
        (partial(Model, 4), Model, {"size": 4}),
        (partial(Model, size=4), Model, {"size": 4}),
        (plain, FunctionStep, {}),
        (lambda data: data, FunctionStep, {}),
        (Callable(), FunctionStep, {}),
        (partial(lambda data, a: a, a=5), FunctionStep, {"a": 5}),
    ],
)
def test_what_a_user_puts_into_a_pipeline_becomes_a_step(
    given: Any, kind: type, params: dict[str, Any]
) -> None:
    step = as_step(given, 1)
    assert type(step) is kind
    assert step.params == params


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Model, r"step 2 of the pipeline is the class Model\. Pass an instance: Model\(...\)"),
        (Callable, r"step 2 of the pipeline is the class Callable"),
        (5, r"step 2 of the pipeline is not callable: 5.*@pipeline_step"),
        ("scale", "step 2 of the pipeline is not callable: 'scale'"),
        (None, "step 2 of the pipeline is not callable"),
        (partial(load_csv, "data"), "takes the step's parameters by name only"),
    ],
)
def test_what_cannot_be_a_step_is_refused_with_its_position(given: Any, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        as_step(given, 2)


def test_a_factory_that_is_given_data_says_how_to_run_the_step_by_hand() -> None:
    with pytest.raises(InvalidTypeError, match=r"load_csv\(...\) makes a step.*load_csv\(\)\(data, ctx\)"):
        load_csv("data")


@pytest.mark.parametrize("wrong", [Model, 5, "fn"])
def test_only_a_function_is_decorated(wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match="@pipeline_step decorates a function"):
        pipeline_step()(wrong)


def test_a_function_without_data_is_refused_where_it_is_decorated() -> None:
    with pytest.raises(InvalidTypeError, match="does not take data"):

        @pipeline_step()
        def nothing() -> None: ...


@pytest.mark.parametrize("cacheable", [1, "yes", None])
def test_cacheable_is_a_bool(cacheable: Any) -> None:
    with pytest.raises(InvalidTypeError, match="cacheable is True or False"):
        pipeline_step(cacheable=cacheable)


def test_a_class_without_call_is_no_step() -> None:
    class Nothing(PipelineStep): ...

    with pytest.raises(TypeError, match="abstract"):
        Nothing()  # type: ignore[abstract]


@pytest.mark.parametrize(
    "step",
    [
        fetch(),
        AsyncModel(),
        as_step(AsyncCallable(), 1),
        as_step(partial(fetch.__wrapped__), 1),  # type: ignore[attr-defined]
        as_step(lambda data: fetch.__wrapped__(data), 1),  # type: ignore[attr-defined]
    ],
)
def test_whatever_returns_a_coroutine_is_an_asynchronous_step(step: PipelineStep) -> None:
    awaited = Pipeline([step]).run("data", standalone_context())
    assert not inspect.iscoroutine(awaited)


def test_a_configured_steps_parameters_cannot_be_changed_from_outside() -> None:
    step = load_csv(sep=";")
    step.params["sep"] = "!"
    assert step("a", standalone_context()) == "a;"


@pytest.mark.parametrize("step", [load_csv(sep=";"), Model(3), bare()], ids=["configured", "class", "bare"])
def test_a_step_of_a_module_can_be_pickled(step: PipelineStep) -> None:
    copy = cloudpickle.loads(cloudpickle.dumps(step))
    assert (copy.name, copy.params, copy.cacheable) == (step.name, step.params, step.cacheable)


def test_its_repr_is_the_call_that_makes_it() -> None:
    assert repr(load_csv(sep=";")) == "load_csv(sep=';')"
