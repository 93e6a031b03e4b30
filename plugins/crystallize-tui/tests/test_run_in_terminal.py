"""The terminal UI in a real terminal: tmux holds it, keys go in, and the screen is read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shlex import quote
from textwrap import dedent

import pytest

MOST_SECONDS = 60.0
GATED_STEP = """
import time
from pathlib import Path
from crystallize import Artifact, pipeline_step

@pipeline_step()
def publish(data, ctx, *, extra=0, made: Artifact):
    while ctx["replicate"] >= 2 and Path("closed").exists():
        time.sleep(0.01)
    made.write({"value": data + extra})
    ctx.metrics.add("made", data + extra)
    return data
"""
FILES = {
    "producer/config.yaml": """
        replicates: 4
        seed: 1
        datasource: numbers
        steps: [publish]
        outputs: {made: {file_name: made.json, loader: json}}
        treatments: {more: {extra: 10}}
    """,
    "producer/datasources.py": """
        def numbers(ctx):
            return ctx["replicate"]
    """,
    "producer/steps.py": GATED_STEP,
    "consumer/config.yaml": """
        replicates: 4
        seed: 1
        datasource: {made: producer#made}
        steps: [look]
        treatments: {more: {}}
        hypotheses: [{name: larger, verifier: paired_t_test, metrics: seen, direction: max}]
    """,
    "consumer/steps.py": """
        from crystallize import pipeline_step

        @pipeline_step()
        def look(data, ctx):
            ctx.metrics.add("seen", data["made"]["value"])
            return data
    """,
}
CRYSTALLIZE = f"{quote(sys.executable)} -P -m crystallize"


class Terminal:
    """A shell in a terminal of 80 columns and 24 lines, under a tmux server of its own."""

    def __init__(self, folder: Path) -> None:
        self._server = ["tmux", "-f", os.devnull, "-S", str(folder / "tmux.socket")]
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("COLUMNS", "LINES"):  # they would count for more than the terminal's own size
            environment.pop(name, None)
        self._tmux("new-session", "-d", "-x", "80", "-y", "24", "/bin/sh", env=environment)

    def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            [*self._server, *words], check=True, capture_output=True, text=True, env=env, encoding="utf-8"
        )
        return done.stdout

    @property
    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def until(self, wanted: str, *, is_there: bool = True) -> str:
        end = time.monotonic() + MOST_SECONDS
        while (wanted in (screen := self.screen)) is not is_there:
            assert time.monotonic() < end, f"not there: {wanted}\n{screen}"
            time.sleep(0.05)
        return screen

    def choose(self, experiment: str) -> None:
        """Open the run screen of an experiment from the selection screen."""
        self.until(experiment)
        self.press("/")
        self.until("⏎ Run", is_there=False)  # the keys belong to the filter now
        self.type(experiment)
        self.until(f" {experiment} ")
        self.press("Enter")
        self.until("⏎ Run")
        self.press("Enter")

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):  # with its last session, the server is gone already
            self._tmux("kill-server")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Open a terminal in the test's folder."""
    assert shutil.which("tmux"), "this test needs tmux: apt-get install tmux"
    opened = Terminal(Path.cwd())
    yield opened
    Path("closed").unlink(missing_ok=True)
    opened.close()


def write_graph() -> None:
    for name, text in FILES.items():
        file = Path("experiments", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip())


def test_from_a_new_experiment_through_a_graph_an_interruption_and_a_resume_to_the_summary(terminal):
    terminal.type(f"{CRYSTALLIZE} new first\n")
    terminal.until("Run it with")
    write_graph()
    Path("closed").touch()
    terminal.type(f"{CRYSTALLIZE} tui\n")
    terminal.choose("consumer")
    terminal.until("Runs first")
    terminal.press("R")
    terminal.until("producer v0: running")
    terminal.until("2/4")
    terminal.press("R")
    terminal.until("producer v0 is interrupted: R goes on with it")
    Path("closed").unlink()
    terminal.press("R")
    screen = terminal.until("consumer v0: complete")
    assert "✓ producer" in screen
    assert not Path("data/producer/v1").exists()  # it was resumed, not run anew
    terminal.press("S")
    terminal.until("hypothesis 'larger'")
    terminal.press("q")
    terminal.until("Run it with")  # what stood there before


def test_a_terminal_that_is_closed_leaves_a_run_that_ends_by_itself(terminal):
    write_graph()
    Path("closed").touch()
    terminal.type(f"{CRYSTALLIZE} tui\n")
    terminal.choose("producer")
    terminal.until("Next run")
    terminal.press("R")
    terminal.until("2/4")
    journal = Path("data/producer/v0/journal.jsonl")
    before = journal.stat().st_size
    terminal._tmux("kill-session")
    Path("closed").unlink()
    end = time.monotonic() + MOST_SECONDS
    while '"complete"' not in Path("data/producer/v0/metadata.json").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert journal.stat().st_size > before
