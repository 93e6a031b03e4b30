"""S3: a large array, or an object that holds one, in the context and read by each of three steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import steps
from harness import (
    OURS,
    PREDECESSOR,
    Budget,
    NotComparableError,
    Reading,
    Scenario,
    Variant,
    memory,
    repeat,
    time_each,
)

REPLICATES = 200
COUNT_OF_STEPS = 3


def large(size: int, variant: str) -> Any:
    """Make what the context holds."""
    import numpy as np

    return np.ones(size * 125_000) if variant.startswith("array") else steps.Payload(size)


def reader(variant: str) -> Callable[[Any, Any], Any]:
    """Return the step that reads it."""
    return steps.read_array if variant.startswith("array") else steps.read_payload


def reading(run: Callable[[int], object], variant: str, replicates: int = REPLICATES) -> Reading:
    """Take the time per step in microseconds, or the megabytes above what there was before."""
    if variant.endswith("memory"):
        run(1)
        return repeat(lambda: memory(lambda: run(5), peak=True) / 1e6, rounds=3, warm_up=False)
    return time_each(lambda: run(replicates), replicates * COUNT_OF_STEPS)


def bare(size: int, variant: str) -> Reading:
    """Three calls with a dictionary for a context."""
    ctx = {"large": large(size, variant)}
    step = reader(variant)

    def run(replicates: int) -> None:
        for _ in range(replicates):
            step(step(step(1.0, ctx), ctx), ctx)

    return reading(run, variant)


def floor(size: int, variant: str) -> Reading:
    """The documented semantics by hand: see floor.py."""
    from floor import run_floor

    initial = {"large": large(size, variant)}
    pipeline = [reader(variant)] * COUNT_OF_STEPS
    return reading(lambda count: run_floor(pipeline, lambda ctx: 1.0, count, initial=initial), variant)


def pipefunc(size: int, variant: str) -> Reading:
    """A pipefunc pipeline of three functions that share an input."""
    from pipefunc import PipeFunc, Pipeline

    if not variant.startswith("array"):
        raise NotComparableError("the same as with an array: the input is passed on")

    def first(data: float, large: Any) -> float:
        return data + large[0]

    def second(first: float, large: Any) -> float:
        return first + large[0]

    def third(second: float, large: Any) -> float:
        return second + large[0]

    pipeline = Pipeline([PipeFunc(step, step.__name__) for step in (first, second, third)])
    held = large(size, variant)

    def run(replicates: int) -> None:
        for _ in range(replicates):
            pipeline("third", data=1.0, large=held)

    return reading(run, variant)


def crystallize(size: int, variant: str, replicates: int = REPLICATES) -> Reading:
    """The same steps in an Experiment with its default plugins."""
    import api

    step = api.read_array if variant.startswith("array") else api.read_payload
    subject = api.experiment(*[step] * COUNT_OF_STEPS, initial_ctx={"large": large(size, variant)})
    return reading(lambda count: api.run(subject, count), variant, replicates)


def predecessor(size: int, variant: str) -> Reading:
    """The same with fewer replicates: the time grows with the object."""
    return crystallize(size, variant, replicates=3)


SCENARIO = Scenario(
    name="S3",
    title="a large value in the context, read by each of 3 steps",
    size="megabytes",
    sizes=(1, 10, 50),
    peers={"bare": bare, "floor": floor, "pipefunc": pipefunc, OURS: crystallize, PREDECESSOR: predecessor},
    variants=(
        Variant("array", "us/step", (Budget(20),), "a NumPy array"),
        Variant("object", "us/step", (Budget(20),), "an object that holds an array"),
        Variant("array-memory", "MB above", (Budget(1),), "peak (tracemalloc) of 5 replicates"),
        Variant("object-memory", "MB above", (Budget(1),), "peak (tracemalloc) of 5 replicates"),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
