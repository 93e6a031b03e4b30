"""The first screen: which experiments there are."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import SuspendNotSupported
from textual.binding import Binding
from textual.containers import Container, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Static, Tree
from textual.worker import get_current_worker

from crystallize.config.errors import ConfigError
from crystallize.config.folders import experiments_root, folder_of
from crystallize.config.project import FoundExperiment, find_experiments, read_experiment
from crystallize.utils.wording import counted, shown
from crystallize_tui.create import CreateScreen
from crystallize_tui.details import Details
from crystallize_tui.experiment_tree import ExperimentTree
from crystallize_tui.footer import KeyFooter
from crystallize_tui.history import HistoryScreen
from crystallize_tui.project import Past, by_group, matches, past_of
from crystallize_tui.run_screen import RunScreen
from crystallize_tui.trees import go_to
from crystallize_tui.wording import one_line, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from textual.app import ComposeResult


_PAUSE = 0.1  # seconds between two looks of the screen at what a search has found so far


class SelectionScreen(Screen[None]):
    """The experiments and graphs of a project, by group.

    Parameters
    ----------
    root : pathlib.Path or None
        Where to look for them; None for the project's own folder of experiments.
    """

    AUTO_FOCUS = "#experiments"
    BINDINGS: ClassVar[list[Any]] = [
        Binding(
            "slash",
            "filter",
            "Filter",
            key_display="/",
            tooltip="Show only what matches",
            priority=True,  # done before the next key is looked at, which may have come with it
        ),
        Binding("n", "new", "New", tooltip="Create a new experiment"),
        Binding("e", "edit", "Edit", tooltip="Open config.yaml in $EDITOR"),
        Binding("r", "refresh", "Refresh", tooltip="Look again for experiments and runs"),
        Binding(
            "exclamation_mark",
            "errors",
            "Errors",
            key_display="!",
            tooltip="Show what cannot be read, and why",
        ),
        Binding("H", "show_hidden", "Hidden", show=False, tooltip="Show hidden experiments, or hide them"),
        Binding("escape", "leave", "Back to the list", show=False),
    ]

    def __init__(self, root: Path | None = None) -> None:
        super().__init__()
        self._given_root = root
        self._root: Path | None = root
        self._found: list[FoundExperiment] = []
        self._filter = ""
        self._with_hidden = False
        self._message = ""
        self._has_searched = False
        self._is_covered = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="title")
        yield Input(placeholder="Filter by name, group, description or treatment", id="filter", compact=True)
        with Container(id="body"):
            with Vertical(id="list"):
                yield Static(id="columns")
                yield ExperimentTree()
                with VerticalScroll(id="message-pane", can_focus=False):
                    yield Static(id="message")
            yield Details(id="details")
        yield KeyFooter()

    @property
    def experiments(self) -> ExperimentTree:
        """The tree of experiments."""
        return self.query_one(ExperimentTree)

    # -- finding ---------------------------------------------------------------------------------------------

    def on_screen_suspend(self) -> None:
        """Remember whether another screen takes the place of this one, or a dialog stands before it."""
        self._is_covered = isinstance(self.app.screen, ModalScreen)

    def on_screen_resume(self) -> None:
        """Look again after another screen: things were run there."""
        if not self._is_covered:
            self.action_refresh()
        self._is_covered = False

    def action_refresh(self) -> None:
        """Look for experiments, and how their runs ended."""
        self._search()

    @work(thread=True, exclusive=True, group="search")
    def _search(self) -> None:
        """Look for experiments; what was there before stays on the screen until all are found."""
        worker = get_current_worker()
        found: list[FoundExperiment] = []
        pasts: dict[Path, Past] = {}
        looked = time.monotonic()
        root: Path | None = self._given_root
        try:
            root = experiments_root() if self._given_root is None else self._given_root.absolute()
            for experiment in find_experiments(root):
                found.append(experiment)
                if worker.is_cancelled:
                    return
                if not self._found and time.monotonic() - looked > _PAUSE:
                    looked = time.monotonic()
                    self.app.call_from_thread(self._tell_title, f"{len(found)} found so far ...")
            message = ""
        except ConfigError as error:
            root, found, message = None, [], str(error)
        except OSError as error:
            reason = f"{error.filename or root}: {error.strerror or error}"
            root, found, message = None, [], f"The experiments cannot be read: {reason}"
        if worker.is_cancelled:
            return
        self.app.call_from_thread(self._show, root, found, message)
        for experiment in found:
            pasts[experiment.config] = past_of(experiment)
            if worker.is_cancelled:
                return
            if time.monotonic() - looked > _PAUSE:
                self.app.call_from_thread(self._show_pasts, pasts)
                pasts, looked = {}, time.monotonic()
        self.app.call_from_thread(self._show_pasts, pasts)

    def _show(self, root: Path | None, found: list[FoundExperiment], message: str) -> None:
        """Show what a search has found."""
        self._root, self._found, self._message = root, found, message
        self._has_searched = True
        self._build()
        self.call_after_refresh(self.refresh_bindings)  # the footer may not be there yet

    def _show_pasts(self, pasts: dict[Path, Past]) -> None:
        self.experiments.learn(pasts)
        self.query_one(Details).learn(pasts)

    # -- showing ---------------------------------------------------------------------------------------------

    def _build(self) -> None:
        """Make the tree of what is found and wanted; the cursor stays on its experiment, closed groups stay closed."""
        tree = self.experiments
        before = tree.experiment
        closed = {node.data for node in tree.root.children if not node.is_expanded and not self._filter}
        wanted = [
            each
            for each in self._found
            if matches(each, self._filter) and (self._with_hidden or not each.hidden)
        ]
        tree.clear()
        for group, experiments in by_group(wanted).items():
            node = tree.root.add(plain(one_line(group), "bold"), group, expand=group not in closed)
            for each in experiments:
                node.add_leaf("", each)
        tree.root.expand()
        self.query_one("#columns", Static).update(tree.fit())
        at = (before and tree.leaf_of(before.config)) or next(iter(tree.leaves), None)
        if at is not None:
            go_to(tree, at)
        self._tell_title()
        self._tell_message(has_any=bool(wanted))
        shown_one = at.data if at is not None and not isinstance(at.data, str) else None
        self._show_details(shown_one)

    def _show_details(self, experiment: FoundExperiment | None) -> None:
        past = self.experiments.pasts.get(experiment.config) if experiment else None
        self.query_one(Details).show(experiment, past)

    def _tell_title(self, progress: str = "") -> None:
        """Say how many there are of what, or how far a search has come."""
        graphs = sum(each.is_graph for each in self._found)
        hidden = sum(each.hidden for each in self._found)
        broken = sum(bool(each.problems) for each in self._found)
        parts = [counted(len(self._found), "experiment")]
        parts += [counted(graphs, "graph")] if graphs else []
        parts += [f"{hidden} hidden (H)"] if hidden and not self._with_hidden else []
        title = Text("Crystallize", "bold").append(f"   {progress or ', '.join(parts)}", "not bold")
        if broken and not progress:
            title.append(f", {broken} broken (!)", "not bold red")
        if self._root is not None:
            title.append(f"   in {one_line(shown(self._root))}", "not bold dim")
        self.query_one("#title", Static).update(title)

    def _tell_message(self, *, has_any: bool) -> None:
        """Say why there is nothing to see, if there is nothing."""
        where = shown(self._root) if self._root else ""
        text = ""
        if self._message:
            text = f"{self._message}\n\nPress r to look again."
        elif not self._found:
            text = (
                f"Welcome to Crystallize.\n\nThere are no experiments in {where} yet.\n"
                "Press n to make the first one: it runs as it is.\n"
                "'crystallize demo' copies an example on real data."
            )
        elif not has_any and self._filter:
            text = f"No experiment matches {self._filter!r}. Esc shows all."
        elif not has_any:
            text = "All experiments are hidden. Press H to see them."
        self.query_one("#message", Static).update(plain(text))
        was_empty = self.has_class("-empty")
        self.set_class(bool(text), "-empty")
        if was_empty and not text and self.focused is None:
            self.experiments.focus()

    def on_experiment_tree_resized(self) -> None:
        """Make the lines anew for the room that there is now."""
        if self._has_searched:
            self._build()

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[Any]) -> None:
        """Tell of the experiment that the cursor is on."""
        if event.node.tree is self.experiments:
            self._show_details(self.experiments.experiment)

    # -- keys ------------------------------------------------------------------------------------------------

    def on_tree_node_selected(self, event: Tree.NodeSelected[Any]) -> None:
        """Run an experiment; a group opens and closes by itself."""
        experiment = self._current() if event.node.tree is self.experiments else None
        if experiment is not None:
            self.app.push_screen(RunScreen(experiment))

    def action_history(self) -> None:
        """Show the earlier versions of the experiment."""
        experiment = self._current()
        if experiment is not None:
            self.app.push_screen(HistoryScreen(experiment))

    def _current(self) -> FoundExperiment | None:
        """Return the experiment that the cursor is on, as it is on disk now; None, and why, if it cannot be run."""
        experiment = self.experiments.experiment
        if experiment is None:
            return None
        if not experiment.config.is_file():
            self.notify(
                f"{shown(experiment.config)} is gone. Press r to look again.", severity="error", markup=False
            )
            return None
        now = read_experiment(folder_of(experiment.config))
        if now.problems:
            self.app.push_screen(ErrorsScreen([now]))
            return None
        return now

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the errors where there are any; in a text, the key of the filter is a character like others."""
        if action == "filter":
            return None if isinstance(self.focused, Input) else True
        return action != "errors" or any(each.problems for each in self._found)

    def action_errors(self) -> None:
        """Show what is wrong with the experiments that cannot be read."""
        self.app.push_screen(ErrorsScreen([each for each in self._found if each.problems]))

    def action_new(self) -> None:
        """Make a new experiment."""
        if self._root is None:
            self.notify("There is no folder to make it in.", severity="error")
            return
        self.app.push_screen(CreateScreen(self._root, self._found), self._made)

    def _made(self, folder: Path | None) -> None:
        if folder is not None:
            self.notify(f"Made {shown(folder)}. Press Enter to run it.", markup=False)
            made = read_experiment(folder_of(folder / "config.yaml"))
            self._found = [*(each for each in self._found if each.config != made.config), made]
            self.experiments.learn({made.config: Past()})
            self._filter = self.query_one("#filter", Input).value = ""
            self._build()
            self._go_to(made.config)

    def _go_to(self, config: Path) -> None:
        leaf = self.experiments.leaf_of(config)
        if leaf is not None:
            go_to(self.experiments, leaf)

    def action_edit(self) -> None:
        """Open the experiment's config.yaml in the user's editor."""
        experiment = self.experiments.experiment
        if experiment is None:
            return
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        fault = ""
        try:
            with self.app.suspend():
                fault = _run_editor(
                    editor, experiment.config
                )  # what is raised here would leave the screen empty
        except SuspendNotSupported:
            fault = "This terminal cannot be handed to an editor."
        if fault:
            self.notify(fault, severity="error", markup=False)
        self.action_refresh()

    def action_show_hidden(self) -> None:
        """Show the experiments that config.yaml hides, or hide them again."""
        self._with_hidden = not self._with_hidden
        self._build()

    def on_config_tree_saved(self) -> None:
        """Show the experiment as it is now."""
        self.action_refresh()

    # -- the filter ------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Begin to type a filter."""
        self.add_class("-filtering")
        self.set_focus(self.query_one("#filter"))  # at once: what is typed next is for the filter

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what matches, with each key."""
        if event.input.id == "filter" and event.value != self._filter:
            self._filter = event.value
            self._build()

    def on_input_submitted(self) -> None:
        """Go to what was found; the filter stays."""
        self.experiments.focus()
        self.set_class(bool(self._filter), "-filtering")

    def action_leave(self) -> None:
        """Clear the filter, and go back to the list."""
        self.query_one("#filter", Input).value = ""
        self.remove_class("-filtering")
        self.experiments.focus()


class ErrorsScreen(ModalScreen[None]):
    """What is wrong with experiments: file, line and reason.

    Parameters
    ----------
    broken : sequence of FoundExperiment
        Those with mistakes.
    """

    BINDINGS: ClassVar[list[Any]] = [("escape,q,exclamation_mark,enter", "dismiss", "Back")]

    def __init__(self, broken: Sequence[FoundExperiment]) -> None:
        super().__init__()
        self._broken = broken

    def compose(self) -> ComposeResult:
        """Show all of them."""
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = "Errors"
            dialog.border_subtitle = "Esc: back"
            for each in self._broken:
                yield Static(plain(one_line(each.name), "bold"))
                for problem in each.problems:
                    yield Static(plain(f"{problem}\n"))


def _run_editor(editor: str, file: Path) -> str:
    """Run an editor on a file until it ends; return what went wrong."""
    try:
        code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
    except (OSError, ValueError) as error:
        return f"The editor {editor!r} cannot be started: {getattr(error, 'strerror', None) or error}"
    return f"The editor ended with exit code {code}." if code else ""
