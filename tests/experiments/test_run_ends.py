"""What ends a run, what does not, and what is kept of a run that was broken off."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from crystallize import ArtifactPlugin, BasePlugin, Experiment, Hypothesis, paired_t_test, treatment
from crystallize.errors import MissingMetricError, PluginError, RunFailedError
from crystallize.testing.subjects import wait_until
from crystallize.utils.failures import RunCancelled, RunTerminated

STRATEGIES = ["serial", "thread", "process", "async"]


class Odd(BaseException):
    """An exception that is no ``Exception``."""


def run(step: Any, replicates: int = 6, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"disable_plugins": ["artifact"], "execution": "serial", **changes}
    return Experiment(lambda: 0, [step], name="ends", replicates=replicates, **arguments).run()


# -- what a step raises --------------------------------------------------------------------------------------


def misbehave(replicate: int) -> int:
    if replicate == 1:
        raise asyncio.CancelledError
    if replicate == 2:
        raise Odd
    if replicate == 3:
        sys.exit("no more")
    if replicate == 4:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads that a child does not have
            child = os.fork()
        if child == 0:
            sys.exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return 0


def plainly(data: Any, ctx: Any) -> Any:
    return data, {"value": misbehave(ctx["replicate"])}


async def with_a_task(data: Any, ctx: Any) -> Any:
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    if ctx["replicate"] == 1:
        await task
    return plainly(data, ctx)


@pytest.mark.parametrize("step", [plainly, with_a_task])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_whatever_a_step_raises_is_its_outcomes_error(strategy: str, step: Any) -> None:
    result = run(step, execution=strategy)
    assert [(error.replicate, error.kind.rpartition(".")[2]) for error in result.errors] == [
        (1, "CancelledError"),
        (2, "Odd"),
        (3, "SystemExit"),
    ]
    assert result.metrics.baseline.metrics["value"] == [0, 7, 0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_step_that_raises_what_closes_generators_has_failed_like_any_other(strategy: str) -> None:
    def close(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 1:
            raise GeneratorExit
        return data, {"value": ctx["replicate"]}

    result = run(close, replicates=3, execution=strategy)
    assert [(error.replicate, error.kind) for error in result.errors] == [(1, "GeneratorExit")]
    assert result.metrics.baseline.metrics["value"] == [0, 2]


def test_a_hook_that_is_cancelled_is_that_outcomes_error() -> None:
    class Cancelled(BasePlugin):
        def before_step(self, experiment: Any, step: Any, ctx: Any) -> None:
            raise asyncio.CancelledError

    result = run(plainly, replicates=1, plugins=[Cancelled()])
    assert "CancelledError" in str(result.errors[0])


# -- what is kept --------------------------------------------------------------------------------------------


def interrupted(data: Any, ctx: Any) -> Any:
    if ctx["replicate"] == 3:
        raise KeyboardInterrupt
    return data, {"value": ctx["replicate"]}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_error_that_ends_a_run_carries_what_was_measured(strategy: str) -> None:
    execution = {"strategy": strategy, **({"max_workers": 1} if strategy in ("thread", "process") else {})}
    with pytest.raises(KeyboardInterrupt) as caught:
        run(interrupted, execution=execution)
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.metrics.baseline.metrics["value"] == [0, 1, 2]
    assert len(list(result.provenance)) == 6
    assert (result.arrived, result.replicates) == (3, 6)
    assert "\n3 of 6 replicates. sd" in str(result.summary())
    assert "`result`: 3 of 6" in caught.value.__notes__[-1]


def test_a_result_that_cannot_be_stored_is_in_the_error(tmp_path: Path) -> None:
    def take_its_place(data: Any, ctx: Any) -> Any:
        for folder in tmp_path.glob("ends/*"):
            if folder.is_dir():
                (folder / "baseline").write_text("a file where the folder of the results will be")
        return data, {"value": ctx["replicate"]}

    with pytest.raises(PluginError, match="cannot be stored") as caught:
        run(take_its_place, disable_plugins=(), plugins=[ArtifactPlugin(root_dir=tmp_path)])
    assert caught.value.result.metrics.baseline.metrics["value"] == [*range(6)]  # type: ignore[attr-defined]
    assert "6 of 6" in caught.value.__notes__[0]
    assert "resume" not in "".join(caught.value.__notes__)


@pytest.mark.parametrize("ends", [KeyboardInterrupt, RunFailedError, MissingMetricError])
def test_an_error_that_breaks_off_a_stored_run_says_how_to_go_on_with_it(ends: type[BaseException]) -> None:
    """As long as there is something left to do."""

    def end(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 3 and ends is not MissingMetricError:
            raise KeyboardInterrupt if ends is KeyboardInterrupt else ValueError
        return data, {"value": ctx["replicate"]} if ctx["condition"] == "baseline" else {}

    only_baseline = Hypothesis(paired_t_test(), metrics="value")
    options = {"treatments": [treatment("t", {})], "hypotheses": [only_baseline], "on_error": "stop"}
    for disabled in ((), ["artifact"]):
        with pytest.raises(ends) as caught:
            run(end, disable_plugins=disabled, **options)
        told = [text for text in (str(caught.value), *caught.value.__notes__) if "strategy='resume'" in text]
        assert len(told) == (not disabled and ends is not MissingMetricError)


def test_a_run_that_is_cancelled_keeps_what_had_arrived() -> None:
    def cancel(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 2:
            experiment.cancel()
        return data, {"value": ctx["replicate"]}

    experiment = Experiment(lambda: 0, [cancel], replicates=6, disable_plugins=["artifact"])
    with pytest.raises(RunCancelled) as caught:
        experiment.run()
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.metrics.baseline.metrics["value"] == [0, 1, 2]


def test_a_run_whose_awaiting_task_is_cancelled_keeps_what_had_arrived() -> None:
    class Cancelling(BasePlugin):
        def after_replicate(self, experiment: Any, result: Any) -> None:
            if result.replicate == 2:
                loop.call_soon_threadsafe(task.cancel)
                wait_until(lambda: experiment.current_run.is_cancelled)

    async def main() -> Any:
        nonlocal loop, task
        loop = asyncio.get_running_loop()
        experiment = Experiment(
            lambda: 0, [plainly_numbered], replicates=6, plugins=[Cancelling()], disable_plugins=["artifact"]
        )
        task = asyncio.ensure_future(awaited(experiment))
        return await task

    async def awaited(experiment: Experiment) -> Any:
        try:
            await experiment.arun()
        except asyncio.CancelledError as error:
            return error.result  # type: ignore[attr-defined]

    loop: Any = None
    task: Any = None
    assert asyncio.run(main()).metrics.baseline.metrics["value"] == [0, 1, 2]


def plainly_numbered(data: Any, ctx: Any) -> Any:
    return data, {"value": ctx["replicate"]}


def test_an_error_before_the_first_outcome_carries_nothing() -> None:
    def at_once(data: Any, ctx: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run(at_once)
    assert not hasattr(caught.value, "result")


def test_workers_that_keep_dying_fail_what_they_owed(tmp_path: Path) -> None:
    class Deadly:
        """Kills each worker but the first when it opens the experiment, and the first one after a replicate."""

        def __reduce__(self) -> Any:
            return _die_unless_first, (str(tmp_path / "first"), os.getpid())

    result = run(
        plainly_numbered,
        execution={"strategy": "process", "max_workers": 1},
        initial_ctx={"deadly": Deadly()},
        plugins=[_DiesAfter()],
    )
    assert result.metrics.baseline.metrics["value"] == [0]
    assert [error.replicate for error in result.errors] == [1, 2, 3, 4, 5]
    assert "workers died one after the other" in str(result.errors[0])


def _die_unless_first(marker: str, coordinator: int) -> str:
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        if os.getpid() != coordinator:
            os._exit(3)
    return "alive"


class _DiesAfter(BasePlugin):
    def before_replicate(self, experiment: Any, ctx: Any) -> None:
        if ctx["replicate"] == 1:
            os._exit(3)


# -- signals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_end_ends_the_run_as_ctrl_c_does(
    strategy: str, signum: int, code: int, tmp_path: Path
) -> None:
    coordinator = os.getpid()

    class Noting(BasePlugin):
        def after_replicate(self, experiment: Any, result: Any) -> None:
            (tmp_path / f"taken-{result.replicate}").touch()

    def terminate(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 3:
            wait_until((tmp_path / "taken-2").exists)
            os.kill(coordinator, signum)
            for _ in range(6000 if strategy == "process" else 20):  # in a thread, it is finished first
                time.sleep(0.01)
        return data, {"value": ctx["replicate"]}

    execution = {"strategy": strategy, **({"max_workers": 1} if strategy in ("thread", "process") else {})}
    before = signal.getsignal(signum)
    with pytest.raises(RunTerminated) as caught:
        run(
            terminate,
            execution=execution,
            disable_plugins=(),
            plugins=[ArtifactPlugin(root_dir=tmp_path), Noting()],
        )
    assert signal.getsignal(signum) is before is signal.SIG_DFL
    assert caught.value.code == code
    assert isinstance(caught.value, KeyboardInterrupt)
    values = caught.value.result.metrics.baseline.metrics["value"]  # type: ignore[attr-defined]
    assert values == [0, 1, 2, 3][: 4 if strategy == "thread" else 3]
    assert any('"interrupted"' in path.read_text() for path in tmp_path.rglob("metadata.json"))


@pytest.mark.parametrize("strategy", ["serial", "async"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_where_exceptions_are_ignored_ends_the_run_too(
    strategy: str, signum: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    class Finalised:
        def __del__(self) -> None:
            os.kill(os.getpid(), signum)
            wait_until(lambda: False, 1)

    def finalise(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 3:
            Finalised()
            wait_until(lambda: False, 60)
        return data, {"value": ctx["replicate"]}

    with pytest.raises(KeyboardInterrupt) as caught:
        run(finalise, execution=strategy)
    assert isinstance(caught.value, RunTerminated) == (signum == signal.SIGTERM)
    result = caught.value.result  # type: ignore[union-attr]
    assert result.metrics.baseline.metrics["value"] == [0, 1, 2]
    assert not reported
    assert sys.unraisablehook == reported.append


def test_another_exception_that_is_ignored_is_reported_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: reported.append(ignored.exc_value))

    class Finalised:
        def __del__(self) -> None:
            raise ValueError("in a finaliser")

    assert not run(lambda data: Finalised() and None, replicates=2).errors
    assert list(map(str, reported)) == ["in a finaliser"] * 2


def test_a_signal_that_the_user_handles_stays_the_users() -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        result = run(lambda data: os.kill(os.getpid(), signal.SIGTERM), replicates=2)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] * 2
    assert not result.errors


def test_an_awaited_run_ends_with_a_signal_too() -> None:
    def terminate(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return data, {"value": 1}

    experiment = Experiment(lambda: 0, [terminate], replicates=6, disable_plugins=["artifact"])
    with pytest.raises(RunTerminated):
        asyncio.run(experiment.arun())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_of_runs_in_one_event_loop_the_last_one_ends_with_a_signal_too() -> None:
    report = sys.unraisablehook

    async def both() -> None:
        other_has_begun, other_may_end = asyncio.Event(), asyncio.Event()

        async def wait(data: Any) -> None:
            other_has_begun.set()
            await other_may_end.wait()

        async def terminate(data: Any) -> None:
            await other_has_begun.wait()
            other_may_end.set()
            await other
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            os.kill(os.getpid(), signal.SIGTERM)

        first, second = (
            Experiment(lambda: 0, [step], replicates=1, disable_plugins=["artifact"], execution="async")
            for step in (wait, terminate)
        )
        other = asyncio.ensure_future(first.arun())
        await asyncio.sleep(0)
        await second.arun()

    with pytest.raises(RunTerminated):
        asyncio.run(both())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert sys.unraisablehook is report


# -- async -----------------------------------------------------------------------------------------------------


def test_under_async_steps_that_are_not_run_without_a_loop() -> None:
    def own_loop(data: Any, ctx: Any) -> Any:
        return data, {"value": asyncio.run(asyncio.sleep(0, ctx["replicate"]))}

    experiment = Experiment(
        lambda: 0, [own_loop], replicates=3, execution="async", disable_plugins=["artifact"]
    )
    assert experiment.run().metrics.baseline.metrics["value"] == [0, 1, 2]

    async def awaited() -> Any:
        return await experiment.arun()

    assert asyncio.run(awaited()).metrics.baseline.metrics["value"] == [0, 1, 2]


def test_under_async_what_turns_out_to_await_runs_at_the_same_time() -> None:
    begun = 0

    async def meet() -> None:
        nonlocal begun
        begun += 1
        while 0 < begun < 3:  # the first one runs alone
            await asyncio.sleep(0)

    def hidden(data: Any, ctx: Any) -> Any:
        return meet() if ctx["replicate"] else asyncio.sleep(0)

    run(hidden, replicates=4, execution="async")
    assert begun == 3


@pytest.mark.parametrize("is_awaited", [False, True])
def test_under_async_steps_have_cleaned_up_when_a_run_inside_a_loop_has_ended(is_awaited: bool) -> None:
    cleaned_up = []

    async def step(data: Any, ctx: Any) -> None:
        if ctx["replicate"] == 0:
            raise ValueError
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)  # such as closing a session
            cleaned_up.append(ctx["replicate"])

    async def main() -> None:
        experiment = Experiment(
            lambda: 0,
            [step],
            replicates=3,
            max_failures=0,
            disable_plugins=["artifact"],
            execution="async",
        )
        with pytest.raises(RunFailedError):
            await experiment.arun() if is_awaited else experiment.run()
        assert cleaned_up == [1, 2]

    asyncio.run(main())


def test_under_async_what_had_finished_is_kept_when_a_run_inside_a_loop_is_broken_off() -> None:
    all_have_finished = threading.Event()
    left = [1, 2]

    async def step(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] in left:
            left.remove(ctx["replicate"])
            if not left:
                all_have_finished.set()
        return data, {"value": ctx["replicate"]}

    class Interrupts(BasePlugin):
        def after_replicate(self, experiment: Any, result: Any) -> None:
            if result.replicate == 0:
                assert all_have_finished.wait(10)
                raise KeyboardInterrupt

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt) as caught:
            run(step, replicates=3, plugins=[Interrupts()], execution="async")
        assert caught.value.result.metrics.baseline.metrics["value"] == [0, 1, 2]  # type: ignore[attr-defined]

    asyncio.run(main())


def test_under_async_ctrl_c_stops_before_the_next_replicate() -> None:
    async def never_waits(data: Any, ctx: Any) -> Any:
        if ctx["replicate"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return data, {"value": ctx["replicate"]}

    with pytest.raises(KeyboardInterrupt) as caught:
        run(never_waits, replicates=100, execution={"strategy": "async", "max_concurrency": 1})
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.metrics.baseline.metrics["value"] == [0, 1, 2]
