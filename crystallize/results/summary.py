"""The summary of a result: what each metric came to under each condition, as a table."""

from __future__ import annotations

import html
import math
import pickle
import textwrap
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import groupby, product
from typing import TYPE_CHECKING, Any, Literal

from crystallize.errors import InvalidValueError
from crystallize.metrics.condition import NAN, NO_CLUSTER, NOT_BOTH, check_recorded, recorded_metrics
from crystallize.results.detail import (
    describe,
    stated_findings,
    unstated_findings,
)
from crystallize.results.detail_text import detail_lines
from crystallize.results.frame import frame_type
from crystallize.results.pairs import find_pairs, measure_together, tags_of
from crystallize.results.summary_row import SummaryRow
from crystallize.statistics.effect_size import is_known_to_be_negative
from crystallize.statistics.intervals import bootstrap_t_interval
from crystallize.statistics.moments import moments_of_each
from crystallize.statistics.samples import per_replicate
from crystallize.statistics.verdicts import sharing_notes
from crystallize.utils.checks import check_share
from crystallize.utils.number_text import align_points, decimals_of_each, format_number
from crystallize.utils.text_table import WIDTH, TextTable, wrapped
from crystallize.utils.wording import counted, listed, name_hint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from crystallize.metrics.columns import Column
    from crystallize.metrics.condition import ConditionMetrics
    from crystallize.results.detail import Detail, Finding, Key
    from crystallize.results.pairs import Pairs
    from crystallize.results.preregistration import Preregistration
    from crystallize.statistics.hypothesis_result import Comparison, HypothesisResult
    from crystallize.statistics.stopping.report import Stopping

    IntervalKind = Literal["student", "bootstrap-t"]
    Stated = Mapping[Key, tuple[Comparison, HypothesisResult]]


_MOST_SHOWN = 10
_WIDE = 120
_METHODS = {
    "student": "treatment minus baseline within replicates; interval: Student's t.",
    "bootstrap-t": "treatment minus baseline within replicates; interval: bootstrap-t.",
    "welch": "treatment minus baseline; interval: Welch's t, without pairs.",
    "shares": "shares of true ones, treatment minus baseline; interval: Agresti and Min.",
    "clusters": "treatment minus baseline within replicates; interval: Student's t on clusters.",
}


