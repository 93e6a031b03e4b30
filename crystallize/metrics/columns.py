"""Metric values of one condition: compact while they are collected, lists and arrays when they are asked for.

A replicate nearly always records one number for a metric. Those numbers stand in a typed array indexed by
replicate, eight bytes each, so that results may arrive in any order and a run of a million replicates fits
in memory. Whatever is different (several values in one replicate, text, objects) has a slower place beside it.
"""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SLICE = 1000
# What a replicate recorded: nothing; a number, in _numbers; a list, in _others.
_NOTHING, _NUMBER, _VALUES = range(3)
_ALL_NUMBERS = bytes([_NUMBER])
_INT64 = range(-(2**63), 2**63)
_NO_REPLICATES: frozenset[int] = frozenset()


class Samples(list[Any]):
    """A list of metric values that NumPy takes without converting it.

    ``numpy.asarray(samples)`` returns the array that the list was made from, as long as nobody has changed
    the list.
    """

    __slots__ = ("_array",)

    def __init__(self, values: list[Any], backing: np.ndarray[Any, Any] | None = None) -> None:
        super().__init__(values)
        self._array = backing

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        import numpy as np

        backing = self._array
        if backing is None:
            return np.array(list(self), dtype=dtype)
        if copy or (dtype is not None and backing.dtype != dtype):
            return np.array(backing, dtype=dtype)
        return backing

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def _forgets_the_array(name: str) -> Callable[..., Any]:
    change = getattr(list, name)

    @functools.wraps(change)
    def method(self: Samples, *args: Any, **options: Any) -> Any:
        self._array = None
        return change(self, *args, **options)

    return method


for _name in (
    *("__delitem__", "__iadd__", "__imul__", "__setitem__", "append", "clear"),
    *("extend", "insert", "pop", "remove", "reverse", "sort"),
):
    setattr(Samples, _name, _forgets_the_array(_name))


