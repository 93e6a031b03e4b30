"""The screen of an experiment's earlier versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.screen import Screen

if TYPE_CHECKING:
    from crystallize_tui.project import FoundExperiment


class HistoryScreen(Screen[None]):
    """The earlier versions of one experiment."""

    BINDINGS: ClassVar[list[Any]] = [("escape", "app.pop_screen", "Back")]

    def __init__(self, experiment: FoundExperiment) -> None:
        super().__init__()
        self.experiment = experiment
