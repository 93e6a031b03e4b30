"""Our execution strategies keep the contract that we ask of everybody's, and a little more."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from crystallize.errors import CrystallizeError
from crystallize.plugins.execution import (
    AsyncExecution,
    ProcessExecution,
    SerialExecution,
    ThreadExecution,
)
from crystallize.testing import ExecutionStrategyContract, WorkerProcessesContract


class Undemanding:
    """What our own do besides: they run any function for anything that says what is owed."""

    @pytest.mark.parametrize("replicates", [0, 1, 3])
    def test_an_experiment_needs_nothing_but_what_is_owed(self, strategy: Any, replicates: int) -> None:
        returned = strategy.run_experiment_loop(
            SimpleNamespace(owed=iter(range(replicates))), lambda i: i * i
        )
        assert returned == [i * i for i in range(replicates)]


class TestSerial(ExecutionStrategyContract, Undemanding):
    @pytest.fixture
    def strategy(self) -> SerialExecution:
        return SerialExecution()


@pytest.mark.parametrize("workers", [1, 2, None])
class TestThread(ExecutionStrategyContract, Undemanding):
    @pytest.fixture
    def strategy(self, workers: int | None) -> ThreadExecution:
        return ThreadExecution(max_workers=workers)


@pytest.mark.parametrize("concurrency", [1, 3, None])
class TestAsync(ExecutionStrategyContract, Undemanding):
    @pytest.fixture
    def strategy(self, concurrency: int | None) -> AsyncExecution:
        return AsyncExecution(max_concurrency=concurrency)


@pytest.mark.parametrize("workers", [1, 2])
class TestProcess(WorkerProcessesContract, Undemanding):
    @pytest.fixture
    def strategy(self, workers: int, monkeypatch: pytest.MonkeyPatch) -> ProcessExecution:
        monkeypatch.setenv("CRYSTALLIZE_START_METHOD", "forkserver")
        return ProcessExecution(max_workers=workers)

    @pytest.mark.parametrize(
        ("end", "cause"),
        [
            (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
            (lambda: os.kill(os.getpid(), signal.SIGSEGV), "killed by SIGSEGV"),
            (lambda: os._exit(3), "exit code 3"),
        ],
        ids=["SIGKILL", "SIGSEGV", "exit"],
    )
    def test_a_death_that_nobody_can_note_is_raised_with_its_cause(
        self, strategy: ProcessExecution, end: Any, cause: str
    ) -> None:
        def replicate_fn(replicate: int) -> None:  # it has no failed(), as an experiment's own has
            end()

        with pytest.raises(CrystallizeError, match=cause):
            strategy.run_experiment_loop(SimpleNamespace(owed=iter(range(3))), replicate_fn)


class TestProcessUnderSpawn(
    WorkerProcessesContract,
    only=[
        "test_an_experiment_whose_worker_is_killed_gives_the_bytes_of_a_serial_run",
        "test_workers_draw_different_numbers_from_global_generators",
        "test_no_worker_is_left_after_ctrl_c",
    ],
):
    """Another start method changes how workers start, what reaches them, how they end, and what they leave.

    All that happens between is done by the code that `TestProcess` has run already, and an interpreter that
    starts anew costs half a second for each of these workers.
    """

    @pytest.fixture
    def strategy(self, monkeypatch: pytest.MonkeyPatch) -> ProcessExecution:
        monkeypatch.setenv("CRYSTALLIZE_START_METHOD", "spawn")
        return ProcessExecution(max_workers=2)


class TestOneProcessUnderSpawn(
    WorkerProcessesContract,
    only=[
        "test_what_workers_import_is_among_the_packages_of_each_run",
        "test_no_worker_is_left_after_a_run",
        "test_a_run_leaves_no_file_open",
        "test_the_process_is_left_as_it_was",
        "test_it_works_in_a_thread_other_than_the_main_one",
    ],
):
    """What does not take a second worker to be seen."""

    @pytest.fixture
    def strategy(self, monkeypatch: pytest.MonkeyPatch) -> ProcessExecution:
        monkeypatch.setenv("CRYSTALLIZE_START_METHOD", "spawn")
        return ProcessExecution(max_workers=1)
