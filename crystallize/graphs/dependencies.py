"""Which experiments of a graph read which: found from their data sources, checked, and put in order."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from crystallize.datasources.artifact import Artifact, ArtifactSource
from crystallize.errors import GraphError
from crystallize.experiments.treatment import with_baseline
from crystallize.store.finding import find_run
from crystallize.store.metadata import read_metadata
from crystallize.utils.names import name_key
from crystallize.utils.wording import listed, name_hint

if TYPE_CHECKING:
    from crystallize.datasources.datasource import DataSource
    from crystallize.experiments.experiment import Experiment
    from crystallize.store.layout import RunLocation

Nodes = Mapping[str, "Experiment"]
"""The experiments of a graph by name, in the order in which they were added."""

Upstream = dict[str, tuple[str, ...]]
"""For each experiment those that it depends on."""


def files_of(experiments: Iterable[Experiment]) -> str:
    """Return where experiments come from, for messages: their names with their files."""
    return ", ".join(
        f"{each.folder_name!r} in {each.source}" for each in experiments if each.source is not None
    )


class Dependencies:
    """Who stores what, and who reads what, among the experiments of a graph.

    Parameters
    ----------
    nodes : mapping of str to Experiment
        The experiments.
    declared : mapping of str to sequence of str, optional
        For each experiment those that it depends on though no data source shows it.

    Raises
    ------
    GraphError
        If two store their runs in one folder; names that differ in their case only do on some systems.
    """

    def __init__(self, nodes: Nodes, declared: Mapping[str, Sequence[str]] | None = None) -> None:
        self.nodes = nodes
        self._declared = declared or {}
        self._roots: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for name, node in nodes.items():
            location = node.location()
            if location is None:
                continue
            other = self._names.setdefault(self._key(location), name)
            if other != name:
                raise GraphError(
                    f"the experiments {other!r} and {name!r} store their runs in one folder, {location.folder}",
                    files_of([nodes[other], node]),
                    "Give one of them another name, or an ArtifactPlugin with another root_dir",
                )

    def _key(self, location: RunLocation) -> str:
        """Return what is equal for equal folders, also on systems that do not tell ``A`` from ``a``."""
        root = self._roots.get(location.root)
        if root is None:
            root = self._roots[location.root] = os.path.realpath(location.root)
        return f"{root}/{name_key(location.experiment)}"

    def owner(self, location: RunLocation) -> str | None:
        """Return the experiment that stores its runs there, or None if it is not in the graph."""
        return self._names.get(self._key(location))

    def producer_of(self, leaf: DataSource) -> str | None:
        """Return the experiment that writes the artifact that `leaf` reads, or None."""
        if not isinstance(leaf, Artifact | ArtifactSource):
            return None
        return next((name for location in leaf.producers() if (name := self.owner(location))), None)

    def upstream(self, extra_sources: Mapping[str, Sequence[DataSource]] | None = None) -> Upstream:
        """Return what each experiment depends on: those whose artifacts it reads, then those that were declared.

        Parameters
        ----------
        extra_sources : mapping of str to sequence of DataSource, optional
            What experiments read besides, in one run.

        Raises
        ------
        GraphError
            If an experiment reads itself, or what no experiment stores, or what two write.
        """
        writers: dict[int, list[Experiment]] = {}
        for node in self.nodes.values():
            for output in node.outputs.values():
                writers.setdefault(id(output), []).append(node)
        upstream: Upstream = {}
        for name, node in self.nodes.items():
            found: dict[str, None] = {}
            sources = [*sources_of(node), *(extra_sources or {}).get(name, ())]
            for leaf in (leaf for source in sources for leaf in source.leaves()):
                if isinstance(leaf, Artifact):
                    _check_artifact(leaf, node, writers.get(id(leaf), ()))
                for producer in filter(None, map(self.owner, leaf.producers())):
                    _check_source(leaf, node, self.nodes[producer])
                    found[producer] = None
            found |= dict.fromkeys(self._declared.get(name, ()))
            upstream[name] = tuple(found)
        return upstream

    def outside(self) -> dict[str, list[RunLocation]]:
        """Return for each experiment where the producers store that it reads and the graph does not have."""
        found: dict[str, list[RunLocation]] = {}
        for name, node in self.nodes.items():
            read = {self._key(each): each for source in sources_of(node) for each in source.producers()}
            found[name] = [location for key, location in read.items() if key not in self._names]
        return found

    def check_outside(self) -> None:
        """Refuse to run what reads an experiment that is not in the graph and has no stored run.

        Raises
        ------
        GraphError
            If there is such an experiment.
        """
        for name, locations in self.outside().items():
            for location in locations:
                if find_run(location) is None:
                    raise GraphError(
                        f"experiment {name!r} reads experiment {location.experiment!r}, which is not in the graph "
                        f"and has no stored run in {location.folder}",
                        files_of([self.nodes[name]]),
                        "Add it to the graph, or run it first",
                    )


def in_order(upstream: Upstream, nodes: Nodes) -> list[str]:
    """Return the names so that each comes after all that it depends on; else as they were added.

    Raises
    ------
    GraphError
        If the experiments form a cycle; the message spells it out.
    """
    sorter = TopologicalSorter({name: upstream[name] for name in nodes})
    try:
        sorter.prepare()
    except CycleError as error:
        raise _cycle_error(nodes, error.args[1]) from None
    names = list(nodes)
    position = {name: index for index, name in enumerate(names)}
    ready: list[int] = []
    ordered: list[str] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, position[name])
        ordered.append(names[heapq.heappop(ready)])
        sorter.done(ordered[-1])
    return ordered


def downstream_of(upstream: Upstream) -> dict[str, list[str]]:
    """Return for each experiment those that depend on it."""
    downstream: dict[str, list[str]] = {name: [] for name in upstream}
    for name, producers in upstream.items():
        for producer in producers:
            downstream[producer].append(name)
    return downstream


def stored_conditions(location: RunLocation) -> list[str]:
    """Return the conditions of the stored run that a consumer would read; none if there is no run."""
    run = find_run(location)
    metadata = None if run is None else read_metadata(run)
    return list((metadata or {}).get("conditions") or ())


def sources_of(experiment: Experiment) -> list[DataSource]:
    """Return the data sources of an experiment and of its treatments."""
    swapped = (each.datasource for each in experiment.treatments)
    return [experiment.datasource, *(source for source in swapped if source is not None)]


def _check_artifact(artifact: Artifact, reader: Experiment, writers: Sequence[Experiment]) -> None:
    if len(writers) > 1:
        raise GraphError(
            f"experiment {reader.folder_name!r} reads the artifact {artifact.name!r}, which is an output of "
            f"{listed(each.folder_name for each in writers)}",
            files_of([reader, *writers]),
            "Give each experiment an Artifact object of its own",
        )
    if artifact.producers():
        return
    if writers:
        (writer,) = writers
        raise GraphError(
            f"experiment {reader.folder_name!r} reads the artifact {artifact.name!r} of experiment "
            f"{writer.folder_name!r}, which stores nothing",
            files_of([reader, writer]),
            f"Give {writer.folder_name!r} an ArtifactPlugin, and do not disable the one that is installed",
        )
    raise GraphError(
        f"experiment {reader.folder_name!r} reads the artifact {artifact.name!r}, which no experiment stores",
        files_of([reader]),
        "Pass it in outputs=[...] of an experiment with an ArtifactPlugin",
    )


def _check_source(leaf: DataSource, reader: Experiment, producer: Experiment) -> None:
    if producer is reader:
        raise GraphError(
            f"experiment {reader.folder_name!r} reads its own artifacts: {leaf!r}",
            files_of([reader]),
            "Split it in two: one that writes them, and one that reads them",
        )
    if not isinstance(leaf, ArtifactSource):
        return
    for what, name, known in (
        ("step", leaf.step, producer.pipeline.names),
        ("condition", leaf.only_condition, with_baseline(each.name for each in producer.treatments)),
    ):
        if name is not None and name not in known:
            raise GraphError(
                f"experiment {reader.folder_name!r} reads {leaf.name!r} of {what} {name!r}, and experiment "
                f"{producer.folder_name!r} has no such {what}",
                files_of([reader, producer]),
                name_hint(name, f"Its {what}s are", known),
            )


def _cycle_error(nodes: Nodes, cycle: list[str]) -> GraphError:
    """Make the error for a cycle, told from the experiment on that was added first."""
    *members, _ = cycle  # the first one once more
    start = members.index(min(members, key=list(nodes).index))
    members = [*members[start:], *members[:start]]
    return GraphError(
        f"the experiments depend on each other in a cycle: {' -> '.join(map(repr, [*members, members[0]]))}",
        files_of(nodes[each] for each in members),
        "An arrow leads to the experiment that reads the one before it: remove one of them",
    )
