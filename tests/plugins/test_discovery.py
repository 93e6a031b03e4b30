from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path

import pytest

from crystallize.discovery import (
    ADD_ONS,
    EXECUTION,
    PLUGINS,
    Found,
    classify,
    find,
    load,
    lookup,
    owner,
    produce,
    resolve,
)
from crystallize.errors import CrystallizeError, PluginLoadError, UnknownNameError


def names(group=PLUGINS):
    return [found.name for found in find(group)]


def named(name, group=PLUGINS):
    return [found for found in find(group) if found.name == name]


def test_the_parts_of_the_core_are_found_by_their_entry_points():
    def ours(group):
        return [found.name for found in find(group) if found.distribution == "crystallize-lab"]

    assert ours(PLUGINS) == ["artifact", "logging", "seed"]
    assert ours(EXECUTION) == ["async", "process", "serial", "thread"]


def test_what_is_found_is_sorted_by_name_and_not_imported(tmp_plugin):
    folder = tmp_plugin(
        "zoo", {"zoo_mod.py": "raise RuntimeError('imported')"}, {"aaa": "zoo_mod:x", "zzz": "zoo_mod:y"}
    )
    found = names()
    assert found == sorted(found)
    assert {"aaa", "seed", "zzz"} <= set(found)
    assert "zoo_mod" not in sys.modules
    assert named("zzz") == [Found("zzz", "zoo_mod:y", PLUGINS, "zoo", "1.0", str(folder))]


def test_a_group_that_nobody_declares_is_empty():
    assert find("crystallize.nobody") == ()


def test_an_installation_in_a_running_process_is_noticed(tmp_plugin, tmp_path):
    folder = tmp_plugin("early", plugins={"early": "early:x"})
    assert "early" in names()
    info = folder / "late-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[crystallize.plugins]\nlate = late:x\n")
    assert "late" in names()


def test_an_unchanged_path_is_not_searched_again(tmp_plugin, monkeypatch):
    folder = tmp_plugin("calm", plugins={"calm": "calm:x"})
    os.utime(folder, (1_000_000_000, 1_000_000_000))
    monkeypatch.setattr(sys, "path", [str(folder)])
    found = find(PLUGINS)
    next(folder.glob("*.dist-info/entry_points.txt")).write_text("")  # which leaves the folder's own stamp
    assert find(PLUGINS) == found != ()


def test_a_name_of_two_distributions_is_a_conflict_that_names_both(tmp_plugin):
    tmp_plugin("one", plugins={"shared": "one:x"}, version="1.1")
    tmp_plugin("two", plugins={"shared": "two:x"}, version="2.2")
    claims = named("shared")
    assert [found.distribution for found in claims] == ["one", "two"]
    for found in claims:
        with pytest.raises(PluginLoadError, match=r"claimed by one 1\.1 and two 2\.2"):
            load(found)
    with pytest.raises(PluginLoadError, match="claimed by"):
        load(lookup(PLUGINS, "shared", "plugin"))


def test_a_name_of_the_core_stays_with_the_core(tmp_plugin):
    tmp_plugin("shadow", {"shadow.py": "x = 1"}, {"seed": "shadow:x"})
    core, other = named("seed")
    assert (core.fault, core.shadowed, other.shadowed) == ("", False, True)
    assert load(core).__name__ == "SeedPlugin"
    with pytest.raises(PluginLoadError, match=r"claimed by crystallize-lab .* and shadow 1\.0"):
        load(other)
    assert lookup(PLUGINS, "seed", "plugin") == core


def test_a_name_declared_twice_by_one_distribution_is_a_conflict(tmp_plugin):
    folder = tmp_plugin("twice", plugins={"double": "twice:x"})
    entry_points = folder / "twice-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(entry_points.read_text() + "double = twice:y\ndouble = twice:y\n")
    assert [found.value for found in named("double")] == ["twice:x", "twice:y"]
    assert all("claimed by twice 1.0 and twice 1.0" in found.fault for found in named("double"))


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
        ("x = 1", "not a reference!", "its value 'not a reference!' is not of the form module:attribute"),
        ("x_one = 1", "bad:x_two", "Did you mean 'x_one'?"),
    ],
)
def test_a_failing_import_names_entry_point_distribution_version_and_reason(
    tmp_plugin, source, value, reason
):
    tmp_plugin("bad-dist", {"bad.py": source}, {"bad": value}, version="3.1")
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


