"""Tables that are refilled often: only the cells that differ are drawn again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.coordinate import Coordinate
from textual.widgets import DataTable

if TYPE_CHECKING:
    from collections.abc import Sequence


class LiveTable(DataTable[Text]):
    """A table of rows that change while they are looked at; the cursor stays where it is.

    Parameters
    ----------
    *titles : str
        The columns' titles.
    """

    def __init__(self, *titles: str, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row")
        self._titles: tuple[str, ...] = titles
        self._rows: list[tuple[str, ...]] = []

    def on_mount(self) -> None:
        """Make the columns."""
        self.set_titles(self._titles)

    def set_titles(self, titles: Sequence[str]) -> None:
        """Make other columns, and no rows."""
        self._titles, self._rows = tuple(titles), []
        self.clear(columns=True)
        self.add_columns(*(Text(title) for title in titles))

    def fill(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Show these rows, of texts that are safe for a terminal."""
        if len(rows) != len(self._rows):
            cursor = self.cursor_row
            self.clear()
            for row in rows:
                self.add_row(*map(Text, row))
            self.move_cursor(row=min(cursor, max(0, len(rows) - 1)))
        else:
            for place, (row, before) in enumerate(zip(rows, self._rows, strict=True)):
                for column, (cell, old) in enumerate(zip(row, before, strict=True)):
                    if cell != old:
                        self.update_cell_at(Coordinate(place, column), Text(cell), update_width=True)
        if self._rows != list(rows):
            # Widths settle when there is nothing else to do, and a header that was drawn before would keep its own.
            self.call_after_refresh(self.notify_style_update)
        self._rows = list(rows)
