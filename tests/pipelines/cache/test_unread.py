"""An output in the cache is read when somebody needs it; if it cannot be read then, nobody can tell."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystallize import BasePlugin, FrozenContext, Pipeline, pipeline_step, standalone_context
from crystallize.pipelines.cache.entry import FIRST_LINE


def unpickle(name: str) -> Named:
    """Make what was pickled, unless it is said to be broken, and note that in a file."""
    if Path(f"{name}-broken").exists():
        raise AttributeError(f"there is no {name} any more")
    with Path("loads").open("a", encoding="utf-8") as file:
        file.write(f"{name} ")
    return Named(name)


class Named:
    """A value that leaves a note each time it is made from a pickle, and each time it is hashed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return unpickle, (self.name,)

    def __crystallize_fingerprint__(self) -> str:
        note("hashes", self.name)
        return self.name


def note(kind: str, name: str) -> None:
    with Path(kind).open("a", encoding="utf-8") as file:
        file.write(f"{name} ")


def noted(kind: str) -> list[str]:
    """Return what was noted since the last time."""
    file = Path(kind)
    names = file.read_text(encoding="utf-8").split() if file.exists() else []
    file.unlink(missing_ok=True)
    return names


@pipeline_step(cacheable=True)
def first(data: int, ctx: FrozenContext) -> Any:
    note("calls", "first")
    ctx.record("first", data, tags={"fold": 1})
    ctx.artifacts.write("first.txt", b"first")
    return Named("A"), {"drawn": float(ctx.rng.random()), "named": float(ctx.stream("noise").random())}


@pipeline_step(cacheable=True)
def second(data: Named, ctx: FrozenContext) -> Any:
    note("calls", "second")
    ctx.record("second", len(data.name), tags={"fold": 2})
    return Named(f"{data.name}B"), {"drawn": float(ctx.rng.random())}


@pipeline_step(cacheable=True)
async def third(data: Named, ctx: FrozenContext) -> Any:
    note("calls", "third")
    return Named(f"{data.name}C"), {"third": ctx.get("factor", 1.0)}


@pipeline_step(cacheable=True)
def passes_on(data: Any) -> Any:
    return data


@pipeline_step()
def uncached(data: Any, ctx: FrozenContext) -> Any:
    return data, {"seen": len(data.name), "then": float(ctx.stream("noise").random())}


CHAIN = (first, second, third)


@pytest.fixture
def stored(run: Any) -> list[Path]:
    """Run the chain once, and return the entry of each step."""
    run(*CHAIN, uncached)
    noted("calls")
    noted("loads")
    return sorted(Path(".cache").rglob("*.pkl"), key=lambda path: path.stat().st_mtime_ns)


def hits(result: Any) -> int:
    count: int = result.explain_cache().count("hit")
    return count


# -- what is read ----------------------------------------------------------------------------------------------


class Looks(BasePlugin):
    """Gets what each step gave."""

    def __init__(self, affects_outcomes: bool) -> None:
        self.affects_outcomes = affects_outcomes  # type: ignore[misc]
        self.seen: list[Any] = []

    def after_step(self, experiment: Any, step: Any, data: Any, ctx: FrozenContext) -> None:
        self.seen.append(data)


def test_of_three_hits_in_a_row_only_the_last_output_is_read(run: Any, stored: list[Path]) -> None:
    assert hits(run(*CHAIN)) == 3
    assert noted("loads") == ["ABC"]
    assert hits(run(*CHAIN, uncached)) == 3
    assert noted("loads") == ["ABC"]
    assert noted("calls") == []


@pytest.mark.parametrize("affects_outcomes", [True, False])
def test_a_plugin_that_gets_the_data_gets_each_output(
    affects_outcomes: bool, run: Any, stored: list[Path]
) -> None:
    plugin = Looks(affects_outcomes)
    assert hits(run(*CHAIN, plugins=[plugin])) == 3
    assert noted("loads") == ["A", "AB", "ABC"]
    assert [each.name for each in plugin.seen] == ["A", "AB", "ABC"]


def test_a_step_that_is_not_cached_gets_the_output_before_it(run: Any, stored: list[Path]) -> None:
    assert hits(run(first, second, uncached)) == 2
    assert noted("loads") == ["AB"]


