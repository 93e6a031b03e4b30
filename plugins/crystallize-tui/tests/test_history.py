"""The screen of an experiment's earlier versions."""

from __future__ import annotations

import re
import shutil
from contextlib import chdir
from pathlib import Path

import pytest
from crystallize_tui.history import HistoryScreen

from crystallize.config.build import load_experiment
from crystallize.config.folders import folder_of
from crystallize.config.project import read_experiment
from crystallize.store.retention import pin

pytestmark = pytest.mark.usefixtures("warm_commands")

SIZE = (110, 40)
CONFIG = Path("experiments/make/config.yaml")


@pytest.fixture(scope="module")
def with_versions(made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project whose experiment ``make`` has run twice, with different settings."""
    folder = tmp_path_factory.mktemp("versions") / "project"
    shutil.copytree(made_project, folder)
    with chdir(folder):
        CONFIG.write_text(CONFIG.read_text().replace("factor: 2.0", "factor: 3.0"))
        load_experiment(CONFIG).run()
    return folder


@pytest.fixture
def versions(with_versions: Path) -> None:
    shutil.copytree(with_versions, Path.cwd(), dirs_exist_ok=True)


def screen_of(config: Path) -> HistoryScreen:
    return HistoryScreen(read_experiment(folder_of(config.absolute())))


async def test_the_versions_are_listed_and_their_means_stand_side_by_side(versions, open_ui):
    pin(Path("data/make/v0"))
    async with open_ui(size=SIZE) as ui:
        await ui.app.push_screen(screen_of(CONFIG))
        await ui.until("mean in v0")
        await ui.until("bigger")
        assert "complete, pinned" in ui.line("v0")
        assert ui.text.index("v1  ") < ui.text.index("v0  ")
        await ui.until(lambda: re.search(r"total +bigger +20 +14$", ui.text, re.MULTILINE) is not None)


async def test_d_tells_what_differs_between_a_version_and_the_one_before(versions, open_ui):
    async with open_ui(size=SIZE) as ui:
        await ui.app.push_screen(screen_of(CONFIG))
        await ui.until("mean in v0")
        await ui.press("d")
        await ui.until("steps.ScaleStep.parameters.factor: 2.0 -> 3.0")
        assert "code: no difference" in ui.text


async def test_space_marks_the_version_that_others_are_compared_with(versions, open_ui):
    async with open_ui(size=SIZE) as ui:
        await ui.app.push_screen(screen_of(CONFIG))
        await ui.until("mean in v0")
        await ui.press("down", "d")
        assert "There is no version before this one." in ui.text
        await ui.press("up", "space")
        assert "* v1" in " ".join(ui.text.split())
        await ui.press("down", "d")
        await ui.until("factor: 2.0 -> 3.0")
        await ui.press("up", "space")
        assert "*" not in ui.text


async def test_v_verifies_a_version_in_a_process_of_its_own(versions, open_ui):
    async with open_ui(size=SIZE) as ui:
        await ui.app.push_screen(screen_of(CONFIG))
        await ui.until("mean in v0")
        await ui.press("v")
        await ui.until("\nPASS\n")
        assert "9 outcomes are the same, to the last bit." in ui.text
        await ui.press("down", "v")
        await ui.until("INCONCLUSIVE")


async def test_an_experiment_without_runs_says_so(project, open_ui):
    async with open_ui(size=SIZE) as ui:
        await ui.app.push_screen(screen_of(project / "use" / "config.yaml"))
        await ui.until("no run is stored yet")
        await ui.press("d", "v", "space", "r")
        await ui.press("escape")
        assert not isinstance(ui.app.screen, HistoryScreen)


async def test_a_broken_config_is_told(project, open_ui):
    async with open_ui(size=SIZE) as ui:
        await ui.app.push_screen(screen_of(project / "torn" / "config.yaml"))
        await ui.until("config.yaml:3")


async def test_a_version_that_cannot_be_read_does_not_hide_the_others(versions, open_ui):
    Path("data/make/v0/journal.jsonl").write_bytes(b"nonsense\n")
    async with open_ui(size=SIZE) as ui:
        await ui.app.push_screen(screen_of(CONFIG))
        await ui.until("mean in v1")
        await ui.until("cannot be read")
        await ui.press("d")
        await ui.until("the file is no journal of a run")
