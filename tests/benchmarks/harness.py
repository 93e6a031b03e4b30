"""What the benchmark scripts share: how a peer is called, timed and reported.

A script declares one :class:`Scenario` and ends with ``SCENARIO.main()``. Called as
``python s01_serial_overhead.py --peer floor --size 1000`` it measures one peer at one size and prints one
JSON line. ``run.py`` calls the scripts in turn and makes the table. This module needs the standard library
only, because it runs in the environments of all peers.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

OURS = "crystallize"
PREDECESSOR = "crystallize-ml"

DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    OURS: ("crystallize-lab", "numpy"),
    PREDECESSOR: ("crystallize-ml", "numpy"),
    "hamilton": ("sf-hamilton", "numpy"),
    "pipefunc": ("pipefunc", "numpy"),
    "sacred": ("sacred",),
    "joblib": ("joblib", "loky", "numpy"),
    "typer": ("typer",),
    "pluggy": ("pluggy",),
}
"""Whose versions are reported for a peer; for all others it is NumPy's."""


class NotComparableError(Exception):
    """The peer cannot do what this variant asks for; the table shows a dash."""


class Reading(NamedTuple):
    """A figure and the number of rounds in this process that it is the median of."""

    figure: float
    rounds: int


@dataclass(frozen=True)
class Budget:
    """What our figure must not exceed: `limit` times the peer `against`, or `limit` itself.

    With ``at_least`` the figure must not fall short of it.
    """

    limit: float
    against: str | None = None
    at_least: bool = False

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.limit:g}" + (f" x {self.against}" if self.against else "")

    def bound(self, figures: Mapping[str, float]) -> float | None:
        """Return the bound in the scenario's unit, or None if the peer has no figure."""
        if self.against is None:
            return self.limit
        return self.limit * figures[self.against] if self.against in figures else None

    def is_met(self, figure: float, bound: float) -> bool:
        """Tell whether `figure` keeps `bound`."""
        return figure >= bound if self.at_least else figure <= bound


Measure = Callable[[int, str], Reading]
"""What measures one peer: called with the size and the variant."""


@dataclass(frozen=True)
class Variant:
    """One way to run a scenario: its unit, its budgets, and up to which size a slow peer is asked."""

    name: str
    unit: str
    budgets: tuple[Budget, ...] = ()
    says: str = ""
    sizes: tuple[int, ...] = ()
    largest: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """A row of the performance table."""

    name: str
    title: str
    size: str
    sizes: tuple[int, ...]
    peers: Mapping[str, Measure]
    variants: tuple[Variant, ...]
    stated: tuple[int, ...] = ()
    """The sizes that the budgets are stated for; by default all. At the others the table shows growth."""
    repeats: bool = True
    """Whether another round can give another figure; traced memory does not change."""

    def variant(self, name: str) -> Variant:
        """Return the variant `name`."""
        return next(variant for variant in self.variants if variant.name == name)

    def main(self) -> None:
        """Measure what the command line asks for and print one JSON line; exit with 1 if the peer failed."""
        parser = argparse.ArgumentParser(description=f"{self.name}: {self.title}")
        parser.add_argument("--peer", choices=list(self.peers), default=OURS)
        parser.add_argument("--size", type=int, default=self.sizes[0], help=self.size)
        names = [variant.name for variant in self.variants]
        parser.add_argument("--variant", choices=names, default=names[0])
        asked = parser.parse_args()
        line = {
            "scenario": self.name,
            "variant": asked.variant,
            "peer": asked.peer,
            "size": asked.size,
            "figure": None,
            "unit": self.variant(asked.variant).unit,
            "rounds": 0,
            "versions": versions(asked.peer),
        }
        failed = False
        try:
            with fresh_folder():
                reading = self.peers[asked.peer](asked.size, asked.variant)
            line.update(figure=reading.figure, rounds=reading.rounds)
        except NotComparableError as reason:
            line["not_comparable"] = str(reason)
        except Exception as exc:
            traceback.print_exc()
            line["error"] = f"{type(exc).__name__}: {exc}"
            failed = True
        print(json.dumps(line), flush=True)
        sys.exit(failed)


def versions(peer: str) -> dict[str, str]:
    """Return the versions of Python and of the distributions that the peer's figure depends on."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS.get(peer, ("numpy",)):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """Work in a new folder in memory (where the machine has ``/dev/shm``) and remove it afterwards."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="crystallize-bench-", dir=memory if memory.is_dir() else None)
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield Path(folder)
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def repeat(
    once: Callable[[], float],
    *,
    rounds: int = 5,
    warm_up: bool = True,
    patience: float = 6.0,
    fresh: bool = True,
) -> Reading:
    """Take the median of what `once` returns, each time called in a fresh folder, unless `fresh` is False.

    The first call is a warm-up that does not count, unless it alone took longer than `patience` seconds;
    no further round starts when that many seconds have gone.
    """
    figures: list[float] = []
    started = time.perf_counter()
    for attempt in range(rounds + warm_up):
        with fresh_folder() if fresh else nullcontext():
            gc.collect()
            figure = once()
        spent = time.perf_counter() - started
        if attempt > 0 or not warm_up or spent > patience:
            figures.append(figure)
        if spent > patience:
            break
    return Reading(statistics.median(figures), len(figures))


def seconds(run: Callable[[], object]) -> float:
    """Return how long `run` takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def time_each(run: Callable[[], object], count: int, *, scale: float = 1e6, **options: float) -> Reading:
    """Return what one of the `count` parts of `run` takes, in microseconds unless `scale` says otherwise."""
    return repeat(lambda: seconds(run) / count * scale, **options)  # type: ignore[arg-type]


def memory(run: Callable[[], object], *, peak: bool) -> float:
    """Return the bytes that are held after `run`, or at its peak, above what there was at its start.

    The return value of `run` is alive when the memory is read.
    """
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = run()
        gc.collect()
        held, highest = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return (highest if peak else held) - before
