"""A real scheduler and real workers on loopback, shared by all tests that want a cluster of somebody else."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dask
import pytest
from distributed import Client

from crystallize.testing.leftovers import is_alive
from crystallize.testing.subjects import wait_until

_MOST_SECONDS = 1200
"""What a killed test run leaves behind ends by itself after this time."""


@pytest.fixture(autouse=True)
def own_folder_and_environment(tmp_path, monkeypatch):
    """Run each test in an empty folder (runs write to ``data/``), without the developer's settings."""
    for name in [name for name in os.environ if name.startswith("CRYSTALLIZE_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)


# Forks for each line that it reads: the child is ``dask scheduler`` or ``dask worker``, and saves the second that
# importing Dask takes. Nannies have a server of their own, of the standard library, which has imported Dask once.
STARTER = """
import json, multiprocessing, multiprocessing.resource_tracker, os, signal, sys
from importlib import import_module
import crystallize.plugins.execution, distributed.cli.dask_scheduler, distributed.cli.dask_worker, distributed.utils

distributed.utils._forkserver_preload_set = True  # else it preloads pandas
multiprocessing.set_forkserver_preload(["crystallize.plugins.execution", "distributed.nanny", "crystallize_dask.tasks"])
multiprocessing.resource_tracker.ensure_running()  # it outlives the children that are killed, and tidies up after them
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a child ended
requests = os.fdopen(int(sys.argv[1]), "r")
answers = os.fdopen(os.dup(requests.fileno()), "w")
for request in map(json.loads, iter(requests.readline, "")):
    child = os.fork()
    if not child:
        break
    print(child, file=answers, flush=True)
else:
    sys.exit()
requests.close()
answers.close()
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
os.setsid()
os.environ.clear()
os.environ.update(request["environment"])
sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
os.chdir(request["folder"])
os.dup2(os.open(request["log"], os.O_WRONLY | os.O_CREAT, 0o600), 2)
sys.argv[:] = request["words"]
import_module(f"distributed.cli.{sys.argv[0]}").main()
"""


class Starter:
    """Starts schedulers and workers as forks of a process that has imported Dask."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self._lines = ours.makefile("rw")
        ours.close()
        with theirs:
            self._process = subprocess.Popen(
                # Of what it tidies up the tracker warns.
                [
                    sys.executable,
                    "-W",
                    "ignore::UserWarning:multiprocessing.resource_tracker",
                    "-c",
                    STARTER,
                    str(theirs.fileno()),
                ],
                env={
                    **os.environ,
                    "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver",
                    # What each of them does while it waits: the profiler 100 times a second, a tick 50 times.
                    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
                    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
                    "OPENBLAS_NUM_THREADS": "1",  # a process with threads had better not fork
                },
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, words, folder, log):
        """Start a process, which leads a group of its own; return its id."""
        request = {"words": words, "folder": str(folder), "log": str(log), "environment": dict(os.environ)}
        print(json.dumps(request), file=self._lines, flush=True)
        return int(self._lines.readline())

    def close(self):
        self._lines.close()
        self._process.wait()


class Cluster:
    """``dask scheduler`` and ``dask worker`` processes, by their ids."""

    def __init__(self, folder, starter):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes = []
        self._starter = starter
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--idle-timeout", f"{_MOST_SECONDS}s")
        assert wait_until(lambda: self.file.exists() and self.file.stat().st_size)
        self.address = json.loads(self.file.read_text())["address"]

    def worker(self, *options):
        """Start a worker; return its process id, which is its nanny's unless there is none."""
        ours = ["--local-directory", str(self.folder), "--death-timeout", "60"]
        return self._start("dask_worker", *ours, *options)

    def client(self):
        return Client(self.address, set_as_default=False)

    def _start(self, what, *options):
        self.folder.mkdir(exist_ok=True)
        words = [what, "--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        words += ["--scheduler-file", str(self.file), *options]
        process = self._starter.start(words, self.folder, self.folder / f"{what}-{len(self.processes)}.log")
        self.processes.append(process)
        return process

    def dismiss_workers(self):
        """Have no worker be left, for the next test."""
        if len(self.processes) > 1:
            self._end(self.processes[1:])
            with self.client() as client:
                assert wait_until(lambda: not client.nthreads()), "the scheduler still has workers"

    def close(self):
        self._end(self.processes)

    def _end(self, processes):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        assert wait_until(lambda: not any(map(is_alive, processes)))
        self.processes = [process for process in self.processes if process not in processes]


_running: dict[str, Cluster] = {}
"""The clusters that tests share, by the name of their folder."""


def _end_all():
    while _running:
        _running.popitem()[1].close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem):
    """End what is shared after the last of these tests: a cluster that waits keeps a seventh of a core busy."""
    if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
        _end_all()


@pytest.fixture(scope="session")
def _starter():
    starter = Starter()
    yield starter
    starter.close()


@pytest.fixture(scope="session")
def _start_once(tmp_path_factory, _starter):
    """Return a function that starts a cluster unless it runs already: ``_start_once(name, *options of a worker)``."""

    def start_once(name, *worker):
        if name not in _running:
            _running[name] = Cluster(tmp_path_factory.mktemp(name), _starter)
            if worker:
                _running[name].worker(*worker)
        return _running[name]

    yield start_once
    _end_all()


@pytest.fixture
def shared_cluster(_start_once):
    """Return a scheduler with two workers of one thread, whose nannies replace them when they are killed."""
    cluster = _start_once("shared", "--nthreads", "1", "--nworkers", "2")  # one process with both nannies
    with cluster.client() as client:  # the test before this one may have killed one, or both
        client.wait_for_workers(2)
    return cluster


@pytest.fixture
def new_cluster(_start_once):
    """Return a scheduler without workers; those that the test starts end with it, and the scheduler goes on."""
    cluster = _start_once("scheduler")
    yield cluster
    cluster.dismiss_workers()


@pytest.fixture
def mortal_cluster(tmp_path, _starter):
    """Return a scheduler without workers, which the test may kill."""
    cluster = Cluster(tmp_path / "cluster", _starter)
    yield cluster
    cluster.close()


@pytest.fixture
def impatient():
    """Have what waits for a scheduler or a worker wait for no longer than a second."""
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        yield