def test_a_step_that_has_to_run_gets_the_output_before_it(run: Any, stored: list[Path]) -> None:
    noted("hashes")
    assert hits(run(*CHAIN, initial_ctx={"factor": 2.0})) == 2
    assert noted("loads") == ["AB", "ABC"]  # the second when it was stored
    assert noted("calls") == ["third"]
    assert noted("hashes") == ["AB", "ABC", "ABC"]  # the first to see whether the step has changed it


def test_a_step_that_gives_its_input_needs_only_that(run: Any, stored: list[Path]) -> None:
    chain = (first, passes_on, second, passes_on)
    run(*chain)
    noted("loads")
    result = run(*chain)
    assert hits(result) == 4
    assert noted("loads") == ["AB"]


def test_nothing_is_read_where_a_step_was_refreshed(run: Any, stored: list[Path]) -> None:
    result = run(*CHAIN, cache="refresh")
    assert hits(result) == 0
    assert noted("calls") == ["first", "second", "third"]


# -- what cannot be read when it is needed ---------------------------------------------------------------------


class Before(BasePlugin):
    """Does something before a step begins, when those before it have been answered; takes down the steps."""

    affects_outcomes = False

    def __init__(self, step: str, act: Callable[[], object]) -> None:
        self.step = step
        self.act = act
        self.steps: list[str] = []

    def before_step(self, experiment: Any, step: Any, ctx: FrozenContext) -> None:
        self.steps.append(step.name)
        if step.name == self.step:
            self.act()


WAYS: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "changed": lambda path: path.write_bytes(path.read_bytes()[:-2] + b"\0."),
    "foreign": lambda path: path.write_bytes(b"something else"),
    "no more than its first line": lambda path: path.write_bytes(FIRST_LINE),
}
FACTOR = {"factor": 2.0}


def same(result: Any) -> Any:
    """Return what must be the same, whatever the cache did."""
    outcome = result.provenance.of("baseline", 0)
    files = {entry.path: (result.path / entry.path).read_bytes() for entry in result.artifacts}
    baseline = result.metrics.baseline
    return repr((baseline.metrics, list(baseline.metrics), baseline.tags, str(outcome), files))


@pytest.mark.parametrize("places", [[1], [0, 1]], ids=["one", "two in a row"])
@pytest.mark.parametrize("spoil", WAYS.values(), ids=WAYS)
def test_what_cannot_be_read_any_more_is_made_anew_and_replaced(
    spoil: Callable[[Path], object], places: list[int], run: Any, stored: list[Path], warnings: Any
) -> None:
    expected = run(*CHAIN, uncached, cache=False, initial_ctx=FACTOR)
    noted("calls")
    plugin = Before("ThirdStep", lambda: [spoil(stored[place]) for place in places])
    found = run(*CHAIN, uncached, initial_ctx=FACTOR, plugins=[plugin])
    assert same(found) == same(expected)
    assert plugin.steps == ["FirstStep", "SecondStep", "ThirdStep", "UncachedStep"]
    assert noted("calls") == [*(["first"] if 0 in places else []), "second", "third"]
    assert hits(found) == 2 - len(places)
    assert found.explain_cache().count("miss") == 1 + len(places)
    if spoil is WAYS["changed"]:
        assert found.explain_cache().reasons("SecondStep") == {
            "what is stored for it cannot be used": {"baseline": 1}
        }
    told = warnings()
    assert [str(stored[place]) in text for place, text in zip(places, told, strict=False)] == [True] * len(
        told
    )
    assert len(told) == (0 if spoil is Path.unlink else len(places))
    again = run(*CHAIN, uncached, initial_ctx=FACTOR)
    assert hits(again) == 3
    assert warnings() == []
    assert same(again) == same(expected)


def test_what_nobody_reads_may_be_damaged(run: Any, stored: list[Path], warnings: Any) -> None:
    damaged = stored[0].read_bytes()[:-2] + b"\0."
    stored[0].write_bytes(damaged)
    assert hits(run(*CHAIN)) == 3
    assert warnings() == []
    run(first, uncached)
    assert str(stored[0]) in warnings()[0]
    assert stored[0].read_bytes() != damaged