@dataclass(frozen=True, repr=False)
class Summary:
    """A table of all metrics under all conditions, and one of each hypothesis; ``print(summary)`` shows them.

    Attributes
    ----------
    rows : tuple of SummaryRow
        By metric in the order of recording, then by condition, the baseline first.
    replicates : int
        How many replicates were measured.
    confidence : float
        Level of the intervals.
    identical : tuple of str
        The treatments whose every outcome equals the baseline's, in all metrics.
    hypotheses : tuple of HypothesisResult
        What the run's hypotheses found.
    preregistration : Preregistration or None
        The plan that was locked before the run, and what departs from it.
    shared_inputs : mapping of str to int
        Each experiment of which several replicates read the same artifact, with how many replicates that has.
    stopped_inputs : tuple of str
        The experiments that it read, and whose stopping rules say how many replicates it has.
    stopping : Stopping or None
        What the rule saw that ended the run.
    cluster : str or None
        The tag whose clusters the rows count.
    failed : dict of str to int
        How many replicates failed under each condition under which any did.
    planned : int or None
        How many replicates the run was to have, which is more if it was broken off.
    """

    rows: tuple[SummaryRow, ...]
    replicates: int
    confidence: float
    identical: tuple[str, ...] = ()
    hypotheses: tuple[HypothesisResult, ...] = ()
    preregistration: Preregistration | None = None
    stopping: Stopping | None = None
    cluster: str | None = None
    failed: Mapping[str, int] = field(default_factory=dict)
    planned: int | None = None
    shared_inputs: Mapping[str, int] = field(default_factory=dict)
    stopped_inputs: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain dicts and lists."""
        return {
            "replicates": self.replicates,
            "planned": self.planned,
            "confidence": self.confidence,
            "cluster": self.cluster,
            "rows": [asdict(row) for row in self.rows],
            "failed": dict(self.failed),
            "identical": list(self.identical),
            "hypotheses": [each.to_dict() for each in self.hypotheses],
            "preregistration": None if self.preregistration is None else self.preregistration._asdict(),
            "shared_inputs": dict(self.shared_inputs),
            "stopped_inputs": list(self.stopped_inputs),
            "stopping": None if self.stopping is None else self.stopping.to_dict(),
        }

    def to_frame(self) -> DataFrame:
        """Return a frame with a row for each row, and a column for each of its attributes and of its detail's.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        frame = frame_type("Summary.to_frame")
        records = map(asdict, self.rows)
        return frame([record | (record.pop("detail") or {}) for record in records])

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def lines(self, width: int = WIDTH) -> list[str]:
        """Return the lines of a text of at most `width` columns."""
        table = [*self._table().lines(width), ""] if self.rows else []
        lines = [*table, *wrapped(self._notes(), width), *self._detail_lines(width)]
        for hypothesis in self.hypotheses:
            lines += ["", *hypothesis.lines(width, cluster=self._cluster_of(hypothesis))]
        if self.stopping is not None:
            lines += ["", *wrapped(self.stopping.sentences(), width)]
        if self.preregistration is not None:
            lines += ["", *wrapped(self.preregistration.lines(), width)]
        return lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        yield Text("\n".join(self.lines(options.max_width)))

    def _repr_html_(self) -> str:
        table = self._table().html() if self.rows else ""
        notes = "<br>".join(map(html.escape, self._notes()))
        details = "\n".join(self._detail_lines(_WIDE))
        more = f"<pre>{html.escape(details.strip())}</pre>" if details else ""
        found = "".join(each._repr_html_(self._cluster_of(each)) for each in self.hypotheses)
        told = [
            () if self.stopping is None else self.stopping.sentences(),
            () if self.preregistration is None else self.preregistration.lines(),
        ]
        texts = ["<br>".join(map(html.escape, lines)) for lines in told]
        return f"{table}<p>{notes}</p>{more}{found}" + "".join(f"<p>{text}</p>" for text in texts if text)

    def _cluster_of(self, hypothesis: HypothesisResult) -> str | None:
        """Return the tag by whose clusters the table counts a metric of this hypothesis."""
        clustered = any(row.method == "clusters" and hypothesis.has_metric(row.metric) for row in self.rows)
        return self.cluster if clustered else None

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
        planned = self.planned or self.replicates
        replicates = counted(planned, "replicate")
        if self.replicates != planned:
            replicates = f"{self.replicates} of {replicates}"
        if self.rows:
            yield f"{replicates}. sd: standard deviation over replicates."
            yield from self._method_notes()
            yield from sharing_notes(self.shared_inputs, self.replicates)
            yield from self._stopping_notes()
        elif self.replicates != planned:
            yield f"no metrics were recorded in {replicates}"
        else:
            yield "no metrics were recorded"
        if self.failed:
            each = ", ".join(f"{count} under {name!r}" for name, count in self.failed.items())
            yield f"failed replicates: {each}."
        if not self.rows:
            return
        yield from self._loss_notes()
        left_out = len({row.condition for row in self.rows}) - len({row.condition for row in self._shown})
        if left_out:
            yield f"{counted(left_out, 'more treatment')}: rows and to_frame() have all of them."
        if self.identical:
            names = ", ".join(map(repr, self.identical))
            yield f"identical to the baseline in every outcome: {names}."

    def _method_notes(self) -> Iterator[str]:
        """Say how the differences and their intervals were found."""
        methods: dict[str, list[str]] = {}
        for row in self.rows:
            if row.difference is not None and row.method is not None:
                metrics = methods.setdefault(row.method, [])
                if row.metric not in metrics:
                    metrics.append(row.metric)
        only = len(methods) == 1
        for method, metrics in methods.items():
            of = "" if only else f" of {', '.join(metrics)}"
            yield f"difference{of}: {_METHODS[method]}"

    def _stopping_notes(self) -> Iterator[str]:
        """Say of which experiments a stopping rule has said how many replicates there are."""
        if self.stopped_inputs:
            yield (
                f"a stopping rule of {listed(self.stopped_inputs)} has said how many replicates there are: intervals "
                "and p-values hold for a number that was fixed beforehand."
            )

    def _loss_notes(self) -> Iterator[str]:
        """Name what is missing besides failures, and pairs that cost more than they gained."""
        lost: Counter[tuple[str, str]] = Counter()
        for row in self.rows:
            for reason in (NAN, NOT_BOTH, NO_CLUSTER):
                if row.dropped.get(reason):
                    lost[row.metric, reason] += row.dropped[reason]
        for (metric, reason), count in lost.items():
            yield f"left out of {metric}: {counted(count, 'pair')}, {reason}."
        for row in self.rows:
            if row.correlation is not None and is_known_to_be_negative(row.correlation, row.pairs):
                yield (
                    f"the pairs of {row.condition!r} on {row.metric} vary against each other (correlation "
                    f"{row.correlation:.2f}), so comparing within replicates costs replicates: do both share their "
                    "random numbers?"
                )

    def _detail_lines(self, width: int) -> Iterator[str]:
        for row in self._shown:
            if row.detail is not None:
                yield ""
                yield f"{row.metric}, {row.condition}"
                for name, text in detail_lines(row, row.detail, self.confidence):
                    yield from textwrap.wrap(
                        text, width, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14
                    )

    @cached_property
    def _shown(self) -> list[SummaryRow]:
        """The rows that are shown: all, or of very many treatments the best."""
        if len({row.condition for row in self.rows}) <= _MOST_SHOWN + 1:
            return list(self.rows)
        shown = []
        for metric, rows in self._rows_of(self.rows):
            places = next((_places(each) for each in self.hypotheses if each.has_metric(metric)), {})
            baseline, *others = rows
            others.sort(key=lambda row: (places.get(row.condition, len(places)), -abs(row.difference or 0)))
            shown += [baseline, *others[:_MOST_SHOWN]]
        return shown

    def _cells(self) -> list[tuple[str, ...]]:
        """Return the body of the table as text, the numbers of a column padded to one decimal point."""
        numbers: list[tuple[str, ...]] = []
        intervals: list[str] = []
        for _, rows in self._rows_of(self._shown):
            of_values = decimals_of_each([row.sd for row in rows], [row.mean for row in rows])
            of_differences = decimals_of_each(
                [row.half_width for row in rows], [row.difference for row in rows]
            )
            ends: list[str] = []  # the lower one of each row, and then its upper one
            for row, of_value, of_difference in zip(rows, of_values, of_differences, strict=True):
                mean = format_number(row.mean, of_value) if row.numeric else "not numeric"
                numbers.append(
                    (
                        mean,
                        format_number(row.sd, of_value),
                        format_number(row.difference, of_difference, sign="+"),
                    )
                )
                ends += [format_number(end, of_difference, sign="+") for end in row.interval or (None, None)]
            width = max(map(len, ends))
            intervals += [
                f"[{low:>{width}}, {high:>{width}}]" if low else ""
                for low, high in zip(ends[::2], ends[1::2], strict=True)
            ]
        columns = [align_points(column) for column in zip(*numbers, strict=True)]
        names = [(row.metric, row.condition, str(row.n)) for row in self._shown]
        return [
            (*name, *line) for name, line in zip(names, zip(*columns, intervals, strict=True), strict=True)
        ]

    @staticmethod
    def _rows_of(rows: Sequence[SummaryRow]) -> Iterator[tuple[str, list[SummaryRow]]]:
        """Yield the rows of each metric."""
        for metric, of_metric in groupby(rows, lambda row: row.metric):
            yield metric, list(of_metric)


