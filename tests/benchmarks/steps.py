"""The work that the scenarios do: plain functions, so that every peer does the same."""

from __future__ import annotations

import asyncio
import time
from typing import Any

WORK_SECONDS = 0.005


class Payload:
    """A large object that is no array, list or dictionary."""

    def __init__(self, megabytes: int) -> None:
        import numpy as np

        self.values = np.ones(megabytes * 125_000)


def shift(data: float, ctx: Any) -> float:
    """Add the treatment's setting."""
    return data + ctx.get("delta", 0.0)


def double(data: float, ctx: Any) -> float:
    """Multiply by two."""
    return data * 2.0


def record(data: float, ctx: Any) -> float:
    """Record one metric."""
    ctx.metrics.add("value", data)
    return data


def record_three(data: float, ctx: Any) -> float:
    """Record three metrics, each a number of its own."""
    replicate = ctx["replicate"]
    ctx.metrics.add("first", replicate + 0.25)
    ctx.metrics.add("second", replicate + 0.5)
    ctx.metrics.add("third", replicate + 0.75)
    return data


def pass_on(data: Any, ctx: Any) -> Any:
    """Return the data as they came."""
    return data


def read_array(data: Any, ctx: Any) -> Any:
    """Look at one value of the array in the context."""
    return data + ctx["large"][0]


def read_payload(data: Any, ctx: Any) -> Any:
    """Look at one value of the object in the context."""
    return data + ctx["large"].values[0]


def burn() -> float:
    """Use 5 ms of this thread's processor time; return when that began."""
    started = time.perf_counter()
    until = time.thread_time() + WORK_SECONDS
    while time.thread_time() < until:
        sum(range(200))
    return started


def work(data: Any, ctx: Any) -> Any:
    """Use 5 ms of processor time and record when that began."""
    ctx.metrics.add("started", burn())
    return data


def no_work(data: Any, ctx: Any) -> Any:
    """Record when this began."""
    ctx.metrics.add("started", time.perf_counter())
    return data


def touch_payload(data: Any, ctx: Any) -> Any:
    """Look at the large object in the context and record when this began."""
    started = time.perf_counter()
    ctx["large"].values[0]
    ctx.metrics.add("started", started)
    return data


def nap(data: Any, ctx: Any) -> Any:
    """Sleep for 5 ms."""
    time.sleep(0.005)
    return data


async def nap_async(data: Any, ctx: Any) -> Any:
    """Sleep for 10 ms, without a thread."""
    await asyncio.sleep(0.010)
    return data
