"""What is found on disk: experiments, how their last runs ended, and how long the next may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.config.errors import Problem
    from crystallize.store.layout import RunLocation


@dataclass(frozen=True)
class FoundExperiment:
    """One experiment or graph, as its folder tells of it; nothing of the user's is imported.

    Attributes
    ----------
    name, description : str
        Its name, and what it says of itself.
    folder, config : pathlib.Path
        Its folder, and the config.yaml in it.
    group, icon, color : str
        How config.yaml wants it shown.
    priority : int
        Small ones come first in their group.
    hidden : bool
        Whether `crystallize list` leaves it out.
    replicates : int or None
        How often each condition is repeated; None if config.yaml does not say.
    treatments, outputs : tuple of str
        Its treatments, and the artifacts that others may read.
    depends_on : tuple of str
        The experiments whose outputs it reads.
    runs : RunLocation or None
        Where it stores its runs; None if it stores none, or is broken.
    problems : tuple of Problem
        What is wrong with its config.yaml.
    """

    name: str
    folder: Path
    config: Path
    description: str = ""
    group: str = "Experiments"
    icon: str = ""
    color: str = ""
    priority: int = 100
    hidden: bool = False
    replicates: int | None = None
    treatments: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    runs: RunLocation | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def is_graph(self) -> bool:
        """Whether it reads outputs of others, which run first."""
        return bool(self.depends_on)

    @property
    def error(self) -> str:
        """The first thing that is wrong with its config.yaml; empty for most."""
        return str(self.problems[0]) if self.problems else ""
