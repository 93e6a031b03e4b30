"""The pairs that a metric of a treatment makes with the baseline: what is compared, and what is left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from crystallize.metrics.condition import NO_CLUSTER, count_dropped
from crystallize.statistics.effect_size import Pairing, pairing
from crystallize.statistics.intervals import Interval, clustered_mean, interval_of_changes
from crystallize.statistics.mcnemar import Changes, count_changes
from crystallize.statistics.moments import (
    Moments,
    alike,
    as_numbers,
    means_of_rows,
    moments,
    moments_of_pairs,
    moments_of_sides,
    paired_differences,
    rounding_of,
)
from crystallize.statistics.samples import lost_halves, replicates_of_some
from crystallize.statistics.t_tests import MeanDifference

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from crystallize.metrics.columns import Column
    from crystallize.metrics.condition import ConditionMetrics
    from crystallize.statistics.moments import FloatArray, NumberArray

Method = Literal["student", "welch", "shares", "clusters"]
"""How a difference is judged: by Student's t on pairs, by Welch's t, as shares of true ones, or by clusters."""


@dataclass(frozen=True)
class Pairs:
    """One metric under the baseline and a treatment, in the replicates in which both have a number.

    Attributes
    ----------
    baseline, treatment : numpy.ndarray
        A number for each pair: the value, or the mean of the values. With clusters, one for each of them in each
        replicate.
    method : str
        How their difference is judged.
    dropped : dict of str to int
        How many replicates are no pair, by the reason.
    is_lopsided : bool
        Whether more replicates were lost under one condition than under the other.
    clusters, replicates : list
        The cluster and the replicate of each pair, if there are clusters.
    """

    baseline: NumberArray
    treatment: NumberArray
    method: Method
    dropped: dict[str, int]
    is_lopsided: bool = False
    clusters: list[Hashable] = field(default_factory=list)
    replicates: list[int] = field(default_factory=list)

    @cached_property
    def differences(self) -> FloatArray:
        """Treatment minus baseline."""
        return paired_differences(self.baseline, self.treatment)

    @cached_property
    def sides(self) -> tuple[Moments, Moments, Moments]:
        """The moments of the baseline, of the treatment, and of the differences."""
        return moments(self.baseline), moments(self.treatment), moments(self.differences)

    @cached_property
    def changes(self) -> Changes:
        """Of a metric that is true or false: in how many pairs it changed."""
        return count_changes(self.baseline, self.treatment, "")

    @cached_property
    def mean(self) -> MeanDifference:
        """The mean difference with its standard error."""
        baseline, treatment, differences = self.sides
        if self.method == "welch":
            return MeanDifference.of_samples(baseline, treatment)
        if self.method == "clusters":
            rounding = rounding_of(self.baseline, self.treatment)
            found = clustered_mean(self.differences, self.clusters, self.replicates, rounding)
            least_p = 2.0 ** (1 - found.clusters)
            return MeanDifference.of(found.mean, found.error, found.freedom, least_p)
        return MeanDifference.of_pairs(differences)

    @property
    def gain(self) -> Pairing | None:
        """What it gained to compare within replicates."""
        return None if self.method == "welch" else pairing(*self.sides)

    @property
    def p_value(self) -> float:
        """Of no difference, two-sided."""
        if self.method == "shares":
            return self.changes.p_value
        found: float = self.mean.p_value
        return found

    def interval(self, confidence: float) -> Interval | None:
        """Return the interval of the difference; None if there are too few pairs for one."""
        if self.method == "shares":
            found = interval_of_changes(self.changes.lost, self.changes.gained, self.changes.n, confidence)
        elif len(self.treatment) < 2:
            return None
        else:
            found = self.mean.interval(confidence)
        return found if self.method != "clusters" or not math.isnan(found[0]) else None


def measure_together(several: Sequence[Pairs]) -> None:
    """Find the moments of many pairs together; each would find its own when it is asked for them."""
    numbers = {place: (each.baseline, each.treatment) for place, each in enumerate(several)}
    for places, *rows in alike(numbers):
        left, right = (side.each() for side in moments_of_sides(*rows))
        left *= len(right) if len(left) == 1 else 1
        for place, *sides in zip(places, left, right, moments_of_pairs(*rows).each(), strict=True):
            vars(several[place])["sides"] = tuple(sides)  # where cached_property keeps it


def find_pairs(
    metric: str,
    baseline: ConditionMetrics,
    treatment: ConditionMetrics,
    *,
    cluster: str | None = None,
    paired: bool = True,
) -> Pairs | None:
    """Return the pairs of a metric; None if one of the conditions has not recorded it, or not as numbers.

    Parameters
    ----------
    metric : str
        The metric.
    baseline, treatment : ConditionMetrics
        The conditions.
    cluster : str, optional
        A tag: values of different replicates that have the same one depend on each other.
    paired : bool
        Whether values of one replicate belong together.
    """
    baseline = baseline.beside(treatment)
    ours, theirs = baseline.columns.get(metric), treatment.columns.get(metric)
    if ours is None or theirs is None or not (ours.is_numeric and theirs.is_numeric):
        return None
    losses = lost_halves(ours, theirs)
    is_lopsided = losses[0] != losses[1]
    with_nan = ours.replicates_with_nan() | theirs.replicates_with_nan()
    if cluster is not None and all(cluster in tags_of([each], [metric]) for each in (baseline, treatment)):
        cells = [_cells(each, metric, cluster) for each in (baseline, treatment)]
        common = [key for key in cells[0] if key in cells[1]]
        left, right = (means_of_rows([side[key] for key in common], metric) for side in cells)
        dropped = count_dropped([baseline, treatment], with_nan, replicates_of_some(ours, theirs))
        of_both = {*ours.replicates()} & {*theirs.replicates()} - with_nan
        if apart := len(of_both - {replicate for replicate, _ in common}):
            dropped[NO_CLUSTER] = apart
        clusters, replicates = [name for _, name in common], [replicate for replicate, _ in common]
        return Pairs(left, right, "clusters", dropped, is_lopsided, clusters, replicates)
    method: Method = "shares" if _is_binary(ours) and _is_binary(theirs) else "student" if paired else "welch"
    numbers = ours.common_with(theirs)
    if numbers is not None:
        left, right = (as_numbers(column.array(), metric) for column in numbers)
    else:
        rows = ours.rows_with(theirs)
        left, right = (means_of_rows([pair[side] for pair in rows], metric) for side in (0, 1))
    dropped = count_dropped([baseline, treatment], with_nan, replicates_of_some(ours, theirs))
    return Pairs(left, right, method, dropped, is_lopsided)


def tags_of(conditions: Sequence[ConditionMetrics], metrics: Sequence[str]) -> set[str]:
    """Return the names of the tags that values of these metrics have."""
    return {
        key
        for condition in conditions
        for metric in metrics
        for tags in condition.tags.get(metric, {}).values()
        for tag in tags
        for key in tag or ()
    }


def _is_binary(column: Column) -> bool:
    """Tell whether each replicate is true or false, or lost as NaN; one of several values is a number, their mean."""
    return not column.is_dense and all(
        len(values) == 1 and (isinstance(values[0], bool) or _is_nan(values[0]))
        for _, values in column.by_replicate()
    )


def _cells(condition: ConditionMetrics, metric: str, cluster: str) -> dict[tuple[int, Hashable], list[float]]:
    """Return the values of each cluster in each replicate; those without the tag, and NaN, are left out."""
    found: dict[tuple[int, Hashable], list[float]] = {}
    tagged = condition.tags[metric]
    for replicate, values in condition.columns[metric].by_replicate():
        tags: list[Mapping[str, Any] | None] = tagged.get(replicate, [])
        for value, tag in zip(values, tags, strict=False):
            if tag and cluster in tag and not _is_nan(value):
                found.setdefault((replicate, tag[cluster]), []).append(value)
    return found


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def counts(reasons: Mapping[str, int]) -> Iterator[str]:
    """Yield each reason with its number: ``1 failed``."""
    return (f"{count} {reason}" for reason, count in reasons.items())
