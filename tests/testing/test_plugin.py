"""The pytest plugin as other projects see it: each test here is a project of its own, run by its own pytest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import crystallize.testing

pytest_plugins = ["pytester"]

LIST_MODULES = """
    import json, sys
    from pathlib import Path

    def test_it():
        Path("modules.json").write_text(json.dumps(sorted(sys.modules)))
"""


def modules_of(pytester: pytest.Pytester, *arguments: str) -> set[str]:
    """Return what is imported in a test run that uses nothing of ours."""
    pytester.makepyfile(LIST_MODULES)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments).assert_outcomes(passed=1)
    return set(json.loads(Path("modules.json").read_text()))


def test_a_test_run_that_uses_nothing_of_it_imports_three_small_modules(pytester: pytest.Pytester) -> None:
    without = modules_of(pytester, "-p", "no:crystallize")
    assert not any(name.startswith("crystallize") for name in without)
    assert modules_of(pytester) - without == {
        "crystallize",
        "crystallize.testing",
        "crystallize.testing.plugin",
    }


def test_where_plugins_are_not_loaded_by_themselves_it_is_asked_for(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        def test_it(run_experiment, hook_recorder, plugin_manager, tmp_plugin):
            assert run_experiment(hook_recorder).replicates == 2
            assert plugin_manager(hook_recorder).records
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(errors=1)
    pytester.runpytest_subprocess("-p", "crystallize.testing.plugin").assert_outcomes(passed=1)


def test_every_fixture_explains_itself(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest_subprocess("--fixtures", "-q").stdout.str()
    for fixture in ("plugin_manager", "hook_recorder", "tmp_plugin", "run_experiment"):
        section = shown.partition(f"\n{fixture} -- ")[2]
        assert section.splitlines()[1].startswith("    "), f"{fixture} has no docstring"


def test_a_contract_that_fails_shows_the_values(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from crystallize.testing import LoaderContract

        class Loader:
            suffixes = (".Upper",)

        class TestLoader(LoaderContract):
            @pytest.fixture
            def loader(self):
                return Loader()
        """
    )
    result = pytester.runpytest_subprocess("-k", "suffixes")
    result.stdout.fnmatch_lines(["*assert '.Upper' == '.upper'*"])
    assert "PytestAssertRewriteWarning" not in result.stdout.str()


def test_a_contract_with_nothing_to_check_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from crystallize.loaders import get_loader
        from crystallize.testing import LoaderContract

        class TestLoader(LoaderContract):
            @pytest.fixture
            def loader(self):
                return get_loader("json")
        """
    )
    result = pytester.runpytest_subprocess("-k", "dumped_is_loaded")
    result.stdout.fnmatch_lines(["*TestLoader.values is empty*"])


# -- the module --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", crystallize.testing.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(crystallize.testing, name).__doc__
    assert name in dir(crystallize.testing)


@pytest.mark.parametrize("name", crystallize.testing.__all__)
def test_a_public_name_is_in_the_reference(name: str, api) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "testing.md"
    assert f"crystallize.testing.{name}" in api.DIRECTIVE.findall(page.read_text(encoding="utf-8"))
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
