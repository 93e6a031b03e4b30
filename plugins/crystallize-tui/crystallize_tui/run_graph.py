"""The experiments that a run takes: what it depends on, before itself, and how far each has come."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from crystallize.config.errors import ConfigError
from crystallize.config.folders import command_name
from crystallize.config.project import location_of
from crystallize.config.schema import Call
from crystallize.config.upstream import Gathered
from crystallize.errors import CrystallizeError
from crystallize.experiments.treatment import with_baseline
from crystallize.results.follow import RunFollower
from crystallize.results.runs import read_run
from crystallize.store.finding import newest_folder
from crystallize.store.metadata import FAILED, INTERRUPTED, RUNNING
from crystallize_tui.progress import RunProgress

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.results.runs import StoredRun
    from crystallize.store.layout import RunLocation


@dataclass(frozen=True)
class Node:
    """One experiment of a run, as its config.yaml tells of it.

    Attributes
    ----------
    name, command_name : str
        Its name, and what the command line calls it.
    location : RunLocation or None
        Where it stores its runs; None if it stores none.
    steps, treatments : tuple of str
        Its steps, and its treatments besides the settings of the baseline.
    caches : bool
        Whether config.yaml has the step cache on.
    """

    name: str
    command_name: str
    location: RunLocation | None
    steps: tuple[str, ...]
    treatments: tuple[str, ...]
    caches: bool


def read_nodes(config: Path) -> list[Node]:
    """Return an experiment after all those that it depends on; nothing of the user's is imported.

    Raises
    ------
    ConfigError
        With the mistakes of all files, if there are any.
    """
    drafts = Gathered(config).drafts
    if problems := [problem for draft in drafts for problem in draft.document.problems]:
        raise ConfigError(problems)
    return [
        Node(
            draft.name,
            command_name(draft.name, draft.file.parent),
            location_of(draft.name, draft.config),
            tuple(dict.fromkeys(Call.of(step).name for step in draft.config.steps)),
            with_baseline(each.name for each in draft.treatments)[1:],
            draft.config.cache,
        )
        for draft in drafts
    ]


class NodeRun:
    """The newest run of an experiment, followed while somebody makes it.

    Parameters
    ----------
    location : RunLocation or None
        Where the experiment stores its runs.

    Attributes
    ----------
    stored : StoredRun or None
        The run; None if there is none.
    progress : RunProgress
        What its journal has told so far.
    problem : str
        Why nothing can be told of it; empty for most.
    """

    def __init__(self, location: RunLocation | None) -> None:
        self.location = location
        self.stored: StoredRun | None = None
        self.progress = RunProgress()
        self.problem = "" if location is not None else "It stores no runs: its config.yaml switches that off."
        self._follower: RunFollower | None = None
        self._identity: tuple[Path, int] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a living process makes it."""
        return self.stored is not None and self.stored.status == RUNNING

    @property
    def is_unfinished(self) -> bool:
        """Whether it ended before its end."""
        return self.stored is not None and self.stored.status in (INTERRUPTED, FAILED)

    @property
    def damaged(self) -> int:
        """How many lines of the journal could not be read."""
        return 0 if self._follower is None else len(self._follower.damaged)

    def look(self) -> bool:
        """Look which run is the newest and what has become of it; tell whether anything is different."""
        if self.location is None:
            return False
        before = self.stored, self.problem
        try:
            folder = newest_folder(self.location)
            # A run without versions takes the place of another one at the same path.
            identity = None if folder is None else (folder, folder.stat().st_ino)
            self.stored = None if folder is None else read_run(self.location.experiment, folder, sized=False)
            if identity != self._identity:
                self._identity = identity
                self._follow(folder)
            elif self._follower is not None:
                self.problem = ""
        except FileNotFoundError:  # it has just gone elsewhere: the next look finds it
            return False
        except (CrystallizeError, OSError) as error:
            self.problem = str(error)
        return (self.stored, self.problem) != before

    def read(self, most: int) -> bool:
        """Read what is new in the journal, but at most so many lines; tell whether there was anything."""
        if self._follower is None:
            return False
        before = self.progress.changes
        try:
            for line in islice(self._follower.read(), most):
                self.progress.add(line)
            if self.progress.is_stale and self._identity is not None:
                self._follow(self._identity[0])
                return True
        except CrystallizeError as error:
            self.problem, self._follower = str(error), None
            return True
        return self.progress.changes != before

    def _follow(self, folder: Path | None) -> None:
        """Begin with the journal of a run."""
        self.problem, self.progress, self._follower = "", RunProgress(), None
        if folder is not None:
            self._follower = RunFollower(folder)
            self.progress = RunProgress(self._follower.sessions())
