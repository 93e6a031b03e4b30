"""Collating outcomes: whatever the order of their arrival, one result."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystallize import BasePlugin, Experiment, FrozenContext, Result, ResultAggregator, treatment
from crystallize.errors import InvalidTypeError
from crystallize.experiments import aggregation


def measure(data: Any, ctx: FrozenContext) -> Any:
    replicate = ctx["replicate"]
    for value in range(replicate % 3):
        ctx.record("uneven", value, tags={"place": value} if replicate % 2 else None)
    if replicate > 1:
        ctx.metrics.add("late", str(replicate))
    if replicate == 3 and ctx["condition"] == "t":
        raise ValueError("three")
    return data, {"n": replicate + ctx.get("plus", 0), "x": ctx.rng.random()}


class Shuffled(BasePlugin):
    """A strategy whose results arrive in an order of its own."""

    def __init__(self, order: list[int], *, live: bool) -> None:
        self.order = order
        self.live = live

    def run_experiment_loop(self, experiment: Experiment, replicate_fn: Any) -> list[Any]:
        results: dict[int, Any] = {}
        for replicate in self.order:
            result = replicate_fn(replicate)
            results[replicate] = experiment.replicate_done(result) if self.live else result
        return [results[replicate] for replicate in range(experiment.replicates or 0)]


def run(*plugins: Any, **options: Any) -> Result:
    return Experiment(
        lambda: None,
        [measure],
        name="shuffled",
        treatments=[treatment("t", {"plus": 0.5})],
        plugins=list(plugins),
        disable_plugins=["artifact"],
        seed=9,
        **options,
    ).run(replicates=6)


def everything(result: Result) -> Any:
    return (
        result.to_dict(),
        list(result.provenance),
        [list(result.condition(name).metrics) for name in result.conditions],
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), live=st.booleans())
def test_any_order_of_arrival_gives_the_same_result(order: list[int], live: bool) -> None:
    expected, found = run(), run(Shuffled(order, live=live))
    assert repr(everything(found)) == repr(everything(expected))
    assert repr(found.to_frame().to_dict()) == repr(expected.to_frame().to_dict())


def test_metrics_of_a_failed_outcome_are_left_out_though_it_recorded_some() -> None:
    result = run()
    assert list(result.metrics.treatments["t"].columns["late"].replicates()) == [2, 4, 5]
    assert list(result.metrics.baseline.columns["n"].replicates()) == [0, 1, 2, 3, 4, 5]
    assert list(result.metrics.treatments["t"].columns["n"].replicates()) == [0, 1, 2, 4, 5]


def test_metrics_stand_in_the_order_in_which_the_first_replicate_recorded_them() -> None:
    assert list(run().metrics.baseline.metrics) == ["n", "x", "uneven", "late"]


def test_a_plugin_may_use_a_seed_of_any_size() -> None:
    class Large(BasePlugin):
        def before_replicate(self, ctx: FrozenContext) -> None:
            ctx.add("seed_used", [None, 2**80, -1, "text", 5, 6][ctx["replicate"]])

    result = Experiment(lambda: 0, [lambda data: data], plugins=[Large()], disable_plugins=["seed"]).run(
        replicates=6
    )
    assert result.seeds["baseline"] == [None, 2**80, -1, "text", 5, 6]


def test_without_a_seed_plugin_the_seeds_are_none() -> None:
    result = Experiment(lambda: 0, [lambda data: data], disable_plugins=["seed"]).run(replicates=2)
    assert result.seeds == {"baseline": [None, None]}


# -- replacing it -------------------------------------------------------------------------------------------------


class Counting(ResultAggregator):
    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.added: list[int] = []

    def add(self, result: Any) -> None:
        self.added.append(result.replicate)
        super().add(result)

    def finish(self) -> Result:
        result = super().finish()
        result.counted = self.added  # type: ignore[attr-defined]
        return result


def test_a_user_may_replace_it_by_a_subclass() -> None:
    result = run(aggregator=Counting)
    assert result.counted == [0, 1, 2, 3, 4, 5]  # type: ignore[attr-defined]


def test_each_run_makes_its_own() -> None:
    experiment = Experiment(lambda: 0, [lambda data: data], aggregator=Counting)
    for _ in range(2):
        assert experiment.run(replicates=2).counted == [0, 1]  # type: ignore[attr-defined]


def test_it_is_found_where_the_spec_says() -> None:
    assert aggregation.ResultAggregator is ResultAggregator


@pytest.mark.parametrize("wrong", [None, 5, "mean", random.Random(1)])
def test_an_instance_where_the_class_belongs_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"aggregator is a class.*Pass the class, not an instance"):
        run(aggregator=wrong)


def test_an_instance_of_the_aggregator_itself_is_refused() -> None:
    made = ResultAggregator(Experiment(lambda: 0, [lambda data: data]))
    with pytest.raises(InvalidTypeError, match="Pass the class, not an instance"):
        run(aggregator=made)
