"""A real scheduler and real workers on loopback, shared by all tests that want a cluster of somebody else."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import Client

from crystallize.testing.subjects import wait_until

_MOST_SECONDS = 1200
"""What a killed test run leaves behind ends by itself after this time."""


@pytest.fixture(autouse=True)
def _no_garbage_collection() -> Iterator[None]:
    """Let nobody collect garbage while Dask is in this process, nor later what it has left.

    CPython 3.11.7 crashes now and then when it does: the cause is not known, and Dask's profiler is a part of it.
    """
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def own_folder_and_environment(tmp_path, monkeypatch):
    """Run each test in an empty folder (runs write to ``data/``), without the developer's settings."""
    for name in [name for name in os.environ if name.startswith("CRYSTALLIZE_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)


class Cluster:
    """``dask scheduler`` and ``dask worker`` processes."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes = []
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--idle-timeout", f"{_MOST_SECONDS}s")
        assert wait_until(lambda: self.file.exists() and self.file.stat().st_size)
        self.address = json.loads(self.file.read_text())["address"]

    def worker(self, *options):
        """Start a worker; return its process, which is its nanny unless there is none."""
        ours = ["--local-directory", str(self.folder), "--death-timeout", "60"]
        return self._start("dask_worker", *ours, *options)

    def client(self):
        return Client(self.address, set_as_default=False)

    def _start(self, what, *options):
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", f"distributed.cli.{what}", "--host", "127.0.0.1", "--no-dashboard"]
        with (self.folder / f"{what}-{len(self.processes)}.log").open("w") as log:
            process = subprocess.Popen(
                [
                    *command,
                    "--dashboard-address",
                    "127.0.0.1:0",
                    "--scheduler-file",
                    str(self.file),
                    *options,
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
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
        for process in reversed(processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes = [process for process in self.processes if process.returncode is None]


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
def _start_once(tmp_path_factory):
    """Return a function that starts a cluster unless it runs already: ``_start_once(name, workers=0)``."""

    def start_once(name, workers=0):
        if name not in _running:
            _running[name] = Cluster(tmp_path_factory.mktemp(name))
            for _ in range(workers):
                _running[name].worker("--nthreads", "1")
        return _running[name]

    yield start_once
    _end_all()


@pytest.fixture
def shared_cluster(_start_once):
    """Return a scheduler with two workers of one thread, whose nannies replace them when they are killed."""
    cluster = _start_once("shared", workers=2)
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
def mortal_cluster(tmp_path):
    """Return a scheduler without workers, which the test may kill."""
    cluster = Cluster(tmp_path / "cluster")
    yield cluster
    cluster.close()


@pytest.fixture
def impatient():
    """Have what waits for a scheduler or a worker wait for no longer than a second."""
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        yield
