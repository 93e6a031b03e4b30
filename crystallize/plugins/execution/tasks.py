"""Replicates as tasks of one event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextvars import copy_context
from operator import length_hint
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from crystallize.utils.aio import loop_is_running

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Deliver = Callable[[int, Any], None]
    Check = Callable[[], None]

_SECONDS_BETWEEN_LOOKS = 1.0
_MOST_TASKS = 100
"""How many replicates are under way at the same time if neither the user nor their number says."""


def run_in_tasks(
    replicate_fn: Callable[[int], Any],
    owed: Iterator[int],
    max_concurrency: int | None,
    deliver: Deliver,
    *,
    check: Check,
) -> None:
    """Run all replicates in an event loop of their own.

    Parameters
    ----------
    replicate_fn : callable
        ``replicate_fn.acall(i)`` is awaited if there is one; else ``replicate_fn(i)`` is called, and what it
        returns is awaited if it can be.
    owed : iterator of int
        The numbers of the replicates.
    max_concurrency : int or None
        How many may be under way at the same time; None for all, or 100 if it is not known how many there are.
    deliver : callable
        ``deliver(replicate, result)`` is called in this thread as each result arrives.
    check : callable
        Called in this thread now and then; what it raises ends the run.
    """
    if loop_is_running():
        _run_beside(replicate_fn, owed, max_concurrency, deliver, check=check)
    else:
        with asyncio.Runner() as runner:
            runner.run(_watched(drive(replicate_fn, owed, max_concurrency, deliver), check))


async def _watched(run: Coroutine[Any, Any, None], check: Check) -> None:
    task = asyncio.ensure_future(run)
    try:
        while not (await asyncio.wait([task], timeout=_SECONDS_BETWEEN_LOOKS))[0]:
            check()
    except BaseException:
        task.cancel()
        await asyncio.wait([task])
        raise
    task.result()


def run_on_loop(
    loop: asyncio.AbstractEventLoop,
    replicate_fn: Callable[[int], Any],
    owed: Iterator[int],
    max_concurrency: int | None,
    deliver: Deliver,
    *,
    check: Check,
) -> None:
    """Run all replicates on a loop that runs in another thread, and wait; see :func:`run_in_tasks`.

    Results are delivered in this thread.
    """
    arrived: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
    run = drive(replicate_fn, owed, max_concurrency, lambda *arrival: arrived.put(arrival))
    future = asyncio.run_coroutine_threadsafe(run, loop)
    future.add_done_callback(lambda _: arrived.put(None))
    try:
        while (arrival := _next(arrived, check)) is not None:
            deliver(*arrival)
    except BaseException:
        future.cancel()
        raise
    future.result()


def _next(arrived: SimpleQueue[tuple[int, Any] | None], check: Check) -> tuple[int, Any] | None:
    while True:
        try:
            return arrived.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except Empty:
            check()


async def drive(
    replicate_fn: Callable[[int], Any], owed: Iterator[int], max_concurrency: int | None, deliver: Deliver
) -> None:
    """Run all replicates as tasks of the running loop; see :func:`run_in_tasks`.

    The first exception cancels the others, and leaves when they are through.
    """
    call = getattr(replicate_fn, "acall", None) or _awaitable(replicate_fn)

    async def one_after_another() -> None:
        for replicate in owed:
            deliver(replicate, await call(replicate))

    most = length_hint(owed, _MOST_TASKS)
    tasks = most if max_concurrency is None else min(most, max_concurrency)
    await _all_or_the_first_error([one_after_another() for _ in range(tasks)])


def _awaitable(replicate_fn: Callable[[int], Any]) -> Callable[[int], Coroutine[Any, Any, Any]]:
    async def call(replicate: int) -> Any:
        result = replicate_fn(replicate)
        return await result if inspect.isawaitable(result) else result

    return call


async def _all_or_the_first_error(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _run_beside(
    replicate_fn: Callable[[int], Any],
    owed: Iterator[int],
    max_concurrency: int | None,
    deliver: Deliver,
    *,
    check: Check,
) -> None:
    """Run the tasks in a helper thread while this one, whose loop is running, delivers their results."""
    loops: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()

    def serve() -> None:
        with asyncio.Runner() as runner:
            loops.put(runner.get_loop())
            runner.get_loop().run_forever()

    thread = threading.Thread(target=copy_context().run, args=(serve,), name="crystallize-async", daemon=True)
    thread.start()
    loop = loops.get()
    try:
        run_on_loop(loop, replicate_fn, owed, max_concurrency, deliver, check=check)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
