"""What runs in a worker process: it is sent batches of replicates and sends results back.

Messages from the coordinator are pickled ``(number, replicates, timed_out, dropped)`` of a batch, or ``None`` for the
end.
Messages to it are pickled tuples of the kinds below, and log records. Replicates that are through travel in any of
them.
"""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import pickle
import shutil
import threading
import time
import traceback
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.util import get_temp_dir
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.plugins.execution.launch import (
    environment_for_workers,
    has_ended,
    leave_interrupts_to_the_coordinator,
    loading,
    reseed_numpy,
)
from crystallize.plugins.execution.messages import dump_error, finish
from crystallize.plugins.execution.schedule import SECONDS_PER_BATCH
from crystallize.utils.aio import close_loop
from crystallize.utils.imports import imported
from crystallize.utils.pickling import PROTOCOL, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableSequence, Sequence
    from multiprocessing.connection import Connection

    from crystallize.plugins.execution.messages import Finished
    from crystallize.plugins.execution.shared_payload import SharedPayload
    from crystallize.utils.pickling import Packed

LOADING = -2
"""In a worker's slot: it has not loaded the experiment yet."""
IDLE = -1
"""In a worker's slot: it is between replicates."""

_SECONDS_BETWEEN_FLUSHES = 0.1
_SECONDS_BETWEEN_LOOKS = 0.02
_LOOKS = 25
_BYTES_BETWEEN_FLUSHES = 1 << 20


class Flush(NamedTuple):
    """Results of a batch that goes on."""

    finished: list[Finished]


class Done(NamedTuple):
    """The last results of a batch, even if it was not run to its end; `seconds` is the time per replicate."""

    finished: list[Finished]
    batch: int
    seconds: float


class Failure(NamedTuple):
    """What `replicate_fn`, or the loading of it, raised."""

    finished: list[Finished]
    replicate: int
    payload: bytes
    traceback: str


class WorkerSettings(NamedTuple):
    """What a worker process of this machine is told before it loads any of the user's code."""

    environment: dict[str, str]
    threads: int | None
    """To how many threads the numeric libraries are limited; None for no limit."""
    folders: tuple[str, ...]
    """What is to be removed if the coordinator was killed, and could not."""

    @classmethod
    def of_this_process(cls, threads: int | None, *folders: str) -> WorkerSettings:
        """Return those of a worker that this process, the coordinator, starts."""
        return cls(environment_for_workers(threads), threads, (get_temp_dir(), *folders))


def main(  # noqa: PLR0917 - a process is started with positional arguments
    connection: Connection[Any, Any],
    index: int,
    slots: MutableSequence[int],
    begun: MutableSequence[float] | None,
    surroundings: Packed,
    payload: SharedPayload,
    settings: WorkerSettings,
) -> None:
    """Work until the coordinator says, or its end of the connection shows, that there is no more to do.

    Parameters
    ----------
    connection : multiprocessing.connection.Connection
        To the coordinator.
    index : int
        The number of this worker.
    slots : sequence of int
        Shared memory. This worker keeps the number of the replicate that it is working on in
        ``slots[index]``; ``slots[-1]`` is not 0 when all workers are to stop after their replicate.
    begun : sequence of float or None
        Shared memory, if outcomes may take only so long: ``begun[2 * index]`` is when, by the monotonic clock, this
        worker began the outcome that it is at, or 0 between outcomes; the next is the position of its condition.
    surroundings : Packed
        The packed `Surroundings` of the coordinator.
    payload : SharedPayload
        Holds the packed ``replicate_fn``.
    settings : WorkerSettings
        Of this process.
    """
    become_worker(settings)
    channel = _Channel(connection)
    logging.root.handlers[:] = [_LogSender(channel)]
    if hasattr(os, "register_at_fork"):
        # What a step forks warns on stderr: the channel is this process's own.
        os.register_at_fork(after_in_child=logging.root.handlers.clear)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the coordinator is gone
        _Worker(channel, slots, begun, index).work(surroundings, payload)
    close_loop()
    connection.close()


def become_worker(settings: WorkerSettings) -> None:
    """Make this process, which :func:`start_worker` has started, a worker: the first that it does.

    It has the coordinator's environment, leaves Ctrl-C to it, and ends with it.
    """
    leave_interrupts_to_the_coordinator()
    _end_with_the_coordinator(settings.folders)
    os.environ.clear()
    os.environ.update(settings.environment)
    _limit_loaded_libraries(settings.threads)
    reseed_numpy()


