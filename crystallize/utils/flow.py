"""One path through the engine for synchronous and asynchronous steps.

The engine is written as generators that yield what wants awaiting and are sent the result. A synchronous
pipeline never yields, so it never touches an event loop; an asynchronous one is driven by whoever has a loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Flow: TypeAlias = Generator[Awaitable[Any], Any, T]
"""A computation that yields awaitables, is sent their results and returns a ``T``."""


def drive(flow: Flow[T], on_await: Callable[[], None] | None = None) -> T:
    """Run `flow` to its end in a thread that has no event loop running, or may block the one it has.

    Parameters
    ----------
    flow : Flow
        The computation.
    on_await : callable, optional
        Called before the first awaitable is awaited, if there is one.
    """
    value: Any = None
    raised: BaseException | None = None
    try:
        awaitable = next(flow)
        if on_await is not None:
            on_await()
        from crystallize.utils.aio import run_awaitable

        while True:
            try:
                value, raised = run_awaitable(awaitable), None
            except BaseException as error:  # the flow decides what an error means, whatever its kind
                raised = error
            # After the handler, or each later error of the flow would count as raised while this one was handled.
            awaitable = flow.send(value) if raised is None else flow.throw(raised)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        raised = None  # it refers to this frame


def _is_cancelled() -> bool:
    import asyncio

    try:
        task = asyncio.current_task()
    except RuntimeError:  # a child that a step has forked has no loop
        return False
    return task is not None and task.cancelling() > 0


async def adrive(flow: Flow[T]) -> T:
    """Run `flow` to its end on the running event loop.

    If the task that it runs in is cancelled, the flow is closed. A cancellation of something that the flow awaits is an
    error like any other.
    """
    value: Any = None
    raised: BaseException | None = None
    try:
        awaitable = next(flow)
        while True:
            try:
                value, raised = await awaitable, None
            except BaseException as error:
                if _is_cancelled():
                    flow.close()
                    raise
                raised = error
            awaitable = flow.send(value) if raised is None else flow.throw(raised)  # as above
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        raised = None
