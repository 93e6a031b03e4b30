"""The first screen: which experiments there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

if TYPE_CHECKING:
    from pathlib import Path


class SelectionScreen(Screen[None]):
    """The experiments and graphs of a project, by group.

    Parameters
    ----------
    root : pathlib.Path or None
        Where to look for them; None for the project's own folder of experiments.
    """

    def __init__(self, root: Path | None = None) -> None:
        super().__init__()
        self.root = root
