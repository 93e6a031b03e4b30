"""What a run does about outcomes that fail: how many may, how often they are tried again, how long they may take."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from crystallize import ArtifactPlugin, Experiment, Hypothesis, Treatment, paired_t_test
from crystallize.errors import InvalidTypeError, InvalidValueError, OutcomeTimeoutError, RunFailedError
from crystallize.experiments.failure_policy import FailurePolicy
from crystallize.testing.subjects import wait_until

STRATEGIES = ["serial", "thread", "process", "async"]


def run(
    step: Any, root: Path | None = None, *, replicates: int = 6, resume: bool = False, **changes: Any
) -> Any:
    arguments: dict[str, Any] = {"execution": "serial", "seed": 3, **changes}
    if root is None:
        arguments["disable_plugins"] = ["artifact"]
    else:
        arguments["plugins"] = [ArtifactPlugin(root_dir=str(root))]
    experiment = Experiment(lambda: 0, [step], name="policy", replicates=replicates, **arguments)
    return experiment.run(strategy="resume" if resume else "rerun")


def odd_ones_fail(data: Any, ctx: Any) -> Any:
    time.sleep(0)  # lets the thread that counts have its turn
    if ctx["replicate"] % 2:
        raise ValueError("odd")
    return data, {"value": ctx["replicate"]}


# -- how many may fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_stops_when_more_outcomes_failed_than_may(strategy: str, tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="max_failures is 1") as caught:
        run(odd_ones_fail, tmp_path, replicates=3000, max_failures=1, execution=strategy)
    message = str(caught.value)
    assert "ValueError: odd (condition 'baseline', replicate " in message
    assert "strategy='resume'" in message
    result = caught.value.result  # type: ignore[attr-defined]
    assert len(result.errors) >= 2
    assert result.arrived < 3000
    assert f": {result.arrived} of 3000 replicates of baseline" in repr(result)
    journal = next(tmp_path.rglob("journal.jsonl")).read_text()
    assert journal.count('"status":"failed"') == len(result.errors)
    assert journal.count('"status":"ok"') == result.arrived - len(result.errors)


def test_as_many_failures_as_may_be_do_not_stop_a_run() -> None:
    result = run(odd_ones_fail, max_failures=3)
    assert len(result.errors) == 3


def test_on_error_stop_allows_no_failure() -> None:
    with pytest.raises(RunFailedError) as caught:
        run(odd_ones_fail, on_error="stop")
    assert caught.value.result.arrived == 2  # type: ignore[attr-defined]


def test_what_a_stopped_run_owes_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError):
        run(odd_ones_fail, tmp_path, on_error="stop")
    result = run(odd_ones_fail, tmp_path, resume=True)
    assert result.metrics.baseline.metrics["value"] == [0, 2, 4]
    assert len(result.errors) == 3


# -- trying again --------------------------------------------------------------------------------------------


def second_attempt_succeeds(data: Any, ctx: Any, folder: str) -> Any:
    mark = Path(folder) / str(ctx["replicate"])
    first = not mark.exists()
    mark.touch()
    ctx.artifacts.write("first.txt" if first else "second.txt", b"x")
    drawn = float(ctx.rng.random())
    ctx.record("drawn", drawn)
    if first:
        raise ConnectionError("try again")
    return data


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_outcome_that_is_tried_again_counts_once_with_the_same_seeds(
    strategy: str, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    options: dict[str, Any] = {"initial_ctx": {"folder": str(marks)}, "execution": strategy, "replicates": 3}
    tried_again = run(second_attempt_succeeds, tmp_path / "a", retries=1, **options)
    at_once = run(second_attempt_succeeds, tmp_path / "b", **options)
    assert tried_again.errors == []
    assert tried_again.metrics.baseline.metrics == at_once.metrics.baseline.metrics
    assert sorted(each.name for each in (tmp_path / "a").rglob("*.txt")) == ["second.txt"] * 3
    journal = next((tmp_path / "a").rglob("journal.jsonl")).read_text()
    assert journal.count('"attempt":1') == 3


def test_an_outcome_is_tried_no_more_often_than_asked(tmp_path: Path) -> None:
    tries: list[int] = []

    def fail(data: Any, ctx: Any) -> Any:
        tries.append(ctx["replicate"])
        raise ValueError

    assert len(run(fail, replicates=2, retries=2).errors) == 2
    assert tries == [0, 0, 0, 1, 1, 1]


# -- how long one may take -----------------------------------------------------------------------------------


def hang(data: Any, ctx: Any) -> Any:
    if ctx["replicate"] == 1 and ctx["condition"] == "slow":
        time.sleep(0.3)
    return data, {"value": ctx["replicate"]}


async def hang_awaiting(data: Any, ctx: Any) -> Any:
    if ctx["replicate"] == 1 and ctx["condition"] == "slow":
        await asyncio.sleep(600)
    return data, {"value": ctx["replicate"]}


@pytest.mark.parametrize("step", [hang, hang_awaiting])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_outcome_that_takes_too_long_is_a_timeout_and_the_others_count(
    strategy: str, step: Any, tmp_path: Path
) -> None:
    treatments = [Treatment("slow", {}), Treatment("swift", {})]
    result = run(
        step, tmp_path, replicates=3, treatments=treatments, timeout=0.2, retries=1, execution=strategy
    )
    (error,) = result.errors
    assert (error.replicate, error.condition) == (1, "slow")
    assert error.kind == "crystallize.errors.OutcomeTimeoutError"
    assert "it took more than 0.2 seconds" in error.message
    assert result.metrics.baseline.metrics["value"] == [0, 1, 2]
    assert result.metrics.treatments["slow"].metrics["value"] == [0, 2]
    assert result.metrics.treatments["swift"].metrics["value"] == [0, 1, 2]
    assert next(tmp_path.rglob("journal.jsonl")).read_text().count('"status":"timeout"') == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_timeout_may_be_longer_than_python_can_wait(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)

    def step(data: Any) -> Any:
        return data, {"value": wait_until(lambda: raised, seconds=0.1)}

    result = run(step, tmp_path, replicates=1, timeout=1e12, execution=strategy)
    assert result.metrics.baseline.metrics["value"] == [False]
    assert not raised


def test_what_cannot_be_stopped_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    told = "replicate 1 under condition 'slow' takes more than 0.1 seconds"

    def hang_until_it_is_told(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 1 and ctx["condition"] == "slow":
            assert wait_until(lambda: told in caplog.text)
            time.sleep(0.1)  # both watch the same time, and the other one began a moment later
        return data

    async def hang_without_awaiting(data: Any, ctx: Any) -> Any:
        return hang_until_it_is_told(data, ctx)

    for step in (hang_until_it_is_told, hang_without_awaiting):
        caplog.clear()
        (error,) = run(step, replicates=2, treatments=[Treatment("slow", {})], timeout=0.1).errors
        assert error.kind == "crystallize.errors.OutcomeTimeoutError"


@pytest.mark.parametrize("strategy", ["serial", "thread", "async"])
def test_what_is_awaited_and_cancelled_is_not_said_to_go_on(
    strategy: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = run(
        hang_awaiting, replicates=2, treatments=[Treatment("slow", {})], timeout=0.2, execution=strategy
    )
    assert len(result.errors) == 1
    assert "cannot be stopped" not in caplog.text


def test_a_timeout_error_of_the_step_itself_is_its_own() -> None:
    async def step(data: Any) -> Any:
        raise TimeoutError("mine")

    (error,) = run(step, replicates=1, timeout=60).errors
    assert (error.kind, error.message) == ("TimeoutError", "mine")


# -- what is said --------------------------------------------------------------------------------------------


def test_the_first_failure_comes_with_the_call_that_repeats_it(caplog: pytest.LogCaptureFixture) -> None:
    drawn: list[float] = []

    def step(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 3 and ctx["condition"] == "odd":
            drawn.append(ctx.rng.random())
            raise ValueError("odd")
        return data

    experiment = Experiment(
        lambda: 0,
        [step],
        treatments=[Treatment("odd", {})],
        replicates=5,
        disable_plugins=["artifact"],
        execution="serial",
    )
    experiment.run()
    call = f"experiment.apply('odd', replicate=3, seed={experiment.master_seed})"
    assert f"Run this outcome alone: {call}" in caplog.text
    with pytest.raises(ValueError, match="odd"):
        experiment.apply("odd", replicate=3, seed=experiment.master_seed)
    assert drawn[0] == drawn[1]


def test_a_hypothesis_says_which_pairs_it_lacks_and_why() -> None:
    def step(data: Any, ctx: Any) -> Any:
        replicate, condition = ctx["replicate"], ctx["condition"]
        if (replicate, condition) in {(1, "high"), (2, "baseline"), (2, "high")}:
            raise ValueError("odd")
        if (replicate, condition) == (3, "high"):
            raise OutcomeTimeoutError("late")
        if (replicate, condition) != (4, "high"):
            ctx.record("value", replicate + 0.5 * (condition == "high"))
        ctx.record("other", 1.0)
        return data

    hypothesis = Hypothesis(paired_t_test(), metrics="value")
    result = run(step, replicates=9, treatments=[Treatment("high", {})], hypotheses=[hypothesis])
    (found,) = result.metrics.hypotheses
    assert found.dropped == {"high": {"failed": 2, "timeout": 1, "not recorded by both": 1}}
    told = (
        "high: 4 replicates dropped, for only complete pairs are compared: "
        "2 failed, 1 timeout, 1 not recorded by both."
    )
    assert told in " ".join(str(found).split())
    assert told in found._repr_html_()
    assert type(found).from_dict(found.to_dict()) == found
    assert found.comparisons[0].difference == pytest.approx(0.5)


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ({"on_error": "stpo"}, InvalidValueError, "Did you mean 'stop'"),
        ({"on_error": None}, InvalidTypeError, "on_error is 'continue' or 'stop', got None"),
        ({"max_failures": -1}, InvalidValueError, "max_failures is at least 0"),
        ({"max_failures": 1.5}, InvalidTypeError, "max_failures is an int"),
        ({"max_failures": 2, "on_error": "stop"}, InvalidValueError, "Give one of the two"),
        ({"retries": True}, InvalidTypeError, "retries is an int"),
        ({"timeout": 0}, InvalidValueError, "above 0"),
        ({"timeout": float("inf")}, InvalidValueError, "above 0"),
        ({"timeout": "1s"}, InvalidTypeError, "timeout is a number of seconds"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(asked: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Experiment(lambda: 0, [odd_ones_fail], **asked)


def test_what_is_changed_of_a_policy_replaces_what_it_was() -> None:
    policy = FailurePolicy.of(on_error="stop", retries=2)
    assert policy.changed(timeout=3) == FailurePolicy(0, 2, 3.0)
    assert policy.changed(on_error="continue") == FailurePolicy(None, 2)
    assert policy.changed(max_failures=5) == FailurePolicy(5, 2)
