"""What runs in the workers of a cluster: two kinds of Dask tasks, and what they answer.

The first task of a run on each worker, :func:`load`, opens the experiment. :func:`run_batch` then runs replicates
one after another. Answers are pickled here: to Dask they are bytes.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import pickle
import threading
import time
import traceback
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from distributed import get_worker

from crystallize.errors import ExecutionError
from crystallize.plugins.execution import SECONDS_PER_BATCH, close_loop, dump_error, finish, unpack
from crystallize_dask.local_worker import silence_dask
from crystallize_dask.own_generator import give_dask_its_own_generator
from crystallize_dask.payload import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from distributed import Worker

    from crystallize.plugins.execution import Finished

NOTE = "crystallize"
"""The key of a note under the worker's address among the scheduler's events: ``{NOTE: [task key, replicate]}``."""

_BYTES_PER_BATCH = 16 << 20
_SECONDS_FOR_A_NOTE = 10.0

_opening = threading.Lock()


class Welcome(NamedTuple):
    """The experiment is open in this worker."""

    pid: int
    nanny: str | None
    threads: int
    resources: dict[str, float]
    versions: dict[str, str]


class Stranger(NamedTuple):
    """The worker does not have the experiment: it is a new one under an old address, or came too early."""


class Raised(NamedTuple):
    """An exception that ends the run, as :func:`crystallize.plugins.execution.dump_error` wrote it."""

    payload: bytes
    traceback: str


class Report(NamedTuple):
    """What became of a batch."""

    finished: list[Finished]
    seconds: float
    """How long a replicate took."""
    stuck: int | None
    """The replicate that ran out of time, and is still going on."""
    raised: Raised | None
    """What `replicate_fn` raised: after the finished ones."""
    logs: list[logging.LogRecord]


class Order(NamedTuple):
    """What a worker is to do."""

    run: str
    """The name of the run, under which the worker has its payload."""
    key: str
    address: str
    """The worker's own address, as the scheduler knows it."""
    replicates: Sequence[int]
    careful: bool
    """Whether the scheduler is told of each replicate before it begins, and not of the first one alone."""
    timeout: float | None
    dropped: Mapping[str, int]
    """What a stopping rule has dropped by now."""


class Call:
    """Pickles to a call of one of the functions below: to unpickle it is to make the call.

    Dask is given ``pickle.loads`` to run. A worker that cannot import the function of a task itself would not
    answer that it cannot: it would end.
    """

    def __init__(self, function: Callable[[Any], bytes], argument: Any) -> None:
        self._call = function, (argument,)

    def __reduce__(self) -> tuple[Callable[[Any], bytes], tuple[Any, ...]]:
        return self._call


def load(run: str) -> bytes:
    """Open the experiment, once in this worker; answer with a `Welcome`, `Raised` or `Stranger`."""
    worker = get_worker()
    payload: Any = worker.plugins.get(run)
    if payload is None:
        return pickle.dumps(Stranger())
    ours = versions()
    try:
        if ours["Python"] != payload.versions["Python"]:
            raise ExecutionError(
                f"a worker has Python {ours['Python']} and the experiment comes from Python "
                f"{payload.versions['Python']}, whose functions it cannot run",
                f"worker {worker.address}",
                "Run both with the same version",
            )
        with _opening:
            if payload.replicate_fn is None:
                give_dask_its_own_generator()
                payload.surroundings = pickle.loads(payload.surroundings)
                if payload.workers_are_ours:
                    payload.surroundings.restore()
                    silence_dask()
                else:
                    payload.surroundings.logging.restore_at_least()
                payload.replicate_fn = unpack(payload.body, payload.buffers)
                _collect_logs()
    except BaseException as error:  # the coordinator raises it
        return pickle.dumps(_raised(error))
    state = worker.state
    return pickle.dumps(
        Welcome(
            os.getpid(), cast("str | None", worker.nanny), state.nthreads, dict(state.total_resources), ours
        )
    )


def run_batch(order: Order) -> bytes:
    """Run the replicates of a batch; answer with a `Report` or a `Stranger`."""
    worker = get_worker()
    payload: Any = worker.plugins.get(order.run)
    if payload is None or payload.replicate_fn is None:
        return pickle.dumps(Stranger())
    batch = _Batch(worker, payload, order)
    if order.timeout is None:
        batch.run()
    else:
        batch.run_in_time(order.timeout)
    return pickle.dumps(batch.report())


