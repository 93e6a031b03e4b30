"""S9: memory per replicate, baseline and two treatments with three metrics each, above the start of the run.

Traced by tracemalloc, with the result alive: ``held`` at the end of the run, ``peak`` at its highest. What
the run itself needs once is divided by the replicates like all else, so the largest size tells most.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

from harness import OURS, PREDECESSOR, Budget, Reading, Scenario, Variant, memory, repeat

METRICS = 3
TREATMENTS: dict[str, dict[str, Any]] = {"plus": {}, "minus": {}}
CONDITIONS = 1 + len(TREATMENTS)
BUDGET = (Budget(3, "arrays"),)
LARGEST = {PREDECESSOR: 10_000}


def per_replicate(run: Callable[[int], object], size: int, variant: str) -> Reading:
    """Take the bytes per replicate."""
    run(10)
    return repeat(
        lambda: memory(lambda: run(size), peak=variant.startswith("peak")) / size, rounds=1, warm_up=False
    )


def collect(make: Callable[[str], Any], size: int) -> list[Any]:
    """Append every value of every metric, and the seed of each outcome."""
    columns = [make("d") for _ in range(CONDITIONS * METRICS)]
    seeds = [make("q") for _ in range(CONDITIONS)]
    for replicate in range(size):
        for i, column in enumerate(columns):
            column.append(replicate + i / 10)
        for column in seeds:
            column.append(replicate * 31337 % 2**32)
    return columns + seeds


def arrays(size: int, variant: str) -> Reading:
    """Arrays of machine numbers that grow."""
    return per_replicate(lambda count: collect(array, count), size, variant)


def lists(size: int, variant: str) -> Reading:
    """Python lists."""
    return per_replicate(lambda count: collect(lambda kind: [], count), size, variant)


def crystallize(size: int, variant: str) -> Reading:
    """An Experiment with its default plugins; the step before the last ones does nothing."""
    import api

    count = int(variant.rpartition("-")[2].removesuffix("steps").removesuffix("step"))
    subject = api.experiment(*[api.pass_on] * (count - 1), api.record_three)
    return per_replicate(lambda replicates: api.run(subject, replicates, TREATMENTS), size, variant)


SCENARIO = Scenario(
    name="S9",
    title="memory per replicate, 3 conditions x 3 metrics",
    size="replicates",
    sizes=(1_000, 10_000, 100_000),
    repeats=False,
    peers={"lists": lists, "arrays": arrays, OURS: crystallize, PREDECESSOR: crystallize},
    variants=(
        Variant("held-1step", "bytes/replicate", BUDGET, "at the end", largest=LARGEST),
        Variant("held-3steps", "bytes/replicate", BUDGET, "at the end", largest=LARGEST),
        Variant("held-6steps", "bytes/replicate", BUDGET, "at the end", largest=LARGEST),
        Variant("peak-3steps", "bytes/replicate", BUDGET, "at the highest", largest=LARGEST),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
