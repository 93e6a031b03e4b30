"""Results as people read them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crystallize.cli.screen import console, echo, styled
from crystallize.utils.terminal import is_terminal

if TYPE_CHECKING:
    from crystallize.results.result import Result
    from crystallize.statistics.hypothesis import HypothesisResult


def print_result(name: str, result: Result, subtitle: str = "") -> None:
    """Print a run's summary, what its hypotheses say, and where it is stored."""
    from crystallize.config.errors import shown

    echo(styled(name, bold=True))
    if subtitle:
        echo(subtitle)
    if is_terminal(sys.stdout):
        console().print(result.summary())
    else:  # plain text of its own width
        echo(str(result.summary()))
    for hypothesis in result.metrics.hypotheses:
        for line in verdict(hypothesis):
            echo(line)
    path = result.path
    echo(f"Results: {shown(path)}" if path else "Results: not stored, since no plugin stores them")


def verdict(hypothesis: HypothesisResult) -> list[str]:
    """Return the lines that tell what a hypothesis found."""
    best = hypothesis.ranking["best"]
    lines = [f"Hypothesis {hypothesis.name!r}" + (f": best is {best!r}" if best is not None else "")]
    adjusted = hypothesis.adjusted_p_values
    for treatment, found in hypothesis.results.items():
        for each in found if isinstance(found, list) else [found]:
            lines.append(f"  {treatment}: {_finding(each)}")
        if len(adjusted) > 1 and treatment in adjusted:
            lines[-1] += f" (p = {adjusted[treatment]:.3g} after Holm's correction)"
    for treatment, reason in hypothesis.errors.items():
        lines.append(f"  {treatment}: not compared: {reason.strip().splitlines()[-1]}")
    return lines


def _finding(found: Any) -> str:
    """Return p-value and significance first, whatever else a verifier gave after them."""
    if not isinstance(found, Mapping):
        return repr(found)
    parts = []
    if "p_value" in found:
        parts.append(f"p = {_short(found['p_value'])}")
    if "significant" in found:
        parts.append("significant" if found["significant"] else "not significant")
    parts += [
        f"{key} = {_short(value)}"
        for key, value in found.items()
        if key not in ("p_value", "significant") and isinstance(value, int | float | str)
    ]
    return ", ".join(parts) or repr(dict(found))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
