from __future__ import annotations

import functools
import importlib.util
import json
import logging
import pickle
import sys
import sysconfig
import types
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import pydantic
import pytest

from crystallize import Experiment
from crystallize.cli.plugins_listing import list_installed
from crystallize.errors import (
    CrystallizeError,
    ExecutionError,
    InvalidTypeError,
    PluginError,
    SerializationError,
    ValidationError,
)
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import HOOK_NAMES, BasePlugin
from crystallize.plugins.collection import collect
from crystallize.plugins.execution import ParallelExecution, SerialExecution
from crystallize.plugins.execution.resolution import resolve_strategy
from crystallize.plugins.logging import LoggingPlugin
from crystallize.plugins.manager import PluginManager
from crystallize.plugins.seed import SeedPlugin

HOOKED = """
    from crystallize import BasePlugin
    class Plugin(BasePlugin):
        def before_run(self, experiment):
            experiment.append(type(self).__module__)
"""


def build(*passed, **options):
    return PluginManager.build(list(passed), **options)


def active(manager):
    return [record.name for record in manager.records]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "crystallize.plugins"]


class Noting(BasePlugin):
    def __init__(self, label):
        self.label = label

    def before_run(self, experiment):
        experiment.append(self.label)

    def after_run(self, experiment, result):
        experiment.append(self.label)


# -- who takes part -------------------------------------------------------------------------------------------


def test_the_hooks_are_those_of_a_run_in_its_order():
    assert HOOK_NAMES == (
        "init_hook",
        "before_run",
        "run_experiment_loop",
        "before_replicate",
        "before_step",
        "after_step",
        "after_replicate",
        "after_run",
    )


def test_the_defaults_come_in_by_name_and_serial_drives():
    assert active(build()) == ["artifact", "logging", "seed", "serial"]


def test_an_installed_plugin_takes_part_like_our_own(tmp_plugin):
    tmp_plugin("guest", {"guest.py": HOOKED}, {"guest": "guest:Plugin"}, version="2.5")
    manager = build()
    assert active(manager) == ["artifact", "guest", "logging", "seed", "serial"]
    record = manager.records[1]
    assert (record.distribution, record.version, record.source) == ("guest", "2.5", "entry point")
    assert record.hooks == ("before_run",)


def test_class_factory_instance_and_module_are_all_plugins(tmp_plugin):
    source = """
        from crystallize import hookimpl
        class Plain:
            @hookimpl
            def before_run(self, experiment): experiment.append("plain")
        def factory(): return Plain()
        instance = Plain()
        @hookimpl
        def before_run(experiment): experiment.append("module")
    """
    entries = {"a": "forms:Plain", "b": "forms:factory", "c": "forms:instance", "d": "forms"}
    tmp_plugin("forms", {"forms.py": source}, entries)
    calls: list[str] = []
    PluginManager([record for record in build().records if record.distribution == "forms"]).call(
        "before_run", experiment=calls
    )
    assert calls == ["plain", "plain", "plain", "module"]


def test_a_passed_plugin_replaces_the_installed_one_of_its_class_or_a_base_of_it():
    class MySeed(SeedPlugin):
        pass

    passed = LoggingPlugin()
    assert active(build(passed, MySeed())) == ["logging", "MySeed", "artifact", "serial"]
    assert build(passed).find(LoggingPlugin) is passed


def test_a_replaced_plugin_is_not_even_imported(tmp_plugin):
    tmp_plugin("heavy", {"heavy.py": HOOKED}, {"heavy": "heavy:Plugin"})
    from heavy import Plugin

    mine = Plugin()
    (record,) = [record for record in build(mine).records if record.distribution == "heavy"]
    assert (record.plugin, record.name, record.source) == (mine, "heavy", "passed")


def test_a_class_that_its_package_passes_on_bears_the_name_of_the_entry_point(tmp_plugin):
    tmp_plugin(
        "acme-dist",
        {
            "acme/__init__.py": "from acme.inner import Watch",
            "acme/inner.py": """
                from crystallize import BasePlugin
                class Watch(BasePlugin):
                    def before_run(self): pass
            """,
        },
        {"watch": "acme:Watch"},
    )
    import acme

    manager = PluginManager.build([acme.Watch()])
    assert manager.order()["before_run"][0] == "watch"
    assert [record.name for record in manager.records].count("watch") == 1


