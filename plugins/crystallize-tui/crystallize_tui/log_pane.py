"""The lines that a command prints, which can be searched."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from rich.highlighter import ReprHighlighter
from rich.text import Text
from textual.containers import Vertical
from textual.widgets import Input, RichLog

from crystallize.utils.terminal import visible
from crystallize_tui.run_process import MOST_LINES
from crystallize_tui.tables import LiveText

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult


class LogPane(Vertical):
    """The last lines of a log; ``/`` looks for a text in them.

    Attributes
    ----------
    lines : collections.deque of str
        The lines, without what would steer the terminal.
    is_plain : bool
        Whether they are shown without colours.
    """

    def __init__(self, note: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: deque[str] = deque(maxlen=MOST_LINES)
        self.is_plain = False
        self._note = note
        self._pending: deque[str] = deque(maxlen=MOST_LINES)
        self._highlight = ReprHighlighter()

    def compose(self) -> ComposeResult:
        """Make the log above the line to search in."""
        yield LiveText(self._note, classes="note", markup=False)
        yield RichLog(max_lines=MOST_LINES, wrap=True, min_width=20)
        yield Input(placeholder="Only lines with this text. Esc: all lines", classes="search")

    def on_mount(self) -> None:
        """Show the search only when it is asked for."""
        self.query_one(Input).display = False

    def note(self, text: str) -> None:
        """Say something above the lines."""
        self.query_one(".note", LiveText).update(text)

    def clear(self) -> None:
        """Forget all lines."""
        self.lines.clear()
        self.redraw()

    def add(self, lines: Iterable[str]) -> None:
        """Add lines; they are drawn by the next :meth:`flush`."""
        for line in lines:
            shown = visible(line)
            self.lines.append(shown)
            self._pending.append(shown)

    def flush(self) -> None:
        """Draw what has been added since, if it can be seen."""
        log = self.query_one(RichLog)
        if not self._pending or not log.size:
            return
        wanted = self._wanted()
        for line in self._pending:
            if wanted in line.lower():
                log.write(self._drawn(line, wanted))
        self._pending.clear()

    def redraw(self) -> None:
        """Draw all lines anew."""
        self.query_one(RichLog).clear()
        self._pending = deque(self.lines, maxlen=MOST_LINES)
        self.flush()

    def search(self) -> None:
        """Open the line to search in."""
        field = self.query_one(Input)
        field.display = True
        self.screen.set_focus(field)  # at once: what is typed next belongs to it

    def end_search(self) -> bool:
        """Show all lines again; tell whether there was a search."""
        field = self.query_one(Input)
        if not field.display:
            return False
        field.value = ""
        field.display = False
        self.query_one(RichLog).focus()
        return True

    def on_input_changed(self) -> None:
        """Show the lines that have the text."""
        self.redraw()

    def on_input_submitted(self) -> None:
        """Leave the text as it is, and go to the lines."""
        self.query_one(RichLog).focus()

    def _wanted(self) -> str:
        return self.query_one(Input).value.lower()

    def _drawn(self, line: str, wanted: str) -> Text:
        text = Text(line)
        if not self.is_plain:
            self._highlight.highlight(text)
            if line.startswith("Error"):
                text.stylize("bold red")
        if wanted:
            text.highlight_words([wanted], "reverse", case_sensitive=False)
        return text
