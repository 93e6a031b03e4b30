"""Worker processes: what reaches them, what comes back, and how they end."""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import spawn
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crystallize import Experiment, Treatment
from crystallize.errors import ExecutionError, InvalidValueError, SerializationError
from crystallize.plugins.execution import ParallelExecution, ProcessExecution, usable_cores
from crystallize.plugins.execution.launch import start_worker, without_main_module, worker_context
from crystallize.plugins.execution.processes import ProcessTransport
from crystallize.testing.leftovers import is_running
from crystallize.testing.subjects import wait_until

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def run(replicate_fn, replicates=4, workers=2):
    return ProcessExecution(workers).run_experiment_loop(
        SimpleNamespace(owed=iter(range(replicates))), replicate_fn
    )


@pytest.fixture(params=["forkserver", "spawn"])
def start_method(request, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_START_METHOD", request.param)
    return request.param


@pytest.fixture
def start_script(tmp_path):
    """Return a function that starts a script in a process group of its own."""
    started = []

    def start(text, warnings="error", **environment):
        script = tmp_path / "script.py"
        script.write_text(textwrap.dedent(text))
        path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [sys.executable, "-W", warnings, str(script)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# -- what reaches a worker ---------------------------------------------------------------------------------


def test_the_start_method_is_the_one_that_was_asked_for(start_method):
    import multiprocessing

    (kind,) = set(run(lambda i: type(multiprocessing.current_process()).__name__, workers=1))
    assert kind.lower() == f"{start_method}process"


def test_an_unknown_start_method_is_refused_before_a_run_begins(monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_START_METHOD", "fork")
    for make in (ProcessExecution, lambda: ParallelExecution(executor_type="process")):
        with pytest.raises(InvalidValueError, match=r"'fork'.*CRYSTALLIZE_START_METHOD.*forkserver"):
            make()
    ParallelExecution(executor_type="thread")


def test_a_script_without_a_guard_runs_once_and_its_functions_and_classes_travel(start_script, start_method):
    script = start_script(
        """
        import os, pickle
        from types import SimpleNamespace
        from crystallize.plugins.execution import ProcessExecution
        print("started")
        FACTOR = 3
        class Point:
            def __init__(self, x): self.x = x
        def helper(i): return Point(i * FACTOR)
        def refuse(): raise ValueError
        def replicate_fn(i):
            import traceback
            try:
                refuse()
            except ValueError:
                shown = traceback.format_exc()
            assert 'script.py", line 10, in refuse' in shown and "raise ValueError" in shown, shown
            copied = pickle.loads(pickle.dumps([helper(i), helper]))
            assert type(copied[0]) is Point and copied[1] is helper
            return copied[0]
        for _ in range(2):
            experiment = SimpleNamespace(owed=iter(range(5)))
            results = ProcessExecution(2).run_experiment_loop(experiment, replicate_fn)
            print([r.x for r in results], {type(r) is Point for r in results})
        print(__file__.endswith("script.py"))
        """,
        CRYSTALLIZE_START_METHOD=start_method,
    )
    out, err = script.communicate(timeout=60)
    assert err == ""
    assert out.splitlines() == ["started", "[0, 3, 6, 9, 12] {True}", "[0, 3, 6, 9, 12] {True}", "True"]


def test_modules_that_no_path_leads_to_travel_by_value(tmp_path):
    import importlib.util

    file = tmp_path / "their_steps.py"
    file.write_text("BASE = 100\ndef helper(i): return BASE + i\ndef step(i): return helper(i)\n")
    spec = importlib.util.spec_from_file_location("loaded_under_this_name", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        assert run(module.step) == [100, 101, 102, 103]
    finally:
        del sys.modules[spec.name]


def test_arrays_reach_workers_uncopied_and_writable():
    np = pytest.importorskip("numpy")
    array = np.arange(100_000.0)

    def replicate_fn(replicate):
        array[0] += 1
        return float(array[0]), float(array.sum()), array.flags.owndata

    found = run(replicate_fn, replicates=2, workers=2)
    assert array[0] == 0
    assert [owned for _, _, owned in found] == [False, False]
    assert all(total == array.sum() + first for first, total, _ in found)


def test_the_experiment_is_opened_once_per_worker(tmp_path):
    class Opened:
        def __call__(self, replicate):
            time.sleep(0.001)
            return os.getpid()

        def __setstate__(self, state):
            (tmp_path / f"opened-{os.getpid()}-{time.monotonic_ns()}").touch()

        def __getstate__(self):
            return {"a": 1}

    pids = set(run(Opened(), replicates=100, workers=2))
    assert len(list(tmp_path.glob("opened-*"))) == 2
    assert os.getpid() not in pids


def test_working_folder_path_and_environment_are_the_coordinators(tmp_path, monkeypatch, start_method):
    if start_method == "forkserver":
        run(lambda i: i, replicates=1)  # the server is older than what follows
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.setenv("SET_LATER", "yes")
    monkeypatch.delenv("HOME", raising=False)
    found = run(
        lambda i: (str(Path.cwd()), sys.path[0], os.environ.get("SET_LATER"), "HOME" in os.environ), workers=1
    )
    assert set(found) == {(str(tmp_path), str(tmp_path / "lib"), "yes", False)}


def test_numeric_libraries_get_their_share_of_the_cores(monkeypatch, start_method):
    from crystallize.plugins.execution.launch import THREAD_LIMITS

    for name in THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)

    def replicate_fn(replicate):
        import numpy  # noqa: F401
        import threadpoolctl

        limits = [library["num_threads"] for library in threadpoolctl.threadpool_info()]
        return [os.environ[name] for name in THREAD_LIMITS], limits

    strategy = ProcessExecution(2)
    assert strategy.settings == {
        "max_workers": 2,
        "progress": False,
        "workers": None,
        "threads_per_worker": None,
    }
    found = strategy.run_experiment_loop(SimpleNamespace(owed=iter(range(2))), replicate_fn)
    share = max(1, usable_cores() // 2)
    assert strategy.settings["threads_per_worker"] == share
    for variables, limits in found:
        assert set(variables) == {str(share)}
        assert all(limit <= share for limit in limits)


def test_a_limit_that_the_user_has_set_holds(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    strategy = ProcessExecution(2)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    (found,) = strategy.run_experiment_loop(
        SimpleNamespace(owed=iter(range(1))),
        lambda i: ([os.environ.get(name) for name in names], threads_of_libraries()),
    )
    assert found == (["5", None], threads_of_libraries())
    assert strategy.threads_per_worker is None


def test_a_limit_that_the_user_sets_after_the_first_run_holds(monkeypatch, start_method):
    from crystallize.plugins.execution.launch import THREAD_LIMITS

    for name in THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)
    (before,) = run(lambda i: threads_of_libraries(), replicates=1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (limited,) = run(lambda i: threads_of_libraries(), replicates=1)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", str(usable_cores()))  # which counts more
    (after,) = run(lambda i: threads_of_libraries(), replicates=1)
    assert (before, limited, after) == ({usable_cores()}, {1}, {usable_cores()})


def threads_of_libraries():
    """Return how many threads numeric libraries may use: the same number for each, but for one that is limited."""
    import numpy  # noqa: F401
    import threadpoolctl

    return {library["num_threads"] for library in threadpoolctl.threadpool_info()}


def count_threads(_=None):
    """Return how many threads this process has, and how many of them are Python's."""
    return len(list(Path("/proc/self/task").iterdir())), threading.active_count()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_a_worker_with_one_core_starts_no_threads_of_numeric_libraries(monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_START_METHOD", "forkserver")
    for threads, of_python in run(count_threads, replicates=4, workers=usable_cores()):
        assert threads == of_python


def test_what_else_is_forked_from_their_server_has_all_threads_of_numeric_libraries(monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_START_METHOD", "forkserver")
    run(lambda i: i, replicates=1)
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        assert pool.apply(threads_of_libraries) == threads_of_libraries()


def test_logs_of_a_worker_are_handled_in_the_coordinator(caplog):
    def replicate_fn(replicate):
        logging.getLogger("crystallize.step").warning("replicate %d is odd", replicate)
        logging.getLogger("crystallize.step").debug("not wanted")

    def of_their_own(replicate):
        logging.getLogger("of.their.own").info("said %d", replicate)
        logging.getLogger("of.others").info("not wanted")

    with caplog.at_level(logging.INFO, "crystallize"):
        run(replicate_fn, replicates=2)
    with caplog.at_level(logging.INFO, "of.their"):
        run(of_their_own, replicates=1)
    assert sorted(record.getMessage() for record in caplog.records) == [
        "replicate 0 is odd",
        "replicate 1 is odd",
        "said 0",
    ]


def test_workers_may_start_processes_of_their_own():
    def replicate_fn(replicate):
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        process = context.Process(target=print)
        process.start()
        process.join()
        return process.exitcode

    assert run(replicate_fn, replicates=1) == [0]


# -- what cannot travel ------------------------------------------------------------------------------------


class Parts:
    def __init__(self, **parts):
        self.parts = parts

    def __call__(self, replicate):
        return replicate

    def describe_parts(self):
        return self.parts


class Model:
    def __init__(self):
        self.model = SimpleNamespace(weights=[1, 2], lock=threading.Lock())


def test_what_cannot_be_sent_is_named_before_any_worker_starts(tmp_path):
    parts = Parts(**{"step 'Fine'": [1, 2], "step 'ModelStep'": Model()})
    with pytest.raises(SerializationError) as caught:
        run(parts)
    message = str(caught.value)
    assert "step 'ModelStep', attribute 'model.lock': cannot pickle '_thread.lock' object" in message
    assert "resource_factory" in message
    assert "Fine" not in message


def test_a_captured_variable_that_cannot_be_sent_is_named():
    lock = threading.Lock()
    with pytest.raises(SerializationError, match=r"variable 'lock': cannot pickle '_thread.lock' object"):
        run(lambda i: lock)


def test_a_result_that_cannot_be_sent_back_is_that_replicates_failure():
    class ReplicateFn:
        def __call__(self, replicate):
            return {"metric": threading.Lock()} if replicate == 2 else replicate

        def failed(self, replicate, error):
            return type(error).__name__, str(error)

    found = run(ReplicateFn(), replicates=5)
    assert found[:2] + found[3:] == [0, 1, 3, 4]
    kind, message = found[2]
    assert kind == "SerializationError"
    assert "result of replicate 2, item '['metric']': cannot pickle '_thread.lock' object" in message


def test_a_result_that_cannot_be_read_is_that_replicates_failure():
    def refuse():
        raise ValueError("not here")

    class Odd:
        def __reduce__(self):
            return refuse, ()

    class ReplicateFn:
        def __call__(self, replicate):
            return Odd() if replicate == 1 else replicate

        def failed(self, replicate, error):
            return str(error)

    found = run(ReplicateFn(), replicates=3)
    assert (found[0], found[2]) == (0, 2)
    assert "ValueError: not here" in found[1]


# -- exceptions --------------------------------------------------------------------------------------------


def test_an_exception_brings_its_traceback_as_a_note():
    def inner():
        raise OSError(28, "No space left on device", "/data/x")

    with pytest.raises(OSError, match="No space left") as caught:
        run(lambda i: inner())
    assert (caught.value.errno, caught.value.filename) == (28, "/data/x")
    assert "in inner" in "".join(caught.value.__notes__)


def test_an_exception_with_an_odd_constructor_arrives_by_name():
    class NeedsThree(Exception):
        def __init__(self, a, b, c):
            super().__init__(f"{a}-{b}-{c}")

    def replicate_fn(replicate):
        raise NeedsThree(1, 2, 3)

    with pytest.raises(ExecutionError, match="NeedsThree: 1-2-3") as caught:
        run(replicate_fn)
    assert "in replicate_fn" in "".join(caught.value.__notes__)


def test_an_exception_that_cannot_be_pickled_arrives_by_name():
    class Holding(Exception):
        def __init__(self, message):
            super().__init__(message)
            self.lock = threading.Lock()

    def replicate_fn(replicate):
        raise Holding("still held")

    with pytest.raises(ExecutionError, match="Holding: still held"):
        run(replicate_fn)


def test_an_exception_class_of_a_script_is_the_same_class_when_it_arrives():
    class Mine(Exception):
        pass

    def replicate_fn(replicate):
        raise Mine("x", 1)

    with pytest.raises(Mine) as caught:
        run(replicate_fn)
    assert caught.value.args == ("x", 1)


# -- workers that never get going --------------------------------------------------------------------------


class ExplodesOnArrival:
    def __init__(self, how):
        self.how = how

    def __call__(self, replicate):
        return replicate

    def __reduce__(self):
        return self.how, ()


def test_an_experiment_that_cannot_be_loaded_ends_the_run_with_the_workers_traceback(start_method):
    def explode():
        raise ModuleNotFoundError("No module named 'their_lib'")

    with pytest.raises(SerializationError, match="No module named 'their_lib'") as caught:
        run(ExplodesOnArrival(explode), workers=1)
    assert "in explode" in "".join(caught.value.__notes__)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_workers_that_die_while_they_load_do_not_do_so_for_ever():
    with pytest.raises(ExecutionError, match=r"while it loaded the experiment: exit code 7"):
        run(ExplodesOnArrival(lambda: os._exit(7)))


def test_a_worker_that_dies_while_it_sends_results_had_no_replicate_in_hand(tmp_path, caplog):
    """What it could not send runs again, but no replicate is to blame for the death."""
    killed = tmp_path / "killed"

    def kill_soon():
        time.sleep(0.5)  # by then it waits for the coordinator to read
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def replicate_fn(replicate):
        if replicate == 2 and not killed.exists():
            threading.Thread(target=kill_soon, daemon=True).start()
        return bytes([replicate]) * (4_000_000 if replicate else 1)

    def read_nothing_before_it_was_killed(result):
        if result[0] == 1:
            wait_until(killed.exists)
        return result[0]

    experiment = SimpleNamespace(owed=iter(range(9)), replicate_done=read_nothing_before_it_was_killed)
    with caplog.at_level(logging.WARNING):
        assert ProcessExecution(1).run_experiment_loop(experiment, replicate_fn) == list(range(9))
    assert [record.getMessage() for record in caplog.records] == [
        "a worker died between replicates: killed by SIGKILL (was memory short?)"
    ]


# -- the end -----------------------------------------------------------------------------------------------

ENDLESS = """
    import os, signal, sys, time
    from pathlib import Path
    from types import SimpleNamespace
    from crystallize.plugins.execution import ProcessExecution
    here = Path(__file__).parent
    def replicate_fn(i):
        (here / f"pid-{os.getpid()}").touch()
        if i >= 4:
            (here / f"busy-{os.getpid()}").touch()
            time.sleep(WAIT)
        return i
    told = []
    experiment = SimpleNamespace(owed=iter(range(50)), replicate_done=told.append)
    try:
        ProcessExecution(2).run_experiment_loop(experiment, replicate_fn)
    except KeyboardInterrupt:
        left = []
        for file in here.glob("pid-*"):
            try:
                os.kill(int(file.name[4:]), 0)
                left.append(file.name)
            except ProcessLookupError:
                pass
        print("interrupted", sorted(told), left)
"""


def test_ctrl_c_ends_the_run_with_all_workers_gone(start_script, start_method, tmp_path):
    script = start_script(ENDLESS.replace("WAIT", "60"), CRYSTALLIZE_START_METHOD=start_method)
    assert wait_until(lambda: len(list(tmp_path.glob("busy-*"))) == 2)
    os.killpg(script.pid, signal.SIGINT)
    out, err = script.communicate(timeout=20)
    assert out == "interrupted [0, 1, 2, 3] []\n"
    assert err == ""


@pytest.mark.parametrize("delay", [0, 0.05, 0.15, 0.3])
def test_ctrl_c_while_workers_start_is_quiet_too(start_script, start_method, tmp_path, delay):
    script = start_script(
        """
        import os, signal, sys, time
        # While a module is imported, a Ctrl-C may come in a callback of Python's own, which drops it.
        import decimal, multiprocessing.popen_forkserver, multiprocessing.popen_spawn_posix
        import multiprocessing.sharedctypes
        from pathlib import Path
        from types import SimpleNamespace
        from crystallize.plugins import execution
        from crystallize.plugins.execution import processes
        try:
            (Path(__file__).parent / "go").touch()
            execution.ProcessExecution(2).run_experiment_loop(
                SimpleNamespace(owed=iter(range(50))), lambda i: time.sleep(60)
            )
        except KeyboardInterrupt:
            print("interrupted")
        """,
        warnings="default::RuntimeWarning",  # Ctrl-C between opening a file and `with` is nobody's fault
        CRYSTALLIZE_START_METHOD=start_method,
    )
    assert wait_until((tmp_path / "go").exists)
    time.sleep(delay)
    os.killpg(script.pid, signal.SIGINT)
    assert script.communicate(timeout=20) == ("interrupted\n", "")


def test_a_worker_hears_nothing_of_ctrl_c_before_it_ignores_it_and_any_other_process_does(
    start_method, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "telling.py").write_text(
        "import signal\n"
        "from pathlib import Path\n"
        "def tell(file):\n"
        "    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "    Path(file).write_text('blocked' if signal.SIGINT in blocked else 'heard')\n"
    )
    tell = importlib.import_module("telling").tell
    context = worker_context()
    worker = start_worker(context, tell, (tmp_path / "worker",))
    another = context.Process(target=tell, args=(tmp_path / "another",))
    with without_main_module():
        another.start()
    for process in (worker, another):
        process.join()
    assert (tmp_path / "worker").read_text() == "blocked"
    assert (tmp_path / "another").read_text() == "heard"


def test_workers_end_by_themselves_when_the_coordinator_is_killed(start_script, start_method, tmp_path):
    with tempfile.TemporaryDirectory() as folder:  # its path is short, as that of a socket must be
        script = start_script(
            ENDLESS.replace("WAIT", "600"), CRYSTALLIZE_START_METHOD=start_method, TMPDIR=folder
        )
        assert wait_until(lambda: len(list(tmp_path.glob("busy-*"))) == 2)
        pids = [int(file.name[4:]) for file in tmp_path.glob("pid-*")]
        assert any(is_running(pid) for pid in pids)
        os.kill(script.pid, signal.SIGKILL)
        assert wait_until(lambda: not any(is_running(pid) for pid in pids))
        assert list(Path(folder).iterdir()) == []
        assert "Traceback" not in script.communicate(timeout=20)[1]


def test_nothing_is_left_of_a_run(tmp_path):
    def open_files():
        return sorted(Path("/proc/self/fd").iterdir())

    run(lambda i: i)  # the fork server and its pipes stay
    gc.collect()
    before = open_files()
    pids = run(lambda i: os.getpid(), replicates=8)
    assert open_files() == before
    assert not any(is_running(pid) for pid in pids)


def test_no_worker_is_left_after_an_error_of_the_coordinator(tmp_path):
    def refuse(result):
        raise LookupError("no room")

    def replicate_fn(replicate):
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0 if replicate == 0 else 30)

    experiment = SimpleNamespace(owed=iter(range(4)), replicate_done=refuse)
    with pytest.raises(LookupError, match="no room"):
        ProcessExecution(2).run_experiment_loop(experiment, replicate_fn)
    assert not any(is_running(int(file.name)) for file in tmp_path.iterdir() if file.name.isdigit())


def test_short_and_long_replicates_mixed_are_all_done():
    def replicate_fn(replicate):
        time.sleep(0.3 if replicate in {200, 201, 390} else 0)
        return replicate

    assert run(replicate_fn, replicates=400) == list(range(400))


def test_results_may_be_large():
    found = run(lambda i: bytes([i]) * 3_000_000, replicates=12)
    assert [(result[0], len(result)) for result in found] == [(i, 3_000_000) for i in range(12)]


def test_two_runs_at_the_same_time_do_not_mix():
    found = {}

    def work(factor):
        found[factor] = run(lambda i: i * factor, replicates=50)

    threads = [threading.Thread(target=work, args=(factor,)) for factor in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {factor: [i * factor for i in range(50)] for factor in (2, 3)}


def test_only_processes_that_a_run_starts_are_not_told_where_the_script_is(monkeypatch):
    """Steps of another run, in another thread, may read the script's ``__file__``, and start processes of their own."""
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", __file__, raising=False)  # pytest's own processes have none
    before = main.__file__, main.__spec__

    def told():
        return [key for key in spawn.get_preparation_data("child") if key.startswith("init_main")]

    with without_main_module(), ThreadPoolExecutor() as another_thread:
        assert told() == []
        assert another_thread.submit(told).result()
        assert (main.__file__, main.__spec__) == before
    assert told()


def test_a_fork_server_that_was_killed_is_replaced():
    from multiprocessing import forkserver

    run(lambda i: i)
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    assert run(lambda i: i) == [0, 1, 2, 3]


def test_a_module_that_runs_an_experiment_in_processes_while_it_is_imported_is_told(tmp_path, monkeypatch):
    (tmp_path / "runs_on_import.py").write_text(
        "from crystallize import Experiment\n"
        "def step(data): return data\n"
        "Experiment(lambda: 1, [step], execution='process').run(replicates=2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SerializationError, match="while it is imported, and each worker imports it again"):
        importlib.import_module("runs_on_import")
    (root,) = Path("data").iterdir()
    assert [each.name for each in root.glob("v*")] == ["v0"]  # that of this process


# -- what hangs ----------------------------------------------------------------------------------------------


def hang_for_ever(data: Any, ctx: Any) -> Any:
    if ctx["replicate"] == 1 and ctx["condition"] != "swift":
        threading.Event().wait()
    return data, {"value": ctx["replicate"]}


def test_a_worker_that_hangs_is_killed_and_what_else_it_owed_runs() -> None:
    experiment = Experiment(
        lambda: 0,
        [hang_for_ever],
        treatments=[Treatment("slow", {}), Treatment("swift", {})],
        replicates=4,
        timeout=0.5,
        disable_plugins=["artifact"],
        execution=ProcessExecution(max_workers=1),
    )
    result = experiment.run()
    assert [(error.replicate, error.condition, error.status) for error in result.errors] == [
        (1, "baseline", "timeout"),
        (1, "slow", "timeout"),
    ]
    assert result.metrics.treatments["swift"].metrics["value"] == [0, 1, 2, 3]
    assert result.metrics.baseline.metrics["value"] == [0, 2, 3]


def test_a_worker_that_goes_on_just_before_it_is_killed_takes_no_other_outcome_down(
    monkeypatch, tmp_path
) -> None:
    is_late, has_gone_on = tmp_path / "late", tmp_path / "gone on"

    def step(data: Any, ctx: Any) -> Any:
        if ctx["condition"] == "baseline":
            wait_until(is_late.exists)
        elif not has_gone_on.exists():
            has_gone_on.touch()
            threading.Event().wait()
        return data, {"value": 1}

    def end_overdue_too_late(*arguments: Any) -> Any:
        is_late.touch()
        assert wait_until(has_gone_on.exists)
        return end_overdue(*arguments)

    end_overdue = ProcessTransport._end_overdue
    monkeypatch.setattr(ProcessTransport, "_end_overdue", end_overdue_too_late)
    experiment = Experiment(
        lambda: 0,
        [step],
        treatments=[Treatment("next", {})],
        replicates=1,
        timeout=0.2,
        disable_plugins=["artifact"],
        execution=ProcessExecution(),
    )
    result = experiment.run()
    assert result.errors == []
    assert result.metrics.treatments["next"].metrics["value"] == [1]