def test_passed_names_are_made_unique():
    assert active(build(Noting("a"), Noting("b")))[:2] == ["Noting", "Noting-2"]


def test_equal_and_unhashable_plugins_are_two():
    @dataclass
    class Equal(BasePlugin):
        seen: int = 0

        def before_run(self, experiment):
            experiment.append(self.seen)

        def after_run(self, experiment):
            raise ValueError("end")

    manager = PluginManager(build(Equal(), Equal()).records[:2])
    calls: list[int] = []
    manager.call("before_run", experiment=calls)
    assert calls == [0, 0]
    with pytest.raises(PluginError) as caught:
        manager.call("after_run", experiment=calls, result=None)
    assert "plugin 'Equal' raised" in str(caught.value)
    assert "plugin 'Equal-2' raised" in caught.value.__notes__[0]


def test_without_the_core_s_entry_points_there_are_no_plugins(run_python, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if "crystallize" not in installed.name:
            (site / installed.name).symlink_to(installed)
    (site / "crystallize").symlink_to(Path(__file__).resolve().parents[2] / "crystallize")
    done = run_python(
        "import sys\n"
        "kept = [path for path in sys.path if path.startswith((sys.base_prefix, sys.base_exec_prefix))]\n"
        "sys.path = [sys.argv[1], *(path for path in kept if 'site-packages' not in path)]\n"
        "from crystallize.plugins.manager import PluginManager\n"
        "print([record.name for record in PluginManager.build([]).records])",
        str(site),
        cwd=site,
        fresh=True,
    )
    assert done.stdout.strip() == "[]"


def test_a_plain_object_with_marked_functions_is_a_plugin(run):
    calls = []
    run(types.SimpleNamespace(before_run=hookimpl(lambda experiment: calls.append(1))))
    assert calls == [1]


def test_a_hook_that_a_subclass_sets_to_none_is_off(run):
    class On(BasePlugin):
        def before_run(self):
            raise AssertionError

    class Off(On):
        before_run = None

    plugin = Off()
    assert "before_run" not in run(plugin).plugins.records[0].hooks


MARKED = """
    from crystallize import hookimpl

    calls = []

    def unwrapped(function):
        def inner(experiment):
            calls.append(function.__name__)
        return inner

    @hookimpl
    def before_run(experiment):
        calls.append("shared")

    @hookimpl(specname="after_run")
    def also(experiment):
        calls.append("also")
"""


def test_a_marked_function_that_a_module_takes_from_another_is_a_hook_of_it(run, tmp_plugin):
    source = """
        from crystallize import hookimpl
        from acme_marked import before_run, also, unwrapped

        @hookimpl
        @unwrapped
        def after_run(experiment):
            pass
    """
    tmp_plugin("acme-marked", {"acme_marked.py": MARKED, "acme_hooks.py": source})
    hooks, marked = importlib.import_module("acme_hooks"), importlib.import_module("acme_marked")
    run(hooks)
    assert sorted(marked.calls) == ["after_run", "also", "shared"]


def test_a_marked_function_of_another_name_and_an_unmarked_one_are_no_hooks_of_who_imports_them(
    run, tmp_plugin, caplog
):
    source = """
        from crystallize import hookimpl
        from acme_marked import before_run as theirs
        from acme_plain import after_run

        @hookimpl
        def before_run(experiment):
            theirs(experiment)
    """
    plain = "def after_run(experiment, result): raise AssertionError"
    files = {"acme_marked.py": MARKED, "acme_plain.py": plain, "acme_hooks.py": source}
    tmp_plugin("acme-marked", files)
    run(importlib.import_module("acme_hooks"))
    assert importlib.import_module("acme_marked").calls == ["shared"]
    assert "lacks @hookimpl" not in caplog.text


# -- order ----------------------------------------------------------------------------------------------------


def test_calls_run_passed_first_as_listed_then_installed_by_name_around_tryfirst_and_trylast(
    tmp_plugin,
):
    source = """
        from crystallize import BasePlugin
        class Zed(BasePlugin):
            def before_run(self, experiment): experiment.append("zed")
        class Abe(BasePlugin):
            def before_run(self, experiment): experiment.append("abe")
    """
    tmp_plugin("order", {"order_mod.py": source}, {"zed": "order_mod:Zed", "abe": "order_mod:Abe"})

    class First(BasePlugin):
        @hookimpl(tryfirst=True)
        def before_run(self, experiment):
            experiment.append("first")

    class Last(BasePlugin):
        @hookimpl(trylast=True)
        def before_run(self, experiment):
            experiment.append("last")

    class Around(BasePlugin):
        @hookimpl(wrapper=True)
        def before_run(self, experiment):
            experiment.append("in")
            yield
            experiment.append("out")

    class Renamed:
        @hookimpl(specname="before_run")
        def whatever(self, experiment):
            experiment.append("renamed")

    class Bare(BasePlugin):
        def before_run(self):
            pass

    passed = [Last(), Noting("b"), Around(), Noting("a"), Renamed(), Bare(), First()]
    manager = build(*passed, disabled=["crystallize-lab"])
    expected = ["in", "first", "b", "a", "renamed", "abe", "zed", "last", "out"]
    for copy in (manager, pickle_copy(manager)):
        calls: list[str] = []
        copy.call("before_run", experiment=calls)
        assert calls == expected


def pickle_copy(manager):
    return pickle.loads(cloudpickle.dumps(manager))


def test_a_copy_has_the_same_records_and_a_module_goes_by_name(tmp_plugin):
    source = """
        from crystallize import hookimpl
        @hookimpl
        def before_run(experiment): experiment.append("module")
    """
    tmp_plugin("modular", {"modular.py": source}, {"modular": "modular"})
    manager = build(disabled=["artifact"])
    copy = pickle.loads(pickle.dumps(manager))
    assert active(copy) == active(manager) == ["logging", "modular", "seed", "serial"]
    assert [record.hooks for record in copy.records] == [record.hooks for record in manager.records]
    assert copy.records[1].plugin is sys.modules["modular"]


def test_an_inherited_hook_that_does_nothing_is_never_called():
    manager = PluginManager(build(Noting("a")).records[:1])
    assert not manager.implements("before_step")
    assert manager.implements("before_run")
    manager.call("before_step", experiment=None, step=None, ctx=None)


# -- off switches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my-plug.in", "MY_PLUG_IN", "Some.Dist", "some_dist"])
def test_a_plugin_is_switched_off_by_name_or_distribution_before_its_import(tmp_plugin, name, caplog):
    tmp_plugin("some-dist", {"offmod.py": "raise RuntimeError('imported')"}, {"my-plug.in": "offmod:x"})
    assert "my-plug.in" not in active(build(disabled=[name]))
    assert "offmod" not in sys.modules
    assert warnings_of(caplog) == []


def test_the_environment_switches_off(monkeypatch, tmp_plugin):
    tmp_plugin("guest", {"guest.py": HOOKED}, {"guest": "guest:Plugin"})
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "guest, logging,")
    assert active(build()) == ["artifact", "seed", "serial"]
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "")
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert active(build()) == ["artifact", "logging", "seed", "serial"]
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "0")
    assert "guest" in active(build())


