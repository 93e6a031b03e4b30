"""Distributions that are installed badly: what of them can be used is used, and what cannot is named."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from crystallize import Experiment, Pipeline, pipeline_step
from crystallize.discovery import COMMANDS, EXECUTION, LOADERS, PLUGINS, VERIFIERS, find, hidden, load, lookup
from crystallize.errors import PluginLoadError
from crystallize.loaders import get_loader, loader_for

COUNTING = """
    from crystallize import BasePlugin
    class Counting(BasePlugin):
        calls = 0
        def before_step(self):
            Counting.calls += 1
"""


def named(name, group=PLUGINS):
    return [found for found in find(group) if found.name == name]


def info(folder: Path) -> Path:
    (found,) = folder.glob("*.dist-info")
    return found


@pytest.fixture
def warnings(caplog):
    """Return a function that gives the warnings about plugins so far."""
    return lambda: [each.getMessage() for each in caplog.records if each.name == "crystallize.plugins"]


@pipeline_step()
def double(data):
    return data * 2, {"double": data * 2}


def run(**options):
    """Run an experiment; return its metrics and the names of its plugins."""
    experiment = Experiment(lambda: 5, Pipeline([double]), **options)
    result = experiment.run(replicates=2)
    return result.metrics.baseline.metrics["double"], [record.name for record in experiment.plugins.records]


# -- metadata -------------------------------------------------------------------------------------------------


def without(folder):
    (info(folder) / "METADATA").unlink()


def empty(folder):
    (info(folder) / "METADATA").write_text("")


def undecodable(folder):
    (info(folder) / "METADATA").write_bytes(b"\xff\xfe")


def a_folder(folder):
    without(folder)
    (info(folder) / "METADATA").mkdir()


@pytest.mark.parametrize("damage", [without, empty, undecodable, a_folder])
def test_a_plugin_whose_distribution_lacks_metadata_works_and_its_version_is_unknown(
    tmp_plugin, warnings, damage
):
    damage(tmp_plugin("bare-dist", {"bare.py": COUNTING}, {"bare": "bare:Counting"}))
    (found,) = named("bare")
    assert (found.distribution, found.version, found.fault) == ("bare_dist", "(unknown version)", "")
    metrics, plugins = run()
    assert metrics == [10, 10]
    assert "bare" in plugins
    assert sys.modules["bare"].Counting.calls == 2
    assert warnings() == []
    assert "bare" not in run(disable_plugins=["bare-dist"])[1]


def test_a_broken_plugin_without_metadata_is_one_warning_with_the_folder_s_name(tmp_plugin, warnings):
    without(tmp_plugin("half-gone", plugins={"half": "half_gone_module:x"}))
    assert run()[0] == run()[0] == [10, 10]
    (warning,) = warnings()
    assert warning == (
        "entry point 'half' of half_gone (unknown version) could not be loaded: ModuleNotFoundError: "
        "No module named 'half_gone_module'. The run goes on without it"
    )


def test_bytes_in_the_metadata_that_are_not_utf_8_hide_neither_name_nor_version(tmp_plugin):
    folder = tmp_plugin("latin", plugins={"latin": "latin:x"}, version="2.0")
    metadata = info(folder) / "METADATA"
    metadata.write_bytes(metadata.read_bytes() + b"Author: Andr\xe9\n")
    (found,) = named("latin")
    assert (found.distribution, found.version) == ("latin", "2.0")


def test_an_egg_info_folder_will_do(tmp_plugin, tmp_path, monkeypatch):
    source = tmp_path / "source"
    egg = source / "old_style.egg-info"
    egg.mkdir(parents=True)
    (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: old-style\nVersion: 0.9\n")
    (egg / "entry_points.txt").write_text("[crystallize.plugins]\nold = old_style:Counting\n")
    monkeypatch.syspath_prepend(str(source))
    (found,) = named("old")
    assert (found.distribution, found.version) == ("old-style", "0.9")
    (egg / "PKG-INFO").unlink()
    monkeypatch.syspath_prepend(str(tmp_path))  # look again
    (found,) = named("old")
    assert (found.distribution, found.version) == ("old_style", "(unknown version)")


def test_an_egg_that_lacks_metadata_bears_the_name_of_its_folder(tmp_path, monkeypatch):
    egg = tmp_path / "old_egg-1.0-py3.11.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "entry_points.txt").write_text("[crystallize.plugins]\nold = old_egg:x\n")
    monkeypatch.syspath_prepend(str(egg))
    (found,) = named("old")
    assert (found.distribution, found.version) == ("old_egg", "(unknown version)")


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"[crystallize.plugins]\nnothing\n", "nothing", "line 2 of its entry_points.txt, 'nothing', is not"),
        (b"[crystallize.plugins]\nempty =\n", "empty", "is not of the form name = module:attribute"),
        (b"[crystallize.plugins]\n= torn:x\n", "torn", "is not of the form name = module:attribute"),
        (
            b"[crystallize.plugins\nx = torn:x\n",
            "torn",
            "line 1 of its entry_points.txt, '[crystallize.plugins',",
        ),
        (b"x = crystallize.torn:x\n", "torn", "stands below no [group]"),
        (b"\xff\xfe crystallize. \xff", "torn", "stands below no [group]"),
        (
            b"[crystallize.plugins]\nspaced = a b c\n",
            "spaced",
            "its value 'a b c' is not of the form module:attribute",
        ),
    ],
)
def test_an_entry_points_file_with_a_mistake_is_one_warning_that_names_it(
    tmp_plugin, warnings, content, name, reason
):
    folder = tmp_plugin("torn", {"torn.py": COUNTING}, {"x": "torn:Counting"}, version="1.5")
    (info(folder) / "entry_points.txt").write_bytes(content)
    tmp_plugin("whole", {"whole.py": COUNTING}, {"whole": "whole:Counting"})
    assert run() == run() == ([10, 10], ["artifact", "logging", "seed", "whole", "serial"])
    (warning,) = warnings()
    assert warning.startswith(f"entry point {name!r} of torn 1.5 could not be loaded: ")
    assert reason in warning


def test_what_is_right_in_a_file_with_a_mistake_can_be_used(tmp_plugin, warnings):
    folder = tmp_plugin("mostly", {"mostly.py": COUNTING}, {"fine": "mostly:Counting"})
    file = info(folder) / "entry_points.txt"
    file.write_bytes(
        b"\xef\xbb\xbf" + file.read_bytes() + b"; a comment\n# another\nrubbish\n[console_scripts]\nno\n"
    )
    assert "fine" in run()[1]
    assert len(warnings()) == 1


def test_a_file_of_others_that_mentions_us_is_no_business_of_ours(tmp_plugin, warnings):
    folder = tmp_plugin("other", groups={"console_scripts": {"tool": "crystallize.cli.app:main"}})
    (info(folder) / "entry_points.txt").write_text(
        "[console_scripts]\ntool = crystallize.cli.app:main\nodd\n"
    )
    run()
    assert warnings() == []
    assert all(found.distribution != "other" for found in find(PLUGINS))


def test_extras_and_spaces_in_a_value_do_not_matter(tmp_plugin):
    folder = tmp_plugin("extra-dist", {"extra.py": COUNTING}, {"extra": "extra:Counting"})
    (info(folder) / "entry_points.txt").write_text(
        "[crystallize.plugins]\nextra = extra : Counting [fast, io]\n"
    )
    assert "extra" in run()[1]
    from extra import Counting

    assert run(plugins=[Counting()])[1] == ["extra", "artifact", "logging", "seed", "serial"]


def test_an_import_that_fails_names_the_extras_to_install(tmp_plugin):
    folder = tmp_plugin("extra-dist", {"lacks.py": "import not_there_at_all"}, {"lacks": "lacks:x"})
    (info(folder) / "entry_points.txt").write_text("[crystallize.plugins]\nlacks = lacks:x [fast]\n")
    with pytest.raises(PluginLoadError, match=r"pip install 'extra-dist\[fast\]'"):
        load(named("lacks")[0])


# -- twice on the path ----------------------------------------------------------------------------------------


def test_of_a_distribution_that_is_on_the_path_twice_the_first_counts_and_the_other_is_hidden(
    tmp_plugin, warnings
):
    tmp_plugin("My.Plugin", {"mine.py": COUNTING}, {"mine": "mine:Counting", "more": "mine:More"})
    first = tmp_plugin("my-plugin", {"mine.py": COUNTING}, {"mine": "mine:Counting"}, version="2.0")
    assert [(found.distribution, found.version) for found in named("mine")] == [("my-plugin", "2.0")]
    assert named("more") == []
    assert [(found.name, found.distribution, found.version) for found in hidden()] == [
        ("mine", "My.Plugin", "1.0"),
        ("more", "My.Plugin", "1.0"),
    ]
    assert {found.fault for found in hidden()} == {f"my-plugin 2.0 in {first} is used in its place"}
    assert run()[1].count("mine") == 1
    assert Path(sys.modules["mine"].__file__).parent == first
    assert warnings() == []
    with pytest.raises(PluginLoadError, match=r"'more' of My\.Plugin 1\.0 .* my-plugin 2\.0 in "):
        load(hidden()[1])


def test_a_first_copy_without_entry_points_hides_the_second(tmp_plugin):
    tmp_plugin("gone", plugins={"gone": "gone:x"}, version="1.0")
    tmp_plugin("gone", version="2.0")
    assert named("gone") == []
    assert [found.version for found in hidden()] == ["1.0"]


def test_what_a_broken_removal_left_behind_hides_nothing(tmp_plugin):
    tmp_plugin("kept", plugins={"kept": "kept:x"}, version="1.0")
    without(tmp_plugin("kept", version="0.9"))
    assert [(found.distribution, found.version) for found in named("kept")] == [("kept", "1.0")]


def test_of_two_versions_in_one_folder_the_higher_counts(tmp_plugin):
    folder = tmp_plugin("grown", {"grown.py": COUNTING}, {"grown": "grown:Counting"}, version="1.9")
    newer = tmp_plugin("grown", plugins={"grown": "grown:Counting"}, version="1.10", on_path=False)
    shutil.move(info(newer), folder)
    assert [found.version for found in named("grown")] == ["1.10"]
    assert [found.version for found in hidden()] == ["1.9"]


def test_a_folder_that_is_on_the_path_by_two_names_is_one(tmp_plugin, tmp_path, monkeypatch):
    folder = tmp_plugin("one", {"one.py": COUNTING}, {"one": "one:Counting"})
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.syspath_prepend(str(tmp_path / "link"))
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    assert len(named("one")) == 1
    assert hidden() == []


def test_a_folder_that_bears_another_name_than_its_metadata_is_found(tmp_plugin):
    folder = tmp_plugin("real-name", {"real.py": COUNTING}, {"real": "real:Counting"})
    info(folder).rename(folder / "other_name-1.0.dist-info")
    assert [found.distribution for found in named("real")] == ["real-name"]
    assert hidden() == []


# -- editable installs ----------------------------------------------------------------------------------------

FINDER = """
    import sys
    from importlib.util import spec_from_file_location
    MAPPING = {{"editable_mod": {file!r}}}
    class Finder:
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return spec_from_file_location(name, MAPPING[name]) if name in MAPPING else None
    def install():
        sys.meta_path.append(Finder)
