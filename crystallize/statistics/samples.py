"""The samples that a verifier compares: two conditions, aligned replicate by replicate.

Baseline and treatment of one replicate share their random numbers, so values are compared in pairs. A
replicate that failed under one of the two must then be left out of both, or every later pair would be wrong.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import InvalidTypeError
from crystallize.results.columns import Column, Samples

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float64]]

_logger = logging.getLogger("crystallize.hypothesis")


class Moments(NamedTuple):
    """Number of values, mean, and variance with ``n - 1``; NaN where there are too few values."""

    n: int
    mean: float
    variance: float


class ConditionSamples(Mapping[str, list[Any]]):
    """What one condition recorded, as a mapping from a metric's name to the list of its values.

    A verifier is handed two of them. Both hold the values of the same replicates, in replicate order.
    ``numpy.asarray(samples["loss"])`` costs no conversion, and :meth:`array` makes no list either.

    Parameters
    ----------
    sources : mapping of str to _WholeColumn or _CommonReplicates
        Where the values of each metric come from.
    """

    def __init__(self, sources: Mapping[str, _WholeColumn | _CommonReplicates]) -> None:
        self._sources = sources

    def __getitem__(self, metric: str) -> list[Any]:
        return self._sources[metric].values()

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __repr__(self) -> str:
        return f"ConditionSamples({', '.join(self)})"

    def array(self, metric: str) -> np.ndarray[Any, Any]:
        """Return all values of `metric` as a read-only 1-D array, equal to the list ``self[metric]``."""
        return self._sources[metric].array()

    def per_replicate(self, metric: str) -> FloatArray:
        """Return one number for each replicate, 1-D: its value of `metric`, or the mean of its values.

        Values of one replicate are not independent of each other. A test that took them as such would claim
        too much (Hurlbert, S. H. (1984), "Pseudoreplication and the design of ecological field experiments",
        Ecological Monographs 54, 187-211), so the replicate is the unit that the built-in tests count.

        Raises
        ------
        InvalidTypeError
            If a value is not a number.
        """
        return self._sources[metric].per_replicate(metric)

    def moments(self, metric: str) -> Moments:
        """Return number, mean and variance of :meth:`per_replicate`."""
        return self._sources[metric].moments(metric)


class _WholeColumn:
    """A column with one number in each replicate: nothing to align, nothing to copy."""

    __slots__ = ("_list", "_moments", "column")

    def __init__(self, column: Column) -> None:
        self.column = column
        self._list: list[Any] | None = None
        self._moments: Moments | None = None

    def values(self) -> list[Any]:
        # Made from the column once, and handed out in copies: a verifier may sort its list in place, and the
        # baseline's serves every treatment.
        if self._list is None:
            self._list = self.column.values()
        return Samples(self._list, self.column.array())

    def array(self) -> np.ndarray[Any, Any]:
        return self.column.array()

    def per_replicate(self, metric: str) -> FloatArray:
        return as_numbers(self.column.array(), metric)

    def moments(self, metric: str) -> Moments:
        if self._moments is None:
            self._moments = moments(self.per_replicate(metric))
        return self._moments


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

    def per_replicate(self, metric: str) -> FloatArray:
        import numpy as np

        numbers = as_numbers([value for values in self._rows for value in values], metric)
        if len(numbers) == len(self._rows):
            return numbers
        lengths = np.array([len(values) for values in self._rows])
        means: FloatArray = np.add.reduceat(numbers, np.cumsum(lengths) - lengths) / lengths
        return means

    def moments(self, metric: str) -> Moments:
        return moments(self.per_replicate(metric))


class BaselineColumns:
    """The baseline's side of all comparisons of a run, read once and used for every treatment."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns
        self._whole: dict[str, _WholeColumn] = {}

    def align(
        self, treatment: Mapping[str, Column], metrics: Iterable[str]
    ) -> tuple[ConditionSamples, ConditionSamples]:
        """Return the samples of the baseline and of one treatment, aligned.

        Parameters
        ----------
        treatment : mapping of str to Column
            The treatment's columns.
        metrics : iterable of str
            Metrics that both conditions recorded. Each is aligned by itself.

        Returns
        -------
        tuple of ConditionSamples
            The baseline's and the treatment's. A replicate is in both or in neither.
        """
        left: dict[str, _WholeColumn | _CommonReplicates] = {}
        right: dict[str, _WholeColumn | _CommonReplicates] = {}
        for metric in metrics:
            ours, theirs = self._columns[metric], treatment[metric]
            if ours.is_dense and theirs.is_dense and len(ours) == len(theirs):
                left[metric] = self._whole.setdefault(metric, _WholeColumn(ours))
                right[metric] = _WholeColumn(theirs)
            else:
                left[metric], right[metric] = _align(metric, ours, theirs)
        return ConditionSamples(left), ConditionSamples(right)


def _align(metric: str, baseline: Column, treatment: Column) -> tuple[_CommonReplicates, _CommonReplicates]:
    others = dict(treatment.by_replicate())
    pairs = [
        (values, others[replicate]) for replicate, values in baseline.by_replicate() if replicate in others
    ]
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


def per_replicate(column: Column, metric: str) -> FloatArray:
    """Return one number for each replicate that recorded `metric`: its value, or the mean of its values."""
    if column.is_dense:
        return _WholeColumn(column).per_replicate(metric)
    return _CommonReplicates([values for _, values in column.by_replicate()], []).per_replicate(metric)


def moments(values: FloatArray) -> Moments:
    """Return the moments of a 1-D array."""
    import numpy as np

    n = len(values)
    if n == 0:
        return Moments(0, math.nan, math.nan)
    with np.errstate(all="ignore"):  # infinite values give NaN, which says enough
        # Counted from the first value: equal values have variance zero exactly, large ones lose no digits.
        first = float(values[0])
        shifted = values - first
        offset = float(shifted.mean())
        mean = first + offset
        if n == 1:
            return Moments(1, mean, math.nan)
        shifted -= offset
        return Moments(n, mean, float(shifted @ shifted) / (n - 1))


def as_numbers(values: Any, metric: str) -> FloatArray:
    """Return `values` as a 1-D array of floats; text that looks like a number is not one.

    Raises
    ------
    InvalidTypeError
        If a value is not a number.
    """
    import numpy as np

    array = np.asarray(values)
    # NumPy keeps integers beyond 64 bits as objects.
    if array.dtype.kind == "O" and all(isinstance(value, int | float) for value in array.flat):
        array = array.astype(np.float64)
    if array.ndim != 1 or (array.dtype.kind not in "biuf" and array.size):
        odd = next((value for value in values if not isinstance(value, int | float)), values)
        raise InvalidTypeError(
            f"metric {metric!r} is not numeric, for example {_shorten(odd)}",
            hint="Name the numeric metrics in Hypothesis(metrics=...)",
        )
    return np.asarray(array, dtype=np.float64)


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
