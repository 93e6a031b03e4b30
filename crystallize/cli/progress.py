"""What a run shows on standard error while it goes on: progress, failures at once, and the log's warnings."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from crystallize.cli.screen import echo, prepare_streams
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import BasePlugin
from crystallize.utils.quantities import format_duration
from crystallize.utils.terminal import is_terminal
from crystallize.utils.wording import counted, first_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.progress import Progress, TaskID

    from crystallize.experiments.experiment import Experiment
    from crystallize.results.result import Result
    from crystallize.store.layout import RunLocation
    from crystallize.store.outcome import OutcomeError, ReplicateResult

_MOST_BARS = 12  # an experiment with more conditions has one bar for all of them
_SECONDS_BETWEEN_LINES = 2.0


class RunProgress:
    """One experiment of the command's run.

    Attributes
    ----------
    name : str
        The experiment.
    conditions : tuple of str
        Those of this run.
    replicates, done, reused : int
        How many there are to be, how many have arrived, and how many of these were there already: they come first, and
        tell nothing of how long the rest takes.
    failed : dict of str to int
        The failed outcomes of each condition.
    location : RunLocation or None
        Where it is stored.
    path : pathlib.Path or None
        The folder of its run, once that is complete.
    ended : bool
        Whether it came to its end.
    is_open : bool
        Whether a stopping rule decides how many replicates there are: `replicates` is then the most.
    works_since : float
        When the first outcome began that was run: workers may take longer to start than all outcomes together.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.name = experiment.folder_name
        self.conditions = experiment.conditions
        run = experiment.current_run
        only = None if run is None else run.only
        self.is_open = run is not None and run.stop_when is not None
        self.replicates = (experiment.replicates or 0) if only is None else len(only)
        self.done = self.reused = 0
        self.failed = dict.fromkeys(self.conditions, 0)
        self.location: RunLocation | None = experiment.location()
        self.path: Path | None = None
        self.ended = False
        self.began = self.works_since = time.monotonic()

    @property
    def failures(self) -> int:
        """The failed outcomes of all conditions."""
        return sum(self.failed.values())


class Display(Protocol):
    """What shows the progress; called by one thread at a time."""

    def begin(self, run: RunProgress) -> None:
        """Show that an experiment starts."""

    def advance(self, run: RunProgress) -> None:
        """Show that one more replicate has arrived."""

    def end(self, run: RunProgress) -> None:
        """Show that an experiment has ended."""

    def say(self, text: str, style: str = "") -> None:
        """Print a text for good."""

    def close(self) -> None:
        """Leave the final state behind."""


class ProgressPlugin(BasePlugin):
    """Tells a display how the runs of one command go on.

    All experiments of a command share one; in a worker it is an idle copy.

    Parameters
    ----------
    display : Display, optional
        What shows it.
    tells_failures : bool, default True
        Whether the first failure of each condition is shown as it happens.

    Attributes
    ----------
    runs : list of RunProgress
        The experiments that have begun, in that order.
    """

    def __init__(self, display: Display | None = None, *, tells_failures: bool = True) -> None:
        self._display = display
        self._tells_failures = tells_failures
        self._lock = threading.Lock()  # a graph runs independent experiments at the same time
        self.runs: list[RunProgress] = []
        self._of: dict[str, RunProgress] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _idle_copy, ()

    @hookimpl(trylast=True)  # the other plugins did not object
    def before_run(self, experiment: Experiment) -> None:
        """Note that the experiment starts."""
        if self._display is None or experiment.run_kind != "run":
            return
        with self._lock:
            run = RunProgress(experiment)
            self.runs.append(run)
            self._of[run.name] = run
            self._display.begin(run)

    def after_replicate(self, experiment: Experiment, result: ReplicateResult) -> None:
        """Count the replicate, and tell the first failure of each condition at once."""
        run = self._of.get(experiment.folder_name)
        if self._display is None or run is None:
            return
        with self._lock:
            run.done += 1
            new = [outcome for outcome in result.outcomes if outcome.condition not in result.reused]
            run.reused += not new
            if new and run.done - run.reused == 1:
                seconds = time.time() - min(outcome.started for outcome in new)
                run.works_since = max(run.began, time.monotonic() - seconds)
            for error in result.errors:
                if self._tells_failures:
                    self._print_first_failure(self._display, experiment, run, error)
                run.failed[error.condition] += 1
            self._display.advance(run)

    def after_run(self, experiment: Experiment, result: Result) -> None:
        """Note where the run was stored."""
        run = self._of.get(experiment.folder_name)
        if self._display is None or run is None:
            return
        with self._lock:
            run.path = result.path
            run.ended = True
            if run.is_open:  # what was in flight when the rule had seen enough does not count
                run.replicates = run.done = result.replicates
                run.is_open = False
            self._display.end(run)

    @staticmethod
    def _print_first_failure(
        display: Display, experiment: Experiment, run: RunProgress, error: OutcomeError
    ) -> None:
        from crystallize.experiments.failure_policy import how_to_repeat

        if run.failed[error.condition]:
            return
        first = not run.failures
        display.say(f"{run.name}: the first failure under {error.condition!r}: {error}", "red")
        if first:
            if error.traceback:
                display.say(error.traceback.rstrip("\n"))
            display.say(how_to_repeat(experiment, error))