"""
BY_FOLDER = "{source}"
BY_FINDER = "import __editable___editable_dist_finder; __editable___editable_dist_finder.install()"


@pytest.mark.parametrize("line", [BY_FOLDER, BY_FINDER], ids=["path", "finder"])
@pytest.mark.parametrize("has_egg_info", [False, True], ids=["", "egg-info"])
def test_an_editable_install_is_one_plugin_that_runs_from_its_source(
    tmp_plugin, tmp_path, run_python, line, has_egg_info
):
    source = tmp_path / "checkout"
    source.mkdir()
    (source / "editable_mod.py").write_text(
        "from crystallize import BasePlugin\nclass Here(BasePlugin):\n    def before_run(self): print(__file__)\n"
    )
    site = tmp_plugin(
        "editable-dist",
        {"__editable___editable_dist_finder.py": FINDER.format(file=str(source / "editable_mod.py"))},
        {"here": "editable_mod:Here"},
        version="3.0",
        on_path=False,
    )
    (site / "__editable__.editable_dist-3.0.pth").write_text(line.format(source=source) + "\n")
    if has_egg_info:
        egg = source / "editable_dist.egg-info"
        egg.mkdir()
        (egg / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: editable-dist\nVersion: 2.9\n")
        (egg / "entry_points.txt").write_text("[crystallize.plugins]\nhere = editable_mod:Here\n")
    done = run_python(
        "import site, sys\n"
        "site.addsitedir(sys.argv[1])\n"
        "from crystallize import Experiment, Pipeline\n"
        "from crystallize.discovery import find, hidden\n"
        "def step(data): return data\n"
        "Experiment(lambda: 1, Pipeline([step]), disable_plugins=['artifact']).run(replicates=1)\n"
        "print([str(found) for found in find('crystallize.plugins') if found.name == 'here'])\n"
        "print([found.version for found in hidden()])\n",
        str(site),
    )
    shown = [str(source / "editable_mod.py"), "[\"entry point 'here' of editable-dist 3.0\"]"]
    is_hidden = has_egg_info and line == BY_FOLDER  # a finder puts no folder onto the path
    assert done.stdout.splitlines() == [*shown, "['2.9']" if is_hidden else "[]"]
    assert done.stderr == ""


# -- names that are taken -------------------------------------------------------------------------------------


def test_a_plugin_name_of_the_core_stays_with_the_core(tmp_plugin, warnings):
    tmp_plugin("plugin-thief", {"plugin_thief.py": COUNTING}, {"logging": "plugin_thief:Counting"})
    assert run() == run() == ([10, 10], ["artifact", "logging", "seed", "serial"])
    (warning,) = warnings()
    assert "entry point 'logging' of plugin-thief 1.0 could not be loaded: " in warning
    assert "and stays with crystallize-lab" in warning
    assert "plugin_thief" not in sys.modules


@pytest.mark.parametrize(
    ("group", "name"), [(EXECUTION, "serial"), (LOADERS, "json"), (VERIFIERS, "welch_t_test")]
)
def test_another_name_of_the_core_stays_with_it_and_whoever_uses_it_is_told(
    tmp_plugin, warnings, group, name
):
    thief = f"thief-of-{name.replace('_', '-')}"
    tmp_plugin(thief, {"taken.py": "raise RuntimeError('imported')"}, groups={group: {name: "taken:x"}})
    for _ in range(2):
        assert lookup(group, name, "thing").distribution == "crystallize-lab"
    (warning,) = warnings()
    assert f"entry point {name!r} of {thief} 1.0 could not be loaded: " in warning
    assert "and stays with crystallize-lab" in warning
    assert run(execution="serial")[0] == [10, 10]


def test_a_loader_name_of_the_core_stays_with_it_also_in_the_search_by_suffix(tmp_plugin, warnings):
    tmp_plugin("suffix-thief", {"taken.py": "raise RuntimeError"}, groups={LOADERS: {"csv": "taken:x"}})
    assert type(loader_for("a.json")).__name__ == "JsonLoader"
    assert type(get_loader("csv")).__name__ == "CsvLoader"
    (warning,) = warnings()
    assert "entry point 'csv' of suffix-thief 1.0" in warning


def test_a_command_of_the_core_stays_with_it(tmp_plugin, run_python, tmp_path):
    tmp_plugin("command-thief", {"taken.py": "raise RuntimeError"}, groups={COMMANDS: {"list": "taken:x"}})
    done = run_python(
        "import sys; sys.argv = ['crystallize', 'list']\nfrom crystallize.cli.app import main; main()"
    )
    assert "RuntimeError" not in done.stderr
    listing = run_python(
        "import sys; sys.argv = ['crystallize', 'plugins', 'list', '--json', '--group', 'crystallize.commands']\n"
        "from crystallize.cli.app import main; main()"
    )
    assert '"shadowed"' in listing.stdout


# -- distributions that have nothing to do with us ---------------------------------------------------------


def test_a_strangers_metadata_that_cannot_be_read_stops_no_command(tmp_path, run_python):
    site = tmp_path / "site"
    for name, metadata, entries in (
        ("torn", "Name: torn\nVersion: 1.0\n", b"[console_scripts]\nx = \xff\xfe\n"),
        ("nameless", "", b""),
        ("odd", "\xff\nName\n:", b"[pydantic]\nmine = no_such_module:plugin\n"),
    ):
        folder = site / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\n{metadata}", "latin-1")
        (folder / "entry_points.txt").write_bytes(entries)
    code = (
        "import os, sys\n"
        "from crystallize.cli.app import main\n"
        "for command in ('new a --example', 'list', 'check', 'run a -n 2', 'show a', 'plugins list'):\n"
        "    sys.argv = ['crystallize', *command.split()]\n"
        "    try:\n        main()\n"
        "    except SystemExit as ended:\n        assert not ended.code, command\n"
        "assert 'PYDANTIC_DISABLE_PLUGINS' not in os.environ\n"
    )
    run_python(code, env={"PYTHONPATH": str(site)}, fresh=True)
