"""Where a step's parameters come from."""

from __future__ import annotations

from functools import partial
from typing import Any, Optional

import pytest

import crystallize
from crystallize import (
    Artifact,
    Experiment,
    FrozenContext,
    Pipeline,
    pipeline_step,
    standalone_context,
    treatment,
)
from crystallize.errors import InvalidTypeError, MissingParameterError
from crystallize.pipelines.injection import REQUIRED, inspect_step
from crystallize.pipelines.pipeline_step import FunctionStep


@pipeline_step()
def scale(data: float, ctx: FrozenContext, *, factor: float = 1.0) -> float:
    return data * factor


# -- construction, context, default ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "entries", "value"),
    [
        ({}, {}, 10.0),
        ({}, {"factor": 2.0}, 20.0),
        ({"factor": 3.0}, {}, 30.0),
        ({"factor": 3.0}, {"factor": 2.0}, 30.0),
        ({"factor": None}, {"factor": 2.0}, TypeError),
    ],
)
def test_a_value_given_at_construction_comes_before_the_context_and_that_before_the_default(
    arguments: Any, entries: Any, value: Any
) -> None:
    step, ctx = scale(**arguments), standalone_context(entries)
    if value is TypeError:
        with pytest.raises(TypeError):
            step(10.0, ctx)
    else:
        assert step(10.0, ctx) == value


def test_a_parameter_that_nothing_provides_is_named_with_its_step_and_what_the_context_holds() -> None:
    def fit(data: Any, *, alpha: float) -> Any:
        return data

    ctx = standalone_context({"alfa": 1}, replicate=2, condition="low")
    with pytest.raises(MissingParameterError) as raised:
        FunctionStep(fit)(None, ctx)
    assert isinstance(raised.value, TypeError)
    text = str(raised.value)
    assert "step 'FitStep' needs the parameter 'alpha'" in text
    assert "condition 'low', replicate 2" in text
    assert "Did you mean 'alfa'? The context holds 'alfa', 'condition', 'replicate'. Give it" in text


def test_what_is_injected_stands_in_the_provenance() -> None:
    result = Experiment(lambda: 1.0, [scale], treatments=[treatment("double", {"factor": 2.0})], seed=1).run()
    reads = {record["condition"]: record["steps"][-1]["reads"] for record in result.provenance}
    assert reads == {"baseline": {}, "double": {"factor": 2.0}}


def test_an_injected_container_is_a_copy() -> None:
    def spoil(data: Any, *, rows: list[int]) -> list[int]:
        rows.append(9)
        return rows

    assert Experiment(lambda: 0, [spoil, spoil], initial_ctx={"rows": [1]}).apply() == [1, 9]


# -- which parameter is what -------------------------------------------------------------------------------------


def takes_data(data: Any) -> Any:
    return data, None, {}


def takes_context(data: Any, ctx: Any) -> Any:
    return data, ctx, {}


def takes_annotated_context(data: Any, context: FrozenContext) -> Any:
    return data, context, {}


def takes_context_by_keyword(data: Any, *, ctx: Any, a: int = 1) -> Any:
    return data, ctx, {"a": a}


def takes_context_last(data: Any, a: int, ctx: Any) -> Any:
    return data, ctx, {"a": a}


def takes_another_name_for_data(rows: Any, a: int = 1) -> Any:
    return rows, None, {"a": a}


def takes_anything(data: Any, **options: Any) -> Any:
    return data, None, options


def takes_positional_data(data: Any, /, a: int) -> Any:
    return data, None, {"a": a}


def takes_text_annotation(data: Any, c: "crystallize.FrozenContext") -> Any:  # noqa: UP037 - a text is the point
    return data, c, {}


@pytest.mark.parametrize(
    ("fn", "has_context", "arguments"),
    [
        (takes_data, False, {}),
        (takes_context, True, {}),
        (takes_annotated_context, True, {}),
        (takes_context_by_keyword, True, {"a": 7}),
        (takes_context_last, True, {"a": 7}),
        (takes_another_name_for_data, False, {"a": 7}),
        (takes_anything, False, {}),
        (takes_positional_data, False, {"a": 7}),
        (takes_text_annotation, True, {}),
    ],
)
def test_each_parameter_gets_what_it_stands_for(
    fn: Any, has_context: bool, arguments: dict[str, Any]
) -> None:
    ctx = standalone_context({"a": 7})
    data, context, rest = FunctionStep(fn)("the data", ctx)
    assert data == "the data"
    assert context is (ctx if has_context else None)
    assert rest == arguments