def test_classes_and_factories_are_called_and_the_rest_is_taken_as_it_is(tmp_plugin):
    source = """
        class Thing: pass
        def factory(): return Thing()
        instance = Thing()
        def needs(argument): pass
        def gives_class(): return Thing
    """
    values = ["Thing", "factory", "instance", "needs", "gives_class"]
    tmp_plugin(
        "kinds", {"kinds.py": source}, {name: f"kinds:{name}" for name in values} | {"module": "kinds"}
    )
    assert type(produce(named("Thing")[0])).__name__ == "Thing"
    assert type(produce(named("factory")[0])).__name__ == "Thing"
    module = produce(named("module")[0])
    assert produce(named("instance")[0]) is module.instance
    with pytest.raises(
        PluginLoadError,
        match="factory cannot be called without arguments: missing a required argument: 'argument'",
    ):
        produce(named("needs")[0])
    with pytest.raises(PluginLoadError, match="gave the class Thing, not an instance"):
        produce(named("gives_class")[0])


@pytest.mark.parametrize(("group", "takes_arguments"), [("plugins", True), ("loaders", False)])
def test_what_needs_arguments_is_told_where_they_may_be_given_if_there_is_a_place(
    tmp_plugin, group, takes_arguments
):
    source = "class Needs:\n    def __init__(self, argument): pass\n"
    tmp_plugin("needy", {"needy.py": source}, groups={f"crystallize.{group}": {"needs": "needy:Needs"}})
    (found,) = (found for found in find(f"crystallize.{group}") if found.name == "needs")
    with pytest.raises(PluginLoadError) as caught:
        produce(found)
    assert ("plugins=[...]" in caught.value.hint) is takes_arguments


# -- names ----------------------------------------------------------------------------------------------------


def test_an_unknown_name_comes_with_the_nearest_and_with_what_is_installed():
    with pytest.raises(UnknownNameError) as caught:
        lookup(EXECUTION, "proces", "execution strategy")
    assert str(caught.value) == (
        "no execution strategy is called 'proces'. Did you mean 'process'? "
        f"Installed: {', '.join(names(EXECUTION))}"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("demo", "It comes with crystallize-demo: pip install crystallize-demo. Installed:"),
        ("Demo", "It comes with crystallize-demo: pip install crystallize-demo. Installed:"),
        ("deno", "Did you mean 'demo'? It comes with crystallize-demo: pip install crystallize-demo."),
        ("package.module.Class", "A dotted path is written 'package.module:Name'."),
        ("", "no execution strategy is called ''. Installed: async"),
    ],
)
def test_an_unknown_name_comes_with_the_distribution_that_brings_it(monkeypatch, name, hint):
    monkeypatch.setitem(ADD_ONS, (EXECUTION, "demo"), "crystallize-demo")
    with pytest.raises(UnknownNameError) as caught:
        resolve(EXECUTION, name, "execution strategy")
    assert hint in str(caught.value)


def test_an_add_on_that_is_installed_is_found_and_not_recommended(tmp_plugin, monkeypatch):
    monkeypatch.setitem(ADD_ONS, (EXECUTION, "demo"), "crystallize-demo")
    tmp_plugin("crystallize-demo", {"demo.py": "x = 1"}, groups={EXECUTION: {"demo": "demo:x"}})
    assert resolve(EXECUTION, "demo", "execution strategy") == 1
    with pytest.raises(UnknownNameError) as caught:
        resolve(EXECUTION, "deno", "execution strategy")
    assert "pip install" not in str(caught.value)


@pytest.mark.parametrize("name", ["my-strategy", "my_strategy", "My.Strategy"])
def test_a_name_is_found_however_it_is_spelled(tmp_plugin, name):
    tmp_plugin("folded", groups={EXECUTION: {"my-strategy": "folded:x"}})
    assert lookup(EXECUTION, name, "execution strategy").name == "my-strategy"


def test_a_spelling_that_may_mean_two_names_means_none_and_an_exact_one_means_itself(tmp_plugin):
    tmp_plugin("both", groups={EXECUTION: {"my-one": "both:x", "my_one": "both:y"}})
    assert lookup(EXECUTION, "my_one", "execution strategy").value == "both:y"
    with pytest.raises(UnknownNameError, match="Did you mean 'my"):
        lookup(EXECUTION, "my.one", "execution strategy")


