"""The application: its screens, its themes, and the keys that work everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import App

from crystallize_tui.selection import SelectionScreen

if TYPE_CHECKING:
    from pathlib import Path


class CrystallizeApp(App[None]):
    """The terminal UI.

    Parameters
    ----------
    root : pathlib.Path, optional
        Where to look for experiments; the project's own folder of experiments, if not given.
    """

    TITLE = "Crystallize"
    CSS_PATH = "styles.tcss"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, root: Path | None = None) -> None:
        super().__init__()
        self.root = root

    def on_mount(self) -> None:
        """Open the first screen."""
        self.push_screen(SelectionScreen(self.root))
