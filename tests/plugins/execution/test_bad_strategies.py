"""Installed execution strategies that break their contract: each is named, and nothing false becomes a result."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, BasePlugin, Experiment, Pipeline, pipeline_step, treatment
from crystallize.discovery import EXECUTION
from crystallize.errors import CrystallizeError, ExecutionError, PluginError

SOURCE = """
    from crystallize import BasePlugin, Experiment, treatment

    OTHER = {"treatments": [treatment("else", {"factor": 5})], "disable_plugins": ["artifact"]}

    def results(experiment, replicate_fn):
        return [replicate_fn(number) for number in range(experiment.replicates)]

    def strategy(function):
        return type(function.__name__, (BasePlugin,), {"run_experiment_loop": function, "__module__": __name__})

    @strategy
    def a_tuple(self, experiment, replicate_fn):
        return tuple(results(experiment, replicate_fn))

    @strategy
    def a_generator(self, experiment, replicate_fn):
        return (result for result in results(experiment, replicate_fn))

    @strategy
    def nothing(self, experiment, replicate_fn):
        results(experiment, replicate_fn)

    @strategy
    def numbers(self, experiment, replicate_fn):
        return list(range(experiment.replicates))

    @strategy
    def too_few(self, experiment, replicate_fn):
        return results(experiment, replicate_fn)[:-1]

    @strategy
    def too_many(self, experiment, replicate_fn):
        return [*results(experiment, replicate_fn), replicate_fn(0)]

    @strategy
    def twice_the_same(self, experiment, replicate_fn):
        return [replicate_fn(0), replicate_fn(0), replicate_fn(2)]

    @strategy
    def reported_twice(self, experiment, replicate_fn):
        experiment.replicate_done(replicate_fn(0))
        experiment.replicate_done(replicate_fn(0))

    @strategy
    def backwards(self, experiment, replicate_fn):
        return results(experiment, replicate_fn)[::-1]

    @strategy
    def none_for_one(self, experiment, replicate_fn):
        return [*results(experiment, replicate_fn)[:-1], None]

    @strategy
    def junk_reported(self, experiment, replicate_fn):
        experiment.replicate_done("junk")

    @strategy
    def one_too_far(self, experiment, replicate_fn):
        experiment.replicate_done(replicate_fn(7))

    def keeping(experiment):
        kept = []
        class Keeping(BasePlugin):
            def run_experiment_loop(self, experiment, replicate_fn):
                kept.extend(results(experiment, replicate_fn))
                return kept
        other = Experiment(experiment.datasource, experiment.pipeline, plugins=[Keeping()], **OTHER)
        other.run(replicates=experiment.replicates)
        return kept

    @strategy
    def of_another_experiment(self, experiment, replicate_fn):
        return keeping(experiment)

    @strategy
    def of_one_with_the_same_conditions(self, experiment, replicate_fn):
        OTHER["treatments"] = [treatment("triple", {"factor": 5})]
        return keeping(experiment)

    @strategy
    def raises_half_way(self, experiment, replicate_fn):
        experiment.replicate_done(replicate_fn(0))
        experiment.replicate_done(replicate_fn(1))
        raise ConnectionError("the cluster is gone")

    @strategy
    def exits_half_way(self, experiment, replicate_fn):
        experiment.replicate_done(replicate_fn(0))
        experiment.replicate_done(replicate_fn(1))
        raise SystemExit("that was enough")
"""
BROKEN = {
    "a_tuple": "returned tuple, not a list",
    "a_generator": "returned generator, not a list",
    "nothing": "returned NoneType, not a list",
    "numbers": "returned 0 for a replicate that it never reported",
    "too_few": "returned and left replicate 2 undone",
    "too_many": "returned replicate 0 after replicate 2",
    "twice_the_same": "returned replicate 0 twice",
    "reported_twice": "gave replicate 0 twice",
    "backwards": "returned replicate 1 after replicate 2",
    "none_for_one": "returned None in place of a result",
    "junk_reported": "gave 'junk' as a result",
    "one_too_far": "gave replicate 7 of 3",
    "of_one_with_the_same_conditions": "of another run",
    "of_another_experiment": "gave replicate 0 with the conditions ['baseline', 'else'], not ['baseline', 'triple']",
}


class Watching(BasePlugin):
    """Remember the replicates that arrived, and whether the run ended."""

    def __init__(self):
        self.arrived = []
        self.ended = False

    def after_replicate(self, result):
        self.arrived.append(result.replicate)

    def after_run(self):
        self.ended = True


@pipeline_step()
def multiply(data, ctx, factor=2):
    ctx.artifacts.write("product.txt", str(data * factor).encode())
    return data * factor, {"product": data * factor}


@pytest.fixture
def run(tmp_plugin):
    """Return a function that runs an experiment under a strategy of an installed distribution."""
    names = [*BROKEN, "raises_half_way", "exits_half_way"]
    entries = {name.replace("_", "-"): f"drivers:{name}" for name in names}
    tmp_plugin("drivers-dist", {"drivers.py": SOURCE}, groups={EXECUTION: entries}, version="0.4")

    def run(execution, *plugins):
        return Experiment(
            lambda: 5,
            Pipeline([multiply]),
            name="study",
            treatments=[treatment("triple", {"factor": 3})],
            plugins=list(plugins),
            execution=execution,
        ).run(replicates=3)

    return run


def statuses():
    """Return how each run that is not complete ended, as the store has it."""
    return [json.loads(file.read_text())["status"] for file in Path("data").glob("study/*/metadata.json")]


@pytest.mark.parametrize("name", BROKEN)
def test_a_strategy_that_returns_junk_is_named_and_no_result_is_stored(run, name):
    with pytest.raises(ExecutionError) as caught:
        run(name)
    entry = name.replace("_", "-")
    assert f"the execution strategy, plugin {entry!r} (distribution drivers-dist 0.4), " in str(caught.value)
    assert BROKEN[name] in str(caught.value)
    assert "experiment 'study'" in str(caught.value)
    assert list(Path("data").glob("study/v*/*/results.json")) == []
    assert statuses() == ["failed"]
    assert logging.getLogger("crystallize").level == logging.NOTSET


@pytest.mark.parametrize(
    ("name", "reason", "status"),
    [
        ("raises_half_way", "ConnectionError: the cluster is gone", "failed"),
        ("exits_half_way", "SystemExit: that was enough", "interrupted"),
    ],
)
def test_a_strategy_that_raises_half_way_is_blamed_and_what_was_measured_is_kept(run, name, reason, status):
    watching = Watching()
    with pytest.raises(PluginError) as caught:
        run(name, watching)
    entry = name.replace("_", "-")
    blame = f"plugin {entry!r} (distribution drivers-dist 0.4) raised in run_experiment_loop: {reason}"
    assert blame in str(caught.value)
    assert type(caught.value.__cause__).__name__ == reason.partition(":")[0]
    assert (watching.arrived, watching.ended) == ([0, 1], False)
    kept = {file.parts[-4]: file.read_text() for file in Path("data").rglob("baseline/*/product.txt")}
    assert kept == {"replicate_0": "10", "replicate_1": "10"}
    assert statuses() == [status]


def test_a_run_that_a_bad_strategy_spoiled_leaves_the_last_good_one_as_it_was(run):
    good = run("serial", ArtifactPlugin(versioned=True))
    for name in ("too_few", "raises_half_way"):
        with pytest.raises(CrystallizeError):
            run(name, ArtifactPlugin(versioned=True))
    assert (good.path / "baseline" / "results.json").is_file()
    assert (good.path / "baseline" / ".crystallize_complete").is_file()
