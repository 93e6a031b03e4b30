"""Replicates as tasks of one event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from operator import length_hint
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.utils.aio import loop_is_running

if TYPE_CHECKING:
    from collections.abc import Coroutine

_SECONDS_BETWEEN_LOOKS = 1.0
_MOST_TASKS = 100
"""How many replicates are under way at the same time if neither the user nor their number says."""


class Work(NamedTuple):
    """What is to be run as tasks.

    Attributes
    ----------
    replicate_fn : callable
        ``replicate_fn.acall(i)`` is awaited if there is one; else ``replicate_fn(i)`` is called, and what it
        returns is awaited if it can be.
    owed : iterator of int
        The numbers of the replicates.
    max_concurrency : int or None
        How many may be under way at the same time; None for all, or 100 if it is not known how many there are.
    deliver : callable
        ``deliver(replicate, result)`` is called as each result arrives.
    check : callable
        Called now and then; what it raises ends the run.
    """

    replicate_fn: Callable[[int], Any]
    owed: Iterator[int]
    max_concurrency: int | None
    deliver: Callable[[int, Any], None]
    check: Callable[[], None]


def run_in_tasks(work: Work) -> None:
    """Run all replicates in an event loop of their own; results are delivered in this thread."""
    if loop_is_running():
        _run_beside(work)
    else:
        with asyncio.Runner() as runner:
            runner.run(_watched(_drive(work), work.check))


async def _watched(run: Coroutine[Any, Any, None], check: Callable[[], None]) -> None:
    task = asyncio.ensure_future(run)
    try:
        while not (await asyncio.wait([task], timeout=_SECONDS_BETWEEN_LOOKS))[0]:
            check()
    except BaseException:
        task.cancel()
        await asyncio.wait([task])
        raise
    task.result()


def run_on_loop(loop: asyncio.AbstractEventLoop, work: Work) -> None:
    """Run all replicates on a loop that runs in another thread, and wait; results are delivered in this thread."""
    arrived: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
    run = _drive(work._replace(deliver=lambda *arrival: arrived.put(arrival)))
    future = asyncio.run_coroutine_threadsafe(run, loop)
    future.add_done_callback(lambda _: arrived.put(None))
    try:
        while (arrival := _next(arrived, work.check)) is not None:
            work.deliver(*arrival)
    except BaseException:
        future.cancel()
        raise
    future.result()


def _next(arrived: SimpleQueue[tuple[int, Any] | None], check: Callable[[], None]) -> tuple[int, Any] | None:
    while True:
        try:
            return arrived.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except Empty:
            check()


async def _drive(work: Work) -> None:
    """Run all replicates as tasks of the running loop.

    The first exception cancels the others, and leaves when they are through.
    """
    call = getattr(work.replicate_fn, "acall", None) or _awaitable(work.replicate_fn)

    async def one_after_another() -> None:
        for replicate in work.owed:
            work.deliver(replicate, await call(replicate))
            # One that awaited nothing has not noticed Ctrl-C, or what else cancels this task.
            await asyncio.sleep(0)

    most = length_hint(work.owed, _MOST_TASKS)
    tasks = most if work.max_concurrency is None else min(most, work.max_concurrency)
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


def _run_beside(work: Work) -> None:
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
        run_on_loop(loop, work)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
