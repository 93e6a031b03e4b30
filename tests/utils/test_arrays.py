"""Arrays come back from pickle as they lay in memory, which sums over them depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from crystallize.pipelines.cache.entry import pickled
from crystallize.utils.pickling import pack, unpack

NUMBERS = np.random.default_rng(3).normal(size=(30, 40, 50)).astype(np.float32)
RECORDS = np.zeros(1000, dtype=[("tag", "i1"), ("x", "f8")])
RECORDS["x"] = NUMBERS.flat[:1000]
ARRAYS = {
    "in Fortran order": NUMBERS.T,
    "axes exchanged": NUMBERS.transpose(1, 0, 2),
    "a slice": NUMBERS[1:, ::2, 1:],
    "backwards": NUMBERS[::-1, :, ::-3],
    "a column": NUMBERS[:, 3, 4],
    "one of its axes is short": NUMBERS[:1, ::2, :1].transpose(2, 1, 0),
    "repeated": np.broadcast_to(NUMBERS[0], NUMBERS.shape),
    "a field of records": RECORDS["x"],
    "of the other byte order": NUMBERS.astype(">f4")[:, ::2],
}


def travelled(array: Any) -> Any:
    return unpack(*pack(array))


def kept(array: Any) -> Any:
    return pickled(array, None).load(lambda: None)


def sums(array: Any) -> list[bytes]:
    """Return sums in one order and in another, with all their bits."""
    return [np.sum(array, axis).tobytes() for axis in (None, *range(array.ndim))] + [
        np.ravel(array, "K").tobytes()
    ]


@pytest.mark.parametrize("again", [travelled, kept])
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_sums_over_an_array_are_the_same_to_the_last_bit(array: Any, again: Callable[[Any], Any]) -> None:
    found = again([array])[0]
    assert (found.dtype, found.tolist()) == (array.dtype, array.tolist())
    assert sums(found) == sums(array)
    assert found.flags.writeable == array.flags.writeable


@pytest.mark.parametrize("again", [travelled, kept])
def test_a_column_does_not_take_the_memory_of_its_matrix(again: Callable[[Any], Any]) -> None:
    found = again(np.ones((1000, 1000))[:, 0])
    assert found.base.nbytes < 2 * found.nbytes


@pytest.mark.parametrize("again", [travelled, kept])
@pytest.mark.parametrize("kind", [object, np.dtypes.StringDType()], ids=str)
def test_arrays_of_objects_and_texts_lie_wherever_numpy_puts_them(
    kind: Any, again: Callable[[Any], Any]
) -> None:
    array = np.array([["a", "b"], ["c" * 100, "d"]], kind)[:, ::2]
    assert again(array).tolist() == [["a"], ["c" * 100]]
