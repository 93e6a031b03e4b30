from __future__ import annotations

import os
import pickle
import sys
import types

import pytest

from crystallize.discovery import PLUGINS, Found, classify, find, load, lookup, owner, produce
from crystallize.errors import PluginLoadError, UnknownNameError


def names(group=PLUGINS):
    return [found.name for found in find(group)]


def named(name, group=PLUGINS):
    return [found for found in find(group) if found.name == name]


def test_the_parts_of_the_core_are_found_by_their_entry_points():
    assert names() == ["artifact", "logging", "seed"]
    assert names("crystallize.execution") == ["async", "process", "serial", "thread"]
    assert {found.distribution for found in find(PLUGINS)} == {"crystallize-lab"}


def test_what_is_found_is_sorted_by_name_and_not_imported(tmp_distribution):
    tmp_distribution(
        "zoo", {"zoo_mod.py": "raise RuntimeError('imported')"}, {"aaa": "zoo_mod:x", "zzz": "zoo_mod:y"}
    )
    assert names() == ["aaa", "artifact", "logging", "seed", "zzz"]
    assert "zoo_mod" not in sys.modules
    assert named("zzz") == [Found("zzz", "zoo_mod:y", PLUGINS, "zoo", "1.0")]


def test_a_group_that_nobody_declares_is_empty():
    assert find("crystallize.nobody") == ()


def test_an_installation_in_a_running_process_is_noticed(tmp_distribution, tmp_path):
    folder = tmp_distribution("early", plugins={"early": "early:x"})
    assert "early" in names()
    info = folder / "late-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[crystallize.plugins]\nlate = late:x\n")
    assert "late" in names()


def test_an_unchanged_path_is_not_searched_again(tmp_distribution, monkeypatch):
    folder = tmp_distribution("calm", plugins={"calm": "calm:x"})
    os.utime(folder, (1_000_000_000, 1_000_000_000))
    monkeypatch.setattr(sys, "path", [str(folder)])
    assert find(PLUGINS) is find(PLUGINS)


def test_a_name_of_two_distributions_is_a_conflict_that_names_both(tmp_distribution):
    tmp_distribution("one", plugins={"shared": "one:x"}, version="1.1")
    tmp_distribution("two", plugins={"shared": "two:x"}, version="2.2")
    claims = named("shared")
    assert [found.distribution for found in claims] == ["one", "two"]
    for found in claims:
        with pytest.raises(PluginLoadError, match=r"claimed by one 1\.1 and two 2\.2"):
            load(found)
    with pytest.raises(PluginLoadError, match="claimed by"):
        load(lookup(PLUGINS, "shared", "plugin"))


def test_a_name_of_the_core_stays_with_the_core(tmp_distribution):
    tmp_distribution("shadow", {"shadow.py": "x = 1"}, {"seed": "shadow:x"})
    core, other = named("seed")
    assert load(core).__name__ == "SeedPlugin"
    with pytest.raises(PluginLoadError, match=r"claimed by crystallize-lab .* and shadow 1\.0"):
        load(other)
    assert lookup(PLUGINS, "seed", "plugin") == core


def test_a_name_declared_twice_by_one_distribution_is_a_conflict(tmp_distribution):
    folder = tmp_distribution("twice", plugins={"double": "twice:x"})
    entry_points = folder / "twice-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(entry_points.read_text() + "double = twice:y\ndouble = twice:y\n")
    assert [found.value for found in named("double")] == ["twice:x", "twice:y"]
    assert all("claimed by twice 1.0 and twice 1.0" in found.conflict for found in named("double"))


def test_a_distribution_that_is_on_the_path_twice_counts_once_and_the_first_wins(tmp_distribution):
    tmp_distribution("My.Plugin", plugins={"mine": "installed:x"}, version="1.0")
    tmp_distribution("my-plugin", plugins={"mine": "editable:x"}, version="2.0")
    assert [(found.value, found.version) for found in named("mine")] == [("editable:x", "2.0")]


