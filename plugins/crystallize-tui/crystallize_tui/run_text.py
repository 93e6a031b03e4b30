"""How a run's numbers are drawn in a line of a terminal: bars, sparklines, means with their intervals."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from crystallize_tui.wording import about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize_tui.progress import RunningMean

_BLOCKS = "▁▂▃▄▅▆▇█"
_LETTERS = "_.-~=+*#"


def bar(done: int, total: int | None, width: int, *, is_plain: bool) -> str:
    """Return a bar of `width` columns: how much of the total is there; without a total, none."""
    if total is None:
        return " " * width
    full, empty = ("#", ".") if is_plain else ("━", "╌")
    filled = width if not total else min(width, width * done // total)
    return full * filled + empty * (width - filled)


def sparkline(points: Sequence[float], width: int, *, is_plain: bool) -> str:
    """Return the course of a series as one character for each of at most `width` stretches, the lowest as the lowest.

    A series that does not change is drawn in the middle.
    """
    if not points or width < 1:
        return ""
    columns = min(width, len(points))
    edges = [len(points) * place // columns for place in range(columns + 1)]
    means = [math.fsum(points[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    levels = _LETTERS if is_plain else _BLOCKS
    if not high - low > 0:
        return levels[len(levels) // 2] * columns
    scale = (len(levels) - 1) / (high - low) if math.isfinite(high - low) else 0.0
    return "".join(levels[round((mean - low) * scale)] for mean in means)


def estimate(mean: RunningMean, *, is_plain: bool) -> str:
    """Return a running mean with half the width of its interval, in as many digits as that one gives."""
    if not mean.is_numeric:
        return "not numeric"
    if not mean.n:
        return "-"
    half = mean.half_width()
    sign = "+-" if is_plain else "±"
    if half is None or not math.isfinite(half):
        return f"{mean.mean:.6g}"
    if half == 0 or not 1e-4 <= half < 1e6:
        return f"{mean.mean:.6g} {sign} {half:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return f"{mean.mean:.{decimals}f} {sign} {half:.{decimals}f}"


def time_left(seconds: float | None) -> str:
    """Return how long the rest takes, roughly; nothing if that is not known."""
    if seconds is None:
        return ""
    return about(timedelta(seconds=min(seconds, 1e9))) if seconds > 0 else "done"
