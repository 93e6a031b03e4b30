"""The shape of the project: floors, public names, costs of imports, dependencies, documentation."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import grimp
import importlib_metadata
import pytest

import crystallize
from crystallize import hookspecs
from crystallize.plugins.base import HOOK_NAMES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "crystallize"
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT.get("optional-dependencies", {})


def normalised(requirement: str) -> str:
    """Return the name of the distribution that a requirement asks for."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def third_party_imports(source: Path) -> Iterator[str]:
    """Yield the top-level name of each import that is neither ours nor the standard library's."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "crystallize":
                yield top


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    return importlib_metadata.packages_distributions()


def distribution_of(module: str) -> str:
    owners = _owners().get(module)
    assert owners, f"{module} is imported and no installed distribution provides it"
    return normalised(owners[0])


def documentation() -> dict[str, str]:
    """Return the pages of the documentation, as they stand in the repository."""
    return {
        page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")
    }


# -- imports -----------------------------------------------------------------------------------------------


def test_no_import_runs_upwards_and_no_two_modules_import_each_other() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_circle_of_imports_whether_for_typing_or_inside_functions() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    allowed = {tuple(each.split(" -> ")) for one in listed["contracts"] for each in one["ignore_imports"]}
    graph = grimp.build_graph("crystallize", exclude_type_checking_imports=False, cache_dir=None)
    imports = {
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    } - allowed
    while True:  # what nobody imports, or imports nothing, is in no circle
        importers, imported = {each for each, _ in imports}, {each for _, each in imports}
        left = {pair for pair in imports if pair[0] in imported and pair[1] in importers}
        if left == imports:
            break
        imports = left
    assert imports == set()


def imported_after(run_python, code: str) -> set[str]:
    return set(run_python(f"{code}\nimport sys\nprint(*sys.modules, sep='\\n')", fresh=True).stdout.split())


def test_importing_crystallize_is_cheap(run_python) -> None:
    modules = imported_after(run_python, "import crystallize")
    costly = {"numpy", "scipy", "pandas", "typer", "rich", "pluggy", "yaml", "asyncio", "multiprocessing"}
    assert not modules & costly


def test_building_an_experiment_does_not_import_numpy(run_python) -> None:
    code = """
from crystallize import Experiment, Hypothesis, Pipeline, Treatment, pipeline_step, verifier

@pipeline_step()
def add(data, *, amount=1):
    return data + amount, {"total": data + amount}

@verifier
def higher(baseline, treatment):
    return {"p_value": 0.5}

