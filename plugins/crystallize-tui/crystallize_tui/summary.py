"""The summary of a run, and its artifacts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import SuspendNotSupported
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from crystallize.errors import CrystallizeError
from crystallize.results.load import load_result
from crystallize.store.metadata import RUNNING
from crystallize.utils.files import open_plain
from crystallize.utils.quantities import format_size
from crystallize.utils.terminal import visible
from crystallize.utils.wording import shown
from crystallize_tui.tables import LiveTable
from crystallize_tui.wording import one_line, plain

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult

    from crystallize.results.result import Result
    from crystallize.results.runs import StoredRun
    from crystallize.store.layout import ArtifactEntry

_MOST_ARTIFACTS = 500
_MOST_BYTES = 1 << 18
_NO_TEXT = "This is no text."
_NO_RUN = "No run is stored yet: R runs the experiment."


class SummaryPane(Vertical):
    """What a stored run measured, its hypotheses, and its artifacts; Enter opens one of these.

    Attributes
    ----------
    is_asked : bool
        Whether what there is now of a run that goes on is to be read.
    """

    BINDINGS: ClassVar[list[Any]] = [Binding("enter", "open", "Open the artifact", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self.is_asked = False
        self._result: Result | None = None
        self._run: StoredRun | None = None
        self._artifacts: list[ArtifactEntry] = []

    def compose(self) -> ComposeResult:
        """Make the text above the table of artifacts."""
        with VerticalScroll(can_focus=True):
            yield Static(_NO_RUN, id="measured", markup=False)
        table = LiveTable("artifact", "step", "condition", "replicate", "size", names=3, id="artifacts")
        table.display = False
        yield table

    def show(self, run: StoredRun | None, problem: str = "") -> None:
        """Show a run, or why there is none; it is read in a thread, for it may be large.

        One that goes on is read only if that is asked for, and one that has been read only if it is another by now.
        """
        is_asked, self.is_asked = self.is_asked, False
        if run is None:
            self._say(problem or _NO_RUN)
        elif run != self._run or (is_asked and run.status == RUNNING):
            self._run = run
            if run.status == RUNNING and not is_asked:
                self._say(f"{run.name} is not complete yet. S shows what there is so far.")
                return
            self._say(f"Reading {run.name} ...")
            self.run_worker(lambda: self._read(run), thread=True, exclusive=True, exit_on_error=False)

    def on_resize(self) -> None:
        """Fit the tables to the new width."""
        self._draw()

    def on_data_table_row_selected(self) -> None:
        """Open an artifact."""
        self.action_open()

    def action_open(self) -> None:
        """Open the artifact that the table's cursor is on."""
        row = self.query_one("#artifacts", LiveTable).cursor_row
        if self._result is not None and self._run is not None and row < len(self._artifacts):
            self.app.push_screen(ArtifactScreen(self._run.path / self._artifacts[row].path))

    def _read(self, run: StoredRun) -> None:
        try:
            result: Result | str = load_result(run.path)
        except (CrystallizeError, OSError) as error:
            result = str(error)
        self.app.call_from_thread(self._show, run, result)

    def _show(self, run: StoredRun, result: Result | str) -> None:
        if run != self._run or not self.is_attached:
            return
        if isinstance(result, str):
            self._say(result)
            return
        self._result = result
        self._artifacts = result.artifacts[:_MOST_ARTIFACTS]
        table = self.query_one("#artifacts", LiveTable)
        table.display = bool(self._artifacts)
        table.fill(
            [
                (
                    one_line(entry.name),
                    one_line(entry.step),
                    one_line(entry.condition),
                    str(entry.replicate),
                    format_size(entry.size),
                )
                for entry in self._artifacts
            ]
        )
        self._draw()

    def _draw(self) -> None:
        if self._result is None or self._run is None:
            return
        lines = self._result.summary().lines(max(40, self.size.width - 2))
        lines += ["", f"Seed: {self._result.master_seed}", f"Results: {shown(self._run.path)}"]
        more = len(self._result.artifacts) - len(self._artifacts)
        if more > 0:
            lines.append(f"The first {len(self._artifacts)} artifacts; {more} more are in that folder.")
        self.query_one("#measured", Static).update(plain("\n".join(lines)))

    def _say(self, text: str) -> None:
        self._result = None
        self.query_one("#artifacts").display = False
        self.query_one("#measured", Static).update(plain(text))


class ArtifactScreen(ModalScreen[None]):
    """The beginning of an artifact, if it is text, and where it is.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("escape,q", "app.pop_screen", "Back"),
        Binding("o", "open", "Open"),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._content = read_artifact(path)

    def compose(self) -> ComposeResult:
        """Make the path above the content."""
        with Vertical():
            yield Static(
                plain(f"{shown(self.path)}\no: open it with another program. Esc: back"), classes="path"
            )
            with VerticalScroll():
                yield Static(self._content, classes="content")

    def on_mount(self) -> None:
        """Let the arrows scroll."""
        self.query_one(VerticalScroll).focus()

    def action_open(self) -> None:
        """Open the file: text with the pager, anything else as the desktop does."""
        command = _opener(is_text=self._content.plain != _NO_TEXT)
        if command is None:
            self.notify(
                "There is no pager, and no program that opens files.", severity="warning", markup=False
            )
            return
        try:
            with self.app.suspend():
                subprocess.run([*command, str(self.path)], check=False)
        except (OSError, SuspendNotSupported) as error:  # the program is gone, or the terminal cannot be lent
            self.notify(f"{command[0]} cannot be started: {error}", severity="error", markup=False)


def read_artifact(path: Path) -> Text:
    """Return the beginning of a file as text; what it is, if it is none."""
    try:
        with os.fdopen(open_plain(path), "rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return Text("The file is gone: the artifacts of old runs are pruned, or somebody has removed it.")
    except OSError as error:
        return plain(f"The file cannot be read: {error.strerror or error}")
    head = content[:_MOST_BYTES]
    try:
        text = head.decode() if len(content) == len(head) else head.decode(errors="ignore")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return Text(_NO_TEXT)
    if path.suffix == ".json" and len(content) == len(head):
        with suppress(ValueError, RecursionError):  # then it is shown as it is
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    more = "\n... the file goes on" if len(content) > len(head) else ""
    return Text(visible(text) + more)


def _opener(*, is_text: bool) -> list[str] | None:
    """Return the command that opens a file, without its path; None if there is none."""
    if is_text:
        pager = os.environ.get("PAGER", "").split() or ["less"]
        if shutil.which(pager[0]):
            return pager
    desktop = "open" if sys.platform == "darwin" else "xdg-open"
    return [desktop] if shutil.which(desktop) else None
