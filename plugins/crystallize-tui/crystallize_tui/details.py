"""What is to be known of one experiment: its last run, its mistakes, its config.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.containers import Vertical
from textual.widgets import Static

from crystallize.utils.quantities import format_time
from crystallize.utils.wording import counted
from crystallize_tui.config_file import ConfigFile
from crystallize_tui.config_tree import ConfigTree
from crystallize_tui.wording import about, one_line, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from textual.app import ComposeResult

    from crystallize.config.project import FoundExperiment
    from crystallize_tui.project import Past


class Details(Vertical):
    """The pane that tells of one experiment."""

    # As it was read: after another look at the disk it is another one.
    _experiment: FoundExperiment | None = None

    def compose(self) -> ComposeResult:
        """Show facts, and below them the configuration."""
        yield Static(id="facts")
        yield ConfigTree(id="config")

    def show(self, experiment: FoundExperiment | None, past: Past | None) -> None:
        """Tell of another experiment, or of none; of one that is shown already nothing is new."""
        if experiment is self._experiment:
            return
        self._experiment = experiment
        self._tell(past)
        self.query_one(ConfigTree).show(None if experiment is None else ConfigFile(experiment.config))

    def learn(self, pasts: Mapping[Path, Past]) -> None:
        """Tell of the runs of the experiment that is shown, if they are among these."""
        if self._experiment is not None and self._experiment.config in pasts:
            self._tell(pasts[self._experiment.config])

    def _tell(self, past: Past | None) -> None:
        facts: Iterable[Text] = ()
        if self._experiment is not None:
            is_broken = bool(self._experiment.problems)
            facts = _problems(self._experiment) if is_broken else _facts(self._experiment, past)
        self.query_one("#facts", Static).update(Text("\n").join(facts))


def _problems(experiment: FoundExperiment) -> Iterator[Text]:
    yield plain(one_line(experiment.name), "bold")
    yield from (plain(str(problem), "red") for problem in experiment.problems)


def _facts(experiment: FoundExperiment, past: Past | None) -> Iterator[Text]:
    yield plain(one_line(experiment.name), "bold")
    if experiment.description:
        yield plain(one_line(experiment.description))
    if experiment.depends_on:
        yield plain(f"after {', '.join(map(one_line, experiment.depends_on))}")
    replicates = "as many replicates as there is data for"
    if experiment.replicates is not None:
        replicates = counted(experiment.replicates, "replicate")
    conditions = ", ".join(["baseline", *map(one_line, experiment.treatments)])
    yield plain(f"{replicates}: {conditions}")
    if past is not None:
        yield plain(_last(past))


def _last(past: Past) -> str:
    """Return how the last run ended, and how long the next may take."""
    last = past.last
    if last is None:
        return past.problem or "never run"
    told = f"{last.name} {last.status}" + (f", {format_time(last.when)}" if last.when else "")
    if last.failed_outcomes:
        told += f", {counted(last.failed_outcomes, 'outcome')} failed"
    return told + (f"; the next takes {about(past.estimate)}" if past.estimate else "")
