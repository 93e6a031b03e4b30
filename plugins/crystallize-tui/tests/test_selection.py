"""The first screen: what it shows of the experiments on disk, and what its keys do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from crystallize_tui.footer import KeyFooter
from crystallize_tui.history import HistoryScreen
from crystallize_tui.keys import KeysScreen
from crystallize_tui.run_screen import RunScreen
from crystallize_tui.selection import ErrorsScreen, SelectionScreen
from crystallize_tui.trees import go_to

SIZES = [(80, 24), (200, 60)]


# -- what is shown -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_the_experiments_are_listed_by_group_with_their_last_runs(project, open_ui, same_screen, size):
    async with open_ui(size=size) as ui:
        assert "complete, 3 h ago" in ui.line("make")
        assert "never" in ui.line("use")
        assert "📈" in ui.line("use")
        await same_screen(f"selection-{size[0]}x{size[1]}", ui)


async def test_the_details_are_those_of_the_experiment_under_the_cursor(project, open_ui):
    async with open_ui() as ui:
        assert "3 replicates: baseline, bigger, smaller" in ui.text
        assert "v0 complete" in ui.text
        assert "the next takes ~2 min" in ui.text
        await ui.press("down", "down")
        assert "Read what make has published" in ui.text
        assert "after make" in ui.text


async def test_the_settings_of_the_baseline_are_no_treatment_of_the_list(project, open_ui):
    config = project / "make/config.yaml"
    config.write_text(config.read_text().replace("treatments:", "treatments:\n  baseline: {offset: 1}"))
    async with open_ui() as ui:
        assert re.search(r"make +3 +2 ", ui.line("make"))
        assert "3 replicates: baseline, bigger, smaller" in ui.text
        assert "the next takes ~2 min" in ui.text


async def test_a_run_that_was_resumed_tells_nothing_of_how_long_the_next_takes(project, open_ui):
    metadata = Path("data/make/v0/metadata.json")
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"duration": 3.0}))
    async with open_ui() as ui:
        assert "v0 complete" in ui.text
        assert "the next takes" not in ui.text


async def test_no_module_of_the_user_is_imported(project, open_ui):
    for module in project.glob("*/*.py"):
        module.write_text("import pathlib; pathlib.Path('imported').touch()")
    async with open_ui() as ui:
        await ui.press("down", "down", "r")
    assert not Path("imported").exists()


async def test_hidden_experiments_are_counted_and_shown_on_demand(project, open_ui):
    async with open_ui() as ui:
        assert "1 hidden" in ui.text
        assert "secret" not in ui.text
        await ui.press("H")
        assert "secret" in ui.text
        await ui.press("H")
        assert "secret" not in ui.text


async def test_a_run_that_failed_tells_how_many_outcomes_did(project, open_ui):
    metadata = Path("data/make/v0/metadata.json")
    metadata.write_text(re.sub(r'"failed_outcomes": *0', '"failed_outcomes": 4', metadata.read_text()))
    async with open_ui() as ui:
        assert "4 failed" in ui.line("make")


async def test_runs_that_cannot_be_read_are_told_and_the_others_are_shown(project, open_ui):
    Path("data/make").rename("elsewhere")
    Path("data/make").symlink_to(Path("elsewhere").absolute())
    async with open_ui() as ui:
        assert "unreadable" in ui.line("make")
        assert "never" in ui.line("use")
        assert "link" in ui.text  # the details say why


@pytest.mark.parametrize("size", SIZES)
async def test_a_project_without_experiments_is_welcomed(open_ui, same_screen, size):
    async with open_ui(size=size) as ui:
        assert "Press n to make the first one" in ui.text
        await same_screen(f"welcome-{size[0]}x{size[1]}", ui)
        await ui.press("down", "enter", "h", "e")  # there is nothing to act on
        assert "Press n to make the first one" in ui.text
        Path("experiments/a").mkdir(parents=True)
        Path("experiments/a/config.yaml").write_text("datasource: x\nsteps: [y]\n")
        await ui.press("r", "h")
        assert isinstance(ui.app.screen, HistoryScreen)


async def test_if_all_are_hidden_the_key_that_shows_them_is_told(project, open_ui):
    for name in ("make", "use", "torn"):
        shutil.rmtree(project / name)
    async with open_ui() as ui:
        assert "Press H to see them" in ui.text
        await ui.press("H")
        assert "secret" in ui.text


async def test_a_pyproject_that_cannot_be_read_is_told_with_its_place(project, open_ui):
    Path("pyproject.toml").write_text("[tool.crystallize\n")
    async with open_ui() as ui:
        assert "pyproject.toml" in ui.text
        assert "Press r to look again" in ui.text
        Path("pyproject.toml").unlink()
        await ui.press("r")
        assert "Make numbers" in ui.text


async def test_a_name_that_would_steer_the_terminal_is_an_error_that_is_shown_harmless(project, open_ui):
    (project / "use" / "config.yaml").write_text('name: "us\\e[31me"\ndatasource: x\nsteps: [look]\n')
    async with open_ui(size=(200, 60)) as ui:
        await ui.press("exclamation_mark")
        assert "\x1b" not in ui.text
        assert "us\\x1b[31me" in ui.text


async def test_what_would_steer_the_terminal_is_shown_harmless_and_markup_is_text(project, open_ui):
    (project / "use" / "config.yaml").write_text(
        'name: "[red]use"\ndescription: "[bold]loud\\e]0;title\\a[/bold]"\n'
        'datasource: {total: make#total}\nsteps: [look]\ncli: {group: "[b]G\\e[2J", icon: "\\e[5m", color: "\\e[7m"}\n'
    )
    async with open_ui(size=(200, 60)) as ui:
        await ui.press("down", "down")
        assert "\x1b" not in ui.text
        assert "\x07" not in ui.text
        assert "[red]use" in ui.text
        assert "[bold]loud\\x1b]0;title\\x07[/bold]" in ui.text
        assert "[b]G\\x1b[2J" in ui.text


# -- moving about --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_the_filter_shows_what_matches_with_each_key(project, open_ui, same_screen, size):
    async with open_ui(size=size) as ui:
        await ui.press_at_once("slash", *"publ")
        assert "Read what make has published" in ui.text
        assert "Basics" not in ui.text
        await same_screen(f"filter-{size[0]}x{size[1]}", ui)
        await ui.press("enter", "enter")
        assert isinstance(ui.app.screen, RunScreen)
        assert ui.app.screen.experiment.name == "use"


async def test_a_filter_that_nothing_matches_says_so_and_escape_clears_it(project, open_ui):
    async with open_ui() as ui:
        await ui.press("slash", *"zzz")
        assert "No experiment matches 'zzz'" in ui.text
        await ui.press("escape")
        assert "Make numbers" in ui.text
        assert "zzz" not in ui.text


async def test_the_filter_knows_treatments_and_groups(project, open_ui):
    async with open_ui() as ui:
        await ui.press("slash", *"SMALL basics")
        assert "Make numbers" in ui.text
        assert "Further" not in ui.text


async def test_enter_opens_and_closes_a_group_which_stays_so_after_a_refresh(project, open_ui):
    async with open_ui() as ui:
        await ui.press("up", "enter")
        assert not any(line.startswith("  *") for line in ui.text.splitlines())
        await ui.press("r")
        assert not any(line.startswith("  *") for line in ui.text.splitlines())


async def test_the_cursor_goes_to_a_line_that_was_added_just_now(project, open_ui):
    async with open_ui() as ui:
        tree = ui.app.screen.experiments
        added = tree.root.children[0].add_leaf("", tree.experiment)
        go_to(tree, added)
        assert tree.cursor_node is added


async def test_a_refresh_finds_what_is_new_and_keeps_the_cursor(project, open_ui):
    async with open_ui() as ui:
        await ui.press("down", "down")
        shutil.copytree(project / "make", project / "again")
        await ui.press("r")
        assert "again" in ui.text
        assert "Read what make has published" in ui.text


async def test_enter_runs_and_h_shows_the_history_of_the_experiment_under_the_cursor(project, open_ui):
    async with open_ui() as ui:
        await ui.press("h")
        assert isinstance(ui.app.screen, HistoryScreen)
        assert ui.app.screen.experiment.name == "make"
        await ui.press("escape", "enter")
        assert isinstance(ui.app.screen, RunScreen)
        assert ui.app.screen.experiment.name == "make"
        assert ui.app.screen.experiment.config == project / "make" / "config.yaml"


async def test_after_another_screen_the_runs_are_looked_at_again(project, open_ui):
    async with open_ui() as ui:
        await ui.press("h")
        shutil.rmtree("data")
        await ui.press("escape")
        assert "never" in ui.line("make")


@pytest.mark.parametrize("size", SIZES)
async def test_all_keys_are_told(project, open_ui, same_screen, size):
    async with open_ui(size=size) as ui:
        await ui.press("question_mark")
        assert isinstance(ui.app.screen, KeysScreen)
        for key in ["⏎", "h", "/", "n", "e", "r", "!", "H", "q", "?"]:
            assert any(line.startswith(f"{key} ") for line in ui.dialog), key
        await same_screen(f"keys-{size[0]}x{size[1]}", ui)
        await ui.press("escape")
        assert isinstance(ui.app.screen, SelectionScreen)


async def test_a_key_in_the_last_line_can_be_clicked_and_tells_more_under_the_mouse(project, open_ui):
    async with open_ui() as ui:
        column = ui.text.splitlines()[-1].index("History")
        await ui.pilot.hover(KeyFooter, offset=(column, 0))
        assert ui.app.screen.query_one(KeyFooter).tooltip == "Compare the earlier versions of the experiment"
        await ui.pilot.click(KeyFooter, offset=(column, 0))
        await ui.settled()
        assert isinstance(ui.app.screen, HistoryScreen)


# -- what is broken ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_load_errors_are_told_with_file_line_and_reason(project, open_ui, same_screen, size):
    (project / "use" / "config.yaml").write_text("steps: [\n")
    async with open_ui(size=size) as ui:
        assert "2 broken" in ui.text
        await ui.press("exclamation_mark")
        assert isinstance(ui.app.screen, ErrorsScreen)
        assert "experiments/torn/config.yaml:3:13: replicates: found the text 'ten'" in ui.told
        assert "experiments/use/config.yaml:2:1: this is not YAML" in ui.told
        await same_screen(f"errors-{size[0]}x{size[1]}", ui)


async def test_without_errors_their_key_is_not_offered(project, open_ui):
    shutil.rmtree(project / "torn")
    async with open_ui() as ui:
        assert "Errors" not in ui.text
        await ui.press("exclamation_mark")
        assert isinstance(ui.app.screen, SelectionScreen)


async def test_a_broken_experiment_is_not_run_and_its_errors_are_told(project, open_ui):
    async with open_ui() as ui:
        await ui.press("end", "enter")
        assert isinstance(ui.app.screen, ErrorsScreen)
        assert "found the text 'ten'" in ui.text


async def test_one_that_was_broken_since_is_not_run(project, open_ui):
    async with open_ui() as ui:
        (project / "make" / "config.yaml").write_text("steps: 3\n")
        await ui.press("enter")
        assert isinstance(ui.app.screen, ErrorsScreen)
        assert "steps" in ui.text


@pytest.mark.parametrize("key", ["enter", "h"])
async def test_one_that_was_deleted_since_is_told_to_be_gone(project, open_ui, key):
    async with open_ui() as ui:
        shutil.rmtree(project / "make")
        await ui.press(key)
        assert isinstance(ui.app.screen, SelectionScreen)
        assert "experiments/make/config.yaml is gone" in ui.notices[-1]
        await ui.press("r")
        assert "Make numbers" not in ui.text


async def test_no_content_of_a_config_takes_the_screen_down(project, open_ui):
    async with open_ui() as ui:
        for content in (b"", b"\xff\xfe\x00", b"- a\n- b\n", b"a: &a [*a]\n", b"\t\x1b\n"):
            (project / "use" / "config.yaml").write_bytes(content)
            await ui.press("r")
            assert "2 broken" in ui.text
            await ui.press(
                "exclamation_mark", "escape", "end", "up", "tab", "down", "a", "escape", "d", "escape"
            )
            assert "\x1b" not in ui.text


async def test_hundreds_of_experiments_are_listed(project, open_ui):
    for number in range(300):
        shutil.copytree(project / "use", project / f"many/use{number:03}")
    async with open_ui() as ui:
        assert "304 experiments" in ui.text
        await ui.press("slash", *"use299")
        assert "use299" in ui.line("use299")


# -- the editor ----------------------------------------------------------------------------------------------


async def test_where_the_terminal_cannot_be_handed_over_the_editor_is_refused(project, open_ui):
    async with open_ui() as ui:  # a test's terminal cannot; tests/test_terminal.py has one that can
        await ui.press("e")
        assert "cannot be handed to an editor" in ui.notices[-1]
