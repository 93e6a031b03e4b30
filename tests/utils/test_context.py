"""The context: an immutable mapping, and what a step reaches through it."""

from __future__ import annotations

import logging
import pickle
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize.errors import (
    ArtifactError,
    ContextKeyError,
    ContextMutationError,
    CrystallizeError,
    InvalidTypeError,
)
from crystallize.utils.artifact_log import Sink
from crystallize.utils.context import RESERVED_KEYS, FrozenContext, current_context

# -- the mapping -----------------------------------------------------------------------------------------------


def test_it_is_read_like_any_mapping() -> None:
    ctx = FrozenContext({"a": 1}, {"b": 2}, replicate=3, condition="low")
    assert ctx["a"] == 1
    assert ctx.get("b") == 2
    assert ctx.get("c") is None
    assert ctx.get("c", 7) == 7
    assert "a" in ctx
    assert "c" not in ctx
    assert dict(ctx) == {"replicate": 3, "condition": "low", "a": 1, "b": 2}
    assert len(ctx) == 4
    assert ctx == {"replicate": 3, "condition": "low", "a": 1, "b": 2}


def test_a_treatments_settings_take_precedence_over_the_initial_context() -> None:
    ctx = FrozenContext({"factor": 1, "kept": True}, {"factor": 2})
    assert ctx["factor"] == 2
    assert sorted(ctx) == ["factor", "kept"]
    assert len(ctx) == 2


def test_a_new_key_can_be_added_and_read() -> None:
    ctx = FrozenContext({"a": 1})
    ctx.add("b", 2)
    assert ctx["b"] == 2
    assert len(ctx) == 2


@pytest.mark.parametrize("layer", ["initial", "settings", "added", "framework"])
def test_no_key_can_be_added_twice_whatever_it_came_from(layer: str) -> None:
    ctx = FrozenContext({"initial": 1}, {"settings": 1}, replicate=0)
    ctx.add("added", 1)
    key = "replicate" if layer == "framework" else layer
    with pytest.raises(ContextMutationError, match=f"has '{key}' already and is immutable.*Add a new key"):
        ctx.add(key, 2)
    assert ctx[key] != 2


CHANGES: dict[str, Callable[[Any], object]] = {
    "set an old key": lambda ctx: ctx.__setitem__("a", 2),
    "set a new key": lambda ctx: ctx.__setitem__("new", 2),
    "delete": lambda ctx: ctx.__delitem__("a"),
    "add a key that is not a str": lambda ctx: ctx.add(5, 2),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_cannot_be_changed(change: Callable[[Any], object]) -> None:
    ctx = FrozenContext({"a": 1})
    with pytest.raises(ContextMutationError) as raised:
        change(ctx)
    assert isinstance(raised.value, TypeError)
    assert dict(ctx) == {"a": 1}


@pytest.mark.parametrize("method", ["update", "pop", "clear", "setdefault", "popitem"])
def test_it_has_no_method_of_a_mutable_mapping(method: str) -> None:
    assert not hasattr(FrozenContext(), method)


def test_a_missing_key_is_a_key_error_that_says_where_and_what_there_is() -> None:
    ctx = FrozenContext({"alpha": 1}, replicate=4, condition="low")
    ctx.begin_stage(0, "FitStep")
    with pytest.raises(ContextKeyError) as raised:
        ctx["beta"]
    assert isinstance(raised.value, KeyError)
    text = str(raised.value)
    assert "no 'beta'" in text
    assert "condition 'low', replicate 4, step 'FitStep'" in text
    assert "It holds 'alpha', 'condition', 'replicate', 'step_name'" in text


KEYS = st.text(max_size=5).filter(lambda key: key not in RESERVED_KEYS)
VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=8,  # deep and mixed is what matters; to generate large values takes minutes
)


def ruin(value: Any) -> None:
    """Change whatever can be changed, deep down."""
    if isinstance(value, list):
        for item in value:
            ruin(item)
        value.append("ruined")
    elif isinstance(value, dict):
        for item in value.values():
            ruin(item)
        value["ruined"] = True
    elif isinstance(value, set):
        value.add("ruined")