def summarize(
    conditions: Sequence[ConditionMetrics],
    replicates: int,
    metrics: Sequence[str] | None = None,
    confidence: float = 0.95,
    hypotheses: Sequence[HypothesisResult] = (),
    *,
    detail: bool = False,
    cluster: str | None = None,
    interval: IntervalKind = "student",
) -> Summary:
    """Summarise what the conditions of a run gave.

    Parameters
    ----------
    conditions : sequence of ConditionMetrics
        The conditions, the baseline first.
    replicates : int
        How many replicates were measured.
    metrics : sequence of str, optional
        The metrics wanted; by default all.
    confidence : float
        Level of the interval of the differences, between 0 and 1.
    hypotheses : sequence of HypothesisResult
        What the run's hypotheses found.
    detail : bool
        Whether to find all that is known of each comparison.
    cluster : str, optional
        A tag of values. Those of different replicates that have the same one depend on each other.
    interval : {"student", "bootstrap-t"}
        How the interval of a mean of paired differences is found.

    Raises
    ------
    MissingMetricError
        If no condition recorded a metric that is asked for.
    InvalidTypeError, InvalidValueError
        If an argument cannot be used.
    """
    check_share("confidence", confidence)
    if interval not in ("student", "bootstrap-t"):
        raise InvalidValueError(f"interval is 'student' or 'bootstrap-t', got {interval!r}")
    recorded = recorded_metrics(conditions)
    wanted = [metrics] if isinstance(metrics, str) else list(recorded if metrics is None else metrics)
    for metric in wanted:
        check_recorded(metric, recorded)
    if cluster is not None:
        if interval != "student":
            raise InvalidValueError(
                f"the interval of a mean over clusters is Student's, and not {interval!r}",
                hint="Leave out interval, or cluster",
            )
        _check_cluster(cluster, conditions, wanted)
    baseline = conditions[0]
    stated: dict[Key, tuple[Comparison, HypothesisResult]] = {}
    for found in hypotheses:
        for each in found.comparisons:
            stated.setdefault((each.metric, each.treatment), (each, found))
    compared = {}
    others: list[str] = []  # metrics whose tests are of one family with those that are shown
    if detail and cluster is not None:
        tested = dict.fromkeys(metric for found in hypotheses for metric in found.metrics)
        others = [metric for metric in tested if metric in recorded and metric not in wanted]
    for metric, condition in product([*wanted, *others], conditions[1:]):
        key = (metric, condition.name)
        paired = key not in stated or stated[key][0].paired
        pairs = find_pairs(metric, baseline, condition, cluster=cluster, paired=paired)
        if pairs is not None:
            compared[key] = pairs
    measure_together(list(compared.values()))
    details = _details(compared, stated, hypotheses, confidence, wanted) if detail else {}
    rows = []
    for metric in wanted:
        for row in _rows(metric, conditions):
            key = (metric, row.condition)
            if key in compared:
                rows.append(_compared(row, compared[key], confidence, details.get(key), interval))
            else:
                rows.append(row)
    return Summary(
        tuple(rows),
        replicates,
        float(confidence),
        tuple(each.name for each in conditions[1:] if _is_identical(each, baseline)),
        tuple(hypotheses),
        cluster=cluster,
        failed={each.name: len(each.errors) for each in conditions if each.errors},
    )


