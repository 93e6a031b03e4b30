"""The samples that a verifier compares: two conditions, aligned replicate by replicate.

Baseline and treatment of one replicate share their random numbers, so values are compared in pairs. A
replicate that failed, or recorded NaN, under one of the two must then be left out of both, or every later pair would be
wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from crystallize.metrics.columns import Column, Samples
from crystallize.metrics.condition import ConditionMetrics
from crystallize.statistics.moments import as_floats, means_of_rows

if TYPE_CHECKING:
    import numpy as np

    from crystallize.statistics.moments import NumberArray, Rows

    BoolArray = np.ndarray[Any, np.dtype[np.bool]]
    Pair = tuple["ConditionSamples", "ConditionSamples"]
    # The baseline as far as it is beside a treatment, the treatment, and the groups of metrics that are compared.
    Compared = tuple[ConditionMetrics, ConditionMetrics, list[tuple[str, ...]]]

_logger = logging.getLogger("crystallize.hypothesis")


class ConditionSamples(Mapping[str, list[Any]]):
    """What one condition recorded, as a mapping from a metric's name to the list of its values.

    A verifier is handed two of them. Both hold the values of the same replicates, in replicate order.
    ``numpy.asarray(samples["loss"])`` costs no conversion, and :meth:`array` makes no list either.

    Parameters
    ----------
    sources : mapping of str to Column, _SharedColumn or _CommonReplicates
        Where the values of each metric come from: whole columns, with one number in each replicate, or what is left of
        them.
    is_whole : bool
        Whether these are all numbers that were recorded: one, which is not NaN, of each replicate.
    """

    __slots__ = ("_sources", "is_whole")

    def __init__(self, sources: Mapping[str, _Source], *, is_whole: bool) -> None:
        self._sources = sources
        self.is_whole = is_whole

    def __getitem__(self, metric: str) -> list[Any]:
        return self._sources[metric].values()

    def __contains__(self, metric: object) -> bool:
        return metric in self._sources  # the mixin's makes the list

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __repr__(self) -> str:
        return f"ConditionSamples({', '.join(self)})"

    def array(self, metric: str) -> np.ndarray[Any, Any]:
        """Return all values of `metric` as a read-only 1-D array, equal to the list ``self[metric]``."""
        return self._sources[metric].array()

    def per_replicate(self, metric: str) -> NumberArray:
        """Return one number for each replicate, 1-D: its value of `metric`, or the mean of its values.

        Integers stay integers; those beyond 64 bits stand in an array of objects.

        Values of one replicate are not independent of each other. A test that took them as such would claim
        too much (Hurlbert, S. H. (1984), "Pseudoreplication and the design of ecological field experiments",
        Ecological Monographs 54, 187-211), so the replicate is the unit that the built-in tests count.

        Raises
        ------
        InvalidTypeError
            If a value is not a number.
        """
        return _per_replicate(self._sources[metric], metric)

    def numbers(self) -> dict[str, NumberArray]:
        """Return what :meth:`per_replicate` gives of each metric."""
        if self.is_whole:
            return {metric: source.array() for metric, source in self._sources.items()}
        return {metric: _per_replicate(source, metric) for metric, source in self._sources.items()}


class _SharedColumn:
    """The baseline's column, whose list and array serve every treatment."""

    __slots__ = ("_array", "_column", "_list")

    def __init__(self, column: Column) -> None:
        self._column = column
        self._list: list[Any] | None = None
        self._array: NumberArray | None = None

    def values(self) -> list[Any]:
        # Handed out in copies: a verifier may sort its list in place.
        if self._list is None:
            self._list = self._column.values()
        return Samples(self._list, self.array())

    def array(self) -> NumberArray:
        # One array for all treatments, by which is seen that their baseline is the same.
        if self._array is None:
            self._array = self._column.array()
        return self._array


