"""Replicates in a pool of threads."""

from __future__ import annotations

import threading
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.utils.aio import close_loop
from crystallize.utils.failures import RunCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECONDS_BETWEEN_LOOKS = 1.0


class _Arrival(NamedTuple):
    replicate: int
    result: Any
    error: BaseException | None


def run_in_threads(
    replicate_fn: Callable[[int], Any],
    owed: Iterator[int],
    workers: int,
    deliver: Callable[[int, Any], None],
) -> None:
    """Run all replicates in `workers` threads.

    Parameters
    ----------
    replicate_fn : callable
        Runs one replicate. Each thread calls it in a copy of the caller's context variables.
    owed : iterator of int
        The numbers of the replicates; the threads share it.
    workers : int
        How many threads.
    deliver : callable
        ``deliver(replicate, result)`` is called in this thread as each result arrives.

    Raises
    ------
    BaseException
        What `replicate_fn` or `deliver` raised first, or ``KeyboardInterrupt``: after the replicates that
        were in flight have finished. A second Ctrl-C abandons them.
    """
    pool = _Pool(replicate_fn, owed)
    try:
        pool.start(workers)
        pool.collect(deliver)
    except (KeyboardInterrupt, RunCancelled):
        pool.stop()
        pool.collect(deliver)
        raise
    except BaseException:
        pool.stop()
        pool.collect(_ignore)
        raise
    if pool.error is not None:
        raise pool.error


def _ignore(_replicate: int, _result: Any) -> None:
    """Deliver nothing: whoever takes the results has already failed."""


class _Pool:
    def __init__(self, replicate_fn: Callable[[int], Any], owed: Iterator[int]) -> None:
        self.error: BaseException | None = None
        self._replicate_fn = replicate_fn
        self._owed = owed
        self._arrived: SimpleQueue[_Arrival | threading.Thread] = SimpleQueue()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def start(self, workers: int) -> None:
        for number in range(workers):
            context = copy_context()
            thread = threading.Thread(
                target=context.run, args=(self._work,), name=f"crystallize-{number}", daemon=True
            )
            self._threads.append(thread)  # before Ctrl-C can come between
            thread.start()

    def stop(self) -> None:
        self._stopping = True

    def collect(self, deliver: Callable[[int, Any], None]) -> None:
        """Deliver results until no thread works any more; the first error stops the others."""
        while self._threads:
            try:
                arrival = self._arrived.get(timeout=_SECONDS_BETWEEN_LOOKS)
            except Empty:
                self._forget_the_dead()
                continue
            if isinstance(arrival, threading.Thread):  # it has no more work
                arrival.join()
                self._threads = [thread for thread in self._threads if thread is not arrival]
            elif arrival.error is None:
                deliver(arrival.replicate, arrival.result)
            else:
                self.stop()
                self.error = self.error or arrival.error

    def _forget_the_dead(self) -> None:
        """Find threads that never started, or whose last message a Ctrl-C has swallowed."""
        alive = [thread for thread in self._threads if thread.is_alive()]
        if self._arrived.empty():
            self._threads = alive

    def _work(self) -> None:
        put = self._arrived.put
        try:
            while not self._stopping and (replicate := next(self._owed, None)) is not None:
                try:
                    result = self._replicate_fn(replicate)
                except BaseException as error:  # the coordinator raises it
                    put(_Arrival(replicate, None, error))
                    break
                put(_Arrival(replicate, result, None))
        finally:
            close_loop()
            put(threading.current_thread())
