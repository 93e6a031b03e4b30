"""The screen on which an experiment runs, after what it depends on."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Input, OptionList, Static, TabbedContent, TabPane
from textual.widgets.option_list import Option

from crystallize.cli.errors import FAILED, WRONG_USE
from crystallize.errors import CrystallizeError
from crystallize.experiments.failure_policy import outcome_command
from crystallize.store.locks import holder_of, lock_of
from crystallize.utils.text_table import columns_of, shorten
from crystallize.utils.wording import counted
from crystallize_tui.footer import KeyFooter
from crystallize_tui.history import HistoryScreen
from crystallize_tui.log_pane import LogPane
from crystallize_tui.run_graph import Node, NodeRun, read_nodes
from crystallize_tui.run_process import CommandProcess
from crystallize_tui.run_text import bar, estimate, sparkline, time_left
from crystallize_tui.state import Toggles, read_toggles, write_toggles
from crystallize_tui.summary import SummaryPane
from crystallize_tui.tables import LiveTable, LiveText
from crystallize_tui.wording import one_line, plain

if TYPE_CHECKING:
    from datetime import datetime

    from textual.app import ComposeResult

    from crystallize.config.project import FoundExperiment
    from crystallize_tui.run_process import ActiveRuns

SECONDS_BETWEEN_TICKS = 0.1
"""The screen is drawn once in this time at most, however fast outcomes arrive."""
_SECONDS_OF_READING = 0.04
_LINES_AT_ONCE = 500
_TICKS_BETWEEN_LOOKS = 5
_MOST_ROWS = 200
_WIDE, _NARROW_BAR, _WIDE_BAR = 120, 10, 40
_SHORTEST_NAME = 20
_MARKS = {"": "○", "complete": "✓", "running": "●", "failed": "✗", "interrupted": "!", "damaged": "✗"}
_PLAIN_MARKS = {"": "-", "complete": "ok", "running": "->", "failed": "X", "interrupted": "!", "damaged": "X"}
_NO_LOG = "What a run prints is shown here. R runs the experiment."
_ELSEWHERE = "Another process makes this run: what it prints is where that was started."


class RunScreen(Screen[None]):
    """The screen of one experiment's run.

    Parameters
    ----------
    experiment : FoundExperiment
        The experiment.

    Attributes
    ----------
    ticks : int
        How often it was looked whether anything is new.
    redraws : int
        How often what is shown of the run has been drawn.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("R", "run_or_cancel", "Run"),
        Binding("l", "toggle_cache", "Cache"),
        Binding("x", "toggle_treatment", "Treatment"),
        Binding("S", "show('summary')", "Summary"),
        Binding("P", "show('progress')", "Progress", show=False),
        Binding("L", "show('log')", "Log"),
        Binding("E", "show('errors')", "Errors"),
        # A priority has it done before the next key is looked at, which may have come with it.
        Binding("slash", "search", "Find", key_display="/", priority=True),
        Binding("t", "toggle_plain", "Plain or rich", show=False),
        Binding("h", "history", "History", show=False),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, experiment: FoundExperiment) -> None:
        super().__init__()
        self.experiment = experiment
        self.ticks = 0
        self.redraws = 0
        self._experiments: list[Node] = []
        self._runs: dict[str, NodeRun] = {}
        self._toggles, self._note = Toggles(), ""
        self._problem = ""
        self._chosen: str | None = None  # the node that is looked at; else the one that runs
        self._is_plain = False

    def compose(self) -> ComposeResult:
        """Make the plan on the left, and what is told of the run on the right."""
        yield LiveText(id="title", markup=False)
        with Horizontal():
            yield OptionList(id="plan", markup=False)
            with TabbedContent(initial="progress"):
                with TabPane("Progress", id="progress"):
                    yield LiveText(id="where", classes="note", markup=False)
                    yield LiveTable("condition", "", "done", "failed", "left", names=1, id="conditions")
                    yield LiveTable("metric", "condition", "n", "mean, 95%", "course", names=2, id="metrics")
                with TabPane("Log", id="log"):
                    yield LogPane(_NO_LOG)
                with TabPane("Errors", id="errors"), VerticalScroll(can_focus=True):
                    yield LiveText(id="problems", markup=False)
                with TabPane("Summary", id="summary"):
                    yield SummaryPane()
        yield KeyFooter(compact=True)

    def on_mount(self) -> None:
        """Read the config, take up a run that goes on, and begin to look."""
        self._load()
        self.query_one("#plan").focus()
        process = self._process
        if process is not None:
            self.query_one(LogPane).add(process.lines)
        self._tick()
        self.set_interval(SECONDS_BETWEEN_TICKS, self._tick)

    # -- what there is ---------------------------------------------------------------------------------------

    @property
    def _active(self) -> ActiveRuns:
        active: ActiveRuns = self.app.active  # type: ignore[attr-defined]
        return active

    @property
    def _process(self) -> CommandProcess | None:
        return self._active.get(self.experiment.config)

    @property
    def _is_running(self) -> bool:
        return self._process is not None and self._process.code is None

    @property
    def _resumes(self) -> bool:
        return self._toggles.strategy == "resume"

    def _load(self) -> bool:
        """Read the config.yaml and what is switched; tell whether it can be used."""
        try:
            self._experiments, self._problem = read_nodes(self.experiment.config), ""
        except (CrystallizeError, OSError) as error:
            self._problem = str(error)
            self._draw_plan()
            return False
        own = self._experiments[-1]
        before = {node.name: node.location for node in self._experiments}
        self._runs = {
            name: kept if (kept := self._runs.get(name)) and kept.location == location else NodeRun(location)
            for name, location in before.items()
        }
        toggles, self._note = read_toggles(self.experiment.folder, own.caches)
        self._toggles = toggles.of_steps(own.steps)
        self._draw_plan()
        return True

    def _treatments(self) -> list[str]:
        """Return the treatments of all experiments: they flow through a graph by name."""
        return list(dict.fromkeys(each for node in reversed(self._experiments) for each in node.treatments))

    def _shown_name(self) -> str:
        """Return the experiment to show: the one chosen, the one that runs, or the one that the last run came to."""
        own = self._experiments[-1].name
        if self._chosen is not None:
            return self._chosen
        if running := [name for name, run in self._runs.items() if run.is_running]:
            return own if own in running else running[-1]
        begun = {name: run.stored.started for name, run in self._runs.items() if run.stored is not None}
        latest = max((each for each in begun.values() if each), default=None)
        stopped = [name for name in begun if begun[name] == latest and self._runs[name].is_unfinished]
        return stopped[0] if stopped else own

    # -- the clock -------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Read what is new, for a moment, and draw once if anything is."""
        self.ticks += 1
        is_different = self.ticks == 1
        process = self._process
        if process is not None and not process.is_end_told:
            ended = process.code is not None
            lines = process.read()
            self.query_one(LogPane).add(lines)
            if ended and not lines:
                process.is_end_told = is_different = True
                self._tell_end(process)
        if self.ticks % _TICKS_BETWEEN_LOOKS == 1 or is_different:
            looks = [run.look() for run in self._runs.values()]
            is_different = is_different or any(looks)
        until = time.monotonic() + _SECONDS_OF_READING
        while True:
            reads = [run.read(_LINES_AT_ONCE) for run in self._runs.values()]
            is_different = is_different or any(reads)
            if not any(reads) or time.monotonic() > until:
                break
        if is_different:
            self._draw()
        self.query_one(LogPane).flush()

    def _tell_end(self, process: CommandProcess) -> None:
        for run in self._runs.values():
            run.look()
            run.read(_LINES_AT_ONCE)
        if process.code == 0 and not self._has_run_since(process.began):
            self.notify("Nothing was owed. l switches to rerun, which runs everything anew.", markup=False)
        elif process.code == 0:
            is_stored = self._runs[self._experiments[-1].name].location is not None
            where = "S shows the summary." if is_stored else "L shows what it measured."
            self.notify(f"The run is complete. {where}", markup=False)
        elif process.is_cancelled:
            goes_on = "R goes on" if self._resumes else "l switches to resume, which goes on with it"
            self.notify(f"The run was cancelled. What had finished is kept; {goes_on}.", markup=False)
        else:
            self.notify("The run ended with errors. E shows them.", severity="error", markup=False)

    def _has_run_since(self, when: datetime) -> bool:
        """Tell whether anything was run since then: what resumes a run to which nothing is owed leaves it as it is."""
        stored = [run.stored for run in self._runs.values() if run.location is not None]
        is_all_stored = len(stored) == len(self._runs)
        return not is_all_stored or any(run and run.when and run.when >= when for run in stored)

    # -- drawing ---------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Draw all that is told of the run."""
        self.redraws += 1
        self.query_one("#title", Static).update(self._title())
        self._draw_labels()
        self._draw_errors()
        tab = self.query_one(TabbedContent).active
        if self._experiments and tab == "progress":
            self._draw_progress()
        elif self._experiments and tab == "summary":
            run = self._runs[self._shown_name()]
            self.query_one(SummaryPane).show(run.stored, run.problem)
        log = self.query_one(LogPane)
        elsewhere = any(run.is_running for run in self._runs.values()) and not self._is_running
        log.note(_ELSEWHERE if elsewhere else "" if log.lines else _NO_LOG)

    def _title(self) -> Text:
        icon = f"{self.experiment.icon or '📈'} " if self.experiment.is_graph else ""
        state = f"  {self._state()}"
        name = one_line(icon + self.experiment.name)
        room = max(_SHORTEST_NAME, self.size.width - 2 - columns_of(state))  # the padding takes two
        title = Text.assemble((shorten([name], room)[name], "bold"), state)
        cache = "on" if self._toggles.cache else "off"
        title.append(f"\nNext run: {self._toggles.strategy}, cache {cache}")
        off = len(self._toggles.treatments_off.intersection(self._treatments()))
        if off:
            title.append(f", {counted(off, 'treatment')} off")
        if self._note:
            title.append(f". {one_line(self._note)}", "yellow")
        return title

    def _state(self) -> str:
        """Return in a few words what goes on."""
        if self._problem:
            return "cannot be run: E shows why"
        process = self._process
        if process is not None and process.code is None:
            what = "is being cancelled" if process.is_cancelled else "runs, also when the terminal is closed"
            return f"{what} (process {process.pid})"
        if maker := self._maker_elsewhere():
            return f"is run by {maker}, which is watched here"
        name = self._shown_name()
        stored = self._runs[name].stored
        if self._could_not_be_run():
            return "could not be run: E shows why"
        if stored is None:
            return (
                "has no stored run: E shows why" if self._runs[name].problem else "has no run yet: R runs it"
            )
        hint = ""
        if stored.status in ("interrupted", "failed", "damaged"):
            hint = ": R goes on with it" if self._resumes else ": R runs it anew"
            if self._resumes and stored.status == "damaged":
                hint = ": l and R run it anew"
        failed = f", {counted(stored.failed_outcomes, 'failed outcome')}" if stored.failed_outcomes else ""
        of = "" if name == self._experiments[-1].name else f"{one_line(name)} "
        return f"{of}{stored.name} is {stored.status}{failed}{hint}"

    def _could_not_be_run(self) -> bool:
        """Tell whether this session's last start ran nothing, and nobody else has run it since."""
        process = self._process
        if process is None or process.code != WRONG_USE:
            return False
        stored = self._runs[self._experiments[-1].name].stored
        return stored is None or stored.when is None or stored.when < process.began

    def _draw_plan(self) -> None:
        """Make the list of experiments, steps and treatments anew."""
        plan = self.query_one("#plan", OptionList)
        place = plan.highlighted
        plan.clear_options()
        if not self._experiments:
            return
        *needed, own = self._experiments
        groups = [
            ("Runs first", [f"node:{node.name}" for node in needed]),
            ("Experiment", [f"node:{own.name}"]),
            ("Steps", [f"step:{step}" for step in own.steps]),
            ("Treatments", [f"treatment:{name}" for name in self._treatments()]),
        ]
        for title, ids in groups:
            if ids:
                plan.add_option(Option(Text(title, "bold"), disabled=True))
                plan.add_options(Option("", id=each) for each in ids)
        self._draw_labels()
        own_place = plan.get_option_index(f"node:{own.name}")
        plan.highlighted = own_place if place is None else min(place, plan.option_count - 1)

    def _draw_labels(self) -> None:
        """Write the state of each line of the list."""
        plan = self.query_one("#plan", OptionList)
        for place in range(plan.option_count):
            option = plan.get_option_at_index(place)
            if option.id is not None:
                label = self._label(*option.id.split(":", 1))
                if str(option.prompt) != label:
                    plan.replace_option_prompt(option.id, Text(label))

    def _label(self, kind: str, name: str) -> str:
        shown = one_line(name)
        if kind == "node":
            return f" {self._mark(self._runs[name])} {shown}"
        if kind == "treatment":
            return f" [{' ' if name in self._toggles.treatments_off else 'x'}] {shown}"
        on = self._toggles.steps.get(name)
        return f" {shown}{'' if on is None else ': cached' if on else ': not cached'}"

    def _mark(self, run: NodeRun) -> str:
        marks = _PLAIN_MARKS if self._is_plain else _MARKS
        if run.stored is None:
            return marks[""]
        return marks.get("failed" if run.stored.failed_outcomes else run.stored.status, "?")

    def _draw_progress(self) -> None:
        name = self._shown_name()
        run = self._runs[name]
        width = _NARROW_BAR if self.app.size.width < _WIDE else _WIDE_BAR
        progress = run.progress
        rows = []
        for condition, each in list(progress.conditions.items())[:_MOST_ROWS]:
            total = "" if progress.replicates is None else f"/{progress.replicates}"
            left = time_left(progress.seconds_left(condition)) if run.is_running else ""
            drawn = bar(each.done, progress.replicates, width, is_plain=self._is_plain)
            rows.append((one_line(condition), drawn, f"{each.done}{total}", str(each.failed or ""), left))
        self.query_one("#conditions", LiveTable).fill(rows)
        metrics = dict.fromkeys(metric for each in progress.conditions.values() for metric in each.metrics)
        lines = (
            (
                one_line(metric),
                one_line(condition),
                str(mean.n),
                estimate(mean, is_plain=self._is_plain),
                sparkline(mean.series.points, width, is_plain=self._is_plain),
            )
            for metric in metrics
            for condition, each in progress.conditions.items()
            if (mean := each.metrics.get(metric)) is not None
        )
        shown = list(islice(lines, _MOST_ROWS))
        self.query_one("#metrics", LiveTable).fill(shown)
        is_cut = len(progress.conditions) > _MOST_ROWS or next(lines, None) is not None
        first = f"; of each table the first {_MOST_ROWS} rows" if is_cut else ""
        self.query_one("#where", Static).update(self._where(name, run) + first)

    def _where(self, name: str, run: NodeRun) -> str:
        """Return which run is shown."""
        if run.stored is None:
            return f"{one_line(name)}: {one_line(run.problem) or 'no run yet'}"
        damaged = f"; {counted(run.damaged, 'damaged line')} in its journal" if run.damaged else ""
        return f"{one_line(name)} {run.stored.name}: {run.stored.status}{damaged}"

    def _draw_errors(self) -> None:
        parts = Text()
        process = self._process
        if self._problem:
            parts.append_text(plain(f"{self._problem}\n\n"))
        failed = sum(run.progress.failed for run in self._runs.values())
        is_told_below = failed and process is not None and process.code == FAILED
        is_past = process is not None and process.code == WRONG_USE and not self._could_not_be_run()
        if process is not None and process.code and not (process.is_cancelled or is_told_below or is_past):
            how = f"with exit code {process.code}" if process.code > 0 else f"by signal {-process.code}"
            parts.append(f"The run ended {how}:\n", "bold")
            parts.append_text(plain("\n".join(_last_error(process.lines)) + "\n\n"))
        for node in self._experiments:
            run = self._runs[node.name]
            if run.problem:
                parts.append_text(plain(f"{node.name}: {run.problem}\n\n"))
            failures = run.progress.failures.values()
            if len(failures) < run.progress.failed:
                parts.append_text(
                    plain(f"{node.name}: the last {len(failures)} of {run.progress.failed}\n\n")
                )
            for error in reversed(failures):
                command = outcome_command(node.command_name, error.replicate, error.condition)
                parts.append_text(plain(f"{node.name}: {error}\n"))
                parts.append_text(plain(f"  {command}\n", "bold"))
        self.query_one("#problems", Static).update(parts if parts else Text("Nothing has failed."))
        count = failed + bool(self._problem)
        tab = self.query_one(TabbedContent).get_tab("errors")
        label = f"Errors ({count})" if count else "Errors"
        if tab.label_text != label:
            tab.label = label

    # -- keys ------------------------------------------------------------------------------------------------

    def action_run_or_cancel(self) -> None:
        """Run the experiment; while it runs, end the run so that what has finished is kept."""
        process = self._process
        if process is not None and process.code is None:
            if process.is_cancelled:
                self.notify("The run is ending. It is asked to once more.", markup=False)
            process.cancel()
        elif not self._load():
            self.action_show("errors")
        else:
            for run in self._runs.values():
                run.look()
            if maker := self._maker_elsewhere():
                self.notify(f"The run of {maker} goes on: end it there.", severity="warning", markup=False)
            else:
                self._start()
        self._draw()

    def _maker_elsewhere(self) -> str:
        """Return which process makes a run, when none of this session does; nothing, if nobody does."""
        running = (run.stored.path for run in self._runs.values() if run.stored and run.is_running)
        return next((one_line(holder_of(lock_of(path))) for path in running), "")

    def _start(self) -> None:
        if (earlier := self._active.pop(self.experiment.config, None)) is not None:
            earlier.close()
        own = self._experiments[-1]
        options = self._toggles.arguments(own.steps, self._treatments(), caches=own.caches)
        try:
            self._active[self.experiment.config] = CommandProcess(
                own.command_name, ["run", str(self.experiment.config), *options], Path.cwd()
            )
        except OSError as error:
            self.notify(
                f"The run cannot be started: {error.strerror or error}", severity="error", markup=False
            )
            return
        self._chosen = None
        self.query_one(LogPane).clear()

    def action_toggle_cache(self) -> None:
        """Switch the caching of the highlighted step, else that of the experiment."""
        kind, name = self._highlighted()
        toggles = self._toggles
        self._keep(toggles.with_step_toggled(name) if kind == "step" else toggles.with_cache_toggled())

    def action_toggle_treatment(self) -> None:
        """Switch the highlighted treatment on or off."""
        kind, name = self._highlighted()
        if kind == "treatment":
            self._keep(self._toggles.with_treatment_toggled(name))
        else:
            self.notify("Move to a treatment in the list on the left first.", markup=False)

    def _highlighted(self) -> tuple[str, str]:
        plan = self.query_one("#plan", OptionList)
        option = None if plan.highlighted is None else plan.get_option_at_index(plan.highlighted)
        kind, _, name = ((option.id if option is not None else None) or "").partition(":")
        return kind, name

    def _keep(self, toggles: Toggles) -> None:
        self._toggles = toggles
        self._note = write_toggles(self.experiment.folder, toggles)
        self._draw()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Show an experiment of the list, or switch a step or a treatment."""
        kind, name = self._highlighted()
        if kind == "node":
            self._chosen = name
            self._draw()
        elif kind == "step":
            self.action_toggle_cache()
        else:
            self.action_toggle_treatment()

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Draw what was hidden; the tables of the summary get the width of a narrow screen to themselves."""
        self.set_class(event.pane.id == "summary", "-summary")
        self._draw()

    def action_show(self, tab: str) -> None:
        """Show one of the tabs."""
        tabs = self.query_one(TabbedContent)
        if tab == "summary":
            self.query_one(SummaryPane).is_asked = True
            self._draw()
        tabs.active = tab
        pane = tabs.get_pane(tab)
        first = next((each for each in pane.query("*") if each.focusable), None)
        (first or tabs).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In a text, the key that searches is a character like others."""
        return None if action == "search" and isinstance(self.focused, Input) else True

    def action_search(self) -> None:
        """Look for a text in the log."""
        self.query_one(TabbedContent).active = "log"
        self.query_one(LogPane).search()

    def action_toggle_plain(self) -> None:
        """Show everything without colours and drawn characters, or with them."""
        self._is_plain = not self._is_plain
        log = self.query_one(LogPane)
        log.is_plain = self._is_plain
        log.redraw()
        self._draw()

    def action_history(self) -> None:
        """Show the earlier versions."""
        self.app.push_screen(HistoryScreen(self.experiment))

    def action_back(self) -> None:
        """End a search, or go back; a run goes on."""
        if self.query_one(LogPane).end_search():
            return
        if self._is_running:
            self.app.notify(f"The run of {one_line(self.experiment.name)} goes on.", markup=False)
        self.app.pop_screen()


def _last_error(lines: Any) -> list[str]:
    """Return the lines from the last error on; the last few, if none begins so."""
    found = list(lines)
    start = max((place for place, line in enumerate(found) if line.startswith("Error")), default=-20)
    return found[start:][:200]
