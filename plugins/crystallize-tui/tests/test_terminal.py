"""In a real terminal: tmux, with keys that are sent to it and a screen that is captured."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

_SECONDS = 60


class Terminal:
    """A terminal of 80 columns and 24 lines in which a command runs.

    Parameters
    ----------
    words : tuple of str
        The command.
    variables : dict
        What it finds in its environment besides what is there.
    """

    def __init__(self, *words: str, **variables: str) -> None:
        self._socket = f"crystallize-{uuid4().hex}"
        set_variables = [f"-e{name}={value}" for name, value in variables.items()]
        command = f"{shlex.join(words)}; echo ended with $?; exec cat"
        self._tmux("-f/dev/null", "new-session", "-d", "-x80", "-y24", *set_variables, command)

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *words], capture_output=True, text=True, check=True, timeout=_SECONDS
        )
        return done.stdout

    def keys(self, *keys: str) -> None:
        """Press keys, as tmux calls them."""
        self._tmux("send-keys", *keys)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p")

    @property
    def styled(self) -> str:
        """What is on the screen, with its colours."""
        return self._tmux("capture-pane", "-p", "-e")

    def wait_for(self, text: str, press: str = "") -> str:
        """Wait until a text is on the screen, and return the screen; a key may be pressed again and again meanwhile."""
        end = time.monotonic() + _SECONDS
        while text not in (shown := self.text):
            if press:
                self.keys(press)
            assert time.monotonic() < end, f"{text!r} has not come:\n{shown}"
            time.sleep(0.1)
        return shown

    def close(self) -> None:
        """End the terminal with all that runs in it."""
        self._tmux("kill-server")


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Return what opens a terminal."""
    opened: list[Terminal] = []

    def make(*words: str, **variables: str) -> Terminal:
        opened.append(Terminal(*words, **variables))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


CRYSTALLIZE = (sys.executable, "-m", "crystallize")


def test_crystallize_alone_opens_it_and_q_leaves_the_terminal_as_it_was(project, terminal):
    it = terminal(*CRYSTALLIZE)
    it.wait_for("3 replicates: baseline, bigger, smaller")
    it.keys("Down", "Down")
    it.wait_for("Read what make has published")
    it.keys("q")
    shown = it.wait_for("ended with 0")
    assert "make" not in shown


def test_e_hands_the_terminal_to_the_editor_and_shows_what_it_wrote(project, terminal, tmp_path):
    editor = tmp_path / "editor"
    editor.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "assert sys.argv[1] == '--wait'\n"
        "print('the editor is open', flush=True)\n"
        "input()\n"
        "file = pathlib.Path(sys.argv[2])\n"
        "file.write_text(file.read_text().replace('Make numbers', 'Edited elsewhere'))\n"
    )
    editor.chmod(0o755)
    it = terminal(*CRYSTALLIZE, "tui", EDITOR=f"{editor} --wait")
    it.wait_for("description: Make numbers")
    it.keys("e")
    it.wait_for("the editor is open")
    it.keys("Enter")
    it.wait_for("description: Edited elsewhere")


@pytest.mark.parametrize("editor", ["/no/such/editor", "'unbalanced"])
def test_an_editor_that_cannot_be_started_is_told(project, terminal, editor):
    it = terminal(*CRYSTALLIZE, "tui", EDITOR=editor)
    it.wait_for("description: Make numbers")
    it.wait_for("The editor", press="e")  # it is told in passing


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "screen"}, {"TERM": "vt100"}], ids=str)
def test_with_few_colours_or_none_it_works(project, terminal, variables):
    it = terminal(*CRYSTALLIZE, "tui", **variables)
    it.wait_for("3 replicates: baseline, bigger, smaller")
    coloured = re.search(r"\x1b\[[\d;]*\b(3[0-8]|4[0-8]|9\d|10\d)\b", it.styled)
    assert bool(coloured) == ("NO_COLOR" not in variables)
    it.keys("n")
    it.wait_for("[ ] Example code")