def _idle_copy() -> ProgressPlugin:
    """Return the plugin's copy in a worker, whose steps then print to whatever stream as the coordinator's do."""
    prepare_streams()
    return ProgressPlugin()


# -- displays ------------------------------------------------------------------------------------------------


class PlainLines:
    """Progress as plain lines, for pipes and files."""

    def __init__(self) -> None:
        self._next = 0.0

    def begin(self, run: RunProgress) -> None:
        """Show that an experiment starts."""
        most = "at most " if run.is_open else ""
        self.say(f"{run.name}: {most}{counted(run.replicates, 'replicate')} under {first_of(run.conditions)}")
        self._next = time.monotonic() + _SECONDS_BETWEEN_LINES

    def advance(self, run: RunProgress) -> None:
        """Show the state and the time left, now and then."""
        now = time.monotonic()
        if now >= self._next and run.reused < run.done < run.replicates:
            self._next = now + _SECONDS_BETWEEN_LINES
            left = (now - run.works_since) / (run.done - run.reused) * (run.replicates - run.done)
            about = "at most" if run.is_open else "about"
            self.say(f"{run.name}: {_progress_text(run)}, {about} {format_duration(left)} left")

    def end(self, run: RunProgress) -> None:
        """Show that an experiment has ended."""
        self.say(f"{run.name}: {_progress_text(run)} in {format_duration(time.monotonic() - run.began)}")

    def say(self, text: str, style: str = "") -> None:
        """Print a text."""
        echo(text, err=True)

    def close(self) -> None:
        """Leave it at that."""


class Bars:
    """Progress as one bar for each condition of each experiment, for terminals."""

    def __init__(self) -> None:
        self._progress = self._make()
        self._bars: dict[str, dict[str, TaskID]] = {}

    @staticmethod
    def _make() -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from crystallize.cli.screen import console

        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failures]}", style="red"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console(stderr=True),
            redirect_stdout=is_terminal(sys.stdout),  # else what steps print belongs to the pipe
        )

    def begin(self, run: RunProgress) -> None:
        """Show empty bars."""
        self._progress.start()
        names = (
            run.conditions if len(run.conditions) <= _MOST_BARS else (f"{len(run.conditions)} conditions",)
        )
        self._bars[run.name] = {
            name: self._progress.add_task(f"{run.name}  {name}", total=run.replicates, failures="")
            for name in names
        }

    def advance(self, run: RunProgress) -> None:
        """Move the bars, once something is run."""
        if run.done == run.reused:
            return
        bars = self._bars[run.name]
        for name, bar in bars.items():
            if run.reused and run.reused == run.done - 1:  # what was there is no part of the pace
                self._progress.reset(bar, completed=run.reused)
                self._progress.tasks[bar].start_time = run.began
            failed = run.failed.get(name, 0) if len(bars) == len(run.conditions) else run.failures
            self._progress.update(bar, completed=run.done, failures=f"{failed} failed" if failed else "")

    def end(self, run: RunProgress) -> None:
        """Leave the bars as they are, and full if there were fewer replicates than there might have been."""
        for bar in self._bars[run.name].values():
            self._progress.update(bar, total=run.replicates, completed=run.done)
        self._progress.refresh()

    def say(self, text: str, style: str = "") -> None:
        """Print a text above the bars."""
        self._progress.console.print(text, style=style or None)

    def close(self) -> None:
        """Leave the final state behind."""
        self._progress.stop()


def make_display(*, plain: bool = False) -> Display:
    """Return bars if standard error is a terminal that can draw them, and not to be kept `plain`; else lines."""
    can_draw = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"
    return Bars() if can_draw and not plain else PlainLines()


# -- the log -------------------------------------------------------------------------------------------------


class _Handler(logging.Handler):
    def __init__(self, display: Display, level: int) -> None:
        super().__init__(level)
        self._show = display

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            if record.levelno >= logging.WARNING:
                self._show.say(f"{record.levelname.capitalize()}: {text}", "yellow")
            else:
                self._show.say(f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {text}", "dim")
        except Exception:
            self.handleError(record)


@contextmanager
def show_log(display: Display, level: int) -> Iterator[None]:
    """Show what Crystallize logs from `level` on, except for failed outcomes, which :class:`ProgressPlugin` tells."""
    logger = logging.getLogger("crystallize")
    handler = _Handler(display, level)
    handler.addFilter(lambda record: record.name != "crystallize.experiment.failures")
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


# -- words ---------------------------------------------------------------------------------------------------


def _progress_text(run: RunProgress) -> str:
    failed = f", {counted(run.failures, 'outcome')} failed" if run.failures else ""
    return f"{run.done}/{run.replicates} replicates{failed}"