class Column:
    """All values of one metric under one condition.

    It grows as values arrive, in any order and with gaps, and knows nothing of a replicate that recorded nothing
    after the last one that did: how many replicates the run had is for the one who asks.
    """

    __slots__ = ("_gaps", "_kind", "_numbers", "_others", "_states", "_whole_size", "_with_nan", "first")

    def __init__(self) -> None:
        self._kind: type | None = None  # of the numbers, once there is one
        # One place for each replicate up to the last that recorded the metric, in both:
        self._numbers: array[Any] = array("d")
        self._states = bytearray()
        self._others: dict[int, list[Any]] = {}
        self._gaps = 0  # how many of these places are still empty
        self._with_nan: frozenset[int] | None = None  # once it was asked for, as the next one
        self._whole_size: int | None = None
        self.first: tuple[float, int] = (math.inf, 0)
        """The replicate that recorded the metric first, and its place among that replicate's metrics."""

    def put(self, replicate: int, values: list[Any], place: int) -> None:
        """Store what one replicate recorded. While an :meth:`array` is alive, the column cannot grow."""
        self._with_nan = self._whole_size = None
        value, state = 0, _VALUES
        if len(values) == 1:
            kind = type(values[0])
            if self._kind is None and (kind is float or kind is int):
                self._kind = kind
                self._numbers = array("d" if kind is float else "q", bytes(8 * len(self._states)))
            if kind is self._kind and (kind is float or values[0] in _INT64):
                value, state = values[0], _NUMBER
        elif not values:
            return
        if state == _VALUES:
            self._others[replicate] = values
        if replicate < self.first[0]:
            self.first = (replicate, place)
        missing = replicate - len(self._states)
        if missing < 0:
            self._gaps -= self._states[replicate] == _NOTHING
            self._numbers[replicate] = value
            self._states[replicate] = state
            return
        if missing:
            self._numbers.frombytes(bytes(8 * missing))
            self._states.extend(bytes(missing))
            self._gaps += missing
        self._numbers.append(value)
        self._states.append(state)

    def before(self, replicate: int) -> Column:
        """Return the part that the replicates before this one have recorded, as a column of its own."""
        part = Column()
        part._kind, part.first = self._kind, self.first
        part._numbers, part._states = self._numbers[:replicate], self._states[:replicate]
        part._others = {key: values for key, values in self._others.items() if key < replicate}
        part._gaps = part._states.count(_NOTHING)
        return part

    def extend(self, first: int, values: list[list[Any]], place: int) -> None:
        """Store what `first` and the replicates after it recorded, as :meth:`put` does one by one.

        Numbers of one kind, one of each replicate, are stored at once; that is what nearly all steps record.
        """
        self.put(first, values[0], place)  # it decides the kind, and fills the gap before it
        rest = values[1:]
        try:
            numbers = [number for [number] in rest]
        except ValueError:  # several of a replicate, or none
            numbers = []
        if (
            first + 1 == len(self._states)
            and set(map(type, numbers)) == {self._kind}
            and (self._kind is float or (min(numbers) in _INT64 and max(numbers) in _INT64))
        ):
            self._numbers.fromlist(numbers)
            self._states.extend(_ALL_NUMBERS * len(numbers))
            return
        for replicate, recorded in enumerate(rest, first + 1):
            self.put(replicate, recorded, place)

    @property
    def is_dense(self) -> bool:
        """Whether the values are one number, all floats or all ints, of each replicate up to the last with any."""
        return self._kind is not None and not self._others and not self._gaps

    @property
    def whole_size(self) -> int:
        """How many replicates it has if it is dense and none recorded NaN, else -1."""
        if self._whole_size is None:
            self._whole_size = -1 if not self.is_dense or self.replicates_with_nan() else len(self._states)
        return self._whole_size

    def is_paired_with(self, other: Column) -> bool:
        """Tell whether both hold one number of each of the same replicates, never NaN: no pair lacks a half."""
        return self.whole_size == other.whole_size >= 0

    @property
    def is_one_each(self) -> bool:
        """Whether each replicate up to the last with any recorded one value: the n-th value is the n-th replicate's."""
        return not self._gaps and len(self) == len(self._states)

    @property
    def is_numeric(self) -> bool:
        """Whether every value is a number (or a truth value)."""
        return all(isinstance(value, int | float) for values in self._others.values() for value in values)

    def replicates_with_nan(self) -> frozenset[int]:
        """Return the replicates that recorded NaN: they have no number."""
        if self._with_nan is None:  # each comparison asks
            self._with_nan = self._find_nan()
        return self._with_nan

    def _find_nan(self) -> frozenset[int]:
        if self._others:
            return frozenset(
                replicate
                for replicate, values in self.by_replicate()
                if any(isinstance(value, float) and math.isnan(value) for value in values)
            )
        if self._kind is not float or not self._numbers:  # a part may have none
            return _NO_REPLICATES
        import numpy as np

        numbers = np.frombuffer(self._numbers)  # zero where nothing was recorded
        if not math.isnan(np.minimum.reduce(numbers)):
            return _NO_REPLICATES
        return frozenset(np.flatnonzero(np.isnan(numbers)).tolist())

    @property
    def end(self) -> int:
        """The number of the replicate after the last that recorded the metric."""
        return len(self._states)

    def recorded(self, end: int) -> np.ndarray[Any, np.dtype[np.bool]]:
        """Return for each replicate before `end` whether it recorded the metric, 1-D."""
        import numpy as np

        found = np.zeros(end, dtype=bool)
        states = np.frombuffer(self._states, dtype=np.uint8)[:end]
        found[: len(states)] = states != _NOTHING
        return found

    def has_number(self, end: int) -> np.ndarray[Any, np.dtype[np.bool]]:
        """Return for each replicate before `end` whether it recorded the metric, and no NaN, 1-D."""
        found = self.recorded(end)
        found[[replicate for replicate in self.replicates_with_nan() if replicate < end]] = False
        return found

    def common_with(self, other: Column) -> tuple[Column, Column] | None:
        """Return the numbers of the replicates that have one in both columns, as two dense columns.

        None if a column is not of numbers that are all floats or all ints, one of each replicate that recorded it.
        """
        if self.is_paired_with(other):
            return self, other
        if self._others or other._others or self._kind is None or other._kind is None:
            return None
        end = min(self.end, other.end)
        common = self.has_number(end) & other.has_number(end)
        return self.part(common), other.part(common)

    def rows_with(self, other: Column) -> list[tuple[list[Any], list[Any]]]:
        """Return the values of both, side by side, in each replicate that both recorded, and neither with NaN."""
        left_out = self.replicates_with_nan() | other.replicates_with_nan()
        others = dict(other.by_replicate())
        return [
            (values, others[replicate])
            for replicate, values in self.by_replicate()
            if replicate in others and replicate not in left_out
        ]

    def part(self, chosen: np.ndarray[Any, np.dtype[np.bool]]) -> Column:
        """Return what the chosen ones of the first replicates recorded, as a column of them alone, without gaps."""
        import numpy as np

        part = Column()
        if self._others or self._kind is None:
            numbers = set(np.flatnonzero(chosen).tolist())
            for place, values in enumerate(each for number, each in self.by_replicate() if number in numbers):
                part.put(place, values, 0)
            return part
        kind = self._numbers.typecode
        part._kind = self._kind
        part._numbers = array(kind, np.frombuffer(self._numbers, kind)[: len(chosen)][chosen].tobytes())
        part._states = bytearray([_NUMBER]) * len(part._numbers)
        return part

    def __len__(self) -> int:
        if self.is_dense:
            return len(self._states)
        return self._states.count(_NUMBER) + sum(map(len, self._others.values()))

    def __iter__(self) -> Iterator[Any]:
        for _, values in self.by_replicate():
            yield from values

    def by_replicate(self) -> Iterator[tuple[int, list[Any]]]:
        """Yield ``(replicate, values)`` for each replicate that recorded the metric, in replicate order."""
        for replicate, state in enumerate(self._states):
            if state == _NUMBER:
                yield replicate, [self._numbers[replicate]]
            elif state == _VALUES:
                yield replicate, self._others[replicate]

    def slices(self) -> Iterator[list[Any]]:
        """Yield all values, flat, in replicate order, in short lists: for those who need them one after another."""
        if self.is_dense:
            for start in range(0, len(self._numbers), _SLICE):
                yield self._numbers[start : start + _SLICE].tolist()
        else:
            yield from in_slices(self)

    def values(self) -> Samples:
        """Return all values, flat, in replicate order."""
        if self.is_dense:
            return Samples(self._numbers.tolist(), self.array())
        return Samples(list(self))

    def replicates(self) -> Iterator[int]:
        """Yield, for each value, the replicate that recorded it."""
        return (replicate for replicate, values in self.by_replicate() for _ in values)

    def array(self) -> np.ndarray[Any, Any]:
        """Return all values as a read-only 1-D array in replicate order; without a copy if the column is dense."""
        import numpy as np

        if self._others or self._kind is None:
            found = np.array(list(self)) if self.is_numeric else np.fromiter(self, dtype=object)
            found.setflags(write=False)
            return found
        numbers: np.ndarray[Any, Any] = np.frombuffer(
            memoryview(self._numbers).toreadonly(), self._numbers.typecode
        )
        if self._gaps:
            numbers = numbers[np.frombuffer(self._states, dtype=np.uint8) == _NUMBER]
            numbers.setflags(write=False)
        return numbers


def in_slices(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield `values` in short lists."""
    rest = iter(values)
    while part := list(islice(rest, _SLICE)):
        yield part


def in_order_of_recording(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return `columns` in the order in which the first replicate that recorded each did so.

    The order of arrival, which differs between runs, plays no part.
    """
    return dict(sorted(columns.items(), key=lambda item: (*item[1].first, item[0])))
