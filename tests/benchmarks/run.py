"""Run the benchmarks: us and the peers in turn, each in an environment of its own; print Markdown.

``make bench`` calls it. It needs the standard library only. Environments and raw results (one JSON line for
each measurement) go to ``.venvs/bench``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness import OURS, PREDECESSOR, Scenario, Variant

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
ENVIRONMENTS = PROJECT / ".venvs" / "bench"
REQUIREMENTS: Mapping[str, Sequence[str]] = {
    PREDECESSOR: ("crystallize-ml==0.27.0", "numpy"),
    "hamilton": ("sf-hamilton>=1.88,<2", "numpy"),
    "joblib": ("joblib>=1.5,<2", "numpy"),
    "pipefunc": ("pipefunc>=0.90,<1", "numpy"),
    "sacred": ("sacred>=0.8.7,<0.9", "numpy"),
}
"""What each peer's environment holds; a peer that is not named here is measured in ours."""

TIMEOUT = 600
NOTHING = "-"


def main() -> None:
    """Measure what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenario", action="append", help="only these, for example S1 (may be repeated)")
    parser.add_argument("--variant", action="append", help="only these variants (may be repeated)")
    parser.add_argument("--peer", action="append", help="only these peers, and us (may be repeated)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds, default 3")
    parser.add_argument("--quick", action="store_true", help="one round of the smallest size, no slow peers")
    parser.add_argument("--keep", action="store_true", help="use our environment as it is, do not reinstall")
    parser.add_argument("--write", type=Path, help="put the tables below '## Results' of this Markdown file")
    asked = parser.parse_args()
    for name in asked.scenario or []:
        if name not in scenarios():
            parser.error(f"no scenario is called {name}; there are {', '.join(scenarios())}")
    chosen = [scenarios()[name][0] for name in asked.scenario or scenarios()]
    install(OURS, [str(PROJECT)], again=not asked.keep)
    report = Report(heading(1 if asked.quick else asked.rounds))
    for scenario in chosen:
        peers = [peer for peer in scenario.peers if not asked.peer or peer in {*asked.peer, OURS}]
        if asked.quick:
            peers = [peer for peer in peers if peer != PREDECESSOR]
        for peer in peers:
            if peer in REQUIREMENTS:
                install(peer, REQUIREMENTS[peer])
        report.add(f"\n### {scenario.name}: {scenario.title}")
        for variant in scenario.variants:
            if asked.variant and variant.name not in asked.variant:
                continue
            report.add(table_head(variant, peers))
            for size in scenario.sizes[:1] if asked.quick else scenario.sizes:
                lines = measure(scenario, variant, peers, size, 1 if asked.quick else asked.rounds)
                report.add(row(scenario, variant, peers, size, lines))
    if asked.write:
        report.write(asked.write)


class Report:
    """Lines of Markdown, printed as they come."""

    def __init__(self, first: str) -> None:
        self._lines: list[str] = []
        self.add(first)

    def add(self, line: str) -> None:
        """Print and keep a line."""
        print(line, flush=True)
        self._lines.append(line)

    def write(self, page: Path) -> None:
        """Put all lines in the place of what stands below the page's heading "Results"."""
        before, heading, _ = page.read_text().partition("\n## Results\n")
        if not heading:
            raise SystemExit(f"{page} has no heading '## Results'")
        page.write_text(f"{before}{heading}\n" + "\n".join(self._lines) + "\n")


@cache
def scenarios() -> dict[str, tuple[Scenario, Path]]:
    """Import every script and return what it declares, by name."""
    found = [
        (importlib.import_module(script.stem).SCENARIO, script) for script in sorted(HERE.glob("s[0-9]*.py"))
    ]
    return {scenario.name: (scenario, script) for scenario, script in found}


def python_of(peer: str) -> Path:
    """Return the interpreter of the peer's environment."""
    folder = ENVIRONMENTS / (peer if peer in REQUIREMENTS else OURS)
    return folder / "bin" / "python"