def _check_cluster(cluster: Any, conditions: Sequence[ConditionMetrics], metrics: Sequence[str]) -> None:
    known = tags_of(conditions, metrics)
    if cluster not in known:
        raise InvalidValueError(
            f"no value has the tag {cluster!r}, so there are no clusters",
            hint=f"{name_hint(cluster, 'The tags are', known)}. Record it with ctx.record(name, value, tags=...)",
        )


def _details(
    compared: Mapping[Key, Pairs],
    stated: Stated,
    hypotheses: Sequence[HypothesisResult],
    confidence: float,
    metrics: Collection[str],
) -> dict[Key, Detail]:
    """Return the details of these metrics: each with what its hypothesis found, or else with a test of our own."""
    shown = {key: pairs for key, pairs in compared.items() if key[0] in metrics}
    found: dict[Key, Finding] = {}
    for hypothesis in hypotheses:
        its = {key: stated[key][0] for key in shown if key in stated and stated[key][1] is hypothesis}
        found |= stated_findings(its, hypothesis, compared)
    own = [key for key in shown if key not in found]
    found |= zip(own, unstated_findings([shown[key] for key in own], 1 - confidence), strict=True)
    return {key: describe(pairs, found[key], confidence) for key, pairs in shown.items()}


def _rows(metric: str, conditions: Sequence[ConditionMetrics]) -> Iterator[SummaryRow]:
    """Yield the row of each condition by itself."""
    columns = [condition.columns.get(metric) for condition in conditions]
    numeric = [column for column in columns if column is not None and column.is_numeric]
    found = iter(moments_of_each([per_replicate(column, metric) for column in numeric]))
    for condition, column in zip(conditions, columns, strict=True):
        name, failed = condition.name, len(condition.errors)
        if column is None:
            yield SummaryRow(metric, name, 0, failed=failed)
        elif not column.is_numeric:
            n = sum(1 for _ in column.by_replicate())
            yield SummaryRow(metric, name, n, failed=failed, numeric=False)
        else:
            n, mean, sd, *_ = next(found)
            yield SummaryRow(metric, name, n, mean, None if n < 2 else sd, failed=failed)


def _compared(
    row: SummaryRow, pairs: Pairs, confidence: float, detail: Detail | None, interval: IntervalKind
) -> SummaryRow:
    """Return the row with its difference to the baseline."""
    n, gain = len(pairs.treatment), pairs.gain
    is_resampled = interval == "bootstrap-t" and pairs.method == "student" and n > 1
    ends = bootstrap_t_interval(pairs.differences, confidence) if is_resampled else pairs.interval(confidence)
    return replace(
        row,
        pairs=n,
        difference=pairs.mean.difference if n else None,
        interval=ends if n > 1 else None,
        dropped=pairs.dropped,
        method=interval if is_resampled else pairs.method,
        correlation=None if gain is None else gain.correlation,
        detail=detail,
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
        return _same_bytes(value, other)


def _same_bytes(value: Any, other: Any) -> bool:
    try:
        return pickle.dumps(value) == pickle.dumps(other)
    except Exception:  # it cannot be pickled
        return False


def _places(found: HypothesisResult) -> dict[str, int]:
    """Return the place of each treatment in a hypothesis's ranking."""
    return {name: place for place, name in enumerate(found.ranking["ranked"])}
