"""The contracts as a third party uses them: they pass what is right, and fail what is broken, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from subprocess import CompletedProcess
from textwrap import dedent, indent

import pytest

from crystallize.testing import WorkerProcessesContract

Outcomes = Callable[..., dict[str, set[str]]]

CONTRACT = """
    import pytest
    from crystallize.testing import {contract}
    import things

    class Test{name}({contract}):
        {settings}

        @pytest.fixture
        def {fixture}(self):
            return things.{name}()
"""
FIXTURES = {"HasherContract": "hasher", "LoaderContract": "loader"}


@pytest.fixture
def outcomes(run_pytest: Callable[..., CompletedProcess[str]]) -> Outcomes:
    """Return a function that runs a contract, or `tests` of it, and returns what failed.

    ``outcomes(things, contract, settings, tests)`` does so for every class of `things` in `settings`.
    """

    def run(
        things: str,
        contract: str,
        settings: Mapping[str, str],
        tests: Mapping[str, set[str]] | None = None,
    ) -> dict[str, set[str]]:
        files = {
            f"test_{name.lower()}.py": CONTRACT.format(
                name=name,
                contract=contract,
                settings=indent(dedent(text).strip() or "pass", " " * 8).strip(),
                fixture=FIXTURES.get(contract, "strategy"),
            )
            for name, text in settings.items()
        }
        chosen = [
            f"test_{name.lower()}.py::Test{name}{f'::{test}' if test else ''}"
            for name in settings
            for test in (sorted(tests[name]) if tests else [""])
        ]
        printed = run_pytest("-rfpE", *chosen, files={"things.py": things, **files}).stdout
        found = re.findall(
            r"^(PASSED|FAILED|ERROR) test_\w+\.py(?:::Test(\w+)::(\w+))?", printed, re.MULTILINE
        )
        assert {name for _, name, _ in found} == set(settings), f"a contract was not run\n{printed}"
        failed: dict[str, set[str]] = {name: set() for name in settings}
        for outcome, name, test in found:
            assert outcome != "ERROR", printed
            if outcome == "FAILED":
                failed[name].add(test)
        return failed

    return run


# -- strategies --------------------------------------------------------------------------------------------

STRATEGIES = """
    import itertools
    import os
    import signal
    import threading
    import time
    import traceback
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
    from multiprocessing import get_context

    from crystallize import BasePlugin

    class Strategy(BasePlugin):
        def run_experiment_loop(self, experiment, replicate_fn):
            return [self.one(experiment, replicate_fn, i) for i in self.numbers(experiment)]

        def numbers(self, experiment):
            return experiment.owed

        def one(self, experiment, replicate_fn, replicate):
            return experiment.replicate_done(replicate_fn(replicate))

    class Right(Strategy):
        pass

    class Backwards(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            done = {}
            while batch := list(itertools.islice(self.numbers(experiment), 10)):
                for i in reversed(batch):
                    done[i] = self.one(experiment, replicate_fn, i)
            return [done[i] for i in sorted(done)]

    class Reorders(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            return super().run_experiment_loop(experiment, replicate_fn)[::-1]

    class SwallowsErrors(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            try:
                return super().one(experiment, replicate_fn, replicate)
            except Exception:
                return None

    class LosesAReplicate(Strategy):
        def numbers(self, experiment):
            return itertools.islice(experiment.owed, 1, None)

    class ToTheLetter(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            return [replicate_fn(i) for i in range(experiment.replicates)]

    class DoesOneTwice(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            if experiment.replicates:
                self.one(experiment, replicate_fn, 0)
            return super().run_experiment_loop(experiment, replicate_fn)

    class ReportsAtTheEnd(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            results = [replicate_fn(i) for i in self.numbers(experiment)]
            return [experiment.replicate_done(result) for result in results]

    class ReportsFromThreads(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            with ThreadPoolExecutor(1) as pool:
                calls = [pool.submit(self.one, experiment, replicate_fn, i) for i in self.numbers(experiment)]
                try:
                    return [call.result() for call in calls]
                finally:
                    pool.shutdown(cancel_futures=True)

    class KeepsTheResult(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            result = replicate_fn(replicate)
            experiment.replicate_done(result)
            return result

    class GoesOnAfterCtrlC(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            try:
                return super().one(experiment, replicate_fn, replicate)
            except KeyboardInterrupt:
                return self.one(experiment, replicate_fn, replicate)

    class CannotBeUsedAgain(Strategy):
        used = False

        def run_experiment_loop(self, experiment, replicate_fn):
            if self.used:
                return []
            self.used = True
            return super().run_experiment_loop(experiment, replicate_fn)

    class Prints(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            print("replicate", replicate)
            return super().one(experiment, replicate_fn, replicate)

    class LeavesThreads(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
            return super().run_experiment_loop(experiment, replicate_fn)

    class LeavesAFileOpen(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            os.open(os.devnull, os.O_RDONLY)
            return super().run_experiment_loop(experiment, replicate_fn)

    class RunsTwiceAndReportsOnce(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            replicate_fn(replicate)
            return super().one(experiment, replicate_fn, replicate)

    class HoldsOnToResults(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            self.last = replicate_fn(replicate)
            return experiment.replicate_done(self.last)

    class NotesOnTheExperiment(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            experiment.current = replicate
            return super().one(experiment, replicate_fn, replicate)

    class DoesNotHandBackCtrlC(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, lambda *_: None)
            return super().run_experiment_loop(experiment, replicate_fn)

    class NeedsTheMainThread(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            assert threading.current_thread() is threading.main_thread()
            return super().run_experiment_loop(experiment, replicate_fn)

    class NeedsALoopOfItsOwn(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            import asyncio

            async def run():
                return Strategy.run_experiment_loop(self, experiment, replicate_fn)

            main = run()
            try:
                return asyncio.run(main)
            finally:
                main.close()

    class OddSettings(Strategy):
        settings = {"pool": {1, 2}}

    class GivesTheNextReplicate(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            result = replicate_fn(replicate)
            if hasattr(result, "outcomes"):  # of a real experiment: the outcomes of its neighbour
                result = result._replace(outcomes=replicate_fn(replicate + 1).outcomes)
            return experiment.replicate_done(result)

    class Hangs(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            if experiment.replicates == 7:
                threading.Event().wait()
            return super().run_experiment_loop(experiment, replicate_fn)

    class Pool(Strategy):
        def run_experiment_loop(self, experiment, replicate_fn):
            context = get_context("forkserver")
            context.set_forkserver_preload(["crystallize.testing.execution"])  # not once in each worker
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                calls, done = {}, {}
                try:
                    while True:
                        for i in itertools.islice(self.numbers(experiment), 4 - len(calls.keys() - done)):
                            calls[pool.submit(replicate_fn, i)] = i
                        waiting = calls.keys() - done
                        if not waiting:
                            break
                        finished, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                        experiment.check_cancelled()
                        for call in finished:
                            done[call] = experiment.replicate_done(call.result())
                finally:
                    pool.shutdown(cancel_futures=True)
            return [done[call] for call in sorted(calls, key=calls.get)]

    def answer(connection, replicate_fn, replicate):
        connection.recv()  # begin when the parent is out of its fork, in whose callbacks a Ctrl-C is lost
        try:
            connection.send((replicate_fn(replicate), None))
        except ArithmeticError as error:
            error.add_note(traceback.format_exc())
            connection.send((None, error))
        except LookupError as error:
            connection.send((None, error))

    class OneByOne(Strategy):
        def one(self, experiment, replicate_fn, replicate):
            context = get_context("fork")
            ours, theirs = context.Pipe()
            process = context.Process(target=answer, args=(theirs, replicate_fn, replicate))
            process.start()
            theirs.close()
            try:
                ours.send("begin")
                while not ours.poll(1):
                    experiment.check_cancelled()
                result, error = ours.recv()
            finally:
                process.kill()
                process.join()
            if error is not None:
                raise error
            return experiment.replicate_done(result)
"""


def test_a_strategy_that_is_right_passes_whatever_its_order(outcomes: Outcomes) -> None:
    settings = {"Right": "", "Backwards": "most_replicates = 20"}
    assert outcomes(STRATEGIES, "ExecutionStrategyContract", settings) == {
        "Right": set(),
        "Backwards": set(),
    }


def test_a_pool_of_the_standard_library_can_keep_the_contract(outcomes: Outcomes) -> None:
    settings = {"Pool": "most_replicates = 20"}
    assert outcomes(STRATEGIES, "ExecutionStrategyContract", settings) == {"Pool": set()}


def test_worker_processes_owe_more(outcomes: Outcomes) -> None:
    more = {name for name in vars(WorkerProcessesContract) if name.startswith("test_")}
    more.remove("test_what_a_stopping_rule_has_dropped_is_run_no_more")  # in six hundred processes
    found = outcomes(STRATEGIES, "WorkerProcessesContract", {"OneByOne": ""}, {"OneByOne": more})
    assert found["OneByOne"] == {
        "test_a_killed_worker_loses_nothing",
        "test_several_replicates_may_lose_their_workers",
        "test_a_replicate_that_kills_every_worker_is_given_up_alone",
        "test_an_experiment_whose_worker_is_killed_gives_the_bytes_of_a_serial_run",
        "test_what_cannot_be_sent_to_a_worker_is_named",
        "test_a_result_that_cannot_be_sent_back_is_the_failure_of_its_replicate",
        "test_what_workers_import_is_among_the_packages_of_each_run",
        "test_workers_draw_different_numbers_from_global_generators",
    }


BROKEN_STRATEGIES = {
    "Reorders": {"test_results_come_in_replicate_order", "test_many_replicates_come_in_order"},
    "SwallowsErrors": {
        "test_an_exception_arrives_as_it_was_raised",
        "test_an_error_of_the_coordinator_ends_the_run",
    },
    "LosesAReplicate": {"test_results_come_in_replicate_order", "test_what_is_owed_may_have_gaps"},
    "ToTheLetter": {
        "test_what_is_owed_may_have_gaps",
        "test_what_is_owed_may_end_while_replicates_are_in_flight",
        "test_a_result_is_reported_while_others_run",
    },
    "DoesOneTwice": {
        "test_results_come_in_replicate_order",
        "test_an_experiment_gives_the_bytes_of_a_serial_run",
    },
    "ReportsAtTheEnd": {"test_a_result_is_reported_while_others_run"},
    "ReportsFromThreads": {"test_results_are_reported_in_the_calling_thread"},
    "KeepsTheResult": {"test_results_come_in_replicate_order"},
    "GoesOnAfterCtrlC": {"test_ctrl_c_ends_the_run"},
    "CannotBeUsedAgain": {"test_a_strategy_can_be_used_again"},
    "Prints": {"test_nothing_is_written_to_standard_output"},
    "LeavesThreads": {"test_threads_do_not_add_up_from_run_to_run"},
    "LeavesAFileOpen": {"test_a_run_leaves_no_file_open"},
    "RunsTwiceAndReportsOnce": {"test_each_replicate_is_run_once"},
    "HoldsOnToResults": {"test_results_are_let_go_of"},
    "NotesOnTheExperiment": {"test_the_experiment_is_left_as_it_was"},
    "DoesNotHandBackCtrlC": {"test_the_process_is_left_as_it_was"},
    "NeedsTheMainThread": {"test_it_works_in_a_thread_other_than_the_main_one"},
    "NeedsALoopOfItsOwn": {"test_it_works_where_an_event_loop_is_running"},
    "OddSettings": {"test_settings_are_plain_data"},
    "GivesTheNextReplicate": {"test_an_experiment_gives_the_bytes_of_a_serial_run"},
    "Hangs": {"test_results_come_in_replicate_order"},
}


def test_a_strategy_that_is_broken_fails_the_test_that_says_how(outcomes: Outcomes) -> None:
    settings = dict.fromkeys(BROKEN_STRATEGIES, "most_seconds = 2")
    found = outcomes(STRATEGIES, "ExecutionStrategyContract", settings, BROKEN_STRATEGIES)
    assert found == BROKEN_STRATEGIES


# -- loaders -----------------------------------------------------------------------------------------------

LOADERS = """
    import gzip
    import json
    import pickle
    from pathlib import Path

    class Right:
        suffixes = (".json",)

        def load(self, path):
            return json.loads(path.read_bytes())

        def dump(self, value):
            return json.dumps(value).encode()

    class Lossy(Right):
        def dump(self, value):
            return json.dumps({key: round(item) for key, item in value.items()}).encode()

    class AcceptsAnything(Right):
        def load(self, path):
            try:
                return super().load(path)
            except ValueError:
                return {}

    class AcceptsNoFile(Right):
        def load(self, path):
            return super().load(path) if path.exists() else {}

    class WritesText(Right):
        def dump(self, value):
            return json.dumps(value)

    class WritesWhatItDoesNotKnow(Right):
        def dump(self, value):
            return json.dumps(value, default=repr).encode()

    class ChangesWhatItWrites(Right):
        def dump(self, value):
            value["version"] = 1
            return super().dump(value)

    class ChangesTheFile(Right):
        def load(self, path):
            found = super().load(path)
            path.write_text(json.dumps(found, indent=2))
            return found

    class WritesInPlace(Right):
        path = None

        def load(self, path):
            self.path = path
            return super().load(path)

        def dump(self, value):
            if self.path is not None and self.path.exists():
                self.path.write_text(json.dumps(value) + "\\n")
            return super().dump(value)

    class LeavesAFile(Right):
        def dump(self, value):
            Path("scratch.json").write_text("...")
            return super().dump(value)

    class ReadsLater(Right):
        def load(self, path):
            class Later(dict):
                def __eq__(self, other):
                    return json.loads(path.read_bytes()) == other
            return Later()

    class LeavesItOpen(Right):
        def load(self, path):
            class Open(dict):
                pass
            found = Open(super().load(path))
            found.file = path.open()
            return found

    class StampsTheTime(Right):
        def load(self, path):
            return json.loads(gzip.decompress(path.read_bytes()))

        def dump(self, value):
            return gzip.compress(super().dump(value))

    class KeepsState(Right):
        def dump(self, value):
            import time
            self.value = value
            time.sleep(0.001)
            return json.dumps(self.value).encode()

    class CannotBeSent(Right):
        def __init__(self):
            import threading
            self.lock = threading.Lock()

    class UpperCase(Right):
        suffixes = (".JSON",)

    class RunsPickles(Right):
        def load(self, path):
            return pickle.loads(path.read_bytes())

        def dump(self, value):
            return pickle.dumps(value)
"""

VALUES = """
    values = [{"a": 1.5}, {"b": 2.5, "c": -1.25}]
    bad_bytes = [b"", b"{", b"\\xff"]
    bad_values = [{"a": object()}]
"""

BROKEN_LOADERS = {
    "Lossy": {"test_what_is_dumped_is_loaded", "test_what_a_step_writes_another_experiment_reads"},
    "AcceptsAnything": {"test_bad_bytes_are_an_error_that_names_the_file"},
    "AcceptsNoFile": {"test_a_file_that_is_not_there_is_an_error"},
    "WritesText": {"test_dump_gives_bytes"},
    "WritesWhatItDoesNotKnow": {"test_bad_values_are_an_error_that_names_the_artifact"},
    "ChangesWhatItWrites": {"test_dump_leaves_its_argument_as_it_is"},
    "ChangesTheFile": {"test_load_leaves_the_file_as_it_is"},
    "WritesInPlace": {"test_dump_writes_no_file"},
    "LeavesAFile": {"test_dump_writes_no_file"},
    "ReadsLater": {"test_what_was_loaded_outlives_its_file"},
    "LeavesItOpen": {"test_load_closes_the_file"},
    "StampsTheTime": {"test_the_same_value_gives_the_same_bytes"},
    "KeepsState": {"test_threads_share_it"},
    "CannotBeSent": {"test_a_copy_in_a_worker_does_the_same"},
    "UpperCase": {"test_suffixes_are_lower_case_with_a_dot"},
    "RunsPickles": {"test_a_pickle_in_the_file_is_not_run"},
}


def test_a_loader_that_is_right_passes(outcomes: Outcomes) -> None:
    assert outcomes(LOADERS, "LoaderContract", {"Right": VALUES}) == {"Right": set()}


def test_a_loader_that_is_broken_fails_the_test_that_says_how(outcomes: Outcomes) -> None:
    settings = dict.fromkeys(BROKEN_LOADERS, VALUES)
    settings["ReadsLater"] += "    same = staticmethod(lambda first, second: first == second)"
    assert outcomes(LOADERS, "LoaderContract", settings, BROKEN_LOADERS) == BROKEN_LOADERS


def test_a_loader_that_runs_what_it_reads_says_so_and_has_no_suffix(outcomes: Outcomes) -> None:
    runs = VALUES.replace("bad_values", "runs_what_it_reads = True\n    no_bad_values")
    source = LOADERS + "\n    class NoSuffix(RunsPickles):\n        suffixes = ()\n"
    found = outcomes(source, "LoaderContract", {"RunsPickles": runs, "NoSuffix": runs})
    assert found == {"RunsPickles": {"test_a_pickle_in_the_file_is_not_run"}, "NoSuffix": set()}


# -- hashers -----------------------------------------------------------------------------------------------

HASHERS = """
    from itertools import count

    class Mesh:
        def __init__(self, *points):
            self.points = points

        def __repr__(self):
            return f"Mesh{self.points}"

    def Right():
        return lambda mesh: sorted(mesh.points)

    def Forgets():
        return lambda mesh: len(mesh.points)

    def Minds():
        return lambda mesh: mesh.points

    def ByAddress():
        return lambda mesh: id(mesh)

    def BySet():
        return lambda mesh: list(set(mesh.points)) if len(mesh.points) == 26 else sorted(mesh.points)

    def Counts():
        numbers = count()
        return lambda mesh: (sorted(mesh.points), next(numbers))

    def Guesses():
        return lambda mesh: [str(point) for point in sorted(mesh.points, key=str)]
"""
MESHES = """
    values = [things.Mesh("a"), things.Mesh("b"), things.Mesh(*"abcdefghijklmnopqrstuvwxyz")]
    equal = [(things.Mesh("a", "b"), things.Mesh("b", "a"))]
    bad_values = [things.Mesh(iter([]))]
"""
BROKEN_HASHERS = {
    "Forgets": {"test_unequal_values_have_unequal_hashes", "test_a_value_that_hides_its_content_is_an_error"},
    "Minds": {"test_equal_values_have_equal_hashes"},
    "ByAddress": {
        "test_equal_values_have_equal_hashes",
        "test_a_copy_has_the_same_hash",
        "test_another_process_gives_the_same_hash",
        "test_a_value_that_hides_its_content_is_an_error",
    },
    "BySet": {"test_another_process_gives_the_same_hash"},
    "Counts": {
        "test_equal_values_have_equal_hashes",
        "test_a_hash_is_the_same_each_time",
        "test_a_copy_has_the_same_hash",
        "test_threads_share_it",
    },
    "Guesses": {"test_a_value_that_hides_its_content_is_an_error"},
}


def test_a_hasher_that_is_right_passes(outcomes: Outcomes) -> None:
    assert outcomes(HASHERS, "HasherContract", {"Right": MESHES}) == {"Right": set()}


def test_a_hasher_that_is_broken_fails_the_tests_that_say_how(outcomes: Outcomes) -> None:
    settings = dict.fromkeys(BROKEN_HASHERS, MESHES)
    assert outcomes(HASHERS, "HasherContract", settings) == BROKEN_HASHERS
