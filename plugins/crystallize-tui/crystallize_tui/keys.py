"""All keys of a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.table import Table
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.screen import Screen


class KeysScreen(ModalScreen[None]):
    """All keys of the screen below it.

    Parameters
    ----------
    keys : list of (str, str)
        Each key, and what it does.
    """

    BINDINGS: ClassVar[list[Any]] = [("escape,q,question_mark,enter", "dismiss", "Back")]

    def __init__(self, keys: list[tuple[str, str]]) -> None:
        super().__init__()
        self._keys = keys

    @classmethod
    def of(cls, screen: Screen[Any]) -> KeysScreen:
        """Return what lists the keys that work on a screen now, those of what has the focus first."""
        of_action: dict[tuple[str, str], list[str]] = {}
        # Those that move a cursor, which one guesses, come last.
        every = sorted(
            screen.active_bindings.values(), key=lambda active: not (active.binding.show or active.tooltip)
        )
        for active in every:
            if active.binding.description and active.enabled:
                what = active.tooltip or active.binding.description, active.binding.action
                of_action.setdefault(what, []).append(screen.app.get_key_display(active.binding))
        return cls([(" ".join(dict.fromkeys(keys)), what) for (what, _), keys in of_action.items()])

    def compose(self) -> ComposeResult:
        """Show a table of them."""
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="bold", no_wrap=True)
        for key, what in self._keys:
            table.add_row(key, what)
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Keys"
            dialog.border_subtitle = "Esc: back"
            yield Static(table)
