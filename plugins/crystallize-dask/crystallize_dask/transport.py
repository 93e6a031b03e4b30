"""The transport to the workers of a Dask cluster: who is there and of use, what they are sent, what they answer.

Every batch is sent to one certain worker, and no worker has more batches than it has use for. So Dask moves none
of them by itself, and it is known what a worker's death has interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
import uuid
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from distributed import KilledWorker

from crystallize.errors import ExecutionError
from crystallize.plugins.execution import (
    BatchEnd,
    DeathReport,
    Departure,
    Joined,
    Overdue,
    Raised,
    load_error,
    warn_of_shared_random_state,
)
from crystallize_dask import death_report, tasks
from crystallize_dask.cluster import patience
from crystallize_dask.payload import make_payload, versions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from concurrent.futures import Future

    import distributed
    from distributed import Client

    from crystallize.plugins.execution import Batch, Event, Finished, Packed
    from crystallize_dask.cluster import LocalCluster

logger = logging.getLogger("crystallize.execution")

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_FIRST_LOOKS = 0.05
_SECONDS_BETWEEN_CHECKS = 0.5
_SECONDS_FOR_AN_ANSWER = 10.0
_SECONDS_TO_RESTART = 30.0
_SECONDS_TO_TIDY_UP = 3.0


class Terms(NamedTuple):
    """What the user has asked for; see :class:`crystallize_dask.DaskExecution`."""

    address: str
    max_workers: int | None
    resources: dict[str, float]
    timeout: float | None


class _Task:
    """A task that Dask has been given: a batch of replicates, or, without one, the opening of the experiment."""

    def __init__(self, key: str, future: distributed.Future[bytes], batch: Batch | None) -> None:
        self.key = key
        self.future = future
        self.batch = batch


class _Worker:
    """A worker process of the cluster, and the tasks that it has been given."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.tasks: list[_Task] = []
        self.welcome: tasks.Welcome | None = None  # until it has opened the experiment
        self.room = 0  # how many replicates it can work on at the same time

    @property
    def may_be_of_use(self) -> bool:
        """Whether it can run replicates, or that is not known yet."""
        return self.room > 0 or self.welcome is None


