"""Hashes of content: equal content, equal hash, in every process; unequal content, unequal hash, or an error."""

from __future__ import annotations

import array
import asyncio
import datetime as dt
import enum
import math
import operator
import random
import re
import socket
import threading
import types
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from itertools import combinations
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crystallize.errors import CrystallizeError, UnhashableContentError
from crystallize.hashing import content_hash

TEXT = "w" if "w" in array.typecodes else "u"  # which Python 3.13 has put in the place of the other


class Model:
    def __init__(self, state: Any = None, **attributes: Any) -> None:
        self.state = state
        self.__dict__.update(attributes)

    def fit(self) -> None: ...

    @cached_property
    def costly(self) -> int:
        return 1


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = left, right


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclass
class Settings:
    alpha: float
    names: set[str] = field(default_factory=set)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Named(list):
    name = ""


class Tagged(set):
    pass


class Identified:
    def __init__(self, identity: Any, noise: Any) -> None:
        self.identity, self.noise = identity, noise

    def __crystallize_fingerprint__(self) -> Any:
        return self.identity


Pair = namedtuple("Pair", "left right")


def again(value: Any) -> Any:
    """Build an equal value anew, with dicts and sets in the opposite order, and no part that is the same object."""
    if isinstance(value, dict):
        return {again(key): again(item) for key, item in reversed(value.items())}
    if isinstance(value, set | frozenset):
        return type(value)(again(item) for item in sorted(value, key=repr, reverse=True))
    if isinstance(value, list | tuple | deque):
        return type(value)(again(item) for item in value)
    if isinstance(value, Model):
        return Model(again(value.state))
    if isinstance(value, str | bytes):
        return value[:1] + value[1:]
    return value


