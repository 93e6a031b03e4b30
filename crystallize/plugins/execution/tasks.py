"""Replicates as tasks of one event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from operator import length_hint
from queue import Empty, SimpleQueue
from typing import Any

from crystallize.utils.aio import loop_is_running
from crystallize.utils.failures import RunCancelled

_SECONDS_BETWEEN_LOOKS = 1.0
_MOST_TASKS = 100
"""How many replicates are under way at the same time if neither the user nor their number says."""


Run = Callable[[Callable[[int, Any], None]], Coroutine[Any, Any, None]]
"""Runs all replicates on the running loop and gives each result to a function."""


def run_in_tasks(
    replicate_fn: Callable[[int], Any],
    owed: Iterator[int],
    *,
    max_concurrency: int | None,
    deliver: Callable[[int, Any], None],
    check: Callable[[], None],
    loop: asyncio.AbstractEventLoop | None = None,
) -> None:
    """Run replicates as tasks of an event loop; results are delivered in this thread.

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
        ``deliver(replicate, result)`` is called as each result arrives.
    check : callable
        Called now and then; what it raises ends the run.
    loop : asyncio.AbstractEventLoop, optional
        One that runs in another thread; a loop of their own, if not given.
    """
    call = getattr(replicate_fn, "acall", None) or _awaitable(replicate_fn)
    most = length_hint(owed, _MOST_TASKS)
    tasks = most if max_concurrency is None else min(most, max_concurrency)

    async def run(deliver: Callable[[int, Any], None]) -> None:
        async def one_after_another() -> None:
            for replicate in owed:
                deliver(replicate, await call(replicate))
                # One that awaited nothing has not noticed Ctrl-C, or what else cancels this task.
                await asyncio.sleep(0)

        await _all_or_the_first_error([one_after_another() for _ in range(tasks)])

    if loop is not None:
        _run_on_loop(loop, run, deliver, check)
    elif loop_is_running():
        with _loop_beside() as beside:
            _run_on_loop(beside, run, deliver, check)
    else:
        with asyncio.Runner() as runner:
            runner.run(_watched(run(deliver), check))


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


def _run_on_loop(
    loop: asyncio.AbstractEventLoop, run: Run, deliver: Callable[[int, Any], None], check: Callable[[], None]
) -> None:
    """Run all replicates on a loop that runs in another thread, and wait until nothing of them runs any more."""
    arrived: SimpleQueue[tuple[int, Any] | None] = SimpleQueue()
    tasks: list[asyncio.Task[None]] = []

    def begin() -> None:
        task = loop.create_task(run(lambda *arrival: arrived.put(arrival)))
        task.add_done_callback(lambda _: arrived.put(None))
        tasks.append(task)

    def cancel() -> None:  # after begin
        tasks[0].cancel()

    def take(deliver: Callable[[int, Any], None]) -> None:
        while (arrival := _next(arrived, check)) is not None:
            deliver(*arrival)

    loop.call_soon_threadsafe(begin)
    try:
        take(deliver)
    except BaseException as error:
        loop.call_soon_threadsafe(cancel)
        take(deliver if isinstance(error, KeyboardInterrupt | RunCancelled) else _ignore)
        raise
    tasks[0].result()


def _next(arrived: SimpleQueue[tuple[int, Any] | None], check: Callable[[], None]) -> tuple[int, Any] | None:
    while True:
        try:
            return arrived.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except Empty:
            check()


def _ignore(_replicate: int, _result: Any) -> None:
    """Deliver nothing: whoever takes the results has already failed."""


def _awaitable(replicate_fn: Callable[[int], Any]) -> Callable[[int], Coroutine[Any, Any, Any]]:
    async def call(replicate: int) -> Any:
        result = replicate_fn(replicate)
        return await result if inspect.isawaitable(result) else result

    return call


async def _all_or_the_first_error(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    """Await all; the first exception cancels the others, and leaves when they are through."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


@contextmanager
def _loop_beside() -> Iterator[asyncio.AbstractEventLoop]:
    """Have a loop run in a helper thread while the block runs in this one, whose own loop is running."""
    loops: SimpleQueue[asyncio.AbstractEventLoop] = SimpleQueue()

    def serve() -> None:
        with asyncio.Runner() as runner:
            loops.put(runner.get_loop())
            runner.get_loop().run_forever()

    thread = threading.Thread(target=copy_context().run, args=(serve,), name="crystallize-async", daemon=True)
    thread.start()
    loop = loops.get()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
