"""The screen on which an experiment runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.screen import Screen

if TYPE_CHECKING:
    from crystallize_tui.project import FoundExperiment


class RunScreen(Screen[None]):
    """The screen of one experiment's run."""

    BINDINGS: ClassVar[list[Any]] = [("escape", "app.pop_screen", "Back")]

    def __init__(self, experiment: FoundExperiment) -> None:
        super().__init__()
        self.experiment = experiment
