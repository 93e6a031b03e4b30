"""Runs on a cluster that is not ours: what is sent, who takes part, and what goes wrong there."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import distributed
import numpy as np
import pytest
from crystallize_dask import DaskExecution

from crystallize import Experiment, SeedPlugin
from crystallize.errors import ExecutionError, SerializationError
from crystallize.testing.subjects import Scripted, until, wait_until


def run(address, replicate_fn, replicates=8, **options):
    experiment = SimpleNamespace(owed=iter(range(replicates)))
    return DaskExecution(address, **options).run_experiment_loop(experiment, replicate_fn)


# -- what is sent ------------------------------------------------------------------------------------------


class Opened:
    """Leaves a file for each time that it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        self.__dict__.update(state)
        with (self.folder / f"opened-{os.getpid()}").open("a") as file:
            file.write("once\n")

    def __call__(self, replicate):
        wait_until(lambda: len(list(self.folder.glob("opened-*"))) == 2)
        return os.getpid()


def test_the_experiment_is_opened_once_by_each_worker(shared_cluster, tmp_path):
    workers = set(run(shared_cluster.address, Opened(tmp_path), replicates=40))
    assert len(workers) == 2
    assert {path.name: path.read_text() for path in tmp_path.glob("opened-*")} == {
        f"opened-{pid}": "once\n" for pid in workers
    }


def test_nothing_of_the_run_stays_on_the_cluster(shared_cluster):
    def plugins(dask_worker):
        return [name for name in dask_worker.plugins if "crystallize" in name]

    with shared_cluster.client() as client:
        before = client.run(plugins)  # a run whose coordinator was killed cannot take back what it has sent
        run(shared_cluster.address, lambda i: i)
        with pytest.raises(ZeroDivisionError):
            run(shared_cluster.address, lambda i: 1 // 0)
        assert client.run(plugins) == before
        assert client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)) == []


def test_no_future_is_let_go_of_where_ctrl_c_would_be_lost(shared_cluster, monkeypatch):
    """What the main thread drops is released by ``__del__``, which ignores errors, and Ctrl-C is one."""
    release = distributed.Future.release
    released = []

    def noting(future):
        if not future._cleared:
            released.append(threading.current_thread())
        release(future)

    monkeypatch.setattr(distributed.Future, "release", noting)
    run(shared_cluster.address, lambda i: time.sleep(0.01), replicates=60)
    assert len(released) > 2
    assert threading.current_thread() not in released


def test_arrays_can_be_written_to_in_the_worker_and_are_not_touched_here(shared_cluster):
    array = np.zeros(200_000)

    def replicate_fn(replicate):
        array[replicate] += 1
        return float(array[replicate])

    assert run(shared_cluster.address, replicate_fn) == [1.0] * 8
    assert not array.any()


def test_what_a_worker_logs_is_handled_here_in_the_order_of_a_batch(shared_cluster, caplog):
    def replicate_fn(replicate):
        logging.getLogger("crystallize.mine").info("replicate %d", replicate)

    with caplog.at_level(logging.INFO, "crystallize"):
        run(shared_cluster.address, replicate_fn)
    messages = [record.getMessage() for record in caplog.records if record.name == "crystallize.mine"]
    assert sorted(messages) == [f"replicate {i}" for i in range(8)]


def test_what_a_thread_of_a_step_logs_is_handled_here(shared_cluster, caplog):
    def replicate_fn(replicate):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(logging.getLogger("crystallize.mine").info, "replicate %d", replicate)

    with caplog.at_level(logging.INFO, "crystallize"):
        run(shared_cluster.address, replicate_fn)
    messages = [record.getMessage() for record in caplog.records if record.name == "crystallize.mine"]
    assert sorted(messages) == [f"replicate {i}" for i in range(8)]


def test_a_step_that_takes_too_long_and_cannot_be_stopped_is_warned_of_here(shared_cluster, caplog):
    def step(data):
        time.sleep(0.5)

    execution = DaskExecution(shared_cluster.address)
    options = {"replicates": 1, "timeout": 0.1, "execution": execution, "disable_plugins": ["artifact"]}
    Experiment(lambda: 0, [step], **options).run()
    assert "replicate 0 under condition 'baseline' takes more than 0.1 seconds" in caplog.text


