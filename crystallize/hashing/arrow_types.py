"""What tables and arrays of Arrow consist of, in however many chunks they lie.

The library is not imported here: where there are values of it, it is imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

from crystallize.utils.parts import ROWS_AT_A_TIME, Chunks


def content_of(value: Any) -> Any:
    """Return what a table, array, scalar, schema, field or type consists of."""
    pa = sys.modules["pyarrow"]

    if isinstance(value, pa.Table | pa.RecordBatch):
        columns = {f"column({place})": value.column(place) for place in range(value.num_columns)}
        return {"schema": value.schema, "num_rows": value.num_rows} | columns
    if isinstance(value, pa.ChunkedArray):
        return _elements(value)
    if isinstance(value, pa.Array):
        return _elements(pa.chunked_array([value]))
    if isinstance(value, pa.Scalar):
        return _elements(pa.chunked_array([pa.array([value], value.type)]))
    return _described(value)


def _described(value: Any) -> Any:
    """Return what Arrow's own files say of a type, a field or a schema."""
    pa = sys.modules["pyarrow"]

    if isinstance(value, pa.DataType):
        value = pa.field("", value)
    if isinstance(value, pa.Field):
        value = pa.schema([value])
    return value.serialize().to_pybytes() if isinstance(value, pa.Schema) else NotImplemented


def _elements(array: Any) -> dict[str, Any]:
    """Return what the elements of a chunked array are; what stands in the place of a null does not count."""
    content = {"type": _described(array.type), "length": len(array)}
    if array.null_count:
        content["is_valid()"] = Chunks(_is_valid(part) for part in _parts(array))
    for fits, elements in _layouts():
        if fits(array.type):
            return content | elements(array)
    return content | {"to_pylist()": array.to_pylist()}  # maps and unions


@cache
def _layouts() -> list[tuple[Callable[[Any], bool], Callable[[Any], dict[str, Any]]]]:
    """Return how elements lie in memory, by type."""
    pa = sys.modules["pyarrow"]

    is_ = pa.types

    def is_extension(kind: Any) -> bool:
        return isinstance(kind, pa.BaseExtensionType)

    def is_text(kind: Any) -> bool:
        tests = (is_.is_string, is_.is_large_string, is_.is_string_view)
        return any(test(kind) for test in (*tests, is_.is_binary, is_.is_large_binary, is_.is_binary_view))

    def is_list(kind: Any) -> bool:
        return bool(is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind))

    def is_fixed(kind: Any) -> bool:
        return bool(is_.is_primitive(kind) or is_.is_decimal(kind) or is_.is_fixed_size_binary(kind))

    return [
        (is_extension, _storage),
        (is_.is_dictionary, _dictionary),
        (is_.is_struct, _fields),
        (is_list, _lists),
        (is_text, _texts),
        (is_.is_boolean, lambda array: {"elements": Chunks(map(_booleans, _parts(array)))}),
        (is_fixed, lambda array: {"elements": Chunks(_numbers(array))}),
    ]


def _storage(array: Any) -> dict[str, Any]:
    pa = sys.modules["pyarrow"]

    return {"storage": pa.chunked_array([chunk.storage for chunk in array.chunks], array.type.storage_type)}


def _dictionary(array: Any) -> dict[str, Any]:
    pa = sys.modules["pyarrow"]

    chunks = array.unify_dictionaries().chunks
    indices = pa.chunked_array([chunk.indices for chunk in chunks], array.type.index_type)
    return {"dictionary": chunks[0].dictionary if chunks else None, "indices": indices}


def _fields(array: Any) -> dict[str, Any]:
    return {f"field({place})": field for place, field in enumerate(array.flatten())}


def _lists(array: Any) -> dict[str, Any]:
    pa = sys.modules["pyarrow"]
    pc = import_module("pyarrow.compute")

    lengths = (_memory(pc.list_value_length(part).cast("int64").fill_null(0)) for part in _parts(array))
    items = pa.chunked_array([chunk.flatten() for chunk in array.chunks], array.type.value_type)
    return {"lengths": Chunks(lengths), "flatten()": items}


def _texts(array: Any) -> dict[str, Any]:
    return {
        "lengths": Chunks(_text_of(part)[0] for part in _parts(array)),
        "bytes": Chunks(_text_of(part)[1] for part in _parts(array)),
    }


def _text_of(array: Any) -> tuple[Any, Any]:
    """Return the lengths of texts, and the texts, joined."""
    import numpy as np

    array = array.cast("large_binary")
    if array.null_count:
        array = array.fill_null(b"")
    _, offsets, content = array.buffers()
    places = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    text = b"" if content is None else memoryview(content)[places[0] : places[-1]]
    return np.diff(places), text


def _numbers(array: Any) -> Iterator[Any]:
    for chunk in array.chunks:
        if not chunk.null_count:
            yield _memory(chunk)
            continue
        for part in _parts_of_chunk(chunk):
            elements = _memory(part).reshape(len(part), -1).copy()
            elements[~_is_valid(part)] = 0
            yield elements


def _memory(array: Any) -> Any:
    """Return the elements of an array as bytes, in place."""
    import numpy as np

    width = array.type.bit_width // 8
    if not len(array) * width:
        return np.empty(0, np.uint8)
    return np.frombuffer(array.buffers()[1], np.uint8)[
        array.offset * width : (array.offset + len(array)) * width
    ]


def _booleans(array: Any) -> Any:
    return array.fill_null(False).to_numpy(zero_copy_only=False)


def _is_valid(array: Any) -> Any:
    return array.is_valid().to_numpy(zero_copy_only=False)


def _parts(array: Any) -> Iterator[Any]:
    for chunk in array.chunks:
        yield from _parts_of_chunk(chunk)


def _parts_of_chunk(chunk: Any) -> Iterator[Any]:
    for start in range(0, len(chunk), ROWS_AT_A_TIME):
        yield chunk.slice(start, ROWS_AT_A_TIME)
