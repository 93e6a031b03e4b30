"""The keys that a screen tells of in its last line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content
from textual.style import Style
from textual.widgets import Static

if TYPE_CHECKING:
    from textual import events
    from textual.binding import ActiveBinding
    from textual.screen import Screen


class KeyFooter(Static):
    """The keys of a screen in one line: a click on one does what the key does.

    Textual's footer has a widget for each key, and makes all of them anew whenever the focus moves: half of the time in
    which a screen opens.

    Parameters
    ----------
    compact : bool
        Whether the keys stand close together.
    """

    ALLOW_SELECT = False

    def __init__(self, *, compact: bool = False) -> None:
        super().__init__()
        self.auto_links = False  # they are no links of a text, and not underlined
        self._is_compact = compact
        self._told: Content | None = None

    def on_mount(self) -> None:
        """Tell of other keys whenever there are any."""
        self.screen.bindings_updated_signal.subscribe(self, self._tell)
        self._tell(self.screen)

    def _tell(self, screen: Screen[Any]) -> None:
        if not screen.app.app_focus:  # while the terminal has no focus, nothing in it has, which is no news
            return
        of_action: dict[str, Content] = {}
        for each in screen.active_bindings.values():
            if each.binding.show and each.binding.action not in of_action:
                of_action[each.binding.action] = self._line(each)
        told = Content("").join(of_action.values())
        if self._told is None or not told.is_same(self._told):
            self._told = told
            self.update(told, layout=False)

    def _line(self, active: ActiveBinding) -> Content:
        key = self.app.get_key_display(active.binding)
        meta = {"@click": f"app.simulate_key({active.binding.key!r})", "tooltip": active.tooltip}
        line = Content.assemble(
            (f"{key} " if self._is_compact else f" {key} ", "bold $footer-key-foreground"),
            f"{active.binding.description} ",
        )
        return line.stylize(Style.from_meta(meta))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Tell more of the key under the mouse."""
        self.tooltip = event.style.meta.get("tooltip")
