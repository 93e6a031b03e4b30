"""The summary of a result: what each metric came to under each condition, as a table."""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from crystallize.errors import MissingMetricError
from crystallize.statistics.samples import BaselineColumns, moments, per_replicate
from crystallize.statistics.verifiers import check_share, mean_of_differences
from crystallize.utils.suggest import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.results.condition import ConditionMetrics

_WIDTH = 100
_NAMES = 2  # the first columns are names: on the left, and shortened if the table is too wide
_SHORTEST_NAME = 9
_ROUNDING = 1e-12  # a spread this small, relative to the values, is an effect of their rounding
_DIGITS = 3  # significant ones, of the spread: more would be noise


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
        Mean and standard deviation over replicates (``n - 1`` in the denominator); None if not numeric.
    difference : float or None
        Mean of treatment minus baseline over the replicates that recorded both; None for the baseline.
    interval : tuple of float or None
        Both ends of the confidence interval of `difference`, by Student's t on the paired differences.
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


@dataclass(frozen=True)
class Summary:
    """A table of all metrics under all conditions; ``print(summary)`` shows it.

    Attributes
    ----------
    rows : tuple of SummaryRow
        By metric in the order of recording, then by condition, the baseline first.
    replicates : int
        How many replicates the run had.
    confidence : float
        Level of the intervals.
    """

    rows: tuple[SummaryRow, ...]
    replicates: int
    confidence: float

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain dicts and lists."""
        return {
            "replicates": self.replicates,
            "confidence": self.confidence,
            "rows": [asdict(row) for row in self.rows],
        }

    def __str__(self) -> str:
        if not self.rows:
            return "no metrics were recorded"
        table = [self._header(), *self._cells()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        gaps = 2 * (len(widths) - 1)
        widths[:_NAMES] = _narrow(widths[:_NAMES], _WIDTH - gaps - sum(widths[_NAMES:]))
        lines = [
            "  ".join(
                _shorten(cell, width).ljust(width) if i < _NAMES else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        lines.insert(1, "-" * (sum(widths) + gaps))
        return "\n".join([*lines, "", *self._notes()])

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Column, Table
        from rich.text import Text

        table = Table(
            *(
                Column(Text(name), overflow="fold", min_width=_SHORTEST_NAME)
                if i < _NAMES
                else Column(Text(name), justify="right", no_wrap=True)
                for i, name in enumerate(self._header())
            ),
            box=None,
            pad_edge=False,
            header_style="bold",
        )
        for line in self._cells():
            table.add_row(*map(Text, line))
        return Group(table, Text("\n".join(self._notes()), style="dim"))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self._header())
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell.strip())}</td>" for cell in line) + "</tr>"
            for line in self._cells()
        )
        notes = "<br>".join(map(html.escape, self._notes()))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{notes}</p>"

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

    def _notes(self) -> list[str]:
        count = "1 replicate" if self.replicates == 1 else f"{self.replicates} replicates"
        notes = [f"{count}. sd: standard deviation over replicates."]
        if any(row.difference is not None for row in self.rows):
            notes.append(
                "difference: treatment minus baseline, paired by replicate; interval by Student's t."
            )
        failed = {row.condition: row.failed for row in self.rows if row.failed}
        if failed:
            counts = ", ".join(f"{count} under {name!r}" for name, count in failed.items())
            notes.append(f"failed replicates: {counts}.")
        return notes

    def _cells(self) -> list[tuple[str, ...]]:
        """Return the body of the table as text, the numbers of a column padded to one decimal point."""
        numbers: list[tuple[str, ...]] = []
        intervals: list[str] = []
        for _, rows in self._by_metric():
            of_values = _choose_decimals([row.sd for row in rows], [row.mean for row in rows])
            of_differences = _choose_decimals(
                [_half_width(row) for row in rows], [row.difference for row in rows]
            )
            for row in rows:
                mean = _format(row.mean, of_values) if row.numeric else "not numeric"
                numbers.append(
                    (mean, _format(row.sd, of_values), _format(row.difference, of_differences, sign="+"))
                )
            ends = [row.interval or (None, None) for row in rows]
            lows, highs = (
                [_format(end, of_differences, sign="+") for end in side] for side in zip(*ends, strict=True)
            )
            width = max(map(len, [*lows, *highs]))
            intervals += [
                f"[{low:>{width}}, {high:>{width}}]" if low else ""
                for low, high in zip(lows, highs, strict=True)
            ]
        columns = [_align_points(column) for column in zip(*numbers, strict=True)]
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
    return Summary(rows, replicates, float(confidence))


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
    n, mean, variance = moments(per_replicate(column, metric))
    sd = math.sqrt(variance)
    other = baseline.columns.get(metric)
    if condition is baseline or other is None or not other.is_numeric:
        return SummaryRow(metric, name, n, mean, sd, failed=failed)
    left, right = BaselineColumns(baseline.columns).align(condition.columns, [metric])
    paired = mean_of_differences(right.per_replicate(metric) - left.per_replicate(metric), 1 - confidence)
    return SummaryRow(
        metric, name, n, mean, sd, paired["difference"], paired["interval"], paired["n"], failed
    )


def _half_width(row: SummaryRow) -> float | None:
    return None if row.interval is None else (row.interval[1] - row.interval[0]) / 2


def _choose_decimals(spreads: list[float | None], values: list[float | None]) -> int | None:
    """Return how many decimals show the spreads with some digits; None if decimals would not be readable.

    Without a spread the values decide.
    """
    largest = max((abs(x) for x in values if x and math.isfinite(x)), default=0.0)
    sizes = [abs(x) for x in spreads if x and math.isfinite(x) and abs(x) > _ROUNDING * largest]
    size = max(sizes, default=largest)
    if size == 0 or (not sizes and all(x is None or x.is_integer() for x in values)):
        return 0 if largest < 1e9 else None
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(size) + _ROUNDING))
    return decimals if decimals <= 6 and largest < 1e9 else None


def _format(value: float | None, decimals: int | None, *, sign: str = "") -> str:
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return format(value, sign)
    return format(value, f"{sign}.{_DIGITS}e" if decimals is None else f"{sign}.{decimals}f")


def _align_points(cells: Sequence[str]) -> list[str]:
    """Pad numbers to one width so that their decimal points stand below each other."""
    after = [len(cell) - cell.index(".") if "." in cell else 0 for cell in cells]
    most = max(after, default=0)
    padded = [cell + " " * (most - own) if cell else "" for cell, own in zip(cells, after, strict=True)]
    width = max(map(len, padded), default=0)
    return [cell.rjust(width) for cell in padded]


def _narrow(widths: list[int], room: int) -> list[int]:
    """Narrow the widest of `widths` until all fit into `room`, but none below a readable width."""
    widths = list(widths)
    while sum(widths) > room and max(widths) > _SHORTEST_NAME:
        widths[widths.index(max(widths))] -= 1
    return widths


def _shorten(name: str, width: int) -> str:
    """Cut the middle out: names of one family differ at either end."""
    if len(name) <= width:
        return name
    tail = (width - 3) // 2
    return f"{name[: width - 3 - tail]}...{name[-tail:]}"
