"""Every way to switch an installed plugin off, with every spelling of its name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crystallize import Experiment, Pipeline, SeedPlugin, pipeline_step
from crystallize.config.build import load_experiment

PLUGIN = """
    from crystallize import BasePlugin
    class Guest(BasePlugin):
        def before_run(self): pass
"""
SPELLINGS = ["my-plug.in", "MY_PLUG_IN", "Some.Dist", "some_dist"]


@pytest.fixture(autouse=True)
def guest(tmp_plugin):
    tmp_plugin("some-dist", {"guest_module.py": PLUGIN}, {"my-plug.in": "guest_module:Guest"})


@pipeline_step()
def same(data):
    return data


def build(plugins="", **options):
    """Build an experiment, from a config.yaml if `plugins` says what stands in it."""
    if not plugins:
        return Experiment(lambda: 5, Pipeline([same]), **options)
    folder = Path("study")
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(f"datasource: five\nsteps: [same]\nplugins: {plugins}\n")
    (folder / "datasources.py").write_text("def five(): return 5\n")
    (folder / "steps.py").write_text("def same(data): return data\n")
    return load_experiment(folder, **options)


def by_argument(name, monkeypatch):
    return build(disable_plugins=[name])


def by_environment(name, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", f" , {name} ,")
    return build()


def by_environment_and_file(name, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", name)
    return build("{my-plug.in: {no_such_argument: 1}}")


def by_file(name, monkeypatch):
    return build(f"{{{name}: false}}")


def by_call_over_file(name, monkeypatch):
    return build("{my-plug.in: true}", disable_plugins=[name])


DOORS = [by_argument, by_environment, by_environment_and_file, by_file, by_call_over_file]


def active(experiment):
    return [record.name for record in experiment.plugins.records]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("door", DOORS)
def test_a_plugin_is_switched_off_at_every_door_under_every_name_before_its_import(
    door, name, monkeypatch, caplog
):
    assert active(door(name, monkeypatch)) == ["artifact", "logging", "seed", "serial"]
    assert "guest_module" not in sys.modules
    assert caplog.records == []


@pytest.mark.parametrize("name", ["artifact", "logging", "seed"])
@pytest.mark.parametrize("door", [by_argument, by_environment, by_file])
def test_a_default_is_switched_off_like_any_other(door, name, monkeypatch):
    assert name not in active(door(name.upper(), monkeypatch))


@pytest.mark.parametrize("door", [by_argument, by_environment, by_file])
def test_all_defaults_are_switched_off_by_their_distribution(door, monkeypatch):
    assert active(door("Crystallize_Lab", monkeypatch)) == ["my-plug.in", "serial"]


def test_without_autoload_the_defaults_stay_and_what_is_named_joins_them(monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert active(build()) == ["artifact", "logging", "seed", "serial"]
    assert "guest_module" not in sys.modules
    assert active(build("{seed: false}")) == ["artifact", "logging", "serial"]
    for setting in ("true", "{}"):
        assert active(build(f"{{my_plug_in: {setting}}}")) == [
            "my-plug.in",
            "artifact",
            "logging",
            "seed",
            "serial",
        ]


@pytest.mark.parametrize("name", SPELLINGS)
def test_settings_find_a_plugin_under_every_name(name):
    assert active(build(f"{{{name}: {{}}}}"))[0] == "my-plug.in"
    assert "my-plug.in" in active(build(f"{{{name}: true}}"))


def test_a_name_that_is_not_installed_is_warned_about_and_stops_nothing(caplog, monkeypatch):
    def told():
        found = [each.getMessage() for each in caplog.records if each.name == "crystallize.plugins"]
        caplog.clear()
        return found

    for door, name, place in (
        (by_argument, "my-plug-on", ""),
        (by_environment, "my-plug-an", "CRYSTALLIZE_DISABLE_PLUGINS: "),
    ):
        assert "my-plug.in" in active(door(name, monkeypatch))
        assert told() == [
            f"{place}no installed plugin is called {name!r}, so it is not switched off. "
            "Did you mean 'my-plug.in'?"
        ]
        monkeypatch.delenv("CRYSTALLIZE_DISABLE_PLUGINS", raising=False)
    for _ in range(2):
        assert "my-plug.in" in active(by_file("my-plug-off", monkeypatch))
    (warning,) = told()
    assert "config.yaml:3:11: plugins.my-plug-off: no plugin is called 'my-plug-off'" in warning
    assert "Did you mean 'my-plug.in'?" in warning


def test_a_plugin_that_is_passed_cannot_be_switched_off():
    assert active(build(disable_plugins=["seed"], seed=3))[0] == "seed"
    experiment = Experiment(
        lambda: 5, Pipeline([same]), plugins=[SeedPlugin(seed=3)], disable_plugins=["seed"]
    )
    assert active(experiment)[0] == "seed"