@settings(max_examples=50)
@given(entries=st.dictionaries(KEYS, VALUES, max_size=4), extra=st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_is_done_to_what_was_read_the_context_stays_as_it_was(
    entries: dict[str, Any], extra: dict[str, Any]
) -> None:
    before = pickle.loads(pickle.dumps(entries))
    ctx = FrozenContext(entries)
    for _ in range(2):
        for key in ctx:
            ruin(ctx[key])
            ruin(ctx.get(key))
    for key, value in extra.items():
        if key in entries:
            with pytest.raises(ContextMutationError):
                ctx.add(key, value)
    assert {key: ctx[key] for key in entries} == before
    assert entries == before


# -- what is handed out ------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    left: list[int]
    right: int


CONTAINERS: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "list": ([1], lambda held: held.append(2)),
    "dict": ({"k": 1}, lambda held: held.update(x=1)),
    "set": ({1}, lambda held: held.add(2)),
    "bytearray": (bytearray(b"a"), lambda held: held.extend(b"b")),
    "list in a list": ([[1]], lambda held: held[0].append(2)),
    "dict in a dict": ({"k": {"l": 1}}, lambda held: held["k"].clear()),
    "list in a tuple": (([1],), lambda held: held[0].append(2)),
    "set in a dict": ({"k": {1}}, lambda held: held["k"].add(2)),
    "defaultdict": (defaultdict(list, {"k": [1]}), lambda held: held["new"]),
    "OrderedDict": (OrderedDict(a=[1]), lambda held: held["a"].append(2)),
    "list in a named tuple": (Pair([1], 2), lambda held: held.left.append(2)),
    "deque": (deque([1]), lambda held: held.append(2)),
    "array in a list": ([np.zeros(2)], lambda held: held.append(1)),
}


@pytest.mark.parametrize(("value", "change"), CONTAINERS.values(), ids=CONTAINERS)
def test_a_container_read_from_the_context_is_a_copy(value: Any, change: Callable[[Any], object]) -> None:
    ctx = FrozenContext({"held": value})
    untouched = repr(value)
    read = ctx["held"]
    assert type(read) is type(value)
    assert repr(read) == untouched
    change(read)
    assert repr(read) != untouched
    assert repr(ctx["held"]) == untouched
    assert repr(value) == untouched


@pytest.mark.parametrize("held", [lambda array: array, lambda array: [array], lambda array: {"k": (array,)}])
def test_an_array_is_a_read_only_view_of_the_same_memory_however_deep_it_is(
    held: Callable[[Any], Any],
) -> None:
    array = np.arange(3.0)
    read = FrozenContext({"a": held(array)})["a"]
    while not isinstance(read, np.ndarray):
        read = read["k"] if isinstance(read, dict) else read[0]
    assert np.shares_memory(read, array)
    with pytest.raises(ValueError, match="read-only"):
        read[0] = 9
    assert array.flags.writeable, "the owner's own array stays as it is"


def test_any_other_object_is_handed_out_itself() -> None:
    model = object()
    assert FrozenContext({"model": model})["model"] is model


# -- metrics, place, logger ----------------------------------------------------------------------------------------


def test_record_is_metrics_add_with_tags() -> None:
    ctx = FrozenContext()
    ctx.record("loss", np.float64(0.5), tags={"epoch": 1})
    ctx.metrics.add("loss", 0.25)
    assert ctx.metrics["loss"] == [0.5, 0.25]
    assert ctx.metrics.tags["loss"] == [{"epoch": 1}, None]


@pytest.mark.parametrize(
    ("ctx", "place"),
    [
        (FrozenContext(), ""),
        (FrozenContext(replicate=0), "replicate 0"),
        (FrozenContext(replicate=2, condition="low"), "condition 'low', replicate 2"),
    ],
)
def test_place_says_as_much_as_is_known(ctx: FrozenContext, place: str) -> None:
    assert ctx.place() == place


def test_the_logger_names_the_place_in_each_message(caplog: pytest.LogCaptureFixture) -> None:
    ctx = FrozenContext(replicate=2, condition="low")
    ctx.begin_stage(1, "FitStep")
    with caplog.at_level(logging.INFO, "crystallize"):
        ctx.logger.info("%d rows", 7)
    (record,) = caplog.records
    assert record.name.startswith("crystallize.")
    assert record.getMessage() == "7 rows (condition 'low', replicate 2, step 'FitStep')"


def test_the_logger_of_a_context_without_a_place_adds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    FrozenContext().logger.warning("hello")
    assert caplog.messages == ["hello"]


# -- randomness -----------------------------------------------------------------------------------------------------


def place(replicate: int = 0, step: int = 0, seed: int = 1, condition: str = "baseline") -> FrozenContext:
    ctx = FrozenContext(replicate=replicate, condition=condition, master_seed=seed)
    ctx.begin_stage(step, f"Step{step}")
    return ctx


def numbers(rng: np.random.Generator) -> list[int]:
    return [int(number) for number in rng.integers(0, 2**63, 8)]


@given(
    seed=st.integers(0, 2**70),
    replicate=st.integers(0, 10_000),
    step=st.integers(0, 100),
    name=st.text(max_size=20),
)
def test_conditions_of_one_replicate_have_the_same_streams(
    seed: int, replicate: int, step: int, name: str
) -> None:
    one, other = (place(replicate, step, seed, condition) for condition in ("baseline", "treated"))
    assert numbers(one.rng) == numbers(other.rng)
    assert numbers(one.stream(name)) == numbers(other.stream(name))