def test_an_output_whose_class_is_gone_is_made_anew(run: Any, stored: list[Path], warnings: Any) -> None:
    for name in ("AB", "ABC"):
        Path(f"{name}-broken").touch()
    assert hits(run(*CHAIN)) == 1
    assert noted("calls") == ["second", "third"]
    assert noted("loads") == ["A"]
    assert ["there is no AB any more" in text or "there is no ABC" in text for text in warnings()]


def test_the_last_output_that_cannot_be_read_is_made_from_the_one_before(
    run: Any, stored: list[Path], warnings: Any
) -> None:
    WAYS["changed"](stored[2])
    assert hits(run(*CHAIN)) == 2
    assert noted("calls") == ["third"]
    assert noted("loads") == ["AB", "ABC"]
    (warning,) = warnings()
    assert str(stored[2]) in warning


@pytest.mark.parametrize("way", ["gone", "changed"])
def test_a_pipeline_by_hand_can_go_back_as_well(way: str, warnings: Any) -> None:
    def play() -> Any:
        ctx = standalone_context({}, seed=1)
        output = Pipeline(CHAIN).run(3, ctx)
        return output.name, dict(ctx.metrics), ctx.trace

    expected = play()
    for path in Path(".cache").rglob("*.pkl"):
        WAYS[way](path)
    noted("calls")
    assert play() == expected
    assert noted("calls") == ["first", "second", "third"]


