"""What a plugin's hooks in the workers hand back reaches its own instance, alike under every strategy."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import ModuleType

import pytest

from crystallize import BasePlugin, Experiment, Treatment, hookimpl, pipeline_step
from crystallize.errors import CrystallizeError, ExecutionError, PluginError
from crystallize.experiments.handover import HandedBack, Handover
from crystallize.plugins.execution import ProcessExecution
from crystallize.store.outcome import Outcome, ReplicateResult

STRATEGIES = [
    "serial",
    {"strategy": "thread", "max_workers": 3},
    {"strategy": "process", "max_workers": 2},
    "async",
]


class Counting(BasePlugin):
    """Counts steps: what it is told is all that it knows."""

    def __init__(self):
        self.steps = Counter()
        self.order = []

    def after_step(self, ctx):
        ctx.hand_back(self, ctx["step_name"])

    def after_replicate(self, experiment):
        for replicate, condition, step in experiment.handed_back(self):
            self.steps[step] += 1
            self.order.append((replicate, condition, step))


@pipeline_step()
def first(data, ctx):
    if ctx["replicate"] == 0:
        time.sleep(0.1)  # so that it arrives after others, where others run beside it
    return data


@pipeline_step()
def second(data, ctx):
    if ctx["replicate"] == 2 and ctx["condition"] == "baseline":
        raise ValueError("half way")
    return data


def experiment(*plugins, execution="serial", **options):
    return Experiment(
        lambda: 1,
        [first, second],
        plugins=list(plugins),
        execution=execution,
        treatments=[Treatment("other", {})],
        **options,
    )


@pytest.mark.parametrize("execution", STRATEGIES, ids=str)
def test_a_plugin_that_counts_steps_counts_the_same_under_every_strategy(execution):
    counting = Counting()
    experiment(counting, execution=execution).run(replicates=5)
    assert counting.steps == {"FirstStep": 10, "SecondStep": 9}
    assert counting.order == [
        (replicate, condition, step)
        for replicate in range(5)
        for condition in ("baseline", "other")
        for step in ("FirstStep", "SecondStep")
        if (replicate, condition, step) != (2, "baseline", "SecondStep")  # it raised
    ]


def test_a_replicate_whose_worker_died_counts_once(tmp_path):
    class Deadly(Counting):
        def after_step(self, ctx):
            super().after_step(ctx)
            marker = tmp_path / "died"
            if ctx["replicate"] == 1 and not marker.exists():
                marker.touch()
                import os
                import signal

                os.kill(os.getpid(), signal.SIGKILL)

    counting = Deadly()
    experiment(counting, execution=ProcessExecution(max_workers=2)).run(replicates=5)
    assert (tmp_path / "died").exists()
    assert counting.steps == {"FirstStep": 10, "SecondStep": 9}


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_what_is_handed_back_is_a_copy_of_that_moment(execution):
    class Growing(BasePlugin):
        def __init__(self):
            self.seen = []

        def before_replicate(self, ctx):
            values = [ctx["replicate"]]
            ctx.hand_back(self, values)
            values.append("later")

        def after_replicate(self, experiment):
            self.seen += experiment.handed_back(self)

    growing = Growing()
    experiment(growing, execution=execution).run(replicates=2)
    assert growing.seen == [
        HandedBack(replicate, condition, [replicate])
        for replicate in (0, 1)
        for condition in ("baseline", "other")
    ]


def test_each_plugin_gets_its_own_also_two_of_one_class():
    class Named(BasePlugin):
        def __init__(self, name):
            self.name = name
            self.seen = set()

        def before_step(self, ctx):
            ctx.hand_back(self, self.name)

        def after_replicate(self, experiment):
            self.seen |= {each.value for each in experiment.handed_back(self)}

    one, two = Named("one"), Named("two")
    experiment(one, two, execution="process").run(replicates=2)
    assert (one.seen, two.seen) == ({"one"}, {"two"})


def test_a_module_and_marked_functions_use_their_name():
    module = ModuleType("announcements")
    sys.modules["announcements"] = module
    try:
        exec(
            "from crystallize import hookimpl\n"
            "seen = []\n"
            "@hookimpl\ndef before_replicate(ctx): ctx.hand_back('announcements', ctx['replicate'])\n"
            "@hookimpl\ndef after_replicate(experiment):\n"
            "    seen.extend(each.value for each in experiment.handed_back('announcements'))\n",
            module.__dict__,
        )
        experiment(module).run(replicates=2)
        assert module.seen == [0, 0, 1, 1]
    finally:
        del sys.modules["announcements"]


def test_apply_hands_back_too():
    counting = Counting()
    experiment(counting).apply("other")
    assert counting.steps == {"FirstStep": 1, "SecondStep": 1}


class Holding(BasePlugin):
    def __init__(self, value, plugin=None):
        self.value = value
        self.plugin = plugin

    def before_replicate(self, ctx):
        ctx.hand_back(self if self.plugin is None else self.plugin, self.value)

    def after_replicate(self, experiment):
        experiment.handed_back(self)


def test_a_value_that_cannot_be_pickled_is_the_plugins_fault_under_serial_too():
    result = experiment(Holding({"lock": threading.Lock()})).run(replicates=1)
    (message, _) = [error.message for error in result.errors]
    assert "plugin 'Holding' raised in before_replicate" in message
    assert "what is handed back to plugin 'Holding' cannot be pickled" in message
    assert "['lock']" in message


class Stubborn:
    def __setstate__(self, state):
        raise LookupError("not here")

    def __getstate__(self):
        return {"x": 1}


def test_a_value_that_cannot_be_loaded_is_the_plugins_fault_and_the_run_is_stored(tmp_path):
    with pytest.raises(
        PluginError, match=r"plugin 'Holding'.*after_replicate.*cannot be loaded: LookupError: not here"
    ):
        experiment(Holding(Stubborn()), name="stored").run(replicates=1)
    assert list(tmp_path.rglob("results.json"))


@pytest.mark.parametrize("other", [object(), "nobody", BasePlugin()])
def test_only_plugins_of_the_experiment_can_be_handed_anything(other):
    result = experiment(Holding(1, other)).run(replicates=1)
    assert "is no plugin of this experiment" in result.errors[0].message
    assert "'Holding'" in result.errors[0].message


def test_it_is_asked_for_in_after_replicate_only():
    class Late(BasePlugin):
        def after_run(self, experiment):
            experiment.handed_back(self)

    with pytest.raises(PluginError, match="outside of after_replicate"):
        experiment(Late()).run(replicates=1)
    counting = Counting()
    with pytest.raises(ExecutionError, match="no run is under way"):
        experiment(counting).handed_back(counting)
    with pytest.raises(PluginError, match="is no plugin of this experiment"):
        experiment().handed_back(counting)


def test_nothing_is_lost_on_the_others_when_one_after_replicate_raises():
    class Raising(BasePlugin):
        @hookimpl(tryfirst=True)
        def after_replicate(self):
            raise ValueError("no")

    counting = Counting()
    with pytest.raises(CrystallizeError, match="ValueError: no"):
        experiment(Raising(), counting).run(replicates=3)
    assert counting.steps == {"FirstStep": 6, "SecondStep": 5}


def arrival(replicate, *values):
    import pickle

    parcels = tuple(("p", pickle.dumps(value)) for value in values)
    return ReplicateResult(replicate, (Outcome("baseline", None, {}, {}, handed_back=parcels),))


def test_values_of_an_early_replicate_wait_for_those_before_it():
    arrived = set()
    handover = Handover(arrived.__contains__)

    def arrive(replicate, *values):
        arrived.add(replicate)
        handover.arrive(arrival(replicate, *values))
        return [(each.replicate, each.value) for each in handover.due("p")]

    assert arrive(2, "c") == []
    assert arrive(0, "a", "A") == [(0, "a"), (0, "A")]
    assert arrive(3) == []
    assert arrive(1) == [(2, "c")]
    assert handover.due("another") == []
