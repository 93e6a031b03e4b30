"""S5a: replicates that sleep 5 ms in 32 threads, per replicate."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from harness import OURS, PREDECESSOR, Budget, Reading, Scenario, Variant, time_each

WORKERS = 32
NAP = 0.005


def nap(replicate: int) -> float:
    """Sleep."""
    time.sleep(NAP)
    return 1.0


def ideal(size: int, variant: str) -> Reading:
    """What perfect threads would need: computed, not measured."""
    return Reading(-(-size // WORKERS) * NAP / size * 1e6, 1)


def bare(size: int, variant: str) -> Reading:
    """A thread pool's map."""

    def run() -> list[float]:
        with ThreadPoolExecutor(WORKERS) as executor:
            return list(executor.map(nap, range(size)))

    return time_each(run, size)


def joblib(size: int, variant: str) -> Reading:
    """The threads of joblib."""
    from joblib import Parallel, delayed

    def run() -> list[float]:
        return Parallel(n_jobs=WORKERS, prefer="threads")(delayed(nap)(i) for i in range(size))

    return time_each(run, size)


def crystallize(size: int, variant: str) -> Reading:
    """The same in an Experiment with its default plugins."""
    import api

    from crystallize import ParallelExecution

    execution = ParallelExecution(max_workers=WORKERS, executor_type="thread")
    subject = api.experiment(api.nap, plugins=[execution])
    return time_each(lambda: api.run(subject, size), size)


SCENARIO = Scenario(
    name="S5a",
    title="32 threads, replicates that sleep 5 ms",
    size="replicates",
    sizes=(64, 200, 800, 3_200),
    peers={"ideal": ideal, "bare": bare, "joblib": joblib, OURS: crystallize, PREDECESSOR: crystallize},
    stated=(200,),
    variants=(Variant("plain", "us/replicate", (Budget(1.2, "bare"),)),),
)

if __name__ == "__main__":
    SCENARIO.main()
