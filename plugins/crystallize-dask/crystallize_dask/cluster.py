"""Clusters: the one of somebody else, to which we connect, and one of our own on this machine."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import dask
import distributed
from dask.utils import parse_timedelta

from crystallize.errors import ExecutionError
from crystallize.plugins.execution import WorkerSettings, cause_of_death, start_worker, worker_context
from crystallize_dask.local_worker import DASK_SETTINGS, main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

_SECONDS_TO_CLOSE = 5.0
_SECONDS_TO_ANSWER = 30.0
_ANYTHING = logging.CRITICAL + 1
_NEVER = 10 * 365 * 24 * 3600


def patience() -> float:
    """Return how many seconds to wait for a scheduler or a worker: Dask's own setting for connections."""
    return float(parse_timedelta(dask.config.get("distributed.comm.timeouts.connect", "30s")))


@contextmanager
def connect(address: str) -> Iterator[distributed.Client]:
    """Connect to a scheduler for the time of a run.

    Raises
    ------
    ExecutionError
        If there is none at `address`, or it does not answer in time.
    """
    try:
        client: Any = _Client(  # type: ignore[no-untyped-call]
            address, set_as_default=False, timeout=patience()
        )
    except Exception as error:  # what each protocol raises that is unknown, or not set up: tls:// a TypeError
        raise ExecutionError(
            f"no Dask scheduler can be reached at {address}: {str(error) or type(error).__name__}",
            hint="Start one with `dask scheduler`, which prints its address, and workers with "
            "`dask worker ADDRESS`; or leave the address out, to run on this machine",
        ) from error
    try:
        with _quiet(client.sync(_thread), logging.ERROR):  # such as that a result was lost with its worker
            yield client
    finally:
        with suppress(TimeoutError):
            client.close(timeout=_SECONDS_TO_CLOSE)


async def _thread() -> int:
    return threading.get_ident()


class _Client(distributed.Client):
    """A client that leaves nothing behind when it cannot connect, or is interrupted while it does."""

    def start(self, **options: Any) -> None:
        try:
            super().start(**options)  # type: ignore[no-untyped-call]
        except BaseException:
            with suppress(Exception):
                self.close(timeout=_SECONDS_TO_CLOSE)  # type: ignore[no-untyped-call]
            raise


class LocalCluster:
    """A scheduler in a thread of this process, and worker processes that are replaced when they die.

    Dask's own `LocalCluster` starts its workers such that they import ``__main__`` again, which a script without
    ``if __name__ == "__main__"`` does not survive, and keeps to itself what a worker died of.

    Parameters
    ----------
    size : int
        How many worker processes there are.
    resources : mapping of str to number
        What each worker offers.
    threads : int or None
        To how many threads the numeric libraries of each worker are limited; None for no limit.
    timeout : float or None
        How many seconds a worker may keep the interpreter's lock, and cannot say that it is alive; None for no
        limit.

    Attributes
    ----------
    address : str
        The scheduler's address, while the context manager is open.
    joined : set of int
        The process ids of workers that are known to have found the scheduler.
    """

    def __init__(
        self, size: int, resources: dict[str, float], threads: int | None, timeout: float | None
    ) -> None:
        self.size = size
        self.address = ""
        self.joined: set[int] = set()
        self._resources = resources
        self._threads = threads
        self._processes: dict[int | None, BaseProcess] = {}
        self._exit_codes: dict[int | None, int | None] = {}
        self._folder = ""
        self._scheduler = _SchedulerThread(_NEVER if timeout is None else timeout + _SECONDS_TO_ANSWER)

    def __enter__(self) -> LocalCluster:
        self._context = worker_context("crystallize_dask.preload")
        self._folder = tempfile.mkdtemp(prefix="crystallize-dask-")
        try:
            self.address = self._scheduler.start(self._folder)
            self.staff(self.size)
        except BaseException:
            self._close(kill=True)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(kill=kind is not None)

    def staff(self, size: int) -> list[int | None]:
        """Start workers until there are `size`; return the process ids of those that have died since last time."""
        dead = [pid for pid, process in self._processes.items() if process.exitcode is not None]
        for pid in dead:
            process = self._processes.pop(pid)
            self._exit_codes[pid] = process.exitcode
            process.close()
        while len(self._processes) < min(size, self.size):
            self._start()
        return dead

    def cause_of_death(self, pid: int | None) -> str:
        """Say what a worker died of that is dead or about to be; None if it has never told its process id."""
        if (process := self._processes.get(pid)) is not None:
            process.join(_SECONDS_TO_CLOSE)
            if process.exitcode is None:
                self.kill(pid)
                return "it no longer answered"
            return cause_of_death(process.exitcode)
        return cause_of_death(self._exit_codes[pid]) if pid in self._exit_codes else "unknown"

    def kill(self, pid: int | None) -> None:
        """Have a worker end, whatever it is doing."""
        if (process := self._processes.get(pid)) is not None:
            process.kill()
            process.join()

    def _start(self) -> None:
        settings = WorkerSettings.of_this_process(self._threads, self._folder)
        arguments = (self.address, self._folder, self._resources, settings)
        try:
            process = start_worker(self._context, main, arguments)
        except OSError as error:
            raise ExecutionError(
                f"no worker process can be started: {error}", hint="Use fewer workers, or run serially"
            ) from error
        self._processes[process.pid] = process

    def _close(self, *, kill: bool) -> None:
        """End what was started: at once, or when the workers have been told by the scheduler."""
        try:
            for pid, process in self._processes.items():
                if kill or pid not in self.joined:  # the scheduler will not reach it
                    process.kill()
            self._scheduler.close()
            deadline = time.monotonic() + _SECONDS_TO_CLOSE
            for process in self._processes.values():
                process.join(max(0.0, deadline - time.monotonic()))
        finally:  # a second Ctrl-C does not wait
            while self._processes:
                _, process = self._processes.popitem()
                process.kill()
                process.join()
                process.close()
            shutil.rmtree(self._folder, ignore_errors=True)


