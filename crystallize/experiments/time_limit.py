"""The time that one outcome may take, where nobody can kill what takes too long."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.errors import OutcomeTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from crystallize.utils.flow import Flow

T = TypeVar("T")

_logger = logging.getLogger("crystallize.experiment")


def timeout_error(replicate: int, condition: str, seconds: float) -> OutcomeTimeoutError:
    """Return the error of an outcome that took too long; the same under every strategy."""
    return OutcomeTimeoutError(
        f"it took more than {seconds:g} seconds",
        f"replicate {replicate}, condition {condition!r}",
        "Give the experiment a longer timeout, or look at this outcome alone with a debugger",
    )


def limited(flow: Flow[T], error: OutcomeTimeoutError, seconds: float) -> Flow[T]:
    """Drive `flow`, and cancel what it awaits when its time is over.

    Raises
    ------
    OutcomeTimeoutError
        `error`, if it took more than `seconds`: in place of what was awaited, or at the end if it cannot be stopped.
    """
    end = time.monotonic() + seconds
    value: Any = None
    raised: BaseException | None = None
    while True:
        try:
            awaitable = flow.send(value) if raised is None else flow.throw(raised)
        except StopIteration as returned:
            if time.monotonic() > end:
                raise error from None
            result: T = returned.value
            return result
        except Exception as failure:
            if failure is not error and time.monotonic() > end:
                raise error from failure
            raise
        value = raised = None
        try:
            value = yield _until(end, awaitable, error)
        except GeneratorExit:
            flow.close()
            raise
        except BaseException as failure:
            raised = failure


async def _until(end: float, awaitable: Awaitable[Any], error: OutcomeTimeoutError) -> Any:
    import asyncio

    try:
        async with asyncio.timeout(max(0.0, end - time.monotonic())) as scope:
            return await awaitable
    except TimeoutError:
        if scope.expired():
            raise error from None
        raise  # the step's own


@contextmanager
def reported(flow: Flow[Any], replicate: int, condition: str, seconds: float) -> Iterator[None]:
    """Warn when `flow` takes longer than `seconds` and cannot be stopped, while it does."""
    is_over = threading.Event()
    wait = min(seconds, threading.TIMEOUT_MAX)

    def watch() -> None:
        if is_over.wait(wait):
            return
        # What is awaited is cancelled now, if it lets the event loop do so.
        if inspect.getgeneratorstate(flow) != inspect.GEN_RUNNING and is_over.wait(wait):
            return
        _logger.warning(
            "replicate %d under condition %r takes more than %g seconds. A step that does not await cannot be stopped "
            'in this process, so its outcome fails when it is through; execution="process" kills it',
            replicate,
            condition,
            seconds,
        )

    # In a copy of the context, by which a strategy may know whose a record of the log is.
    threading.Thread(target=copy_context().run, args=(watch,), daemon=True).start()
    try:
        yield
    finally:
        is_over.set()
