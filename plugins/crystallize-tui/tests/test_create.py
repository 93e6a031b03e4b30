"""Create New Experiment: what the form says while it is filled in, and what it makes."""

from __future__ import annotations

import pytest
from crystallize_tui.create import CreateScreen
from crystallize_tui.selection import SelectionScreen
from textual.widgets import Checkbox

from crystallize import ExperimentGraph
from crystallize.config.reader import read_config


async def tick(ui, label: str) -> None:
    """Go to the checkbox with a label and press the space bar."""
    box = next(box for box in ui.app.screen.query(Checkbox) if str(box.label).startswith(label))
    box.focus()
    await ui.press("space")


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_the_form_shows_what_can_be_chosen(project, open_ui, same_screen, size):
    async with open_ui(size=size) as ui:
        await ui.press("n")
        assert isinstance(ui.app.screen, CreateScreen)
        await ui.press(*"fresh")
        await tick(ui, "Use outputs")
        await same_screen(f"create-{size[0]}x{size[1]}", ui)
        assert "Back" in ui.text  # all of it fits


async def test_a_name_is_enough_and_the_result_runs_as_it_is(open_ui):
    async with open_ui() as ui:
        await ui.press("n", *"first", "enter")
        assert isinstance(ui.app.screen, SelectionScreen)
        assert "Made experiments/first" in ui.notices[-1]
        assert ui.app.screen.experiments.experiment.name == "first"
        assert "never run" in ui.text
    ExperimentGraph.from_yaml("experiments/first/config.yaml").run()["first"].raise_for_errors()


async def test_the_name_is_judged_with_each_key(project, open_ui):
    async with open_ui(size=(200, 60)) as ui:
        await ui.press("n")
        for name, told in (
            ("make", "exists already"),
            ("a/b", "a/b"),
            (".hidden", "as hidden folders and options do"),
            ("a#b", "stands between an experiment and its artifact"),
        ):
            await ui.type(name)
            await ui.until_told(told)
            await ui.press("ctrl+s")
            assert isinstance(ui.app.screen, CreateScreen)
        await ui.type("fine")
        await ui.until_told("fine will do.")
        await ui.press("ctrl+s")
        assert isinstance(ui.app.screen, SelectionScreen)


async def test_outputs_of_others_become_entries_of_the_data_source_and_the_result_runs(project, open_ui):
    async with open_ui() as ui:
        await ui.press("n", *"after")
        await tick(ui, "Use outputs from other experiments")
        await tick(ui, "make#total")
        await ui.press("ctrl+s")
        assert "after make" in ui.text
    references = read_config(project / "after").references()
    assert [f"{each.experiment}#{each.artifact}" for each in references] == ["make#total"]
    ExperimentGraph.from_yaml(project / "after" / "config.yaml").run()["after"].raise_for_errors()


async def test_to_use_outputs_is_to_choose_at_least_one(project, open_ui):
    async with open_ui() as ui:
        await ui.press("n", *"after")
        await tick(ui, "Use outputs from other experiments")
        await ui.press("ctrl+s")
        assert "Tick at least one output" in ui.text
        assert not (project / "after").exists()


async def test_where_none_has_outputs_there_is_nothing_to_use(open_ui):
    async with open_ui() as ui:
        await ui.press("n")
        assert "none has outputs" in ui.text


async def test_the_example_and_more_files_are_made_on_demand(project, open_ui):
    async with open_ui() as ui:
        await ui.press("n", *"rich")
        await ui.until_told("Makes config.yaml, datasources.py, steps.py.")
        await tick(ui, "Example code")
        await ui.until_told("outputs.py, verifiers.py")
        await tick(ui, "hooks.py")
        await ui.press("ctrl+s")
    made = {file.name for file in (project / "rich").iterdir()}
    assert made == {"config.yaml", "datasources.py", "steps.py", "outputs.py", "verifiers.py", "hooks.py"}
    ExperimentGraph.from_yaml(project / "rich" / "config.yaml").run()["rich"].raise_for_errors()


@pytest.mark.parametrize("keys", [["escape"], ["up", "enter"]])
async def test_escape_and_the_button_go_back_and_make_nothing(project, open_ui, keys):
    async with open_ui() as ui:
        await ui.press("n", *"never", *keys)
        assert isinstance(ui.app.screen, SelectionScreen)
    assert not (project / "never").exists()


async def test_the_button_makes_it(project, open_ui):
    async with open_ui() as ui:
        await ui.press("n", *"pressed", "up", "up", "enter")
        assert isinstance(ui.app.screen, SelectionScreen)
    assert (project / "pressed" / "config.yaml").exists()


async def test_a_full_disk_is_told_and_nothing_is_left_behind(project, open_ui, full_disk):
    async with open_ui() as ui:
        await ui.press("n", *"large")
        with full_disk():
            await ui.press("ctrl+s")
        assert isinstance(ui.app.screen, CreateScreen)
        assert "cannot be made" in ui.text
    assert not (project / "large").exists()
