"""Moments of numbers, and the differences of pairs of them, with all their digits.

Numbers are 1-D arrays, or the rows of tables: of floats, of 64-bit integers, or of integers of any size as objects.
Those of many conditions are put into tables, since a call of NumPy takes as long as hundreds of numbers do.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import InvalidTypeError
from crystallize.utils.wording import shortened

if TYPE_CHECKING:
    import numpy as np

    FloatArray = np.ndarray[Any, np.dtype[np.float64]]
    NumberArray = np.ndarray[Any, Any]  # of float64, of int64, or of Python's ints as objects
    Rows = NumberArray | Sequence[NumberArray]  # of one kind and length: a table, or arrays that are 1-D


ROUNDING = 4 * 2.0**-52
"""What is smaller than this share of the numbers that it comes from is taken for their rounding: a few last digits.

Sums of the same numbers in another order differ by such amounts. It is asked of all differences of a comparison
together, and never of one: numbers with a large offset may differ by little more. Tests, intervals, stopping rules and
the summary all have this rule from here. Integers are exact, and have no rounding.
"""

_LEAST_SQUARES = 1e-290  # sums of squares below this have lost digits
_TABLE = 2**17  # numbers in a table, with which what is made of it stays in the processor's cache
_LONGEST = 10_000  # numbers that OpenBLAS multiplies and sums without threads


class Moments(NamedTuple):
    """Number of values, mean, and standard deviation with ``n - 1``; NaN where there are too few values.

    Of a table, all but `n` are arrays, with a number for each row. The mean is ``origin + offset``. The origin is one
    of the values, or zero, and an int if all of them are: so means of large integers differ by what a float of their
    size cannot hold.
    """

    n: int
    mean: Any
    sd: Any
    origin: Any
    offset: Any

    def each(self) -> list[Moments]:
        """Return the moments of each row of a table."""
        columns = (column.tolist() for column in self[1:])
        return [Moments(self.n, *row) for row in zip(*columns, strict=True)]


def moments(values: Rows) -> Moments:
    """Return the moments of a 1-D array, as :func:`as_numbers` makes it, or of each row of several.

    Values of any size have a standard deviation, and integers of any size a mean with all digits. If a value is not
    finite, the mean is what IEEE 754 gives, and the standard deviation NaN.
    """
    if not isinstance(values, Sequence) and values.ndim == 1:
        n, *found = moments([values])
        return Moments(n, *(each.item() for each in found))
    return _moments_of_rows(lambda rows: rows, values)


def moments_of_each(arrays: Sequence[NumberArray]) -> list[Moments]:
    """Return the moments of 1-D arrays, found together for those of one kind and length."""
    found: dict[int, Moments] = {}
    for places, _, rows in alike({place: (values, values) for place, values in enumerate(arrays)}):
        found |= zip(places, moments(rows).each(), strict=True)
    return [found[place] for place in range(len(arrays))]


def means_of_rows(rows: Sequence[Sequence[float]], metric: str) -> NumberArray:
    """Return the only number of each row, or else the mean of each; rows may differ in length, and none is empty.

    Raises
    ------
    InvalidTypeError
        If a value is not a number.
    """
    import numpy as np

    numbers = as_numbers([value for row in rows for value in row], metric)
    return numbers if len(numbers) == len(rows) else np.array([mean_of(row) for row in rows])


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of some numbers with all its digits: of as many with the same sum, in any order, it is the same.

    If a value is not finite, the mean is what IEEE 754 gives.
    """
    n = len(values)
    try:
        if all(map(_is_int, values)):
            return sum(values) / n
        mean = math.fsum(values) / n
        return mean + math.fsum([*values, *[-mean] * n]) / n  # what was rounded off
    except (OverflowError, ValueError):  # their sum is no float, or one of them is not finite
        from statistics import mean as exact_mean

        return exact_mean(map(_to_float, values))