class _CommonReplicates:
    """The values of the replicates that two conditions have in common."""

    __slots__ = ("_flat", "_rows")

    def __init__(self, rows: list[list[Any]], flat: list[Any]) -> None:
        self._rows = rows
        self._flat = flat

    def values(self) -> list[Any]:
        return Samples(self._flat)

    def array(self) -> np.ndarray[Any, Any]:
        import numpy as np

        array = np.array(self._flat)
        array.flags.writeable = False
        return array

    def per_replicate(self, metric: str) -> NumberArray:
        return means_of_rows(self._rows, metric)


_Source = Column | _SharedColumn | _CommonReplicates


def _per_replicate(source: _Source, metric: str) -> NumberArray:
    return source.per_replicate(metric) if isinstance(source, _CommonReplicates) else source.array()


class AlignedSamples(Sequence["Pair"]):
    """What a verifier compares of each treatment, for one group of metrics: the baseline's samples, and its own.

    A replicate is in both or in neither: in neither, if it has recorded nothing, or NaN, under one of the conditions.
    Pairs are made when somebody looks at one; tests that take all treatments at once seldom need them.

    Parameters
    ----------
    compared : iterable of tuple
        For each treatment the baseline, itself, and the groups of metrics that both recorded; at least one.
    place : int
        Which of the groups it is of.
    """

    def __init__(self, compared: Iterable[Compared], place: int) -> None:
        self._baselines, self._treatments, groups = zip(*compared, strict=True)
        self._metrics = [each[place] for each in groups]

    def __len__(self) -> int:
        return len(self._treatments)

    def __getitem__(self, place: Any) -> Any:
        return self._pairs[place]

    def __repr__(self) -> str:
        return repr(self._pairs)

    @cached_property
    def _pairs(self) -> list[Pair]:
        baseline_samples = cache(_BaselineSamples)  # treatments share them
        each = zip(self._baselines, self._metrics, self._treatments, strict=True)
        return [baseline_samples(baseline, metrics).align(own.columns) for baseline, metrics, own in each]

    @cached_property
    def rows(self) -> tuple[Rows, Rows] | None:
        """The numbers of the baseline, and those of each treatment, if all are of one metric and as many.

        None if those of the treatments are not of one kind, or if a replicate lacks its number in one of them.
        """
        if len(set(self._baselines)) > 1 or len(set(self._metrics)) > 1 or len(self._metrics[0]) != 1:
            return None
        (metric,) = self._metrics[0]
        baseline = self._baselines[0].columns[metric]
        columns = [each.columns[metric] for each in self._treatments]
        if baseline.whole_size < 0 or {each.whole_size for each in columns} != {baseline.whole_size}:
            return None
        rows = [each.array() for each in columns]
        return ([baseline.array()], rows) if len({each.dtype for each in rows}) == 1 else None

    def lossy(self) -> list[int]:
        """Return the places of the treatments of which not every replicate is a pair of single numbers."""
        if self.rows is not None:
            return []
        return [place for place, (_, own) in enumerate(self._pairs) if not own.is_whole]


class _BaselineSamples:
    """The baseline's side of the comparisons of some metrics, read once and used for every treatment."""

    def __init__(self, baseline: ConditionMetrics, metrics: Sequence[str]) -> None:
        self._columns = {metric: baseline.columns[metric] for metric in metrics}
        self._shared = {metric: _SharedColumn(column) for metric, column in self._columns.items()}
        self._whole = ConditionSamples(self._shared, is_whole=True)  # of all treatments that lack nothing

    def align(self, treatment: Mapping[str, Column]) -> Pair:
        """Return the samples of the baseline and of a treatment with these columns, each metric aligned by itself."""
        left: dict[str, _Source] = dict(self._shared)
        right: dict[str, _Source] = {metric: treatment[metric] for metric in left}
        is_whole = True
        for metric, ours in self._columns.items():
            if not ours.is_paired_with(treatment[metric]):
                left[metric], right[metric] = _align(metric, ours, treatment[metric])
                is_whole = False
        own = ConditionSamples(right, is_whole=is_whole)
        return (self._whole if is_whole else ConditionSamples(left, is_whole=False)), own


