"""Installed plugins that are broken: each is named once, and the run gives what it would give without it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from crystallize import BasePlugin, Experiment, Pipeline, pipeline_step, treatment
from crystallize.config.build import load_experiment
from crystallize.config.errors import ConfigError
from crystallize.errors import PluginError, PluginLoadError

BASE = "from crystallize import BasePlugin, hookimpl\n"
HEALTHY = BASE + "class P(BasePlugin):\n def before_run(self): pass\n"
METRICS = {"baseline": [10, 10], "triple": [15, 15]}


@pipeline_step()
def multiply(data, factor=2):
    return data * factor, {"product": data * factor}


def experiment(**options):
    treatments = [treatment("triple", {"factor": 3})]
    return Experiment(lambda: 5, Pipeline([multiply]), name="study", treatments=treatments, **options)


def metrics(result):
    return {name: result.condition(name).metrics.get("product", []) for name in result.conditions}


def stored():
    """Return what the only run has stored."""
    return {
        file.parent.name: json.loads(file.read_text())["metrics"]["product"]
        for file in Path("data").glob("study/v*/*/results.json")
    }


@pytest.fixture
def warnings(caplog):
    """Return a function that gives the warnings about plugins so far."""
    caplog.set_level(logging.WARNING, "crystallize")
    return lambda: [each.getMessage() for each in caplog.records if each.name == "crystallize.plugins"]


# -- cannot be used -------------------------------------------------------------------------------------------

FAULTS = {
    "imports what is not there": (
        "import nowhere_at_all",
        "ModuleNotFoundError: No module named 'nowhere_at_all'",
    ),
    "raises at import": ("1 / 0", "ZeroDivisionError: division by zero"),
    "exits at import": ("import sys\nsys.exit('enough')", "SystemExit: enough"),
    "is cancelled at import": ("import asyncio\nraise asyncio.CancelledError", "CancelledError"),
    "recurses at import": ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded"),
    "raises what has no text": (
        "class Mute(Exception):\n def __str__(self): raise ValueError\nraise Mute",
        "Mute: <no text: its __str__ raised ValueError>",
    ),
    "raises a warning": (
        "import warnings\nwarnings.warn('old', DeprecationWarning)",
        "DeprecationWarning: old",
    ),
    "is no Python": ("class P(:", "SyntaxError: invalid syntax"),
    "is no text": (b"\xff", "SyntaxError"),
    "lacks the attribute": (
        "PP = 1",
        "AttributeError: module 'wrong' has no attribute 'P'. Did you mean 'PP'?",
    ),
    "needs arguments": (
        BASE + "class P(BasePlugin):\n def __init__(self, needed): pass",
        "the class cannot be called without arguments: missing a required argument: 'needed'",
    ),
    "raises when made": (
        BASE + "class P(BasePlugin):\n def __init__(self): {}['x']",
        "the class raised KeyError: 'x'",
    ),
    "refuses its setting when made": (
        BASE + "from crystallize.errors import InvalidValueError\n"
        "class P(BasePlugin):\n def __init__(self): raise InvalidValueError('ACME_SIZE is a number')",
        "ACME_SIZE is a number",
    ),
    "exits when made": ("def P(): raise SystemExit(4)", "the factory raised SystemExit: 4"),
    "gives nothing": ("def P(): pass", "the factory gave None"),
    "gives a class": ("def P(): return dict", "the factory gave the class dict, not an instance"),
    "gives a module without hooks": ("import sys\nP = sys.modules[__name__]", "is no plugin: it has no hook"),
    "gives no plugin": ("P = 3", "3 is no plugin: it has no hook"),
    "needs an unknown argument": (
        BASE + "class P(BasePlugin):\n def before_run(self, experiment, extra): pass",
        "before_run has an argument 'extra'; it may have 'experiment'",
    ),
    "gives an argument a default": (
        BASE + "class P(BasePlugin):\n def before_run(self, experiment=None): pass",
        "before_run gives its argument 'experiment' a default",
    ),
    "takes an argument by keyword only": (
        BASE + "class P(BasePlugin):\n def before_run(self, *, experiment): pass",
        "before_run has the keyword-only argument 'experiment'",
    ),
    "forgets self": (
        BASE + "class P(BasePlugin):\n def before_run(): pass",
        "before_run has no readable signature",
    ),
    "misspells a hook": (
        BASE + "class P(BasePlugin):\n def before_runs(self, experiment): pass",
        "the method before_runs looks like the hook before_run misspelt",
    ),
    "marks what is no hook": (
        BASE + "class P:\n @hookimpl\n def after_steps(self): pass",
        "there is no hook 'after_steps'. Did you mean 'after_step'?",
    ),
    "has an async hook": (
        BASE + "class P(BasePlugin):\n async def before_run(self): pass",
        "before_run is an async def, and hooks are called without await",
    ),
    "has a hook that yields": (
        BASE + "class P(BasePlugin):\n def before_run(self): yield",
        "mark it with @hookimpl(wrapper=True)",
    ),
    "has a wrapper that does not yield": (
        BASE + "class P(BasePlugin):\n @hookimpl(wrapper=True)\n def before_run(self): pass",
        "before_run is a wrapper and has no yield",
    ),
    "names unknown hooks": (
        BASE + "class P(BasePlugin):\n def active_hooks(self): return {'before_runn'}",
        "active_hooks() names 'before_runn'",
    ),
    "fails to tell its hooks": (
        BASE + "class P(BasePlugin):\n def active_hooks(self): raise OSError('no disk')",
        "OSError: no disk",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plugin_that_cannot_be_used_is_one_warning_and_the_run_is_unharmed(fault, tmp_plugin, warnings):
    source, reason = FAULTS[fault]
    dist = f"dist-that-{fault.replace(' ', '-')}"
    tmp_plugin(dist, {"wrong.py": source}, {"wrong": "wrong:P"}, version="0.7")
    study = experiment()
    assert metrics(study.run(replicates=2)) == stored() == METRICS
    assert metrics(experiment().run(replicates=2)) == METRICS
    assert "wrong" not in [record.name for record in study.plugins.records]
    (warning,) = warnings()
    assert warning.startswith(f"entry point 'wrong' of {dist} 0.7 could not be loaded: ")
    assert reason in warning


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plugin_that_cannot_be_used_is_an_error_in_strict_mode(fault, tmp_plugin, monkeypatch):
    source, reason = FAULTS[fault]
    tmp_plugin("strict-dist", {"wrong.py": source}, {"wrong": "wrong:P"}, version="0.7")
    monkeypatch.setenv("CRYSTALLIZE_STRICT_PLUGINS", "1")
    with pytest.raises(PluginLoadError) as caught:
        experiment()
    assert "entry point 'wrong' of strict-dist 0.7 could not be loaded: " in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("setting", ["true", "{}"])
def test_a_plugin_that_cannot_be_used_is_an_error_where_config_yaml_names_it(
    fault, setting, tmp_plugin, warnings
):
    source, reason = FAULTS[fault]
    tmp_plugin("named-dist", {"wrong.py": source}, {"wrong": "wrong:P"}, version="0.7")
    folder = Path("study")
    folder.mkdir()
    (folder / "config.yaml").write_text(
        f"datasource: five\nsteps: [same]\nplugins:\n  wrong: {setting}\n", encoding="utf-8"
    )
    (folder / "datasources.py").write_text("def five(): return 5\n")
    (folder / "steps.py").write_text("def same(data): return data\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment(folder)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (4, "plugins.wrong")
    if fault == "needs arguments" and setting == "{}":
        assert problem.message == "plugin 'wrong' needs the parameter 'needed', and nothing provides it"
    elif setting == "true":
        assert "entry point 'wrong' of named-dist 0.7 could not be loaded: " in problem.message
        assert reason in problem.message
        assert problem.column == 3
    elif fault not in ("gives nothing", "gives a class"):
        assert (reason.partition(" raised ")[2] or reason) in problem.message
    else:
        assert "entry point 'wrong' of named-dist 0.7 could not be loaded: it gives" in problem.message
    assert warnings() == []


def test_a_plugin_that_needs_arguments_is_used_with_settings_or_when_it_is_passed(tmp_plugin, warnings):
    source = BASE + "class P(BasePlugin):\n def __init__(self, needed): self.needed = needed\n"
    tmp_plugin("needy-dist", {"wrong.py": source}, {"wrong": "wrong:P"})
    from wrong import P

    study = experiment(plugins=[P(3)])
    assert metrics(study.run(replicates=2)) == METRICS
    assert study.plugins.find(P).needed == 3
    assert warnings() == []


def test_a_plugin_that_cannot_be_used_and_is_switched_off_is_not_even_imported(tmp_plugin, warnings):
    tmp_plugin("off-dist", {"wrong.py": "raise RuntimeError"}, {"wrong": "wrong:P"})
    assert metrics(experiment(disable_plugins=["wrong"]).run(replicates=2)) == METRICS
    assert metrics(experiment(disable_plugins=["OFF_dist"]).run(replicates=2)) == METRICS
    assert warnings() == []


def test_a_broken_plugin_does_not_hinder_the_others(tmp_plugin, warnings):
    tmp_plugin("aaa-broken", {"broken.py": "raise RuntimeError"}, {"aaa": "broken:P"})
    tmp_plugin("zzz-healthy", {"healthy.py": HEALTHY}, {"zzz": "healthy:P"})
    assert [record.name for record in experiment().plugins.records][-2:] == ["zzz", "serial"]
    assert len(warnings()) == 1


def test_a_missing_attribute_is_near_to_what_the_module_defines_not_to_what_it_imports(
    run, tmp_plugin, caplog
):
    source = """
        from crystallize import BasePlugin
        class MyPlugin(BasePlugin):
            def before_run(self): pass
    """
    tmp_plugin("mine", {"mine.py": source}, {"mine": "mine:Plugin"})
    run()
    (warning,) = [each.getMessage() for each in caplog.records if "mine" in each.getMessage()]
    assert warning.endswith("Did you mean 'MyPlugin'? The run goes on without it")


# -- hooks that raise -----------------------------------------------------------------------------------------

RAISING = """
    from crystallize import BasePlugin
    class Mute(Exception):
        def __str__(self):
            raise OSError
    class Raising(BasePlugin):
        def HOOK(self):
            raise ERROR
