"""``hook_recorder`` and ``plugin_manager``."""

from __future__ import annotations

import os

import importlib_metadata
import pytest

from crystallize import BasePlugin, Experiment
from crystallize.errors import InvalidTypeError
from crystallize.plugins.base import HOOK_NAMES
from crystallize.testing import HookCall, HookRecorder

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

STRATEGIES = [
    "serial",
    "thread",
    "async",
    {"strategy": "process", "max_workers": 2},
]


def of_replicate(number: int) -> list[HookCall]:
    calls = []
    for condition in ("baseline", "doubled"):
        calls.append(HookCall("before_replicate", number, condition))
        for step in ("ScaleStep", "TotalStep"):
            calls += [
                HookCall("before_step", number, condition, step),
                HookCall("after_step", number, condition, step),
            ]
    return [*calls, HookCall("after_replicate", number)]


@pytest.mark.parametrize("execution", STRATEGIES, ids=str)
def test_the_calls_of_a_whole_run_are_the_same_under_every_strategy(
    run_experiment, hook_recorder, execution
) -> None:
    run_experiment(hook_recorder, execution=execution, replicates=3)
    assert hook_recorder.calls == [
        HookCall("init_hook"),
        HookCall("before_run"),
        HookCall("run_experiment_loop"),
        *of_replicate(0),
        *of_replicate(1),
        *of_replicate(2),
        HookCall("after_run"),
    ]


def test_every_hook_is_recorded(run_experiment, hook_recorder) -> None:
    run_experiment(hook_recorder)
    assert set(hook_recorder.names()) == set(HOOK_NAMES) == set(hook_recorder.active_hooks())


@pytest.mark.parametrize("execution", STRATEGIES, ids=str)
def test_the_calls_of_outcomes_that_fail_are_known(run_experiment, hook_recorder, execution) -> None:
    def fails(data, ctx):
        if ctx["replicate"] == 1:
            raise ValueError("no")

    run_experiment(hook_recorder, steps=[lambda data: data, fails], execution=execution, replicates=2)
    assert [(call.hook, call.replicate) for call in hook_recorder.calls if call.step] == [
        ("before_step", 0),
        ("after_step", 0),
        ("before_step", 0),
        ("after_step", 0),
        ("before_step", 1),
        ("after_step", 1),
        ("before_step", 1),
    ]


def test_replicates_are_in_order_whatever_the_order_of_arrival(run_experiment, hook_recorder) -> None:
    class Backwards(BasePlugin):
        def run_experiment_loop(self, experiment, replicate_fn):
            replicates = range(experiment.replicates)
            done = {each: experiment.replicate_done(replicate_fn(each)) for each in reversed(replicates)}
            return [done[each] for each in replicates]

    run_experiment(hook_recorder, replicates=3)
    forwards = hook_recorder.calls
    hook_recorder.clear()
    run_experiment(hook_recorder, execution=Backwards(), replicates=3)
    assert hook_recorder.calls == forwards


def test_of_a_replicate_that_was_tried_again_the_attempt_that_counts_is_known(
    run_experiment, hook_recorder, tmp_path
) -> None:
    marker = tmp_path / "killed"

    def kills_once(data, ctx):
        if ctx["replicate"] == 1 and not marker.exists():
            marker.touch()
            os._exit(3)

    run_experiment(hook_recorder, steps=[kills_once], execution={"strategy": "process", "max_workers": 1})
    assert marker.exists()
    assert [call.replicate for call in hook_recorder.of("before_step")] == [0, 1]


def test_one_run_follows_the_other_and_clear_forgets(run_experiment, hook_recorder) -> None:
    run_experiment(hook_recorder, replicates=1)
    first = hook_recorder.calls
    run_experiment(hook_recorder, replicates=1)
    assert hook_recorder.calls == first * 2
    hook_recorder.clear()
    assert hook_recorder.calls == []


def test_apply_is_recorded_too(run_experiment, hook_recorder) -> None:
    run_experiment(hook_recorder)
    hook_recorder.clear()
    run_experiment.experiment.apply("doubled")
    assert hook_recorder.names()[0] == "before_run"
    assert hook_recorder.of("before_replicate") == [HookCall("before_replicate", 0, "doubled")]


def test_a_hook_that_there_is_not_is_a_value_error(hook_recorder) -> None:
    with pytest.raises(ValueError, match="no hook 'before_stop', only init_hook"):
        hook_recorder.of("before_stop")


def test_a_copy_in_a_worker_does_not_carry_the_calls(run_experiment) -> None:
    import pickle

    recorder = HookRecorder()
    run_experiment(recorder)
    assert recorder.calls
    assert pickle.loads(pickle.dumps(recorder)).calls == []


# -- plugin_manager ----------------------------------------------------------------------------------------


class Noisy(BasePlugin):
    def before_run(self, experiment):
        experiment.append("noisy")


def test_a_manager_has_the_plugins_that_it_is_given_and_no_others(plugin_manager, tmp_plugin) -> None:
    tmp_plugin("acme-loud", {"acme_loud.py": "raise RuntimeError('imported')"}, {"loud": "acme_loud:x"})
    assert plugin_manager().records == ()
    manager = plugin_manager(Noisy())
    assert [type(record.plugin) for record in manager.records] == [Noisy]
    calls: list[str] = []
    manager.call("before_run", experiment=calls)
    assert calls == ["noisy"]


def test_it_looks_at_nothing_that_is_installed(plugin_manager, tmp_plugin, monkeypatch) -> None:
    def look(**_):
        raise AssertionError("it looks at what is installed")

    tmp_plugin("acme-new")  # what was found before is out of date
    monkeypatch.setattr(importlib_metadata, "distributions", look)
    assert len(plugin_manager(Noisy(), HookRecorder()).records) == 2
    with pytest.raises(AssertionError, match="looks at"):
        Experiment(lambda: None, [lambda data: data])


def test_what_is_no_plugin_is_refused(plugin_manager) -> None:
    with pytest.raises(InvalidTypeError):
        plugin_manager(Noisy)
