"""``tmp_plugin``: a real distribution for the time of one test."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import importlib_metadata
import pytest

from crystallize.discovery import PLUGINS, find, load
from crystallize.loaders import get_loader, loader_for

pytest_plugins = ["pytester"]

PLUGIN = """
    from crystallize import BasePlugin

    class Plugin(BasePlugin):
        '''Does nothing.'''
"""


def test_it_is_installed_in_this_process(tmp_plugin) -> None:
    tmp_plugin("acme-guest", {"acme_guest.py": PLUGIN}, plugins={"guest": "acme_guest:Plugin"}, version="2.5")
    (found,) = [each for each in find(PLUGINS) if each.name == "guest"]
    assert (found.distribution, found.version) == ("acme-guest", "2.5")
    assert load(found).__module__ == "acme_guest"


def test_it_is_installed_in_child_processes(tmp_plugin, run_python) -> None:
    tmp_plugin("acme-guest", {"acme_guest.py": PLUGIN}, plugins={"guest": "acme_guest:Plugin"})
    run_python(
        "from crystallize.discovery import PLUGINS, find, load\n"
        "(found,) = [each for each in find(PLUGINS) if each.name == 'guest']\n"
        "load(found)",
        fresh=True,
    )


def test_worker_processes_import_its_modules(tmp_plugin, run_experiment) -> None:
    source = """
        import os
        from crystallize import BasePlugin

        class Plugin(BasePlugin):
            def before_replicate(self, ctx):
                ctx.record("process", os.getpid())
    """
    tmp_plugin(
        "acme-guest", {"acme/__init__.py": "", "acme/guest.py": source}, {"guest": "acme.guest:Plugin"}
    )
    result = run_experiment(execution={"strategy": "process", "max_workers": 1}, installed="guest")
    import os

    assert os.getpid() not in result.metrics.baseline.metrics["process"]


def test_files_may_be_packages_of_any_depth_and_of_any_content(tmp_plugin) -> None:
    folder = tmp_plugin(
        "acme-deep",
        {"acme/__init__.py": "", "acme/sub/deep.py": "    here = 1\n", "acme/data.bin": b"\x00\xff"},
    )
    assert importlib.import_module("acme.sub.deep").here == 1
    assert (folder / "acme" / "data.bin").read_bytes() == b"\x00\xff"


def test_its_metadata_are_real_ones(tmp_plugin) -> None:
    tmp_plugin(
        "Acme.Meta",
        metadata={"Summary": "Does it", "Project-URL": ["Homepage, https://acme.invalid", "Source, s"]},
        groups={"acme.group": {"an entry": "json:dumps"}},
    )
    distribution = importlib_metadata.distribution("acme-meta")
    assert distribution.metadata["Summary"] == "Does it"
    assert distribution.metadata.get_all("Project-URL") == ["Homepage, https://acme.invalid", "Source, s"]
    (entry,) = distribution.entry_points
    assert (entry.group, entry.name, entry.load().__name__) == ("acme.group", "an entry", "dumps")


def test_it_can_be_made_without_being_installed(tmp_plugin, monkeypatch) -> None:
    folder = tmp_plugin("acme-later", plugins={"later": "later:x"}, on_path=False)
    assert "later" not in {each.name for each in find(PLUGINS)}
    monkeypatch.syspath_prepend(str(folder))
    assert "later" in {each.name for each in find(PLUGINS)}


def test_the_same_distribution_may_be_installed_twice(tmp_plugin) -> None:
    first, second = (tmp_plugin("acme-twice", plugins={f"entry{n}": "x:y"}) for n in (1, 2))
    assert first != second
    assert "entry2" in {each.name for each in find(PLUGINS)}


def test_an_entry_may_lead_nowhere(tmp_plugin) -> None:
    tmp_plugin("acme-nowhere", plugins={"nowhere": "no_such_module:thing"})
    assert "nowhere" in {each.name for each in find(PLUGINS)}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"name": ""}, "a distribution's name"),
        ({"name": "a b"}, "got 'a b'"),
        ({"name": "../up"}, "a distribution's name"),
        ({"name": "-a"}, "a distribution's name"),
        ({"name": 3}, "a distribution's name"),
        ({"version": "1/0"}, "a version"),
        ({"version": ""}, "a version"),
        ({"files": {"../up.py": ""}}, "inside of it"),
        ({"files": {"/up.py": ""}}, "inside of it"),
        ({"files": {"": ""}}, "inside of it"),
        ({"plugins": {"a=b": "x:y"}}, "one line without ="),
        ({"plugins": {"a": "x\ny"}}, "'module:attribute'"),
        ({"plugins": {"a": ""}}, "'module:attribute'"),
        ({"plugins": {"a": None}}, "'module:attribute'"),
        ({"groups": {"a]b": {}}}, "a group of entry points"),
        ({"groups": {"crystallize.loaders": ["x"]}}, "is a mapping"),
        ({"metadata": {"A": "b\nName: c"}}, "one line"),
    ],
)
def test_what_no_distribution_could_have_is_a_value_error(tmp_plugin, tmp_path, arguments, reason) -> None:
    before = list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=reason):
        tmp_plugin(**{"name": "acme", **arguments})
    assert list(tmp_path.iterdir()) == before


def test_after_the_test_it_is_as_if_it_had_never_been(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, sys
        from pathlib import Path

        import pytest
        from crystallize.discovery import LOADERS, find
        from crystallize.loaders import loader_for

        LOADER = '''
        class Loader:
            suffixes = (".acme",)
            def load(self, path): return {!r}
            def dump(self, value): return b""
        '''

        @pytest.mark.parametrize("number", [1, 2])
        def test_each_gets_its_own(tmp_plugin, number):
            assert not [name for name in sys.modules if name.startswith("acme")]
            assert "site-acme" not in os.environ.get("PYTHONPATH", "")
            assert not any("site-acme" in path for path in sys.path)
            assert "acme" not in {found.name for found in find(LOADERS)}
            tmp_plugin(
                "acme",
                {"acme/space/loader.py": LOADER.format(number)},
                groups={"crystallize.loaders": {"acme": "acme.space.loader:Loader"}},
            )
            assert loader_for("x.acme").load(Path("x")) == number
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=2)
    assert not [name for name in sys.modules if name.startswith("acme")]


@pytest.mark.parametrize("number", [1, 2])
def test_a_loader_of_the_same_name_is_another_one_in_the_next_test(tmp_plugin, number: int) -> None:
    source = f"""
        class Loader:
            suffixes = (".same",)
            def load(self, path): return {number}
            def dump(self, value): return b""
    """
    entries = {"crystallize.loaders": {"same": "same_loader:Loader"}}
    tmp_plugin("same", {"same_loader.py": source}, groups=entries)
    assert get_loader("same").load(Path("x")) == number
    assert loader_for("x.same").load(Path("x")) == number


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_wrong_is_told_in_every_test_anew(tmp_plugin, run_experiment, caplog, number: int) -> None:
    tmp_plugin("acme-broken", {"acme_broken.py": "1 / 0"}, plugins={"broken": "acme_broken:Plugin"})
    run_experiment(installed="acme-broken")
    assert "acme-broken 1.0 could not be loaded: ZeroDivisionError" in caplog.text
