"""The keys that a screen tells of in its last line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.widgets import Footer

if TYPE_CHECKING:
    from textual.screen import Screen


class KeyFooter(Footer):
    """A footer that is made anew only when there is something else to tell.

    Textual's is made anew, a widget for each key, whenever the focus moves: half of the time in which a screen opens.
    """

    def __init__(self, *, compact: bool = False) -> None:
        super().__init__(compact=compact)
        self._told: list[tuple[Any, ...]] | None = None

    def bindings_changed(self, screen: Screen[Any]) -> None:
        """Tell of other keys, if there are any."""
        told = [tuple(each[1:]) for each in screen.active_bindings.values() if each.binding.show]
        if told != self._told and screen.app.app_focus:
            self._told = told
            super().bindings_changed(screen)