def in_blocks(compared: Collection[Compared], place: int) -> list[Compared]:
    """Return what is compared, as far as all have it: of each metric the replicates with a number under each condition.

    The parameters are those of :class:`AlignedSamples`.
    """
    import numpy as np

    conditions = dict.fromkeys(each for *pair, _ in compared for each in pair)
    columns: dict[ConditionMetrics, dict[str, Column]] = {each: {} for each in conditions}
    for metric in dict.fromkeys(metric for *_, groups in compared for metric in groups[place]):
        of_metric = {each: each.columns[metric] for each in conditions if metric in each.columns}
        end = min(column.end for column in of_metric.values())
        common = np.logical_and.reduce([column.has_number(end) for column in of_metric.values()])
        for each, column in of_metric.items():
            columns[each][metric] = column.part(common)
    parts = {each: ConditionMetrics(each.name, columns[each], {}, (), []) for each in conditions}
    return [(parts[baseline], parts[treatment], groups) for baseline, treatment, groups in compared]


def replicates_of_some(*columns: Column) -> frozenset[int]:
    """Return the replicates that some of the conditions have recorded a metric in, and not all."""
    import numpy as np

    if all(columns[0].is_paired_with(column) for column in columns):
        return frozenset()
    end = max(column.end for column in columns)
    recorded = [column.recorded(end) for column in columns]
    of_some = np.logical_or.reduce(recorded) & ~np.logical_and.reduce(recorded)
    return frozenset(np.flatnonzero(of_some).tolist())


def lost_halves(baseline: Column, treatment: Column) -> tuple[int, int]:
    """Count the pairs that lack a number: in how many the treatment alone has lost it, and in how many the baseline.

    A replicate that recorded nothing has lost its number, and so has one that recorded NaN.
    """
    if baseline.is_paired_with(treatment):
        return 0, 0
    end = max(baseline.end, treatment.end)
    ours, theirs = baseline.has_number(end), treatment.has_number(end)
    return int((ours & ~theirs).sum()), int((theirs & ~ours).sum())


def _align(metric: str, baseline: Column, treatment: Column) -> tuple[_Source, _Source]:
    common = baseline.common_with(treatment)
    if common is not None:
        return common
    pairs = baseline.rows_with(treatment)
    # In the flat lists, a replicate with unequal counts would shift every value after it.
    even = [(ours, theirs) for ours, theirs in pairs if len(ours) == len(theirs)]
    if len(even) < len(pairs):
        _logger.warning(
            "metric %r has different numbers of values under the two conditions in %d of %d replicates: "
            "the lists for verifiers leave these out. Record it equally often, or once",
            metric,
            len(pairs) - len(even),
            len(pairs),
        )
    return (
        _CommonReplicates([ours for ours, _ in pairs], [value for ours, _ in even for value in ours]),
        _CommonReplicates([theirs for _, theirs in pairs], [value for _, theirs in even for value in theirs]),
    )


def has_finite_number(column: Column, metric: str, end: int) -> BoolArray:
    """Return for each replicate before `end`, which none of the column is after, whether its number is finite, 1-D.

    Raises
    ------
    InvalidTypeError
        If a value is not a number.
    """
    import numpy as np

    found = column.has_number(end)
    numbers = per_replicate(column.part(found[: column.end]), metric)
    found[found] = np.isfinite(as_floats(numbers))
    return found


def numbers_in(columns: Sequence[Column], metric: str, chosen: BoolArray) -> NumberArray:
    """Return the numbers of the chosen replicates, each of which all columns have: columns x replicates."""
    import numpy as np

    rows = [per_replicate(column.part(chosen[: column.end]), metric) for column in columns]
    if any(row.dtype.kind == "f" for row in rows):
        rows = [as_floats(row) for row in rows]
    return np.stack(rows)


def per_replicate(column: Column, metric: str) -> NumberArray:
    """Return one number for each replicate that recorded `metric`: its value, or the mean of its values."""
    if column.is_dense:
        return column.array()
    return means_of_rows([values for _, values in column.by_replicate()], metric)
