"""What the tests of graphs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crystallize import Artifact, Experiment, ExperimentInput, pipeline_step

MakeNode = Callable[..., Experiment]


@pytest.fixture
def node() -> MakeNode:
    """Return a function that builds an experiment which writes what it has read.

    ``node(name, *upstream, before=None, **options)`` reads the artifacts of `upstream`, by their names, and
    writes ``out.json``: its name, condition, replicate, a random number and what it has read. ``before(ctx)``
    is called first.
    """

    def make(
        name: str, *upstream: Experiment, before: Callable[[Any], Any] | None = None, **options: Any
    ) -> Experiment:
        def produce(data: Any, ctx: Any, *, out: Artifact) -> Any:
            if before is not None:
                before(ctx)
            number = float(ctx.rng.random())
            written = {
                "name": name,
                "condition": ctx["condition"],
                "replicate": ctx["replicate"],
                "factor": ctx.get("factor", 1),
                "number": number,
                "read": str(data) if isinstance(data, Path) else data,
            }
            out.write(written)
            return written, {"number": number}

        produce.__annotations__["out"] = Artifact
        output = Artifact("out.json", loader="json")
        source: Any = lambda: None  # noqa: E731
        if upstream:
            source = ExperimentInput(**{each.folder_name: each.outputs["out"] for each in upstream})
        options = {"seed": 1, **options}
        return Experiment(
            source, [pipeline_step()(produce)(out=output)], name=name, outputs=[output], **options
        )

    return make
