"""Replicates in a pool of worker processes: the coordinator's side."""

from __future__ import annotations

import logging
import pickle
import sys
import time
from collections import Counter, deque
from contextlib import closing, suppress
from itertools import islice
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from crystallize.errors import ExecutionError, SerializationError
from crystallize.plugins.execution import launch, worker
from crystallize.plugins.execution.messages import (
    cause_of_death,
    give_up,
    load_error,
    pack_replicate_fn,
    result_of,
)
from crystallize.plugins.execution.schedule import Schedule
from crystallize.plugins.execution.worker import BatchEnd, Brief, Flush, Raised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess

    from crystallize.errors import CrystallizeError
    from crystallize.plugins.execution import Arrivals
    from crystallize.plugins.execution.messages import Finished

logger = logging.getLogger("crystallize.execution")

_TRIES = 2
"""How often a replicate may take its worker down before it is given up."""
_DEATHS_WITHOUT_A_RESULT = 3
"""How many workers in a row may die between replicates, or before the first, before the run is given up."""
_MESSAGES_AT_A_TIME = 100
"""How many messages of one worker are seen to before the others have their turn: it may log without an end."""
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_FINISH = 0.25
_SECONDS_TO_EXIT = 5.0
_SECONDS_TO_TERMINATE = 1.0


def run_in_processes(
    replicate_fn: Callable[[int], Any], replicates: int, workers: int, arrivals: Arrivals, threads: int | None
) -> None:
    """Run all replicates in worker processes.

    Parameters
    ----------
    replicate_fn : callable
        Runs one replicate. It is packed once, and opened once by each worker; ``recipe()``, if it has that,
        returns a function and its arguments that make it anew.
    replicates, workers : int
        How many of each; ``workers <= replicates``.
    arrivals : Arrivals
        ``arrivals.deliver(replicate, result)`` is called in this thread as results arrive, ``arrivals.check()``
        now and then.
    threads : int or None
        To how many threads the numeric libraries of each worker are limited; None for no limit.

    Raises
    ------
    SerializationError
        If `replicate_fn` cannot be packed, or not be loaded in a worker.
    ExecutionError
        If workers cannot be started, or keep dying.
    BaseException
        What `replicate_fn` or `deliver` raised, or ``KeyboardInterrupt``. No worker is left by then.
    """
    context = launch.get_context(_modules_to_preload())
    log_level = logging.getLogger("crystallize").getEffectiveLevel()
    brief = Brief(launch.environment_for_workers(threads), threads, log_level)
    with closing(launch.Parcel(pack_replicate_fn(replicate_fn))) as parcel:
        pool = _Pool(context, workers, Schedule(replicates, workers), replicate_fn, arrivals)
        try:
            pool.run(parcel, brief, replicates)
            pool.dismiss()
        except BaseException:
            pool.break_off()
            raise


def _modules_to_preload() -> list[str]:
    """Name what every worker needs, for the fork server to import once: the engine, but no user's code."""
    engine = sorted(name for name in sys.modules if name.startswith("crystallize."))
    return [*engine, "crystallize.plugins.execution.preload"]


class _Worker:
    """A worker process as the coordinator sees it."""

    def __init__(self, index: int, process: BaseProcess, connection: Connection[Any, Any]) -> None:
        self.index = index
        self.process = process
        self.connection = connection
        self.batches: deque[range] = deque()  # what it has been given and has not sent results of
        self.closed = False

    def send(self, message: tuple[int, int] | None) -> None:
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


