"""Building an experiment part by part."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from crystallize import (
    Artifact,
    BasePlugin,
    Experiment,
    Hypothesis,
    Pipeline,
    ResultAggregator,
    SeedPlugin,
    paired_t_test,
    pipeline_step,
    treatment,
)
from crystallize.errors import InvalidNameError, InvalidTypeError, InvalidValueError, ValidationError
from crystallize.experiments.builder import ExperimentBuilder


@pipeline_step()
def scale(data: float, *, factor: float = 1.0) -> Any:
    return data * factor, {"value": data * factor}


class Noted(BasePlugin): ...


class Subclass(Experiment): ...


def test_all_parts_reach_the_experiment() -> None:
    out, noted, lower = Artifact("a.bin"), Noted(), Hypothesis(paired_t_test(), "value", name="lower")

    class Own(ResultAggregator): ...

    experiment = (
        Experiment.builder("built")
        .description("all of it")
        .datasource(lambda: 2.0)
        .steps(scale, scale(factor=3.0))
        .treatments(treatment("half", {"factor": 0.5}))
        .hypotheses(lower)
        .outputs(out)
        .plugins(noted)
        .disable_plugins("logging")
        .execution("thread")
        .initial_ctx({"a": 1}, b=2)
        .replicates(4)
        .seed(7)
        .aggregator(Own)
        .build()
    )
    assert experiment.name == "built"
    assert experiment.description == "all of it"
    assert experiment.pipeline.names == ("ScaleStep", "ScaleStep-2")
    assert experiment.conditions == ("baseline", "half")
    assert experiment.hypotheses == (lower,)
    assert experiment.outputs == {"a": out}
    assert experiment.plugins.find(Noted) is noted
    names = [record.name for record in experiment.plugins.records]
    assert "logging" not in names
    assert "thread" in names
    assert experiment.initial_ctx == {"a": 1, "b": 2}
    assert experiment.replicates == 4
    assert experiment.master_seed == 7
    assert experiment.aggregator is Own
    result = experiment.run()
    assert result.metrics.treatments["half"].metrics["value"] == [1.0, 3.0] * 4


def test_the_builder_has_a_method_for_every_argument_of_the_constructor() -> None:
    arguments = set(inspect.signature(Experiment).parameters)
    assert arguments <= {name for name in dir(ExperimentBuilder) if not name.startswith("_")}


def test_parts_that_are_given_one_by_one_add_up() -> None:
    experiment = (
        Experiment.builder()
        .datasource(lambda: 1.0)
        .steps(scale)
        .steps(scale)
        .treatments(treatment("a", {}))
        .treatments(treatment("b", {}), treatment("c", {}))
        .initial_ctx({"a": 1})
        .initial_ctx(a=2, b=3)
        .name("late")
        .build()
    )
    assert len(experiment.pipeline) == 2
    assert experiment.conditions == ("baseline", "a", "b", "c")
    assert experiment.initial_ctx == {"a": 2, "b": 3}
    assert experiment.name == "late"


def test_a_whole_pipeline_can_be_given() -> None:
    pipeline = Pipeline([scale])
    assert Experiment.builder().datasource(lambda: 1.0).pipeline(pipeline).build().pipeline is pipeline


def test_the_default_plugins_are_there() -> None:
    experiment = Experiment.builder().datasource(lambda: 1.0).steps(scale).build()
    assert {"artifact", "seed", "logging"} <= {record.name for record in experiment.plugins.records}


def test_one_builder_makes_independent_experiments() -> None:
    builder = Experiment.builder("one").datasource(lambda: 1.0).steps(scale)
    first = builder.build()
    second = builder.steps(scale).name("two").build()
    assert (first.name, len(first.pipeline)) == ("one", 1)
    assert (second.name, len(second.pipeline)) == ("two", 2)


def test_a_subclass_builds_itself() -> None:
    assert type(Subclass.builder().datasource(lambda: 1.0).steps(scale).build()) is Subclass


def complete() -> ExperimentBuilder:
    return Experiment.builder().datasource(lambda: 1.0).steps(scale)


@pytest.mark.parametrize(
    ("builder", "kind", "message"),
    [
        (
            lambda: Experiment.builder().steps(scale),
            ValidationError,
            r"no datasource. Call .datasource\(...\) before",
        ),
        (
            lambda: Experiment.builder().datasource(lambda: 1),
            ValidationError,
            r"no pipeline. Call .steps\(...\) before",
        ),
        (lambda: Experiment.builder(), ValidationError, "no datasource"),
        (lambda: complete().pipeline([scale]), ValidationError, "a pipeline and single steps. Use either"),
        (
            lambda: Experiment.builder().datasource(lambda: 1).steps(),
            InvalidValueError,
            "the pipeline is empty",
        ),
        (lambda: complete().replicates(0), InvalidValueError, "replicates is at least 1"),
        (lambda: complete().name("../up"), InvalidNameError, "the name of an experiment"),
        (lambda: complete().treatments(5), InvalidTypeError, "a treatment is a Treatment"),
        (lambda: complete().seed(1).plugins(SeedPlugin(2)), InvalidValueError, "both seed= and a SeedPlugin"),
        (lambda: complete().initial_ctx({"replicate": 1}), InvalidValueError, "initial_ctx sets 'replicate'"),
        (lambda: complete().initial_ctx([1]), InvalidTypeError, "initial_ctx is a mapping"),
    ],
)
def test_what_is_missing_or_wrong_is_known_when_it_is_built(
    builder: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        builder().build()
