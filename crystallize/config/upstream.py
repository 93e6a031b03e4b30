"""The experiments that a folder refers to: found, read, and put in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from crystallize.config.errors import ConfigError, KeyPath, shown
from crystallize.config.folders import (
    CONFIG,
    ROOT,
    ExperimentFolder,
    ambiguous,
    experiments_root,
    find_folders,
    folder_of,
    named,
)
from crystallize.config.reader import Draft, read_draft
from crystallize.utils.suggest import did_you_mean, listed

if TYPE_CHECKING:
    from crystallize.config.entries import Reference


class _Edge(NamedTuple):
    """A reference in a file: where it stands, and what it says."""

    path: KeyPath
    reference: Reference


class Gathered:
    """A folder's config.yaml with those of all experiments that it refers to, directly or not.

    Parameters
    ----------
    file : pathlib.Path
        The config.yaml to begin with.

    Attributes
    ----------
    drafts : list of Draft
        The experiments, each after those that it refers to.
    producers : dict
        For each file and name of an experiment that it refers to, that experiment's file.
    is_no_graph : bool
        Whether a cycle, or an upstream that is not there, is among the problems.
    """

    def __init__(self, file: Path) -> None:
        self.drafts: list[Draft] = []
        self.producers: dict[tuple[Path, str], Path] = {}
        self.is_no_graph = False
        self._read: dict[Path, Draft] = {}
        self._found: dict[Path, list[ExperimentFolder]] = {}
        self._walk(file)
        self._check_names()

    def _walk(self, file: Path) -> None:
        """Visit depth first, with a stack of our own: chains may be long."""
        stack: list[tuple[Draft, Iterator[_Edge], list[_Edge]]] = [self._enter(file)]
        while stack:
            draft, edges, taken = stack[-1]
            edge = next(edges, None)
            if edge is None:
                self.drafts.append(draft)
                stack.pop()
                continue
            target = self._target(draft, edge)
            if target is None:
                continue
            on_stack = [each.file for each, _, _ in stack]
            taken[:] = [edge]
            if target in on_stack:
                self._cycle([(each, way[0]) for each, _, way in stack[on_stack.index(target) :]])
                continue
            self.producers[draft.file, edge.reference.experiment] = target
            if target not in self._read:
                stack.append(self._enter(target))
            _check_artifact(draft, edge, self._read[target])

    def _enter(self, file: Path) -> tuple[Draft, Iterator[_Edge], list[_Edge]]:
        from crystallize.config.entries import Reference

        draft = self._read[file] = read_draft(file)
        edges = [
            _Edge(("datasource", *source.path), source.meant)
            for source in draft.config.datasource
            if isinstance(source.meant, Reference)
        ]
        return draft, iter(edges), []

    def _target(self, draft: Draft, edge: _Edge) -> Path | None:
        """Return the file that a reference leads to, or None with a problem."""
        name = edge.reference.experiment
        if name == draft.name:
            self.is_no_graph = True
            draft.document.add(edge.path, f"the experiment {name!r} refers to itself", "Refer to another one")
            return None
        beside = self._beside(draft.file.parent)
        matches = named(name, beside)
        names = {folder.name for folder in beside}
        root: Path | None = None
        if not matches:
            try:
                root = _root_of(draft.file.parent)
            except ConfigError as error:
                draft.document.problems += error.problems
                return None
            below = self._below(root)
            matches = named(name, below)
            names |= {folder.name for folder in below}
        if len(matches) == 1:
            return matches[0].config
        self.is_no_graph = True
        if matches:
            draft.document.add(edge.path, ambiguous(name, matches)[0].message, "Give each a name of its own")
        else:
            names.discard(draft.name)
            places = [draft.file.parent.parent, *([root] if root is not None else [])]
            searched = " and below ".join(dict.fromkeys(shown(place) for place in places))
            known = f"Beside it, in {searched}, are {listed(names)}"
            draft.document.add(
                edge.path,
                f"there is no experiment {name!r}",
                f"{did_you_mean(name, names)} {known}".strip(),
            )
        return None

    def _beside(self, folder: Path) -> list[ExperimentFolder]:
        parent = folder.parent
        if parent not in self._found:
            try:
                children = sorted(os.scandir(parent), key=lambda entry: entry.name)
            except OSError:
                children = []
            configs = [os.path.join(child.path, CONFIG) for child in children]  # noqa: PTH118 - hundreds of them
            self._found[parent] = [folder_of(Path(config)) for config in configs if os.path.isfile(config)]  # noqa: PTH113
        return self._found[parent]

    def _below(self, root: Path) -> list[ExperimentFolder]:
        key = root / "**"
        if key not in self._found:
            self._found[key] = find_folders(root)
        return self._found[key]

    def _cycle(self, members: list[tuple[Draft, _Edge]]) -> None:
        self.is_no_graph = True
        stations = [
            f"{draft.name!r} ({shown(draft.file)}:{draft.document.at(edge.path)[0]})"
            for draft, edge in members
        ]
        last, edge = members[-1]
        last.document.add(
            edge.path,
            f"the experiments refer to each other in a circle: {' -> '.join([*stations, repr(members[0][0].name)])}",
            "Remove one of these references",
        )

    def _check_names(self) -> None:
        """Note experiments that would share a folder of results."""
        seen: dict[str, Draft] = {}
        for draft in self.drafts:
            other = seen.setdefault(draft.name.casefold(), draft)
            if other is not draft:
                self.is_no_graph = True
                draft.document.add(
                    ("name",),
                    f"{shown(other.file)} and this experiment are both called {draft.name!r}",
                    "Give each a name of its own: it names the folder of the results",
                )


def _root_of(folder: Path) -> Path:
    """Return the nearest folder upwards called ``experiments``, or else the configured root."""
    for parent in folder.parents:
        if parent.name == ROOT:
            return parent
    return experiments_root(folder)


def _check_artifact(draft: Draft, edge: _Edge, upstream: Draft) -> None:
    alias = edge.reference.artifact
    outputs = upstream.config.outputs
    if alias in outputs or upstream.is_broken("outputs", alias) or {("outputs",), ()} & upstream.broken:
        return
    by_file = next((known for known, output in outputs.items() if output.file_name == alias), None)
    hint = f"Did you mean {by_file!r}?" if by_file else did_you_mean(alias, outputs)
    draft.document.add(
        edge.path,
        f"experiment {upstream.name!r} has no output {alias!r}",
        f"{hint} Its outputs in {shown(upstream.file)} are {listed(outputs)}".strip(),
    )
