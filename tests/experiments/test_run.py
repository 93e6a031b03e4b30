"""What a run does, in which order, and what it does when something goes wrong on the way."""

from __future__ import annotations

import json
import logging
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from crystallize import (
    BasePlugin,
    Experiment,
    Hypothesis,
    ParallelExecution,
    ResultAggregator,
    open_run,
    paired_t_test,
    pipeline_step,
    treatment,
    verifier,
)
from crystallize.errors import (
    ExecutionError,
    InvalidValueError,
    MissingMetricError,
    PluginError,
    RunFailedError,
    ValidationError,
)
from crystallize.results.load import load_result


@pipeline_step()
def measure(data: float, ctx: Any, *, shift: float = 0.0) -> tuple[float, dict[str, float]]:
    value = data + shift + float(ctx.rng.normal())
    return value, {"value": value}


@verifier
def larger(baseline: Any, treatment: Any) -> dict[str, float]:
    return {"p_value": 0.01 if sum(treatment["value"]) > sum(baseline["value"]) else 0.9}


def experiment(**changes: Any) -> Experiment:
    arguments: dict[str, Any] = {
        "name": "runs",
        "treatments": [treatment("up", {"shift": 5.0})],
        "hypotheses": [Hypothesis(larger(), "value", direction="max")],
        "replicates": 4,
        "seed": 11,
    }
    return Experiment(lambda: 1.0, [measure], **{**arguments, **changes})


def test_every_replicate_runs_under_the_baseline_and_every_treatment() -> None:
    result = experiment().run()
    assert result.conditions == ("baseline", "up")
    assert len(result.metrics.baseline.metrics["value"]) == 4
    differences = [
        up - base
        for up, base in zip(
            result.metrics.treatments["up"].metrics["value"],
            result.metrics.baseline.metrics["value"],
            strict=True,
        )
    ]
    assert differences == pytest.approx([5.0] * 4), "conditions of a replicate share their random numbers"
    assert result.get_hypothesis("larger").comparisons[0].verdict == "better"


def test_the_arguments_of_run_hold_for_that_run_only() -> None:
    one = experiment()
    result = one.run(treatments=[treatment("down", {"shift": -1.0})], hypotheses=[], replicates=2)
    assert result.conditions == ("baseline", "down")
    assert result.metrics.hypotheses == []
    assert (one.replicates, one.conditions) == (4, ("baseline", "up"))
    assert one.run().conditions == ("baseline", "up")


def test_plugins_see_the_replicates_and_conditions_of_the_run() -> None:
    seen = []

    class Look(BasePlugin):
        def before_run(self, experiment: Experiment) -> None:
            seen.append((experiment.replicates, experiment.conditions, experiment.run_kind))

    one = experiment(plugins=[Look()])
    one.run(replicates=2, treatments=[], hypotheses=[])
    one.apply("up")
    assert seen == [(2, ("baseline",), "run"), (1, ("up",), "apply")]


def test_two_runs_of_one_experiment_are_equal_even_without_a_seed() -> None:
    one = experiment(seed=None)
    assert one.run().to_json() == one.run().to_json()
    assert experiment(seed=None).master_seed != experiment(seed=None).master_seed


def test_a_treatment_called_baseline_gives_the_baseline_its_settings() -> None:
    result = experiment(treatments=[treatment("baseline", {"shift": 100.0})], hypotheses=[]).run()
    assert result.conditions == ("baseline",)
    assert min(result.metrics.baseline.metrics["value"]) > 50


def test_a_treatment_may_bring_its_own_data_source() -> None:
    result = experiment(treatments=[treatment("other", datasource=lambda: 50.0)], hypotheses=[]).run()
    assert min(result.metrics.treatments["other"].metrics["value"]) > 40
    assert max(result.metrics.baseline.metrics["value"]) < 20


def test_a_treatment_lays_its_settings_over_the_initial_context() -> None:
    result = experiment(initial_ctx={"shift": 100.0}, hypotheses=[]).run()
    assert min(result.metrics.baseline.metrics["value"]) > 50
    assert max(result.metrics.treatments["up"].metrics["value"]) < 20


