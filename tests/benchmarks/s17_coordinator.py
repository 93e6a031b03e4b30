"""S17: one coordinator and many workers, which are simulated: what an outcome costs, and what a worker.

``driver`` is the pool driver with a simulated transport, whose own work (a queue of events by time) is part of the
figure. ``queue`` is as much of it as nobody can do without: the same results, pickled, through a queue.
"""

from __future__ import annotations

import pickle
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

from harness import OURS, Budget, Reading, Scenario, Variant, memory, repeat, time_each

OUTCOMES_PER_WORKER = 10
FEWEST_OUTCOMES = 50_000


def outcomes(workers: int) -> int:
    """Return how many replicates are run."""
    return max(FEWEST_OUTCOMES, OUTCOMES_PER_WORKER * workers)


def bare_queue(size: int, variant: str) -> Reading:
    """Pickled results through a queue."""
    count = outcomes(size)

    def run() -> list[int]:
        queue: SimpleQueue[bytes] = SimpleQueue()
        for replicate in range(count):
            queue.put(pickle.dumps(replicate))
        return [pickle.loads(queue.get()) for _ in range(count)]

    if variant == "memory":
        return repeat(lambda: memory(run, peak=True) / size / 1024, rounds=1, warm_up=False)
    return time_each(run, count)


def crystallize(size: int, variant: str) -> Reading:
    """The driver, and workers that take a second for a replicate."""
    from crystallize.plugins.execution import PoolDriver, ResultCollector
    from crystallize.testing.simulation import SimulatedTransport

    count = 2 * size if variant == "memory" else outcomes(size)

    def run() -> Any:
        experiment = SimpleNamespace(owed=iter(range(count)), replicate_done=lambda result: None)
        collector = ResultCollector(experiment, progress=False)
        driver = PoolDriver(SimulatedTransport(size), collector, lambda replicate: None)
        driver.run()
        return driver

    if variant == "memory":
        return repeat(lambda: memory(run, peak=True) / size / 1024, rounds=1, warm_up=False)
    return time_each(run, count)


SCENARIO = Scenario(
    name="S17",
    title="one coordinator, simulated workers",
    size="workers",
    sizes=(10, 1_000, 10_000),
    peers={"queue": bare_queue, OURS: crystallize},
    variants=(
        Variant("time", "us/outcome", (Budget(30),)),
        Variant("memory", "KB/worker", (Budget(10),), "at the highest, simulated workers included"),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
