"""What a look at an installed entry point tells of it."""

from __future__ import annotations

import pytest

from crystallize.discovery import PLUGINS, VERIFIERS, cannot_load, find
from crystallize.plugins.base import BasePlugin
from crystallize.plugins.collection import set_apart
from crystallize.plugins.details import page_of
from crystallize.plugins.manager import PluginManager
from crystallize.plugins.order import hooks_of, of_installed
from crystallize.plugins.survey import KINDS, look, survey

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

    def install(value, group=PLUGINS, **options):
        tmp_plugin("acme-sight", {"acme_sight.py": SOURCE}, groups={group: {"it": f"acme_sight:{value}"}})
        (sight,) = [sight for sight in look([group], **options) if sight.found.name == "it"]
        return sight

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
    sight = entry(value)
    assert sight.status == "active"
    assert sight.installed.summary == summary
    assert sight.hooks == ("before_run",)


def test_a_strategy_that_needs_arguments_is_active_with_the_hooks_of_its_class(entry):
    sight = entry("Loop", "crystallize.execution")
    assert (sight.status, sight.record) == ("active", None)
    assert sight.hooks == ("run_experiment_loop",)
    assert [(call.hook, call.position) for call in page_of(sight, [sight]).calls] == [
        ("run_experiment_loop", None)
    ]


def test_floors_above_may_say_what_a_use_of_a_group_is(entry):
    def refuse(found):
        raise cannot_load(found, "not today")

    sight = entry("verify", VERIFIERS, uses={VERIFIERS: refuse})
    assert sight.status == "failed"
    assert "not today" in sight.installed.error
    assert entry("verify", VERIFIERS).status == "active"


def test_every_group_has_a_kind_and_is_surveyed():
    assert {each.group for each in survey()} >= set(KINDS) - {"crystallize.commands"}
    assert len(survey()) == sum(len(find(group)) for group in KINDS)


def test_plugins_can_be_left_out_by_name(entry):
    entry("Plugin")
    status = {each.name: each.status for each in survey(disabled=["it", "Logging"]) if each.group == PLUGINS}
    assert status == {"artifact": "active", "it": "disabled", "logging": "disabled", "seed": "active"}


def test_a_plugin_whose_repr_raises_does_not_take_an_experiment_down(entry, caplog):
    sight = entry("Unprintable")
    assert sight.status == "failed"
    names = [record.name for record in PluginManager.build([]).records]
    assert "it" not in names
    assert "seed" in names
    assert "OSError: no repr today" in caplog.text


def test_the_hooks_of_what_is_installed_are_those_of_an_experiment_with_nothing_passed(entry):
    entry("Plugin")
    sights = look([PLUGINS, "crystallize.execution"])
    order = {
        hook.name: [each.plugin for each in hook.implementers] for hook in hooks_of(of_installed(sights))
    }
    assert {name: names for name, names in order.items() if names} == PluginManager.build([]).order()


def test_a_record_is_set_apart_by_a_number():
    records = PluginManager.of(type("One", (BasePlugin,), {})(), type("Two", (BasePlugin,), {})()).records
    assert set_apart(records[0], records[1:]) == records[0]
    assert set_apart(records[0], records).name == "One-2"