class _SchedulerThread:
    """A Dask scheduler on an event loop in a thread of its own. What it logs is nobody's business here."""

    def __init__(self, worker_ttl: float) -> None:
        self._worker_ttl = worker_ttl
        self._thread = threading.Thread(target=self._run, name="crystallize-dask-scheduler", daemon=True)
        self._address: Future[str] = Future()
        self._over: asyncio.Event
        self._loop: asyncio.AbstractEventLoop

    def start(self, folder: str) -> str:
        """Return its address; it may write into `folder`."""
        self._folder = folder
        self._thread.start()
        try:
            return self._address.result(patience())
        except Exception as error:
            raise ExecutionError(
                f"a Dask scheduler cannot be started on this machine: {type(error).__name__}: {error}"
            ) from error

    def close(self) -> None:
        if self._address.done() and self._address.exception() is None:
            with suppress(RuntimeError):  # its loop has ended
                self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(_SECONDS_TO_CLOSE)

    def _run(self) -> None:
        with _quiet(threading.get_ident(), _ANYTHING):
            try:
                asyncio.run(self._serve())
            except BaseException as error:  # raised in the thread that waits, if any does
                if not self._address.done():
                    self._address.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        with dask.config.set(DASK_SETTINGS):
            scheduler = self._scheduler()
        async with scheduler:
            self._address.set_result(scheduler.address)
            await self._over.wait()

    def _scheduler(self) -> distributed.Scheduler:
        return distributed.Scheduler(
            host="127.0.0.1",
            protocol="tcp",
            local_directory=self._folder,
            dashboard=False,
            dashboard_address="127.0.0.1:0",  # a page with its health; without it one on a fixed port
            allowed_failures=0,  # the coordinator decides what is tried again
            worker_ttl=self._worker_ttl,  # code that keeps the interpreter's lock for long is not dead
        )


@contextmanager
def _quiet(thread: int, below: int) -> Iterator[None]:
    """Drop what Dask logs in a thread below a level, and leave its logging to the user in all others."""

    def is_wanted(record: logging.LogRecord) -> bool:
        from_dask = record.thread == thread and record.name.partition(".")[0] == "distributed"
        return record.levelno >= below or not from_dask

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    loggers = [logging.getLogger(name) for name in names]
    # And the handlers, for loggers that are yet to be made.
    handlers = [handler for each in (logging.root, *loggers) for handler in each.handlers]
    for each in (*loggers, *handlers):
        each.addFilter(is_wanted)
    try:
        yield
    finally:
        for each in (*loggers, *handlers):
            each.removeFilter(is_wanted)