class _Batch:
    """The replicates of one task. They stop before the last one if that takes long, or the run is over."""

    def __init__(self, worker: Worker, payload: Any, order: Order) -> None:
        self._worker = worker
        self._surroundings = payload.surroundings
        self._replicate_fn = payload.replicate_fn
        self._order = order
        self._lock = threading.Lock()  # of what follows
        self._current: tuple[int, float] | None = None  # a replicate, and when it began
        self._stuck: int | None = None
        self._finished: list[Finished] = []
        self._seconds = 0.0
        self._raised: Raised | None = None
        self.logs: list[logging.LogRecord] = []

    def run(self) -> None:
        token = _records.set(self.logs)
        _under_way.add(self)
        try:
            self._surroundings.restore_in_context()
            self._run()
            close_loop()
        finally:
            _under_way.discard(self)
            _records.reset(token)

    def run_in_time(self, timeout: float) -> None:
        """Run the batch in a thread that is left behind when a replicate takes longer than `timeout`."""
        context = copy_context()  # a step may ask Dask for its worker
        thread = threading.Thread(target=context.run, args=(self.run,), name="crystallize-batch", daemon=True)
        thread.start()
        left = timeout
        while thread.is_alive():
            thread.join(left)
            with self._lock:
                if self._current is None:
                    left = timeout
                    continue
                replicate, began = self._current
                left = began + timeout - time.monotonic()
                if left <= 0:
                    self._stuck = replicate
                    return

    def report(self) -> Report:
        with self._lock:
            return Report(self._finished, self._seconds, self._stuck, self._raised, list(self.logs))

    def _run(self) -> None:
        order = self._order
        if order.dropped:
            self._replicate_fn.dropped = order.dropped
        began, size = time.perf_counter(), 0
        for count, replicate in enumerate(order.replicates, 1):
            if order.careful or count == 1:
                self._note(replicate)
            with self._lock:
                self._current = replicate, time.monotonic()
            try:
                result = self._replicate_fn(replicate)
            except BaseException as error:  # the coordinator raises it
                with self._lock:
                    self._raised = None if self._stuck is not None else _raised(error)
                return
            finished = finish(replicate, result)
            with self._lock:
                if self._stuck is not None:
                    return
                self._current = None
                self._finished.append(finished)
                self._seconds = (time.perf_counter() - began) / count
            size += len(finished.payload or b"")
            late = time.perf_counter() - began > 2 * SECONDS_PER_BATCH
            if late or size > _BYTES_PER_BATCH or order.run not in self._worker.plugins:
                return

    def _note(self, replicate: int) -> None:
        """Have the scheduler know what this worker is about to do, before it can die of it."""
        order, worker = self._order, self._worker
        sent = asyncio.run_coroutine_threadsafe(
            worker.scheduler.log_event(topic=order.address, msg={NOTE: [order.key, replicate]}),
            worker.loop.asyncio_loop,  # type: ignore[attr-defined]
        )
        with suppress(OSError, TimeoutError):  # then it is found out with more tries
            sent.result(_SECONDS_FOR_A_NOTE)


def _raised(error: BaseException) -> Raised:
    return Raised(dump_error(error), "".join(traceback.format_exception(error)))


# -- logging -----------------------------------------------------------------------------------------------

_records: ContextVar[list[logging.LogRecord]] = ContextVar("crystallize_dask_records")
_under_way: set[_Batch] = set()


def _collect_logs() -> None:
    """Keep what batches log; the coordinator's handlers decide what becomes of it."""
    if not any(isinstance(handler, _Collector) for handler in logging.root.handlers):
        logging.root.addHandler(_Collector())


class _Collector(logging.handlers.QueueHandler):
    """Adds each record, with its message put together, to those of the batch in whose thread it was logged.

    One of another thread, such as a step has started, belongs to the batch under way, if that is the only one.
    """

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]

    def enqueue(self, record: logging.LogRecord) -> None:
        records = _records.get(None)
        if records is None and len(batches := list(_under_way)) == 1:
            records = batches[0].logs
        if records is not None:
            records.append(record)
