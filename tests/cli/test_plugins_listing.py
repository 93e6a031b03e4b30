"""What is installed, and what a look at it tells."""

from __future__ import annotations

import sys

import pytest

from crystallize import hookimpl
from crystallize.cli.plugins_details import hooks_of, page_of, records_of
from crystallize.cli.plugins_listing import list_installed
from crystallize.discovery import COMMANDS, KINDS, PLUGINS, START, find
from crystallize.plugins.base import BasePlugin
from crystallize.plugins.collection import set_apart
from crystallize.plugins.manager import PluginManager

SOURCE = '''
    from dataclasses import dataclass
    from functools import partial

    from crystallize import BasePlugin, hookimpl


    class Plugin(BasePlugin):
        """Its own docstring."""

        def before_run(self): pass


    class Bare(BasePlugin):
        def before_run(self): pass


    @dataclass
    class Data(BasePlugin):
        size: int = 3

        def before_run(self): pass


    def make():
        return Plugin()


    def told():
        """Told by the factory."""
        return Bare()


    short = partial(told)
    instance = Plugin()


    class Loop:
        """A loop that is marked."""

        def __init__(self, address): pass

        @hookimpl
        def run_experiment_loop(self, experiment, replicate_fn): return []


    class Unprintable:
        def __repr__(self):
            raise OSError("no repr today")


    def verify(baseline, treatment): return {}
'''


@pytest.fixture
def entry(tmp_plugin):
    """Return a function that installs one entry point and returns what a look at it gives."""

    def install(value, group=PLUGINS):
        tmp_plugin("acme-look", {"acme_look.py": SOURCE}, groups={group: {"it": f"acme_look:{value}"}})
        (it,) = [each for each in list_installed([group]) if each.found.name == "it"]
        return it

    return install


@pytest.mark.parametrize(
    ("value", "summary"),
    [
        ("Plugin", "Its own docstring."),
        ("instance", "Its own docstring."),
        ("make", "Its own docstring."),  # the factory has none
        ("told", "Told by the factory."),
        ("short", "Told by the factory."),
        ("Bare", ""),  # BasePlugin's says nothing of it
        ("Data", ""),  # the one that @dataclass writes says nothing either
    ],
)
def test_the_summary_is_what_its_author_wrote(entry, value, summary):
    it = entry(value)
    assert it.status == "active"
    assert it.as_json()["summary"] == summary
    assert it.hooks == ("before_run",)


def test_a_strategy_that_needs_arguments_is_active_with_the_hooks_of_its_class(entry):
    it = entry("Loop", "crystallize.execution")
    assert (it.status, it.record) == ("active", None)
    assert it.hooks == ("run_experiment_loop",)
    (call,) = page_of(it, [it])["calls"]
    assert (call["hook"], call["position"]) == ("run_experiment_loop", None)


def test_every_group_has_a_kind_and_is_listed():
    installed = list_installed()
    assert {each.found.group for each in installed} >= set(KINDS) - {COMMANDS, START}
    assert len(installed) == sum(len(find(group)) for group in KINDS)


def test_a_plugin_whose_repr_raises_does_not_take_an_experiment_down(entry, caplog):
    assert entry("Unprintable").status == "failed"
    names = [record.name for record in PluginManager.build([]).records]
    assert "it" not in names
    assert "seed" in names
    assert "OSError: no repr today" in caplog.text


def test_the_hooks_of_what_is_installed_are_those_of_an_experiment_with_nothing_passed(entry):
    entry("Plugin")
    installed = list_installed([PLUGINS, "crystallize.execution"])
    order = {
        hook["name"]: [each["plugin"] for each in hook["implementers"]]
        for hook in hooks_of(records_of(installed))
    }
    assert {name: names for name, names in order.items() if names} == PluginManager.build([]).order()


def test_several_implementations_of_a_hook_by_one_plugin_are_told_with_their_own_options():
    class Twice(BasePlugin):
        def before_run(self): ...

        @hookimpl(wrapper=True, specname="before_run")
        def around(self):
            yield

        @hookimpl(trylast=True, specname="before_run")
        def finish(self): ...

    (hook,) = [hook for hook in hooks_of(PluginManager.of(Twice()).records) if hook["implementers"]]
    assert [each["options"] for each in hook["implementers"]] == [["wrapper"], [], ["trylast"]]


def test_a_record_is_set_apart_by_a_number():
    records = PluginManager.of(type("One", (BasePlugin,), {})(), type("Two", (BasePlugin,), {})()).records
    assert set_apart(records[0], records[1:]) == records[0]
    assert set_apart(records[0], records).name == "One-2"


def test_a_plugin_that_changes_the_path_as_it_is_imported_hides_none_of_the_others(tmp_plugin, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = "import sys\nsys.path.clear()\n"
    tmp_plugin(
        "acme-clearing", {"acme_clearing.py": source}, groups={"crystallize.commands": {"c": "acme_clearing"}}
    )
    listed = [each.found.name for each in list_installed()]
    assert {"serial", "json", "seed", "welch_t_test"} <= set(listed)
