"""The screen of an experiment's earlier versions: side by side, what differs between two, and whether one repeats."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Static, TabbedContent, TabPane
from textual.worker import get_current_worker

from crystallize.errors import CrystallizeError
from crystallize.results.comparison import compare_runs
from crystallize.results.runs import Runs, read_runs
from crystallize.store.metadata import FINISHED
from crystallize.utils.quantities import format_size, format_time
from crystallize_tui.footer import KeyFooter
from crystallize_tui.run_graph import read_nodes
from crystallize_tui.run_process import CommandProcess
from crystallize_tui.tables import LiveTable
from crystallize_tui.wording import one_line, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from crystallize.config.project import FoundExperiment
    from crystallize.results.runs import StoredRun

_MOST_SIDE_BY_SIDE = 6
_SECONDS_BETWEEN_TICKS = 0.2
_VERDICTS = {0: "PASS", 1: "DIFF", 3: "INCONCLUSIVE"}


class HistoryScreen(Screen[None]):
    """The earlier versions of one experiment.

    Parameters
    ----------
    experiment : FoundExperiment
        The experiment.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("space", "mark", "Mark to compare"),
        Binding("d", "compare", "Difference"),
        Binding("v", "verify", "Verify"),
        Binding("r", "reload", "Refresh"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, experiment: FoundExperiment) -> None:
        super().__init__()
        self.experiment = experiment
        self._versions: list[StoredRun] = []  # the newest first
        self._marked: Path | None = None
        self._verification: CommandProcess | None = None

    def compose(self) -> ComposeResult:
        """Make the versions above what is told of them."""
        yield Static(id="title", markup=False)
        yield LiveTable("", "version", "status", "when", "replicates", "failed", "artifacts", id="versions")
        with TabbedContent(initial="side-by-side"):
            with TabPane("Side by side", id="side-by-side"):
                yield LiveTable("metric", "condition", names=2, id="means")
            with TabPane("Difference", id="difference"), VerticalScroll(can_focus=True):
                yield Static(
                    "d compares the highlighted version with the marked one.", id="told", markup=False
                )
            with TabPane("Verify", id="verification"), VerticalScroll(can_focus=True):
                yield Static(
                    "v runs the highlighted version again, in a scratch folder.", id="verdict", markup=False
                )
        yield KeyFooter(compact=True)

    def on_mount(self) -> None:
        """Read what is stored."""
        self.query_one("#versions").focus()
        self.action_reload()
        self.set_interval(_SECONDS_BETWEEN_TICKS, self._tick)

    # -- reading ---------------------------------------------------------------------------------------------

    def action_reload(self) -> None:
        """Read again what is stored."""
        self._say("Reading ...")
        self._in_thread(self._read_versions, "versions")

    def _in_thread(self, work: Callable[[], Callable[[], None]], group: str) -> None:
        """Work in a thread, and then do what that returns; unless another one of the group has begun meanwhile."""

        def run() -> None:
            worker = get_current_worker()
            show = work()
            if not worker.is_cancelled:
                self.app.call_from_thread(show)

        self.run_worker(run, thread=True, exclusive=True, group=group, exit_on_error=False)

    def _read_versions(self) -> Callable[[], None]:
        try:
            location = read_nodes(self.experiment.config)[-1].location
            found = Runs(()) if location is None else read_runs([location])
        except (CrystallizeError, OSError) as error:
            return partial(self._say, str(error))
        return partial(self._show_versions, list(reversed(found)))

    def _show_versions(self, versions: list[StoredRun]) -> None:
        if not self.is_attached:
            return
        self._versions = versions
        self._say("" if versions else "no run is stored yet: R on the run screen makes one")
        self._fill_versions()
        self._in_thread(self._read_means, "means")

    def _fill_versions(self) -> None:
        self.query_one("#versions", LiveTable).fill(
            [
                (
                    "*" if run.path == self._marked else "",
                    run.name,
                    run.full_status,
                    format_time(run.when),
                    "" if run.replicates is None else str(run.replicates),
                    "" if run.failed_outcomes is None else str(run.failed_outcomes),
                    format_size(run.size),
                )
                for run in self._versions
            ]
        )

    def _say(self, text: str) -> None:
        title = Text.assemble(
            (one_line(self.experiment.name), "bold"), "  ", plain(text or "earlier versions")
        )
        self.query_one("#title", Static).update(title)

    # -- side by side ----------------------------------------------------------------------------------------

    def _read_means(self) -> Callable[[], None]:
        """Read the means of the newest complete versions."""
        chosen = [run for run in self._versions if run.status == FINISHED][:_MOST_SIDE_BY_SIDE]
        means: dict[tuple[str, str], dict[str, str]] = {}
        for run in chosen:
            try:
                rows = run.result().summary().rows
            except (CrystallizeError, OSError) as error:
                means.setdefault(("cannot be read", ""), {})[run.name] = one_line(str(error))
                continue
            for row in rows:
                shown = "-" if row.mean is None else f"{row.mean:.6g}"
                means.setdefault((row.metric, row.condition), {})[run.name] = shown
        return partial(self._show_means, [run.name for run in chosen], means)

    def _show_means(self, names: list[str], means: dict[tuple[str, str], dict[str, str]]) -> None:
        if not self.is_attached:
            return
        table = self.query_one("#means", LiveTable)
        table.set_titles(("metric", "condition", *(f"mean in {name}" for name in names)))
        table.fill(
            [
                (one_line(metric), one_line(condition), *(found.get(name, "-") for name in names))
                for (metric, condition), found in means.items()
            ]
        )

    # -- the difference --------------------------------------------------------------------------------------

    def _highlighted(self) -> StoredRun | None:
        row = self.query_one("#versions", LiveTable).cursor_row
        return self._versions[row] if 0 <= row < len(self._versions) else None

    def action_mark(self) -> None:
        """Mark the highlighted version, to compare others with it."""
        run = self._highlighted()
        if run is not None:
            self._marked = None if self._marked == run.path else run.path
            self._fill_versions()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Compare the version that Enter was pressed on."""
        if event.data_table.id == "versions":
            self.action_compare()

    def action_compare(self) -> None:
        """Show what differs between the marked version, else the one before, and the highlighted one."""
        after = self._highlighted()
        if after is None:
            return
        earlier = [run for run in self._versions if run.version < after.version]
        before = next((run for run in self._versions if run.path == self._marked), None)
        before = before if before is not None and before != after else next(iter(earlier), None)
        self.query_one(TabbedContent).active = "difference"
        if before is None:
            self._tell("There is no version before this one. Mark one with Space, and compare another.")
            return
        first, second = sorted((before, after), key=lambda run: run.version)
        self._tell(f"Comparing {first.name} with {second.name} ...")
        self._in_thread(lambda: self._compare(first, second), "difference")

    def _compare(self, before: StoredRun, after: StoredRun) -> Callable[[], None]:
        lines = [f"before: {before.name}", f"after:  {after.name}"]
        try:
            lines += compare_runs(before.path, after.path).lines()
        except (CrystallizeError, OSError) as error:
            lines += ["", str(error)]
        return partial(self._tell, "\n".join(lines))

    def _tell(self, text: str) -> None:
        if self.is_attached:
            self.query_one("#told", Static).update(plain(text))

    # -- verification ----------------------------------------------------------------------------------------

    def action_verify(self) -> None:
        """Run the highlighted version again in a process of its own, and tell whether it measures the same."""
        run = self._highlighted()
        if run is None:
            return
        if self._verification is not None and self._verification.code is None:
            self.notify("A verification is under way. Esc ends it.", markup=False)
            return
        self.query_one(TabbedContent).active = "verification"
        self._close()
        try:
            self._verification = CommandProcess(run.experiment, ["verify", str(run.path)], Path.cwd())
        except OSError as error:
            self._say_verdict(f"It cannot be started: {error.strerror or error}")
            return
        self._say_verdict(f"Verifying {run.name} ...")

    def _tick(self) -> None:
        """Show what a verification has printed."""
        process = self._verification
        if process is None:
            return
        ended = process.code is not None
        new = process.read()
        if not new and not ended:
            return
        if new:
            head = "Verifying ..."
        else:
            head = _VERDICTS.get(process.code or 0, "Nothing could be verified")
            self._close()
        self._say_verdict("\n".join([head, "", *process.lines]))

    def _say_verdict(self, text: str) -> None:
        self.query_one("#verdict", Static).update(plain(text))

    def _close(self) -> None:
        if self._verification is not None:
            self._verification.close()
        self._verification = None

    def action_back(self) -> None:
        """Go back."""
        self.app.pop_screen()

    async def on_unmount(self) -> None:
        """End a verification, for nobody would see what it finds."""
        if self._verification is not None:
            await asyncio.to_thread(self._verification.end)
