"""S12a: a chain of experiments, each of which reads the artifact of the one before; per experiment.

``bare`` is a loop that reads and writes the same files. What the run of a graph leaves besides: metadata,
a manifest with hashes, results and a marker for each experiment. Building the graph is not measured.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from artifacts import write_file_atomic
from harness import OURS, Budget, Reading, Scenario, Variant, fresh_folder, seconds, time_each

NAME = "value.json"


def bare(size: int, variant: str) -> Reading:
    """Read one file and write one file for each member of the chain."""

    def run() -> None:
        value = 0.0
        for node in range(size):
            if node:
                value = json.loads(Path(f"data/node_{node - 1}/{NAME}").read_bytes())
            folder = Path(f"data/node_{node}")
            folder.mkdir(parents=True)
            write_file_atomic(str(folder / NAME), json.dumps(value + 1).encode())

    return time_each(run, size)


def chain(size: int) -> Any:
    """Build the graph."""
    from crystallize import Artifact, Experiment, ExperimentGraph, Pipeline, pipeline_step

    def add_one(data: float, *, out: Any) -> float:
        out.write(data + 1)
        return data + 1

    add_one.__annotations__["out"] = Artifact
    step = pipeline_step()(add_one)
    nodes: list[Any] = []
    for node in range(size):
        out = Artifact(NAME, loader="json", alias="out")
        source = nodes[-1].outputs["out"] if nodes else lambda: 0.0
        nodes.append(Experiment(source, Pipeline([step(out=out)]), name=f"node_{node}", outputs=[out]))
    return ExperimentGraph(*nodes)


def crystallize(size: int, variant: str) -> Reading:
    """Run the graph, and see that the last experiment has counted them all."""
    logging.getLogger("crystallize").setLevel(logging.ERROR)
    graph = chain(size)
    with fresh_folder():
        seconds(graph.run)
        last = Path(f"data/node_{size - 1}/v0/replicate_0/baseline")
        (written,) = last.rglob(NAME)
        if json.loads(written.read_bytes()) != size:
            raise RuntimeError(f"the last of {size} experiments wrote {written.read_text()}")
    return time_each(graph.run, size)


SCENARIO = Scenario(
    name="S12a",
    title="a chain of experiments in memory, each",
    size="experiments",
    sizes=(50, 200, 800),
    peers={"bare": bare, OURS: crystallize},
    stated=(200,),
    variants=(Variant("plain", "us/experiment", (Budget(1_000),)),),
)

if __name__ == "__main__":
    SCENARIO.main()