def test_with_a_key_an_output_is_checked_against_it_when_it_is_read(
    run: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY", "one")
    run(*CHAIN)
    assert hits(run(*CHAIN)) == 3
    assert warnings() == []
    for path in Path(".cache").rglob("*.pkl"):
        WAYS["changed"](path)
    noted("calls")
    noted("loads")
    run(*CHAIN)
    assert noted("calls") == ["first", "second", "third"]
    assert len(noted("loads")) == 3  # of what was made anew, when it was stored
    assert all("signature" in text for text in warnings())


@pipeline_step(cacheable=True)
def differs_each_time(data: Any) -> Any:
    with Path("times").open("a", encoding="utf-8") as file:
        file.write(".")
    value = float(Path("times").stat().st_size)
    return np.full(3, value), {"made": value}


@pipeline_step(cacheable=True)
def doubles(data: Any) -> Any:
    return data * 2, {"doubled": float(data[0] * 2)}


@pipeline_step()
def shows(data: Any) -> Any:
    return data, {"shown": float(data[0])}


@pytest.mark.parametrize(("places", "made"), [([1], 1.0), ([0, 1], 2.0)])
def test_a_step_that_gives_something_else_when_it_runs_again_takes_what_follows_along(
    places: list[int], made: float, run: Any, warnings: Any
) -> None:
    """Its output is lost when the next step was answered for it already: no mixture of both comes out."""
    run(differs_each_time, doubles, shows)
    entries = sorted(Path(".cache").rglob("*.pkl"), key=lambda path: path.stat().st_mtime_ns)
    for place in places:
        WAYS["changed"](entries[place])
    metrics = run(differs_each_time, doubles, shows).metrics.baseline.metrics
    assert metrics == {"made": [made], "doubled": [2 * made], "shown": [2 * made]}


# -- what is undone, and what cannot be --------------------------------------------------------------------------


@pipeline_step()
def begins_a_stream(data: Any, ctx: FrozenContext) -> Any:
    return np.zeros(3), {"begun": float(ctx.stream("noise").random())}


@pipeline_step(cacheable=True)
def goes_on_with_it(data: Any, ctx: FrozenContext) -> Any:
    return data + ctx.stream("noise").random()


@pipeline_step(cacheable=True)
def draws_from_the_process(data: Any) -> Any:
    return data + random.random()


@pipeline_step(cacheable=True)
def hands_back(data: Any, ctx: FrozenContext) -> Any:
    ctx.hand_back("Receives", "a value")
    return data + 1


@pipeline_step(cacheable=True)
def adds_what_it_gives(data: Any, ctx: FrozenContext) -> Any:
    output = [float(data[0])]
    ctx.add("given", {"output": output})
    return output


@pipeline_step(cacheable=True)
def gives_it_on(data: Any) -> Any:
    return data


@pipeline_step(cacheable=True)
def records_what_it_gives(data: Any, ctx: FrozenContext) -> Any:
    output = Grows()
    ctx.record("object", output)
    return output


class Grows:
    def __init__(self) -> None:
        self.size = 0

    def __repr__(self) -> str:
        return f"of size {self.size}"


@pipeline_step(cacheable=True)
def makes_a_list(data: Any) -> Any:
    return [1.0, [2.0]]


@pipeline_step(cacheable=True)
def gives_a_part_twice(data: Any) -> Any:
    return [data[1], data[1]]


@pipeline_step()
def changes_one_of_them(data: Any) -> Any:
    data[0].append(3.0)
    return data, {"other": len(data[1])}


@pipeline_step()
def changes_it(data: Any, ctx: FrozenContext) -> Any:
    if isinstance(data, Grows):
        data.size += 1
    elif isinstance(data, list):
        data.append(1.0)
    return data, {"seen": repr(data), "same": ctx.holds("given") and ctx.peek("given")["output"] is data}


class Receives(BasePlugin):
    """Keeps what steps hand back to it."""

    affects_outcomes = False

    def __init__(self) -> None:
        self.received: list[Any] = []

    def after_replicate(self, experiment: Any, result: Any) -> None:
        self.received += [value for _, _, value in experiment.handed_back(self)]


TOGETHER: dict[str, tuple[Any, ...]] = {
    "a stream that was begun before": (begins_a_stream, goes_on_with_it, doubles, shows),
    "a stream that two of them draw from": (
        begins_a_stream,
        goes_on_with_it,
        goes_on_with_it,
        doubles,
        shows,
    ),
    "the generator of the process": (begins_a_stream, draws_from_the_process, doubles, shows),
    "what is handed back": (begins_a_stream, hands_back, doubles, shows),
    "an output in the context": (begins_a_stream, adds_what_it_gives, gives_it_on, changes_it),
    "a part of the input twice": (makes_a_list, gives_a_part_twice, changes_one_of_them),
    "an output among the metrics": (begins_a_stream, records_what_it_gives, gives_it_on, changes_it),
}


@pytest.mark.parametrize("steps", TOGETHER.values(), ids=TOGETHER)
def test_nothing_is_done_twice(steps: tuple[Any, ...], run: Any, warnings: Any) -> None:
    def play(cache: bool) -> Any:
        plugin = Receives()
        result = run(*steps, plugins=[plugin], cache=cache)
        return plugin.received, same(result)

    expected = play(False)
    assert play(True) == play(True) == expected
    for path in Path(".cache").rglob("*.pkl"):
        WAYS["changed"](path)
    assert play(True) == play(True) == expected


@pipeline_step(cacheable=True)
def writes_now_this_now_that(data: Any, ctx: FrozenContext) -> Any:
    ctx.artifacts.write("that.txt" if Path("that").exists() else "this.txt", b"written")
    return data


def test_an_artifact_that_is_not_written_again_is_gone(run: Any, warnings: Any) -> None:
    run(begins_a_stream, writes_now_this_now_that, doubles)
    for path in Path(".cache").rglob("*.pkl"):
        WAYS["changed"](path)
    Path("that").touch()
    result = run(begins_a_stream, writes_now_this_now_that, doubles)
    assert [Path(entry.path).name for entry in result.artifacts] == ["that.txt"]
    assert not list(result.path.rglob("this.txt"))


def test_what_took_the_place_of_an_output_meanwhile_is_not_taken_for_it(run: Any) -> None:
    """A step that gives something else each time was refreshed elsewhere, after it had been answered."""
    run(differs_each_time)
    (entry,) = Path(".cache").rglob("*.pkl")
    older = entry.read_bytes()
    run(differs_each_time, cache="refresh")
    newer = entry.read_bytes()
    entry.write_bytes(older)
    plugin = Before("DoublesStep", lambda: entry.write_bytes(newer))
    metrics = run(differs_each_time, doubles, plugins=[plugin]).metrics.baseline.metrics
    assert metrics == {"made": [2.0], "doubled": [4.0]}


class Holds(BasePlugin):
    """Could change the data of any step, as far as anybody knows."""

    def before_step(self, experiment: Any, step: Any, ctx: FrozenContext) -> None:
        pass


def test_where_a_plugin_could_do_anything_between_two_steps_each_output_is_read(
    run: Any, stored: list[Path]
) -> None:
    assert hits(run(*CHAIN, plugins=[Holds()])) == 3
    assert noted("loads") == ["A", "AB", "ABC"]