def test_a_dotted_path_needs_no_entry_point(tmp_plugin):
    tmp_plugin("dotted", {"pack/__init__.py": "", "pack/mod.py": "class Outer:\n class Inner: pass"})
    assert resolve(EXECUTION, "pack.mod:Outer.Inner", "thing").__qualname__ == "Outer.Inner"


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        (
            "pack.mod:Outre",
            UnknownNameError,
            "module 'pack.mod' has no attribute 'Outre'. Did you mean 'Outer'?",
        ),
        ("pack.mod:Outer.Iner", UnknownNameError, "'Outer' has no attribute 'Iner'. Did you mean 'Inner'?"),
        ("pack.mud:Outer", UnknownNameError, "No module named 'pack.mud'"),
        ("puck.mod:Outer", UnknownNameError, "No module named 'puck'"),
        ("pack.mod.sub:x", UnknownNameError, "'pack.mod' is not a package"),
        ("beside:x", UnknownNameError, "'beside' is in the current folder"),
        ("pack.needy:x", PluginLoadError, "No module named 'not_there_at_all'"),
        ("pack.lazy:x", PluginLoadError, "RuntimeError: not today"),
        ("pack.exits:x", PluginLoadError, "SystemExit: 3"),
        ("pack.mod:", UnknownNameError, "it is not of the form 'package.module:Name'"),
        (":Outer", UnknownNameError, "it is not of the form 'package.module:Name'"),
        ("pack.mod:Outer:Inner", UnknownNameError, "it is not of the form 'package.module:Name'"),
        ("pack..mod:Outer", UnknownNameError, "it is not of the form 'package.module:Name'"),
        ("../pack/mod.py:Outer", UnknownNameError, "it is not of the form 'package.module:Name'"),
    ],
)
def test_a_dotted_path_that_leads_nowhere_says_how_far_it_leads(tmp_plugin, path, kind, message):
    (Path.cwd() / "beside.py").write_text("x = 1")
    files = {
        "pack/__init__.py": "",
        "pack/mod.py": "class Outer:\n class Inner: pass",
        "pack/needy.py": "x = 1\nimport not_there_at_all",
        "pack/lazy.py": "\ndef __getattr__(name):\n raise RuntimeError('not today')",
        "pack/exits.py": "raise SystemExit(3)",
    }
    folder = tmp_plugin("dotted", files)
    with pytest.raises(CrystallizeError) as caught:
        resolve(EXECUTION, path, "execution strategy")
    assert type(caught.value) is kind
    assert f"{path!r} leads to no execution strategy: " in str(caught.value)
    assert message in str(caught.value)
    if kind is PluginLoadError:
        name = path.partition(":")[0].rpartition(".")[2]
        line = {"needy": 2, "lazy": 3, "exits": 1}[name]
        assert caught.value.where == f"{folder}/pack/{name}.py:{line}"
        assert caught.value.__cause__ is not None


def test_ctrl_c_during_an_import_is_no_fault_of_the_module(tmp_plugin):
    tmp_plugin("slow", {"slow.py": "raise KeyboardInterrupt"}, {"slow": "slow:x"})
    with pytest.raises(KeyboardInterrupt):
        load(named("slow")[0])
    with pytest.raises(KeyboardInterrupt):
        resolve(EXECUTION, "slow:x", "execution strategy")


def test_the_distribution_of_a_module_is_known_by_its_package():
    distribution, _ = owner("crystallize.plugins.seed")
    assert distribution == "crystallize-lab"
    assert owner("crystallize.plugins.execution.threads") == owner("crystallize.plugins.seed")
    assert owner("json") is None


def test_of_a_namespace_package_a_module_belongs_to_the_nearest_distribution_or_to_none(tmp_plugin):
    tmp_plugin("acme-one", plugins={"one": "acme_space.one.hooks:x"})
    tmp_plugin("acme-two", plugins={"two": "acme_space.two.hooks:x"})
    assert owner("acme_space.two.helpers") == ("acme-two", "1.0")
    assert owner("acme_space.one") == ("acme-one", "1.0")
    assert owner("acme_space.three") is None
    assert owner("acme_spaces") is None
