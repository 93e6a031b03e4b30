"""S10: how long a whole process takes that imports, builds an experiment, or answers a command.

The size is the number of other distributions that are installed beside; each tenth of them has a Crystallize
plugin. ``bare`` is a Python that does nothing, ``typer`` a hello world with Typer.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

from harness import OURS, PREDECESSOR, Budget, NotComparableError, Reading, Scenario, Variant, fresh_folder

ROUNDS = 11
HELLO = """
import typer

app = typer.Typer()


@app.command()
def hello(name: str = "world") -> None:
    print(f"hello {name}")


@app.command()
def bye(name: str = "world") -> None:
    print(f"bye {name}")


app()
"""
EXPERIMENT = """
from crystallize import Experiment, Pipeline, data_source, pipeline_step

@data_source
def one(ctx):
    return 1.0

@pipeline_step()
def step(data, ctx):
    return data

Experiment(datasource=one(), pipeline=Pipeline([step()]))
"""
WITHOUT_NUMPY = """
import sys

assert "numpy" not in sys.modules
"""
PLUGIN = """
from crystallize import BasePlugin


class Plugin(BasePlugin):
    def after_run(self, experiment, result):
        pass
"""


def install(folder: Path, count: int) -> None:
    """Put `count` distributions into `folder`, as an installer would leave them."""
    for i in range(count):
        info = folder / f"bench_neighbour_{i}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bench-neighbour-{i}\nVersion: 1.0\n")
        group = "crystallize.plugins" if i % 10 == 0 else "console_scripts"
        (info / "entry_points.txt").write_text(f"[{group}]\nneighbour_{i} = bench_neighbour_{i}:Plugin\n")
        (folder / f"bench_neighbour_{i}.py").write_text(PLUGIN)


def wall(command: list[str], size: int) -> Reading:
    """Take the median wall time of whole processes, in milliseconds."""
    with fresh_folder() as folder:
        install(folder, size)
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        with Path(os.devnull).open("w") as nowhere:
            quiet = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), number) for number in (1, 2)]
            times = []
            for _ in range(ROUNDS + 2):
                started = time.perf_counter()
                pid = os.posix_spawn(command[0], command, environment, file_actions=quiet)
                _, status, _ = os.wait4(pid, 0)
                times.append((time.perf_counter() - started) * 1e3)
                if status:
                    raise RuntimeError(f"{' '.join(command)} ended with status {status}")
    return Reading(statistics.median(times[2:]), ROUNDS)


def python(code: str, size: int) -> Reading:
    """Measure ``python -c code``."""
    return wall([sys.executable, "-c", code], size)


def bare(size: int, variant: str) -> Reading:
    """Python that does nothing."""
    return python("pass", size)


def pluggy(size: int, variant: str) -> Reading:
    """Python that imports pluggy."""
    return python("import pluggy", size)


def numpy(size: int, variant: str) -> Reading:
    """Python that imports NumPy."""
    return python("import numpy", size)


def typer(size: int, variant: str) -> Reading:
    """A hello world with two commands: its help, or a command where ours is one too."""
    with fresh_folder() as folder:
        script = folder / "hello.py"
        script.write_text(HELLO)
        return wall([sys.executable, str(script), "hello" if variant == "plugins-list" else "--help"], size)


def crystallize(size: int, variant: str, peer: str = OURS) -> Reading:
    """Import, first experiment, or a command."""
    command = str(Path(sys.executable).with_name("crystallize"))
    if variant == "import":
        return python("import crystallize", size)
    if variant == "experiment":
        with fresh_folder() as folder:
            script = folder / "experiment.py"
            script.write_text(EXPERIMENT + (WITHOUT_NUMPY if peer == OURS else ""))
            return wall([sys.executable, str(script)], size)
    arguments = {"help": ["--help"], "version": ["--version"], "plugins-list": ["plugins", "list"]}[variant]
    return wall([command, *arguments], size)


def predecessor(size: int, variant: str) -> Reading:
    """Import and first experiment; its command is a full-screen program."""
    if variant not in {"import", "experiment"}:
        raise NotComparableError("its command is a full-screen program")
    return crystallize(size, variant, PREDECESSOR)


def only(*variants: str) -> dict[str, int]:
    """Leave the yardsticks out of the variants that they say nothing about."""
    return dict.fromkeys(variants, -1)


SCENARIO = Scenario(
    name="S10",
    title="start of a process",
    size="other distributions installed",
    sizes=(0, 50, 150),
    peers={
        "bare": bare,
        "pluggy": pluggy,
        "numpy": numpy,
        "typer": typer,
        OURS: crystallize,
        PREDECESSOR: predecessor,
    },
    variants=(
        Variant("import", "ms", (Budget(1.5, "bare"),), "`import crystallize`", largest=only("typer")),
        Variant("experiment", "ms", (), "a first Experiment is built, without NumPy", largest=only("typer")),
        Variant(
            "help", "ms", (Budget(1.3, "typer"),), "`crystallize --help`", largest=only("numpy", "pluggy")
        ),
        Variant("version", "ms", (Budget(1.3, "typer"),), "`--version`", largest=only("numpy", "pluggy")),
        Variant(
            "plugins-list",
            "ms",
            (Budget(1.3, "typer"),),
            "`crystallize plugins list`",
            largest=only("numpy", "pluggy"),
        ),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
