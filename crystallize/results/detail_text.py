"""The details of a comparison as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crystallize.results.pairs import counts
from crystallize.statistics.p_values import rounded
from crystallize.statistics.verdicts import WHY_WITHHELD, WITHHELD
from crystallize.utils.number_text import choose_decimals, decimals_of_each, format_number
from crystallize.utils.wording import counted

if TYPE_CHECKING:
    from crystallize.results.detail import Detail
    from crystallize.results.summary_row import SummaryRow

_METHODS = {
    "student": "Student's t on pairs",
    "bootstrap-t": "bootstrap-t on pairs",
    "welch": "Welch's t",
    "shares": "Agresti and Min, of shares",
    "clusters": "Student's t on clusters",
}


def detail_lines(row: SummaryRow, found: Detail, confidence: float) -> Iterator[tuple[str, str]]:
    """Yield what is known of a comparison, as names and texts."""
    level = f"{100 * confidence:g}% interval"
    both = found.baseline_mean, found.treatment_mean
    spreads = [row.half_width] * 3
    if found.shares is not None:
        spreads[1:] = [(high - low) / 2 for low, high in found.shares]
    of_difference, *of_means = decimals_of_each(spreads, [row.difference, *both])
    left_out = f"; left out: {', '.join(counts(row.dropped))}" if row.dropped else ""
    of_clusters = "" if found.clusters is None else f" of {counted(found.clusters, 'cluster')}"
    yield "pairs", f"{row.pairs}{of_clusters}{left_out}"
    means = [format_number(mean, own) for mean, own in zip(both, of_means, strict=True)]
    if found.shares is not None:
        shown = zip(means, found.shares, of_means, strict=True)
        means = [f"{mean} {_interval(ends, own, '')}" for mean, ends, own in shown]
    yield "means", f"baseline {means[0]}, {row.condition} {means[1]}"
    if row.difference is not None:
        difference = format_number(row.difference, of_difference, sign="+")
        ends = "" if row.interval is None else f", {level} {_interval(row.interval, of_difference, '+')}"
        yield "difference", f"{difference}{ends} ({_METHODS[row.method or 'student']})"
    if found.relative is not None and found.relative_interval is not None:
        low, high = found.relative_interval
        digits = choose_decimals([50 * (high - low)], [100 * found.relative])
        few = None if digits is None else max(1, digits - 2)
        change = format_number(100 * found.relative, few, sign="+")
        yield "relative", f"{change} %, {level} {_interval([100 * low, 100 * high], few, '+')} (Fieller)"
    if found.d is not None and found.effect_interval is not None:
        unbiased = "" if found.g is None else f"; without bias g = {found.g:+.2f}"
        yield "effect", f"d = {found.d:+.2f}, {level} {_interval(found.effect_interval, 2, '+')}{unbiased}"
    if found.better is not None:
        word = "larger" if found.direction is None else "better"
        yield word, f"in {round(found.better * row.pairs)} of {row.pairs} pairs ({100 * found.better:.0f} %)"
    if found.worth is not None:
        worth = f"{found.worth:.3g}"
        cost = "" if float(worth) >= 1 else ": it cost replicates"
        yield (
            "pairing",
            f"was worth {worth} times the replicates (correlation {found.correlation:.2f}){cost}",
        )
    if math.isnan(found.p_value):
        yield "p", "not known: there are too few pairs, or a number is not finite"
    else:
        own, adjusted = (rounded(each, found.alpha) for each in (found.p_value, found.adjusted_p_value))
        more = "" if found.adjusted_p_value == found.p_value else f"; adjusted {adjusted}"
        yield "p", f"{own}{more} ({found.family})"
    concluded = WHY_WITHHELD if found.verdict == WITHHELD else found.verdict
    yield "verdict", f"{concluded}; {found.outlook}" if found.outlook else concluded


def _interval(ends: Sequence[float], decimals: int | None, sign: str) -> str:
    return f"[{', '.join(format_number(end, decimals, sign=sign) for end in ends)}]"