def spelled(value: Any) -> Any:
    """Return something that is equal for content that counts as equal, and for nothing else."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, frozenset(Counter((spelled(key), spelled(item)) for key, item in value.items()).items())
    if isinstance(value, set | frozenset):
        return kind, frozenset(Counter(map(spelled, value)).items())
    if isinstance(value, list | tuple | deque):
        return kind, tuple(map(spelled, value))
    if isinstance(value, Model):
        return kind, spelled(value.state)
    if isinstance(value, float | complex):
        return kind, np.asarray(value).tobytes()
    return kind, repr(value)


ATOMS = (
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(), st.binary()),
    *(st.binary().map(bytearray), st.decimals(), st.fractions(), st.uuids()),
    *(st.dates(), st.times(), st.timedeltas(), st.datetimes(timezones=st.none() | st.timezones())),
    st.characters(categories=["Cs"]),
)
ATOM = st.one_of(*ATOMS)
KEY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.tuples(inner) | st.frozensets(inner, max_size=4),
    max_leaves=5,
)
VALUE = st.recursive(
    ATOM,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(KEY, inner, max_size=4)
        | st.sets(KEY, max_size=4)
        | st.lists(inner, max_size=3).map(deque)
        | st.builds(Model, inner)
    ),
    max_leaves=12,
)


# -- laws ----------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(VALUE)
def test_equal_content_has_an_equal_hash_however_it_was_made(value: Any) -> None:
    assert content_hash(value) == content_hash(again(value))


@given(VALUE, VALUE)
def test_unequal_content_has_an_unequal_hash(one: Any, other: Any) -> None:
    assert (content_hash(one) == content_hash(other)) == (spelled(one) == spelled(other))


@given(st.lists(VALUE, min_size=1, max_size=4), st.data())
def test_a_part_that_changes_changes_the_hash_of_the_whole(parts: list[Any], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(parts) - 1))
    part = data.draw(VALUE)
    changed = [*parts[:place], part, *parts[place + 1 :]]
    assert (content_hash(parts) == content_hash(changed)) == (spelled(parts) == spelled(changed))


@settings(max_examples=50)
@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, max_dims=4)), st.data())
def test_how_an_array_lies_in_memory_does_not_count(array_: np.ndarray, data: st.DataObject) -> None:
    expected = content_hash(array_.copy())
    axes = data.draw(st.permutations(range(array_.ndim)))
    padded = np.zeros([2 * length + 1 for length in array_.shape], array_.dtype)
    strided = padded[(..., *(slice(1, None, 2) for _ in array_.shape))]
    strided[...] = array_
    permuted = array_.transpose(axes).copy().transpose(np.argsort(axes).tolist())
    for same in (strided, permuted, array_.astype(array_.dtype.newbyteorder())):
        assert content_hash(same) == expected


@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=2)), st.data())
def test_each_bit_of_an_array_counts(array_: np.ndarray, data: st.DataObject) -> None:
    other = array_.copy()
    memory = other.reshape(-1).view(np.uint8)
    place = data.draw(st.integers(0, min(len(memory), 8) - 1))
    memory[place] ^= 1
    assert content_hash(other) != content_hash(array_)


def test_it_is_32_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{32}", content_hash({}))


# -- what counts ---------------------------------------------------------------------------------------------


def counter(start: int) -> Callable[[], int]:
    return lambda: start


DISTINCT = [
    *(None, True, False, 0, 1, -1, 2**63, -(2**70), 10**5000),
    *(0.0, -0.0, 1.0, math.inf, math.nan, -math.nan, 1j, 1 + 0j),
    *("", "a", "1", "\ud800", b"", b"a"),
    *(bytearray(b"a"), memoryview(b"a"), memoryview(np.arange(2)), "x" * 3000, b"x" * 3000),
    *([], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}), {1: 1}, {"1": 1}, {1: "1"}, [[1], 2], [[1, 2]]),
    *(["ab", "c"], ["a", "bc"], [1.0] * 40, [1] * 40, ["1"] * 40),
    *([1.0] * 39 + [1], [True] * 40, (1.0,) * 40, [2**64] * 40),
    *(range(3), range(0, 3, 2), slice(3), slice(0, 3), ...),
    *(NotImplemented, Pair(1, 2), (1, 2), deque([1]), deque([1], 3)),
    *(OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {"a": 1, "b": 2}, types.MappingProxyType({"a": 1, "b": 2})),
    *(defaultdict(list, a=[1]), defaultdict(set, a=[1]), Counter("aab"), Counter("abb"), types.SimpleNamespace(a=1)),
    *(Colour.RED, Colour.BLUE, Access.READ, Access.READ | Access.WRITE, Access(0)),
    *(Path("a"), Path("b"), PurePosixPath("a"), PureWindowsPath("a")),
    *(dt.date(2020, 1, 1), dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, fold=1), dt.time(1), dt.time(1, fold=1)),
    dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("UTC")),
    dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    *(dt.timedelta(1), dt.UTC, dt.timezone(dt.timedelta(hours=1))),
    *(ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")),
    *(Decimal("1.0"), Decimal("1.00"), Fraction(1, 2), uuid.UUID(int=1), uuid.UUID(int=2)),
    *(re.compile("a"), re.compile("a", re.IGNORECASE), re.compile(b"a")),
    *(array.array("d", [1]), array.array("f", [1]), array.array("i", [1]), array.array(TEXT, "a")),
    *(random.Random(1), random.Random(2), ValueError("a"), ValueError("b")),
    *(lambda x: x, lambda x: x + 1, lambda x=1: x, lambda x=2: x, lambda *, x=1: x, counter(1), counter(2)),
    *(len, max, math.sin, "a".upper, "b".upper, str.upper, operator.itemgetter(1), lru_cache(len)),
    *(partial(max, 1), partial(max, 2), partial(max, key=len), partial(min, 1)),
    *(int, float, Model, Settings, math, random, list[int], dict[str, int], again, spelled, np.mean, np.float64),
    *(Model(), Model(1), Model(1, other=2), Model(Model(1)), Model(1).fit, Model(2).fit, Model.fit),
    *(Slotted(1, 2), Slotted(2, 1), Point(1, 2), Point(2, 1), Settings(1.0), Settings(1.0, {"a"}), Settings(2.0)),
    *(Named([1]), Tagged({1}), Identified(1, 2), Identified(2, 2)),
]  # fmt: skip


def test_all_of_these_differ() -> None:
    distinct = [*DISTINCT, *unfitted_estimators(), *fitted_estimators()]
    hashes = [content_hash(value) for value in distinct]
    for (one, first), (other, second) in combinations(zip(distinct, hashes, strict=True), 2):
        assert first != second, f"{one!r} and {other!r}"


def named(name: str) -> Named:
    value = Named([1])
    value.name = name
    return value


def unfitted_estimators() -> list[Any]:
    # Not at the top: each process collects these tests, and one of them runs them.
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeRegressor

    return [Ridge(), Ridge(2.0), DecisionTreeRegressor()]


def fitted_estimators() -> list[Any]:
    from sklearn.linear_model import Ridge
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(random_state=1).fit([[0], [1], [2]], [0, 1, 3])
    return [Ridge().fit([[0], [1]], [0, 1]), Ridge().fit([[0], [1]], [0, 2]), tree]


def used(model: Model) -> Model:
    assert model.costly
    return model


EQUAL: dict[str, tuple[Any, Any]] = {
    "nan": (math.nan, float("nan")),
    "data classes": (Settings(1.0, {"a", "b"}), Settings(1.0, {"b", "a"})),
    "attributes in another order": (Model(1, a=1, b=2), Model(1, b=2, a=1)),
    "what a cached property remembers": (Model(1), used(Model(1))),
    "lambdas of one text": ((lambda x: x + 1), (lambda x: x + 1)),
    "closures": (counter(1), counter(1)),
    "partials": (partial(max, key={"a": 1, "b": 2}), partial(max, key={"b": 2, "a": 1})),
    "a set of a class of one's own": (Tagged({"a", "b", "c"}), Tagged({"c", "b", "a"})),
    "attributes of a list": (named("a"), named("a")),
    "what names its own identity": (Identified("me", 1), Identified("me", 2)),
    "generators": (np.random.default_rng([1, 2]), np.random.default_rng([1, 2])),
    "memory": (memoryview(np.arange(6)[::2]), memoryview(np.array([0, 2, 4]))),
    "one object twice": ([[1]] * 2, [[1], [1]]),
    "one large object twice": ([("x" * 5000, [2])] * 2, [("x" * 5000, [2]), ("x" * 5000, [2])]),
    "keys that are equal to nothing": ({math.nan: 1, float("nan"): 2}, {float("nan"): 2, math.nan: 1}),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL)
def test_these_are_the_same(one: Any, other: Any) -> None:
    assert content_hash(one) == content_hash(other)


def test_estimators_that_are_fitted_to_the_same_are_the_same() -> None:
    for one, other in zip(fitted_estimators(), fitted_estimators(), strict=True):
        assert content_hash(one) == content_hash(other)


def test_the_state_of_a_random_generator_counts() -> None:
    rng = np.random.default_rng(1)
    before = content_hash(rng)
    rng.random()
    assert content_hash(rng) != before


def test_attributes_of_a_derived_container_count() -> None:
    assert content_hash(named("a")) != content_hash(named("b"))


def test_attributes_of_a_derived_array_count() -> None:
    class Measured(np.ndarray):
        unit = ""

    metres, feet = (np.arange(3).view(Measured) for _ in range(2))
    metres.unit, feet.unit = "m", "ft"
    assert len({content_hash(metres), content_hash(feet), content_hash(np.arange(3))}) == 3


def test_the_code_of_a_users_class_counts_with_its_objects() -> None:
    def define(body: str) -> Any:
        scope: dict[str, Any] = {"__name__": "steps"}
        exec(f"class Model:\n    def fit(self):\n        return {body}", scope)
        return scope["Model"]()

    assert content_hash(define("1")) == content_hash(define("1  # a comment"))
    assert content_hash(define("1")) != content_hash(define("2"))


# -- what holds itself, and what is held more than once ------------------------------------------------------


def ring(*names: str) -> Model:
    models = [Model(name) for name in names]
    for model, following in zip(models, [*models[1:], models[0]], strict=True):
        model.next = following
    return models[0]


def test_what_holds_itself_has_a_hash() -> None:
    assert content_hash(ring("a", "b")) == content_hash(ring("a", "b"))
    hashes = {content_hash(ring(*names)) for names in ("a", "ab", "ba", "aa", "aab", "aba", "abab")}
    assert len(hashes) == 7
    loop: list[Any] = []
    loop.append(loop)
    assert content_hash(loop) != content_hash([[]])


def test_a_ring_that_is_held_twice_counts_as_two_equal_ones() -> None:
    once = ring("a", "b", "x" * 2000)
    assert content_hash([once, once]) == content_hash([once, ring("a", "b", "x" * 2000)])


def test_a_graph_in_which_everything_is_linked_is_hashed_in_good_time() -> None:
    def graph(size: int) -> list[Model]:
        models = [Model(number) for number in range(size)]
        for model in models:
            model.others = list(models)
        return models

    assert content_hash(graph(20)) == content_hash(graph(20))
    assert content_hash(graph(20)) != content_hash(graph(21))


def test_what_is_shared_at_many_levels_is_hashed_in_good_time() -> None:
    value: Any = "leaf"
    for _ in range(200):
        value = [value, value]
    assert content_hash(value) == content_hash(value)


# -- what hides its content ----------------------------------------------------------------------------------


async def later() -> None: ...


def unhashable() -> dict[str, tuple[Any, str]]:
    lock = threading.Lock()
    return {
        "a lock": (lock, "data: a _thread.lock"),
        "an attribute": ({"model": types.SimpleNamespace(lock=lock)}, "data['model'].lock: a _thread.lock"),
        "a slot": ([0, Slotted(1, lock)], "data[1].right: a _thread.lock"),
        "a default": ([lambda x=lock: x], "data[0].__defaults__[0]: a _thread.lock"),
        "a closure": (counter(lock), "data.__closure__['start']: a _thread.lock"),
        "a bound method": (Model(lock).fit, "data.__self__.state: a _thread.lock"),
        "a key": ({lock: 1}, "a _thread.lock"),
        "an item of a set": ({lock}, "a _thread.lock"),
        "an array": (np.array([1, lock], object), "data.flat[1]: a _thread.lock"),
        "an own identity": (Identified([lock], 1), "data[0]: a _thread.lock"),
        "a generator": ((each for each in []), "data: a builtins.generator: reading an iterator uses it up"),
        "an iterator": (iter([1]), "reading an iterator uses it up"),
        "a map": (map(str, []), "reading an iterator uses it up"),
        "a weak set": (threading.local(), "data: a _thread._local"),
    }


@pytest.mark.parametrize("case", unhashable())
def test_what_hides_its_content_is_an_error_that_says_where_it_is(case: str) -> None:
    value, message = unhashable()[case]
    with pytest.raises(UnhashableContentError) as caught:
        content_hash(value, "data")
    assert message in caught.value.what
    assert "cacheable=False" in caught.value.hint
    assert isinstance(caught.value, CrystallizeError)
    assert isinstance(caught.value, TypeError)


def test_files_sockets_and_coroutines_are_refused(tmp_path: Path) -> None:
    coroutine = later()
    with (tmp_path / "file").open("w") as file, socket.socket() as connection:
        for value in (file, connection, coroutine, asyncio.Lock, types.SimpleNamespace(file=file)):
            if value is not asyncio.Lock:
                with pytest.raises(UnhashableContentError):
                    content_hash(value)
    coroutine.close()


def test_what_raises_when_it_is_asked_is_an_error_that_says_so() -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise RuntimeError("not today")

    with pytest.raises(UnhashableContentError, match="RuntimeError: not today"):
        content_hash(Stubborn())


def test_what_is_nested_too_deep_is_an_error() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UnhashableContentError, match="nested too deep"):
        content_hash(value)
    while value:  # or else Python would free them all within each other
        value = value[0]


# -- processes -----------------------------------------------------------------------------------------------

CODE = """
import datetime, decimal, pathlib, re, sys
from functools import partial
import numpy as np
from crystallize.hashing import content_hash

class Model:
    def __init__(self, names, table):
        self.names, self.table = names, table

class Tagged(set):
    pass

names = {"alpha", "beta", "gamma", b"x", 1, None, frozenset({"y", "z"}), (1, "a"), decimal.Decimal(1), Model}
model = Model(names, {name: [name] for name in names})
print(content_hash([
    names, Tagged(names), model, [model, model],
    print, Model, lambda: names, partial(max, key=model), np.array([names, "x"], object),
    pathlib.Path("a"), re.compile("x"), datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc),
]))
"""


def test_the_hash_is_the_same_in_processes_that_order_their_sets_differently(run_python: Any) -> None:
    found = {run_python(CODE, env={"PYTHONHASHSEED": seed}).stdout for seed in ("0", "1", "2", "123")}
    assert len(found) == 1


def test_hashing_imports_no_library_that_the_value_does_not_come_from(run_python: Any) -> None:
    run_python(
        "import sys\nfrom crystallize.hashing import content_hash\n"
        "content_hash({'a': [1.5, {2}], 'b': lambda: 0})\n"
        "assert not {'numpy', 'pandas', 'polars', 'pyarrow', 'scipy'} & sys.modules.keys()",
        fresh=True,
    )