def test_a_step_with_open_keywords_takes_any_at_construction() -> None:
    assert FunctionStep(takes_anything, {"b": 2})(0, standalone_context({"c": 3})) == (0, None, {"b": 2})


def test_injectable_parameters_are_listed_with_their_defaults() -> None:
    assert FunctionStep(takes_context_last).injected == {"a": REQUIRED}
    assert scale().injected == {"factor": 1.0}
    assert scale(factor=2.0).injected == {}


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda: None, "does not take data"),
        (lambda *, data: None, "does not take data"),
        (lambda **data: None, "does not take data"),
        (lambda data, a, /: None, "cannot be passed by name: a.*Remove the '/'"),
        (max, "no signature that can be read.*Wrap it"),
    ],
)
def test_a_function_that_cannot_be_a_step_is_refused_when_the_step_is_made(fn: Any, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        FunctionStep(fn)


@pytest.mark.parametrize("make", [lambda: scale(factr=2.0), lambda: Pipeline([partial(scale, factr=2.0)])])
def test_an_argument_that_the_step_does_not_have_is_refused_when_it_is_made(make: Any) -> None:
    with pytest.raises(
        InvalidTypeError, match=r"'ScaleStep' has no parameter 'factr'.*Did you mean 'factor'\?"
    ):
        make()


def test_a_builtin_function_can_be_a_step() -> None:
    assert Pipeline([sorted, sum]).run([3, 1], standalone_context()) == 4
    assert Pipeline([partial(sorted, reverse=True)]).run([1, 3], standalone_context()) == [3, 1]


# -- artifacts -----------------------------------------------------------------------------------------------------


def postponed(data: Any, model: Artifact) -> Any:
    model.write(data)
    return data


def optional(data: Any, model: Optional[Artifact] = None) -> Any:  # noqa: UP045 - people write it
    return model is not None


def either(data: Any, model: Artifact | None = None) -> Any:
    return model is not None


@pytest.mark.parametrize("fn", [postponed, optional, either])
def test_a_parameter_annotated_with_artifact_is_recognised_though_annotations_are_postponed(fn: Any) -> None:
    assert inspect_step(fn, "step").artifacts == {"model"}


def test_an_unresolvable_annotation_beside_it_is_no_hindrance() -> None:
    def step(data: Any, model: Artifact, other: NowhereToBeFound = 1) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return data

    assert inspect_step(step, "step").artifacts == {"model"}


@pytest.mark.parametrize(
    "outputs",
    [[Artifact("model.bin")], [Artifact("any.bin", alias="model")], {"model": Artifact("any.bin")}],
    ids=["by file name", "by alias", "by mapping"],
)
def test_an_output_reaches_the_parameter_of_its_alias(outputs: Any) -> None:
    result = Experiment(lambda: b"abc", [postponed], outputs=outputs).run(replicates=2)
    result.raise_for_errors()
    assert [(entry.step, entry.size) for entry in result.artifacts] == [("PostponedStep", 3)] * 2


def test_an_output_given_at_construction_is_taken_as_it_is() -> None:
    other = Artifact("other.bin")
    step = FunctionStep(postponed, {"model": other})
    assert step.bind({"model": Artifact("model.bin")}) is step


def test_a_step_whose_artifact_is_no_output_is_refused_when_the_experiment_is_made() -> None:
    with pytest.raises(
        MissingParameterError, match=r"'PostponedStep' writes to the artifact 'model'.*Did you.*'modell'"
    ):
        Experiment(lambda: b"", [postponed], outputs=[Artifact("modell.bin")])


def test_an_artifact_with_a_default_may_be_missing() -> None:
    assert Experiment(lambda: 0, [either]).apply() is False
    assert Experiment(lambda: 0, [either], outputs=[Artifact("model.bin")]).apply() is True


def test_the_context_does_not_provide_artifacts() -> None:
    assert Experiment(lambda: 0, [either], initial_ctx={"model": 5}).apply() is False
