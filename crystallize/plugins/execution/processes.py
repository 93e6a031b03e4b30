"""The transport to worker processes of this machine."""

from __future__ import annotations

import logging
import math
import pickle
import time
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from crystallize.errors import ExecutionError
from crystallize.plugins.execution import launch, worker
from crystallize.plugins.execution.driver import PoolDriver
from crystallize.plugins.execution.messages import cause_of_death, load_error, pack_replicate_fn
from crystallize.plugins.execution.shared_payload import SharedPayload
from crystallize.plugins.execution.surroundings import Surroundings
from crystallize.plugins.execution.transport import BatchEnd, DeathReport, Departure, Joined, Progress, Raised
from crystallize.utils.pickling import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from crystallize.plugins.execution.collector import ResultCollector
    from crystallize.plugins.execution.messages import Finished
    from crystallize.plugins.execution.transport import Batch, Event

logger = logging.getLogger("crystallize.execution")

_MESSAGES_AT_A_TIME = 100
"""How many messages of one worker are seen to before the others have their turn: it may log without an end."""
_SECONDS_TO_FINISH = 0.25
_SECONDS_TO_EXIT = 5.0
_SECONDS_TO_TERMINATE = 1.0


def run_in_processes(
    replicate_fn: Callable[[int], Any], workers: int, collector: ResultCollector, threads: int | None
) -> None:
    """Run what is owed in worker processes.

    Parameters
    ----------
    replicate_fn : callable
        Runs one replicate. It is packed once, and opened once by each worker; ``recipe()``, if it has that,
        returns a function and its arguments that make it anew.
    workers : int
        How many processes there are at most.
    collector : ResultCollector
        Says what is owed, and takes results in this thread as they arrive.
    threads : int or None
        To how many threads the numeric libraries of each worker are limited; None for no limit.

    Raises
    ------
    SerializationError
        If `replicate_fn` cannot be packed, or not be loaded in a worker.
    ExecutionError
        If workers cannot be started, or keep dying.
    BaseException
        What `replicate_fn` or the collector raised, or ``KeyboardInterrupt``. No worker is left by then.
    """
    transport = ProcessTransport(replicate_fn, workers, threads)
    PoolDriver(transport, collector, replicate_fn).run()


