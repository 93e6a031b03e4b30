"""The form that makes a new experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Static

from crystallize.config.folders import ExperimentFolder
from crystallize.config.making import check_new_name, make_experiment
from crystallize.config.scaffold import MODULES, NewExperiment
from crystallize.errors import CrystallizeError
from crystallize_tui.wording import one_line, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from textual.app import ComposeResult

    from crystallize.config.project import FoundExperiment


class Tick(Checkbox):
    """A checkbox that tells without colours whether it is ticked."""

    BUTTON_LEFT, BUTTON_INNER, BUTTON_RIGHT = "", "[ ]", ""

    def watch_value(self) -> None:
        """Draw the tick, or its absence."""
        super().watch_value()
        self.BUTTON_INNER = "[x]" if self.value else "[ ]"


class CreateScreen(ModalScreen["Path | None"]):
    """Create New Experiment: the result is the folder that was made.

    Parameters
    ----------
    root : pathlib.Path
        Where to make it.
    found : sequence of FoundExperiment
        The experiments that are there.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("ctrl+s", "create", "Create", priority=True),
        Binding("escape", "give_up", "Back"),
        Binding("down", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Previous", show=False),
    ]

    def __init__(self, root: Path, found: Sequence[FoundExperiment]) -> None:
        super().__init__()
        self._root = root
        self._folders = [ExperimentFolder(each.name, each.folder, each.config) for each in found]
        references = [f"{each.name}#{output}" for each in found for output in each.outputs]
        self._outputs = [(each, Tick(Text(one_line(each)), compact=True)) for each in references]
        self._modules = [
            (name, Tick(Text.assemble(f"{name}.py", (f"  {what}", "dim")), compact=True))
            for name, what in MODULES.items()
            if name != "steps"  # is always needed
        ]

    def compose(self) -> ComposeResult:
        """Lay the form out."""
        uses = "Use outputs from other experiments" + ("" if self._outputs else " (none has outputs)")
        with VerticalScroll(classes="dialog", can_focus=False) as dialog:
            dialog.border_title = "Create New Experiment"
            dialog.border_subtitle = "Space: tick   Ctrl+S: create   Esc: back"
            yield Input(placeholder="Name", id="name", compact=True)
            yield Static(id="name-verdict")
            yield Tick("Example code: more steps and treatments, a hypothesis", id="example", compact=True)
            yield Tick(uses, id="use-outputs", compact=True, disabled=not self._outputs)
            with VerticalScroll(id="outputs", can_focus=False):
                yield from (tick for _, tick in self._outputs)
            yield Static(id="files")
            yield from (tick for _, tick in self._modules)
            with Horizontal(classes="buttons"):
                yield Button("Create", id="create", variant="primary", compact=True)
                yield Button("Back", id="back", compact=True)
            yield Static(id="verdict")

    def on_mount(self) -> None:
        """Say what will be made as it stands."""
        self._look_at_name()
        self._tell_files()

    # -- what is typed and chosen ----------------------------------------------------------------------------

    @property
    def _typed_name(self) -> str:
        return self.query_one("#name", Input).value

    @property
    def _wants_example(self) -> bool:
        return self.query_one("#example", Tick).value

    @property
    def _uses_outputs(self) -> bool:
        return self.query_one("#use-outputs", Tick).value

    @property
    def _references(self) -> list[str]:
        return [each for each, tick in self._outputs if self._uses_outputs and tick.value]

    @property
    def _requested(self) -> list[str]:
        return [each for each, tick in self._modules if tick.value]

    def on_input_changed(self) -> None:
        """Say with each key whether the name will do."""
        self._look_at_name()

    def _look_at_name(self) -> bool:
        verdict = self.query_one("#name-verdict", Static)
        if not self._typed_name:
            verdict.update(plain("The name of the experiment and of its folder.", "dim"))
            return False
        try:
            check_new_name(self._typed_name, self._root, self._folders)
        except CrystallizeError as error:
            verdict.update(plain(str(error), "red"))
            return False
        verdict.update(plain(f"{one_line(self._typed_name)} will do.", "green"))
        return True

    def on_checkbox_changed(self) -> None:
        """Show the outputs of others when they are wanted, and what will be made."""
        self.set_class(self._uses_outputs, "-with-outputs")
        self._tell_files()

    def _tell_files(self) -> None:
        inputs = {reference: reference for reference in self._references}
        new = NewExperiment(
            "", "", self._wants_example, inputs=inputs, requested_modules=frozenset(self._requested)
        )
        files = ["config.yaml", *(f"{module}.py" for module in new.modules)]
        self.query_one("#files", Static).update(plain(f"Makes {', '.join(files)}. Make these too:"))

    # -- making it -------------------------------------------------------------------------------------------

    def on_input_submitted(self) -> None:
        """Make it."""
        self.action_create()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Make it, or go back."""
        if event.button.id == "create":
            self.action_create()
        else:
            self.action_give_up()

    def action_create(self) -> None:
        """Make the experiment; if that fails, say why and stay."""
        if not self._look_at_name():
            self.query_one("#name").focus()
            return
        if self._uses_outputs and not self._references:
            self._tell("Tick at least one output, or untick 'Use outputs from other experiments'.")
            return
        try:
            made = make_experiment(
                self._typed_name,
                self._root,
                example=self._wants_example,
                references=self._references,
                modules=self._requested,
            )
        except (CrystallizeError, OSError) as error:
            self._tell(str(error))
        else:
            self.dismiss(made.folder)

    def _tell(self, text: str) -> None:
        verdict = self.query_one("#verdict", Static)
        verdict.update(plain(text, "red"))
        self.call_after_refresh(verdict.scroll_visible)

    def action_give_up(self) -> None:
        """Make nothing."""
        self.dismiss(None)