def test_an_unknown_name_in_a_switch_is_warned_about_with_the_nearest(caplog):
    build(disabled=["loging"])
    assert warnings_of(caplog) == [
        "no installed plugin is called 'loging', so it is not switched off. Did you mean 'logging'?"
    ]


@pytest.mark.parametrize("disabled", ["seed", [3]])
def test_a_switch_is_a_list_of_names(disabled):
    with pytest.raises(InvalidTypeError, match="disable_plugins is a list of names"):
        build(disabled=disabled)


@pytest.mark.parametrize(
    ("name", "hint"), [("no:seed", "Did you mean 'seed'?"), ("serial", "Installed are 'a")]
)
def test_an_unknown_name_in_a_switch_is_told_with_the_switch_and_with_what_there_is(
    run, monkeypatch, caplog, name, hint
):
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", name)
    run()
    told = f"no installed plugin is called {name!r}, so it is not switched off. {hint}"
    assert f"CRYSTALLIZE_DISABLE_PLUGINS: {told}" in caplog.text
    monkeypatch.delenv("CRYSTALLIZE_DISABLE_PLUGINS")
    caplog.clear()
    collect([], disabled=[name])
    assert [each for each in caplog.messages if each.startswith(told)]


def test_a_name_is_found_without_running_the_code_of_a_module_that_is_switched_off(tmp_plugin):
    lazy = """
        def __getattr__(name):
            raise AssertionError("asked for " + name)
    """
    tmp_plugin("acme-lazy", {"acme_lazy.py": lazy}, {"lazy": "acme_lazy:Lazy"})
    importlib.import_module("acme_lazy")
    records = collect([Noting("one")], disabled=["acme-lazy"])
    assert records[0].name == "Noting"


