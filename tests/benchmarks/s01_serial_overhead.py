"""S1: what three trivial steps cost under the baseline and two treatments, per step, serially.

Only the run is timed (the experiment is built before): the median of rounds in one process, after a warm-up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import steps
from harness import OURS, PREDECESSOR, Budget, Reading, Scenario, Variant, time_each

TREATMENTS: dict[str, dict[str, Any]] = {"plus": {"delta": 1.0}, "minus": {"delta": -1.0}}
STEPS = (steps.shift, steps.double, steps.record)
CONDITIONS = 1 + len(TREATMENTS)


def extra_keys(variant: str) -> dict[str, Any]:
    """Return the context that the variant starts with."""
    return {f"key_{i}": i for i in range(100)} if variant == "keys100" else {}


def per_step(run: Callable[[], object], replicates: int) -> Reading:
    """Time a run of all conditions, per step, in microseconds."""
    return time_each(run, replicates * CONDITIONS * len(STEPS))


class Settings(dict[str, Any]):
    """The least that the steps need of a context."""

    def __init__(self, initial: dict[str, Any], own: dict[str, Any], collated: list[float]) -> None:
        super().__init__(initial, **own)
        self.metrics = self
        self.collated = collated

    def add(self, name: str, value: float) -> None:
        """Record a value."""
        self.collated.append(value)


def plain(initial: dict[str, Any], replicates: int, *, seeded: bool) -> None:
    """Run the steps in a plain loop."""
    import numpy as np

    for own in ({}, *TREATMENTS.values()):
        ctx = Settings(initial, own, [])
        for replicate in range(replicates):
            if seeded:
                seed = replicate * 31337 % 2**32
                random.seed(seed)
                np.random.seed(seed)
            steps.record(steps.double(steps.shift(1.0, ctx), ctx), ctx)


def bare(size: int, variant: str) -> Reading:
    """A plain loop: no seeds, one mutable context for each condition."""
    return per_step(lambda: plain(extra_keys(variant), size, seeded=False), size)


def bare_seeded(size: int, variant: str) -> Reading:
    """The plain loop, with both global generators seeded for each condition of each replicate."""
    return per_step(lambda: plain(extra_keys(variant), size, seeded=True), size)


def floor(size: int, variant: str) -> Reading:
    """The documented semantics by hand: see floor.py."""
    from floor import run_floor

    def source(ctx: Any) -> float:
        return 1.0

    initial = extra_keys(variant)
    return per_step(
        lambda: run_floor(STEPS, source, size, treatments=TREATMENTS, initial=initial),
        size,
    )


def pipefunc(size: int, variant: str) -> Reading:
    """A pipefunc pipeline of three functions, called for each condition of each replicate."""
    from pipefunc import PipeFunc, Pipeline

    def shifted(data: float, delta: float) -> float:
        return data + delta

    def doubled(shifted: float) -> float:
        return shifted * 2.0

    def value(doubled: float) -> float:
        return doubled

    pipeline = Pipeline([PipeFunc(step, step.__name__) for step in (shifted, doubled, value)])
    initial = extra_keys(variant)
    if initial:
        from harness import NotComparableError

        raise NotComparableError("pipefunc refuses inputs that no function uses")

    def run() -> list[float]:
        deltas = (0.0, *(own["delta"] for own in TREATMENTS.values()))
        return [pipeline("value", data=1.0, delta=delta) for delta in deltas for _ in range(size)]

    return per_step(run, size)


def hamilton(size: int, variant: str) -> Reading:
    """A Hamilton driver over three nodes, executed for each condition of each replicate."""
    from hamilton import ad_hoc_utils, driver

    def shifted(data: float, delta: float) -> float:
        return data + delta

    def doubled(shifted: float) -> float:
        return shifted * 2.0

    def value(doubled: float) -> float:
        return doubled

    module = ad_hoc_utils.create_temporary_module(shifted, doubled, value, module_name="benchmark_nodes")
    dag = driver.Builder().with_modules(module).build()
    initial = extra_keys(variant)

    def run() -> list[float]:
        deltas = (0.0, *(own["delta"] for own in TREATMENTS.values()))
        return [
            dag.execute(["value"], inputs={**initial, "data": 1.0, "delta": delta})["value"]
            for delta in deltas
            for _ in range(size)
        ]

    return per_step(run, size)


def crystallize(size: int, variant: str) -> Reading:
    """The same steps in an Experiment with its default plugins."""
    import api

    options = {"disable_plugins": ["artifact"]} if variant == "unstored" else {}
    subject = api.experiment(api.shift, api.double, api.record, initial_ctx=extra_keys(variant), **options)
    return per_step(lambda: api.run(subject, size, TREATMENTS), size)


SCENARIO = Scenario(
    name="S1",
    title="serial overhead, 3 trivial steps x (baseline + 2 treatments)",
    size="replicates",
    sizes=(100, 1_000, 10_000),
    peers={
        "bare": bare,
        "bare-seeded": bare_seeded,
        "floor": floor,
        "pipefunc": pipefunc,
        "hamilton": hamilton,
        OURS: crystallize,
        PREDECESSOR: crystallize,
    },
    variants=(
        Variant("plain", "us/step", (Budget(2, "floor"),), "default plugins"),
        Variant(
            "unstored",
            "us/step",
            (Budget(1.5, "floor"),),
            "without ArtifactPlugin and its journal",
            largest={PREDECESSOR: 0},
        ),
        Variant(
            "keys100",
            "us/step",
            (Budget(2, "floor"),),
            "100 more keys in the context",
            largest={PREDECESSOR: 1_000},
        ),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
