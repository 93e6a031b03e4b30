"""S12b: experiments of 5 ms that do not depend on each other, at the same time; per experiment.

Each sleeps for 5 ms, and stores its run. Building the graph is not measured.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harness import OURS, Budget, Reading, Scenario, Variant, time_each

WORKERS = 32
NAP = 0.005


def nap(data: Any) -> Any:
    """Sleep."""
    time.sleep(NAP)
    return data


def bare(size: int, variant: str) -> Reading:
    """A thread pool's map, which stores nothing."""

    def run() -> list[Any]:
        with ThreadPoolExecutor(WORKERS) as executor:
            return list(executor.map(nap, range(size)))

    return time_each(run, size)


def crystallize(size: int, variant: str) -> Reading:
    """Run a graph without edges."""
    from crystallize import Experiment, ExperimentGraph

    logging.getLogger("crystallize").setLevel(logging.ERROR)
    graph = ExperimentGraph(
        *(Experiment(lambda: 1.0, [nap], name=f"node_{node}") for node in range(size)),
        max_concurrency=WORKERS,
    )

    def run() -> None:
        if len(graph.run()) != size:
            raise RuntimeError("a result is missing")

    return time_each(run, size)


SCENARIO = Scenario(
    name="S12b",
    title="independent experiments that sleep 5 ms, 32 at a time",
    size="experiments",
    sizes=(50, 200, 800),
    peers={"bare": bare, OURS: crystallize},
    stated=(200,),
    variants=(Variant("plain", "us/experiment", (Budget(2, "bare"),)),),
)

if __name__ == "__main__":
    SCENARIO.main()
