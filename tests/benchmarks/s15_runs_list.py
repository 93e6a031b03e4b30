"""S15: the command ``crystallize runs list``, and what it reads, over many stored runs.

``json`` parses the metadata of the same runs and does nothing else. The runs are copies of one with two treatments.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path

from harness import OURS, Budget, Reading, Scenario, Variant, repeat, seconds

STORED = Path("data/experiment")


def store(size: int) -> None:
    """Store `size` runs."""
    from crystallize import Experiment, treatment

    treatments = [treatment(name, {}) for name in ("low", "high")]
    Experiment(
        lambda: 0, [lambda data: (data, {"loss": 0.5})], name=STORED.name, treatments=treatments, seed=1
    ).run(replicates=10)
    for number in range(1, size):
        shutil.copytree(STORED / "v0", STORED / f"v{number}")


def plain_json(size: int, variant: str) -> Reading:
    """Parse the metadata of each run."""
    store(size)

    def run() -> None:
        for number in range(size):
            json.loads((STORED / f"v{number}" / "metadata.json").read_bytes())

    return repeat(lambda: seconds(run) * 1e3, fresh=False)


def crystallize(size: int, variant: str) -> Reading:
    """List the runs, by the command in this process or from Python."""
    store(size)
    if variant == "python":
        from crystallize import runs

        return repeat(lambda: seconds(lambda: runs(STORED.name)) * 1e3, fresh=False)
    from crystallize.cli.app import app

    def run() -> None:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            app(["runs", "list"], standalone_mode=False)
        if len(shown.getvalue().splitlines()) != size + 2:
            raise RuntimeError(f"{size} runs are stored, and this was listed: {shown.getvalue()[:500]}")

    return repeat(lambda: seconds(run) * 1e3, fresh=False)


SCENARIO = Scenario(
    name="S15",
    title="listing stored runs",
    size="runs",
    sizes=(100, 1_000, 4_000),
    peers={"json": plain_json, OURS: crystallize},
    stated=(1_000,),
    variants=(
        Variant("command", "ms", (Budget(1_000),), "the command, in a process that has imported it"),
        Variant("python", "ms", (Budget(1_000),), "crystallize.runs"),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