"""
BLAME = "plugin 'raiser' (distribution raiser-dist 1.0) raised in {}: {}"
ERRORS = {
    "ValueError('no luck')": "ValueError: no luck",
    "SystemExit('enough')": "SystemExit: enough",
    "Mute()": "Mute: <no text: its __str__ raised OSError>",
}


def install(tmp_plugin, hook, error):
    source = RAISING.replace("HOOK", hook).replace("ERROR", error)
    tmp_plugin("raiser-dist", {"raiser.py": source}, {"raiser": "raiser:Raising"})


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("hook", ["init_hook", "before_run", "run_experiment_loop"])
def test_a_hook_that_raises_before_anything_is_measured_stops_the_run_and_is_blamed(tmp_plugin, hook, error):
    install(tmp_plugin, hook, error)
    with pytest.raises(PluginError) as caught:
        experiment().run(replicates=2)
    assert BLAME.format(hook, ERRORS[error]) in str(caught.value)
    assert type(caught.value.__cause__).__name__ == ERRORS[error].partition(":")[0]
    assert stored() == {}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("execution", ["serial", "thread", "process", "async"])
@pytest.mark.parametrize("hook", ["before_replicate", "before_step", "after_step"])
def test_a_hook_that_raises_in_a_replicate_is_the_error_of_that_outcome(tmp_plugin, hook, execution, error):
    install(tmp_plugin, hook, error)
    result = experiment(execution=execution).run(replicates=2)
    failed = {(each.condition, each.replicate) for each in result.errors}
    assert failed == {("baseline", 0), ("baseline", 1), ("triple", 0), ("triple", 1)}
    assert len(result.errors) == 4
    for each in result.errors:
        assert BLAME.format(hook, ERRORS[error]) in each.message


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("execution", ["serial", "process"])
@pytest.mark.parametrize("hook", ["after_replicate", "after_run"])
def test_a_hook_that_raises_after_a_measurement_loses_nothing(tmp_plugin, hook, execution, error):
    install(tmp_plugin, hook, error)
    with pytest.raises(PluginError) as caught:
        experiment(execution=execution).run(replicates=2)
    assert BLAME.format(hook, ERRORS[error]) in str(caught.value)
    assert stored() == METRICS


def test_hooks_that_raise_in_every_replicate_are_told_once_and_counted(warnings):
    class First(BasePlugin):
        def after_replicate(self, result):
            raise ValueError(result.replicate)

    class Second(First):
        def after_run(self):
            raise KeyError("gone")

    with pytest.raises(
        PluginError, match=r"^plugin 'First' raised in after_replicate: ValueError: 0"
    ) as caught:
        experiment(plugins=[First(), Second()]).run(replicates=50)
    told = [note.partition(" (")[0] for note in caught.value.__notes__]
    assert told[:-1] == [
        "Also: plugin 'Second' raised in after_replicate: ValueError: 0",
        "Also: plugin 'Second' raised in after_run: KeyError: 'gone'",
        "plugin 'First' raised in after_replicate 50 times",
        "plugin 'Second' raised in after_replicate 50 times",
    ]
    assert len(warnings()) == 3


@pytest.mark.parametrize("hook", ["before_replicate", "after_step"])
def test_a_hook_that_raises_in_one_condition_leaves_the_other_ones_as_they_are(tmp_plugin, hook):
    source = f"""
        from crystallize import BasePlugin
        class Choosy(BasePlugin):
            def {hook}(self, ctx):
                if ctx["condition"] == "triple" and ctx["replicate"] == 1:
                    raise ValueError("not this one")
    """
    tmp_plugin("choosy-dist", {"choosy.py": source}, {"choosy": "choosy:Choosy"})
    result = experiment().run(replicates=2)
    assert [(each.condition, each.replicate) for each in result.errors] == [("triple", 1)]
    assert metrics(result)["baseline"] == [10, 10]
    assert metrics(result)["triple"][0] == 15
