"""The summary of a result: what each metric came to under each condition, as a table."""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from crystallize.errors import MissingMetricError
from crystallize.statistics.intervals import student_interval
from crystallize.statistics.samples import BaselineColumns, moments, paired_differences, per_replicate
from crystallize.utils.checks import check_share
from crystallize.utils.suggest import counted, did_you_mean, listed
from crystallize.utils.text_table import (
    WIDTH,
    TextTable,
    align_points,
    choose_decimals,
    format_number,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from crystallize.results.columns import Column
    from crystallize.results.condition import ConditionMetrics
    from crystallize.results.preregistration import Preregistration
    from crystallize.statistics.hypothesis_result import HypothesisResult


@dataclass(frozen=True)
class SummaryRow:
    """One metric under one condition.

    Attributes
    ----------
    metric, condition : str
        Which.
    n : int
        In how many replicates it was recorded. Several values of one replicate count as their mean.
    mean, sd : float or None
        Mean and standard deviation over replicates (``n - 1`` in the denominator); None if not numeric, and
        without enough values.
    difference : float or None
        Mean of treatment minus baseline over the replicates that recorded both; None for the baseline, and if
        there are none.
    interval : tuple of float or None
        Both ends of the confidence interval of `difference`, by Student's t on the paired differences; None for
        less than two pairs.
    pairs : int
        How many replicates recorded both.
    failed : int
        How many replicates failed under this condition.
    numeric : bool
        Whether all values are numbers.
    """

    metric: str
    condition: str
    n: int
    mean: float | None = None
    sd: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    pairs: int = 0
    failed: int = 0
    numeric: bool = True


@dataclass(frozen=True, repr=False)
class Summary:
    """A table of all metrics under all conditions, and one of each hypothesis; ``print(summary)`` shows them.

    Attributes
    ----------
    rows : tuple of SummaryRow
        By metric in the order of recording, then by condition, the baseline first.
    replicates : int
        How many replicates the run had.
    confidence : float
        Level of the intervals.
    identical : tuple of str
        The treatments whose every outcome equals the baseline's, in all metrics.
    hypotheses : tuple of HypothesisResult
        What the run's hypotheses found.
    preregistration : Preregistration or None
        The plan that was locked before the run, and what departs from it.
    """

    rows: tuple[SummaryRow, ...]
    replicates: int
    confidence: float
    identical: tuple[str, ...] = ()
    hypotheses: tuple[HypothesisResult, ...] = ()
    preregistration: Preregistration | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain dicts and lists."""
        return {
            "replicates": self.replicates,
            "confidence": self.confidence,
            "rows": [asdict(row) for row in self.rows],
            "identical": list(self.identical),
            "hypotheses": [each.to_dict() for each in self.hypotheses],
            "preregistration": None if self.preregistration is None else self.preregistration._asdict(),
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def lines(self, width: int = WIDTH) -> list[str]:
        """Return the lines of a text of at most `width` columns."""
        table = [*self._table().lines(width), ""] if self.rows else []
        lines = [*table, *wrapped(self._notes(), width)]
        for hypothesis in self.hypotheses:
            lines += ["", *hypothesis.lines(width)]
        if self.preregistration is not None:
            lines += ["", *wrapped(self.preregistration.lines(), width)]
        return lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        yield Text("\n".join(self.lines(options.max_width)))

    def _repr_html_(self) -> str:
        table = self._table().html() if self.rows else ""
        notes = "<br>".join(map(html.escape, self._notes()))
        found = "".join(each._repr_html_() for each in self.hypotheses)
        planned = () if self.preregistration is None else self.preregistration.lines()
        plan = "<br>".join(map(html.escape, planned))
        return f"{table}<p>{notes}</p>{found}" + (f"<p>{plan}</p>" if plan else "")

    def _table(self) -> TextTable:
        return TextTable(self._header(), self._cells())

    def _header(self) -> tuple[str, ...]:
        return (
            "metric",
            "condition",
            "n",
            "mean",
            "sd",
            "difference",
            f"{100 * self.confidence:g}% interval",
        )

    def _notes(self) -> Iterator[str]:
        if not self.rows:
            yield "no metrics were recorded"
            return
        yield f"{counted(self.replicates, 'replicate')}. sd: standard deviation over replicates."
        if any(row.difference is not None for row in self.rows):
            yield "difference: treatment minus baseline within replicates; interval: Student's t."
        failed = {row.condition: row.failed for row in self.rows if row.failed}
        if failed:
            counts = ", ".join(f"{count} under {name!r}" for name, count in failed.items())
            yield f"failed replicates: {counts}."
        if self.identical:
            names = ", ".join(map(repr, self.identical))
            yield f"identical to the baseline in every outcome: {names}."

    def _cells(self) -> list[tuple[str, ...]]:
        """Return the body of the table as text, the numbers of a column padded to one decimal point."""
        numbers: list[tuple[str, ...]] = []
        intervals: list[str] = []
        for _, rows in self._by_metric():
            of_values = choose_decimals([row.sd for row in rows], [row.mean for row in rows])
            of_differences = choose_decimals(
                [_half_width(row) for row in rows], [row.difference for row in rows]
            )
            for row in rows:
                mean = format_number(row.mean, of_values) if row.numeric else "not numeric"
                numbers.append(
                    (
                        mean,
                        format_number(row.sd, of_values),
                        format_number(row.difference, of_differences, sign="+"),
                    )
                )
            ends = [row.interval or (None, None) for row in rows]
            lows, highs = (
                [format_number(end, of_differences, sign="+") for end in side]
                for side in zip(*ends, strict=True)
            )
            width = max(map(len, [*lows, *highs]))
            intervals += [
                f"[{low:>{width}}, {high:>{width}}]" if low else ""
                for low, high in zip(lows, highs, strict=True)
            ]
        columns = [align_points(column) for column in zip(*numbers, strict=True)]
        names = [(row.metric, row.condition, str(row.n)) for row in self.rows]
        return [
            (*name, *line) for name, line in zip(names, zip(*columns, intervals, strict=True), strict=True)
        ]

    def _by_metric(self) -> Iterator[tuple[str, list[SummaryRow]]]:
        for metric in dict.fromkeys(row.metric for row in self.rows):
            yield metric, [row for row in self.rows if row.metric == metric]


def summarize(
    conditions: Sequence[ConditionMetrics],
    replicates: int,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
    hypotheses: Sequence[HypothesisResult] = (),
) -> Summary:
    """Summarise what the conditions of a run gave.

    Parameters
    ----------
    conditions : sequence of ConditionMetrics
        The conditions, the baseline first.
    replicates : int
        How many replicates the run had.
    metrics : sequence of str, optional
        The metrics wanted; by default all.
    confidence : float
        Level of the interval of the differences, between 0 and 1.
    hypotheses : sequence of HypothesisResult
        What the run's hypotheses found.

    Raises
    ------
    MissingMetricError
        If no condition recorded a metric that is asked for.
    InvalidTypeError, InvalidValueError
        If an argument cannot be used.
    """
    check_share("confidence", confidence)
    recorded = list(dict.fromkeys(metric for condition in conditions for metric in condition.columns))
    wanted = [metrics] if isinstance(metrics, str) else list(recorded if metrics is None else metrics)
    for metric in wanted:
        if metric not in recorded:
            advice = did_you_mean(metric, recorded)
            raise MissingMetricError(
                f"no condition recorded metric {metric!r}",
                hint=f"Recorded were {listed(recorded)}. {advice}".rstrip(),
            )
    baseline = conditions[0]
    rows = tuple(_row(metric, baseline, each, confidence) for metric in wanted for each in conditions)
    identical = tuple(each.name for each in conditions[1:] if _is_identical(each, baseline))
    return Summary(rows, replicates, float(confidence), identical, tuple(hypotheses))


def _row(
    metric: str, baseline: ConditionMetrics, condition: ConditionMetrics, confidence: float
) -> SummaryRow:
    name, failed = condition.name, len(condition.errors)
    column = condition.columns.get(metric)
    if column is None:
        return SummaryRow(metric, name, 0, failed=failed)
    if not column.is_numeric:
        n = sum(1 for _ in column.by_replicate())
        return SummaryRow(metric, name, n, failed=failed, numeric=False)
    n, mean, sd, *_ = moments(per_replicate(column, metric))
    row = SummaryRow(metric, name, n, mean, None if n < 2 else sd, failed=failed)
    other = baseline.columns.get(metric)
    if condition is baseline or other is None or not other.is_numeric:
        return row
    left, right = BaselineColumns(baseline.columns).align(condition.columns, [metric])
    pairs, difference, spread, *_ = moments(
        paired_differences(left.per_replicate(metric), right.per_replicate(metric))
    )
    return replace(
        row,
        pairs=pairs,
        difference=difference if pairs else None,
        interval=student_interval(pairs, difference, spread, confidence) if pairs > 1 else None,
    )


def _is_identical(condition: ConditionMetrics, baseline: ConditionMetrics) -> bool:
    """Tell whether each outcome of `condition` is that of the baseline: the same values of the same metrics."""
    ours, theirs = condition.columns, baseline.columns
    return (
        bool(ours)
        and ours.keys() == theirs.keys()
        and [error.replicate for error in condition.errors] == [error.replicate for error in baseline.errors]
        and all(_are_equal(ours[metric], theirs[metric]) for metric in ours)
    )


def _are_equal(column: Column, other: Column) -> bool:
    if len(column) != len(other):
        return False
    if column.is_dense and other.is_dense:
        import numpy as np

        return np.array_equal(column.array(), other.array(), equal_nan=True)
    return all(
        replicate == its_replicate and len(values) == len(its) and all(map(_is_same, values, its))
        for (replicate, values), (its_replicate, its) in zip(
            column.by_replicate(), other.by_replicate(), strict=False
        )
    )


def _is_same(value: Any, other: Any) -> bool:
    try:
        return bool(value == other) or (math.isnan(value) and math.isnan(other))
    except Exception:  # what `==` of a user's object, or of an array, gives may be no truth value
        return False


def _half_width(row: SummaryRow) -> float | None:
    return None if row.interval is None else (row.interval[1] - row.interval[0]) / 2
