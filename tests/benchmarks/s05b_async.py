"""S5b: replicates that wait 10 ms in one event loop, per replicate."""

from __future__ import annotations

import asyncio

from harness import OURS, PREDECESSOR, Budget, Reading, Scenario, Variant, time_each

NAP = 0.010


def ideal(size: int, variant: str) -> Reading:
    """All waits at once: computed, not measured."""
    return Reading(NAP / size * 1e6, 1)


def bare(size: int, variant: str) -> Reading:
    """One ``asyncio.gather`` in a new event loop."""

    async def nap(replicate: int) -> float:
        await asyncio.sleep(NAP)
        return 1.0

    async def gather() -> list[float]:
        return await asyncio.gather(*(nap(replicate) for replicate in range(size)))

    return time_each(lambda: asyncio.run(gather()), size)


def floor(size: int, variant: str) -> Reading:
    """The gather with what floor.py does for one condition: context, seeds, metrics, provenance."""
    import random

    import numpy as np
    import steps
    from floor import FloorContext

    collated: dict[int, tuple[object, ...]] = {}

    async def one(replicate: int) -> None:
        seed = replicate * 31337 % 2**32
        ctx = FloorContext({}, {}, {"replicate": replicate, "condition": "baseline", "seed_used": seed})
        random.seed(seed)
        np.random.seed(seed)
        await steps.nap_async(1.0, ctx)
        collated[replicate] = (ctx.metrics.values, tuple(ctx.reads.items()))

    async def gather() -> None:
        await asyncio.gather(*(one(replicate) for replicate in range(size)))

    return time_each(lambda: asyncio.run(gather()), size)


def crystallize(size: int, variant: str) -> Reading:
    """The same in an Experiment with its default plugins."""
    import api

    from crystallize.plugins.execution import AsyncExecution

    subject = api.experiment(api.nap_async, plugins=[AsyncExecution()])
    return time_each(lambda: api.run(subject, size), size)


SCENARIO = Scenario(
    name="S5b",
    title="async, replicates that wait 10 ms",
    size="replicates",
    sizes=(500, 2_000, 8_000),
    peers={"ideal": ideal, "bare": bare, "floor": floor, OURS: crystallize, PREDECESSOR: crystallize},
    stated=(2_000,),
    variants=(Variant("plain", "us/replicate", (Budget(1.6, "bare"),)),),
)

if __name__ == "__main__":
    SCENARIO.main()
