"""The application: colours, sizes, and what the command asks for."""

from __future__ import annotations

import os
import re
import signal

import pytest
from crystallize_tui.app import CrystallizeApp
from crystallize_tui.selection import SelectionScreen
from typer.testing import CliRunner

from crystallize.cli.app import app as command_line


@pytest.mark.parametrize(
    ("variables", "theme"),
    [
        ({"COLORTERM": "truecolor"}, "textual-dark"),
        ({"COLORTERM": "truecolor", "COLORFGBG": "0;15"}, "textual-light"),
        ({"TERM": "xterm-256color", "COLORFGBG": "15;0"}, "textual-dark"),
        ({"TERM": "xterm-16color"}, "ansi-dark"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "ansi-dark"),
        ({"TERM": "vt100", "COLORFGBG": "0;7"}, "ansi-light"),
    ],
    ids=str,
)
def test_the_colours_are_those_that_the_terminal_has_and_its_user_wants(monkeypatch, variables, theme):
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "auto")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)  # a test has none
    assert CrystallizeApp().theme == theme


async def test_a_key_changes_between_light_and_dark(project, open_ui):
    async with open_ui() as ui:
        before = ui.app.theme
        await ui.press("T")
        assert ui.app.theme != before
        assert ui.app.current_theme.dark == ("light" in before)
        await ui.press("T")
        assert ui.app.theme == before


async def test_without_colours_the_cursor_is_told_by_reversed_or_underlined_text(
    project, open_ui, monkeypatch
):
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_ui() as ui:

        def marked() -> str:
            strips = ui.app.screen._compositor.render_strips()
            segments = [segment for strip in strips for segment in strip if segment.style is not None]
            return "".join(each.text for each in segments if each.style.reverse or each.style.underline)

        assert "make" in marked()
        await ui.press("enter", "down")
        assert "scale" in marked()
        assert "make" not in marked()
        await ui.press("h")
        assert "v0" in marked()
        await ui.press("escape", "escape", "n", "down")
        assert "Example code" in marked()


async def test_a_terminal_that_is_too_small_says_so_and_goes_on_when_it_is_not(project, open_ui):
    async with open_ui(size=(71, 24)) as ui:
        assert "Make the terminal larger: 72 columns and 16 lines" in re.sub(r"\s+", " ", ui.text)
        await ui.press("question_mark", "enter")
        assert "Make the terminal larger" in ui.text
        await ui.pilot.resize_terminal(80, 24)
        await ui.settled()
        assert isinstance(ui.app.screen, SelectionScreen)
        assert "Make numbers" in ui.text
        await ui.pilot.resize_terminal(80, 15)
        await ui.settled()
        assert "Make the terminal larger" in ui.text
        await ui.press("q")
        await ui.until(lambda: not ui.app.is_running)


async def test_sigterm_ends_it_as_q_does(open_ui):
    async with open_ui() as ui:
        os.kill(os.getpid(), signal.SIGTERM)
        await ui.until(lambda: not ui.app.is_running)
        assert ui.app.return_code == 143


@pytest.mark.parametrize("size", [(72, 16), (80, 24), (119, 30), (120, 30), (200, 60)])
async def test_no_line_of_the_list_is_longer_than_its_room(project, open_ui, size):
    async with open_ui(size=size) as ui:
        tree = ui.app.screen.experiments
        assert tree.virtual_size.width <= tree.size.width
        await ui.pilot.resize_terminal(80, 24)
        await ui.settled()
        assert tree.virtual_size.width <= tree.size.width


async def test_a_path_says_where_to_look(project, open_ui, tmp_path):
    project.rename(tmp_path / "elsewhere")
    async with open_ui(tmp_path / "elsewhere") as ui:
        assert "Make numbers" in ui.text


# -- the command ---------------------------------------------------------------------------------------------


def test_help_tells_what_it_is_and_how_to_do_without():
    done = CliRunner().invoke(command_line, ["tui", "--help"], env={"COLUMNS": "100"})
    assert done.exit_code == 0
    for text in (
        "without leaving the terminal",
        "? shows all keys",
        "CRYSTALLIZE_DISABLE_PLUGINS=tui",
        "NO_COLOR",
    ):
        assert text in done.output


@pytest.mark.parametrize("arguments", [["tui"], ["tui", "/no/such/folder"]])
def test_without_a_terminal_or_a_folder_it_is_wrong_use(arguments):
    done = CliRunner().invoke(command_line, arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
