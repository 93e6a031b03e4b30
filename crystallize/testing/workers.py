"""What an execution strategy with worker processes owes in addition, as tests."""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from crystallize.errors import SerializationError
from crystallize.experiments.experiment import Experiment
from crystallize.experiments.treatment import treatment
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.plugins.base import BasePlugin
from crystallize.plugins.execution import SerialExecution
from crystallize.statistics.stopping.decided import decided
from crystallize.testing.execution import ExecutionStrategyContract, assert_same
from crystallize.testing.leftovers import is_alive
from crystallize.testing.recorder import HookRecorder
from crystallize.testing.subjects import (
    PATIENCE,
    Cancelled,
    Scripted,
    Watched,
    all_kept,
    everything,
    kept,
    run_and_disturb,
    run_and_interrupt,
    until,
    wait_until,
)

_SECONDS_FOR_A_SECOND_WORKER = 2.0
_MORE_THAN_ANY_POOL = 100


class WorkerProcessesContract(ExecutionStrategyContract):
    """Tests of an execution strategy whose workers are processes; see :class:`ExecutionStrategyContract`.

    Workers are killed in these tests, also those that the strategy did not start itself: there has to be
    somebody who replaces them.

    Attributes
    ----------
    tries : int
        How often a replicate may take its worker down before it is given up.
    workers_outlive_the_run : bool
        Whether workers may be there when a run has ended, because they are others' or are kept for the next one.
    """

    tries: ClassVar[int] = 2
    workers_outlive_the_run: ClassVar[bool] = False

    # -- stopping rules ------------------------------------------------------------------------------------

    def test_what_a_stopping_rule_has_dropped_is_run_no_more(self, strategy: Any, tmp_path: Path) -> None:
        """Workers are told with each batch; what they ran before they had heard of it is left out."""
        dropped, ran = tmp_path / "dropped", tmp_path / "ran"
        ran.mkdir()

        class Telling(BasePlugin):
            def after_replicate(self, experiment: Any, result: Any) -> None:
                if experiment.current_run.dropped:
                    dropped.touch()

        def measure(data: None, ctx: Any) -> tuple[None, dict[str, float]]:
            condition, replicate = ctx["condition"], ctx["replicate"]
            (ran / f"{condition}-{replicate}").touch()
            if replicate >= _MORE_THAN_ANY_POOL:  # so late that nobody has been sent it before the decision
                assert wait_until(dropped.exists)
            shift = 4.0 if condition == "large" else 0.0
            return data, {"loss": shift + float(ctx.stream(condition).normal())}

        Experiment(
            lambda: None,
            [measure],
            treatments=[treatment("large", {}), treatment("none", {})],
            execution=strategy,
            plugins=[Telling()],
            seed=8,
        ).run(stop_when=decided("loss", max=2 * _MORE_THAN_ANY_POOL, drop=True))
        last = 2 * _MORE_THAN_ANY_POOL - 1
        assert (ran / f"none-{last}").exists()
        assert not (ran / f"large-{last}").exists()

    # -- death ---------------------------------------------------------------------------------------------

    def test_a_killed_worker_loses_nothing(self, strategy: Any, tmp_path: Path) -> None:
        """What it was working on is done by another one."""
        killed = tmp_path / "killed"

        def kills_once(replicate: int) -> int:
            if replicate == 11 and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return replicate

        experiment = Watched(30)
        assert strategy.run_experiment_loop(experiment, Scripted(kills_once)) == all_kept(range(30))
        assert killed.exists()
        assert sorted(experiment.told) == list(range(30))

    def test_several_replicates_may_lose_their_workers(self, strategy: Any, tmp_path: Path) -> None:
        """A worker that ends in whatever way is replaced, each time."""

        def kills_once(replicate: int) -> int:
            marker = tmp_path / f"killed-{replicate}"
            if replicate % 6 == 0 and not marker.exists():
                marker.touch()
                if replicate % 12 == 0:
                    os._exit(3)
                os.kill(os.getpid(), signal.SIGKILL)
            return replicate

        assert strategy.run_experiment_loop(Watched(14), Scripted(kills_once)) == all_kept(range(14))

    def test_a_replicate_that_kills_every_worker_is_given_up_alone(
        self, strategy: Any, tmp_path: Path
    ) -> None:
        """Its result is what ``replicate_fn.failed(replicate, error)`` makes; the others have their own."""

        def kills(replicate: int) -> int:
            with (tmp_path / f"begun-{replicate}").open("a") as file:
                file.write("once\n")
            if replicate == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            return replicate

        returned = strategy.run_experiment_loop(Watched(12), Scripted(kills))
        kept_, (failed, replicate, kind, message) = returned.pop(5)
        assert returned == all_kept([*range(5), *range(6, 12)])
        assert (kept_, failed, replicate, kind) == ("kept", "failed", 5, "WorkerLostError")
        assert "replicate 5" in message, "the error does not say which replicate it is about"
        assert (tmp_path / "begun-5").read_text().count("once") == self.tries

    def test_an_experiment_whose_worker_is_killed_gives_the_bytes_of_a_serial_run(
        self, strategy: Any, tmp_path: Path
    ) -> None:
        """Only the attempt that counts leaves metrics, artifacts and hook calls."""
        killed = tmp_path / "killed"

        def build(strategy: Any, root: Path) -> tuple[Experiment, HookRecorder]:
            recorder = HookRecorder()

            def measure(data: int, ctx: Any) -> Any:
                ctx.record("drawn", float(ctx.rng.random()))
                if ctx["replicate"] == 3 and not killed.exists():
                    killed.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return data, {"data": data}

            experiment = Experiment(
                lambda ctx: ctx["replicate"],
                [lambda data: data + 1, measure],
                name="killed",
                plugins=[recorder, ArtifactPlugin(root_dir=root)],
                execution=strategy,
                seed=3,
                replicates=6,
            )
            return experiment, recorder

        experiment, recorder = build(strategy, tmp_path / "strategy")
        found = everything(experiment, tmp_path / "strategy")
        assert killed.exists()
        serial, of_serial = build(SerialExecution(), tmp_path / "serial")
        assert_same(found, everything(serial, tmp_path / "serial"))
        assert recorder.calls == of_serial.calls

    # -- what is sent --------------------------------------------------------------------------------------

    def test_what_cannot_be_sent_to_a_worker_is_named(self, strategy: Any) -> None:
        """A step that holds a lock is named in a SerializationError, before anything runs."""
        lock = threading.Lock()

        def holds_a_lock(data: int) -> int:
            with lock:
                return data

        experiment = Experiment(
            lambda: 1, [holds_a_lock], execution=strategy, disable_plugins=["artifact"], replicates=2
        )
        with pytest.raises(SerializationError, match=f"step {experiment.pipeline.names[0]!r}"):
            experiment.run()

    def test_a_result_that_cannot_be_sent_back_is_the_failure_of_its_replicate(self, strategy: Any) -> None:
        """Its result is what ``replicate_fn.failed(replicate, error)`` makes; the others have their own."""
        returned = strategy.run_experiment_loop(
            Watched(4), Scripted(lambda replicate: threading.Lock() if replicate == 2 else replicate)
        )
        assert returned[:2] + returned[3:] == all_kept([0, 1, 3])
        assert returned[2][1][:3] == ("failed", 2, "SerializationError")

    def test_what_workers_import_is_among_the_packages_of_each_run(
        self, strategy: Any, tmp_path: Path
    ) -> None:
        """Its versions are told, and the threads of numeric libraries, also by workers that have told another run."""
        site = tmp_path / "site-packages"
        info = site / "Brought.Along-1.5.dist-info"
        info.mkdir(parents=True)
        (site / "brought_along.py").touch()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Brought.Along\nVersion: 1.5\n\n")
        (info / "RECORD").write_text("brought_along.py,,\n")

        def imports_late(data: int, ctx: Any) -> tuple[int, dict[str, float]]:
            if ctx["replicate"] == 2:
                sys.path.insert(0, str(site))
                importlib.import_module("brought_along")
                sys.path.remove(str(site))
            return data, {"drawn": float(ctx.rng.random())}

        for name in ("one", "two"):
            experiment = Experiment(
                lambda: 1,
                [imports_late],
                name=name,
                plugins=[ArtifactPlugin(root_dir=tmp_path)],
                execution=strategy,
                replicates=4,
            )
            result = experiment.run()
            result.raise_for_errors()
            assert result.path is not None
            metadata = json.loads((result.path / "metadata.json").read_text())
            assert metadata["packages"].get("Brought.Along") == "1.5", f"run {name!r} was not told"
            assert metadata["numeric_libraries"], f"run {name!r} was told of no numeric library"
        assert "brought_along" not in sys.modules

    # -- waiting -------------------------------------------------------------------------------------------

    def test_a_cancelled_run_does_not_wait_for_results(self, strategy: Any, tmp_path: Path) -> None:
        """The coordinator, which has nothing else to do, calls ``check_cancelled`` while it waits."""
        waited_for_replicates = []

        class Noting(Watched):
            def check_cancelled(self) -> None:
                if self.is_cancelled:
                    waited_for_replicates.append((tmp_path / "go").exists())
                super().check_cancelled()

        experiment = Noting(4)
        with pytest.raises(Cancelled):
            run_and_disturb(strategy, experiment, tmp_path, experiment.cancel, PATIENCE)
        assert not waited_for_replicates[0]

    # -- the workers themselves ----------------------------------------------------------------------------

    def test_replicates_run_in_other_processes(self, strategy: Any) -> None:
        """The coordinator's process is left alone."""
        returned = strategy.run_experiment_loop(Watched(4), Scripted(lambda replicate: os.getpid()))
        assert kept(os.getpid()) not in returned

    def test_workers_draw_different_numbers_from_global_generators(
        self, strategy: Any, tmp_path: Path
    ) -> None:
        """Unless they are seeded: two replicates with the same numbers would count as two measurements."""
        import numpy as np

        np.random.random()  # it is here already when the workers start

        def draw(replicate: int) -> Any:
            mine = tmp_path / f"begun-{os.getpid()}"
            if not mine.exists():  # else there is one worker only, and the first replicate has waited in vain
                mine.touch()
                yield from until(
                    lambda: len(list(tmp_path.glob("begun-*"))) == 2, _SECONDS_FOR_A_SECOND_WORKER
                )
            return random.random(), float(np.random.random())

        (_, first), (_, second) = strategy.run_experiment_loop(Watched(2), Scripted(draw))
        assert first[0] != second[0]
        assert first[1] != second[1]

    def test_no_worker_is_left_after_a_run(self, strategy: Any) -> None:
        """Processes that a strategy has started are gone when the run is over."""
        returned = strategy.run_experiment_loop(Watched(4), Scripted(lambda replicate: os.getpid()))
        self._assert_gone({process for _, process in returned})

    def test_no_worker_is_left_after_ctrl_c(self, strategy: Any, tmp_path: Path) -> None:
        """Nor when the run was interrupted."""
        with pytest.raises(KeyboardInterrupt):
            run_and_interrupt(strategy, Watched(100), tmp_path)
        self._assert_gone({int(path.read_text()) for path in tmp_path.glob("begun-*")})

    def _assert_gone(self, processes: set[int]) -> None:
        assert processes
        if not self.workers_outlive_the_run:
            gone = wait_until(lambda: not any(map(is_alive, processes)))
            assert gone, f"worker processes are left: {[*filter(is_alive, processes)]}"
