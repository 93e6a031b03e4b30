"""A name that two distributions claim goes to neither, until one of them is switched off: then to the other."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from crystallize import Experiment, Pipeline, pipeline_step
from crystallize.config.build import load_experiment
from crystallize.config.errors import ConfigError
from crystallize.discovery import EXECUTION, PLUGINS, find, load, lookup
from crystallize.errors import PluginLoadError

COMMAND = "import sys; from crystallize.cli.app import main; sys.argv[0] = 'crystallize'; main()"
SOURCE = """
    from crystallize import BasePlugin

    class Counting(BasePlugin):
        def __init__(self, step=1):
            self.step = step
            self.count = 0

        def after_replicate(self):
            self.count += self.step
"""
CONFIG = """
    name: mine
    datasource: five
    steps: [number]
    replicates: 2
"""


@pytest.fixture(autouse=True)
def claimants(tmp_plugin):
    """Install two distributions that claim the name ``shared``."""
    tmp_plugin("acme-first", {"first.py": SOURCE}, {"shared": "first:Counting"}, version="1.1")
    tmp_plugin("acme-second", {"second.py": SOURCE}, {"shared": "second:Counting"}, version="2.2")
    folder = Path("mine")
    folder.mkdir()
    (folder / "steps.py").write_text("def number(data):\n    return data, {'number': data}\n")
    (folder / "datasources.py").write_text("def five():\n    return 5\n")
    (folder / "config.yaml").write_text(dedent(CONFIG))


@pipeline_step()
def double(data):
    return data * 2, {"double": data * 2}


def test_one_name_in_two_groups_is_contested_in_neither_though_both_are_asked_for_at_once(tmp_plugin):
    groups = ("crystallize.first", "crystallize.second")
    for name, group in zip(("acme-third", "acme-fourth"), groups, strict=True):
        tmp_plugin(name, {"it.py": SOURCE}, groups={group: {"same": "it:Counting"}})
    assert find(groups) == find(groups[0]) + find(groups[1])
    assert find(groups[::-1]) == find(groups[1]) + find(groups[0])
    assert [(found.group, found.name, found.fault) for found in find(groups)] == [
        (group, "same", "") for group in groups
    ]


def active(**options):
    """Return distribution by name of the plugins that are not ours."""
    experiment = Experiment(lambda: 5, Pipeline([double]), **options)
    experiment.run(replicates=2)
    return {
        record.name: record.distribution
        for record in experiment.plugins.records
        if record.distribution != "crystallize-lab"
    }


def listing(run_python, **environment):
    done = run_python(COMMAND, "plugins", "list", "--json", env=environment)
    told = {each["distribution"]: each for each in json.loads(done.stdout) if each["name"] == "shared"}
    return {name: (each["status"], each["error"]) for name, each in told.items()}


CLAIM = (
    "the name 'shared' is claimed by acme-first 1.1 and acme-second 2.2, of which all but one must be "
    "switched off or uninstalled"
)


def test_it_goes_to_neither_and_the_warning_says_what_to_do(caplog):
    assert active() == active() == {}
    warnings = [each.getMessage() for each in caplog.records if each.name == "crystallize.plugins"]
    assert warnings == [
        f"entry point 'shared' of acme-first 1.1 could not be loaded: {CLAIM}. The run goes on without it",
        f"entry point 'shared' of acme-second 2.2 could not be loaded: {CLAIM}. The run goes on without it",
    ]


@pytest.mark.parametrize(
    ("off", "other"),
    [("acme-second", "acme-first"), ("ACME.First", "acme-second"), ("acme_first", "acme-second")],
)
def test_switching_one_off_frees_the_name_for_the_other(monkeypatch, caplog, off, other):
    monkeypatch.setenv("CRYSTALLIZE_STRICT_PLUGINS", "1")
    assert active(disable_plugins=[off]) == {"shared": other}
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", f" {off} ,")
    assert active() == {"shared": other}
    assert "claimed" not in caplog.text
    assert ("first" in sys.modules, "second" in sys.modules) == (
        other == "acme-first",
        other == "acme-second",
    )


def test_switching_it_off_on_one_experiment_leaves_it_contested_for_the_next():
    assert active(disable_plugins=["acme-first"]) == {"shared": "acme-second"}
    assert active() == {}
    assert active(disable_plugins=["shared"]) == active(disable_plugins=["acme-first", "acme-second"]) == {}


def test_three_claim_it_until_two_are_off(tmp_plugin):
    tmp_plugin("acme-third", {"third.py": SOURCE}, {"shared": "third:Counting"})
    assert active(disable_plugins=["acme-first"]) == {}
    assert active(disable_plugins=["acme-first", "acme-third"]) == {"shared": "acme-second"}


def test_a_name_of_the_core_is_free_once_the_core_s_own_is_off(tmp_plugin):
    tmp_plugin("acme-logging", {"third.py": SOURCE}, {"logging": "third:Counting"})
    assert active(disable_plugins=["acme-first"]) == {"shared": "acme-second"}
    mine = {"logging": "acme-logging", "shared": "acme-second"}
    assert active(disable_plugins=["acme-first", "crystallize-lab"]) == mine


def test_find_and_lookup_take_account_of_what_they_are_told_is_off():
    def is_off(found):
        return found.distribution == "acme-first"

    first, second = (found for found in find(PLUGINS, is_off) if found.name == "shared")
    assert (first.fault, second.fault) == ("", "")
    assert lookup(PLUGINS, "Shared", "plugin", is_off) == second
    assert lookup(PLUGINS, "shared", "plugin").fault == CLAIM
    assert find(EXECUTION, is_off) == find(EXECUTION)


@pytest.mark.parametrize("value", ["true", "{step: 3}"])
def test_a_configuration_names_the_one_that_is_left(monkeypatch, value):
    config = Path("mine/config.yaml")
    settings = f"plugins: {{shared: {value}, acme-second: false}}"
    config.write_text(dedent(CONFIG) + settings)
    experiment = load_experiment(config)
    (shared,) = (record for record in experiment.plugins.records if record.name == "shared")
    assert shared.distribution == "acme-first"
    experiment.run()
    assert shared.plugin.count == (2 if value == "true" else 6)

    config.write_text(dedent(CONFIG) + f"plugins: {{shared: {value}}}")
    with pytest.raises(ConfigError, match="'shared' is claimed by acme-first"):
        load_experiment(config)
    experiment = load_experiment(config, disable_plugins=["acme-first"])
    assert [record.distribution for record in experiment.plugins.records if record.name == "shared"] == [
        "acme-second"
    ]
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "acme-second")
    experiment = load_experiment(config)
    assert [record.distribution for record in experiment.plugins.records if record.name == "shared"] == [
        "acme-first"
    ]


def test_the_command_line_switches_one_off(run_python):
    run_python(COMMAND, "run", "mine", "-p", "no:acme-first", cwd=Path.cwd())
    (version,) = Path("data/mine").glob("v*")
    plugins = json.loads((version / "metadata.json").read_text())["plugins"]
    assert [each["distribution"] for each in plugins if each["name"] == "shared"] == ["acme-second"]


def test_the_listing_shows_the_other_as_active(run_python):
    both = listing(run_python)
    assert {status for status, _ in both.values()} == {"failed"}
    assert all(CLAIM in error for _, error in both.values())
    assert listing(run_python, CRYSTALLIZE_DISABLE_PLUGINS="acme-first") == {
        "acme-first": ("disabled", ""),
        "acme-second": ("active", ""),
    }
    assert listing(run_python, CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD="1") == {
        "acme-first": ("disabled", ""),
        "acme-second": ("disabled", ""),
    }


@pytest.mark.parametrize("arguments", [["show", "shared"], ["hooks"], ["check"]])
def test_the_other_commands_agree(run_python, arguments):
    switched = {"CRYSTALLIZE_DISABLE_PLUGINS": "acme-first"}
    done = run_python(COMMAND, "plugins", *arguments, env=switched)
    assert "claimed" not in done.stdout
    assert {"show": "acme-second 2.2", "hooks": "acme-second 2.2", "check": "all is well"}[
        arguments[0]
    ] in done.stdout
    undecided = run_python(COMMAND, "plugins", *arguments, check=False)
    assert undecided.returncode == (arguments == ["check"])


@pytest.mark.parametrize("group", ["crystallize.execution", "crystallize.loaders"])
def test_what_is_no_lifecycle_plugin_cannot_be_switched_off_and_stays_contested(tmp_plugin, group):
    for distribution in ("acme-first", "acme-second"):
        tmp_plugin(f"{distribution}-more", groups={group: {"shared": "first:Counting"}})
    with pytest.raises(PluginLoadError, match="of which all but one must be uninstalled"):
        load(lookup(group, "shared", "thing"))
