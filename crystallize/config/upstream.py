"""The experiments that a folder refers to: found, read, and put in order."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.config.errors import ConfigError
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
from crystallize.utils.names import name_key
from crystallize.utils.wording import name_hint, shown

if TYPE_CHECKING:
    from crystallize.config.schema import Reference, Source


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
        For each file, the files of the experiments that it refers to, by the names that it uses for them.
    is_no_graph : bool
        Whether a cycle, or an upstream that is not there, is among the problems.
    """

    def __init__(self, file: Path) -> None:
        self.drafts: list[Draft] = []
        self.producers: dict[Path, dict[str, Path]] = {}
        self.is_no_graph = False
        self._read: dict[Path, Draft] = {}
        # Each place is searched once, however many references there are.
        self._beside, self._below = cache(_beside), cache(find_folders)
        self._visit(file, {})
        self._check_names()

    def _visit(self, file: Path, followed: dict[Path, Source]) -> None:
        """Read a file after those that it refers to; `followed` are the references that lead to it, by their file."""
        draft = self._read[file] = read_draft(file)
        self.producers[file] = {}
        for source in draft.config.sources():
            reference = source.reference
            if reference is None or (target := self._target(draft, source, reference.experiment)) is None:
                continue
            followed[file] = source
            if target in followed:
                members = list(followed.items())
                self._note_circle(members[list(followed).index(target) :])
                continue
            self.producers[file][reference.experiment] = target
            if target not in self._read:
                self._visit(target, followed)
            _check_artifact(draft, source, reference, self._read[target])
        followed.pop(file, None)
        self.drafts.append(draft)

    def _target(self, draft: Draft, source: Source, name: str) -> Path | None:
        """Return the file that a reference leads to, or None with a problem."""
        note = draft.document.add
        if name == draft.name:
            self.is_no_graph = True
            note(source.path, f"the experiment {name!r} refers to itself", "Refer to another one")
            return None
        folder = draft.file.parent
        known, places = self._beside(folder.parent), [folder.parent]
        matches = named(name, known)
        if not matches:
            try:
                root = _root_of(folder)
            except ConfigError as error:
                draft.document.problems += error.problems
                return None
            known, places = [*known, *self._below(root)], [*places, root]
            matches = named(name, self._below(root))
        if len(matches) == 1:
            return matches[0].config
        self.is_no_graph = True
        if matches:
            note(source.path, ambiguous(name, matches)[0].message, "Give each a name of its own")
            return None
        names = {each.name for each in known} - {draft.name}
        searched = " and below ".join(dict.fromkeys(shown(place) for place in places))
        hint = name_hint(name, f"Beside it, in {searched}, are", names)
        note(source.path, f"there is no experiment {name!r}", hint)
        return None

    def _note_circle(self, members: list[tuple[Path, Source]]) -> None:
        self.is_no_graph = True
        drafts = [self._read[file] for file, _ in members]
        stations = [
            f"{draft.name!r} ({shown(draft.file)}:{draft.document.at(source.path)[0]})"
            for draft, (_, source) in zip(drafts, members, strict=True)
        ]
        circle = " -> ".join([*stations, repr(drafts[0].name)])
        message = f"the experiments refer to each other in a circle: {circle}"
        drafts[-1].document.add(members[-1][1].path, message, "Remove one of these references")

    def _check_names(self) -> None:
        """Note experiments that would share a folder of results."""
        seen: dict[str, Draft] = {}
        for draft in self.drafts:
            other = seen.setdefault(name_key(draft.name), draft)
            if other is not draft:
                self.is_no_graph = True
                message = f"{shown(other.file)} and this experiment are both called {draft.name!r}"
                if other.name != draft.name:
                    message += f", which some systems do not tell from {other.name!r}"
                hint = "Give each a name of its own: it names the folder of the results"
                draft.document.add(("name",), message, hint)


def _beside(parent: Path) -> list[ExperimentFolder]:
    """Return the experiments in a folder, not those further below it."""
    try:
        children = sorted(os.scandir(parent), key=lambda entry: entry.name)
    except OSError:
        return []
    configs = [os.path.join(child.path, CONFIG) for child in children]  # noqa: PTH118 - hundreds of them
    return [folder_of(Path(config)) for config in configs if os.path.isfile(config)]  # noqa: PTH113


def _root_of(folder: Path) -> Path:
    """Return the nearest folder upwards called ``experiments``, or else the configured root."""
    nearest = next((parent for parent in folder.parents if parent.name == ROOT), None)
    return nearest or experiments_root(folder)


def _check_artifact(draft: Draft, source: Source, reference: Reference, upstream: Draft) -> None:
    alias, outputs = reference.artifact, upstream.config.outputs
    if alias in outputs or upstream.is_broken("outputs", alias):
        return
    of_file = next((known for known, output in outputs.items() if output.file_name == alias), None)
    hint = name_hint(of_file or alias, f"Its outputs in {shown(upstream.file)} are", outputs)
    message = f"experiment {upstream.name!r} has no output {alias!r}"
    draft.document.add(source.path, message, hint)
