"""Plugins of unusual shapes, and what is said of names: what cannot be used is named."""

from __future__ import annotations

import functools
import importlib.util
import sys
import types

import pytest

from crystallize import BasePlugin, Experiment, Pipeline, hookimpl, pipeline_step
from crystallize.discovery import owner
from crystallize.errors import PluginError, SerializationError
from crystallize.plugins.collection import collect
from crystallize.plugins.listing import list_installed


@pipeline_step()
def double(data):
    return data * 2, {"double": data * 2}


def run(*plugins, replicates=1, **options):
    experiment = Experiment(
        lambda: 5, Pipeline([double]), plugins=list(plugins), disable_plugins=["artifact"], **options
    )
    experiment.run(replicates=replicates)
    return experiment


class Counting(BasePlugin):
    def __init__(self):
        self.calls = 0

    def before_run(self):
        self.calls += 1


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
def test_a_hook_that_is_no_function_is_named(kind, what):
    with pytest.raises(
        PluginError, match=f"{kind.__name__}' cannot be used: before_run is a {what}, and hooks are"
    ):
        run(kind())


def test_a_hook_that_a_subclass_sets_to_none_is_off():
    class Off(Counting):
        before_run = None

    plugin = Off()
    assert "before_run" not in run(plugin).plugins.records[0].hooks


# -- modules --------------------------------------------------------------------------------------------------

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


def test_a_marked_function_that_a_module_takes_from_another_is_a_hook_of_it(tmp_plugin):
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
    tmp_plugin, caplog
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


def test_a_module_that_workers_cannot_import_is_named(tmp_path, monkeypatch):
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


def test_a_plain_object_with_marked_functions_is_a_plugin():
    calls = []
    run(types.SimpleNamespace(before_run=hookimpl(lambda experiment: calls.append(1))))
    assert calls == [1]


# -- where they come from -------------------------------------------------------------------------------------


def test_of_a_namespace_package_a_module_belongs_to_the_nearest_distribution_or_to_none(tmp_plugin):
    tmp_plugin("acme-one", plugins={"one": "acme_space.one.hooks:x"})
    tmp_plugin("acme-two", plugins={"two": "acme_space.two.hooks:x"})
    assert owner("acme_space.two.helpers") == ("acme-two", "1.0")
    assert owner("acme_space.one") == ("acme-one", "1.0")
    assert owner("acme_space.three") is None
    assert owner("acme_spaces") is None


def test_a_name_is_found_without_running_the_code_of_a_module_that_is_switched_off(tmp_plugin):
    lazy = """
        def __getattr__(name):
            raise AssertionError("asked for " + name)
    """
    tmp_plugin("acme-lazy", {"acme_lazy.py": lazy}, {"lazy": "acme_lazy:Lazy"})
    importlib.import_module("acme_lazy")
    records = collect([Counting()], disabled=["acme-lazy"])
    assert records[0].name == "Counting"


def test_a_plugin_that_changes_the_path_as_it_is_imported_hides_none_of_the_others(tmp_plugin, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = "import sys\nsys.path.clear()\n"
    tmp_plugin(
        "acme-clearing", {"acme_clearing.py": source}, groups={"crystallize.commands": {"c": "acme_clearing"}}
    )
    listed = [each.found.name for each in list_installed()]
    assert {"serial", "json", "seed", "welch_t_test"} <= set(listed)


# -- what is said of switches ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"), [("no:seed", "Did you mean 'seed'?"), ("serial", "Installed are 'a")]
)
def test_an_unknown_name_in_a_switch_is_told_with_the_switch_and_with_what_there_is(
    monkeypatch, caplog, name, hint
):
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", name)
    run()
    told = f"no installed plugin is called {name!r}, so it is not switched off. {hint}"
    assert f"CRYSTALLIZE_DISABLE_PLUGINS: {told}" in caplog.text
    monkeypatch.delenv("CRYSTALLIZE_DISABLE_PLUGINS")
    caplog.clear()
    collect([], disabled=[name])
    assert [each for each in caplog.messages if each.startswith(told)]


class Selfless(BasePlugin):
    def after_step(ctx):  # the mistake that is tested
        pass


def test_a_method_without_self_is_refused_and_not_given_the_plugin_as_its_argument():
    with pytest.raises(PluginError, match=r"its first argument is 'ctx'; write after_step\(self, \.\.\.\)"):
        run(Selfless())


def test_a_missing_attribute_is_near_to_what_the_module_defines_not_to_what_it_imports(tmp_plugin, caplog):
    source = """
        from crystallize import BasePlugin
        class MyPlugin(BasePlugin):
            def before_run(self): pass
    """
    tmp_plugin("mine", {"mine.py": source}, {"mine": "mine:Plugin"})
    run()
    (warning,) = [each.getMessage() for each in caplog.records if "mine" in each.getMessage()]
    assert warning.endswith("Did you mean 'MyPlugin'? The run goes on without it")


def test_what_comes_back_too_late_is_refused_and_not_lost():
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


def test_settings_that_cannot_be_written_down_stop_nothing():
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