def test_a_resource_is_made_in_each_worker(shared_cluster):
    from crystallize import resource_factory

    def measure(data, lock):
        with lock:
            return data, {"data": data}

    experiment = Experiment(
        lambda ctx: ctx["replicate"],
        [measure],
        initial_ctx={"lock": resource_factory(lambda ctx: threading.Lock())},
        execution=DaskExecution(shared_cluster.address),
        disable_plugins=["artifact"],
        replicates=4,
    )
    assert experiment.run().metrics.baseline.metrics == {"data": [0, 1, 2, 3]}


def test_an_experiment_that_a_worker_cannot_open_is_an_error_that_shows_why(shared_cluster):
    class Unwilling:
        def __reduce__(self):
            return int, ("twelve",)

        def __call__(self, replicate):
            return replicate

    with pytest.raises(SerializationError, match=r"cannot be loaded.*invalid literal.*'twelve'") as caught:
        run(shared_cluster.address, Unwilling())
    assert "In a worker process" in caught.value.__notes__[0]


# -- who takes part ----------------------------------------------------------------------------------------


def test_no_more_workers_take_part_than_were_asked_for(shared_cluster):
    def replicate_fn(replicate):
        time.sleep(0.02)
        return os.getpid()

    assert len(set(run(shared_cluster.address, replicate_fn, 20, max_workers=1))) == 1