def test_a_first_copy_without_entry_points_hides_the_second(tmp_distribution):
    tmp_distribution("gone", plugins={"gone": "gone:x"}, version="1.0")
    tmp_distribution("gone", version="2.0")
    assert named("gone") == []


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("METADATA", b""),
        ("METADATA", b"\xff\xfe"),
        ("entry_points.txt", b"\xff\xfe crystallize. \xff"),
        ("entry_points.txt", b"[crystallize.plugins\nbroken ="),
        ("entry_points.txt", b"broken = crystallize.nothing\n"),
    ],
)
def test_broken_metadata_hides_its_distribution_and_nothing_else(tmp_distribution, file, content):
    folder = tmp_distribution("broken", plugins={"broken": "broken:x"})
    tmp_distribution("whole", plugins={"whole": "whole:x"})
    (folder / "broken-1.0.dist-info" / file).write_bytes(content)
    assert {"whole", "seed"} <= set(names())


def test_a_path_entry_that_does_not_exist_is_no_obstacle(monkeypatch):
    monkeypatch.setattr(sys, "path", ["/does/not/exist", "", *sys.path])
    assert "seed" in names()


@pytest.mark.parametrize(
    ("source", "value", "reason"),
    [
        ("import nowhere_to_be_found", "bad:x", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("x = 1", "bad:missing", "AttributeError: module 'bad' has no attribute 'missing'"),
        ("raise SystemExit(3)", "bad:x", "SystemExit: 3"),
        ("def x(:", "bad:x", "SyntaxError"),
        ("x = 1", "not a reference!", "ValueError"),
    ],
)
def test_a_failing_import_names_entry_point_distribution_version_and_reason(
    tmp_distribution, source, value, reason
):
    tmp_distribution("bad-dist", {"bad.py": source}, {"bad": value}, version="3.1")
    with pytest.raises(PluginLoadError) as caught:
        load(named("bad")[0])
    assert "entry point 'bad' of bad-dist 3.1 could not be loaded: " in str(caught.value)
    assert reason in str(caught.value)
    assert isinstance(caught.value, ImportError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_things_are_classified():
    assert classify(dict) == "class"
    assert classify(types) == "module"
    assert classify(lambda: 1) == "factory"
    assert classify(len) == "factory"
    assert classify(object()) == "instance"


def test_classes_and_factories_are_called_and_the_rest_is_taken_as_it_is(tmp_distribution):
    source = """
        class Thing: pass
        def factory(): return Thing()
        instance = Thing()
        def needs(argument): pass
        def gives_class(): return Thing
    """
    values = ["Thing", "factory", "instance", "needs", "gives_class"]
    tmp_distribution(
        "kinds", {"kinds.py": source}, {name: f"kinds:{name}" for name in values} | {"module": "kinds"}
    )
    assert type(produce(named("Thing")[0])).__name__ == "Thing"
    assert type(produce(named("factory")[0])).__name__ == "Thing"
    module = produce(named("module")[0])
    assert produce(named("instance")[0]) is module.instance
    with pytest.raises(PluginLoadError, match="factory cannot be called without arguments: TypeError"):
        produce(named("needs")[0])
    with pytest.raises(PluginLoadError, match="gave the class Thing, not an instance"):
        produce(named("gives_class")[0])


def test_an_unknown_name_comes_with_the_nearest_and_with_what_is_installed():
    with pytest.raises(UnknownNameError) as caught:
        lookup("crystallize.execution", "proces", "execution strategy")
    assert str(caught.value) == (
        "no execution strategy is called 'proces'. Did you mean 'process'? "
        "Installed: async, process, serial, thread"
    )


def test_the_distribution_of_a_module_is_known_by_its_package():
    distribution, _ = owner("crystallize.plugins.seed")
    assert distribution == "crystallize-lab"
    assert owner("crystallize.plugins.threads") == owner("crystallize.plugins.seed")
    assert owner("json") is None
