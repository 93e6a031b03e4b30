"""The experiments of a project, as the config.yaml of each tells of it; nothing of the user's is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.config.errors import ConfigError
from crystallize.config.folders import find_folders
from crystallize.discovery import CORE, normalise
from crystallize.store.layout import ROOT, RunLocation, root_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from crystallize.config.errors import Problem
    from crystallize.config.folders import ExperimentFolder
    from crystallize.config.schema import ExperimentConfig

GRAPH = "\N{CHART WITH UPWARDS TREND}"
BROKEN = "Broken"


@dataclass(frozen=True)
class FoundExperiment:
    """One experiment or graph, as its folder tells of it.

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
    group: str = BROKEN
    icon: str = ""
    color: str = ""
    priority: int = 0
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


def find_experiments(root: Path) -> Iterator[FoundExperiment]:
    """Yield the experiments below a folder as they are read, those with mistakes too.

    Raises
    ------
    OSError
        If `root` itself cannot be read.
    """
    for folder in find_folders(root):
        yield read_experiment(folder)


def read_experiment(folder: ExperimentFolder) -> FoundExperiment:
    """Return what the config.yaml of a folder tells."""
    # Slow, and not needed where there are none.
    from crystallize.config.reader import read_config
    from crystallize.config.treatments import treatments_of
    from crystallize.experiments.treatment import with_baseline

    try:
        config = read_config(folder.config)
    except ConfigError as error:
        return FoundExperiment(folder.name, folder.path, folder.config, problems=error.problems)
    return FoundExperiment(
        folder.name,
        folder.path,
        folder.config,
        description=config.description,
        group=config.cli.group,
        icon=config.cli.icon,
        color=config.cli.color,
        priority=config.cli.priority,
        hidden=config.cli.hidden,
        replicates=config.replicates,
        treatments=with_baseline(each.name for each in treatments_of(config.treatments))[1:],
        outputs=tuple(config.outputs),
        depends_on=tuple(dict.fromkeys(reference.experiment for reference in config.references())),
        runs=location_of(folder.name, config),
    )


def in_order(found: Iterable[FoundExperiment]) -> list[FoundExperiment]:
    """Return experiments by group, priority and name, broken ones last; a group stands where its first one would."""
    found = list(found)
    first: dict[str, int] = {}
    for each in found:
        first[each.group] = min(each.priority, first.get(each.group, each.priority))

    def sort_key(each: FoundExperiment) -> tuple[Any, ...]:
        return bool(each.problems), first[each.group], each.group, each.priority, each.name

    return sorted(found, key=sort_key)


def location_of(name: str, config: ExperimentConfig) -> RunLocation | None:
    """Return where an experiment stores its runs; None if the plugin that stores is switched off."""
    plugins = {normalise(key): setting for key, setting in config.plugins.items()}
    settings = plugins.get("artifact", {})
    if settings is False or plugins.get(CORE) is False:
        return None
    arguments = settings if isinstance(settings, dict) else {}
    root = str(arguments.get("root_dir", ROOT))
    return RunLocation(root_folder(root), name, bool(arguments.get("versioned", True)))
