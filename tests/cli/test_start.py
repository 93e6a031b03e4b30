"""What ``crystallize`` alone opens: what an installed distribution declares in the group ``crystallize.start``."""

from __future__ import annotations

import os

import pytest

HELP = "Replicated, reproducible experiments"
MODULE = """
def board():
    print("this is the board")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution whose command is to open, in place of those installed here."""
    site = tmp_path / "site"
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "crystallize-tui")

    def make(name: str, value: str) -> None:
        info = site / f"their_{name}-0.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: their-{name}\nVersion: 0.3\n")
        groups = ("crystallize.commands", "crystallize.start")
        (info / "entry_points.txt").write_text("".join(f"[{group}]\n{name} = {value}\n" for group in groups))
        (site / "their_board.py").write_text(MODULE)

    return make


def test_in_a_terminal_it_opens_what_is_installed_for_that(install, in_a_terminal):
    install("board", "their_board:board")
    assert in_a_terminal(columns=100) == (0, b"this is the board\r\n")


def test_asked_for_help_it_prints_its_help(install, in_a_terminal):
    install("board", "their_board:board")
    code, shown = in_a_terminal("--help", columns=100)
    assert (code, HELP in shown.decode()) == (0, True)
    assert b"this is the board" not in shown


def test_without_a_terminal_it_prints_its_help(install, command):
    install("board", "their_board:board")
    done = command(code=None)
    assert HELP in done.stdout + done.stderr
    assert "this is the board" not in done.stdout


@pytest.mark.parametrize("off", ["board", "their-board"])
def test_switched_off_it_prints_its_help(install, in_a_terminal, monkeypatch, off):
    install("board", "their_board:board")
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", f"{off},crystallize-tui")
    _, shown = in_a_terminal(columns=100)
    assert HELP in shown.decode()
    assert b"this is the board" not in shown


def test_of_two_that_would_open_none_does_and_both_are_named(install, in_a_terminal):
    install("board", "their_board:board")
    install("desk", "their_board:board")
    _, shown = in_a_terminal(columns=100)
    assert "board and desk" in shown.decode()
    assert HELP in shown.decode()


def test_one_that_cannot_be_imported_is_told_without_a_traceback(install, in_a_terminal):
    install("board", "no_such_module:board")
    code, shown = in_a_terminal(columns=300)
    assert code == 1
    assert "entry point 'board' of their-board 0.3" in shown.decode()
    assert b"Traceback" not in shown


def test_plugins_show_tells_how_to_switch_it_off(install, command):
    install("board", "their_board:board")
    installed = {"PYTHONPATH": os.environ["PYTHONPATH"]}
    listed = command("plugins", "list", "--group", "start", **installed).stdout
    assert "board" in listed
    shown = command("plugins", "show", "board", **installed).stdout
    assert "CRYSTALLIZE_DISABLE_PLUGINS=board" in shown