def install(peer: str, requirements: Iterable[str], *, again: bool = False) -> None:
    """Make the environment of a peer, once; with `again`, install the requirements anew."""
    folder = ENVIRONMENTS / peer
    done = folder / "complete"
    if done.exists() and not again:
        return
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    if not done.exists():
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([*pip, *requirements], check=True, stdout=sys.stderr)
    else:
        subprocess.run([*pip, "--force-reinstall", "--no-deps", *requirements], check=True, stdout=sys.stderr)
    done.touch()


def measure(
    scenario: Scenario, variant: Variant, peers: Sequence[str], size: int, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Call the peers in turn, `rounds` times; return their lines."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds if scenario.repeats else 1):
        for peer in peers:
            earlier = lines.setdefault(peer, [])
            if size > variant.largest.get(peer, size) or (earlier and earlier[-1]["figure"] is None):
                continue
            earlier.append(one_line(scenario, variant, peer, size))
    return lines


def one_line(scenario: Scenario, variant: Variant, peer: str, size: int) -> dict[str, Any]:
    """Run a script once and return its line."""
    script = scenarios()[scenario.name][1]
    command = [python_of(peer), script, "--peer", peer, "--size", size, "--variant", variant.name]
    foreign = ("PYTHON", "CRYSTALLIZE")  # what the caller has set there is not for the peers
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    try:
        process = subprocess.run(
            list(map(str, command)),
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env=environment,
        )
        line: dict[str, Any] = json.loads(json_of(process.stdout))
    except subprocess.TimeoutExpired:
        line = {"figure": None, "error": f"took longer than {TIMEOUT} s"}
    except ValueError:
        said = process.stderr.strip().splitlines()[-1:]
        line = {"figure": None, "error": f"ended with {process.returncode}: {said}"}
    if "error" in line:
        print(f"{scenario.name} {variant.name} {peer} {size}: {line['error']}", file=sys.stderr)
    with (ENVIRONMENTS / "results.jsonl").open("a") as results:
        results.write(json.dumps({"time": datetime.datetime.now().isoformat(), **line}) + "\n")
    return line


def heading(rounds: int) -> str:
    """Say when and on what the figures were measured."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    cores = len(os.sched_getaffinity(0))
    return (
        f"Measured on {today}, {cores} cores, Python {platform.python_version()}, {platform.machine()}; "
        f"medians of {rounds} interleaved rounds. Compare the figures within a row only; a verdict in parentheses "
        "is at a size that the budget is not stated for."
    )


def json_of(output: str) -> str:
    """Return the JSON line; a peer's workers may have written there too."""
    return next((line for line in output.splitlines() if line.startswith('{"scenario"')), "")


def table_head(variant: Variant, peers: Sequence[str]) -> str:
    """Begin the table of a variant."""
    about = f"{variant.name}: {variant.says}" if variant.says else variant.name
    columns = [f"{about} ({variant.unit})", *peers, "ratio", "budget", ""]
    return f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def row(
    scenario: Scenario,
    variant: Variant,
    peers: Sequence[str],
    size: int,
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
) -> str:
    """Make one row: the figures, our ratio to the peer that the budget names, and whether it is met."""
    figures: dict[str, float] = {}
    cells = [f"{size:,} {scenario.size}"]
    for peer in peers:
        good = [line["figure"] for line in lines[peer] if line["figure"] is not None]
        if good:
            figures[peer] = statistics.median(good)
            cells.append(shown(figures[peer]))
        else:
            cells.append("fails" if any("error" in line for line in lines[peer]) else NOTHING)
    ratios, budgets, verdicts = [], [], []
    for budget in variant.budgets:
        bound = budget.bound(figures)
        budgets.append(str(budget))
        if OURS not in figures or bound is None:
            verdicts.append("?")
            continue
        if budget.against:
            ratios.append(f"{figures[OURS] / figures[budget.against]:.2f}")
        verdict = "met" if budget.is_met(figures[OURS], bound) else "**missed**"
        verdicts.append(verdict if size in (scenario.stated or scenario.sizes) else f"({verdict.strip('*')})")
    cells += [", ".join(part) or NOTHING for part in (ratios, budgets, verdicts)]
    return f"| {' | '.join(cells)} |"


def shown(figure: float) -> str:
    """Show a figure with three digits that count."""
    if figure >= 1000:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"


if __name__ == "__main__":
    main()
