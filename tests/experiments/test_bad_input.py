"""Bad input: a clear error of a named kind, before any work where it can be known before.

Every error is one of ours and also the built-in kind that a caller expects, names the place, and says what to do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystallize import (
    Artifact,
    ArtifactPlugin,
    AsyncExecution,
    BasePlugin,
    CrystallizeError,
    DataSource,
    Experiment,
    ExperimentInput,
    FrozenContext,
    Hypothesis,
    LoggingPlugin,
    ParallelExecution,
    Pipeline,
    PipelineStep,
    SeedPlugin,
    SerialExecution,
    Treatment,
    hookimpl,
    paired_t_test,
    pipeline_step,
    treatment,
)
from crystallize.errors import (
    ExecutionError,
    InvalidNameError,
    InvalidTypeError,
    InvalidValueError,
    MissingMetricError,
    MissingParameterError,
    PluginError,
    UnknownNameError,
    ValidationError,
)

FETCHED: list[str] = []


@pytest.fixture(autouse=True)
def nothing_fetched() -> None:
    FETCHED.clear()


def source() -> int:
    FETCHED.append("fetched")
    return 1


def step(data: Any) -> Any:
    return data, {"loss": float(data)}


class Step(PipelineStep):
    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        return data


class Source(DataSource):
    def fetch(self, ctx: FrozenContext) -> Any:
        return 1


def make(**options: Any) -> Experiment:
    return Experiment(**{"datasource": source, "pipeline": [step], "name": "exp", **options})


def run(**options: Any) -> Any:
    return make().run(**options)


def assert_refused(
    call: Callable[[], object], kind: type[CrystallizeError], builtin: type[Exception], *parts: str
) -> None:
    """Check the error of `call`: its kinds, what its text names, and that nothing was run or written."""
    with pytest.raises(CrystallizeError) as raised:
        call()
    error = raised.value
    assert type(error) is kind, repr(error)
    assert isinstance(error, builtin)
    for part in parts:
        assert part in str(error)
    assert FETCHED == []
    assert list(Path.cwd().iterdir()) == []


# -- replicates, seed, names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [make, run], ids=["constructor", "run"])
@pytest.mark.parametrize(
    ("replicates", "kind", "builtin"),
    [
        (0, InvalidValueError, ValueError),
        (-1, InvalidValueError, ValueError),
        ("3", InvalidTypeError, TypeError),
        (2.5, InvalidTypeError, TypeError),
        (3.0, InvalidTypeError, TypeError),
        (True, InvalidTypeError, TypeError),
        ([3], InvalidTypeError, TypeError),
        (np.array([1, 2]), InvalidTypeError, TypeError),
        (np.float64(3), InvalidTypeError, TypeError),
    ],
)
def test_replicates_is_a_positive_int(where: Any, replicates: Any, kind: Any, builtin: Any) -> None:
    assert_refused(lambda: where(replicates=replicates), kind, builtin, "replicates is", "got")


@pytest.mark.parametrize("replicates", [1, np.int64(2)])
def test_any_int_type_will_do_for_replicates(replicates: Any) -> None:
    assert type(make(replicates=replicates).run().replicates) is int


@pytest.mark.parametrize(
    ("seed", "kind", "builtin"),
    [(-1, InvalidValueError, ValueError), ("1", InvalidTypeError, TypeError), (1.5, InvalidTypeError, TypeError),
     (True, InvalidTypeError, TypeError)],
)  # fmt: skip
def test_a_seed_is_an_int_that_is_not_negative(seed: Any, kind: Any, builtin: Any) -> None:
    for call in (lambda: make(seed=seed), lambda: SeedPlugin(seed), lambda: make().apply(seed=seed)):
        assert_refused(call, kind, builtin, "at least 0")


LEAVING = ["../up", "a/b", "/abs", "..", ".", "", "C:\\x", "a\x00b", "nul", "a" * 300]


@pytest.mark.parametrize("name", LEAVING, ids=map(ascii, LEAVING))
@pytest.mark.parametrize(
    "use",
    [
        lambda name: make(name=name),
        lambda name: Artifact(name),
        lambda name: Treatment(name, {}),
        lambda name: treatment(name, {}),
        lambda name: make(outputs=[Artifact(name)]),
        lambda name: make().artifact_datasource(step=name, name="a.bin"),
        lambda name: make().artifact_datasource(step="Step", name=name),
        lambda name: make().artifact_datasource(step="Step", name="a.bin", condition=name),
        lambda name: Experiment.builder(name).datasource(source).steps(step).build(),
    ],
    ids=[
        "experiment",
        "artifact",
        "Treatment",
        "treatment()",
        "output",
        "step",
        "source",
        "condition",
        "builder",
    ],
)
def test_a_name_that_would_leave_its_folder_is_refused(use: Any, name: str) -> None:
    assert_refused(
        lambda: use(name), InvalidNameError, ValueError, "cannot be the name of a", "Use letters, digits"
    )


@pytest.mark.parametrize("name", [5, b"exp", Path("exp"), ["exp"]])
def test_a_name_is_a_str(name: Any) -> None:
    assert_refused(lambda: make(name=name), InvalidTypeError, TypeError, "the name of an experiment is a str")


# -- the constructor's other arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "builtin", "parts"),
    [
        ({"datasource": None}, InvalidTypeError, TypeError, ["a data source is", "got None", "Pass a function"]),
        ({"datasource": [1]}, InvalidTypeError, TypeError, ["a data source is", "Pass a function"]),
        ({"datasource": Source}, InvalidTypeError, TypeError, ["class Source", "Pass an instance: Source(...)"]),
        ({"datasource": lambda a, b: 1}, MissingParameterError, TypeError, ["data source '<lambda>'", "It takes"]),
        ({"pipeline": []}, InvalidValueError, ValueError, ["the pipeline is empty", "at least one step"]),
        ({"pipeline": None}, InvalidTypeError, TypeError, ["a pipeline takes a list of steps, got None"]),
        ({"pipeline": step}, InvalidTypeError, TypeError, ["a pipeline takes a list of steps"]),
        ({"pipeline": "step"}, InvalidTypeError, TypeError, ["a pipeline takes a list of steps"]),
        ({"pipeline": [step, 5]}, InvalidTypeError, TypeError, ["step 2", "not callable: 5", "@pipeline_step"]),
        ({"pipeline": [Step]}, InvalidTypeError, TypeError, ["step 1", "class Step", "Pass an instance: Step(...)"]),
        ({"pipeline": [lambda: 1]}, InvalidTypeError, TypeError, ["'LambdaStep'", "first parameter is the data"]),
        ({"pipeline": [partial(pipeline_step()(step), bad=1)]}, InvalidTypeError, TypeError, ["no parameter 'bad'"]),
        ({"treatments": [treatment("a", {}), treatment("a", {})]}, InvalidNameError, ValueError,
         ["two treatments are called 'a'", "its own name"]),
        ({"treatments": ["a"]}, InvalidTypeError, TypeError, ["a treatment is a Treatment", "treatment("]),
        ({"treatments": [Treatment]}, InvalidTypeError, TypeError, ["a treatment is a Treatment"]),
        ({"treatments": 5}, InvalidTypeError, TypeError, ["treatments are a list"]),
        ({"treatments": {"a": {}}}, InvalidTypeError, TypeError, ["treatments are a list"]),
        ({"initial_ctx": {"replicate": 1}}, InvalidValueError, ValueError,
         ["initial_ctx sets 'replicate'", "another key"]),
        ({"initial_ctx": [("a", 1)]}, InvalidTypeError, TypeError, ["initial_ctx is a mapping"]),
        ({"initial_ctx": {1: 2}}, InvalidTypeError, TypeError, ["initial_ctx has the key 1"]),
        ({"hypotheses": [Hypothesis]}, InvalidTypeError, TypeError, ["a Hypothesis", "Hypothesis(verifier"]),
        ({"hypotheses": [paired_t_test()]}, InvalidTypeError, TypeError, ["Hypothesis(verifier"]),
        ({"hypotheses": "lower"}, InvalidTypeError, TypeError, ["hypotheses are a list"]),
        ({"hypotheses": [Hypothesis(paired_t_test(), "loss", name="h")] * 2}, InvalidNameError, ValueError,
         ["two hypotheses are called 'h'", "name="]),
        ({"outputs": ["model.bin"]}, InvalidTypeError, TypeError, ["an output is an Artifact", "Artifact("]),
        ({"outputs": [Artifact]}, InvalidTypeError, TypeError, ["an output is an Artifact"]),
        ({"outputs": 5}, InvalidTypeError, TypeError, ["outputs are a list", "outputs=["]),
        ({"outputs": [Artifact("a.bin"), Artifact("a.bin", alias="b")]}, InvalidNameError, ValueError,
         ["two outputs are called 'a.bin'", "file name"]),
        ({"outputs": [Artifact("a.bin"), Artifact("A.bin", alias="b")]}, InvalidNameError, ValueError,
         ["'A.bin'", "does not tell 'a.bin' from it"]),
        ({"outputs": [Artifact("a.bin", alias="x"), Artifact("b.bin", alias="X")]}, InvalidNameError, ValueError,
         ["the alias 'X'", "does not tell 'x' from it"]),
        ({"plugins": SeedPlugin()}, InvalidTypeError, TypeError, ["plugins is a list", "plugins=[...]"]),
        ({"plugins": "seed"}, InvalidTypeError, TypeError, ["plugins is a list"]),
        ({"plugins": [SeedPlugin]}, InvalidTypeError, TypeError, ["plugins[0] is the class SeedPlugin"]),
        ({"plugins": [5]}, InvalidTypeError, TypeError, ["5 is no plugin", "BasePlugin"]),
        ({"plugins": [SeedPlugin(1)], "seed": 2}, InvalidValueError, ValueError,
         ["both seed= and a SeedPlugin", "SeedPlugin(seed="]),
        ({"plugins": [SeedPlugin(1), SeedPlugin(2)]}, PluginError, RuntimeError, ["one seed plugin"]),
        ({"disable_plugins": "seed"}, InvalidTypeError, TypeError, ["disable_plugins is a list of names"]),
        ({"disable_plugins": 5}, InvalidTypeError, TypeError, ["disable_plugins is a list of names"]),
        ({"description": 5}, InvalidTypeError, TypeError, ["description is a str"]),
        ({"aggregator": 5}, InvalidTypeError, TypeError, ["aggregator is a class", "Pass the class"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_each_argument_of_the_experiment_is_checked(
    options: Any, kind: Any, builtin: Any, parts: list[str]
) -> None:
    assert_refused(lambda: make(**options), kind, builtin, *parts)


@pytest.mark.parametrize("key", ["replicate", "condition", "seed_used", "step_name"])
def test_reserved_keys_are_the_frameworks(key: str) -> None:
    assert_refused(
        lambda: treatment("t", {key: 1}), InvalidValueError, ValueError, f"'t' sets '{key}'", "another key"
    )
    assert_refused(
        lambda: make(initial_ctx={key: 1}), InvalidValueError, ValueError, f"sets '{key}'", "another key"
    )


@pytest.mark.parametrize(
    ("options", "kind", "builtin", "parts"),
    [
        ({"treatments": ["a"]}, InvalidTypeError, TypeError, ["a treatment is a Treatment"]),
        (
            {"treatments": [treatment("a", {}), treatment("a", {})]},
            InvalidNameError,
            ValueError,
            ["two treatments"],
        ),
        ({"hypotheses": ["h"]}, InvalidTypeError, TypeError, ["a Hypothesis"]),
        ({"strategy": "again"}, InvalidValueError, ValueError, ["'rerun' or 'resume', got 'again'"]),
        ({"strategy": None}, InvalidValueError, ValueError, ["'rerun' or 'resume', got None"]),
    ],
)
def test_each_argument_of_run_is_checked(options: Any, kind: Any, builtin: Any, parts: list[str]) -> None:
    assert_refused(lambda: run(**options), kind, builtin, *parts)


@pytest.mark.parametrize(
    ("applied", "kind", "builtin", "parts"),
    [
        ("lw", UnknownNameError, LookupError, ["no treatment 'lw'", "'low'", "Did you mean 'low'?"]),
        (5, InvalidTypeError, TypeError, ["a treatment is a Treatment, got 5"]),
        ({"factor": 1}, InvalidTypeError, TypeError, ["a treatment is a Treatment"]),
    ],
)
def test_what_is_applied_is_a_treatment_or_the_name_of_one(
    applied: Any, kind: Any, builtin: Any, parts: Any
) -> None:
    assert_refused(lambda: make(treatments=[treatment("low", {})]).apply(applied), kind, builtin, *parts)


# -- execution ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("execution", "kind", "builtin", "parts"),
    [
        ("proces", UnknownNameError, LookupError, ["'proces'", "Did you mean 'process'?"]),
        ("", UnknownNameError, LookupError, ["execution strategy"]),
        (
            SerialExecution,
            InvalidTypeError,
            TypeError,
            ["class SerialExecution, not an instance", "SerialExecution()"],
        ),
        (5, InvalidTypeError, TypeError, ["execution is a name", "'process'"]),
        ({"max_workers": 2}, InvalidTypeError, TypeError, ["does not name a strategy", '"strategy"']),
        (
            {"strategy": "process", "workers": 2},
            InvalidTypeError,
            TypeError,
            ["no argument 'workers'", "'max_workers'"],
        ),
        (
            {"strategy": "process", "max_workers": 0},
            InvalidValueError,
            ValueError,
            ["max_workers is at least 1"],
        ),
    ],
)
def test_an_execution_that_is_not_there_or_wrong_is_refused(
    execution: Any, kind: Any, builtin: Any, parts: Any
) -> None:
    assert_refused(lambda: make(execution=execution), kind, builtin, *parts)


@pytest.mark.parametrize(
    ("call", "kind", "builtin", "part"),
    [
        (
            lambda: ParallelExecution(max_workers=0),
            InvalidValueError,
            ValueError,
            "max_workers is at least 1, got 0",
        ),
        (
            lambda: ParallelExecution(max_workers=-2),
            InvalidValueError,
            ValueError,
            "max_workers is at least 1",
        ),
        (lambda: ParallelExecution(max_workers="2"), InvalidTypeError, TypeError, "max_workers is an int"),
        (lambda: ParallelExecution(max_workers=2.0), InvalidTypeError, TypeError, "max_workers is an int"),
        (lambda: ParallelExecution(max_workers=True), InvalidTypeError, TypeError, "max_workers is an int"),
        (
            lambda: ParallelExecution(executor_type="proces"),
            InvalidValueError,
            ValueError,
            "Did you mean 'process'?",
        ),
        (
            lambda: ParallelExecution(executor_type=None),
            InvalidTypeError,
            TypeError,
            "executor_type is one of",
        ),
        (lambda: ParallelExecution(progress="yes"), InvalidTypeError, TypeError, "progress is True or False"),
        (lambda: SerialExecution(progress=1), InvalidTypeError, TypeError, "progress is True or False"),
        (
            lambda: AsyncExecution(max_concurrency=0),
            InvalidValueError,
            ValueError,
            "max_concurrency is at least 1",
        ),
        (lambda: SeedPlugin(auto_seed=1), InvalidTypeError, TypeError, "auto_seed is True or False"),
        (lambda: SeedPlugin(seed_fn=5), InvalidTypeError, TypeError, "seed_fn is a callable"),
        (lambda: ArtifactPlugin(root_dir=5), InvalidTypeError, TypeError, "root_dir is a path"),
        (lambda: ArtifactPlugin(versioned=1), InvalidTypeError, TypeError, "versioned is True or False"),
        (
            lambda: ArtifactPlugin(artifact_retention=0),
            InvalidValueError,
            ValueError,
            "artifact_retention is at least 1",
        ),
        (lambda: LoggingPlugin(verbose="yes"), InvalidTypeError, TypeError, "verbose is"),
        (lambda: LoggingPlugin(log_level="LOUD"), InvalidValueError, ValueError, "LOUD"),
        (lambda: Artifact("a.bin", loader=5), InvalidTypeError, TypeError, "the loader of artifact 'a.bin'"),
        (lambda: Artifact("a.bin", loader="jsn"), UnknownNameError, LookupError, "Did you mean 'json'?"),
        (lambda: Artifact("a.bin", writer=5), InvalidTypeError, TypeError, "the writer of artifact 'a.bin'"),
        (
            lambda: Artifact("a.bin", alias="a b"),
            InvalidNameError,
            ValueError,
            "cannot be an artifact's alias",
        ),
        (lambda: ExperimentInput(), InvalidTypeError, TypeError, "at least one data source"),
        (lambda: ExperimentInput(a=5), InvalidTypeError, TypeError, "a data source is"),
        (lambda: Hypothesis(None), InvalidTypeError, TypeError, "verifier"),
        (lambda: Hypothesis(paired_t_test(), metrics=5), InvalidTypeError, TypeError, "metrics is a name"),
        (
            lambda: Hypothesis(paired_t_test(), ranker=5),
            InvalidTypeError,
            TypeError,
            "a ranker is a callable",
        ),
        (
            lambda: Hypothesis(paired_t_test(), name=5),
            InvalidTypeError,
            TypeError,
            "the name of a hypothesis is a str",
        ),
        (lambda: Pipeline([]), InvalidValueError, ValueError, "the pipeline is empty"),
    ],
)
def test_each_constructor_checks_its_arguments(call: Any, kind: Any, builtin: Any, part: str) -> None:
    assert_refused(call, kind, builtin, part)


# -- plugins -----------------------------------------------------------------------------------------------------------


class Misspelt(BasePlugin):
    def before_runs(self, experiment: Any) -> None: ...


class MisspeltMark:
    @hookimpl
    def befor_run(self, experiment: Any) -> None: ...


class UnknownArgument(BasePlugin):
    def before_run(self, experiment: Any, ctx: Any) -> None: ...  # type: ignore[override]


class AsyncHook(BasePlugin):
    async def before_run(self, experiment: Any) -> None: ...  # type: ignore[override]


class NoHook:
    def hello(self) -> None: ...


class Raising(BasePlugin):
    def __init__(self, hook: str) -> None:
        self.hook = hook

    def active_hooks(self) -> frozenset[str]:
        return frozenset({self.hook})

    def init_hook(self, experiment: Any) -> None:
        raise LookupError("from the hook")

    def before_run(self, experiment: Any) -> None:
        raise LookupError("from the hook")


@pytest.mark.parametrize(
    ("plugin", "kind", "builtin", "parts"),
    [
        (Misspelt(), PluginError, RuntimeError, ["'Misspelt'", "before_runs", "before_run"]),
        (
            MisspeltMark(),
            PluginError,
            RuntimeError,
            ["'MisspeltMark'", "'befor_run'", "Did you mean 'before_run'?"],
        ),
        (
            UnknownArgument(),
            PluginError,
            RuntimeError,
            ["'UnknownArgument'", "before_run", "'ctx'", "'experiment'"],
        ),
        (AsyncHook(), PluginError, RuntimeError, ["'AsyncHook'", "before_run is an async def"]),
        (NoHook(), InvalidTypeError, TypeError, ["is no plugin: it has no hook", "@hookimpl"]),
        (Misspelt, InvalidTypeError, TypeError, ["plugins[0] is the class Misspelt", "Write Misspelt()"]),
        (Raising("init_hook"), PluginError, RuntimeError, ["'Raising'", "init_hook", "from the hook"]),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_plugin_with_a_mistake_is_refused_when_the_experiment_is_made(
    plugin: Any, kind: Any, builtin: Any, parts: list[str]
) -> None:
    assert_refused(lambda: make(plugins=[plugin]), kind, builtin, *parts)


def test_a_plugin_that_raises_before_the_run_stops_it_before_any_replicate() -> None:
    assert_refused(
        lambda: make(plugins=[Raising("before_run")]).run(), PluginError, RuntimeError, "'Raising'", "before_run",
        "from the hook",
    )  # fmt: skip


# -- what only the parts together show -----------------------------------------------------------------------------


def test_hypotheses_without_a_treatment_are_refused_before_the_run() -> None:
    experiment = make(hypotheses=[Hypothesis(paired_t_test(), "loss", name="lower")])
    for call in (experiment.validate, experiment.run):
        assert_refused(
            call,
            ValidationError,
            ValueError,
            "'lower' have nothing to compare",
            "experiment 'exp'",
            "a treatment",
        )


def needs_alpha(data: Any, *, alpha: float) -> Any:
    return data


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        ({}, "baseline"),
        ({"treatments": [treatment("t", {"alpha": 1})]}, "baseline"),
        ({"treatments": [treatment("baseline", {"alpha": 1}), treatment("t", {})]}, "t"),
        ({"pipeline": [step, needs_alpha]}, "baseline"),
    ],
)
def test_a_parameter_that_nothing_provides_is_known_before_the_run(options: Any, condition: str) -> None:
    experiment = make(**{"pipeline": [needs_alpha], **options})
    for call in (experiment.validate, experiment.run):
        assert_refused(
            call, ValidationError, ValueError, "'Needs_AlphaStep' needs the parameter 'alpha'",
            f"condition '{condition}'", "experiment 'exp'", "Give it at construction",
        )  # fmt: skip


def adds_alpha(data: Any, ctx: FrozenContext) -> Any:
    ctx.add("alpha", 1)
    return data


class AddsAlphaStep(PipelineStep):
    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        return adds_alpha(data, ctx)


class AddsAlpha(BasePlugin):
    def before_replicate(self, ctx: FrozenContext) -> None:
        ctx.add("alpha", 1)


@pytest.mark.parametrize(
    "options",
    [
        {"initial_ctx": {"alpha": 1}},
        {"treatments": [treatment("baseline", {"alpha": 1})]},
        {"treatments": [treatment("baseline", lambda ctx: ctx.add("alpha", 1))]},
        {"pipeline": [adds_alpha, needs_alpha]},
        {"pipeline": [AddsAlphaStep(), needs_alpha]},
        {"plugins": [AddsAlpha()]},
        {"datasource": lambda ctx: ctx.add("alpha", 1)},
    ],
    ids=["initial_ctx", "settings", "treatment", "step", "class step", "plugin", "source"],
)
def test_a_parameter_that_something_may_provide_is_not_complained_about(options: Any) -> None:
    experiment = make(**{"pipeline": [needs_alpha], **options})
    experiment.validate()
    experiment.run().raise_for_errors()


def test_a_parameter_that_turns_out_to_be_missing_is_the_outcomes_error() -> None:
    result = make(datasource=lambda ctx: 1, pipeline=[needs_alpha]).run()
    (error,) = result.errors
    assert error.kind == "crystallize.errors.MissingParameterError"
    assert "'alpha'" in error.message
    assert error.step == "Needs_AlphaStep"


@pytest.mark.parametrize("execution", ["serial", "thread", "process", "async"])
def test_a_metric_that_no_condition_records_ends_the_run_with_its_first_replicate(execution: str) -> None:
    arrived = []

    class Count(BasePlugin):
        def after_replicate(self, result: Any) -> None:
            arrived.append(result.replicate)

    experiment = make(
        treatments=[treatment("t", {})],
        hypotheses=[
            Hypothesis(paired_t_test(), "loss", name="right"),
            Hypothesis(paired_t_test(), "accuracy", name="wrong"),
        ],
        plugins=[Count()],
        execution=execution,
    )
    with pytest.raises(MissingMetricError) as raised:
        experiment.run(replicates=30)
    assert isinstance(raised.value, KeyError)
    for part in (
        "no condition recorded metric 'accuracy' in the first replicate",
        "hypothesis 'wrong'",
        "'loss'",
    ):
        assert part in str(raised.value)
    assert 0 in arrived
    if execution == "serial":
        assert arrived == [0]
    assert json.loads(Path("data/exp/v0/metadata.json").read_text())["status"] == "failed"


def test_a_metric_that_a_failed_outcome_might_have_recorded_ends_no_run() -> None:
    def record(data: Any, ctx: FrozenContext) -> Any:
        if ctx["replicate"] == 0:
            raise ValueError("unlucky")
        return data, {"loss": float(ctx.rng.normal())}

    result = make(
        pipeline=[record], treatments=[treatment("t", {})], hypotheses=[Hypothesis(paired_t_test(), "loss")]
    ).run(replicates=3)
    assert result.get_hypothesis("paired_t_test").results["t"]["n"] == 2


@pytest.mark.parametrize("execution", ["serial", "thread", "process", "async"])
def test_a_data_source_that_raises_is_the_error_of_its_outcomes(
    execution: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(ctx: FrozenContext) -> Any:
        if ctx["condition"] == "baseline":
            raise OSError("disk on fire")
        return 1

    result = make(datasource=broken, treatments=[treatment("t", {})], execution=execution).run(replicates=2)
    assert [(error.kind, error.message, error.step, error.condition) for error in result.errors] == [
        ("OSError", "disk on fire", "data source", "baseline")
    ] * 2
    assert "in broken" in result.errors[0].traceback
    assert result.metrics.treatments["t"].metrics["loss"] == [1.0, 1.0]
    (loud,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "every outcome of condition 'baseline' failed" in loud
    assert "disk on fire" in loud


def test_apply_raises_what_the_data_source_or_the_step_raises() -> None:
    def broken() -> Any:
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        make(datasource=broken).apply()
    with pytest.raises(ZeroDivisionError):
        make(pipeline=[lambda data: 1 / 0]).apply()


def test_an_experiment_runs_again_after_a_run_that_was_refused() -> None:
    experiment = make()
    with pytest.raises(InvalidValueError):
        experiment.run(replicates=0)
    with pytest.raises(InvalidTypeError):
        experiment.apply(seed="x")
    assert experiment.run(replicates=2).replicates == 2
    assert experiment.replicates is None


def test_a_run_inside_a_run_of_the_same_experiment_is_refused() -> None:
    def again(data: Any) -> Any:
        return experiment.run()

    experiment = make(pipeline=[again])
    (error,) = experiment.run().errors
    assert error.kind == "crystallize.errors.ExecutionError"
    assert "is running already" in error.message


def test_a_result_reported_outside_of_a_run_is_refused() -> None:
    assert_refused(
        lambda: make().replicate_done(None),
        ExecutionError,
        RuntimeError,
        "no run is under way",
        "experiment 'exp'",
    )


@pytest.mark.parametrize(
    ("results", "fault"),
    [
        (lambda fn, n: None, "not a list"),
        (lambda fn, n: tuple(fn(i) for i in range(n)), "tuple"),
        (lambda fn, n: [fn(0)], "left replicate 1 undone"),
        (lambda fn, n: [fn(i) for i in (0, 2, 1)], "replicate 1 after replicate 2"),
        (lambda fn, n: [fn(0), fn(0), fn(2)], "replicate 0 twice"),
        (lambda fn, n: [None] * n, "None in place of a result"),
    ],
)
def test_a_strategy_that_breaks_its_contract_is_named(results: Any, fault: str) -> None:
    class Broken(BasePlugin):
        def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> Any:
            return results(replicate_fn, experiment.replicates)

    with pytest.raises(ExecutionError, match=fault) as raised:
        make(plugins=[Broken()]).run(replicates=3)
    assert isinstance(raised.value, RuntimeError)
    assert "experiment 'exp'" in str(raised.value)
    assert "Broken" in str(raised.value)
