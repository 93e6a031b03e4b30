"""S7b: artifacts of 50 MB, one in each replicate: throughput of the whole run, and memory above the start."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import artifacts
from harness import (
    OURS,
    PREDECESSOR,
    Budget,
    Reading,
    Scenario,
    Variant,
    fresh_folder,
    memory,
    repeat,
    seconds,
)

MEGABYTES = 50


def content() -> bytes:
    """Make bytes that occupy memory of their own."""
    return os.urandom(1_000_000) * MEGABYTES


def reading(run: Callable[[int], object], size: int, variant: str) -> Reading:
    """Take gigabytes per second, or the peak of memory in megabytes above the start."""
    if variant == "memory":
        return repeat(lambda: memory(lambda: run(size), peak=True) / 1e6, rounds=1)
    return repeat(lambda: size * MEGABYTES / 1e3 / seconds(lambda: run(size)))


def atomic(size: int, variant: str) -> Reading:
    """Written beside and renamed, with few system calls."""
    held = content()

    def run(count: int) -> None:
        Path("data/experiment/v0").mkdir(parents=True)
        for replicate in range(count):
            artifacts.write_atomic(replicate, held)

    return reading(run, size, variant)


def crystallize(size: int, variant: str) -> Reading:
    """The same in an Experiment with its default plugins."""
    held = content()
    run = artifacts.run(held, size, writes=True)
    with fresh_folder():
        run()
        artifacts.check(size, held)
    return reading(lambda count: run(), size, variant)


SCENARIO = Scenario(
    name="S7b",
    title="artifacts of 50 MB",
    size="artifacts",
    sizes=(5, 20, 60),
    peers={"atomic": atomic, OURS: crystallize, PREDECESSOR: crystallize},
    stated=(20,),
    variants=(
        Variant("plain", "GB/s", (Budget(0.9, "atomic", at_least=True),), "throughput of the whole run"),
        Variant("memory", "MB above", (Budget(2),), "peak (tracemalloc)"),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
