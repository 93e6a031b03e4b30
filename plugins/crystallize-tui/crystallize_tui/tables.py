"""Tables and texts that are filled anew often: only what differs is drawn again."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Static

from crystallize.utils.text_table import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.visual import VisualType


class LiveText(Static):
    """A text that is told again and again while a run goes on: the screen is laid out anew when it is another one."""

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show a text, if it is not there already."""
        if content != self.content:
            super().update(content, layout=layout)


class LiveTable(DataTable[Text]):
    """A table of rows that change while they are looked at; the cursor stays where it is.

    Parameters
    ----------
    *titles : str
        The columns' titles.
    names : int
        How many columns hold names: where they would take more than a quarter of the table each, they are shortened, so
        that the others can be seen.
    """

    def __init__(self, *titles: str, names: int = 0, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row")
        self._titles: tuple[str, ...] = titles
        self._names = names
        self._whole: Sequence[tuple[str, ...]] = ()
        self._rows: list[tuple[str, ...]] = []

    def on_mount(self) -> None:
        """Make the columns."""
        self.set_titles(self._titles)

    def set_titles(self, titles: Sequence[str]) -> None:
        """Make other columns, and no rows."""
        self._titles, self._whole, self._rows = tuple(titles), (), []
        self.clear(columns=True)
        self.add_columns(*(Text(title) for title in titles))

    def fill(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Show these rows, of texts that are safe for a terminal."""
        self._whole = rows
        rows = self._with_short_names(rows)
        is_resized = len(rows) != len(self._rows)
        if is_resized:
            cursor = self.cursor_row
            self.clear()
            for row in rows:
                self.add_row(*map(Text, row))
            self.move_cursor(row=min(cursor, max(0, len(rows) - 1)))
        else:
            for place, (row, before) in enumerate(zip(rows, self._rows, strict=True)):
                for column, (cell, old) in enumerate(zip(row, before, strict=True)):
                    if cell != old:
                        other_width = cell_len(cell) != cell_len(old)
                        is_resized = is_resized or other_width
                        self.update_cell_at(Coordinate(place, column), Text(cell), update_width=other_width)
        if is_resized:
            # Widths settle when there is nothing else to do, and a header that was drawn before would keep its own.
            self.call_after_refresh(self.notify_style_update)
        self._rows = list(rows)

    def on_resize(self) -> None:
        """Shorten the names for the room that there is now."""
        if self._names:
            self.fill(self._whole)

    def _with_short_names(self, rows: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
        if not (self._names and rows and self.size):
            return rows
        columns: list[Sequence[str]] = list(zip(*rows, strict=True))
        for place, column in enumerate(columns[: self._names]):
            short = _shortened(tuple(column), self.size.width // 4)
            columns[place] = [short[name] for name in column]
        return list(zip(*columns, strict=True))


@lru_cache(maxsize=16)  # while a run goes on, its names stay
def _shortened(names: tuple[str, ...], width: int) -> dict[str, str]:
    return shorten(names, width)