@given(
    places=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_seeds_replicates_and_steps_have_streams_of_their_own(places: list[tuple[int, int, int]]) -> None:
    streams = [tuple(numbers(place(*where).rng)) for where in places]
    assert len(set(streams)) == len(streams)


@given(names=st.lists(st.text(max_size=5), min_size=2, max_size=5, unique=True), replicate=st.integers(0, 5))
def test_names_have_streams_of_their_own_and_so_has_the_step(names: list[str], replicate: int) -> None:
    ctx = place(replicate)
    streams = [tuple(numbers(ctx.stream(name))) for name in names] + [tuple(numbers(ctx.rng))]
    assert len(set(streams)) == len(streams)


def test_a_named_stream_is_the_same_whichever_step_asks_for_it() -> None:
    assert numbers(place(step=0).stream("noise")) == numbers(place(step=5).stream("noise"))


def test_a_stream_goes_on_where_it_was_left() -> None:
    ctx = place()
    assert ctx.rng is ctx.rng
    assert ctx.stream("noise") is ctx.stream("noise")
    assert numbers(ctx.rng) != numbers(ctx.rng)


def test_how_much_earlier_steps_drew_is_of_no_consequence() -> None:
    wasteful, thrifty = place(), place()
    wasteful.rng.random(1000)
    wasteful.stream("other").random(10)
    for ctx in (wasteful, thrifty):
        ctx.begin_stage(1, "Second")
    assert numbers(wasteful.rng) == numbers(thrifty.rng)
    assert numbers(wasteful.stream("noise")) == numbers(thrifty.stream("noise"))


@pytest.mark.parametrize("name", [5, None, b"noise"])
def test_a_streams_name_is_a_str(name: Any) -> None:
    with pytest.raises(InvalidTypeError, match="name of a random stream is a str"):
        place().stream(name)


def test_a_context_without_a_master_seed_draws_one_and_keeps_it() -> None:
    ctx = FrozenContext()
    assert numbers(ctx.rng) != numbers(FrozenContext().rng)
    assert ctx.rng is ctx.rng


# -- artifacts ------------------------------------------------------------------------------------------------------


def test_the_sink_is_given_the_context_and_what_it_returns_is_remembered() -> None:
    class Told(Sink):
        def __call__(self, given: Any, name: str, content: bytes) -> Any:
            return given is ctx, name, content

    ctx = place()
    ctx.artifacts.sink = Told()
    assert ctx.artifacts.write("a.bin", b"1") == (True, "a.bin", b"1")
    assert ctx.artifacts.entries == [(True, "a.bin", b"1")]


def test_without_a_sink_an_artifact_is_discarded_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ctx = place()
    for _ in range(3):
        assert ctx.artifacts.write("said-once.bin", b"1") is None
    assert ctx.artifacts.entries == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "'said-once.bin' is discarded" in caplog.text
    assert "ArtifactPlugin" in caplog.text


@pytest.mark.parametrize("content", ["text", 5, None, [b"x"]])
def test_the_content_of_an_artifact_is_bytes(content: Any) -> None:
    ctx = place(replicate=3)
    with pytest.raises(ArtifactError, match=r"'a.bin' is bytes on disk.*replicate 3.*writer"):
        ctx.artifacts.write("a.bin", content)


# -- the context in force ------------------------------------------------------------------------------------------


def fail_in(ctx: FrozenContext) -> None:
    with ctx.in_force():
        assert current_context() is ctx
        raise RuntimeError("from within")


def test_the_context_in_force_is_found_and_the_former_one_comes_back() -> None:
    outer, inner = FrozenContext(), FrozenContext()
    assert current_context() is None
    with outer.in_force():
        assert current_context() is outer
        with pytest.raises(RuntimeError, match="from within"):
            fail_in(inner)
        assert current_context() is outer
    assert current_context() is None


def test_peek_neither_copies_nor_leaves_a_trace() -> None:
    rows = [1]
    ctx = FrozenContext({"rows": rows})
    assert ctx.peek("rows") is rows
    assert ctx.peek("absent") is None
    ctx.begin_stage(0, "A")
    assert ctx.peek("rows") is rows
    ctx.end_stage()
    assert ctx.trace == []


def test_all_errors_of_the_context_are_ours() -> None:
    for kind in (ContextKeyError, ContextMutationError, ArtifactError):
        assert issubclass(kind, CrystallizeError)


def test_a_hook_can_be_tried_by_hand_and_what_it_hands_back_looked_at() -> None:
    class Plugin:
        def after_step(self, ctx: FrozenContext) -> None:
            ctx.hand_back(self, [1])
            ctx.hand_back(self, "two")

    ctx = FrozenContext()
    Plugin().after_step(ctx)
    assert ctx.handed_back is not None
    assert [(name, pickle.loads(payload)) for name, payload in ctx.handed_back] == [
        ("Plugin", [1]),
        ("Plugin", "two"),
    ]
