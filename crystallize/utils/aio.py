"""Awaiting from synchronous code.

Nothing here imports :mod:`asyncio` before something has to be awaited: a synchronous pipeline never pays for
it.
"""

from __future__ import annotations

import atexit
import threading
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextvars import Context

T = TypeVar("T")

_SECONDS_BETWEEN_CANCELS = 0.1


def run_awaitable(awaitable: Awaitable[Any]) -> Any:
    """Wait for `awaitable` on an event loop that belongs to this thread, and return its result.

    The loop is made at the first call and kept for the next ones, so that what is bound to a loop (a client
    session, a lock) can be used again in the next replicate of the same thread. It is closed by
    :func:`close_loop`, and at the end of the thread or of the interpreter.

    A loop may already be running in this thread, as in a notebook. Then a helper thread with a loop of its
    own does the waiting, in a copy of the caller's context variables, and this thread, with the loop that
    runs in it, stands still until the result is there.

    Parameters
    ----------
    awaitable : awaitable
        A coroutine or anything else that can be awaited.

    Returns
    -------
    object
        What the awaitable gave. Whatever it raises, this function raises.
    """
    if loop_is_running():
        helper = getattr(_local, "helper", None)
        if helper is None:
            helper = _local.helper = _HelperThread()
            _close_at_exit()
        return helper.run(awaitable)
    runner = getattr(_local, "runner", None)
    if runner is None:
        runner = _local.runner = _Runner()
        _close_at_exit()
    return runner.run(awaitable)


def loop_is_running() -> bool:
    """Whether an event loop is running in this thread."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs in this thread."""
    import asyncio

    return asyncio.get_running_loop()


async def in_thread(fn: Callable[[], T], *, on_cancel: Callable[[], None]) -> T:
    """Call `fn` in a thread of its own without blocking the running event loop.

    The loop's own few threads are left to those for whom `fn` may be waiting: what it has the loop run.

    Parameters
    ----------
    fn : callable
        Called without arguments, in a copy of the caller's context variables.
    on_cancel : callable
        Called when the awaiting task is cancelled, and again until `fn` has ended: what it has end soon may be about
        to begin. The cancellation leaves when the thread has ended; its cause is what `fn` raised.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    thread = ThreadPoolExecutor(1, "crystallize-run")
    task = running_loop().run_in_executor(thread, copy_context().run, fn)
    thread.shutdown(wait=False)  # when it is through
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        while not task.done():
            on_cancel()
            await asyncio.wait([task], timeout=_SECONDS_BETWEEN_CANCELS)
        raise cancelled from (None if task.cancelled() else task.exception())


def close_loop() -> None:
    """Close this thread's event loop, and its helper thread's, if there are any."""
    for name in ("runner", "helper"):
        held = vars(_local).pop(name, None)
        if held is not None:
            held.close()


_local = threading.local()


def _close_at_exit() -> None:
    """Have the main thread's loop closed; the end of any other thread drops, and so closes, what it held."""
    if threading.current_thread() is threading.main_thread():
        atexit.unregister(close_loop)
        atexit.register(close_loop)


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


class _Runner:
    """One thread's loop. Garbage collection, as at the end of a thread, closes it."""

    def __init__(self) -> None:
        import asyncio

        self._runner: asyncio.Runner | None = asyncio.Runner()

    def run(self, awaitable: Awaitable[Any]) -> Any:
        assert self._runner is not None
        # Its own context would be the one of its first call: another outcome's.
        return self._runner.run(_wait_for(awaitable), context=copy_context())

    def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def __del__(self) -> None:
        self.close()


class _Job:
    """An awaitable on its way through the helper thread."""

    def __init__(self, awaitable: Awaitable[Any], context: Context) -> None:
        self.awaitable = awaitable
        self.context = context
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = threading.Event()
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> None:
        try:
            self.result = self.context.run(run_awaitable, self._cancellable())
        except BaseException as error:  # it is raised in the thread that waits
            self.error = error
        self.finished.set()

    async def _cancellable(self) -> Any:
        import asyncio

        self._task = asyncio.current_task()
        return await self.awaitable

    def cancel(self) -> None:
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)


class _HelperThread:
    """A thread that waits for awaitables on behalf of a thread whose loop is running."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=_run_jobs, args=(self._jobs,), name="crystallize-await", daemon=True
        )
        self._thread.start()

    def run(self, awaitable: Awaitable[Any]) -> Any:
        job = _Job(awaitable, copy_context())
        self._jobs.put(job)
        try:
            job.finished.wait()
        except BaseException:  # Ctrl-C: nothing goes on behind the user's back
            job.cancel()
            job.finished.wait()
            raise
        if job.error is not None:
            raise job.error
        return job.result

    def close(self) -> None:
        self._jobs.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __del__(self) -> None:
        self._jobs.put(None)


def _run_jobs(jobs: SimpleQueue[_Job | None]) -> None:
    try:
        while (job := jobs.get()) is not None:
            job.run()
    finally:
        close_loop()