def test_experiments_in_threads_share_a_cluster(shared_cluster, tmp_path):
    def kills(replicate):
        if replicate == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return replicate

    def innocent(replicate):
        time.sleep(0.02)
        return replicate

    found = {}

    def start(name, function):
        found[name] = run(shared_cluster.address, Scripted(function), 40)

    threads = [
        threading.Thread(target=start, args=(name, function))
        for name, function in [("kills", kills), ("a", innocent), ("b", innocent)]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["a"] == found["b"] == list(range(40))
    _, replicate, _, message = found["kills"].pop(3)
    assert (replicate, found["kills"]) == (3, [*range(3), *range(4, 40)])
    assert re.search(r"its worker died \d times, the last time: killed by SIGKILL", message)


def test_a_worker_that_joins_during_the_run_takes_part(new_cluster, tmp_path):
    new_cluster.worker("--nthreads", "1", "--no-nanny")

    def replicate_fn(replicate):
        (tmp_path / f"worker-{os.getpid()}").touch()
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("worker-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return os.getpid()

    class Growing:
        owed = iter(range(4))

        def check_cancelled(self):
            if list(tmp_path.glob("worker-*")) and len(new_cluster.processes) == 2:
                new_cluster.worker("--nthreads", "1", "--no-nanny")

    assert len(set(DaskExecution(new_cluster.address).run_experiment_loop(Growing(), replicate_fn))) == 2


def test_threads_of_one_worker_run_replicates_side_by_side_and_are_warned_of(new_cluster, tmp_path, caplog):
    new_cluster.worker("--nthreads", "3", "--no-nanny")

    def step(data, ctx):
        (tmp_path / f"begun-{ctx['replicate']}").touch()
        deadline = time.monotonic() + 30
        while len(list(tmp_path.glob("begun-*"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        return data, {"side by side": len(list(tmp_path.glob("begun-*")))}

    experiment = Experiment(
        lambda: 0,
        [step],
        plugins=[SeedPlugin()],
        execution=DaskExecution(new_cluster.address),
        disable_plugins=["artifact"],
        replicates=3,
    )
    assert experiment.run().metrics.baseline.metrics == {"side by side": [3, 3, 3]}
    assert "in threads of one Dask worker share the global random state" in caplog.text


def test_a_replicate_runs_where_its_resources_are_and_no_more_of_them_than_they_last_for(
    new_cluster, tmp_path
):
    new_cluster.worker("--nthreads", "4", "--no-nanny", "--resources", "GPU=1")
    new_cluster.worker("--nthreads", "1", "--no-nanny")
    with new_cluster.client() as client:
        client.wait_for_workers(2)
        (owner,) = [
            pid
            for address, pid in client.run(os.getpid).items()
            if client.scheduler_info()["workers"][address]["resources"]
        ]

    def replicate_fn(replicate):
        mine = tmp_path / f"on-{replicate}"
        mine.touch()
        time.sleep(0.02)
        others = len(list(tmp_path.glob("on-*"))) - 1
        mine.unlink()
        return os.getpid(), others

    assert set(run(new_cluster.address, replicate_fn, resources={"GPU": 1})) == {(owner, 0)}


def test_a_worker_that_cannot_open_the_experiment_leaves_the_run_to_those_that_can(
    new_cluster, tmp_path, monkeypatch
):
    from crystallize.plugins.execution import driver

    monkeypatch.setattr(driver, "_DEATHS_IN_A_ROW", 1)
    new_cluster.worker("--nthreads", "1", "--no-nanny")

    def died():
        return len(list(tmp_path.glob("died-*")))

    class Demanding(Scripted):
        def recipe(self):
            return open_unless_broken, (tmp_path, self.script)

    def open_unless_broken(folder, script):
        if "BROKEN" in os.environ:
            (folder / f"died-{os.getpid()}").touch()
            os._exit(5)
        (folder / "opened").touch()
        return Scripted(script)

    def replicate_fn(replicate):
        return (yield from until(lambda: died() == 2))  # by then the first death was seen

    class Growing:
        owed = iter(range(1))

        def check_cancelled(self):
            if (tmp_path / "opened").exists() and len(new_cluster.processes) == 2 + died() < 4:
                monkeypatch.setenv("BROKEN", "1")
                new_cluster.worker("--nthreads", "1", "--no-nanny")

    strategy = DaskExecution(new_cluster.address)
    assert strategy.run_experiment_loop(Growing(), Demanding(replicate_fn)) == [True]


# -- what goes wrong there ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_where_no_scheduler_is_the_address_is_named():
    with pytest.raises(
        ExecutionError, match=r"no Dask scheduler can be reached at tcp://127.0.0.1:1\b.*`dask"
    ):
        run("tcp://127.0.0.1:1", lambda i: i)


@pytest.mark.parametrize("address", ["pigeon://roof:1", "tls://127.0.0.1:1"])
def test_a_protocol_that_is_unknown_or_not_set_up_is_an_error_that_names_the_address(address):
    with pytest.raises(ExecutionError, match=address):
        run(address, lambda i: i)


@pytest.mark.usefixtures("impatient")
def test_a_cluster_without_workers_is_an_error(new_cluster):
    with pytest.raises(ExecutionError, match=rf"{new_cluster.address} has no workers.*dask worker"):
        run(new_cluster.address, lambda i: i)


@pytest.mark.usefixtures("impatient")
def test_resources_that_no_worker_offers_are_an_error(shared_cluster):
    with pytest.raises(ExecutionError, match=r"no Dask worker offers.*'GPU': 2.*has none.*--resources"):
        run(shared_cluster.address, lambda i: i, resources={"GPU": 2})


def test_a_worker_without_this_add_on_is_told_apart(new_cluster, tmp_path, monkeypatch):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "crystallize_dask.py").write_text("raise ImportError('No module named crystallize_dask')")
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    new_cluster.worker("--nthreads", "1", "--no-nanny")
    with pytest.raises(ExecutionError, match=r"cannot import.*crystallize_dask.*Install crystallize-dask"):
        run(new_cluster.address, lambda i: i)


def test_a_worker_with_another_python_is_told_apart(shared_cluster, monkeypatch):
    from crystallize_dask import payload

    monkeypatch.setattr(payload, "versions", lambda: {"Python": "3.9"})
    with pytest.raises(SerializationError, match=r"comes from Python 3\.9.*Run both with the same version"):
        run(shared_cluster.address, lambda i: i)


def test_a_worker_with_another_version_is_warned_of(shared_cluster, monkeypatch, caplog):
    from crystallize_dask import transport

    ours = transport.versions()
    monkeypatch.setattr(transport, "versions", lambda: {**ours, "crystallize-lab": "9.9"})
    run(shared_cluster.address, lambda i: i)
    assert caplog.text.count("crystallize-lab") == 1
    assert "and this process 9.9: results may differ" in caplog.text


def test_a_scheduler_that_ends_during_the_run_ends_the_run_and_what_arrived_is_kept(
    mortal_cluster, impatient
):
    mortal_cluster.worker("--nthreads", "1", "--no-nanny")
    with mortal_cluster.client() as client:
        client.wait_for_workers(1)

    class Ending:
        owed = iter(range(100))
        told = ()

        def replicate_done(self, result):
            self.told = (*self.told, result)
            if result == 3:
                os.kill(mortal_cluster.scheduler, signal.SIGKILL)
            return result

    def replicate_fn(replicate):
        time.sleep(0.1)
        return replicate

    experiment = Ending()
    with pytest.raises(ExecutionError, match=rf"connection.*{mortal_cluster.address} was lost.*again when"):
        DaskExecution(mortal_cluster.address).run_experiment_loop(experiment, replicate_fn)
    assert set(range(4)) <= set(experiment.told)
    assert len(experiment.told) < 100
