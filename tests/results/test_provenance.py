"""How each number came about."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import pytest

from crystallize import BasePlugin, Experiment, FrozenContext, Result, treatment
from crystallize.errors import InvalidValueError, RunFailedError
from crystallize.results.load import load_result
from crystallize.results.provenance import Provenance, TraceStore
from crystallize.store.outcome import OutcomeError


def source(ctx: FrozenContext) -> Any:
    return ctx.get("rows", 1)


def fit(data: Any, ctx: FrozenContext, *, alpha: float = 1.0) -> Any:
    if ctx["replicate"] == 1 and ctx["condition"] == "low":
        raise ValueError("no fit")
    return data, {"loss": alpha}


def last(data: Any) -> Any:
    return data


def shift(ctx: FrozenContext) -> None:
    ctx.add("alpha", ctx["low_alpha"])


@pytest.fixture
def result() -> Result:
    return Experiment(
        source,
        [fit, last],
        initial_ctx={"rows": [1, 2], "low_alpha": 0.1},
        treatments=[treatment("low", shift), treatment("high", {"alpha": 2.0})],
        seed=5,
    ).run(replicates=2)


def test_there_is_one_record_for_each_outcome_in_order(result: Result) -> None:
    places = [(record["replicate"], record["condition"]) for record in result.provenance]
    assert places == [(r, c) for r in (0, 1) for c in ("baseline", "low", "high")]
    assert len(result.provenance) == 6


def stage(step: str, **told: Any) -> dict[str, Any]:
    """Return what a record has of a step that did nothing but what is told."""
    nothing: dict[str, Any] = {
        "params": {},
        "reads": {},
        "missing": [],
        "metrics": {},
        "present": [],
        "keys": None,
        "streams": {},
        "added": {},
        "artifacts": [],
    }
    return {"step": step, **nothing, **told}


def test_a_record_tells_seed_steps_parameters_reads_and_metrics(result: Result) -> None:
    assert result.provenance.of("low", 0) == {
        "replicate": 0,
        "condition": "low",
        "seed_used": 5,
        "error": None,
        "steps": [
            stage("treatment", reads={"low_alpha": 0.1}, added={"alpha": 0.1}),
            stage("data source", reads={"rows": "<list of 2>"}),
            stage("FitStep", reads={"replicate": 0, "alpha": 0.1}, metrics={"loss": 1}),
            stage("LastStep"),
        ],
    }
    assert result.provenance.of("high", 1)["seed_used"] == 5 + 31337


def test_a_failed_outcome_has_its_error_and_what_was_read_until_then(result: Result) -> None:
    record = result.provenance.of("low", 1)
    assert record["error"].startswith("ValueError: no fit")
    assert [step["reads"] for step in record["steps"]] == [
        {"low_alpha": 0.1},
        {"rows": "<list of 2>"},
        {"alpha": 0.1, "replicate": 1, "condition": "low"},
    ]


@pytest.mark.parametrize(
    ("where", "steps"),
    [
        ("treatment", []),
        ("data source", []),
        ("QuietStep", ["QuietStep"]),
        ("StopStep", ["QuietStep", "StopStep"]),
        ("StopStep-2", ["QuietStep", "StopStep", "StopStep-2"]),
        ("", ["QuietStep", "StopStep", "StopStep-2"]),
    ],
)
def test_steps_after_the_one_that_failed_did_not_run_and_are_not_listed(where: str, steps: list[str]) -> None:
    def stop_at(place: str) -> None:
        if place == where:
            raise ValueError("stop")

    def quiet(data: Any) -> Any:
        stop_at("QuietStep")
        return data

    def stop(data: int) -> int:
        stop_at(("StopStep", "StopStep-2")[data])
        return data + 1

    def rows() -> int:
        stop_at("data source")
        return 0

    treated = treatment("treated", lambda ctx: stop_at("treatment"))
    result = Experiment(rows, [quiet, stop, stop], treatments=[treated], seed=1).run(replicates=1)
    assert result.path is not None
    for each in (result, load_result(result.path)):
        record = each.provenance.of("treated", 0)
        assert [step["step"] for step in record["steps"]] == steps
        for fmt in ("condition > replicate > step", "replicate > condition > step"):
            told = each.provenance.tree(fmt).partition("treated\n")[2].splitlines()
            assert [
                line.strip() for line in told if line.strip() in {*steps, "QuietStep", "StopStep"}
            ] == steps


def test_of_an_outcome_that_never_arrived_no_steps_are_listed() -> None:
    failing = treatment("failing", lambda ctx: ctx["nothing"])
    with pytest.raises(RunFailedError) as stopped:
        Experiment(source, [last], treatments=[failing], on_error="stop", seed=1).run(replicates=2)
    result: Result = stopped.value.result  # type: ignore[attr-defined]
    assert [len(record["steps"]) for record in result.provenance] == [2, 1, 0, 0]


def test_of_an_outcome_whose_worker_died_nobody_knows_which_steps_ran(result: Result) -> None:
    error = OutcomeError(0, "baseline", None, "crystallize.errors.WorkerLostError", "killed", "")
    traces = TraceStore()
    traces.put(0, ())
    steps: list[tuple[str, dict[str, Any]]] = [("LastStep", {})]
    provenance = Provenance(steps, {"baseline": (traces, [None], {0: error})}, 1)
    assert provenance.of("baseline", 0)["steps"] == []


def test_it_is_a_sequence(result: Result) -> None:
    provenance = result.provenance
    assert provenance[-1] == provenance[5] == provenance.of("high", 1)
    assert provenance[1:3] == [provenance[1], provenance[2]]
    assert provenance[0] in provenance
    with pytest.raises(IndexError):
        provenance[6]


def test_what_plugins_read_before_the_steps_is_not_the_first_steps() -> None:
    class Nosy(BasePlugin):
        def before_replicate(self, experiment: Experiment, ctx: FrozenContext) -> None:
            ctx["secret"]

    result = Experiment(lambda: 1, [last], initial_ctx={"secret": 5}, plugins=[Nosy()], seed=1).run()
    assert [step["reads"] for step in result.provenance[0]["steps"]] == [{}]


def test_what_plugins_read_around_a_step_is_not_the_steps() -> None:
    class Nosy(BasePlugin):
        def before_step(self, ctx: FrozenContext) -> None:
            ctx.get("note")

        def after_step(self, ctx: FrozenContext) -> None:
            ctx.get("note")
            raise ValueError("and this changes nothing")

    def reads(data: Any, ctx: FrozenContext) -> Any:
        return ctx["read"]

    experiment = Experiment(
        lambda: 1, [reads], plugins=[Nosy()], initial_ctx={"note": "of the plugin", "read": "by the step"}
    )
    (step,) = experiment.run(replicates=1).provenance.of("baseline", 0)["steps"]
    assert step["reads"] == {"read": "by the step"}


def test_parameters_of_numpy_type_stand_with_their_values() -> None:
    penalties = [
        treatment(f"ridge-{index}", {"alpha": alpha}) for index, alpha in enumerate(np.logspace(-1, 0, 2))
    ]
    result = Experiment(lambda: 1, [fit], treatments=penalties, seed=1).run()
    reads = [record["steps"][-1]["reads"] for record in result.provenance]
    assert [read.get("alpha") for read in reads] == [None, 0.1, 1.0]


# -- the tree --------------------------------------------------------------------------------------------------------


def test_the_tree_goes_from_conditions_to_replicates_to_steps(result: Result, capsys: Any) -> None:
    result.print_tree()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "baseline",
        "  replicate 0",
        "    seed_used = 5",
        "    data source; reads rows='<list of 2>'",
        "    FitStep; records loss",
    ]
    assert "    failed: ValueError: no fit (condition 'low', replicate 1, step 'FitStep')" in lines
    assert "    FitStep; reads alpha=2.0; records loss" in lines


def test_the_levels_can_be_exchanged_and_the_steps_left_out(result: Result) -> None:
    lines = result.provenance.tree("replicate > condition").splitlines()
    assert lines[:4] == ["replicate 0", "  baseline", "    seed_used = 5", "  low"]
    assert not any("FitStep" in line for line in lines if "failed" not in line)
    assert len([line for line in lines if line.startswith("replicate")]) == 2


@pytest.mark.parametrize(
    "fmt",
    [
        "",
        "step",
        "condition",
        "step > condition > replicate",
        "condition > replicate > steps",
        "a > b",
        None,
        5,
    ],
)
def test_a_format_without_these_levels_is_refused(result: Result, fmt: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"is no format of a provenance tree.*Name levels") as raised:
        result.print_tree(fmt)
    assert isinstance(raised.value, ValueError)


# -- the store of traces ----------------------------------------------------------------------------------------------


def test_equal_traces_are_kept_once_and_values_that_only_compare_equal_are_not() -> None:
    store = TraceStore()
    traces = [[(0, (("n", value),), ())] for value in (1, 1.0, True, 1)]
    for replicate, trace in enumerate(traces):
        store.put(replicate, trace)
    assert [repr(store.get(replicate)) for replicate in range(4)] == [repr(trace) for trace in traces]
    assert store.get(0) is store.get(3)
    assert store.get(4) is None


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_a_run_and_its_journal_tell_values_apart_that_only_compare_equal(execution: str) -> None:
    values = [1, 1.0, True, 1, 1]

    def choose(ctx: FrozenContext) -> None:
        ctx.add("n", values[ctx["replicate"]])

    def read(data: Any, ctx: FrozenContext) -> Any:
        return data, {"n": ctx["n"]}

    result = Experiment(
        lambda: 0,
        [read],
        treatments=[treatment("chosen", choose)],
        initial_ctx={},
        execution=execution,
        seed=1,
    ).run(replicates=len(values))
    assert result.path is not None
    for each in (result, load_result(result.path)):
        reads = [each.provenance.of("chosen", place)["steps"][-1]["reads"]["n"] for place in range(5)]
        assert repr(reads) == repr(values)


def test_it_is_made_when_it_is_asked_for_and_costs_little_until_then(result: Result) -> None:
    assert isinstance(result.provenance, Provenance)
    assert result.provenance[0] is not result.provenance[0]


def test_values_that_are_no_plain_numbers_are_described_whatever_they_are() -> None:
    read = {
        "when": np.datetime64("2026-11-21"),
        "boxed": np.array(object()),
        "level": IntEnum("Level", ["LOW"]).LOW,  # type: ignore[attr-defined]
        "single": np.float32(1.5),
    }

    def step(data: Any, ctx: Any) -> Any:
        return [ctx.get(key) for key in read]

    result = Experiment(lambda: 0, [step], treatments=[treatment("odd", read)]).run()
    result.raise_for_errors()
    reads = result.provenance.of("odd", 0)["steps"][-1]["reads"]
    assert reads["single"] == 1.5
    assert [type(reads[key]) for key in ("when", "boxed", "level")] == [str] * 3