def _end_with_the_coordinator(folders: Sequence[str]) -> None:
    """End this process, whatever it is doing, when the coordinator has ended and could not say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        for _ in range(_LOOKS):
            if has_ended(parent.pid):  # else it takes this process for dead, for the fork server is
                for folder in folders:  # a coordinator that was killed could not
                    shutil.rmtree(folder, ignore_errors=True)
            # Its pipes are closed before it has ended, and others may be writing.
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            if not any(map(os.path.exists, folders)):
                break
        os._exit(1)

    threading.Thread(target=watch, name="crystallize-coordinator", daemon=True).start()


class _Channel:
    """The connection to the coordinator, on which messages of several threads do not mix."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._process = os.getpid()

    def receive(self) -> Any:
        return pickle.loads(self._connection.recv_bytes())

    def send(self, message: Any) -> None:
        content = pickle.dumps(message, PROTOCOL)
        if os.getpid() == self._process:  # a step may have forked
            with self._lock:
                self._connection.send_bytes(content)


class _Worker:
    """Runs batches and sends what is finished: soon, so that little is lost if this process is killed."""

    def __init__(
        self,
        channel: _Channel,
        slots: MutableSequence[int],
        begun: MutableSequence[float] | None,
        index: int,
    ) -> None:
        self._begun = begun
        self._channel = channel
        self._slots = slots
        self._index = index
        self._lock = threading.Lock()  # of the next two
        self._finished: list[Finished] = []
        self._bytes = 0
        self._flusher: threading.Thread | None = None

    def work(self, surroundings: Packed, payload: SharedPayload) -> None:
        try:
            with loading():
                unpack(*surroundings).restore()
                replicate_fn = payload.open()
        except BaseException as error:  # the coordinator raises it
            self._send_error(LOADING, error)
            return
        if self._begun is not None:
            replicate_fn.begin_outcome = partial(
                _begin_outcome, self._begun, self._index, replicate_fn.conditions.index
            )
        self._slots[self._index] = IDLE
        while (batch := self._channel.receive()) is not None:
            if not self._run(replicate_fn, *batch):
                return

    def _run(
        self,
        replicate_fn: Any,
        batch: int,
        replicates: Sequence[int],
        timed_out: Mapping[int, Sequence[str]],
        dropped: Mapping[str, int],
    ) -> bool:
        """Run a batch; return whether there is a next one."""
        if dropped:
            replicate_fn.dropped = dropped
        if timed_out:
            replicate_fn.timed_out = timed_out
        slots, index, clock = self._slots, self._index, time.perf_counter
        began = flushed = now = clock()
        if len(replicates) > 1 and self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_now_and_then, daemon=True)
            self._flusher.start()
        count = 0
        for replicate in replicates:
            slots[index] = replicate
            try:
                result = replicate_fn(replicate)
            except BaseException as error:  # the coordinator raises it
                self._send_error(replicate, error)
                return False
            if self._begun is not None:
                self._begun[2 * index] = 0
            self._finish(replicate, result)
            count += 1
            now = clock()
            if slots[-1] or now - began > 2 * SECONDS_PER_BATCH:
                break
            if now - flushed > _SECONDS_BETWEEN_FLUSHES or self._bytes > _BYTES_BETWEEN_FLUSHES:
                slots[index] = IDLE
                self._send(Flush)
                flushed = now
        slots[index] = IDLE
        self._send(Done, batch, (now - began) / count)
        return not slots[-1]

    def _finish(self, replicate: int, result: Any) -> None:
        finished = finish(replicate, result)
        with self._lock:
            self._finished.append(finished)
            self._bytes += len(finished.payload or b"")

    def _flush_now_and_then(self) -> None:
        """Send short replicates' results that wait while a long one runs."""
        with suppress(OSError):  # the coordinator is gone
            while True:
                time.sleep(_SECONDS_BETWEEN_FLUSHES)
                if self._finished:
                    self._send(Flush)

    def _send_error(self, replicate: int, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        self._send(Failure, replicate, dump_error(error), text)

    def _send(self, kind: Callable[..., Flush | Done | Failure], *more: Any) -> None:
        with self._lock:
            self._channel.send(kind(self._finished, *more))
            self._finished = []
            self._bytes = 0


def _begin_outcome(
    begun: MutableSequence[float], index: int, position: Callable[[str], int], condition: str
) -> None:
    begun[2 * index] = 0  # nobody is to see the old condition with the new time
    begun[2 * index + 1] = position(condition)
    begun[2 * index] = time.monotonic()


def _limit_loaded_libraries(threads: int | None) -> None:
    """Limit libraries that read their environment variable before it was set."""
    preloaded = imported("crystallize.plugins.execution.preload")
    if preloaded is not None:
        preloaded.limit(threads)
    elif threads is not None and imported("numpy") is not None:
        import threadpoolctl

        threadpoolctl.ThreadpoolController().limit(limits=threads)


class _LogSender(logging.handlers.QueueHandler):
    """Sends log records to the coordinator, whose handlers they are for, with the message already put together."""

    def __init__(self, channel: _Channel) -> None:
        super().__init__(channel)  # type: ignore[arg-type]
        self._channel = channel

    def enqueue(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # the coordinator is gone
            self._channel.send(record)
