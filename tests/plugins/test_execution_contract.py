"""What every execution strategy owes to an experiment, whoever wrote it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from crystallize.errors import CrystallizeError
from crystallize.plugins.execution import (
    AsyncExecution,
    ParallelExecution,
    ProcessExecution,
    SerialExecution,
    ThreadExecution,
)


class Plain:
    """The least that an experiment is to a strategy; it remembers what it was told."""

    name = None

    def __init__(self, replicates):
        self.replicates = replicates
        self.told = []
        self.threads = set()

    def replicate_done(self, result):
        self.told.append(result)
        self.threads.add(threading.get_ident())
        return ("slim", result)


class Bare:
    def __init__(self, replicates):
        self.replicates = replicates


def counted(replicates):
    return [("slim", replicate) for replicate in range(replicates)]


class ExecutionContract:
    """Subclass it and give it a fixture ``strategy`` that returns a fresh strategy."""

    @pytest.mark.parametrize("replicates", [0, 1, 2, 7, 300])
    def test_results_come_in_replicate_order(self, strategy, replicates):
        experiment = Plain(replicates)
        assert strategy.run_experiment_loop(experiment, lambda i: i) == counted(replicates)
        assert sorted(experiment.told) == list(range(replicates))

    def test_a_strategy_can_be_used_again(self, strategy):
        for replicates in (3, 5):
            assert strategy.run_experiment_loop(Plain(replicates), lambda i: i) == counted(replicates)

    def test_uneven_replicates_keep_their_places(self, strategy):
        def uneven(replicate):
            time.sleep(0.02 if replicate % 5 == 0 else 0)
            return replicate

        assert strategy.run_experiment_loop(Plain(23), uneven) == counted(23)

    def test_an_experiment_needs_nothing_but_a_number_of_replicates(self, strategy):
        assert strategy.run_experiment_loop(Bare(3), lambda i: i * i) == [0, 1, 4]

    def test_results_are_reported_one_at_a_time_in_the_calling_thread(self, strategy):
        experiment = Plain(20)
        strategy.run_experiment_loop(experiment, lambda i: i)
        assert experiment.threads == {threading.get_ident()}

    def test_results_are_reported_before_the_last_replicate_ends(self, strategy, tmp_path):
        class Waiting(Plain):
            def replicate_done(self, result):
                (tmp_path / "seen").touch()
                return super().replicate_done(result)

        def replicate_fn(replicate):
            deadline = time.monotonic() + 20
            while replicate == 1 and not (tmp_path / "seen").exists() and time.monotonic() < deadline:
                time.sleep(0.005)
            return (tmp_path / "seen").exists()

        assert strategy.run_experiment_loop(Waiting(2), replicate_fn)[1] == ("slim", True)

    def test_an_exception_arrives_as_it_was_raised(self, strategy):
        def replicate_fn(replicate):
            if replicate == 2:
                raise ZeroDivisionError("the second")
            return replicate

        with pytest.raises(ZeroDivisionError, match="the second") as caught:
            strategy.run_experiment_loop(Plain(50), replicate_fn)
        shown = "".join(str(line.path) + line.name for line in caught.traceback)
        notes = "".join(getattr(caught.value, "__notes__", ()))
        assert "in replicate_fn" in notes or "replicate_fn" in shown

    def test_results_that_arrived_before_an_exception_were_reported(self, strategy):
        def replicate_fn(replicate):
            if replicate == 3:
                time.sleep(0.05)
                raise KeyError(replicate)
            return replicate

        experiment = Plain(4)
        with pytest.raises(KeyError):
            strategy.run_experiment_loop(experiment, replicate_fn)
        assert 0 in experiment.told

    def test_an_error_of_the_coordinator_ends_the_run(self, strategy):
        class Refusing(Plain):
            def replicate_done(self, result):
                raise LookupError("no room")

        with pytest.raises(LookupError, match="no room"):
            strategy.run_experiment_loop(Refusing(5), lambda i: i)

    def test_no_thread_is_left(self, strategy):
        before = threading.active_count()
        strategy.run_experiment_loop(Plain(20), lambda i: i)
        assert threading.active_count() == before

    def test_it_works_in_a_thread_other_than_the_main_one(self, strategy):
        found = []
        thread = threading.Thread(
            target=lambda: found.extend(strategy.run_experiment_loop(Plain(6), lambda i: i))
        )
        thread.start()
        thread.join()
        assert found == counted(6)

    def test_it_works_where_an_event_loop_is_running(self, strategy):
        import asyncio

        async def notebook():
            return strategy.run_experiment_loop(Plain(6), lambda i: i)

        assert asyncio.run(notebook()) == counted(6)

    def test_settings_are_plain_data(self, strategy):
        import json

        assert json.loads(json.dumps(strategy.settings)) == strategy.settings


class TestSerial(ExecutionContract):
    @pytest.fixture
    def strategy(self):
        return SerialExecution()


@pytest.mark.parametrize("workers", [1, 2, 7, None])
class TestThread(ExecutionContract):
    @pytest.fixture
    def strategy(self, workers):
        return ThreadExecution(max_workers=workers)


@pytest.mark.parametrize("concurrency", [1, 3, None])
class TestAsync(ExecutionContract):
    @pytest.fixture
    def strategy(self, concurrency):
        return AsyncExecution(max_concurrency=concurrency)

    def test_results_are_reported_before_the_last_replicate_ends(self, strategy, tmp_path):
        import asyncio

        class Waiting(Plain):
            def replicate_done(self, result):
                (tmp_path / "seen").touch()
                return super().replicate_done(result)

        async def replicate_fn(replicate):
            while replicate == 1 and not (tmp_path / "seen").exists():
                await asyncio.sleep(0.005)
            return replicate

        assert strategy.run_experiment_loop(Waiting(2), replicate_fn) == counted(2)


class WorkersCanDie:
    """What a strategy with worker processes owes in addition."""

    def test_a_killed_worker_loses_nothing_and_its_replicate_is_tried_again(self, strategy, tmp_path):
        marker = tmp_path / "killed"

        def replicate_fn(replicate):
            if replicate == 11 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return replicate

        experiment = Plain(40)
        assert strategy.run_experiment_loop(experiment, replicate_fn) == counted(40)
        assert marker.exists()
        assert sorted(experiment.told) == list(range(40))

    def test_a_replicate_that_kills_its_worker_twice_is_given_up_and_the_others_are_not(
        self, strategy, tmp_path
    ):
        class ReplicateFn:
            def __call__(self, replicate):
                with (tmp_path / f"{replicate}-{os.getpid()}").open("a"):
                    pass
                if replicate == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
                return replicate

            def failed(self, replicate, error):
                return (replicate, type(error).__name__, str(error))

        results = strategy.run_experiment_loop(Bare(20), ReplicateFn())
        assert results[:5] + results[6:] == [*range(5), *range(6, 20)]
        replicate, kind, message = results[5]
        assert (replicate, kind) == (5, "ExecutionError")
        assert "SIGKILL" in message
        assert "replicate 5" in message
        assert len(list(tmp_path.glob("5-*"))) == 2

    def test_without_a_way_to_note_the_failure_it_is_raised(self, strategy):
        with pytest.raises(CrystallizeError, match="exit code 3"):
            strategy.run_experiment_loop(Bare(3), lambda i: os._exit(3))

    def test_several_replicates_may_kill_their_workers(self, strategy, tmp_path):
        def replicate_fn(replicate):
            marker = tmp_path / str(replicate)
            if replicate % 4 == 0 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGSEGV if replicate % 8 else signal.SIGKILL)
            return replicate

        assert strategy.run_experiment_loop(Bare(17), replicate_fn) == list(range(17))


@pytest.fixture
def start_method(request, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_START_METHOD", request.param)


@pytest.mark.parametrize("start_method", ["forkserver"], indirect=True)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("start_method")
class TestProcess(ExecutionContract, WorkersCanDie):
    @pytest.fixture
    def strategy(self, workers):
        return ProcessExecution(max_workers=workers)


@pytest.mark.parametrize("start_method", ["spawn"], indirect=True)
@pytest.mark.usefixtures("start_method")
class TestProcessUnderSpawn(WorkersCanDie):
    @pytest.fixture
    def strategy(self):
        return ParallelExecution(2, "process")

    def test_results_come_in_replicate_order(self, strategy):
        assert strategy.run_experiment_loop(Plain(30), lambda i: i) == counted(30)
