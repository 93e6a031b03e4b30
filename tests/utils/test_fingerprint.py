"""Stable hashes: equal content, equal hash, in every process."""

from __future__ import annotations

import enum
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize.utils.fingerprint import fingerprint

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers()
)
HASHABLE = st.recursive(
    ATOMS, lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=4), max_leaves=5
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=10,
)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Size(enum.IntEnum):
    ONE = 1


@dataclass
class Settings:
    alpha: float
    names: set[str] = field(default_factory=set)


class Model:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def fit(self) -> None: ...


class Identified:
    def __init__(self, identity: Any, noise: Any) -> None:
        self.identity = identity
        self.noise = noise

    def __crystallize_fingerprint__(self) -> Any:
        return self.identity


class Unpicklable:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class Quantity(np.ndarray):
    """A number with a unit, as astropy's are."""

    unit: str

    @classmethod
    def of(cls, magnitude: float, unit: str) -> Quantity:
        made = np.array(magnitude).view(cls)
        made.unit = unit
        return made

    def tobytes(self, order: Any = "C") -> bytes:
        raise NotImplementedError("it would lose its unit")


def scale(data: Any) -> Any:
    return data


def again(value: Any) -> Any:
    """Build an equal value anew, its dicts and sets in the opposite order."""
    if isinstance(value, dict):
        return {again(key): again(item) for key, item in reversed(value.items())}
    if isinstance(value, set | frozenset):
        return type(value)(again(item) for item in sorted(value, key=repr, reverse=True))
    if isinstance(value, list | tuple):
        return type(value)(again(item) for item in value)
    return value


def exactly(value: Any) -> Any:
    """Return something that is equal for equal content of equal type."""
    if isinstance(value, dict):
        return "mapping", frozenset((exactly(key), exactly(item)) for key, item in value.items())
    if isinstance(value, set | frozenset):
        return "set", frozenset(map(exactly, value))
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(exactly, value))
    return type(value).__name__, repr(value)


@settings(max_examples=50)
@given(VALUES)
def test_equal_content_has_an_equal_hash_in_whatever_order_it_was_put_in(value: Any) -> None:
    assert fingerprint(value) == fingerprint(again(value))


@given(VALUES, VALUES)
def test_other_content_has_another_hash(one: Any, other: Any) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (exactly(one) == exactly(other))


def test_it_is_32_hexadecimal_digits() -> None:
    assert len(fingerprint({})) == 32
    int(fingerprint({}), 16)


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "types": (1, "1"),
    "int and float": (1, 1.0),
    "int and bool": (1, True),
    "zero and nothing": (0, None),
    "list and tuple": ([1], (1,)),
    "list and set": ([1], {1}),
    "dict and OrderedDict": ({"a": 1, "b": 2}, OrderedDict(b=2, a=1)),
    "set and frozenset": ({1, 2}, frozenset({2, 1})),
    "bytes however they are held": (b"ab", bytearray(b"ab")),
    "nesting": ([[1], 2], [[1, 2]]),
    "where a text ends": (["ab", "c"], ["a", "bc"]),
    "text and bytes": ("a", b"a"),
    "signs of zero": (0.0, -0.0),
    "key and value": ({"a": "b"}, {"b": "a"}),
    "order of a list": ([1, 2], [2, 1]),
    "enum members": (Colour.RED, Colour.BLUE),
    "enum and its value": (Size.ONE, 1),
    "array dtypes": (np.zeros(2), np.zeros(2, dtype="f4")),
    "array shapes": (np.zeros((2, 3)), np.zeros((3, 2))),
    "array values": (np.array([1, 2]), np.array([2, 1])),
    "array and list": (np.array([1]), [1]),
    "masks of large arrays": (
        np.ma.array(np.zeros(1000), mask=np.arange(1000) == 3),
        np.ma.array(np.zeros(1000), mask=np.arange(1000) == 4),
    ),
    "units of quantities": (Quantity.of(1.0, "m"), Quantity.of(1.0, "km")),
    "magnitudes of quantities": (Quantity.of(1.0, "m"), Quantity.of(2.0, "m")),
    "arrays of objects": (np.array([{1}, "a"], dtype=object), np.array([{2}, "a"], dtype=object)),
    "functions": (scale, exactly),
    "methods of two objects": (Model(a=1).fit, Model(a=2).fit),
    "partials": (partial(scale, 1), partial(scale, 2)),
    "keywords of partials": (partial(scale, data=1), partial(scale, data=2)),
    "data classes": (Settings(1.0), Settings(2.0)),
    "attributes": (Model(a=1), Model(a=2)),
    "class and instance": (Model, Model()),
    "paths": (Path("a"), Path("b")),
    "path and text": (PurePosixPath("a"), "a"),
    "modules": (math, threading),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_these_differ(one: Any, other: Any) -> None:
    assert fingerprint(one) != fingerprint(other)


def twice(make: Callable[[], Any]) -> tuple[Any, Any]:
    return make(), make()


EQUAL: dict[str, tuple[Any, Any]] = {
    "nan": (math.nan, float("nan")),
    "arrays in another memory order": (
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
    ),
    "array and its view": (np.arange(6)[::2], np.array([0, 2, 4])),
    "arrays without elements": (np.zeros((0, 3)), np.zeros((0, 3))),
    "arrays without dimensions": (np.array(1.5), np.array(1.5)),
    "data classes": twice(lambda: Settings(1.0, {"a", "b"})),
    "objects": twice(lambda: Model(a=1, b=[1, 2])),
    "objects whose attributes were set in another order": (Model(a=1, b=2), Model(b=2, a=1)),
    "objects that share a part or have it twice": (
        Model(a=(shared := "".join(["x", "y"])), b=shared),
        Model(a="".join(["x", "y"]), b="".join(["x", "y"])),
    ),
    "arrays of objects": twice(lambda: np.array([{"a", "b"}, "x"], dtype=object)),
    "what names its own identity": (Identified("me", 1), Identified("me", 2)),
    "what cannot be pickled counts by its class": twice(Unpicklable),
    "partials": twice(lambda: partial(scale, data={"a": {1, 2}})),
    "random generators": twice(lambda: np.random.default_rng(3)),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL)
def test_these_are_equal(one: Any, other: Any) -> None:
    assert fingerprint(one) == fingerprint(other)


def test_an_object_that_holds_itself_has_a_hash() -> None:
    def ring() -> Model:
        model = Model(name="ring")
        model.itself = [model]
        return model

    assert fingerprint(ring()) == fingerprint(ring())
    assert fingerprint(ring()) != fingerprint(Model(name="ring", itself=[]))


CODE = """
from crystallize.utils.fingerprint import fingerprint

class Model:
    def __init__(self, names, table):
        self.names, self.table = names, table

names = {"alpha", "beta", "gamma", "delta", b"x", 1, None, frozenset({"y", "z"})}
print(fingerprint([names, {name: 1 for name in names}, Model(names, {"of": frozenset(names)}), print, Model]))
"""


def test_the_hash_is_the_same_in_processes_that_order_their_sets_differently(run_python: Any) -> None:
    seeds = ("0", "1", "2", "123")
    found = {run_python(CODE, env={"PYTHONHASHSEED": seed}).stdout for seed in seeds}
    assert len(found) == 1


def test_hashing_does_not_import_numpy(run_python: Any) -> None:
    run_python(
        "import sys\nfrom crystallize.utils.fingerprint import fingerprint\n"
        "fingerprint({'a': [1.5]})\nassert 'numpy' not in sys.modules",
        fresh=True,
    )
