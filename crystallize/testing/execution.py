"""What every execution strategy owes to an experiment, as tests."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from crystallize.experiments.experiment import Experiment
from crystallize.experiments.treatment import treatment
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.plugins.execution import SerialExecution
from crystallize.statistics.stopping.decided import decided
from crystallize.testing.leftovers import open_files, surroundings
from crystallize.testing.subjects import (
    Cancelled,
    Scripted,
    Thing,
    Watched,
    all_kept,
    demanding,
    describe,
    everything,
    run_and_disturb,
    run_and_interrupt,
    ticket,
    until,
    wait_until,
)

_SECONDS_IN_FLIGHT = 0.5
_MORE_THAN_ANY_POOL = 100


class ExecutionStrategyContract:
    """Tests of an execution strategy: subclass it and give it the fixture ``strategy``, a new one each time.

    Give the subclass a name that pytest collects. Strategies with worker processes subclass
    :class:`WorkerProcessesContract`. Workers see the files that the tests write.

    Parameters
    ----------
    only : collection of str, optional
        The names of the tests that are run, in the statement of the subclass: ``class TestSlowly(..., only=[...])``.
        For a strategy that has passed them all already, and here differs in one part of what it does.

    Attributes
    ----------
    most_replicates : int
        How many replicates the longest run has; lower it where each one costs much.
    most_seconds : float
        How long each test may take, so that a strategy that hangs fails.

    Examples
    --------
    >>> class TestSerial(ExecutionStrategyContract):
    ...     @pytest.fixture
    ...     def strategy(self):
    ...         return SerialExecution()
    """

    most_replicates: ClassVar[int] = 300
    most_seconds: ClassVar[float] = 60

    def __init_subclass__(cls, only: Collection[str] | None = None) -> None:
        """Leave out the tests that are not in `only`."""
        if only is None:
            return
        tests = {name for name in dir(cls) if name.startswith("test_")}
        if unknown := sorted({*only} - tests):
            raise TypeError(f"{cls.__name__} has no tests {unknown}")
        for name in tests - {*only}:
            setattr(cls, name, None)

    @pytest.fixture(autouse=True)
    def _nothing_else_takes_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("CRYSTALLIZE_DISABLE_PLUGINS", raising=False)

    @pytest.fixture(autouse=True)
    def _ends_in_time(self, request: pytest.FixtureRequest) -> None:
        # The test alone: an alarm that goes off in pytest's own code ends pytest.
        request.node.obj = self._in_time()(request.node.obj)

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        if not hasattr(signal, "SIGALRM") or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
            yield  # no alarm on this system, or somebody else's
            return

        def give_up(*_: object) -> None:
            pytest.fail(f"not done after {self.most_seconds} seconds")

        signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, self.most_seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    # -- order ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("replicates", [1, 2, 7])
    def test_results_come_in_replicate_order(self, strategy: Any, replicates: int) -> None:
        """The list has one entry for each replicate, in order: what ``replicate_done`` returned for it."""
        experiment = Watched(replicates)
        returned = strategy.run_experiment_loop(experiment, Scripted(lambda replicate: replicate))
        assert returned == all_kept(range(replicates))
        assert sorted(experiment.told) == list(range(replicates))

    def test_many_replicates_come_in_order(self, strategy: Any) -> None:
        """The same of more replicates than there are workers."""
        experiment = Watched(self.most_replicates)
        returned = strategy.run_experiment_loop(experiment, Scripted(lambda replicate: replicate))
        assert returned == all_kept(range(self.most_replicates))
        assert sorted(experiment.told) == list(range(self.most_replicates))

    def test_replicates_that_take_longer_keep_their_places(self, strategy: Any) -> None:
        """The list is in replicate order, whatever the order of arrival."""

        def uneven(replicate: int) -> Any:
            until_then = time.monotonic() + (0.03 if replicate % 5 == 0 else 0)
            yield from until(lambda: time.monotonic() > until_then)
            return replicate

        assert strategy.run_experiment_loop(Watched(23), Scripted(uneven)) == all_kept(range(23))

    def test_each_replicate_is_run_once(self, strategy: Any, tmp_path: Path) -> None:
        """No work is done twice, or in advance, unless a worker was lost."""

        def noting(replicate: int) -> None:
            with (tmp_path / f"begun-{replicate}").open("a") as file:
                file.write("once ")

        strategy.run_experiment_loop(Watched(12), Scripted(noting))
        found = {path.name: path.read_text() for path in tmp_path.glob("begun-*")}
        assert found == {f"begun-{replicate}": "once " for replicate in range(12)}

    # -- what is owed --------------------------------------------------------------------------------------

    def test_what_is_owed_may_have_gaps(self, strategy: Any, tmp_path: Path) -> None:
        """A run that is resumed owes what is missing: that is run, and nothing else."""
        missing = [2, 3, 7, 20, 21, 22, 41]

        def noting(replicate: int) -> int:
            (tmp_path / f"begun-{replicate}").touch()
            return replicate

        experiment = Watched(missing)
        assert strategy.run_experiment_loop(experiment, Scripted(noting)) == all_kept(missing)
        assert sorted(experiment.told) == missing
        begun = {path.name for path in tmp_path.glob("begun-*")}
        assert begun == {f"begun-{replicate}" for replicate in missing}

    def test_nothing_may_be_owed(self, strategy: Any) -> None:
        """A run of which everything is there already has nothing to do."""
        assert strategy.run_experiment_loop(Watched([]), Scripted(lambda replicate: replicate)) == []

    def test_what_is_owed_may_end_while_replicates_are_in_flight(self, strategy: Any, tmp_path: Path) -> None:
        """A rule decides during the run that it has seen enough: what was taken is finished and reported, no more."""
        decided = tmp_path / "decided"

        class Deciding(Watched):
            def replicate_done(self, result: Any) -> Any:
                kept = super().replicate_done(result)
                if len(self.told) == 5:
                    self.owed.end()
                    decided.touch()
                return kept

        def the_second_waits_for_the_decision(replicate: int) -> Any:
            (tmp_path / f"begun-{replicate}").touch()
            if replicate == 1:
                yield from until(decided.exists, _SECONDS_IN_FLIGHT)
            return replicate

        experiment = Deciding()
        returned = strategy.run_experiment_loop(experiment, Scripted(the_second_waits_for_the_decision))
        taken = sorted(experiment.owed.taken)
        assert returned == all_kept(taken)
        assert sorted(experiment.told) == taken
        assert len(taken) >= 5
        assert len(list(tmp_path.glob("begun-*"))) == len(taken), "replicates were run that are not owed"

    def test_a_stopping_rule_decides_as_in_a_serial_run(self, strategy: Any, tmp_path: Path) -> None:
        """The same decision, result and files, whatever arrives first."""

        def uneven(data: None, ctx: Any) -> tuple[None, dict[str, float]]:
            time.sleep(0.01 if ctx["replicate"] % 7 == 3 else 0)
            shift = 4.0 if ctx["condition"] == "large" else 0.0
            return data, {"loss": shift + float(ctx.stream(ctx["condition"]).normal())}

        found: dict[str, Any] = {}
        for name, execution in (("serial", SerialExecution()), ("strategy", strategy)):
            experiment = Experiment(
                lambda: None,
                [uneven],
                name=name,
                treatments=[treatment("large", {}), treatment("none", {})],
                execution=execution,
                plugins=[ArtifactPlugin(root_dir=tmp_path)],
                seed=8,
            )
            result = experiment.run(stop_when=decided("loss", smallest_effect=2, max=100, drop=True))
            assert result.path is not None
            files = [result.path / each / "results.json" for each in result.conditions]
            found[name] = [file.read_bytes() for file in files], result.stopping, result.replicates
        assert found["strategy"] == found["serial"]
        assert found["serial"][-1] < 100

    def test_a_strategy_can_be_used_again(self, strategy: Any) -> None:
        """One strategy drives one run after another."""
        for replicates in (5, 3):
            returned = strategy.run_experiment_loop(
                Watched(replicates), Scripted(lambda replicate: -replicate)
            )
            assert returned == all_kept(-replicate for replicate in range(replicates))

    # -- reports -------------------------------------------------------------------------------------------

    def test_results_are_reported_in_the_calling_thread(self, strategy: Any) -> None:
        """``replicate_done`` is called in the thread of the run, so one call at a time."""
        experiment = Watched(20)
        strategy.run_experiment_loop(experiment, Scripted(lambda replicate: replicate))
        assert experiment.threads == {threading.get_ident()}

    def test_a_result_is_reported_while_others_run(self, strategy: Any, tmp_path: Path) -> None:
        """``replicate_done`` is called as results arrive, not at the end."""
        seen = tmp_path / "seen"

        class Telling(Watched):
            def replicate_done(self, result: Any) -> Any:
                seen.touch()
                return super().replicate_done(result)

        def the_second_waits_for_the_first(replicate: int) -> Any:
            return (yield from until(seen.exists)) if ticket(tmp_path) > 0 else True

        returned = strategy.run_experiment_loop(Telling(2), Scripted(the_second_waits_for_the_first))
        assert returned == all_kept([True, True]), "the first result was not reported while the other ran"

    def test_nothing_is_written_to_standard_output(
        self, strategy: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Progress belongs to standard error, since the output may be read by another program."""
        if hasattr(strategy, "progress"):
            strategy.progress = True
        strategy.run_experiment_loop(Watched(5), Scripted(lambda replicate: replicate))
        assert capfd.readouterr().out == ""

    # -- exceptions ----------------------------------------------------------------------------------------

    def test_an_exception_arrives_as_it_was_raised(self, strategy: Any) -> None:
        """What a replicate raises (an experiment's own never does for a step's error) ends the run."""

        def raises(replicate: int) -> int:
            if replicate == 2:
                raise ZeroDivisionError("in replicate two")
            return replicate

        with pytest.raises(ZeroDivisionError, match="in replicate two") as caught:
            strategy.run_experiment_loop(Watched(40), Scripted(raises))
        shown = "".join(traceback.format_exception(caught.value))
        assert "in raises" in shown, "neither the traceback nor a note or cause shows where it was raised"

    def test_results_that_arrived_before_an_exception_were_reported(
        self, strategy: Any, tmp_path: Path
    ) -> None:
        """What was measured is not lost with the run."""
        seen = tmp_path / "seen"

        class Telling(Watched):
            def replicate_done(self, result: Any) -> Any:
                seen.touch()
                return super().replicate_done(result)

        def the_fourth_raises(replicate: int) -> Any:
            if ticket(tmp_path) == 3:
                yield from until(seen.exists)
                raise KeyError(replicate)
            return replicate

        experiment = Telling(4)
        with pytest.raises(KeyError):
            strategy.run_experiment_loop(experiment, Scripted(the_fourth_raises))
        assert experiment.told

    def test_an_error_of_the_coordinator_ends_the_run(self, strategy: Any) -> None:
        """What ``replicate_done`` raises is not swallowed."""

        class Refusing(Watched):
            def replicate_done(self, result: Any) -> Any:
                raise LookupError("no room")

        with pytest.raises(LookupError, match="no room"):
            strategy.run_experiment_loop(Refusing(5), Scripted(lambda replicate: replicate))

    # -- ends ----------------------------------------------------------------------------------------------

    def test_ctrl_c_ends_the_run(self, strategy: Any, tmp_path: Path) -> None:
        """A SIGINT comes out as KeyboardInterrupt; what had arrived was reported, and the rest is left undone."""
        experiment = Watched(_MORE_THAN_ANY_POOL)
        with pytest.raises(KeyboardInterrupt):
            run_and_interrupt(strategy, experiment, tmp_path)
        assert experiment.told
        self._assert_left_undone(experiment, tmp_path)

    def test_a_run_that_is_cancelled_ends(self, strategy: Any, tmp_path: Path) -> None:
        """``check_cancelled``, which ``replicate_done`` calls too, raises what ends the run."""
        experiment = Watched(_MORE_THAN_ANY_POOL)
        with pytest.raises(Cancelled):
            run_and_disturb(strategy, experiment, tmp_path, experiment.cancel, seconds=0)
        self._assert_left_undone(experiment, tmp_path)

    # -- what is left ---------------------------------------------------------------------------------------

    def test_threads_do_not_add_up_from_run_to_run(self, strategy: Any) -> None:
        """What a run starts it also ends; a library may keep what it starts once."""
        script = Scripted(lambda replicate: replicate)
        strategy.run_experiment_loop(Watched(10), script)
        before = threading.active_count()
        strategy.run_experiment_loop(Watched(10), script)
        assert wait_until(lambda: threading.active_count() <= before), threading.enumerate()

    def test_a_run_leaves_no_file_open(self, strategy: Any) -> None:
        """Nor a socket or a pipe; a library may keep what it opens once."""
        script = Scripted(lambda replicate: replicate)
        strategy.run_experiment_loop(Watched(3), script)
        before = open_files()
        strategy.run_experiment_loop(Watched(3), script)
        left = f"{open_files()} files are open, and {before} were before the run"
        assert wait_until(lambda: open_files() <= before), left

    def test_results_are_let_go_of(self, strategy: Any) -> None:
        """They belong to the experiment: the strategy does not keep them when the run is over."""
        noted = []

        class Noting(Watched):
            def replicate_done(self, result: Any) -> Any:
                noted.append(weakref.ref(result))
                return None

        strategy.run_experiment_loop(Noting(5), Scripted(Thing))
        assert len(noted) == 5

        def kept() -> list[Any]:
            gc.collect()
            return [each() for each in noted if each() is not None]

        assert wait_until(lambda: not kept()), "results of a run that is over are held by something"

    def test_the_experiment_is_left_as_it_was(self, strategy: Any) -> None:
        """It may run again, under another strategy: what a run needs to remember is not kept on it."""
        experiment = Watched(3)
        before = dict(vars(experiment))
        strategy.run_experiment_loop(experiment, Scripted(lambda replicate: replicate))
        after = vars(experiment)
        changed = {name for name in {*before, *after} if before.get(name) is not after.get(name)}
        assert not changed, f"the strategy has changed {sorted(changed)} of the experiment"

    def test_the_process_is_left_as_it_was(self, strategy: Any) -> None:
        """The folder, the environment, the import path, and who hears of Ctrl-C are the user's to choose."""
        before = surroundings()
        strategy.run_experiment_loop(Watched(3), Scripted(lambda replicate: replicate))
        assert surroundings() == before

    # -- places --------------------------------------------------------------------------------------------

    def test_it_works_in_a_thread_other_than_the_main_one(self, strategy: Any) -> None:
        """Graphs run experiments in threads, ``Experiment.arun`` does too."""
        returned: list[Any] = []

        def run() -> None:
            returned.extend(strategy.run_experiment_loop(Watched(6), Scripted(lambda replicate: replicate)))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert returned == all_kept(range(6))

    def test_it_works_where_an_event_loop_is_running(self, strategy: Any) -> None:
        """A notebook runs one."""

        async def notebook() -> Any:
            return strategy.run_experiment_loop(Watched(6), Scripted(lambda replicate: replicate))

        assert asyncio.run(notebook()) == all_kept(range(6))

    def test_settings_are_plain_data(self, strategy: Any) -> None:
        """They are written into the run's metadata."""
        settings = getattr(strategy, "settings", {})
        assert json.loads(json.dumps(settings)) == settings

    # -- experiments ---------------------------------------------------------------------------------------

    def test_an_experiment_gives_the_bytes_of_a_serial_run(self, strategy: Any, tmp_path: Path) -> None:
        """Metrics, seeds, errors, artifacts, provenance and the calls of hooks are the same, failures included."""
        serial, of_serial = demanding(SerialExecution(), tmp_path / "serial", replicates=8)
        wanted = everything(serial, tmp_path / "serial")
        assert len(wanted["errors"]) == 6, "the experiment has outcomes that fail"
        experiment, recorder = demanding(strategy, tmp_path / "strategy", replicates=8)
        assert_same(everything(experiment, tmp_path / "strategy"), wanted)
        assert recorder.calls == of_serial.calls

    def test_an_awaited_experiment_gives_the_same(self, strategy: Any, tmp_path: Path) -> None:
        """``await experiment.arun()`` gives what ``experiment.run()`` gives."""
        serial, of_serial = demanding(SerialExecution(), tmp_path / "serial", replicates=3)
        wanted = everything(serial, tmp_path / "serial")
        experiment, recorder = demanding(strategy, tmp_path / "strategy", replicates=3)

        async def run() -> Any:
            return await experiment.arun()

        assert_same(describe(asyncio.run(run()), tmp_path / "strategy"), wanted)
        assert recorder.calls == of_serial.calls

    def test_lambdas_closures_arrays_and_local_classes_take_part(self, strategy: Any) -> None:
        """An experiment is not restricted to what can be imported, nor to what plain pickle copies."""
        offsets = np.array([0, 10])

        class Add:
            def __init__(self, amount: int) -> None:
                self.amount = amount

            def __call__(self, data: int) -> tuple[int, dict[str, int]]:
                return data + self.amount, {"sum": data + self.amount + int(offsets.sum())}

        experiment = Experiment(
            lambda ctx: ctx["replicate"],
            [lambda data: data * 2, Add(5)],
            execution=strategy,
            disable_plugins=["artifact"],
            replicates=3,
        )
        assert experiment.run().metrics.baseline.metrics == {"sum": [15, 17, 19]}

    # -- the means -----------------------------------------------------------------------------------------

    @staticmethod
    def _assert_left_undone(experiment: Watched, folder: Path) -> None:
        ended = len(list(folder.glob("ended-*")))
        assert ended < (experiment.replicates or 0) - 1, "all replicates have run to their end all the same"
        assert len(experiment.told) == len(set(experiment.told)), "a result was reported twice"


def assert_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Compare what two runs gave, part by part, so that a failure shows the part that differs."""
    assert list(found) == list(wanted)
    for part, content in wanted.items():
        assert found[part] == content, f"{part} differs from the serial run"
