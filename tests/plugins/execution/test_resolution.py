"""The execution strategy that a user names: by name, by dotted path, with arguments, or as it is."""

from __future__ import annotations

import pytest

from crystallize import Experiment, Pipeline, SerialExecution, pipeline_step
from crystallize.discovery import ADD_ONS, EXECUTION
from crystallize.errors import (
    CrystallizeError,
    InvalidTypeError,
    InvalidValueError,
    PluginError,
    PluginLoadError,
    UnknownNameError,
)
from crystallize.plugins.execution import ProcessExecution
from crystallize.plugins.execution.resolution import resolve_strategy

SOURCE = """
    from functools import partial
    from crystallize import BasePlugin

    class Mine(BasePlugin):
        def __init__(self, label="plain", *, size=1):
            if size < 1:
                raise ValueError("size is at least 1")
            self.label = label
        def run_experiment_loop(self, experiment, replicate_fn):
            return [replicate_fn(number) for number in range(experiment.replicates)]

    class Needy(Mine):
        def __init__(self, address, *, port, label="x"):
            pass

    class Any(Mine):
        def __init__(self, **options):
            self.options = options

    class Exits(Mine):
        def __init__(self):
            raise SystemExit(2)

    class Loopless(BasePlugin):
        pass

    class Async(BasePlugin):
        async def run_experiment_loop(self, experiment, replicate_fn):
            return []

    def make(label="made"):
        return Mine(label)

    def make_nothing():
        return None

    made = Mine("instance")
    bound = partial(Mine, "bound")
    number = 3
"""


@pytest.fixture(autouse=True)
def strategies(tmp_plugin):
    """Install a distribution with execution strategies of all kinds."""
    names = ["Mine", "Needy", "Any", "Exits", "Loopless", "make", "made", "number", "gone"]
    entries = {f"my-{name.lower()}": f"drivers:{name}" for name in names}
    tmp_plugin("my-drivers", {"drivers.py": SOURCE}, groups={EXECUTION: entries}, version="1.3")


@pipeline_step()
def double(data):
    return data * 2, {"double": data * 2}


def run(execution):
    experiment = Experiment(lambda: 5, Pipeline([double]), execution=execution)
    return experiment.run(replicates=3).metrics.baseline.metrics["double"]


@pytest.mark.parametrize(
    ("execution", "label"),
    [
        ("my-mine", "plain"),
        ("My_Mine", "plain"),
        ({"strategy": "my.mine", "label": "given", "size": 3}, "given"),
        ("my-make", "made"),
        ("my-made", "instance"),
        ("drivers:Mine", "plain"),
        ({"strategy": "drivers:Mine", "label": "given"}, "given"),
        ("drivers:make", "made"),
        ("drivers:made", "instance"),
        ("drivers:bound", "bound"),
    ],
)
def test_a_strategy_is_found_by_name_or_dotted_path_with_or_without_arguments(execution, label):
    assert resolve_strategy(execution).label == label
    assert run(execution) == [10, 10, 10]


def test_our_own_are_found_the_same_way():
    assert isinstance(resolve_strategy("process"), ProcessExecution)
    strategy = resolve_strategy({"strategy": "thread", "max_workers": 2})
    assert strategy.max_workers == 2
    assert resolve_strategy(strategy) is strategy
    assert type(resolve_strategy("crystallize.plugins.execution:SerialExecution")) is SerialExecution


def test_a_strategy_that_takes_anything_gets_everything():
    assert resolve_strategy({"strategy": "drivers:Any", "a": 1, "b": 2}).options == {"a": 1, "b": 2}


WHO = "execution strategy 'my-{}' of my-drivers 1.3"


@pytest.mark.parametrize(
    ("execution", "error", "message"),
    [
        ("proces", UnknownNameError, "no execution strategy is called 'proces'. Did you mean 'process'?"),
        ("", UnknownNameError, "no execution strategy is called ''. Installed: "),
        ("drivers.Mine", UnknownNameError, "A dotted path is written 'package.module:Name'"),
        ("drivers:Mien", UnknownNameError, "'drivers:Mien' leads to no execution strategy: AttributeError"),
        ("my-gone", PluginLoadError, "entry point 'my-gone' of my-drivers 1.3 could not be loaded"),
        ("my-number", InvalidTypeError, WHO.format("number") + " is no execution strategy: 3 has no run_"),
        ("drivers:Loopless", InvalidTypeError, "'drivers:Loopless' is no execution strategy: <class"),
        ("drivers:Async", PluginError, "'drivers:Async' cannot be used: run_experiment_loop is an async def"),
        ("drivers:number", InvalidTypeError, "'drivers:number' is no execution strategy: 3 has no"),
        (
            "drivers:make_nothing",
            InvalidTypeError,
            "is no execution strategy: None has no run_experiment_loop",
        ),
        ("my-exits", PluginError, WHO.format("exits") + " could not be made: SystemExit: 2"),
        ({}, InvalidTypeError, "does not name a strategy. Write"),
        ({"max_workers": 2}, InvalidTypeError, "does not name a strategy"),
        ({"strategy": 3}, InvalidTypeError, "does not name a strategy"),
        (
            {"strategy": "process", "max_worker": 2},
            InvalidTypeError,
            "has no argument 'max_worker'. Did you mean 'max_workers'?",
        ),
        ({"strategy": "process", "max_workers": 0}, InvalidValueError, "max_workers"),
        (
            {"strategy": "my-mine", "size": 0},
            PluginError,
            "could not be made: ValueError: size is at least 1",
        ),
        ({"strategy": "my-made", "label": "x"}, InvalidTypeError, "is an instance and takes no arguments"),
        (
            {"strategy": "my-needy", "label": "x"},
            InvalidTypeError,
            "needs the argument 'address'. Write execution={"
            '"strategy": "my-needy", "label": ..., "address": ..., "port": ...}',
        ),
        (SerialExecution, InvalidTypeError, "is the class SerialExecution, not an instance. Write SerialE"),
        (3, InvalidTypeError, "execution is a name, a mapping or an execution strategy, got 3"),
        ([], InvalidTypeError, "execution is a name, a mapping or an execution strategy, got []"),
    ],
)
def test_an_unusable_strategy_is_an_error_that_says_which_and_why(execution, error, message):
    with pytest.raises(CrystallizeError) as caught:
        Experiment(lambda: 5, Pipeline([double]), execution=execution)
    assert isinstance(caught.value, error)
    assert message in str(caught.value)


def test_an_add_on_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(ADD_ONS, (EXECUTION, "cluster"), "crystallize-cluster")
    with pytest.raises(UnknownNameError, match="pip install crystallize-cluster"):
        run("cluster")


def test_what_a_constructor_raised_is_the_cause_and_its_place_is_told():
    with pytest.raises(PluginError) as caught:
        resolve_strategy({"strategy": "drivers:Mine", "size": 0})
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.where.endswith("drivers.py:8")
