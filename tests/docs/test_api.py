"""The script that fills the reference pages from docstrings."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

from crystallize import hookspecs
from crystallize.plugins.base import HOOK_NAMES


def test_a_directive_becomes_the_documentation_of_its_object(api: ModuleType) -> None:
    page = api.on_page_markdown("# Title\n\n::: crystallize.Treatment\n\nText.\n")
    assert page.startswith("# Title\n\n## Treatment { #crystallize.Treatment }\n")
    assert "### Treatment.describe" in page
    assert page.endswith("\n\nText.\n")


def test_a_module_gives_what_it_defines_and_not_what_it_imports(api: ModuleType) -> None:
    text = api.render("crystallize.errors")
    assert "## CrystallizeError { #crystallize.errors.CrystallizeError }" in text
    assert "## PluginLoadError { #crystallize.errors.PluginLoadError }" in text
    assert "annotations" not in text


def test_an_object_that_is_not_there_is_an_error(api: ModuleType) -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        api.render("crystallize.no_such_thing")


def test_parameters_become_a_list_of_definitions(api: ModuleType) -> None:
    doc = (
        "Do it.\n\nParameters\n----------\nx, y : int\n    Two numbers.\n\n    Or one.\n\nNotes\n-----\nMore."
    )
    assert api.to_markdown(doc) == (
        "Do it.\n\n**Parameters**\n\n\n`x, y` : int\n\n:   Two numbers.\n\n    Or one.\n\nMore."
    )


def test_roles_become_code_and_examples_are_fenced(api: ModuleType) -> None:
    doc = "See :class:`~crystallize.Result` and ``None``.\n\nExamples\n--------\n>>> 1 + 1\n2\n\nDone."
    assert api.to_markdown(doc) == (
        "See `crystallize.Result` and `None`.\n\n**Examples**\n\n```python\n>>> 1 + 1\n2\n```\n\nDone."
    )


def test_a_long_signature_is_written_over_several_lines(api: ModuleType) -> None:
    text = api.render("crystallize.Experiment")
    assert "Experiment(\n    datasource: Any,\n" in text
    assert "\n    *,\n    name: str | None = None,\n" in text
    assert "artifact_datasource(\n    step: str,\n" in text


def test_a_directive_may_name_the_members_that_are_shown(api: ModuleType) -> None:
    page = api.on_page_markdown("::: crystallize.Pipeline: run, arun")
    assert re.findall(r"### Pipeline\.(\w+)", page) == ["run", "arun"]
    with pytest.raises(KeyError, match="no_such_thing"):
        api.on_page_markdown("::: crystallize.Pipeline: run, no_such_thing")


def test_a_default_that_is_a_class_or_stands_for_nothing_given_is_written_as_such(api: ModuleType) -> None:
    text = api.render("crystallize.Experiment")
    assert "aggregator: type[ResultAggregator] = ResultAggregator," in text
    assert "data: Any = ..." in text
    assert "shared_inputs: Mapping[str, int] = ...," in api.render("crystallize.results.effects.Effects")


def test_the_values_that_a_parameter_may_have_are_code(api: ModuleType) -> None:
    doc = 'Do it.\n\nParameters\n----------\norder : {"a", "b"}, default "a"\n    The order.'
    assert '`order` : `{"a", "b"}`, default "a"' in api.to_markdown(doc)


def test_fields_of_a_named_tuple_have_their_types(api: ModuleType) -> None:
    assert "\n    low: float | None = None,\n" in api.render("crystallize.statistics.stopping.report.Finding")


def test_a_method_with_underscores_keeps_them_in_its_heading(api: ModuleType) -> None:
    heading = r"### RunExperiment.\_\_call\_\_ { #crystallize.testing.RunExperiment.call }"
    assert heading in api.render("crystallize.testing.RunExperiment")


def test_the_tests_of_a_contract_are_a_list(api: ModuleType) -> None:
    text = api.render("crystallize.testing.LoaderContract")
    assert "\n* `test_dump_gives_bytes`: Text has an encoding" in text
    assert "### LoaderContract.test_" not in text


def test_a_protocol_has_methods_and_no_signature(api: ModuleType) -> None:
    text = api.render("crystallize.ExecutionStrategy")
    assert "args" not in text
    assert "### ExecutionStrategy.run_experiment_loop" in text


def test_the_table_of_hooks_has_each_specification_in_the_order_of_a_run(api: ModuleType) -> None:
    page = api.on_page_markdown("# Hooks\n\n::: table-of-hooks\n\nText.\n")
    assert page.startswith("# Hooks\n\n| hook | runs in | what it is for |\n|---|---|---|\n")
    assert page.endswith("|\n\nText.\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()[4:-2]]
    names = [row[0].strip("`").partition("(")[0] for row in rows]
    assert names == list(HOOK_NAMES)
    for name, (written, runs_in, purpose) in zip(names, rows, strict=True):
        specification = getattr(hookspecs, name)
        assert written == f"`{name}({', '.join(inspect.signature(specification).parameters)})`"
        assert runs_in == hookspecs.RUNS_IN[name]
        assert purpose.startswith(specification.__doc__.splitlines()[0])
        assert ("firstresult" in purpose) is bool(specification.crystallize_spec["firstresult"])
        place = "worker" if runs_in == "worker" else "coordinator"
        assert re.search(rf"\*Runs in:\* the {place}", specification.__doc__), "the docstring says otherwise"


def test_the_table_of_hooks_is_made_of_the_specifications(
    api: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def before_run(experiment: object, reason: str) -> None:
        """Prepare for a run."""

    monkeypatch.setattr(hookspecs, "before_run", hookspecs.hookspec(before_run))
    assert "| `before_run(experiment, reason)` | coordinator |" in api.with_table_of_hooks(
        "::: table-of-hooks"
    )
