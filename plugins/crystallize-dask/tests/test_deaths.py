"""Workers that die, and replicates that take too long."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from crystallize_dask import DaskExecution

from crystallize.errors import ExecutionError
from crystallize.testing.leftovers import is_alive
from crystallize.testing.subjects import Scripted, until, wait_until


def run(address, function, replicates=8, **options):
    experiment = SimpleNamespace(owed=iter(range(replicates)))
    return DaskExecution(address, **options).run_experiment_loop(experiment, Scripted(function))


@pytest.fixture(params=["cluster", "this machine"])
def address(request):
    """Return the address of a cluster whose workers are replaced when they die."""
    return request.getfixturevalue("shared_cluster").address if request.param == "cluster" else None


# -- death -------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_from_outside_and_never_replaced_loses_nothing(new_cluster, tmp_path):
    workers = [new_cluster.worker("--nthreads", "1", "--no-nanny") for _ in range(2)]
    with new_cluster.client() as client:
        client.wait_for_workers(2)
    victim, killed = workers[0], tmp_path / "killed"

    class Killing:
        owed = iter(range(60))
        told = ()

        def replicate_done(self, result):
            self.told = (*self.told, result)
            if len(self.told) >= 20 and victim in dict(self.told).values() and not killed.exists():
                os.kill(victim, signal.SIGKILL)
                assert wait_until(lambda: not is_alive(victim))
                killed.touch()
            return result

    def replicate_fn(replicate):
        (tmp_path / f"begun-{os.getpid()}").touch()
        yield from until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        time.sleep(0.02)
        if replicate >= 40:
            yield from until(killed.exists)
        return replicate, os.getpid()

    experiment = Killing()
    results = DaskExecution(new_cluster.address).run_experiment_loop(experiment, Scripted(replicate_fn))
    assert [replicate for replicate, _ in results] == list(range(60))
    assert sorted(experiment.told) == sorted(results), "each result is reported once"
    assert killed.exists()
    assert victim not in {pid for replicate, pid in results if replicate >= 40}


def test_a_replicate_is_tried_again_as_often_as_was_asked_for(address, tmp_path):
    def kills(replicate):
        with (tmp_path / f"begun-{replicate}").open("a") as file:
            file.write("once\n")
        if replicate == 2:
            os._exit(3)
        return replicate

    results = run(address, kills, retries=2, max_workers=1)
    *_, message = results.pop(2)
    assert results == [0, 1, 3, 4, 5, 6, 7]
    assert "its worker died 3 times, the last time: exit code 3 (replicate 2)" in message
    assert (tmp_path / "begun-2").read_text().count("once") == 3


def test_without_retries_one_death_is_enough_if_there_is_no_doubt(address, tmp_path):
    def kills(replicate):
        with (tmp_path / f"begun-{replicate}").open("a") as file:
            file.write("once\n")
        if replicate == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        return replicate

    ((*_, message),) = run(address, kills, replicates=1, retries=0, max_workers=1)
    assert re.search(r"its worker died: .*\(replicate 0\)", message)
    assert (tmp_path / "begun-0").read_text().count("once") == 1


def test_those_that_share_a_worker_with_the_culprit_are_innocent(new_cluster, tmp_path):
    new_cluster.worker("--nthreads", "4")

    def replicate_fn(replicate):
        with (tmp_path / f"begun-{replicate}").open("a") as file:
            file.write("once\n")
        if replicate == 1:
            deadline = time.monotonic() + 30
            while len(list(tmp_path.glob("begun-*"))) < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)
        return replicate

    results = run(new_cluster.address, replicate_fn, replicates=4)
    *_, message = results.pop(1)
    assert results == [0, 2, 3]
    assert "died 2 times" in message
    assert (tmp_path / "begun-1").read_text().count("once") == 2


def test_the_culprit_among_short_replicates_is_found_and_the_others_are_innocent(shared_cluster, tmp_path):
    def replicate_fn(replicate):
        if replicate == 700:
            with (tmp_path / "begun").open("a") as file:
                file.write("once\n")
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.0005)
        return replicate

    results = run(shared_cluster.address, replicate_fn, replicates=1000)
    _, replicate, *_ = results.pop(700)
    assert (replicate, results) == (700, [*range(700), *range(701, 1000)])
    assert (tmp_path / "begun").read_text().count("once") == 2


def test_a_worker_that_is_sent_away_during_a_replicate_is_nobodys_fault(new_cluster, tmp_path):
    for _ in range(2):
        new_cluster.worker("--nthreads", "1", "--no-nanny")
    retired = tmp_path / "retired"

    def replicate_fn(replicate):
        (tmp_path / f"begun-{replicate}").touch()
        yield from until(retired.exists)
        return replicate

    with new_cluster.client() as client:
        client.wait_for_workers(2)

        class Retiring:
            owed = iter(range(3))

            def check_cancelled(self):
                if len(list(tmp_path.glob("begun-*"))) == 2 and not retired.exists():
                    client.retire_workers([next(iter(client.nthreads()))])
                    retired.touch()

        strategy = DaskExecution(new_cluster.address, retries=0)  # one death would be too many
        assert strategy.run_experiment_loop(Retiring(), Scripted(replicate_fn)) == [0, 1, 2]
        assert len(client.nthreads()) == 1


def test_a_replicate_whose_workers_are_always_sent_away_is_given_up(new_cluster, tmp_path, monkeypatch):
    from crystallize.plugins.execution import driver

    monkeypatch.setattr(driver, "_DEPARTURES", 2)
    for _ in range(2):
        new_cluster.worker("--nthreads", "1", "--no-nanny")

    def replicate_fn(replicate):
        (tmp_path / f"begun-{os.getpid()}").touch()
        time.sleep(60)

    with new_cluster.client() as client:
        client.wait_for_workers(2)

        class Retiring:
            owed = iter(range(1))
            retired = 0

            def check_cancelled(self):
                if len(list(tmp_path.glob("begun-*"))) > self.retired:
                    self.retired += 1
                    busy = [address for address, keys in client.processing().items() if keys]
                    client.retire_workers(busy)

        strategy = DaskExecution(new_cluster.address)
        ((*_, message),) = strategy.run_experiment_loop(Retiring(), Scripted(replicate_fn))
    assert "2 workers were sent away while they worked on it (replicate 0)" in message


def test_an_experiment_that_kills_the_workers_that_open_it_is_given_up(address, monkeypatch):
    from crystallize.plugins.execution import driver

    monkeypatch.setattr(driver, "_DEATHS_IN_A_ROW", 3)

    class Deadly(Scripted):
        def recipe(self):
            return os._exit, (5,)

    experiment = SimpleNamespace(owed=iter(range(4)))
    with pytest.raises(ExecutionError, match=r"3 workers died one after the other.*serially") as caught:
        DaskExecution(address, max_workers=1).run_experiment_loop(experiment, Deadly(None))
    assert ("exit code 5" if address is None else "the scheduler lost it") in str(caught.value)


# -- time --------------------------------------------------------------------------------------------------


def test_a_replicate_that_takes_too_long_is_an_error_and_keeps_nobody_busy(address, tmp_path):
    def hangs(replicate):
        if replicate == 2:
            (tmp_path / f"stuck-{os.getpid()}").touch()
            time.sleep(600)
        return replicate

    results = run(address, hangs, max_workers=2, timeout=0.4)
    _, replicate, _, message = results.pop(2)
    assert (replicate, results) == (2, [0, 1, 3, 4, 5, 6, 7])
    assert "it took more than 0.4 seconds 2 times (replicate 2)" in message
    stuck = [int(path.name.partition("-")[2]) for path in tmp_path.glob("stuck-*")]
    assert len(stuck) == 2, "it was tried on two workers"
    assert wait_until(lambda: not any(map(is_alive, stuck))), "a worker that was stuck was not restarted"


def test_code_that_never_lets_go_of_the_interpreter_ends_with_its_worker(monkeypatch):
    from crystallize_dask import cluster

    monkeypatch.setattr(cluster, "_SECONDS_TO_ANSWER", 1)
    monkeypatch.setattr(cluster, "_SECONDS_TO_CLOSE", 0.5)

    def keeps_the_lock(replicate):
        if replicate == 1:
            ctypes.PyDLL(None).sleep(600)
        return replicate

    results = run(None, keeps_the_lock, replicates=3, timeout=1, retries=0, max_workers=2)
    assert [results[0], results[2]] == [0, 2]
    assert "its worker died: it no longer answered (replicate 1)" in results[1][-1]


def test_the_time_is_that_of_one_replicate_and_not_of_a_batch(shared_cluster):
    def replicate_fn(replicate):
        time.sleep(0.01)
        return threading.current_thread().name

    assert (
        run(shared_cluster.address, replicate_fn, 60, timeout=0.5, max_workers=2)
        == ["crystallize-batch"] * 60
    )


def test_without_a_nanny_what_takes_too_long_goes_on_beside_the_others(new_cluster, caplog):
    new_cluster.worker("--nthreads", "1", "--no-nanny")

    def hangs(replicate):
        if replicate == 1:
            time.sleep(5)
        return replicate

    results = run(new_cluster.address, hangs, replicates=5, timeout=0.2, retries=0)
    assert [results[0], *results[2:]] == [0, 2, 3, 4]
    assert "it took more than 0.2 seconds (replicate 1)" in results[1][-1]
    assert "has no nanny to restart it" in caplog.text


def test_an_exception_in_a_limited_time_arrives_as_it_was_raised(shared_cluster):
    with pytest.raises(ZeroDivisionError):
        run(shared_cluster.address, lambda replicate: 1 // 0, timeout=30, max_workers=1)


def test_a_steps_own_error_is_not_tried_again(shared_cluster, tmp_path):
    from crystallize import Experiment

    def fails(data, ctx):
        with (tmp_path / f"begun-{ctx['replicate']}").open("a") as file:
            file.write("once\n")
        raise ValueError("by itself")

    experiment = Experiment(
        lambda: 0,
        [fails],
        execution=DaskExecution(shared_cluster.address, retries=3, max_workers=1),
        disable_plugins=["artifact"],
        replicates=2,
    )
    result = experiment.run()
    assert len(result.errors) == 2
    assert [path.read_text() for path in sorted(tmp_path.glob("begun-*"))] == ["once\n"] * 2