class _Pool:
    """The coordinator of a run: gives out batches, takes results in, replaces workers that die."""

    def __init__(
        self,
        context: ForkServerContext | SpawnContext,
        size: int,
        schedule: Schedule,
        replicate_fn: Callable[[int], Any],
        arrivals: Arrivals,
    ) -> None:
        self._context = context
        self._size = size
        self._schedule = schedule
        self._replicate_fn = replicate_fn
        self._deliver = arrivals.deliver
        self._check = arrivals.check
        self._delivering = False
        self._workers: list[_Worker] = []
        self._slots: Any = context.RawArray("q", size + 1)
        self._kills: Counter[int] = Counter()
        self._deaths = 0

    def run(self, parcel: launch.Parcel, brief: Brief, replicates: int) -> None:
        """Start the workers and return when the results of all replicates have been delivered."""
        self._luggage = (self._slots, parcel, brief)
        self._missing = replicates
        for index in range(self._size):
            self._start(index)
        while self._missing:
            self._look()
            self._check()
            for one in self._workers:
                self._feed(one)

    def dismiss(self) -> None:
        """Let the workers, which have nothing left to do, end."""
        for one in self._workers:
            one.send(None)
        deadline = time.monotonic() + _SECONDS_TO_EXIT
        while self._workers:
            self._workers[-1].end(max(0.0, deadline - time.monotonic()))
            self._workers.pop()

    def break_off(self) -> None:
        """End all workers; first take in what they have finished, if it can still be delivered."""
        self._slots[self._size] = 1
        try:
            deadline = time.monotonic() + _SECONDS_TO_FINISH
            while not self._delivering and self._workers and (left := deadline - time.monotonic()) > 0:
                self._take_leave(left)
        except BaseException:  # the first error is the one to raise
            logger.debug("results were lost when the run was broken off", exc_info=True)
        try:
            for one in self._workers:
                one.process.terminate()
            deadline = time.monotonic() + _SECONDS_TO_TERMINATE
            for one in self._workers:
                one.process.join(max(0.0, deadline - time.monotonic()))
        finally:  # a second Ctrl-C does not wait
            while self._workers:
                self._workers[-1].kill()
                self._workers.pop()

    def _take_leave(self, seconds: float) -> None:
        ready = wait([one.connection for one in self._workers], seconds)
        for one in [one for one in self._workers if one.connection in ready]:
            for message in one.messages(block=True):
                if isinstance(message, Flush | BatchEnd | Raised):
                    self._take_in(message.finished)
            if one.closed:
                one.end(_SECONDS_TO_TERMINATE)
                self._workers.remove(one)

    # -- workers -------------------------------------------------------------------------------------------

    def _start(self, index: int) -> None:
        self._slots[index] = worker.LOADING
        ours, theirs = self._context.Pipe()
        try:
            process = launch.start(self._context, worker.main, (theirs, index, *self._luggage))
        except OSError as error:
            ours.close()
            if not self._workers:
                raise ExecutionError(
                    f"no worker process can be started: {error}", hint="Run in threads, or serially"
                ) from error
            logger.warning("going on with %d worker processes: %s", len(self._workers), error)
            return
        except BaseException:  # Ctrl-C: a worker that has come into being finds itself alone, and ends
            ours.close()
            raise
        finally:
            theirs.close()
        self._workers.append(_Worker(index, process, ours))
        self._feed(self._workers[-1])

    def _feed(self, one: _Worker) -> None:
        """Give a worker what it is to do next, and, if that is short, what comes after it."""
        while self._schedule.left and len(one.batches) < self._schedule.depth:
            batch = self._schedule.take()
            one.batches.append(batch)
            one.send((batch.start, batch.stop))

    def _look(self) -> None:
        """Wait until something happens, and see to it."""
        handles: dict[Any, _Worker] = {}
        for one in self._workers:
            handles[one.connection] = handles[one.process.sentinel] = one
        ready = wait(list(handles), _SECONDS_BETWEEN_LOOKS)
        for one in {id(handles[handle]): handles[handle] for handle in ready}.values():
            for message in islice(one.messages(block=one.connection in ready), _MESSAGES_AT_A_TIME):
                self._see_to(one, message)
            if one.closed or one.process.sentinel in ready:
                self._bury(one)
        if not ready:  # what a worker has started may hold its pipes open after its death
            for one in [one for one in self._workers if not one.process.is_alive()]:
                self._bury(one)

    def _see_to(self, one: _Worker, message: Any) -> None:
        if isinstance(message, logging.LogRecord):
            logging.getLogger(message.name).handle(message)
            return
        self._take_in(message.finished)
        if isinstance(message, Raised):
            loading = message.replicate == worker.LOADING
            raise load_error(message.payload, message.traceback, loading=loading)
        if message.finished:
            one.batches[0] = range(message.finished[-1].replicate + 1, one.batches[0].stop)
        if isinstance(message, BatchEnd):
            self._schedule.put_back(range(message.handed_back, one.batches.popleft().stop))
            self._schedule.learn(message.seconds)

    def _bury(self, one: _Worker) -> None:
        """Find out what a worker died of, and have somebody else do what it owed."""
        for message in one.messages(block=False):
            self._see_to(one, message)
        code = one.end(_SECONDS_TO_EXIT)
        self._workers.remove(one)
        current = self._slots[one.index]
        blamed = None
        for batch in one.batches:
            if current in batch:
                blamed = current
                self._schedule.put_back(range(current + 1, batch.stop))
                self._schedule.put_back(range(batch.start, current))
            else:
                self._schedule.put_back(batch)
        if blamed is None:
            self._count_death(code, loading=current == worker.LOADING)
        else:
            self._blame(blamed, code)
        if self._schedule.left:
            self._start(one.index)

    def _count_death(self, code: int | None, *, loading: bool) -> None:
        self._deaths += 1
        if self._deaths >= _DEATHS_WITHOUT_A_RESULT:
            when = "while it loaded the experiment" if loading else "between replicates"
            raise ExecutionError(
                f"{self._deaths} worker processes died one after the other, the last one {when}: "
                f"{cause_of_death(code)}",
                hint="Run serially to see more",
            )
        logger.warning("a worker process was replaced: %s", cause_of_death(code))

    def _blame(self, replicate: int, code: int | None) -> None:
        self._kills[replicate] += 1
        if self._kills[replicate] < _TRIES:
            logger.warning(
                "replicate %d is tried again: its worker process died: %s", replicate, cause_of_death(code)
            )
            self._schedule.put_last(range(replicate, replicate + 1))
            return
        error = ExecutionError(
            f"its worker process died {_TRIES} times, the last time: {cause_of_death(code)}",
            f"replicate {replicate}",
            "Run this replicate serially to see more, or use fewer workers if memory is short",
        )
        self._give_up(replicate, error)

    # -- results -------------------------------------------------------------------------------------------

    def _take_in(self, finished: list[Finished]) -> None:
        for each in finished:
            try:
                result = result_of(each)
            except SerializationError as error:
                self._give_up(each.replicate, error)
            else:
                self._arrive(each.replicate, result)

    def _give_up(self, replicate: int, error: CrystallizeError) -> None:
        self._arrive(replicate, give_up(self._replicate_fn, replicate, error))

    def _arrive(self, replicate: int, result: Any) -> None:
        self._deaths = 0
        self._delivering = True
        self._deliver(replicate, result)
        self._delivering = False
        self._missing -= 1
