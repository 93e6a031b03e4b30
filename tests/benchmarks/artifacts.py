"""What the two artifact scenarios share: raw writers, and an experiment whose step writes one artifact.

The step is a function with a parameter annotated as ``Artifact``, the way that works in crystallize-ml 0.27
too (its documented class-based way fails there: "Artifact not bound to context").
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEP = "WriteStep"  # what both call a step made of a function `write`
NAME = "artifact.bin"


def folder_of(replicate: int) -> str:
    """Return where the artifact of a replicate goes, in the layout that we document."""
    return f"data/experiment/v0/replicate_{replicate}/baseline/{STEP}"


def write_plain(replicate: int, content: bytes) -> None:
    """Write as ``pathlib`` suggests it."""
    folder = Path(folder_of(replicate))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_bytes(content)


def write_atomic(replicate: int, content: bytes) -> None:
    """Write beside and rename, with as few system calls as that takes; the version folder exists."""
    folder = folder_of(replicate)
    condition = os.path.dirname(folder)  # noqa: PTH120
    for made in (os.path.dirname(condition), condition, folder):  # noqa: PTH120
        os.mkdir(made)  # noqa: PTH102
    write_file_atomic(f"{folder}/{NAME}", content)


def write_file_atomic(path: str, content: bytes) -> None:
    """Write one file beside its place and rename it."""
    beside = f"{path}.tmp"
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        written = 0
        view = memoryview(content)
        while written < len(content):
            written += os.write(handle, view[written:])
    finally:
        os.close(handle)
    os.replace(beside, path)  # noqa: PTH105


def run(content: bytes, replicates: int, *, writes: bool) -> Callable[[], None]:
    """Build an experiment whose only step writes `content`, or is silent, and return what runs it."""
    import api

    from crystallize import Artifact, Experiment, Pipeline, pipeline_step

    def write(data: Any, ctx: Any, *, out: Any) -> Any:
        if writes:
            out.write(content)
        return data

    write.__annotations__["out"] = Artifact
    out = Artifact(NAME)
    step = pipeline_step()(write)(out=out)
    subject = Experiment(datasource=api.one(), pipeline=Pipeline([step]), outputs=[out])
    return lambda: api.run(subject, replicates)


def check(replicates: int, content: bytes) -> None:
    """Raise an error unless there is one complete file for each replicate below this folder."""
    sizes = [path.stat().st_size for path in Path().rglob(NAME)]
    if sizes != [len(content)] * replicates:
        raise RuntimeError(f"{len(sizes)} artifacts were written, {replicates} were asked for")
