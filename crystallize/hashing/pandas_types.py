"""What frames, series, indexes and arrays of pandas consist of: column by column, and none as objects if it is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from crystallize.utils.parts import ROWS_AT_A_TIME, Chunks


def content_of(value: Any) -> Any:
    """Return what a frame, series, index or array consists of; moments, intervals and types say so to pickle."""
    for kinds, content in _contents():
        if isinstance(value, kinds):
            return content(value)
    return NotImplemented


@cache
def _contents() -> list[tuple[Any, Callable[[Any], Any]]]:
    """Return how to take each class apart, derived ones before those that they are derived from."""
    import pandas as pd

    return [
        (pd.DataFrame, _frame),
        (pd.Series, _series),
        (pd.RangeIndex, _range_index),
        (pd.MultiIndex, _multi_index),
        (pd.Index, _index),
        (pd.Categorical, _categorical),
        ((pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray), _moments),
        (pd.arrays.IntervalArray, _intervals),
        (pd.arrays.SparseArray, _sparse),
        ((pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray), _nullable),
        (pd.arrays.ArrowExtensionArray, _arrow),
        (pd.arrays.StringArray, _strings),
        (pd.arrays.NumpyExtensionArray, lambda array: {"to_numpy()": array.to_numpy()}),
    ]


# -- tables --------------------------------------------------------------------------------------------------


def _frame(frame: Any) -> dict[str, Any]:
    columns = {f"iloc[:, {place}]": _values(frame.iloc[:, place]) for place in range(frame.shape[1])}
    return _labelled(frame) | {"columns": frame.columns, "shape": frame.shape} | columns


def _series(series: Any) -> dict[str, Any]:
    return _labelled(series) | {"name": series.name, "array": _values(series)}


def _labelled(table: Any) -> dict[str, Any]:
    """Return what a frame and a series have alike, with the attributes that a class derived from ours declares."""
    own = {name: getattr(table, name, None) for name in table._metadata}
    return own | {
        "index": table.index,
        "attrs": table.attrs,
        "allows_duplicate_labels": table.flags.allows_duplicate_labels,
    }


def _values(column: Any) -> Any:
    """Return the values of a series or index, as an array of NumPy's where they are in one."""
    array = column.array
    return column.to_numpy() if type(array).__name__ == "NumpyExtensionArray" else array


# -- indexes -------------------------------------------------------------------------------------------------


def _index(index: Any) -> dict[str, Any]:
    return {"name": index.name, "array": _values(index), "freqstr": getattr(index, "freqstr", None)}


def _range_index(index: Any) -> dict[str, Any]:
    return {"name": index.name, "start": index.start, "stop": index.stop, "step": index.step}


def _multi_index(index: Any) -> dict[str, Any]:
    return {"names": list(index.names), "levels": list(index.levels), "codes": list(index.codes)}


# -- arrays --------------------------------------------------------------------------------------------------


def _categorical(array: Any) -> dict[str, Any]:
    return {"categories": array.categories, "ordered": array.ordered, "codes": array.codes}


def _moments(array: Any) -> dict[str, Any]:
    zone, freq = getattr(array, "tz", None), getattr(array, "freqstr", None)
    return {"dtype": str(array.dtype), "tz": zone, "freqstr": freq, "asi8": array.asi8}


def _intervals(array: Any) -> dict[str, Any]:
    return {"left": array.left, "right": array.right, "closed": array.closed}


def _sparse(array: Any) -> dict[str, Any]:
    return {
        "dtype": str(array.dtype),
        "kind": array.kind,
        "length": len(array),
        "fill_value": array.fill_value,
        "indices": array.sp_index.indices
        if array.kind == "integer"
        else array.sp_index.to_int_index().indices,
        "sp_values": array.sp_values,
    }


def _nullable(array: Any) -> dict[str, Any]:
    """Return what an array with a mask consists of; what stands below the mask cannot be read, and does not count."""
    numbers = Chunks(part.to_numpy(part.dtype.numpy_dtype, na_value=0).data for part in _parts(array))
    return {"dtype": str(array.dtype), "isna()": array.isna(), "numbers": numbers}


def _strings(array: Any) -> dict[str, Any]:
    texts = [text for part in _parts(array) for text in part.to_numpy(object, na_value="").tolist()]
    return {"dtype": repr(array.dtype), "isna()": array.isna(), "texts": texts}


def _arrow(array: Any) -> dict[str, Any]:
    return {"dtype": repr(array.dtype), "array": array.__arrow_array__()}


def _parts(array: Any) -> Iterator[Any]:
    for start in range(0, len(array), ROWS_AT_A_TIME):
        yield array[start : start + ROWS_AT_A_TIME]
