"""A run is an object: plugins keep their state of a run in it, and nothing of one run reaches the next."""

from __future__ import annotations

from typing import Any

import pytest

from crystallize import BasePlugin, Experiment, treatment
from crystallize.errors import PluginError


class Counting(BasePlugin):
    """Counts replicates in the state of the run, and hands out a number to the steps."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def before_run(self, experiment: Any) -> None:
        state = experiment.current_run.state(self)
        assert vars(state) == {}, "the state of an earlier run is still there"
        state.count, state.offset = 0, 10 * experiment.replicates

    def before_replicate(self, experiment: Any, ctx: Any) -> None:
        ctx.add("offset", experiment.current_run.state(self).offset)

    def after_replicate(self, experiment: Any) -> None:
        experiment.current_run.state(self).count += 1

    def after_run(self, experiment: Any) -> None:
        state = experiment.current_run.state("Counting")
        self.seen.append((state.count, state.offset))


def subject(plugin: Counting, execution: Any = "serial") -> Experiment:
    return Experiment(
        lambda: 0,
        [lambda data, ctx: (data, {"offset": ctx["offset"]})],
        plugins=[plugin],
        execution=execution,
        disable_plugins=["artifact"],
    )


@pytest.mark.parametrize("execution", ["serial", "thread", "process", "async"])
def test_what_before_run_stores_is_there_in_the_workers_and_new_in_each_run(execution: str) -> None:
    plugin = Counting()
    experiment = subject(plugin, execution)
    for replicates in (2, 3):
        result = experiment.run(replicates=replicates)
        assert result.metrics.baseline.metrics == {"offset": [10 * replicates] * replicates}
    assert plugin.seen == [(2, 20), (3, 30)]
    assert experiment.current_run is None


def test_two_experiments_that_share_a_plugin_keep_their_states_apart() -> None:
    plugin = Counting()
    inner = subject(plugin)

    def nested(data: Any, ctx: Any) -> Any:
        inner.run(replicates=5)
        return data, {"offset": ctx["offset"]}

    outer = Experiment(lambda: 0, [nested], plugins=[plugin], disable_plugins=["artifact"])
    outer.run(replicates=1).raise_for_errors()
    assert plugin.seen == [(5, 50), (1, 10)]


def test_a_stranger_has_no_state() -> None:
    refused = []

    class Nosy(BasePlugin):
        def before_run(self, experiment: Any) -> None:
            for stranger in (Counting(), "nobody"):
                with pytest.raises(PluginError, match="is no plugin of this experiment"):
                    experiment.current_run.state(stranger)
                refused.append(stranger)

    Experiment(lambda: 0, [lambda data: data], plugins=[Nosy()]).run(replicates=1)
    assert len(refused) == 2


@pytest.mark.parametrize("where", ["before_run", "after_run", "nowhere"])
def test_the_exit_stack_is_closed_however_the_run_ends(where: str) -> None:
    events: list[str] = []

    class Tidy(BasePlugin):
        def before_run(self, experiment: Any) -> None:
            experiment.current_run.exit_stack.callback(events.append, "closed")

        def after_run(self, experiment: Any) -> None:
            events.append("after_run")

    class Raising(BasePlugin):
        def before_run(self) -> None:
            if where == "before_run":
                raise ValueError("no luck")

        def after_run(self) -> None:
            if where == "after_run":
                raise ValueError("no luck")

    experiment = Experiment(lambda: 0, [lambda data: data], plugins=[Tidy(), Raising()])
    if where == "nowhere":
        experiment.run(replicates=1)
    else:
        with pytest.raises(PluginError, match=f"raised in {where}"):
            experiment.run(replicates=1)
    assert events == (["closed"] if where == "before_run" else ["after_run", "closed"])
    assert experiment.current_run is None


def test_what_can_differ_between_runs_is_that_of_the_run_while_it_lasts() -> None:
    seen: list[tuple[Any, ...]] = []

    class Looking(BasePlugin):
        def before_run(self, experiment: Any) -> None:
            seen.append(tell(experiment))

    def tell(experiment: Any) -> tuple[Any, ...]:
        return (
            experiment.replicates,
            experiment.conditions,
            list(experiment.active_treatments),
            experiment.master_seed,
            experiment.run_kind,
        )

    low, high = treatment("low", {"x": 1}), treatment("high", {"x": 2})
    experiment = Experiment(
        lambda: 0,
        [lambda data, ctx: ctx.get("x")],
        treatments=[low],
        replicates=7,
        seed=3,
        plugins=[Looking()],
    )
    own = tell(experiment)
    assert own == (7, ("baseline", "low"), ["low"], 3, None)
    experiment.run(treatments=[high], replicates=2)
    experiment.apply("low", seed=9)
    assert seen == [(2, ("baseline", "high"), ["high"], 3, "run"), (1, ("low",), ["low"], 9, "apply")]
    assert tell(experiment) == own
