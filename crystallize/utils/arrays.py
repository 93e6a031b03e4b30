"""Arrays of NumPy: what they consist of, as values of Python, and how they are pickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from crystallize.utils.imports import imported
from crystallize.utils.parts import Chunks, StandsFor

_CHUNK = 1 << 20
"""How many bytes are copied at a time where elements do not lie in a row."""

_SMALL = 1 << 10


def content_of(value: Any) -> Any:
    """Return what an array or scalar consists of; NumPy's other types say so to pickle."""
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        return _masked(value)
    if isinstance(value, np.memmap):
        return StandsFor(np.asarray(value))
    if not isinstance(value, np.ndarray | np.generic):
        return NotImplemented
    # Of a class derived from NumPy's, methods may do something else: astropy's quantities refuse to give bytes.
    content = content_of_array(value if isinstance(value, np.generic) else np.asarray(value))
    attributes = getattr(value, "__dict__", None)  # NumPy's own have none
    return {"array": content, "__dict__": attributes} if attributes else content


def _masked(array: Any) -> Any:
    """Return what a masked array consists of; what stands below the mask can be read, and counts."""
    import numpy as np

    return {
        "data": array.data,
        "mask": np.ma.getmaskarray(array),
        "fill_value": array.fill_value,
        "hardmask": array.hardmask,
    }


def content_of_array(array: Any) -> Any:
    """Return what a plain array or scalar consists of: the type of its elements, its shape, and they in C order.

    How they lie in memory does not count: their order, strides, the order of an element's bytes, and what lies between
    the fields of a structured one.
    """
    dtype, shape = array.dtype, array.shape
    if dtype.names is not None:
        titles = [(name, dtype.fields[name][2:]) for name in dtype.names]
        fields = {f"[{name!r}]": content_of_array(array[name]) for name in dtype.names}
        return {"names": titles, "shape": shape} | fields
    if dtype.hasobject or dtype.kind == "T":
        return {"dtype": str(dtype), "shape": shape, "flat": array.reshape(-1).tolist()}
    little = dtype.newbyteorder("<")
    # An add-on's type, such as bfloat16, is mere bytes to NumPy.
    name = little.str if dtype.kind != "V" else f"{little.str} {dtype.name}"
    if array.nbytes > _SMALL:
        return name, shape, Chunks(_pieces(array, little))
    is_plain = dtype == little and not _has_padding(little)
    return name, shape, array.tobytes() if is_plain else b"".join(_pieces(array, little))


def _pieces(array: Any, dtype: Any) -> Iterator[Any]:
    """Yield the elements of an array in C order as bytes; what lies in a row is not copied."""
    import numpy as np

    if array.nbytes == 0:
        return
    if array.dtype == dtype and array.flags.c_contiguous and not _has_padding(dtype):
        yield np.atleast_1d(np.asarray(array)).reshape(-1).view(np.uint8)
        return
    for block in _blocks(np.atleast_1d(np.asarray(array))):
        content = np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8)
        yield _without_padding(content, dtype) if _has_padding(dtype) else content


def _blocks(array: Any) -> Iterator[Any]:
    """Yield parts of an array that follow one another in C order and are small enough to be copied."""
    row = array[0].nbytes
    if row > _CHUNK and array.ndim > 1:
        for each in array:
            yield from _blocks(each)
        return
    count = max(1, _CHUNK // row)
    for start in range(0, len(array), count):
        yield array[start : start + count]


def _has_padding(dtype: Any) -> bool:
    return dtype.char in "gG" and _bytes_of_longdouble() < dtype.itemsize // (2 if dtype.char == "G" else 1)


@cache
def _bytes_of_longdouble() -> int:
    """Return how many bytes of a ``longdouble`` are used: on x86 it has 80 bits, and bytes with anything in them."""
    import numpy as np

    bits = np.finfo(np.longdouble)
    return 10 if bits.nmant == 63 else bits.bits // 8


def _without_padding(content: Any, dtype: Any) -> Any:
    size = dtype.itemsize // (2 if dtype.char == "G" else 1)
    return content.reshape(-1, size)[:, : _bytes_of_longdouble()].tobytes()


def to_plain(array: Any) -> Any:
    """Return an array or scalar, of NumPy or alike, as lists and values of Python.

    Raises
    ------
    TypeError
        For times that Python has no type for, such as nanoseconds: NumPy makes mere integers of them.
    """
    dtype: Any = getattr(array, "dtype", None)
    if (python := {"g": float, "G": complex}.get(getattr(dtype, "char", ""))) is not None:
        array = array.astype(python)  # else it gives NumPy's own again
    found = array.tolist()
    if getattr(dtype, "kind", "") in ("m", "M"):
        import numpy as np

        if any(isinstance(each, int) for each in np.ravel(np.array(found, object))):
            raise TypeError(
                f"Python has no type for {dtype}: write array.astype({f'{dtype.kind}8[us]'!r}), or texts"
            )
    return found


# -- pickling ------------------------------------------------------------------------------------------------


def array_reducers() -> dict[type, Callable[[Any], Any]]:
    """Return how to pickle arrays so that they come back as they lay in memory, by type, as ``copyreg`` has it.

    By itself NumPy makes each anew in C or Fortran order. But sums over one that lies otherwise, as a slice or a
    transposed array does, add up in the order of its memory, and differ from those over the copy in their last bits.
    """
    numpy = imported("numpy")
    return {} if numpy is None else {numpy.ndarray: _reduce}


def _reduce(array: Any) -> Any:
    import numpy as np

    if array.flags.forc or array.dtype.hasobject or array.dtype.kind == "T":
        return array.__reduce_ex__(5)
    strides = _strides_like(array.strides, array.shape, array.itemsize)
    return _laid_out, (np.ascontiguousarray(array), strides, array.flags.writeable)


def _strides_like(strides: Sequence[int], shape: Sequence[int], size: int) -> tuple[int, ...]:
    """Return strides that keep the order of the axes, their directions, and where there are gaps, which become small.

    A column of a large matrix must not take the memory of the matrix.
    """
    found = list(strides)
    end = end_before = size  # of what the axes so far extend over
    for axis in sorted(range(len(shape)), key=lambda axis: (abs(strides[axis]), -axis)):
        if strides[axis] and shape[axis] > 1:
            step = end if abs(strides[axis]) == end_before else end + size
            found[axis] = step if strides[axis] > 0 else -step
            end, end_before = step * shape[axis], abs(strides[axis]) * shape[axis]
        else:
            found[axis] = 0
    return tuple(found)


def _laid_out(elements: Any, strides: tuple[int, ...], is_writeable: bool) -> Any:
    import numpy as np

    spans = [stride * (count - 1) for stride, count in zip(strides, elements.shape, strict=True)]
    first = -sum(span for span in spans if span < 0)
    memory = np.empty(first + sum(span for span in spans if span > 0) + elements.itemsize, np.uint8)
    array = np.ndarray(elements.shape, elements.dtype, memory, first, strides)
    array[...] = elements
    array.flags.writeable = is_writeable
    return array
