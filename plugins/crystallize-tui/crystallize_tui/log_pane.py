"""The lines that a command prints, which can be searched."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.highlighter import Highlighter, ReprHighlighter
from rich.text import Text
from textual.containers import Vertical
from textual.geometry import Size
from textual.widgets import Input, Log

from crystallize.utils.terminal import visible
from crystallize_tui.run_process import MOST_LINES
from crystallize_tui.tables import LiveText

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult


class LogPane(Vertical):
    """The last lines of a log; ``/`` looks for a text in them.

    They are broken into lines of the pane's width, and coloured when they come into sight: thousands of them are drawn
    anew at once, with each key of a search.

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
        self._room = Size()

    def compose(self) -> ComposeResult:
        """Make the log above the line to search in."""
        yield LiveText(self._note, classes="note", markup=False)
        log = Log(highlight=True, max_lines=MOST_LINES)
        log.highlighter = _Colours(self)
        yield log
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
        """Draw what has been added since, if it can be seen; all of it, if the pane has another size now."""
        log = self.query_one(Log)
        size = log.scrollable_content_region.size
        if size and size != self._room:
            self._room = size
            self._pending = self.lines.copy()
            log.clear()
            log.scroll_home(animate=False, immediate=True)  # from where it follows what is written
        if not self._pending or not size:
            return
        drawn = [part for line in self._pending if self.wanted in line.lower() for part in self._broken(line)]
        self._pending.clear()
        log.write_lines(part or " " for part in drawn)  # which leaves out what is empty

    def redraw(self) -> None:
        """Draw all lines anew."""
        self._room = Size()
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
        self.query_one(Log).focus()
        return True

    def on_input_changed(self) -> None:
        """Show the lines that have the text."""
        self.redraw()

    def on_input_submitted(self) -> None:
        """Leave the text as it is, and go to the lines."""
        self.query_one(Log).focus()

    @property
    def wanted(self) -> str:
        """The text that is searched for, in small letters."""
        return self.query_one(Input).value.lower()

    def _broken(self, line: str) -> list[str]:
        """Return a line in parts that the pane has room for."""
        line = line.expandtabs()
        if cell_len(line) <= self._room.width:
            return [line]
        return [part.plain for part in Text(line).wrap(self.app.console, self._room.width)]


class _Colours(Highlighter):
    """Colours a line of a log when it is drawn."""

    def __init__(self, pane: LogPane) -> None:
        self._pane = pane
        self._highlighter = ReprHighlighter()

    def highlight(self, text: Text) -> None:
        """Colour a line: values, errors, and what is searched for."""
        if not self._pane.is_plain:
            self._highlighter.highlight(text)
            if text.plain.startswith("Error"):
                text.stylize("bold red")
        if self._pane.wanted:
            text.highlight_words([self._pane.wanted], "reverse", case_sensitive=False)
