"""All that is known of one comparison: one metric under one treatment and the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crystallize.statistics.adjustment import CORRECTIONS, TITLES, holm
from crystallize.statistics.effect_size import effect_size, share_larger
from crystallize.statistics.intervals import Interval, ratio_of_means, wilson_interval
from crystallize.statistics.verdicts import Evidence, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize.results.pairs import Pairs
    from crystallize.statistics.hypothesis_result import Comparison, HypothesisResult
    from crystallize.statistics.verdicts import Direction

    Key = tuple[str, str]  # a metric and a treatment


@dataclass(frozen=True)
class Detail:
    """What stands beside a difference in ``summary(detail=True)``. What is not known, or has no meaning, is None.

    Attributes
    ----------
    baseline_mean, treatment_mean : float
        The means over the pairs.
    shares : tuple of tuple of float or None
        Wilson's intervals of the two shares, if the metric is true or false.
    relative, relative_interval : float and tuple of float, or None
        The difference as a share of the baseline's mean, and Fieller's interval of it; if the baseline keeps its sign.
    d, g, effect_interval : float, float and tuple of float, or None
        The difference in standard deviations of the differences (Cohen's d_z), without its bias (Hedges' g_z), and the
        exact interval of d.
    better : float or None
        The share of pairs in which the treatment was better; in which it was larger, if there is no direction.
    correlation, worth : float or None
        Of the pairs; and as how many times the replicates it counted to compare within them.
    clusters : int or None
        How many clusters there are.
    p_value, adjusted_p_value : float
        Of no difference, of this test alone and for all tests of its family.
    family : str
        What p-values were adjusted together.
    alpha : float
        The level of the verdict.
    direction : {"min", "max"} or None
        Where better lies.
    verdict : str
        See :class:`~crystallize.statistics.hypothesis_result.Comparison`.
    outlook : str
        What an undecided comparison could see, and needs.
    """

    baseline_mean: float
    treatment_mean: float
    shares: tuple[Interval, Interval] | None
    relative: float | None
    relative_interval: Interval | None
    d: float | None
    g: float | None
    effect_interval: Interval | None
    better: float | None
    correlation: float | None
    worth: float | None
    clusters: int | None
    p_value: float
    adjusted_p_value: float
    family: str
    alpha: float
    direction: Direction | None
    verdict: str
    outlook: str = ""


@dataclass(frozen=True)
class Finding:
    """A p-value with its verdict, and where they are from."""

    p_value: float
    adjusted_p_value: float
    family: str
    alpha: float
    direction: Direction | None
    verdict: str
    outlook: str = ""


def stated_findings(
    comparisons: Mapping[Key, Comparison], found: HypothesisResult, pairs: Mapping[Key, Pairs]
) -> dict[Key, Finding]:
    """Return what a hypothesis found of these comparisons of its own.

    On clusters, all tests are our own: a hypothesis of differences gives its family and its standards, another nothing.
    """
    family = _family_of(found.name, found.correction, [each.p_value for each in found.comparisons])
    stated = {
        key: Finding(
            each.p_value,
            each.adjusted_p_value,
            family,
            found.alpha,
            found.direction,
            each.verdict,
            found.outlook(each),
        )
        for key, each in comparisons.items()
        if pairs[key].method != "clusters"
    }
    if len(stated) < len(comparisons) and found.is_of_differences:
        on_clusters = _clustered_findings(pairs, found)
        stated |= {key: on_clusters[key] for key in comparisons if key not in stated}
    return stated


def _clustered_findings(pairs: Mapping[Key, Pairs], found: HypothesisResult) -> dict[Key, Finding]:
    """Return the comparisons of a hypothesis by its standards, those of metrics with clusters with other p-values.

    Its family is all of its tests, as it is without clusters.
    """
    keys = [(each.metric, each.treatment) for each in found.comparisons]
    correction = found.correction if found.correction in CORRECTIONS else "holm"
    p_values = [
        pairs[key].p_value if key in pairs and pairs[key].method == "clusters" else each.p_value
        for key, each in zip(keys, found.comparisons, strict=True)
    ]
    margins = [
        # NaN stays NaN, which min(1.0, nan) is not: what is not known is no test of the family.
        [
            math.nan if margin is None or key not in pairs else min(2 * pairs[key].mean.p_within(margin), 1.0)
            for key in keys
        ]
        for margin in (found.equivalence_margin, found.smallest_effect)
    ]
    families = [CORRECTIONS[correction](values) for values in (p_values, *margins)]
    family = _family_of(found.name, correction, p_values)
    tests: dict[Key, Finding] = {}
    for key, p_value, adjusted, equivalent, small in zip(keys, p_values, *families, strict=True):
        if key in pairs:
            each = pairs[key]
            evidence = Evidence(each.mean.difference, adjusted, "", equivalent, small, each.is_lopsided)
            concluded = verdict(evidence, found.alpha, found.direction)
            tests.setdefault(key, Finding(p_value, adjusted, family, found.alpha, found.direction, concluded))
    return tests


def unstated_findings(pairs: Sequence[Pairs], alpha: float) -> list[Finding]:
    """Return tests of our own: Student's or McNemar's, and Holm over all of them."""
    p_values = [each.p_value if len(each.differences) else math.nan for each in pairs]
    tests = _count_known(p_values)
    family = "the only test of this summary" if tests == 1 else f"{tests} tests of this summary, Holm"
    return [
        Finding(
            p_value,
            adjusted,
            family,
            alpha,
            None,
            verdict(
                Evidence(each.mean.difference, adjusted, is_lopsided=each.is_lopsided), alpha, direction=None
            ),
        )
        for each, p_value, adjusted in zip(pairs, p_values, holm(p_values), strict=True)
    ]


def describe(pairs: Pairs, test: Finding, confidence: float) -> Detail:
    """Return all that is known of a comparison."""
    baseline, treatment, differences = pairs.sides
    effect = effect_size(pairs.differences, confidence) if pairs.method == "student" else None
    gain = pairs.gain
    ratio = None
    if pairs.method == "student":
        ratio = ratio_of_means(pairs.baseline, pairs.treatment, confidence)
    sign = math.copysign(1, baseline.mean)
    shares = None
    if pairs.method == "shares":
        shares = tuple(
            wilson_interval(int(values.sum()), len(values), confidence)
            for values in (pairs.baseline, pairs.treatment)
        )
    better = None
    if pairs.method != "welch" and differences.n:
        better = share_larger(-pairs.differences if test.direction == "min" else pairs.differences)
    return Detail(
        baseline_mean=baseline.mean,
        treatment_mean=treatment.mean,
        shares=shares,  # type: ignore[arg-type]
        relative=None if ratio is None else sign * (ratio.ratio - 1),
        relative_interval=None
        if ratio is None
        else tuple(sorted(sign * (end - 1) for end in ratio.interval)),  # type: ignore[arg-type]
        d=None if effect is None else effect.d,
        g=None if effect is None or math.isnan(effect.g) else effect.g,
        effect_interval=None if effect is None else effect.interval,
        better=better,
        correlation=None if gain is None else gain.correlation,
        worth=None if gain is None else gain.worth,
        clusters=len(set(pairs.clusters)) if pairs.method == "clusters" else None,
        **vars(test),
    )


def _family_of(name: str, correction: str, p_values: Sequence[float]) -> str:
    """Name the tests of a hypothesis, whose p-values are adjusted together."""
    tests = _count_known(p_values)
    if tests == 1:
        return f"the only test of hypothesis {name!r}"
    how = "not corrected" if correction == "none" else TITLES[correction]
    return f"{tests} tests of hypothesis {name!r}, {how}"


def _count_known(p_values: Sequence[float]) -> int:
    """Return how many p-values share a level: NaN is no test."""
    return sum(not math.isnan(p_value) for p_value in p_values)
