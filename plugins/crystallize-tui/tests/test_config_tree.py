"""The config.yaml in the details pane: its keys, and what its dialogs say."""

from __future__ import annotations

import pytest
from crystallize_tui.config_tree import ConfigTree, EditScreen
from crystallize_tui.selection import SelectionScreen

pytestmark = pytest.mark.usefixtures("warm_commands")


@pytest.fixture
def config(project):
    return project / "make" / "config.yaml"


async def go_to(ui, *labels: str) -> None:
    """Move the cursor of the config tree to a line that begins with each of some texts, one after the other."""
    tree = ui.app.screen.query_one(ConfigTree)
    tree.focus()
    await ui.settled()
    node = tree.root
    for label in labels:
        node = next(child for child in node.children if str(child.label).startswith(label))
    tree.move_cursor(node)
    await ui.settled()


async def test_the_whole_file_is_shown_as_a_tree(project, open_ui, same_screen):
    async with open_ui(size=(200, 60)) as ui:
        for text in ("replicates: 3", "scale", "factor: 2.0", "- publish", "bigger", "offset: 2"):
            assert text in ui.text
        await ui.press("tab", "down", "down")
        await same_screen("config-200x60", ui)


async def test_on_a_small_screen_the_tree_has_room_when_it_has_the_focus(project, open_ui, same_screen):
    async with open_ui() as ui:
        await ui.press("tab")
        assert "- publish" in ui.text
        await same_screen("config-80x24", ui)


async def test_enter_edits_a_value_which_is_checked_and_written(config, open_ui, same_screen):
    async with open_ui() as ui:
        await go_to(ui, "replicates")
        await ui.press("enter")
        assert isinstance(ui.app.screen, EditScreen)
        await same_screen("edit-80x24", ui)
        await ui.type("5")
        await ui.press("enter")
        assert isinstance(ui.app.screen, SelectionScreen)
        assert "replicates: 5   # few" in config.read_text()
        assert "replicates: 5" in ui.text
        assert "5 replicates" in ui.text
        tree = ui.app.screen.query_one(ConfigTree)
        await ui.until(lambda: tree.cursor_node.data == ("replicates",))  # where it was


async def test_an_edit_is_finished_while_the_terminal_is_too_small(config, open_ui):
    async with open_ui() as ui:
        await go_to(ui, "replicates")
        await ui.press("enter")
        await ui.type("5")
        ui.app.screen.action_save()
        await ui.pilot.resize_terminal(60, 10)
        await ui.settled()
        assert "replicates: 5" in config.read_text()
        assert "Make the terminal larger" in ui.text
        await ui.pilot.resize_terminal(80, 24)
        await ui.settled()
        assert isinstance(ui.app.screen, SelectionScreen)
        assert "5 replicates" in ui.text


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_a_mistake_is_told_and_the_dialog_stays_until_it_is_right(config, open_ui, same_screen, size):
    before = config.read_text()
    async with open_ui(size=size) as ui:
        await go_to(ui, "replicates")
        await ui.press("enter")
        await ui.type("many")
        await ui.press("enter")
        await ui.until_told("It is a whole number")
        await same_screen(f"edit-mistake-{size[0]}x{size[1]}", ui)
        assert config.read_text() == before
        await ui.type("4")
        await ui.press("enter")
        assert isinstance(ui.app.screen, SelectionScreen)
        assert "replicates: 4" in config.read_text()


async def test_escape_leaves_the_file_as_it_is(config, open_ui):
    before = config.read_text()
    async with open_ui() as ui:
        await go_to(ui, "replicates")
        await ui.press("enter")
        await ui.type("9")
        await ui.press("escape")
        assert isinstance(ui.app.screen, SelectionScreen)
    assert config.read_text() == before


async def test_a_adds_an_entry_to_what_the_cursor_is_on_or_in(config, open_ui):
    async with open_ui() as ui:
        await go_to(ui, "treatments")
        await ui.press("a")
        assert "key: value" in ui.text
        await ui.type("huge: {offset: 9}")
        await ui.press("enter")
        assert "  huge: {offset: 9}\n" in config.read_text()
        await go_to(ui, "description")
        await ui.press("a")
        assert "new in config.yaml" in ui.text
        await ui.type("retries: 1")
        await ui.press("enter")
        assert config.read_text().endswith("retries: 1\n")


async def test_d_asks_and_removes_an_entry(config, open_ui):
    async with open_ui() as ui:
        await go_to(ui, "treatments", "smaller")
        await ui.press("d")
        assert "remove treatments.smaller?" in ui.text
        await ui.press("enter")
        assert "smaller" not in config.read_text()
        assert "bigger" in config.read_text()


async def test_enter_opens_and_closes_what_holds_others(config, open_ui):
    async with open_ui(size=(200, 60)) as ui:
        await go_to(ui, "treatments")
        await ui.press("enter")
        assert isinstance(ui.app.screen, SelectionScreen)
        assert "offset: 2" not in ui.text
        await ui.press("enter")
        assert "offset: 2" in ui.text


async def test_a_file_that_was_changed_meanwhile_is_not_overwritten(config, open_ui):
    async with open_ui() as ui:
        await go_to(ui, "replicates")
        await ui.press("enter")
        theirs = config.read_text().replace("# few", "# of somebody else")
        config.write_text(theirs)
        await ui.type("5")
        await ui.press("enter")
        assert "was changed by somebody else" in ui.text
        await ui.press("escape", "r")
        assert config.read_text() == theirs
        await ui.press("enter")
        await ui.type("5")
        await ui.press("enter")
        assert "replicates: 5   # of somebody else" in config.read_text()


async def test_a_file_that_was_deleted_meanwhile_is_not_made_again(config, open_ui):
    async with open_ui() as ui:
        await go_to(ui, "replicates")
        await ui.press("enter")
        config.unlink()
        await ui.type("5")
        await ui.press("enter")
        assert "was removed by somebody else" in ui.text
    assert not config.exists()


async def test_a_full_disk_is_told(config, open_ui, full_disk):
    async with open_ui() as ui:
        await go_to(ui, "replicates")
        await ui.press("enter")
        await ui.type("5")
        with full_disk():
            await ui.press("enter")
        assert "cannot be written" in ui.text


async def test_of_a_file_that_is_no_yaml_the_mistake_is_shown_and_no_tree(project, open_ui):
    (project / "torn" / "config.yaml").write_text("steps: [\n")
    async with open_ui() as ui:
        await ui.press("end")
        assert "torn/config.yaml:2:1: this is not YAML" in ui.text
        assert "▼ config.yaml" not in ui.text


async def test_a_mistake_of_the_file_can_be_put_right_in_the_tree(project, open_ui):
    async with open_ui() as ui:
        await ui.press("end")
        await go_to(ui, "replicates")
        await ui.press("enter")
        await ui.type("10")
        await ui.press("enter")
        assert "replicates: 10" in (project / "torn" / "config.yaml").read_text()
