"""What frames and series of Polars consist of, in however many chunks they lie.

The library is not imported here: where there are values of it, it is imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from crystallize.utils.parts import ROWS_AT_A_TIME, Chunks


def content_of(value: Any) -> Any:
    """Return what a frame or series consists of; types, expressions and lazy frames say so to pickle."""
    pl = sys.modules["polars"]

    if isinstance(value, pl.DataFrame):
        columns = {f"to_series({place})": column for place, column in enumerate(value.get_columns())}
        return {"shape": value.shape} | columns
    if isinstance(value, pl.Series):
        return {"name": value.name, "dtype": value.dtype} | _elements(value)
    return NotImplemented


def _elements(series: Any) -> dict[str, Any]:
    """Return what the elements of a series are; what stands in the place of a null does not count."""
    pl = sys.modules["polars"]

    kind = series.dtype
    content: dict[str, Any] = {"length": len(series)}
    if series.null_count():
        content["is_not_null()"] = Chunks(part.is_not_null().to_numpy() for part in _parts(series))
    if kind == pl.Struct:
        return content | {f"field {field.name!r}": series.struct.field(field.name) for field in kind.fields}
    if kind == pl.Array:
        series = series.arr.to_list()
    if kind in (pl.List, pl.Array):
        lengths = series.list.len().fill_null(0)
        return content | {"lengths": lengths, "explode()": series.filter(lengths > 0).explode()}
    if kind.is_temporal():
        series = series.to_physical()
    elif kind.is_decimal() or kind in (pl.Categorical, pl.Enum, pl.Int128):
        series = series.cast(pl.String)  # what stands for it in memory depends on what was there before
    if series.dtype == pl.String:
        return content | {"texts": Chunks(_texts(series))}
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return content | {"numbers": Chunks(_numbers(series))}
    return content | {"to_list()": series.to_list()}


def _texts(series: Any) -> Iterator[Any]:
    """Yield the lengths of texts and then the texts, joined, some at a time."""
    for part in _parts(series):
        texts = part.fill_null("")
        yield texts.str.len_bytes().to_numpy()
        yield texts.str.join("").item().encode()


def _numbers(series: Any) -> Iterator[Any]:
    pl = sys.modules["polars"]

    nothing = False if series.dtype == pl.Boolean else 0
    for chunk in series.get_chunks():
        if not chunk.null_count():
            yield chunk.to_numpy()
            continue
        for start in range(0, len(chunk), ROWS_AT_A_TIME):
            yield chunk.slice(start, ROWS_AT_A_TIME).fill_null(nothing).to_numpy()


def _parts(series: Any) -> Iterator[Any]:
    """Yield slices whose bounds do not depend on the chunks."""
    for start in range(0, len(series), ROWS_AT_A_TIME):
        yield series.slice(start, ROWS_AT_A_TIME)