def moments_of_sides(baseline: Rows, treatment: Rows) -> tuple[Moments, Moments]:
    """Return the moments of rows, as :func:`alike` groups them; of both sides at once if they are alike too."""
    left, right = baseline[0], treatment[0]
    if (left.dtype, left.size) != (right.dtype, right.size):
        return moments(baseline), moments(treatment)
    n, *columns = moments([*baseline, *treatment])
    end = len(baseline)
    return Moments(n, *(each[:end] for each in columns)), Moments(n, *(each[end:] for each in columns))


def moments_of_pairs(baseline: Rows, treatment: Rows) -> Moments:
    """Return the moments of the :func:`paired_differences` of rows, as :func:`alike` groups them."""
    return _moments_of_rows(paired_differences, baseline, treatment)


def by_tables(
    compute: Callable[..., Sequence[NumberArray]], *sides: Rows, size: int = _TABLE
) -> Sequence[NumberArray]:
    """Return what `compute` makes of rows, in tables that stay in the processor's cache.

    Parameters
    ----------
    compute : callable
        Takes a table of some rows of each side, which it may change, and returns arrays with a number for each row.
    *sides : numpy.ndarray or sequence of numpy.ndarray
        Rows of one kind and length; as many, or one that belongs to all.
    size : int
        How many numbers a table has.
    """
    import numpy as np

    step = max(1, size // max(1, *(len(side[0]) for side in sides)))
    found = []
    for start in range(0, max(map(len, sides)), step):
        parts = (side if len(side) == 1 else side[start : start + step] for side in sides)
        found.append(compute(*(np.concatenate(part).reshape(len(part), -1) for part in parts)))
    return found[0] if len(found) == 1 else [np.concatenate(column) for column in zip(*found, strict=True)]


def _moments_of_rows(values_of: Callable[..., NumberArray], *sides: Rows) -> Moments:
    """Return the moments of the rows that `values_of` makes of the rows of tables."""
    import numpy as np

    rows, n = max(map(len, sides)), len(sides[-1][0])
    if n == 0:
        nothing = np.full(rows, math.nan)
        return Moments(n, nothing, nothing, nothing, np.zeros(rows))

    def sums(*tables: NumberArray) -> tuple[NumberArray, FloatArray, FloatArray]:
        values = values_of(*tables)
        # Counted from the first value: equal values have variance zero exactly, large ones lose no digits.
        origin = values[:, 0].copy()
        if values.dtype.kind == "f":
            values -= origin[:, None]
        else:
            values = _subtract(values, origin[:, None])
        return origin, *_centre(values)

    with np.errstate(all="ignore"):
        origin, offset, squares = by_tables(sums, *sides)
        sd = np.sqrt(squares / (n - 1)) if n > 1 else np.full(rows, math.nan)
        # Else the values are equal or not finite, or what was squared is no float.
        odd = np.flatnonzero(~((squares > _LEAST_SQUARES) & (squares < math.inf)))
        if odd.size:
            these: list[Rows] = [
                side if len(side) == 1 else [side[row] for row in odd.tolist()] for side in sides
            ]
            origin[odd], offset[odd], sd[odd] = by_tables(
                lambda *tables: _moments_of_any_size(values_of(*tables)), *these
            )
        mean = as_floats(origin) + offset
        if origin.dtype.kind == "f":
            sd[sd < ROUNDING * np.abs(mean)] = 0.0
    return Moments(n, mean, sd, origin, offset)


def _centre(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Take the mean from each row, in place; return the means, and the sums of the squares of what is left."""
    import numpy as np

    means: FloatArray = rows.mean(axis=1)
    rows -= means[:, None]
    squares = np.zeros(len(rows))
    # In parts: products of more numbers are shared among threads, which takes longer, and shows in the last digits.
    for start in range(0, rows.shape[1], _LONGEST):
        part = rows[:, start : start + _LONGEST]
        squares += (part[:, None, :] @ part[:, :, None])[:, 0, 0]
    return means, squares


def _moments_of_any_size(values: NumberArray) -> tuple[NumberArray, FloatArray, FloatArray]:
    """Return origin, offset and standard deviation of each row, whatever becomes of squares."""
    import numpy as np

    n = values.shape[1]
    origin = values[:, 0].copy()
    shifted = _subtract(values, values[:, :1])
    far = ~np.isfinite(shifted).all(axis=1)
    origin[far] = 0
    shifted[far] = as_floats(values[far])
    small, exponents = scaled(shifted)
    means, squares = _centre(small)
    sd = np.ldexp(np.sqrt(squares / (n - 1)), exponents) if n > 1 else np.full(len(values), math.nan)
    return origin, np.ldexp(means, exponents), sd


def difference_of_means(baseline: Moments, treatment: Moments) -> Any:
    """Return the mean of the treatment minus that of the baseline; zero if it is their rounding."""
    import numpy as np

    start, end = np.asarray(baseline.origin), np.asarray(treatment.origin)
    with np.errstate(all="ignore"):
        gap = _subtract(end, start)
        if "f" in start.dtype.kind + end.dtype.kind:
            scale = np.maximum(np.abs(baseline.mean), np.abs(treatment.mean))
        else:
            scale = np.maximum(np.maximum(np.abs(gap), np.abs(baseline.offset)), np.abs(treatment.offset))
        difference = gap + (treatment.offset - np.asarray(baseline.offset))
        return number_or_array(np.where(np.abs(difference) < ROUNDING * scale, 0.0, difference))


def alike(
    pairs: Mapping[int, tuple[NumberArray, NumberArray]],
) -> Iterator[tuple[Sequence[int], Sequence[NumberArray], Sequence[NumberArray]]]:
    """Group pairs of arrays of one kind and length, so that tests take all of them at once.

    Parameters
    ----------
    pairs : mapping of int to tuple of numpy.ndarray
        The numbers of the baseline and of a treatment, 1-D, as :func:`as_numbers` makes them.

    Yields
    ------
    tuple
        The keys of the pairs of a group; their baselines, or a single one if all are the same array; their treatments.
    """
    groups: dict[Hashable, list[int]] = {}
    for key, (left, right) in pairs.items():
        groups.setdefault((left.dtype.char, left.size, right.dtype.char, right.size), []).append(key)
    for keys in groups.values():
        lefts, rights = zip(*map(pairs.__getitem__, keys), strict=True)
        yield keys, lefts[:1] if len(set(map(id, lefts))) == 1 else lefts, rights


def paired_differences(baseline: NumberArray, treatment: NumberArray) -> FloatArray:
    """Return ``treatment - baseline`` of two arrays or tables.

    Where all differences of a row are zero but for the rounding of the values, they are zero; where all are their mean
    but for rounding, they are that. Single differences are never changed.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        found = _subtract(treatment, baseline)
        if found.size and "f" in (baseline.dtype.kind, treatment.dtype.kind):
            floats = as_floats(treatment)
            least, most = found.min(axis=-1), found.max(axis=-1)
            sizes = (floats.max(axis=-1), -floats.min(axis=-1), most, -least)
            largest = functools.reduce(np.maximum, sizes)
            if (most - least <= 2 * ROUNDING * largest).any():  # seldom, and then it is looked at closely
                found = _without_rounding(found, floats)
    return found


def _without_rounding(differences: FloatArray, values: FloatArray) -> FloatArray:
    import numpy as np

    # The size of both values of a pair is known by one of them and the difference.
    rounding = ROUNDING * np.maximum(np.abs(values), np.abs(differences))
    low = (differences - rounding).max(axis=-1, keepdims=True)
    high = (differences + rounding).min(axis=-1, keepdims=True)
    # All numbers from low to high are within the rounding of each difference.
    means = differences.mean(axis=-1, keepdims=True)
    is_zero = (low <= 0) & (high >= 0)
    is_mean = (low <= means) & (means <= high)
    return np.where(is_zero, 0.0, np.where(is_mean, means, differences))


def rounding_of(*arrays: NumberArray) -> float:
    """Return how much what is made of numbers may differ by their rounding, by :data:`ROUNDING` of the largest."""
    import numpy as np

    floats = [values for values in arrays if values.dtype.kind == "f" and values.size]
    return ROUNDING * max((float(np.abs(values).max()) for values in floats), default=0.0)


def errors_of_differences(baseline: NumberArray, treatment: NumberArray) -> FloatArray:
    """Return by how much each of the paired differences of tables may be off, since the values are rounded."""
    import numpy as np

    found = np.zeros(np.broadcast_shapes(baseline.shape, treatment.shape))
    for values in (baseline, treatment):
        if values.dtype.kind == "f":
            np.maximum(found, 2.0**-52 * np.abs(values), out=found)
    return found


def as_numbers(values: Any, metric: str) -> NumberArray:
    """Return `values` as a 1-D array of numbers; text that looks like a number is not one.

    Returns
    -------
    numpy.ndarray
        Of ``float64``; of ``int64`` if all are integers or truth values; of Python's ints if one is beyond 64 bits.

    Raises
    ------
    InvalidTypeError
        If a value is not a number.
    """
    import numpy as np

    try:
        array = np.asarray(values)
    except ValueError:  # lists of different lengths
        array = np.fromiter(values, dtype=object)
    if array.dtype.kind == "f" and isinstance(values, list | tuple) and all(map(_is_int, values)):
        array = np.array(values, dtype=object)  # NumPy makes floats of large integers with signs
    kind = array.dtype.kind
    if array.ndim == 1 and kind == "O" and all(isinstance(value, int | float) for value in array):
        return array if all(map(_is_int, array)) else as_floats(array)
    if array.ndim != 1 or (kind not in "biuf" and array.size):
        odd = next((value for value in values if not isinstance(value, int | float)), values)
        raise InvalidTypeError(
            f"metric {metric!r} is not numeric, for example {shortened(repr(odd))}",
            hint="Take a metric of numbers; a hypothesis names its own in Hypothesis(metrics=...)",
        )
    if kind in "bi":
        return array.astype(np.int64, copy=False)
    if kind == "u":
        return array.astype(object)
    return array.astype(np.float64, copy=False)


def _is_int(value: object) -> bool:
    return isinstance(value, int)


def _subtract(values: NumberArray, others: NumberArray | float) -> FloatArray:
    """Return ``values - others`` as floats; the differences of integers are exact before they become floats."""
    import numpy as np

    numbers = np.asarray(others)
    kinds = values.dtype.kind + numbers.dtype.kind
    if "f" in kinds:
        return np.asarray(as_floats(values) - as_floats(numbers))
    if kinds == "ii" and all(map(_fits_a_difference, (values, numbers))):
        return np.asarray(values - numbers, dtype=np.float64)
    return as_floats(np.asarray(values.astype(object) - numbers.astype(object), dtype=object))


def _fits_a_difference(values: NumberArray) -> bool:
    return not values.size or bool(values.min() >= -(2**62) and values.max() < 2**62)


def as_floats(values: NumberArray) -> FloatArray:
    """Return numbers of any kind as floats; an int beyond all floats is infinite."""
    import numpy as np

    if values.dtype.kind == "O":
        return np.array([_to_float(value) for value in values.flat], dtype=np.float64).reshape(values.shape)
    return values.astype(np.float64, copy=False)


def _to_float(value: float) -> float:
    """Return a number as a float, infinite if it is an int beyond all of them."""
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value > 0 or -1)


def scaled(values: FloatArray) -> tuple[FloatArray, NumberArray]:
    """Return rows divided by powers of two, so that finite ones have finite sums, and the exponents of the rows."""
    import numpy as np

    exponents = np.frexp(np.abs(values).max(axis=1, initial=0.0, where=np.isfinite(values)))[1]
    return np.ldexp(values, -exponents[:, None]), exponents


def number_or_array(found: Any) -> Any:
    """Return what has no dimensions as a float, and an array as it is."""
    return found if found.ndim else float(found)
