"""Metric values of one condition: compact, and independent of the order in which they arrive."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.metrics.columns import Column, Samples, in_order_of_recording

FLOATS = st.floats(allow_nan=False)
NUMBERS = FLOATS | st.integers() | st.booleans()
RECORDED = st.lists(NUMBERS | st.text(max_size=2) | st.none(), max_size=3)


def column(recorded: dict[int, list[Any]], order: Any = None) -> Column:
    made = Column()
    for replicate in order if order is not None else recorded:
        made.put(replicate, recorded[replicate], 0)
    return made


def typed(values: Any) -> list[tuple[type, Any]]:
    return [(type(value), value) for value in values]


@given(recorded=st.dictionaries(st.integers(0, 5), RECORDED), data=st.data())
def test_any_order_of_arrival_gives_the_same_column(
    recorded: dict[int, list[Any]], data: st.DataObject
) -> None:
    expected = typed(value for replicate in sorted(recorded) for value in recorded[replicate])
    made = column(recorded, order=data.draw(st.permutations(list(recorded))))
    assert typed(made.values()) == typed(made) == expected
    assert list(made.replicates()) == [
        replicate for replicate in sorted(recorded) for _ in recorded[replicate]
    ]
    assert [(replicate, typed(values)) for replicate, values in made.by_replicate()] == [
        (replicate, typed(recorded[replicate])) for replicate in sorted(recorded) if recorded[replicate]
    ]
    assert len(made) == len(expected)
    assert made.is_numeric == all(issubclass(kind, int | float) for kind, _ in expected)
    in_order = column(recorded, order=sorted(recorded))
    assert (made.is_dense, made.is_one_each) == (in_order.is_dense, in_order.is_one_each)
    assert made.first == in_order.first


@given(
    recorded=st.dictionaries(st.integers(0, 5), st.lists(FLOATS | st.integers(-5, 5), max_size=3)),
    data=st.data(),
)
def test_any_order_of_arrival_gives_the_same_array(
    recorded: dict[int, list[Any]], data: st.DataObject
) -> None:
    made = column(recorded, order=data.draw(st.permutations(list(recorded)))).array()
    expected = column(recorded, order=sorted(recorded)).array()
    assert made.dtype == expected.dtype
    assert np.array_equal(made, expected)
    assert made.tolist() == [value for replicate in sorted(recorded) for value in recorded[replicate]]


@pytest.mark.parametrize(
    ("values", "dense", "one_each", "numeric"),
    [
        ([[1.0], [2.0]], True, True, True),
        ([[1], [2]], True, True, True),
        ([[math.nan], [math.inf]], True, True, True),
        ([[1], [2.0]], False, True, True),
        ([[2**63], [1]], False, True, True),
        ([[True], [False]], False, True, True),
        ([["a"], [1.0]], False, True, False),
        ([[None], [1.0]], False, True, False),
        ([[1.0, 2.0], [3.0]], False, False, True),
        ([[], [1.0]], False, False, True),
        ([[], [1.0, 2.0]], False, False, True),
        ([[1.0], []], True, True, True),
    ],
)
def test_a_column_knows_whether_its_values_are_one_of_each_replicate_and_of_one_kind(
    values: list[list[Any]], dense: bool, one_each: bool, numeric: bool
) -> None:
    made = column(dict(enumerate(values)))
    assert (made.is_dense, made.is_one_each, made.is_numeric) == (dense, one_each, numeric)
    assert repr(made.values()) == repr([value for each in values for value in each])


@pytest.mark.parametrize(("values", "dtype"), [([1.5, 2.5], np.float64), ([1, 2], np.int64)])
def test_the_array_of_a_dense_column_is_its_own_memory_and_read_only(values: list[Any], dtype: Any) -> None:
    made = column({index: [value] for index, value in enumerate(values)})
    array = made.array()
    assert array.dtype == dtype
    assert np.shares_memory(array, made.array())
    assert np.shares_memory(np.asarray(made.values()), array)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 9


def test_a_dense_column_takes_nine_bytes_a_value_and_some_room_to_grow() -> None:
    import sys

    made = column({index: [float(index)] for index in range(1000)})
    assert made.is_dense
    assert sys.getsizeof(made._numbers) + sys.getsizeof(made._states) < 10_000


def test_numbers_beside_missing_replicates_are_an_array_of_those_there_are() -> None:
    made = column({0: [1.5], 3: [2.5]})
    assert made.array().tolist() == [1.5, 2.5]
    assert made.array().dtype == np.float64
    assert list(made.replicates()) == [0, 3]


# -- Samples --------------------------------------------------------------------------------------------------------


CHANGES: dict[str, Callable[[Any], object]] = {
    "set": lambda values: values.__setitem__(0, 9.0),
    "set a slice": lambda values: values.__setitem__(slice(0, 2), [7.0, 8.0]),
    "delete and append": lambda values: (values.__delitem__(0), values.append(9.0)),
    "pop and insert": lambda values: (values.pop(), values.insert(0, 9.0)),
    "reverse": lambda values: values.reverse(),
    "sort": lambda values: values.sort(),
    "extend": lambda values: values.extend([4.0]),
    "iadd": lambda values: values.__iadd__([4.0]),
    "imul": lambda values: values.__imul__(2),
    "clear": lambda values: values.clear(),
    "remove": lambda values: values.remove(3.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_numpy_sees_what_is_in_the_list_after_any_change(change: Callable[[Any], object]) -> None:
    samples = column({0: [3.0], 1: [1.0], 2: [2.0]}).values()
    plain = list(samples)
    change(samples)
    change(plain)
    assert list(samples) == plain
    assert np.asarray(samples).tolist() == plain


def test_a_changed_list_leaves_the_column_as_it_was() -> None:
    made = column({0: [3.0], 1: [1.0]})
    made.values().sort()
    assert made.values() == [3.0, 1.0]


def test_samples_are_a_list() -> None:
    samples = column({0: [1.0], 1: [2.0]}).values()
    assert isinstance(samples, list)
    assert samples == [1.0, 2.0]
    assert sum(samples) == 3.0
    assert type(pickle.loads(pickle.dumps(samples))) is list
    assert np.asarray(samples, dtype=np.float32).dtype == np.float32
    assert np.array(samples).flags.writeable
    assert np.mean(samples) == 1.5
    assert np.asarray(Samples(["a", "b"])).tolist() == ["a", "b"]


# -- pairs ----------------------------------------------------------------------------------------------------------


def test_columns_stand_in_the_order_in_which_the_first_replicate_recorded_them() -> None:
    arrivals = [(2, ["late", "a", "b"]), (0, ["b", "a"]), (1, ["c", "b", "a"])]
    for order in (arrivals, arrivals[::-1]):
        columns: dict[str, Column] = {}
        for replicate, metrics in order:
            for position, metric in enumerate(metrics):
                columns.setdefault(metric, Column()).put(replicate, [1.0], position)
        assert list(in_order_of_recording(columns)) == ["b", "a", "c", "late"]


def test_a_part_with_gaps_is_not_dense_and_one_whose_gaps_are_filled_is():
    column = Column()
    column.put(0, [1.0], 0)
    column.put(3, [4.0], 0)
    column.put(4, [5.0], 0)
    part = column.before(4)
    assert (part.is_dense, part.is_one_each, list(part)) == (False, False, [1.0, 4.0])
    assert column.before(1).is_dense
    for replicate in (2, 1):
        assert not column.is_dense
        column.put(replicate, [replicate + 1.0], 0)
    column.put(1, [2.0], 0)  # once more
    assert column.is_dense
    assert column.array().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_replicates_with_nan_are_those_that_are_there_when_one_asks():
    column = Column()
    column.extend(0, [[1.0], [math.nan], [2.0]], 0)
    assert column.replicates_with_nan() == {1}
    column.put(4, [math.nan], 0)
    column.put(3, [1.0, math.nan], 0)
    assert column.replicates_with_nan() == {1, 3, 4}
    column.put(1, [5.0], 0)
    assert column.replicates_with_nan() == {3, 4}
    assert column.before(4).replicates_with_nan() == {3}


def test_columns_are_paired_if_no_replicate_lacks_its_number_in_one_of_them():
    ours, theirs = column({0: [1.0], 1: [2.0]}), column({0: [1], 1: [2]})
    assert ours.is_paired_with(theirs)
    theirs.put(2, [3], 0)
    assert not ours.is_paired_with(theirs)
    ours.put(2, [math.nan], 0)
    assert not ours.is_paired_with(theirs)
    assert not ours.is_paired_with(ours)
    ours.put(2, [3.0], 0)
    assert ours.is_paired_with(theirs)
    ours.extend(3, [[4.0], [5.0, 6.0]], 0)
    theirs.extend(3, [[4], [5]], 0)
    assert not ours.is_paired_with(theirs)
    assert not Column().is_paired_with(Column())
    assert ours.before(0).is_paired_with(theirs.before(0))


NUMBER_OR_TWO = st.lists(st.integers(-3, 3) | st.floats(-3, 3) | st.just(math.nan), max_size=2)
ONE_KIND = st.dictionaries(st.integers(0, 5), st.lists(st.floats(-3, 3) | st.just(math.nan), max_size=1))


@given(sides=st.lists(ONE_KIND | st.dictionaries(st.integers(0, 5), NUMBER_OR_TWO), min_size=2, max_size=2))
def test_what_two_columns_have_in_common_is_what_both_have_a_number_of(sides: Any) -> None:
    ours, theirs = made = [column(recorded) for recorded in sides]
    recorded = [{replicate for replicate in side if side[replicate]} for side in sides]
    numbered = [
        {replicate for replicate in side if side[replicate] and not any(map(math.isnan, side[replicate]))}
        for side in sides
    ]
    both = sorted(numbered[0] & numbered[1])
    for each, its, with_number in zip(made, recorded, numbered, strict=True):
        for end in (each.end, 3, 7):
            assert [*np.flatnonzero(each.recorded(end))] == [place for place in sorted(its) if place < end]
            assert [*np.flatnonzero(each.has_number(end))] == [
                place for place in sorted(with_number) if place < end
            ]
    common = ours.common_with(theirs)
    if common is None:
        assert any(
            not side or any(len(values) > 1 for values in side.values()) or len(kinds) != 1
            for side in sides
            for kinds in [{type(value) for values in side.values() for value in values}]
        )
    else:
        for part, side in zip(common, sides, strict=True):
            assert part.is_dense
            assert typed(part.values()) == typed(side[replicate][0] for replicate in both)
            assert typed(part.array().tolist()) == typed(part)
