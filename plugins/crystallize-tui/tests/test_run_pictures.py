"""How the run screen, the summary, an artifact and the history look: each screen at both sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from crystallize_tui.history import HistoryScreen
from crystallize_tui.run_screen import RunScreen

from crystallize.config.folders import folder_of
from crystallize.config.project import read_experiment

SIZES = [(80, 24), (200, 60)]


def experiment(config: Path):
    return read_experiment(folder_of(config.absolute()))


@pytest.mark.parametrize("size", SIZES)
async def test_the_run_screen_and_its_summary(project, open_ui, same_screen, size):
    name = f"{size[0]}x{size[1]}"
    async with open_ui(size=size) as ui:
        await ui.app.push_screen(RunScreen(experiment(project / "make" / "config.yaml")))
        await ui.until("3/3")
        await same_screen(f"run-{name}", ui)
        await ui.press("S")
        await ui.until("total.json")
        await same_screen(f"summary-{name}", ui)
        await ui.press("enter")
        await ui.until("o: open it")
        await same_screen(f"artifact-{name}", ui)


@pytest.mark.parametrize("size", SIZES)
async def test_a_graph_and_its_errors(project, open_ui, same_screen, size):
    name = f"{size[0]}x{size[1]}"
    async with open_ui(size=size) as ui:
        await ui.app.push_screen(RunScreen(experiment(project / "use" / "config.yaml")))
        await ui.until("use: no run yet")
        await same_screen(f"run-graph-{name}", ui)
        await ui.press("E")
        await ui.until("Nothing has failed.")
        (project / "use" / "config.yaml").write_text("steps: 3\n")
        await ui.press("R")
        await ui.until("config.yaml:1:1")
        await same_screen(f"run-errors-{name}", ui)


@pytest.mark.parametrize("size", SIZES)
async def test_the_history(project, open_ui, same_screen, size):
    async with open_ui(size=size) as ui:
        await ui.app.push_screen(HistoryScreen(experiment(project / "make" / "config.yaml")))
        await ui.until("mean in v0")
        await same_screen(f"history-{size[0]}x{size[1]}", ui)


@pytest.mark.parametrize("theme", ["textual-light", "ansi-dark", "ansi-light"])
async def test_every_theme_shows_the_same(project, open_ui, same_screen, theme):
    async with open_ui() as ui:
        ui.app.theme = theme
        await ui.app.push_screen(RunScreen(experiment(project / "make" / "config.yaml")))
        await ui.until("3/3")
        await same_screen("run-80x24", ui)


async def test_a_run_whose_metadata_are_those_of_another_tool_does_not_break_the_screen(project, open_ui):
    metadata = Path("data/make/v0/metadata.json")
    metadata.write_text(json.dumps({"status": "\x1b[2J", "conditions": 3, "replicates": "many"}))
    async with open_ui() as ui:
        await ui.app.push_screen(RunScreen(experiment(project / "make" / "config.yaml")))
        await ui.until("v0 is damaged: l and R run it anew")
        await ui.press("S", "h")
        await ui.until("damaged")
