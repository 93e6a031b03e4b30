"""What the three scenarios with processes (S4a, S4b, S4c) share.

Two workers. ``pool`` is ``concurrent.futures.ProcessPoolExecutor.map`` with chunks and an initializer that
gets the experiment's payload once per worker; it starts its workers by forkserver, like we do, and the
forkserver has what the workers need imported already.

Each replicate returns when it began, on the clock that all processes of a machine share, so every peer is
measured in the same three ways:

* ``warm``: the whole run in a process that has run one before: new workers, but the forkserver is up
  (joblib keeps its workers, which is its design);
* ``cold``: the whole first run of a process, forkserver and imports in the workers included;
* ``started``: from the beginning of the first replicate to the end of the run, so without the start of
  the workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import steps
from harness import OURS, PREDECESSOR, Budget, Measure, Reading, Scenario, Variant, repeat

WORKERS = 2
CHUNKS_PER_WORKER = 8
Run = Callable[[], Iterable[float]]

_payload: Any = None


def receive(payload: Any) -> None:
    """Keep what the worker was given when it started."""
    global _payload
    _payload = payload


def burn(replicate: int) -> float:
    """Do 5 ms of work."""
    return steps.burn()


def no_work(replicate: int) -> float:
    """Do nothing."""
    return time.perf_counter()


def touch(replicate: int) -> float:
    """Look at the payload."""
    started = time.perf_counter()
    _payload.values[0]
    return started


def touch_given(payload: Any, replicate: int) -> float:
    """Look at a payload that came with the call."""
    started = time.perf_counter()
    payload.values[0]
    return started


def per_replicate(run: Run, replicates: int, variant: str, *, fresh: bool = True) -> Reading:
    """Time a run in one of the three ways, per replicate, in microseconds."""

    def once() -> float:
        before = time.perf_counter()
        first = min(run())
        after = time.perf_counter()
        return (after - (first if variant == "started" else before)) / replicates * 1e6

    return repeat(once, rounds=1 if variant == "cold" else 5, warm_up=variant != "cold", fresh=fresh)


def pool(task: Callable[[int], float], payload: Any, replicates: int) -> list[float]:
    """Run the replicates in a new pool."""
    chunk = max(1, replicates // (WORKERS * CHUNKS_PER_WORKER))
    forkserver = get_context("forkserver")
    forkserver.set_forkserver_preload(["processes"] if payload is None else ["processes", "numpy"])
    with ProcessPoolExecutor(
        WORKERS, mp_context=forkserver, initializer=receive, initargs=(payload,)
    ) as executor:
        return list(executor.map(task, range(replicates), chunksize=chunk))


def joblib(task: Callable[[int], float], payload: Any, replicates: int) -> list[float]:
    """Run the replicates in loky's workers."""
    from joblib import Parallel, delayed

    if payload is None:
        return Parallel(n_jobs=WORKERS)(delayed(task)(i) for i in range(replicates))
    return Parallel(n_jobs=WORKERS)(delayed(touch_given)(payload, i) for i in range(replicates))


def crystallize(step: str, replicates: int, initial: Mapping[str, Any] | None) -> Run:
    """Build an Experiment with one step and return what runs it in two processes."""
    import api

    from crystallize import ParallelExecution

    execution = ParallelExecution(max_workers=WORKERS, executor_type="process")
    subject = api.experiment(getattr(api, step), plugins=[execution], initial_ctx=dict(initial or {}))
    return lambda: api.run(subject, replicates).metrics.baseline.metrics["started"]


def scenario(
    name: str,
    title: str,
    sizes: tuple[int, ...],
    task: Callable[[int], float],
    step: str,
    budget: Budget,
    *,
    stated: int,
    megabytes: int = 0,
    largest: Mapping[str, int] | None = None,
) -> Scenario:
    """Declare one of the three scenarios."""

    def payload() -> steps.Payload | None:
        return steps.Payload(megabytes) if megabytes else None

    def bare(size: int, variant: str) -> Reading:
        receive(payload())
        return per_replicate(lambda: [task(i) for i in range(size)], size, variant)

    def in_pool(size: int, variant: str) -> Reading:
        held = payload()
        return per_replicate(lambda: pool(task, held, size), size, variant)

    def in_joblib(size: int, variant: str) -> Reading:
        held = payload()
        # Its workers outlive a round, and start in the folder that the round was in.
        return per_replicate(lambda: joblib(task, held, size), size, variant, fresh=False)

    def in_crystallize(size: int, variant: str) -> Reading:
        initial = {"large": payload()} if megabytes else None
        return per_replicate(crystallize(step, size, initial), size, variant)

    peers: dict[str, Measure] = {
        "bare": bare,
        "pool": in_pool,
        "joblib": in_joblib,
        OURS: in_crystallize,
        PREDECESSOR: in_crystallize,
    }
    limits = largest or {}
    return Scenario(
        name=name,
        title=title,
        size="replicates",
        sizes=sizes,
        peers=peers,
        stated=(stated,),
        variants=(
            Variant("warm", "us/replicate", (budget,), "forkserver up, new workers", largest=limits),
            Variant("cold", "us/replicate", (budget,), "first run of a process", largest=limits),
            Variant("started", "us/replicate", (budget,), "without the workers' start", largest=limits),
        ),
    )