# -- mistakes -------------------------------------------------------------------------------------------------

BASE = "from crystallize import BasePlugin, hookimpl\n"
MISTAKES = {
    "unknown argument": (
        BASE + "class P(BasePlugin):\n def before_run(self, experiment, extra): pass",
        r"before_run has an argument 'extra'; it may have 'experiment'",
    ),
    "default": (
        BASE + "class P(BasePlugin):\n def before_run(self, experiment=None): pass",
        r"before_run gives its argument 'experiment' a default",
    ),
    "keyword-only": (
        BASE + "class P(BasePlugin):\n def before_run(self, *, experiment): pass",
        r"keyword-only argument 'experiment'",
    ),
    "no self": (
        BASE + "class P(BasePlugin):\n def before_run(): pass",
        r"before_run has no readable signature",
    ),
    "misspelt method": (
        BASE + "class P(BasePlugin):\n def before_runs(self, experiment): pass",
        r"the method before_runs looks like the hook before_run misspelt",
    ),
    "misspelt mark": (
        BASE + "class P:\n @hookimpl\n def after_steps(self): pass",
        r"there is no hook 'after_steps'. Did you mean 'after_step'\?",
    ),
    "several mistakes": (
        BASE
        + "class P:\n @hookimpl\n def after_steps(self): pass\n @hookimpl\n async def before_run(self): pass",
        r"no hook 'after_steps'. .*; before_run is an async def",
    ),
    "misspelt mark in a BasePlugin": (
        BASE + "class P(BasePlugin):\n @hookimpl\n def on_start(self): pass",
        r"on_start is marked with @hookimpl: there is no hook 'on_start'",
    ),
    "async": (
        BASE + "class P(BasePlugin):\n async def before_run(self): pass",
        r"before_run is an async def",
    ),
    "generator": (
        BASE + "class P(BasePlugin):\n def before_run(self): yield",
        r"mark it with @hookimpl\(wrapper=True\)",
    ),
    "wrapper without yield": (
        BASE + "class P(BasePlugin):\n @hookimpl(wrapper=True)\n def before_run(self): pass",
        r"before_run is a wrapper and has no yield",
    ),
    "unknown active hook": (
        BASE + "class P(BasePlugin):\n def active_hooks(self): return {'before_runn'}",
        r"active_hooks\(\) names 'before_runn'",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_a_passed_plugin_is_an_error(mistake):
    source, reason = MISTAKES[mistake]
    scope: dict[str, type] = {}
    exec(source, scope)
    with pytest.raises(PluginError, match=reason):
        build(scope["P"]())


@pytest.mark.parametrize(
    ("passed", "message"),
    [
        ([SeedPlugin], r"plugins\[0\] is the class SeedPlugin, not an instance. Write SeedPlugin\(\)"),
        ([lambda: None], r"plugins\[0\] is the function"),
        ([None], "None is no plugin: it has no hook"),
        ([LoggingPlugin(), 42], "42 is no plugin"),
        (SeedPlugin(), "plugins is a list of plugin instances"),
        ("seed", "plugins is a list of plugin instances"),
    ],
)
def test_what_is_passed_is_a_list_of_instances(passed, message):
    with pytest.raises(InvalidTypeError, match=message):
        PluginManager.build(passed)


def test_a_plugin_is_passed_once():
    plugin = Noting("a")
    with pytest.raises(PluginError, match=r"plugins\[1\] is in the list twice"):
        build(plugin, plugin)


def test_an_unmarked_function_with_a_hook_s_name_is_warned_about(caplog):
    class Forgetful:
        def before_run(self, experiment):
            raise AssertionError

    assert build(Forgetful()).records[0].hooks == ()
    (warning,) = warnings_of(caplog)
    assert "plugin 'Forgetful': before_run bears a hook's name and lacks @hookimpl" in warning


def test_looking_for_hooks_runs_no_property():
    class Touchy:
        @property
        def before_step(self):
            raise AssertionError("a property ran")

        @hookimpl
        def before_run(self):
            pass

    assert build(Touchy()).records[0].hooks == ("before_run",)


def test_a_deliberate_relative_of_a_hook_is_no_mistake():
    class Relative(BasePlugin):
        def arun_experiment_loop(self):
            pass

        def _before_runs(self):
            pass

    assert build(Relative()).records[0].hooks == ()


class Partial(BasePlugin):
    def _prepare(self, number, experiment):
        pass

    before_run = functools.partialmethod(_prepare, 3)


class Callable:
    def __call__(self, experiment):
        pass


class Called(BasePlugin):
    before_run = Callable()


class Marked:
    before_run = hookimpl(functools.partial(print))


@pytest.mark.parametrize(("kind", "what"), [(Partial, "partial"), (Called, "Callable"), (Marked, "partial")])
def test_a_hook_that_is_no_function_is_named(run, kind, what):
    with pytest.raises(
        PluginError, match=f"{kind.__name__}' cannot be used: before_run is a {what}, and hooks are"
    ):
        run(kind())


class Selfless(BasePlugin):
    def after_step(ctx):  # the mistake that is tested
        pass


def test_a_method_without_self_is_refused_and_not_given_the_plugin_as_its_argument(run):
    with pytest.raises(PluginError, match=r"its first argument is 'ctx'; write after_step\(self, \.\.\.\)"):
        run(Selfless())


def test_a_module_that_workers_cannot_import_is_named(run, tmp_path, monkeypatch):
    file = tmp_path / "only_here.py"
    file.write_text("from crystallize import hookimpl\n@hookimpl\ndef before_step(step):\n    pass\n")
    spec = importlib.util.spec_from_file_location("only_here", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "only_here", module)
    run(module)
    with pytest.raises(
        SerializationError, match="plugin 'only_here' is a module that this process cannot im"
    ):
        run(module, execution="process")


def test_what_comes_back_too_late_is_refused_and_not_lost(run):
    class Late(BasePlugin):
        def before_replicate(self, ctx):
            self.ctx = ctx

        def after_replicate(self):
            with pytest.raises(PluginError, match="when its outcome is over"):
                self.ctx.hand_back(self, 1)
            self.was_told = True

    late = Late()
    run(late)
    assert late.was_told


# -- blame ----------------------------------------------------------------------------------------------------


class Raising(BasePlugin):
    def before_run(self, experiment):
        self.helper()

    def after_run(self, experiment, result):
        raise KeyError("gone")

    @staticmethod
    def helper():
        raise ValueError("no luck")


def test_a_raising_hook_is_blamed_by_plugin_and_distribution(tmp_plugin):
    source = BASE + "class P(BasePlugin):\n def before_run(self): raise ValueError('no luck')"
    folder = tmp_plugin("luckless", {"luckless.py": source}, {"unlucky": "luckless:P"}, version="4.2")
    with pytest.raises(PluginError) as caught:
        build(disabled=["crystallize-lab"]).call("before_run", experiment=None)
    assert str(caught.value) == (
        "plugin 'unlucky' (distribution luckless 4.2) raised in before_run: ValueError: no luck "
        f"({folder / 'luckless.py'}:3). Repair it, or "
        "switch it off with disable_plugins=['unlucky'] or CRYSTALLIZE_DISABLE_PLUGINS=unlucky"
    )
    assert isinstance(caught.value.__cause__, ValueError)
    assert isinstance(caught.value, CrystallizeError)


def test_after_hooks_of_the_others_run_when_one_raises_and_the_first_error_is_raised():
    calls: list[str] = []
    manager = PluginManager(build(Noting("a"), Raising(), Noting("b"), Raising(), Noting("c")).records[:5])
    with pytest.raises(PluginError, match=r"plugin 'Raising' raised in after_run: KeyError") as caught:
        manager.call("after_run", experiment=calls, result=None)
    assert calls == ["a", "b", "c"]
    (note,) = caught.value.__notes__
    assert note.startswith("Also: plugin 'Raising-2' raised in after_run: KeyError: 'gone'")
    assert isinstance(caught.value.__cause__, KeyError)


class Wrapping(BasePlugin):
    def __init__(self, where):
        self.where = where

    @hookimpl(wrapper=True)
    def after_run(self, experiment):
        if self.where == "before":
            raise OSError("before")
        try:
            yield
        except Exception as error:
            if self.where == "instead":
                raise OSError("instead") from error
            raise
        if self.where == "after":
            raise OSError("after")


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_raising_wrapper_is_blamed_and_every_other_hook_runs_once(where):
    calls: list[str] = []
    manager = PluginManager(build(Noting("a"), Wrapping(where), Noting("b")).records[:3])
    with pytest.raises(PluginError, match=f"plugin 'Wrapping' raised in after_run: OSError: {where}"):
        manager.call("after_run", experiment=calls, result=None)
    assert calls == ["a", "b"]


def test_an_error_that_passes_through_a_wrapper_is_the_plugin_s_that_raised_it():
    calls: list[str] = []
    manager = PluginManager(build(Wrapping("nowhere"), Raising(), Noting("b")).records[:3])
    with pytest.raises(PluginError, match="plugin 'Raising' raised in after_run"):
        manager.call("after_run", experiment=calls, result=None)
    assert calls == ["b"]


@pytest.mark.parametrize("others", [[], [Wrapping("nowhere")]], ids=["alone", "inside of a wrapper"])
def test_a_hook_whose_iterator_has_ended_is_blamed_like_any_other(others):
    class Searching(BasePlugin):
        def after_run(self):
            next(iter(()))

    with pytest.raises(PluginError, match=r"^plugin 'Searching' raised in after_run: StopIteration"):
        PluginManager.of(*others, Searching()).call("after_run", experiment=None, result=None)


def test_a_hook_whose_error_takes_no_attributes_is_blamed_like_any_other():
    @dataclass(frozen=True)
    class Refused(Exception):
        code: int

    class Asking(BasePlugin):
        def before_run(self):
            raise Refused(403)

    with pytest.raises(PluginError, match=r"^plugin 'Asking' raised in before_run: .*Refused: 403"):
        PluginManager.of(Asking()).call("before_run", experiment=None)


def test_a_wrapper_that_answers_an_error_with_its_own_keeps_nobody_from_running():
    calls: list[str] = []
    manager = PluginManager(build(Wrapping("instead"), Raising(), Noting("b")).records[:3])
    with pytest.raises(PluginError, match="plugin 'Wrapping' raised in after_run: OSError: instead"):
        manager.call("after_run", experiment=calls, result=None)
    assert calls == ["b"]


@pytest.mark.parametrize("times", [0, 2])
def test_a_wrapper_that_does_not_yield_once_is_blamed(times):
    class Odd(BasePlugin):
        @hookimpl(wrapper=True)
        def after_run(self):
            for _ in range(times):
                yield

    calls: list[str] = []
    manager = PluginManager(build(Odd(), Noting("b")).records[:2])
    with pytest.raises(PluginError, match="plugin 'Odd' raised in after_run: RuntimeError"):
        manager.call("after_run", experiment=calls, result=None)
    assert calls == ["b"]


def test_what_an_experiment_inside_of_a_hook_raises_is_the_fault_of_that_hook():
    class Breaking(BasePlugin):
        def run_experiment_loop(self, experiment, replicate_fn):
            raise ExecutionError("no cluster today")

    class Nesting(BasePlugin):
        def before_run(self):
            Experiment(lambda: 1, [lambda data: data], plugins=[Breaking()]).run(replicates=1)

    with pytest.raises(
        PluginError, match=r"plugin 'Nesting' raised in before_run: ExecutionError: no cluster"
    ):
        Experiment(lambda: 1, [lambda data: data], plugins=[Nesting()]).run(replicates=1)


def test_interruption_is_nobody_s_fault():
    class Interrupted(BasePlugin):
        def before_run(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(Interrupted()).call("before_run", experiment=None)


# -- strategies -----------------------------------------------------------------------------------------------


def test_a_named_strategy_takes_the_place_of_serial():
    strategy = resolve_strategy("process")
    manager = build(strategy=strategy)
    assert active(manager) == ["process", "artifact", "logging", "seed"]
    assert manager.strategy.plugin is strategy
    assert build().strategy.name == "serial"


def test_two_strategies_are_one_too_many():
    with pytest.raises(
        ValidationError, match=r"one execution strategy, got plugin 'ParallelExecution'.* and "
    ):
        build(ParallelExecution(), strategy=SerialExecution())


# -- what is known --------------------------------------------------------------------------------------------


def some_seed_fn(seed):
    pass


def test_plugins_are_described_as_json_can_write_them():
    described = build(SeedPlugin(seed=3, seed_fn=some_seed_fn)).describe()
    assert json.loads(json.dumps(described)) == described
    assert described[0]["name"] == "seed"
    assert described[0]["distribution"] == "crystallize-lab"
    assert described[0]["settings"] == {
        "seed": 3,
        "auto_seed": True,
        "seed_fn": f"{__name__}.some_seed_fn",
    }


class Levelled(BasePlugin):
    def __init__(self, level=1):
        self.level = level

    def before_step(self):
        pass


class PassesOn(Levelled):
    def __init__(self, **others):
        super().__init__(**others)


class Model(pydantic.BaseModel, Levelled):
    level: int

    def __init__(self, **values):
        super().__init__(**values)


class NoBasePlugin:
    def __init__(self, level):
        self.level = level

    before_step = hookimpl(lambda self: None)


@pytest.mark.parametrize("kind", [Levelled, PassesOn, Model, NoBasePlugin])
def test_the_settings_of_a_plugin_are_the_arguments_that_it_keeps(kind):
    (told,) = PluginManager.of(kind(level=7)).describe()
    assert told["settings"] == {"level": 7}


def test_a_setting_that_is_an_object_is_described_the_same_in_every_process():
    (told,) = PluginManager.of(Levelled(level=object())).describe()
    assert told["settings"] == {"level": "<object object>"}


def test_settings_that_cannot_be_read_take_nothing_down():
    class Secretive(BasePlugin):
        @property
        def settings(self):
            raise OSError("secret")

    assert build(Secretive()).describe()[0]["settings"] == {"unreadable": "OSError: secret"}


def test_settings_that_cannot_be_written_down_stop_nothing(run):
    class Looped(BasePlugin):
        def __init__(self):
            self.nested = {}
            self.nested["again"] = self.nested

        @property
        def settings(self):
            return {"nested": self.nested}

        def before_run(self): ...

    (looped,) = [each for each in run(Looped()).plugins.describe() if each["name"] == "Looped"]
    assert looped["settings"]["unreadable"].startswith("RecursionError")


def test_the_listing_knows_active_disabled_and_failed(tmp_plugin, monkeypatch, caplog):
    tmp_plugin("wrong-dist", {"wrong.py": MISTAKES["async"][0]}, {"wrong": "wrong:P"})
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "logging")
    monkeypatch.setenv("CRYSTALLIZE_STRICT_PLUGINS", "1")
    status = {each.found.name: each for each in list_installed(["crystallize.plugins"])}
    assert {name: each.status for name, each in status.items()} == {
        "artifact": "active",
        "logging": "disabled",
        "seed": "active",
        "wrong": "failed",
    }
    assert "before_run is an async def" in status["wrong"].error.what
    assert status["seed"].hooks == ("init_hook", "before_replicate")
    assert warnings_of(caplog) == []
    assert logging.getLogger("crystallize").level == logging.NOTSET
