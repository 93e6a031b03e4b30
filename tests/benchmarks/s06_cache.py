"""S6: what it takes to get a step's output from the cache, per hit.

``floor`` is a cache by hand, in the experiment by hand of ``floor.py``: it hashes the input with xxh3, opens the file
of that name, and unpickles it with the arrays' memory read in one piece. It neither checks what it reads nor follows
what else a step reads.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import OURS, Budget, NotComparableError, Reading, Scenario, Variant, memory, time_each

REPLICATES = {"dict": 500, "dicts": 500, "array": 5, "chain": 5, "frame": 5, "array-memory": 2, "miss": 5}
LENGTH = {"chain": 3}


def value(size: int, variant: str) -> Any:
    """Make the input: a small dict, an array of `size` megabytes, or a data frame of `size` million rows."""
    import numpy as np

    if variant in ("dict", "dicts"):
        return {"lr": 0.1, "depth": 3, "weights": [0.25, 0.5, 0.25], "name": "first"}
    if variant == "frame":
        import pandas as pd

        rows = np.arange(size * 1_000_000)
        return pd.DataFrame({"number": rows, "share": rows / 7.0, "group": rows % 5})
    return np.arange(size * 125_000, dtype=float)


def inputs(size: int, variant: str) -> list[Any]:
    """Make the input of each replicate: the same object, or in ``dicts`` a dict of its own."""
    data = value(size, variant)
    count = REPLICATES[variant]
    return [{**data, "depth": number} for number in range(count)] if variant == "dicts" else [data] * count


class Each:
    """A data source that gives each replicate its own input."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def fetch(self, ctx: Any) -> Any:
        """Return the input of the replicate."""
        return self.values[ctx["replicate"]]


def per_hit(run: Callable[[], object], variant: str) -> Reading:
    """Time a run, per hit, in microseconds; or its peak of memory, in megabytes."""
    if variant.endswith("memory"):
        run()
        return Reading(memory(run, peak=True) / 1e6, 1)
    return time_each(run, REPLICATES[variant], fresh=False)


def floor(size: int, variant: str) -> Reading:
    """A cache by hand: hash, open, unpickle."""
    import xxhash
    from floor import run_floor

    if variant == "miss":
        raise NotComparableError("what it would store, nobody would check")
    given = inputs(size, variant)

    def digest(given: Any) -> str:
        buffers: list[pickle.PickleBuffer] = []
        body = pickle.dumps(given, protocol=5, buffer_callback=buffers.append)
        hasher = xxhash.xxh3_128(body)
        for buffer in buffers:
            hasher.update(buffer.raw())
        return hasher.hexdigest()

    folder = Path("by-hand")
    folder.mkdir(exist_ok=True)
    for data in given if variant == "dicts" else given[:1]:
        buffers: list[pickle.PickleBuffer] = []
        body = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
        name = digest(data)
        (folder / name).write_bytes(body)
        for number, buffer in enumerate(buffers):
            (folder / f"{name}.{number}").write_bytes(buffer.raw())

    def step(data: Any, ctx: Any) -> Any:
        name = digest(data)
        body = (folder / name).read_bytes()
        parts = [bytearray((folder / f"{name}.{number}").stat().st_size) for number in range(len(buffers))]
        for number, part in enumerate(parts):
            with (folder / f"{name}.{number}").open("rb", buffering=0) as file:
                file.readinto(part)
        return pickle.loads(body, buffers=parts)

    source = Each(given).fetch
    return per_hit(lambda: run_floor([step], source, len(given)), variant)


def joblib(size: int, variant: str) -> Reading:
    """A joblib.Memory, which maps arrays into memory."""
    from joblib import Memory

    cached = Memory("joblib", mmap_mode="c", verbose=0).cache(_same)
    given = inputs(size, variant)

    def run() -> None:
        if variant == "miss":
            cached.clear(warn=False)
        for data in given:
            for _ in range(LENGTH.get(variant, 1)):
                cached(data)

    run()
    return per_hit(run, variant)


def _same(data: Any) -> Any:
    return data.copy()


def crystallize(size: int, variant: str) -> Reading:
    """Cacheable steps in an Experiment that stores no run; every step makes a value of its own."""
    import api

    from crystallize import Experiment, pipeline_step

    steps = [pipeline_step(cacheable=True)(_same)] * LENGTH.get(variant, 1)
    given = inputs(size, variant)
    experiment = Experiment(
        Each(given) if variant == "dicts" else api.Held(given[0]),
        steps,
        seed=1,
        disable_plugins=["artifact"],
        cache="refresh" if variant == "miss" else True,
    )

    def run() -> None:
        experiment.run(replicates=REPLICATES[variant]).raise_for_errors()

    run()
    return per_hit(run, variant)


SCENARIO = Scenario(
    name="S6",
    title="an output from the step cache",
    size="size",
    sizes=(1, 10, 100),
    peers={"floor": floor, "joblib": joblib, OURS: crystallize},
    stated=(1, 100),
    variants=(
        Variant("dict", "us/hit", (Budget(2, "floor"),), "a small dict, whatever the size", sizes=(1,)),
        Variant("dicts", "us/hit", (), "a small dict for each replicate", sizes=(1,)),
        Variant("array", "us/hit", (Budget(5, "floor"),), "an array of so many megabytes, read into memory"),
        Variant("chain", "us/replicate", (), "three cached steps, one after the other, over it"),
        Variant("array-memory", "MB", (), "peak (tracemalloc) of two hits"),
        Variant("frame", "us/hit", (Budget(3, "floor"),), "a data frame of so many million rows", sizes=(1,)),
        Variant("miss", "us/miss", (), "the array is stored, and checked"),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