class DaskTransport:
    """The workers of a cluster that take part in a run; see :class:`crystallize.plugins.execution.Transport`.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    local : LocalCluster or None
        The cluster, if it is ours to look after.
    experiment : Experiment
        The experiment.
    packed : Packed
        What is sent to the workers.
    terms : Terms
        What the user has asked for.
    check_cancelled : callable
        Raises if the run was cancelled.
    """

    def __init__(
        self,
        client: Client,
        *,
        local: LocalCluster | None,
        experiment: Any,
        packed: Packed,
        terms: Terms,
        check_cancelled: Callable[[], None],
    ) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop = cast(Any, client.loop).asyncio_loop
        self._local = local
        self._experiment = experiment
        self._payload: Any = make_payload(packed, workers_are_ours=local is not None)
        self._terms = terms
        self._check_cancelled = check_cancelled
        self._run = f"crystallize-{uuid.uuid4().hex}"
        self._is_sent = False
        self._sent = 0
        self._wanted = 0
        self._workers: dict[str, _Worker] = {}
        self._leaving: set[str] = set()
        self._answers: SimpleQueue[tuple[_Worker, _Task, Any]] = SimpleQueue()
        self._pause = _SECONDS_BETWEEN_FIRST_LOOKS
        self._next_look = 0.0
        self._in_touch_at = self._available_at = time.monotonic()
        self._warnings: set[str] = set()

    # -- what the driver calls -----------------------------------------------------------------------------

    def provide(self, workers: int) -> None:
        """Send the experiment, if that was not done; a cluster of ours gets this many workers at most."""
        self._wanted = workers
        if not self._is_sent:
            self._is_sent = True
            self._send_payload()

    def send(self, worker: Any, batch: Batch) -> None:
        """Submit a batch to one certain worker."""
        self._submit(worker, batch)

    def wait(self, seconds: float) -> list[Event]:
        """Return who has come and gone, and what the workers have answered."""
        if time.monotonic() >= self._next_look and (changes := list(self._look())):
            return changes
        try:
            arrived = self._answers.get(timeout=min(seconds, self._pause))
        except Empty:
            return []
        return list(self._read(*arrived))

    def drain(self) -> Iterator[Sequence[Finished]]:
        """Yield what workers had sent before the run was broken off."""
        with suppress(Empty):
            while True:
                _, _, answer = self._answers.get_nowait()
                report = pickle.loads(answer) if isinstance(answer, bytes) else None
                if isinstance(report, tasks.Report):
                    _handle_logs(report)
                    yield report.finished

    def close(self, *, kill: bool = False) -> None:
        """Have the cluster forget the run."""
        for worker in self._workers.values():
            for task in worker.tasks:
                task.future.release()
        self._workers.clear()
        with suppress(Exception):  # workers that do not answer, a scheduler that is gone
            self._ask(lambda: self._client.unregister_worker_plugin(self._run), _SECONDS_TO_TIDY_UP)
        for buffer in self._payload.buffers:
            buffer.release()  # CPython crashes when it collects a memoryview that is in use

    # -- asking the scheduler ------------------------------------------------------------------------------

    def _ask(self, question: Callable[[], Awaitable[Any]], seconds: float = _SECONDS_FOR_AN_ANSWER) -> Any:
        """Call what waits for the scheduler, for no longer than some seconds; raise OSError or TimeoutError."""
        asked = self._start(question)
        try:
            return asked.result(seconds)
        except BaseException:
            asked.cancel()
            raise

    def _start(self, question: Callable[[], Awaitable[Any]]) -> Future[Any]:
        """Call what waits for the scheduler, and do not wait."""

        async def answer() -> Any:
            return await question()

        return asyncio.run_coroutine_threadsafe(answer(), self._loop)

    def _send_payload(self) -> None:
        """Have every worker, also those that join later, be given the experiment."""
        for tries_left in (2, 1, 0):
            sent = self._start(lambda: self._client.register_plugin(self._payload, name=self._run))
            try:
                while not wait([sent], _SECONDS_BETWEEN_CHECKS).done:
                    self._check_cancelled()
                sent.result()
            except OSError as error:  # a worker has left meanwhile
                if not tries_left:
                    raise ExecutionError(f"the experiment cannot be sent to the workers: {error}") from error
            except BaseException:
                sent.cancel()  # it must not arrive after all is tidied up
                raise
            else:
                return

    # -- who is there --------------------------------------------------------------------------------------

    def _look(self) -> Iterator[Event]:
        """Compare the workers that there are with those that we know."""
        now = time.monotonic()
        if self._local is not None:
            for pid in self._local.staff(self._wanted):
                if pid not in self._local.joined:  # the scheduler, which tells of the others, may not know it
                    yield DeathReport(None, self._local.cause_of_death(pid), was_loading=True)
        try:
            present = self._ask(self._client.nthreads)
        except (OSError, TimeoutError) as error:
            if time.monotonic() - self._in_touch_at > patience():
                raise self._lost_touch() from error
            return
        self._in_touch_at = time.monotonic()
        self._next_look = now + _SECONDS_BETWEEN_LOOKS
        self._leaving &= present.keys()
        for worker in [each for address, each in self._workers.items() if address not in present]:
            yield from self._handle_loss(worker)
        for address in sorted(present.keys() - self._workers.keys() - self._leaving):
            useful = sum(each.may_be_of_use for each in self._workers.values())
            if self._terms.max_workers is None or useful < self._terms.max_workers:
                worker = self._workers[address] = _Worker(address)
                self._submit(worker, None)
        is_complete = self._local is None or len(self._workers) >= min(self._local.size, self._wanted)
        self._pause = _SECONDS_BETWEEN_LOOKS if is_complete else _SECONDS_BETWEEN_FIRST_LOOKS
        self._next_look = min(self._next_look, now + self._pause)
        self._check_workers_available()

    def _welcome(self, worker: _Worker, welcome: tasks.Welcome) -> Iterator[Event]:
        """Note what a worker can do, now that it has opened the experiment."""
        worker.welcome = welcome
        if self._local is not None:
            self._local.joined.add(welcome.pid)
        needs = self._terms.resources.items()
        fits = [int(welcome.resources.get(name, 0) / amount) for name, amount in needs]
        worker.room = min([welcome.threads, *fits])
        for name, ours in versions().items():
            theirs = welcome.versions[name]
            if theirs != ours:
                self._warn_once(
                    name,
                    f"worker {worker.address} has {name} {theirs}, and this process {ours}: results may differ",
                )
        if worker.room > 1 and "threads" not in self._warnings:
            self._warnings.add("threads")
            warn_of_shared_random_state(self._experiment, "replicates in threads of one Dask worker")
        if worker.room:
            yield Joined(worker, worker.room)

    def _check_workers_available(self) -> None:
        """Give up when for some time there was nobody who could do what is left.

        Workers of our own may be slow to start, but they come, or their deaths are told.
        """
        now = time.monotonic()
        if self._local is not None or any(worker.may_be_of_use for worker in self._workers.values()):
            self._available_at = now
        if now - self._available_at <= patience():
            return
        if not self._workers:
            raise ExecutionError(
                f"the Dask scheduler at {self._terms.address} has no workers",
                hint=f"Start some with `dask worker {self._terms.address}`",
            )
        offers = [
            f"{worker.address} has {worker.welcome.resources or 'none'}"
            for worker in self._workers.values()
            if worker.welcome is not None
        ]
        raise ExecutionError(
            f"no Dask worker offers what a replicate needs: {self._terms.resources}",
            "; ".join(offers[:3]),
            "Start workers with `dask worker --resources`",
        )

    def _warn_once(self, about: str, text: str) -> None:
        if about not in self._warnings:
            self._warnings.add(about)
            logger.warning("%s", text)

    # -- who is gone ---------------------------------------------------------------------------------------

    def _handle_loss(self, worker: _Worker) -> Iterator[Event]:
        """Tell what a worker that is gone was doing, and whether it was sent away or what it died of."""
        self._part_with(worker)
        if not worker.tasks:
            yield Departure(worker)
            return
        if self._local is not None and worker.welcome is None:
            return  # _look() tells of it when its process has ended
        known = self._read_death_report(worker)
        running = [
            (task.batch, known.running[task.key])
            for task in worker.tasks
            if task.batch is not None and task.key in known.running
        ]
        if known.expected:
            yield Departure(worker, [announced for _, announced in running])
            return
        yield DeathReport(
            None if worker.welcome is None else worker,
            self._cause_of_death(worker),
            interrupted=[[announced] if batch.careful else batch.replicates for batch, announced in running],
            was_alone=len(known.running) == 1,
            was_loading=worker.welcome is None,
            is_needed=self._is_needed(worker),
        )

    def _part_with(self, worker: _Worker) -> None:
        """Have nothing more to do with a worker: its tasks are no longer waited for."""
        del self._workers[worker.address]
        self._next_look = 0.0
        for task in worker.tasks:
            task.future.release()

    def _is_needed(self, worker: _Worker) -> bool:
        """Whether the run cannot go on if workers keep dying as this one did: nobody else is there to work."""
        is_new = self._local is None and worker.welcome is None
        return not (is_new and any(each.room for each in self._workers.values()))

    def _read_death_report(self, worker: _Worker) -> death_report.DaskReport:
        try:
            found: death_report.DaskReport = self._ask(
                lambda: death_report.read_death_report(self._client, worker.address)
            )
        except (OSError, TimeoutError):
            return death_report.DaskReport(expected=False, running={})
        return found

    def _cause_of_death(self, worker: _Worker) -> str:
        welcome = worker.welcome
        if self._local is not None:
            return self._local.cause_of_death(None if welcome is None else welcome.pid)
        with suppress(OSError, TimeoutError):
            if told := self._ask(lambda: death_report.cause_of_death(self._client, welcome)):
                return str(told)
        return f"the scheduler lost it ({worker.address})"

    def _lost_touch(self) -> ExecutionError:
        return ExecutionError(
            f"the connection to the Dask scheduler at {self._terms.address} was lost",
            hint="Run the experiment again when the scheduler is back",
        )

    def _restart(self, worker: _Worker) -> bool:
        """Have a worker end, whatever it is doing; return whether there is somebody to replace it."""
        assert worker.welcome is not None
        if self._local is not None:
            self._local.kill(worker.welcome.pid)
        elif worker.welcome.nanny is not None:
            asyncio.run_coroutine_threadsafe(self._have_restarted(worker.address), self._loop)
        else:
            self._warn_once(
                "nanny",
                f"worker {worker.address} has no nanny to restart it: what ran out of time goes on there in vain",
            )
            return False
        self._part_with(worker)
        self._leaving.add(worker.address)
        return True

    async def _have_restarted(self, address: str) -> None:
        with suppress(Exception):  # whether it comes back is seen when it does
            await self._client.restart_workers([address], timeout=_SECONDS_TO_RESTART, raise_for_error=False)
        self._leaving.discard(address)  # the new one may have the same

    # -- what they are sent, and answer --------------------------------------------------------------------

    def _submit(self, worker: _Worker, batch: Batch | None) -> None:
        """Send a batch, or without one the request to open the experiment."""
        self._sent += 1
        key = f"{self._run}-{self._sent}"
        call = tasks.Call(tasks.load, self._run)
        if batch is not None:
            order = tasks.Order(
                self._run,
                key,
                worker.address,
                batch.replicates,
                batch.careful,
                self._terms.timeout,
                batch.dropped,
            )
            call = tasks.Call(tasks.run_batch, order)
        future = self._client.submit(
            pickle.loads,
            pickle.dumps(call),
            key=key,
            workers=[worker.address],
            allow_other_workers=False,
            resources=self._terms.resources if batch is not None else None,
            retries=0,
            pure=False,
        )
        task = _Task(key, future, batch)
        worker.tasks.append(task)
        asyncio.run_coroutine_threadsafe(self._collect(worker, task), self._loop)

    async def _collect(self, worker: _Worker, task: _Task) -> None:
        try:
            answer = await task.future
        except BaseException as error:  # also that it was cancelled: the coordinator knows whether by itself
            answer = error
        # In this thread: where the coordinator dropped it, Python would call its __del__, and lose a Ctrl-C in there.
        task.future.release()
        self._answers.put((worker, task, answer))

    def _read(self, worker: _Worker, task: _Task, answer: Any) -> Iterator[Event]:
        if task not in worker.tasks or self._workers.get(worker.address) is not worker:
            return  # its replicates have been given to somebody else
        if isinstance(answer, KilledWorker):
            yield from self._handle_loss(worker)
            return
        if isinstance(answer, BaseException):
            yield Raised(self._failure(worker, answer))
            return
        answer = pickle.loads(answer)
        if isinstance(answer, tasks.Stranger):  # a new worker has its address, or it joined too early
            if task.batch is None:
                self._send_payload()
            yield from self._handle_loss(worker)
            return
        worker.tasks.remove(task)
        if isinstance(answer, tasks.Welcome):
            yield from self._welcome(worker, answer)
        elif isinstance(answer, tasks.Raised):
            yield Raised(load_error(answer.payload, answer.traceback, loading=True))
        else:
            assert task.batch is not None
            yield self._open(worker, task.batch.number, answer)

    def _open(self, worker: _Worker, batch: int, report: tasks.Report) -> Event:
        _handle_logs(report)
        finished, raised = report.finished, report.raised
        if raised is not None:
            return Raised(load_error(raised.payload, raised.traceback, loading=False), finished)
        if report.stuck is not None:
            assert self._terms.timeout is not None
            is_lost = self._restart(worker)
            return Overdue(worker, batch, finished, report.stuck, self._terms.timeout, is_lost)
        return BatchEnd(worker, batch, finished, report.seconds if finished else None)

    def _failure(self, worker: _Worker, error: BaseException) -> ExecutionError:
        if isinstance(error, ImportError):
            failure = ExecutionError(
                f"a worker cannot import what it needs: {error}",
                f"worker {worker.address}",
                "Install crystallize-dask where the workers run, in the same version as here",
            )
        elif isinstance(error, (asyncio.CancelledError, FutureCancelled)):
            failure = self._lost_touch()
        else:
            failure = ExecutionError(
                f"a worker cannot do what it is told: {type(error).__name__}: {error}",
                f"worker {worker.address}",
                "Compare the versions of crystallize-dask, distributed and Python there and here",
            )
        failure.__cause__ = error
        return failure


def _handle_logs(report: tasks.Report) -> None:
    for record in report.logs:
        logging.getLogger(record.name).handle(record)