def test_names_may_be_members_of_an_enumeration() -> None:
    class Name(StrEnum):
        SHIFT = "shift"
        LOSS = "loss"

    def step(data: float, ctx: Any) -> float:
        ctx.metrics.add(Name.LOSS, data + ctx[Name.SHIFT])
        return data

    study = Experiment(lambda: 1.0, [step], name="named", initial_ctx={"shift": 0.5}, seed=1, replicates=2)
    result = study.run()
    assert [*map(type, result.metrics.baseline.metrics)] == [str]
    assert result.metrics.baseline.metrics == {"loss": [1.5, 1.5]}
    for each in (result, open_run("named")):
        (ran,) = each.provenance.of("baseline", 1)["steps"]
        assert (ran["reads"], ran["metrics"]) == ({"shift": 0.5}, {"loss": 1})


def test_what_a_plugin_draws_changes_no_steps_numbers() -> None:
    class Draws(BasePlugin):
        def before_replicate(self, ctx: Any) -> None:
            ctx.rng.random(size=100)

        def before_step(self, ctx: Any) -> None:
            ctx.rng.random(size=100)

        def after_step(self, ctx: Any) -> None:
            ctx.rng.random(size=100)

    def values(**changes: Any) -> list[float]:
        return experiment(**changes).run().metrics.baseline.metrics["value"]

    assert values(plugins=[Draws()]) == values()


def test_a_treatment_function_that_returns_its_settings_is_told_to_add_them() -> None:
    result = experiment(treatments=[treatment("up", lambda ctx: {"shift": 5.0})], hypotheses=[]).run(
        replicates=1
    )
    (error,) = result.errors
    assert error.step == "treatment"
    assert "returned {'shift': 5.0}" in error.message
    assert "ctx.add" in error.message


# -- errors of steps ------------------------------------------------------------------------------------------


def fails_sometimes(data: float, ctx: Any) -> tuple[float, dict[str, float]]:
    if ctx["condition"] == "up" and ctx["replicate"] in (1, 2):
        raise ZeroDivisionError(f"no luck in {ctx['replicate']}")
    return data, {"value": data}


def test_an_error_of_one_condition_stops_nothing_else() -> None:
    result = Experiment(lambda: 1.0, [fails_sometimes], treatments=[treatment("up", {})]).run(replicates=4)
    assert result.metrics.baseline.metrics == {"value": [1.0] * 4}
    assert result.metrics.treatments["up"].metrics == {"value": [1.0] * 2}
    assert [(error.replicate, error.condition, error.step) for error in result.errors] == [
        (1, "up", "Fails_SometimesStep"),
        (2, "up", "Fails_SometimesStep"),
    ]
    assert result.errors[0].kind == "ZeroDivisionError"
    assert result.errors[0].message == "no luck in 1"


def test_the_traceback_of_an_error_begins_in_the_users_code() -> None:
    result = Experiment(lambda: 1.0, [fails_sometimes], treatments=[treatment("up", {})]).run(replicates=2)
    lines = result.errors[0].traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "test_run.py" in lines[1]
    assert "in fails_sometimes" in lines[1]
    assert lines[-1] == "ZeroDivisionError: no luck in 1"


def test_raise_for_errors_names_the_outcomes_and_shows_the_first_traceback() -> None:
    result = Experiment(lambda: 1.0, [fails_sometimes], treatments=[treatment("up", {})]).run(replicates=4)
    with pytest.raises(RunFailedError, match=r"2 of 8 outcomes .* no luck in 1 .*no luck in 2") as raised:
        result.raise_for_errors()
    assert "in fails_sometimes" in raised.value.__notes__[0]
    experiment().run().raise_for_errors()


def test_a_data_source_that_raises_is_an_error_of_the_outcome() -> None:
    def broken(ctx: Any) -> float:
        raise OSError("no such table")

    result = Experiment(broken, [measure]).run(replicates=2)
    assert [(error.step, error.kind) for error in result.errors] == [("data source", "OSError")] * 2