Experiment(
    datasource=lambda: 1,
    pipeline=Pipeline([add()]),
    treatments=[Treatment("more", {"amount": 2})],
    hypotheses=[Hypothesis(higher(), metrics="total")],
)
"""
    modules = imported_after(run_python, code)
    assert not modules & {"numpy", "scipy", "pandas", "rich", "typer", "asyncio", "multiprocessing"}


def test_every_third_party_import_is_a_declared_and_argued_dependency() -> None:
    declared = {normalised(requirement) for requirement in PROJECT["dependencies"]}
    optional = {normalised(requirement) for extra in EXTRAS.values() for requirement in extra}
    argued = (DOCS / "explanation" / "dependencies.md").read_text(encoding="utf-8").lower()
    used = set()
    for source in PACKAGE.rglob("*.py"):
        for module in third_party_imports(source):
            name = distribution_of(module)
            used.add(name)
            assert name in declared | optional, (
                f"{source.relative_to(ROOT)} imports {module}, which is not declared"
            )
    for name in declared | optional:
        assert f"`{name}`" in argued, f"dependencies.md does not say what {name} is for"
        assert name in used, f"nothing imports {name}"


# -- public names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", crystallize.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    found = getattr(crystallize, name)
    if inspect.isclass(found) or inspect.isroutine(found):
        assert found.__doc__, f"{name} has no docstring"


def test_public_names_are_listed_once_and_by_dir() -> None:
    assert len(set(crystallize.__all__)) == len(crystallize.__all__)
    assert set(crystallize.__all__) <= set(dir(crystallize))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        crystallize.no_such_name  # noqa: B018


# -- hooks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOOK_NAMES)
def test_a_hook_says_where_it_runs_and_what_happens_if_it_raises(name: str) -> None:
    doc = inspect.getdoc(getattr(hookspecs, name)) or ""
    assert "*Runs in:*" in doc
    assert "*If it raises:*" in doc


def test_base_plugin_has_exactly_the_hooks_of_the_specification() -> None:
    specified = [name for name in vars(hookspecs) if hasattr(getattr(hookspecs, name), "crystallize_spec")]
    assert sorted(specified) == sorted(HOOK_NAMES)
    for name in HOOK_NAMES:
        method = getattr(importlib.import_module("crystallize.plugins.base").BasePlugin, name)
        assert list(inspect.signature(method).parameters)[1:] == arguments(name)


def arguments(hook: str) -> list[str]:
    return list(inspect.signature(getattr(hookspecs, hook)).parameters)


@pytest.mark.parametrize("page", ["explanation/lifecycle.md", "reference/hooks.md"])
def test_every_hook_is_documented_with_its_exact_arguments(page: str, api: ModuleType) -> None:
    text = api.with_table_of_hooks(documentation()[page])
    for name in HOOK_NAMES:
        assert f"`{name}({', '.join(arguments(name))})`" in text, f"{page} lacks {name} as it is specified"
    for written in re.findall(r"`(\w+)\([\w, ]*\)`", text):
        assert written in HOOK_NAMES or not written.startswith(("before_", "after_")), (
            f"{page}: {written} is no hook"
        )


# -- names that the documentation must not forget ----------------------------------------------------------


def test_every_environment_variable_is_documented() -> None:
    used = set()
    for source in PACKAGE.rglob("*.py"):
        used |= set(re.findall(r"CRYSTALLIZE_[A-Z_]+[A-Z]", source.read_text(encoding="utf-8")))
    page = documentation()["reference/environment.md"]
    assert used == set(re.findall(r"CRYSTALLIZE_[A-Z_]+[A-Z]", page))


def test_every_entry_point_of_ours_is_in_the_reference() -> None:
    pages = {
        "crystallize.plugins": "reference/plugins.md",
        "pytest11": "reference/testing.md",
        "crystallize.execution": "reference/execution.md",
        "crystallize.hashers": "reference/hashing.md",
        "crystallize.loaders": "reference/loaders.md",
        "crystallize.verifiers": "reference/hypotheses.md",
    }
    for group, entries in PROJECT["entry-points"].items():
        for name in entries:
            assert f"`{name}`" in documentation()[pages[group]], f"{pages[group]} lacks {name} of {group}"


def options_of(command: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield each option of a command and of its subcommands, with the path of its command."""
    import typer

    for parameter in command.params:
        yield from ((path, option) for option in parameter.opts if option.startswith("-"))
    if hasattr(command, "list_commands"):
        ctx = typer.Context(command)
        for name in command.list_commands(ctx):
            yield from options_of(command.get_command(ctx, name), f"{path} {name}")


def test_every_command_and_option_is_documented_in_its_section() -> None:
    import typer.main

    from crystallize.cli.app import BUILT_IN, app

    first, *others = re.split(r"^## ", documentation()["reference/command-line.md"], flags=re.MULTILINE)
    sections = {"crystallize": first} | {text.partition("\n")[0]: text for text in others}
    options = list(options_of(typer.main.get_command(app), "crystallize"))
    assert {path.split()[1] for path, _ in options if " " in path} == set(BUILT_IN)
    listed = re.findall(r"^\| \[`(crystallize [a-z ]+)`\]", first, flags=re.MULTILINE)
    groups = {path.rpartition(" ")[0] for path in sections}
    commands = [path for path in sections if path not in groups]
    assert sorted(listed) == sorted(commands), "the table at the top and the sections"
    for path, option in options:
        assert path in sections, f"the command {path} has no section"
        if option != "--help":
            documented = re.search(rf"`{re.escape(option)}`", sections[path])
            assert documented, f"the option {option} of {path} is not documented"
