"""The application: its screens, its colours, and the keys that work everywhere."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding
from textual.containers import Center, Middle
from textual.screen import ModalScreen
from textual.widgets import Static

from crystallize_tui.keys import KeysScreen
from crystallize_tui.run_process import ActiveRuns
from crystallize_tui.selection import SelectionScreen

if TYPE_CHECKING:
    from pathlib import Path

    from textual import events
    from textual.app import ComposeResult

LEAST_COLUMNS, LEAST_LINES = 72, 16
"""What the screens need; they are made for 80 columns and 24 lines, and for more."""


class CrystallizeApp(App[None]):
    """The terminal UI.

    Parameters
    ----------
    root : pathlib.Path, optional
        Where to look for experiments; the project's own folder of experiments, if not given.
    """

    TITLE = "Crystallize"
    CSS_PATH = ["styles.tcss", "run.tcss"]  # noqa: RUF012 - all at once: a screen with its own has all read anew
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012 - no class variable of App
    BINDINGS: ClassVar[list[Any]] = [
        Binding("question_mark", "keys", "Keys", key_display="?", tooltip="Show all keys"),
        Binding("T", "change_theme", "Theme", show=False, tooltip="Change between light and dark"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False),
    ]

    def __init__(self, root: Path | None = None) -> None:
        # Without colours, theirs are taken away; otherwise shades of grey would stand for them.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.root = root
        self.active = ActiveRuns()
        self.theme = (
            f"{'textual' if self._has_many_colours() else 'ansi'}-{'light' if _is_light() else 'dark'}"
        )

    def _has_many_colours(self) -> bool:
        """Tell whether the terminal has more than the 16 colours that its user has chosen, and they are wanted."""
        return not self.no_color and self.console.color_system in ("256", "truecolor")

    def get_default_screen(self) -> SelectionScreen:
        """Return the first screen."""
        return SelectionScreen(self.root)

    def on_mount(self) -> None:
        """Give the terminal back when the process is asked to end."""
        with suppress(NotImplementedError):  # Windows has no such signals
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM
            )

    def on_resize(self, event: events.Resize) -> None:
        """Say so while the terminal is too small, and go on when it is not any more."""
        is_small = event.size.width < LEAST_COLUMNS or event.size.height < LEAST_LINES
        if is_small and not isinstance(self.screen, _TooSmall):
            self.push_screen(_TooSmall())
        elif not is_small and isinstance(self.screen, _TooSmall):
            self.pop_screen()

    def action_keys(self) -> None:
        """Show all keys of the screen."""
        if not isinstance(self.screen, KeysScreen | _TooSmall):
            self.push_screen(KeysScreen.of(self.screen))

    def action_change_theme(self) -> None:
        """Change between light and dark."""
        family, _, shade = self.theme.rpartition("-")
        self.theme = f"{family}-{'dark' if shade == 'light' else 'light'}"


class _TooSmall(ModalScreen[None]):
    """What a terminal shows that is too small for anything else."""

    BINDINGS: ClassVar[list[Any]] = [("q", "app.quit", "Quit")]

    def compose(self) -> ComposeResult:
        """Show a sentence."""
        with Middle(), Center():
            yield Static(
                f"Make the terminal larger: {LEAST_COLUMNS} columns and {LEAST_LINES} lines are needed. "
                "q quits.",
                id="too-small",
            )


def _is_light() -> bool:
    """Tell whether the terminal says that its background is light."""
    return os.environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")