class ProcessTransport:
    """Worker processes, each at the other end of a pipe; see :class:`~crystallize.plugins.execution.Transport`.

    Parameters
    ----------
    replicate_fn : callable
        What is sent to the workers.
    size : int
        How many there are at most.
    threads : int or None
        To how many threads the numeric libraries of each are limited.
    """

    def __init__(self, replicate_fn: Callable[[int], Any], size: int, threads: int | None) -> None:
        self._size = size
        self._wanted = 0
        self._context = launch.worker_context()
        self._settings = worker.WorkerSettings.of_this_process(threads)
        self._surroundings = pack(Surroundings())
        self._timeout: float | None = getattr(replicate_fn, "timeout", None)
        self._timed_out: dict[int, list[str]] = {}
        # When, and with which of `_conditions`, each worker has begun; see worker.Clock.
        self._begun: Any = None if self._timeout is None else self._context.RawArray("d", 2 * size)
        self._conditions: Sequence[str] = getattr(replicate_fn, "conditions", ())
        self._slots: Any = self._context.RawArray("q", size + 1)  # see worker.main
        self._free_slots = list(reversed(range(size)))
        self._workers: list[_Worker] = []
        self._payload = SharedPayload(pack_replicate_fn(replicate_fn))

    def provide(self, workers: int) -> None:
        """Have the next calls of `wait` start what is missing."""
        self._wanted = min(workers, self._size)

    def send(self, worker: Any, batch: Batch) -> None:
        """Send a batch through the worker's pipe."""
        timed_out = {i: self._timed_out[i] for i in batch.replicates if i in self._timed_out}
        worker.send((batch.number, batch.replicates, timed_out, batch.dropped))

    def wait(self, seconds: float) -> list[Event]:
        """Start a worker if one is missing; else return what the workers have sent, and their deaths."""
        if len(self._workers) < self._wanted and (started := self._start()) is not None:
            return [Joined(started)]
        handles: dict[Any, _Worker] = {}
        for each in self._workers:
            handles[each.connection] = handles[each.process.sentinel] = each
        if self._timeout is not None:
            seconds = min(seconds, self._seconds_to_timeout())
        ready = wait(list(handles), seconds)
        events: list[Event] = []
        for each in {id(handles[handle]): handles[handle] for handle in ready}.values():
            events += islice(each.events(block=each.connection in ready), _MESSAGES_AT_A_TIME)
            if each.closed or each.process.sentinel in ready:
                events += self._handle_death(each)
        if not ready:  # what a worker has started may hold its pipes open after its death
            for each in [each for each in self._workers if not each.process.is_alive()]:
                events += self._handle_death(each)
        if self._timeout is not None:
            for each in list(self._workers):
                if self._seconds_left(each, now := time.monotonic()) <= 0:
                    events += self._end_overdue(each, now)
        return events

    # -- what takes too long -------------------------------------------------------------------------------

    def _seconds_to_timeout(self) -> float:
        now = time.monotonic()
        return max(0.0, min((self._seconds_left(each, now) for each in self._workers), default=math.inf))

    def _seconds_left(self, worker: _Worker, now: float) -> float:
        """Return how long a worker may still be at its outcome."""
        began = self._begun[2 * worker.slot]
        return math.inf if began == 0 else began + self._timeout - now

    def _end_overdue(self, late: _Worker, now: float) -> list[Event]:
        """Kill a worker that has been at an outcome for too long, and note which one it was, for the next worker."""
        late.process.kill()
        late.process.join()  # what it had sent can be read until its pipe is closed
        events: list[Event] = [*late.events(block=False)]
        late.end(_SECONDS_TO_EXIT)
        self._workers.remove(late)
        self._free_slots.append(late.slot)
        if self._seconds_left(late, now) <= 0:  # else it had gone on to another one before it was killed
            replicate, position = self._slots[late.slot], int(self._begun[2 * late.slot + 1])
            condition = self._conditions[position]
            self._timed_out.setdefault(replicate, []).append(condition)
            logger.warning(
                "replicate %d under condition %r took more than %g seconds, and its worker was killed",
                replicate,
                condition,
                self._timeout,
            )
        return [*events, Departure(late)]

    def drain(self) -> Iterator[Sequence[Finished]]:
        """Have the workers stop after their replicate, and yield for a moment what they send."""
        self._slots[self._size] = 1
        deadline = time.monotonic() + _SECONDS_TO_FINISH
        while self._workers and (left := deadline - time.monotonic()) > 0:
            ready = wait([each.connection for each in self._workers], left)
            for each in [each for each in self._workers if each.connection in ready]:
                for event in each.events(block=True):
                    yield event.finished
                if each.closed:
                    each.end(_SECONDS_TO_TERMINATE)
                    self._workers.remove(each)

    def close(self, *, kill: bool = False) -> None:
        """Let the workers end, which have nothing left to do; or make them."""
        try:
            for each in self._workers:
                if kill:
                    each.process.terminate()
                else:
                    each.send(None)
            deadline = time.monotonic() + (_SECONDS_TO_TERMINATE if kill else _SECONDS_TO_EXIT)
            for each in self._workers:
                each.process.join(max(0.0, deadline - time.monotonic()))
        finally:  # a second Ctrl-C does not wait
            while self._workers:
                self._workers[-1].kill()
                self._workers.pop()
            self._payload.close()

    def _start(self) -> _Worker | None:
        slot = self._free_slots[-1]
        self._slots[slot] = worker.LOADING
        if self._begun is not None:
            self._begun[2 * slot] = 0
        ours, theirs = self._context.Pipe()
        arguments = (
            theirs,
            slot,
            self._slots,
            self._begun,
            self._surroundings,
            self._payload,
            self._settings,
        )
        try:
            process = launch.start_worker(self._context, worker.main, arguments)
        except OSError as error:
            ours.close()
            if not self._workers:
                raise ExecutionError(
                    f"no worker process can be started: {error}", hint="Run in threads, or serially"
                ) from error
            self._wanted = len(self._workers)
            logger.warning("going on with %d worker processes: %s", len(self._workers), error)
            return None
        except BaseException:  # Ctrl-C: a worker that has come into being finds itself alone, and ends
            ours.close()
            raise
        finally:
            theirs.close()
        self._free_slots.pop()
        started = _Worker(slot, process, ours)
        self._workers.append(started)
        return started

    def _handle_death(self, dead: _Worker) -> list[Event]:
        """Return the last that a worker has sent, and what it died of."""
        events: list[Event] = [*dead.events(block=False)]
        code = dead.end(_SECONDS_TO_EXIT)
        self._workers.remove(dead)
        self._free_slots.append(dead.slot)
        current = self._slots[dead.slot]
        report = DeathReport(
            dead,
            cause_of_death(code),
            interrupted=[[current]] if current >= 0 else [],
            was_loading=current == worker.LOADING,
        )
        return [*events, report]


class _Worker:
    """A worker process as the coordinator sees it."""

    def __init__(self, slot: int, process: BaseProcess, connection: Connection[Any, Any]) -> None:
        self.slot = slot
        self.process = process
        self.connection = connection
        self.closed = False

    def send(self, message: tuple[Any, ...] | None) -> None:
        with suppress(OSError):  # it is dead: its sentinel says so, too
            self.connection.send_bytes(pickle.dumps(message))

    def messages(self, *, block: bool) -> Iterator[Any]:
        """Yield what it has sent; nothing more once it has closed its end."""
        try:
            while block or self.connection.poll():
                block = False
                yield pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.closed = True

    def events(self, *, block: bool) -> Iterator[Progress | BatchEnd | Raised]:
        """Yield what it tells of replicates; what it has logged is handled here."""
        for message in self.messages(block=block):
            if isinstance(message, worker.Done):
                yield BatchEnd(self, message.batch, message.finished, message.seconds)
            elif isinstance(message, worker.Flush):
                yield Progress(self, message.finished)
            elif isinstance(message, worker.Failure):
                loading = message.replicate == worker.LOADING
                error = load_error(message.payload, message.traceback, loading=loading)
                yield Raised(error, message.finished)
            else:
                logging.getLogger(message.name).handle(message)

    def end(self, seconds: float) -> int | None:
        """Wait for the process to end by itself, or make it; return its exit code."""
        process = self.process
        process.join(seconds)
        if process.is_alive():
            process.terminate()
            process.join(_SECONDS_TO_TERMINATE)
        return self.kill()

    def kill(self) -> int | None:
        """Have the process, and what belongs to it here, gone; return its exit code."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        self.connection.close()
        return code
