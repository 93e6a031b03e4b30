"""S2: a large array passed through three steps, per step.

The data source holds the array, each step returns what it got. No step is cacheable, so nothing needs to look
into the array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import steps
from harness import OURS, PREDECESSOR, Budget, Reading, Scenario, Variant, time_each

REPLICATES = 200
COUNT_OF_STEPS = 3


def array(size: int) -> Any:
    """Make an array of `size` megabytes."""
    import numpy as np

    return np.ones(size * 125_000)


def per_step(run: Callable[[], object], replicates: int = REPLICATES) -> Reading:
    """Time a run, per step, in microseconds."""
    return time_each(run, replicates * COUNT_OF_STEPS)


def bare(size: int, variant: str) -> Reading:
    """Three nested calls."""
    data = array(size)

    def run() -> None:
        for _ in range(REPLICATES):
            steps.pass_on(steps.pass_on(steps.pass_on(data, None), None), None)

    return per_step(run)


def memcpy(size: int, variant: str) -> Reading:
    """One copy of the array for each step."""
    import numpy as np

    data = array(size)
    target = np.empty_like(data)
    copies = 30

    def run() -> None:
        for _ in range(copies):
            np.copyto(target, data)

    return time_each(run, copies)


def floor(size: int, variant: str) -> Reading:
    """The documented semantics by hand: see floor.py."""
    from floor import run_floor

    data = array(size)
    return per_step(lambda: run_floor([steps.pass_on] * COUNT_OF_STEPS, lambda ctx: data, REPLICATES))


def pipefunc(size: int, variant: str) -> Reading:
    """A pipefunc pipeline of three functions."""
    from pipefunc import PipeFunc, Pipeline

    def first(data: Any) -> Any:
        return data

    def second(first: Any) -> Any:
        return first

    def third(second: Any) -> Any:
        return second

    pipeline = Pipeline([PipeFunc(step, step.__name__) for step in (first, second, third)])
    data = array(size)
    return per_step(lambda: [pipeline("third", data=data) is data for _ in range(REPLICATES)])


def hamilton(size: int, variant: str) -> Reading:
    """A Hamilton driver over three nodes."""
    from hamilton import ad_hoc_utils, driver

    def first(data: Any) -> Any:
        return data

    def second(first: Any) -> Any:
        return first

    def third(second: Any) -> Any:
        return second

    module = ad_hoc_utils.create_temporary_module(first, second, third, module_name="benchmark_nodes")
    dag = driver.Builder().with_modules(module).build()
    inputs = {"data": array(size)}
    return per_step(lambda: [dag.execute(["third"], inputs=inputs) is None for _ in range(REPLICATES)])


def crystallize(size: int, variant: str) -> Reading:
    """The same steps in an Experiment with its default plugins."""
    import api

    subject = api.experiment(*[api.pass_on] * COUNT_OF_STEPS, source=api.Held(array(size)))
    return per_step(lambda: api.run(subject, REPLICATES))


def predecessor(size: int, variant: str) -> Reading:
    """The same with fewer replicates: the time grows with the array."""
    import api

    replicates = max(2, 50 // size)
    subject = api.experiment(*[api.pass_on] * COUNT_OF_STEPS, source=api.Held(array(size)))
    return per_step(lambda: api.run(subject, replicates), replicates)


SCENARIO = Scenario(
    name="S2",
    title="a large array passed through 3 steps",
    size="megabytes",
    sizes=(1, 8, 80),
    peers={
        "bare": bare,
        "memcpy": memcpy,
        "floor": floor,
        "pipefunc": pipefunc,
        "hamilton": hamilton,
        OURS: crystallize,
        PREDECESSOR: predecessor,
    },
    variants=(Variant("plain", "us/step", (Budget(20),), f"{REPLICATES} replicates of the baseline"),),
)

if __name__ == "__main__":
    SCENARIO.main()
