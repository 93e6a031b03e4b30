"""S16: a grid: its treatments with their names, ``crystallize check`` of it, and the table of its results.

``product`` makes the same names and settings with ``itertools.product`` and a format string, and does nothing else.
"""

from __future__ import annotations

import contextlib
import io
from itertools import product
from pathlib import Path

from harness import OURS, Budget, NotComparableError, Reading, Scenario, Variant, repeat, seconds

FACTORS = ("lr", "depth", "width")
STEPS = """
def fit(data, lr=0.1, depth=2, width=8):
    return data, {"loss": data + lr * depth / width}
"""


def levels(size: int) -> dict[str, list[float]]:
    """Return three factors with `size` combinations: ten levels of two, and as many as it takes of the first."""
    return dict(
        zip(FACTORS, ([0.001 * (1 + i) for i in range(size // 100)], range(10), range(10)), strict=True)
    )


def plain_product(size: int, variant: str) -> Reading:
    """Make the names and the settings."""
    if variant != "build":
        raise NotComparableError("it has no such thing")
    factors = levels(size)

    def run() -> None:
        cells = [dict(zip(factors, cell, strict=True)) for cell in product(*factors.values())]
        made = {",".join(f"{factor}={level}" for factor, level in cell.items()): cell for cell in cells}
        if len(made) != size:
            raise RuntimeError(f"{len(made)} names of {size}")

    return repeat(lambda: seconds(run) * 1e3, fresh=False)


def crystallize(size: int, variant: str) -> Reading:
    """Build the treatments, check them in a folder, or lay out their summary."""
    from crystallize import Experiment, grid
    from crystallize.experiments.treatment import as_treatments

    factors = levels(size)
    if variant == "build":

        def build() -> None:
            if len(as_treatments(grid(**factors))) != size:
                raise RuntimeError("treatments are missing")

        return repeat(lambda: seconds(build) * 1e3, fresh=False)
    if variant == "check":
        from crystallize.cli.app import app

        folder = Path("experiments/sweep")
        folder.mkdir(parents=True)
        written = "".join(f"    {factor}: {list(found)}\n" for factor, found in factors.items())
        (folder / "config.yaml").write_text(
            f"datasource: numbers\nsteps: [fit]\ntreatments:\n  grid:\n{written}"
        )
        (folder / "datasources.py").write_text("def numbers(): return 1.0\n")
        (folder / "steps.py").write_text(STEPS)

        def check() -> None:
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown):
                app(["check"], standalone_mode=False)
            if shown.getvalue() != "sweep  ok\n":
                raise RuntimeError(shown.getvalue())

        return repeat(lambda: seconds(check) * 1e3, fresh=False)

    def fit(data: float, lr: float = 0.1, depth: int = 2, width: int = 8) -> tuple[float, dict[str, float]]:
        return data, {"loss": data + lr * depth / (1 + width)}

    result = Experiment(lambda: 1.0, [fit], treatments=grid(**factors), seed=1, name="sweep").run(
        replicates=10
    )
    return repeat(lambda: seconds(lambda: str(result.summary())) * 1e3, fresh=False)


SCENARIO = Scenario(
    name="S16",
    title="a grid of treatments",
    size="treatments",
    sizes=(100, 1_000, 10_000),
    peers={"product": plain_product, OURS: crystallize},
    stated=(1_000,),
    variants=(
        Variant("build", "ms", (Budget(200),), "from levels to named treatments"),
        Variant("check", "ms", (Budget(200),), "crystallize check, in a process that has imported it"),
        Variant("summary", "ms", (Budget(200),), "the table of ten replicates", sizes=(100, 1_000)),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
