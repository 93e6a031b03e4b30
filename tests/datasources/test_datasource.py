"""Data sources: objects, decorated functions, bare callables."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import cloudpickle
import pytest

from crystallize import DataSource, Experiment, FrozenContext, data_source, standalone_context
from crystallize.datasources.datasource import FunctionSource, as_datasource
from crystallize.errors import InvalidTypeError, MissingParameterError


@data_source
def numbers(ctx: FrozenContext, *, n: int = 3) -> list[int]:
    """Count."""
    return [ctx["replicate"]] * n


@data_source
def required(ctx: FrozenContext, n: int) -> int:
    return n


@data_source
def nothing() -> str:
    return "nothing"


class Numbers(DataSource):
    def fetch(self, ctx: FrozenContext) -> int:
        return int(ctx["replicate"])


class Duck:
    """Not a DataSource, and good enough."""

    replicates = 2

    def fetch(self, ctx: FrozenContext) -> str:
        return "quack"


class CallableSource:
    def __call__(self) -> str:
        return "called"


def with_context(ctx: FrozenContext) -> int:
    return int(ctx["replicate"])


def with_other_name(context: FrozenContext) -> int:
    return int(context["replicate"])


def with_default(n: int = 5) -> int:
    return n


def with_optional_context(ctx: FrozenContext | None = None) -> Any:
    return ctx is not None


def with_keyword(ctx: FrozenContext, *, n: int = 5) -> int:
    return n


@pytest.mark.parametrize(
    ("source", "fetched"),
    [
        (Numbers(), 4),
        (Duck(), "quack"),
        (numbers, [4, 4, 4]),
        (numbers(n=1), [4]),
        (required(n=7), 7),
        (nothing, "nothing"),
        (lambda: "bare", "bare"),
        (lambda ctx: ctx["replicate"], 4),
        (lambda *args: len(args), 1),
        (with_context, 4),
        (with_other_name, 4),
        (with_default, 5),
        (with_optional_context, True),
        (with_keyword, 5),
        (partial(with_keyword, n=6), 6),
        (partial(with_default, 8), 8),
        (CallableSource(), "called"),
    ],
)
def test_each_kind_of_source_gives_its_data(source: Any, fetched: Any) -> None:
    assert as_datasource(source).fetch(standalone_context(replicate=4)) == fetched


def test_a_data_source_passes_as_it_is() -> None:
    source = Numbers()
    assert as_datasource(source) is source
    assert source.replicates is None


def test_a_foreign_sources_number_of_replicates_counts() -> None:
    assert as_datasource(Duck()).replicates == 2
    assert Experiment(Duck(), [lambda data: data]).run().replicates == 2


def test_the_factory_keeps_the_functions_name_and_text() -> None:
    assert numbers.__name__ == "numbers"
    assert numbers.__doc__ == "Count."
    assert repr(numbers(n=1)) == "numbers(n=1)"


def test_a_missing_argument_is_known_when_the_source_is_made() -> None:
    for make in (
        required,
        lambda: as_datasource(required),
        lambda: Experiment(required, [lambda data: data]),
    ):
        with pytest.raises(
            MissingParameterError,
            match=r"data source 'required'.*'n'.*It takes \(ctx: 'FrozenContext', n: 'int'\)",
        ) as raised:
            make()
        assert isinstance(raised.value, TypeError)


def test_an_argument_that_the_function_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match=r"data source 'numbers'.*unexpected keyword argument 'm'"):
        numbers(m=1)


@pytest.mark.parametrize("source", [lambda a, b: 1, lambda ctx, *, n: 1])
def test_a_function_that_cannot_be_called_with_the_context_alone_is_refused(source: Any) -> None:
    with pytest.raises(MissingParameterError, match=r"data source '<lambda>'.*missing"):
        as_datasource(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Numbers, r"the data source is the class Numbers. Pass an instance: Numbers\(...\)"),
        (Duck, "the data source is the class Duck"),
        (None, "a data source is a DataSource or a function, got None"),
        ([1, 2, 3], r"got \[1, 2, 3\]. Pass a function"),
        ("data.csv", "got 'data.csv'"),
        (5, "got 5"),
    ],
)
def test_what_is_no_data_source_is_refused(source: Any, message: str) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        as_datasource(source)
    with pytest.raises(InvalidTypeError, match=message):
        Experiment(source, [lambda data: data])


def test_the_decorator_may_be_called() -> None:
    @data_source()
    def numbers(*, n: int = 3) -> list[int]:
        return list(range(n))

    assert numbers(n=2).fetch(standalone_context()) == [0, 1]


@pytest.mark.parametrize("wrong", [5, "fn"])
def test_only_a_function_is_decorated(wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match="@data_source decorates a function"):
        data_source(wrong)


def test_a_class_without_fetch_is_no_source() -> None:
    class Nothing(DataSource): ...

    with pytest.raises(TypeError, match="abstract"):
        Nothing()  # type: ignore[abstract]


def test_a_source_may_be_asynchronous() -> None:
    async def remote(ctx: FrozenContext) -> int:
        await asyncio.sleep(0)
        return int(ctx["replicate"])

    class Remote(DataSource):
        async def fetch(self, ctx: FrozenContext) -> int:
            return await remote(ctx)

    for source in (remote, Remote(), data_source(remote)):
        for execution in ("serial", "async", "thread"):
            experiment = Experiment(source, [lambda data: (data, {"n": data})], execution=execution)
            assert experiment.run(replicates=3).metrics.baseline.metrics == {"n": [0, 1, 2]}


def test_an_asynchronous_source_alone_makes_the_run_asynchronous() -> None:
    waiting = 0
    most = 0

    async def remote() -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0)
        waiting -= 1

    Experiment(remote, [lambda data: data], execution="async", disable_plugins=["seed"]).run(replicates=5)
    assert most == 5


def test_the_source_is_asked_once_for_each_outcome() -> None:
    asked = []
    experiment = Experiment(
        lambda ctx: asked.append((ctx["replicate"], ctx["condition"])), [lambda data: data]
    )
    experiment.run(replicates=3)
    assert asked == [(0, "baseline"), (1, "baseline"), (2, "baseline")]


def test_a_source_has_a_random_stream_of_its_own() -> None:
    def draw(ctx: FrozenContext) -> float:
        return float(ctx.rng.random())

    def compare(data: float, ctx: FrozenContext) -> Any:
        return data, {"source": data, "step": float(ctx.rng.random())}

    metrics = Experiment(draw, [compare], seed=1).run(replicates=2).metrics.baseline.metrics
    assert len({*metrics["source"], *metrics["step"]}) == 4


def test_function_sources_can_be_pickled() -> None:
    for source in (numbers(n=2), as_datasource(lambda: [0, 0])):
        copy = cloudpickle.loads(cloudpickle.dumps(source))
        assert isinstance(copy, FunctionSource)
        assert copy.fetch(standalone_context()) == [0, 0]


def test_a_consumer_takes_another_source_after_it_was_made() -> None:
    experiment = Experiment(lambda: 1, [lambda data: data])
    experiment.datasource = lambda: 2
    assert experiment.apply() == 2
    with pytest.raises(InvalidTypeError, match="a data source is"):
        experiment.datasource = 5