def test_a_condition_of_which_every_outcome_failed_is_reported_without_its_traceback_once_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(data: float) -> float:
        raise KeyError("weights")

    Experiment(lambda: 1.0, [broken], name="hopeless").run(replicates=3)
    (report,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "every outcome of condition 'baseline' failed (3 of 3)" in report.getMessage()
    assert "KeyError: 'weights'" in report.getMessage()
    assert caplog.text.count("Traceback") == 1


def test_a_step_that_exits_fails_its_outcome_and_not_the_run() -> None:
    def leave(data: float) -> float:
        raise SystemExit(3)

    for strategy in ("serial", "thread", "process", "async"):
        result = Experiment(lambda: 1.0, [leave], execution=strategy).run(replicates=2)
        assert [error.kind for error in result.errors] == ["SystemExit"] * 2, strategy


# -- errors of hypotheses and plugins ---------------------------------------------------------------------------


def test_a_metric_that_only_some_conditions_lack_is_raised_after_everything_is_stored() -> None:
    def record(data: float, ctx: Any, *, shift: float = 0.0) -> Any:
        return data, {"value": shift + ctx["replicate"], **({} if shift < 0 else {"size": data * shift})}

    one = Experiment(
        lambda: 1.0,
        [record],
        name="runs",
        treatments=[treatment("up", {"shift": 5.0}), treatment("down", {"shift": -5.0})],
        hypotheses=[Hypothesis(paired_t_test(), "size"), Hypothesis(larger(), "value")],
    )
    with pytest.raises(MissingMetricError, match=r"'down' never recorded metric 'size'.*'value'") as raised:
        one.run(replicates=4)
    stored = load_result("data/runs/v0")
    for result in (stored, raised.value.result):  # type: ignore[attr-defined]
        assert result.get_hypothesis("paired_t_test").errors.keys() == {"down"}
        assert result.get_hypothesis("paired_t_test").results.keys() == {"up"}
        assert result.get_hypothesis("larger").results.keys() == {"up", "down"}
        assert result.condition("down").metrics == {"value": [-5.0, -4.0, -3.0, -2.0]}


def test_hypotheses_without_treatments_are_refused_before_anything_runs() -> None:
    with pytest.raises(ValidationError, match="nothing to compare"):
        experiment(treatments=[]).run()
    assert not Path("data").exists()


def test_a_hook_that_raises_before_the_run_stops_it() -> None:
    class Broken(BasePlugin):
        def before_run(self, experiment: Experiment) -> None:
            raise LookupError("no licence")

    ran = []
    one = Experiment(lambda: ran.append(1), [lambda data: data], plugins=[Broken()])
    with pytest.raises(PluginError, match=r"Broken.*before_run.*LookupError: no licence") as raised:
        one.run()
    assert isinstance(raised.value.__cause__, LookupError)
    assert ran == []
    with pytest.raises(PluginError):
        one.run()  # and the experiment is not stuck in its first run


@pytest.mark.parametrize("hook", ["before_replicate", "before_step", "after_step"])
@pytest.mark.parametrize("strategy", ["serial", "process"])
def test_a_hook_that_raises_inside_a_replicate_is_that_outcomes_error(hook: str, strategy: str) -> None:
    class Broken(BasePlugin):
        pass

    def raise_under_up(self: Any, ctx: Any) -> None:
        if ctx["condition"] == "up":
            raise LookupError("no licence")

    setattr(Broken, hook, raise_under_up)
    result = experiment(plugins=[Broken()], execution=strategy, hypotheses=[]).run()
    assert len(result.metrics.baseline.metrics["value"]) == 4
    assert [error.condition for error in result.errors] == ["up"] * 4
    assert result.errors[0].kind == "crystallize.errors.PluginError"
    assert f"raised in {hook}: LookupError: no licence" in result.errors[0].message


@pytest.mark.parametrize("hook", ["after_replicate", "after_run"])
def test_a_hook_that_raises_after_the_work_loses_nothing(hook: str) -> None:
    calls = []

    class Broken(BasePlugin):
        pass

    class Counts(BasePlugin):
        def after_replicate(self, result: Any) -> None:
            calls.append(("replicate", result.replicate))

        def after_run(self, result: Any) -> None:
            calls.append(("run", len(result.metrics.baseline.metrics["value"])))

    def broken(self: Any, result: Any) -> None:
        raise LookupError("no licence")

    setattr(Broken, hook, broken)
    with pytest.raises(PluginError, match=rf"{hook}: LookupError: no licence"):
        experiment(plugins=[Broken(), Counts()]).run()
    assert calls == [("replicate", 0), ("replicate", 1), ("replicate", 2), ("replicate", 3), ("run", 4)]
    assert json.loads(Path("data/runs/v0/metadata.json").read_text())["status"] == "complete"


# -- the door of the execution strategies -----------------------------------------------------------------------


class Junk(BasePlugin):
    """A strategy that returns what it is told to."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> Any:
        return self.make(experiment, replicate_fn)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda e, fn: {0: fn(0)}, "returned dict, not a list"),
        (lambda e, fn: [fn(0)], "returned and left replicate 1 undone"),
        (lambda e, fn: [fn(0), fn(1), fn(1)], "returned replicate 1 twice"),
        (lambda e, fn: [fn(1), fn(0), fn(2)], "returned replicate 0 after replicate 1"),
        (
            lambda e, fn: [next(e.owed), fn(next(e.owed)), fn(2)],
            "returned 0 for a replicate that it never reported",
        ),
        (
            lambda e, fn: [fn(number) for number in e.owed if number != 1],
            "without replicate 1, which it had taken",
        ),
        (
            lambda e, fn: [fn(number) for number in e.owed][:0],
            "without replicate 0, which it had taken, and without 2 more",
        ),
        (lambda e, fn: [e.replicate_done(fn(number)) for number in e.owed][:2], "returned 2 results of 3"),
        (lambda e, fn: [fn(0), None, fn(2)], "returned None in place of a result"),
        (lambda e, fn: [e.replicate_done(fn(0)), e.replicate_done(fn(0)), fn(2)], "gave replicate 0 twice"),
        (lambda e, fn: [e.replicate_done(fn(7)), fn(1), fn(2)], "gave replicate 7 of 3"),
        (lambda e, fn: [fn(0)._replace(outcomes=()), fn(1), fn(2)], "with the conditions"),
    ],
)
def test_a_strategy_that_breaks_its_contract_is_named(make: Any, fault: str) -> None:
    with pytest.raises(ExecutionError, match=fault) as raised:
        Experiment(lambda: 1.0, [measure], plugins=[Junk(make)]).run(replicates=3)
    assert "Junk" in str(raised.value)


def test_a_strategy_of_strangers_needs_no_more_than_the_documented_signature() -> None:
    class Backwards(BasePlugin):
        def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
            results = {
                replicate: replicate_fn(replicate) for replicate in reversed(range(experiment.replicates))
            }
            return [results[replicate] for replicate in range(experiment.replicates)]

    assert experiment(plugins=[Backwards()]).run().to_json() == experiment().run().to_json()


def test_a_pool_of_strangers_may_pickle_the_replicate_function() -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    class ForeignPool(BasePlugin):
        def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                return list(pool.map(replicate_fn, range(experiment.replicates)))

    driven = Experiment(lambda: 1.0, [lambda data: (data, {"value": data})], plugins=[ForeignPool()], seed=1)
    assert driven.run(replicates=2).metrics.baseline.metrics == {"value": [1.0, 1.0]}


def test_an_experiment_does_one_run_at_a_time() -> None:
    one: Experiment

    class Nested(BasePlugin):
        def before_run(self, experiment: Experiment) -> None:
            experiment.run()

    one = experiment(plugins=[Nested()])
    with pytest.raises(PluginError, match="is running already"):
        one.run()


def test_replicate_done_outside_of_a_run_is_refused() -> None:
    one = experiment()
    with pytest.raises(ExecutionError, match="no run is under way"):
        one.replicate_done(None)  # type: ignore[arg-type]


def test_nothing_runs_if_it_is_not_clear_what_to_do_about_earlier_runs() -> None:
    with pytest.raises(InvalidValueError, match="again"):
        experiment().run(strategy="again")
    assert not Path("data").exists()


def test_after_replicate_is_live_while_others_still_run() -> None:
    """The first result is seen before the last replicate starts, which waits for it to be seen."""
    seen = Path("seen").resolve()

    class Marks(BasePlugin):
        def after_replicate(self, result: Any) -> None:
            seen.write_text(str(result.replicate))

    def wait_for_the_first(data: Any, ctx: Any) -> Any:
        import time

        deadline = time.monotonic() + 60
        while ctx["replicate"] == 1 and not seen.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("no result arrived while this replicate was running")
            time.sleep(0.01)
        return data

    plugins = [Marks(), ParallelExecution(2, "process")]
    Experiment(lambda: 0, [wait_for_the_first], plugins=plugins).run(replicates=2).raise_for_errors()


def test_the_aggregator_can_be_replaced() -> None:
    class Shouting(ResultAggregator):
        def finish(self) -> Any:
            result = super().finish()
            result.experiment = result.experiment.upper()
            return result

    assert experiment(aggregator=Shouting).run().experiment == "RUNS"
