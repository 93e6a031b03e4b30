"""S7a: artifacts of 1 KB in memory, each.

``crystallize`` and ``crystallize-ml`` are measured above the run: the time of a run that writes one artifact
in each replicate, less the time of the same run without writing, the two taken in turn. The raw writers make
the same folders. ``single``: all artifacts in one replicate and one folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import artifacts
from harness import (
    OURS,
    PREDECESSOR,
    Budget,
    NotComparableError,
    Reading,
    Scenario,
    Variant,
    fresh_folder,
    repeat,
    seconds,
    time_each,
)

CONTENT = b"x" * 1024


def raw(write: Callable[[int, bytes], None], size: int) -> Reading:
    """Time one of the raw writers; the version folder exists."""

    def once() -> float:
        Path("data/experiment/v0").mkdir(parents=True)

        def run() -> None:
            for replicate in range(size):
                write(replicate, CONTENT)

        return seconds(run) / size * 1e6

    return repeat(once)


def plain(size: int, variant: str) -> Reading:
    """``mkdir(parents=True)`` and ``write_bytes``."""
    if variant == "single":
        return time_each(lambda: [path.write_bytes(CONTENT) for path in map(Path, names(size))], size)
    return raw(artifacts.write_plain, size)


def atomic(size: int, variant: str) -> Reading:
    """Written beside and renamed, with few system calls."""

    def run() -> None:
        for name in names(size):
            artifacts.write_file_atomic(name, CONTENT)

    return time_each(run, size) if variant == "single" else raw(artifacts.write_atomic, size)


def names(size: int) -> list[str]:
    """Name the artifacts of one folder."""
    return [f"artifact_{i}.bin" for i in range(size)]


def above_the_run(write: Callable[[], object], silent: Callable[[], object], size: int) -> Reading:
    """Time `write` less `silent`, per artifact."""

    def once() -> float:
        with fresh_folder():
            without = seconds(silent)
        return (seconds(write) - without) / size * 1e6

    return repeat(once)


def crystallize(size: int, variant: str) -> Reading:
    """One artifact in each replicate, or all in one."""
    if variant == "single":
        return crystallize_single(size)
    writing = artifacts.run(CONTENT, size, writes=True)
    silent = artifacts.run(CONTENT, size, writes=False)
    with fresh_folder():
        writing()
        artifacts.check(size, CONTENT)
    return above_the_run(writing, silent, size)


def crystallize_single(size: int) -> Reading:
    """All artifacts in one replicate, through ``ctx.artifacts``."""
    import api

    from crystallize import Experiment, Pipeline

    def write(data: Any, ctx: Any) -> Any:
        for i in range(size):
            ctx.artifacts.write(f"artifact_{i}.bin", CONTENT)
        return data

    writing = Experiment(datasource=api.one(), pipeline=Pipeline([write]))
    silent = api.experiment(api.pass_on)
    return above_the_run(lambda: api.run(writing, 1), lambda: api.run(silent, 1), size)


def predecessor(size: int, variant: str) -> Reading:
    """The documented way has one file for an ``Artifact``, so there is nothing like ``single``."""
    if variant == "single":
        raise NotComparableError("one file for an Artifact")
    return crystallize(size, variant)


def sacred(size: int, variant: str) -> Reading:
    """One Sacred run that adds all artifacts to a FileStorageObserver."""
    from sacred import Experiment
    from sacred.observers import FileStorageObserver

    logging.disable(logging.CRITICAL)
    if variant != "single":
        raise NotComparableError("a Sacred run has one folder")

    def once() -> float:
        Path("content.bin").write_bytes(CONTENT)
        subject = Experiment("benchmark", save_git_info=False)
        subject.observers.append(FileStorageObserver("runs"))

        @subject.main
        def main(_run: Any) -> None:
            for i in range(size):
                _run.add_artifact("content.bin", name=f"artifact_{i}.bin")

        return seconds(subject.run) / size * 1e6

    return repeat(once)


SCENARIO = Scenario(
    name="S7a",
    title="artifacts of 1 KB in memory, each",
    size="artifacts",
    sizes=(1_000, 10_000, 30_000),
    peers={"plain": plain, "atomic": atomic, "sacred": sacred, OURS: crystallize, PREDECESSOR: predecessor},
    stated=(10_000,),
    variants=(
        Variant("spread", "us/artifact", (Budget(2, "atomic"),), "one in each replicate, above the run"),
        Variant(
            "single",
            "us/artifact",
            (Budget(2, "atomic"),),
            "all in one replicate, above the run",
            largest={"sacred": 1_000},
        ),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
