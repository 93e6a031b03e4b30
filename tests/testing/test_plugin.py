"""The pytest plugin as other projects see it: each test here is a project of its own, run by its own pytest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import crystallize.testing

if TYPE_CHECKING:
    from tests.testing.conftest import RunPytest

LIST_MODULES = """
    import json, sys
    from pathlib import Path

    def test_it():
        Path("modules.json").write_text(json.dumps(sorted(sys.modules)))
"""


def modules_of(run_pytest: RunPytest, folder: Path, *arguments: str) -> set[str]:
    """Return what is imported in a test run that uses nothing of ours."""
    assert "1 passed" in run_pytest(*arguments, files={"test_it.py": LIST_MODULES}, fresh=True).stdout
    return set(json.loads((folder / "project" / "modules.json").read_text()))


def test_a_test_run_that_uses_nothing_of_it_imports_three_small_modules(
    run_pytest: RunPytest, tmp_path: Path
) -> None:
    without = modules_of(run_pytest, tmp_path, "-p", "no:crystallize")
    assert not any(name.startswith("crystallize") for name in without)
    assert modules_of(run_pytest, tmp_path) - without == {
        "crystallize",
        "crystallize.testing",
        "crystallize.testing.plugin",
    }


def test_where_plugins_are_not_loaded_by_themselves_it_is_asked_for(
    run_pytest: RunPytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    test = """
        def test_it(run_experiment, hook_recorder, plugin_manager, tmp_plugin):
            assert run_experiment(hook_recorder).replicates == 2
            assert plugin_manager(hook_recorder).records
    """
    assert "1 error in" in run_pytest(files={"test_it.py": test}).stdout
    assert "1 passed in" in run_pytest("-p", "crystallize.testing.plugin", files={"test_it.py": test}).stdout


def test_every_fixture_explains_itself(run_pytest: RunPytest) -> None:
    shown = run_pytest("--fixtures", "-q", files={}).stdout
    for fixture in ("plugin_manager", "hook_recorder", "tmp_plugin", "run_experiment"):
        section = shown.partition(f"\n{fixture} -- ")[2]
        assert section.splitlines()[1].startswith("    "), f"{fixture} has no docstring"


def test_a_contract_that_fails_shows_the_values(run_pytest: RunPytest) -> None:
    test = """
        import pytest
        from crystallize.testing import LoaderContract

        class Loader:
            suffixes = (".Upper",)

        class TestLoader(LoaderContract):
            @pytest.fixture
            def loader(self):
                return Loader()
    """
    printed = run_pytest("-k", "suffixes", files={"test_it.py": test}, fresh=True).stdout
    assert "assert '.Upper' == '.upper'" in printed
    assert "PytestAssertRewriteWarning" not in printed


def test_a_contract_with_nothing_to_check_fails(run_pytest: RunPytest) -> None:
    test = """
        import pytest
        from crystallize.loaders import get_loader
        from crystallize.testing import LoaderContract

        class TestLoader(LoaderContract):
            @pytest.fixture
            def loader(self):
                return get_loader("json")
    """
    printed = run_pytest("-k", "dumped_is_loaded", files={"test_it.py": test}).stdout
    assert "TestLoader.values is empty" in printed


# -- the module --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", crystallize.testing.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(crystallize.testing, name).__doc__
    assert name in dir(crystallize.testing)


@pytest.mark.parametrize("name", crystallize.testing.__all__)
def test_a_public_name_is_in_the_reference(name: str, api) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "testing.md"
    directives = api.DIRECTIVE.finditer(page.read_text(encoding="utf-8"))
    assert f"crystallize.testing.{name}" in [found[1] for found in directives]
    assert api.render(f"crystallize.testing.{name}").startswith(f"## {name}")


def test_what_a_contract_asks_is_in_the_reference(api) -> None:
    for name in ("ExecutionStrategyContract", "WorkerProcessesContract", "LoaderContract"):
        contract = getattr(crystallize.testing, name)
        tests = [test for test in vars(contract) if test.startswith("test_")]
        rendered = api.render(f"crystallize.testing.{name}")
        assert tests
        assert [test for test in tests if test not in rendered] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        crystallize.testing.no_such_name  # noqa: B018


def test_without_pytest_a_contract_says_what_to_install(run_python) -> None:
    code = """
        import sys
        sys.modules["pytest"] = None  # what Python does not find
        import crystallize.testing
        from crystallize.testing import HookRecorder
        try:
            from crystallize.testing import LoaderContract
        except ImportError as error:
            print(error)
    """
    from textwrap import dedent

    printed = run_python(dedent(code), fresh=True).stdout
    assert "crystallize.testing.LoaderContract" in printed
    assert "pip install pytest" in printed


def test_workers_need_no_pytest(run_python) -> None:
    run_python("import crystallize.testing.subjects, sys; assert 'pytest' not in sys.modules", fresh=True)
    assert "pytest" in sys.modules
