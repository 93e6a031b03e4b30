"""One path through the engine for synchronous and asynchronous steps.

The engine is written as generators that yield what wants awaiting and are sent the result. A synchronous
pipeline never yields, so it never touches an event loop; an asynchronous one is driven by whoever has a loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Flow: TypeAlias = Generator[Awaitable[Any], Any, T]
"""A computation that yields awaitables, is sent their results and returns a ``T``."""


def drive(flow: Flow[T]) -> T:
    """Run `flow` to its end in a thread that has no event loop running, or may block the one it has."""
    try:
        awaitable = next(flow)
        from crystallize.utils.aio import run_awaitable

        while True:
            try:
                value = run_awaitable(awaitable)
            except BaseException as error:  # the flow decides what an error means, whatever its kind
                awaitable = flow.throw(error)
            else:
                awaitable = flow.send(value)
    except StopIteration as end:
        result: T = end.value
        return result


async def adrive(flow: Flow[T]) -> T:
    """Run `flow` to its end on the running event loop."""
    try:
        awaitable = next(flow)
        while True:
            try:
                value = await awaitable
            except BaseException as error:
                awaitable = flow.throw(error)
            else:
                awaitable = flow.send(value)
    except StopIteration as end:
        result: T = end.value
        return result
