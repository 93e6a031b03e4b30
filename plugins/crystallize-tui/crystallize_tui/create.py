"""The form that makes a new experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, SelectionList, Static
from textual.widgets.selection_list import Selection

from crystallize.cli.making import check_new_name, make_experiment, references_to
from crystallize.cli.scaffold import MODULES
from crystallize.config.folders import find_folders
from crystallize.errors import CrystallizeError
from crystallize_tui.wording import one_line, plain

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult


class CreateScreen(ModalScreen["Path | None"]):
    """Create New Experiment: the result is the folder that was made.

    Parameters
    ----------
    root : pathlib.Path
        Where to make it.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("ctrl+s", "create", "Create"),
        Binding("escape", "give_up", "Back"),
        Binding("down", "app.focus_next", "Next", show=False),
        Binding("up", "app.focus_previous", "Previous", show=False),
    ]

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._folders = find_folders(root)
        self._references = references_to(self._folders)

    def compose(self) -> ComposeResult:
        """Lay the form out."""
        with VerticalScroll(classes="dialog", can_focus=False) as dialog:
            dialog.border_title = "Create New Experiment"
            dialog.border_subtitle = "Ctrl+S: create   Esc: back"
            yield Input(placeholder="Name", id="name", compact=True)
            yield Static(id="name-verdict")
            yield Checkbox(
                "Example code: more steps, treatments, a hypothesis, an output", id="example", compact=True
            )
            yield Checkbox("Use outputs from other experiments", id="use-outputs", compact=True)
            yield SelectionList[str](
                *(Selection(Text(one_line(each)), each) for each in self._references),
                id="outputs",
                compact=True,
            )
            yield Static("Files, besides those that are needed:", classes="heading")
            for module, what in MODULES.items():
                label = Text.assemble(f"{module}.py", (f"  {what}", "dim"))
                yield Checkbox(label, id=f"file-{module}", compact=True)
            with Horizontal(classes="buttons"):
                yield Button("Create", id="create", variant="primary", compact=True)
                yield Button("Back", id="back", compact=True)
            yield Static(id="verdict")

    def on_mount(self) -> None:
        """Say what there is to choose from."""
        self._look_at_name()
        box = self.query_one("#use-outputs", Checkbox)
        if not self._references:
            box.disabled = True
            box.label = "Use outputs from other experiments (none has outputs)"

    # -- what is typed and chosen ----------------------------------------------------------------------------

    def on_input_changed(self) -> None:
        """Say with each key whether the name will do."""
        self._look_at_name()

    def _look_at_name(self) -> bool:
        name = self.query_one("#name", Input).value
        verdict = self.query_one("#name-verdict", Static)
        if not name:
            verdict.update(plain("The name of the experiment and of its folder.", "dim"))
            return False
        try:
            check_new_name(name, self._root, self._folders)
        except CrystallizeError as error:
            verdict.update(plain(str(error), "red"))
            return False
        verdict.update(plain(f"{one_line(name)} will do.", "green"))
        return True

    def on_checkbox_changed(self, event: Checkbox.Changed) -> None:
        """Show the outputs of others when they are wanted."""
        if event.checkbox.id == "use-outputs":
            self.set_class(event.value, "-with-outputs")

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
        uses_outputs = self.query_one("#use-outputs", Checkbox).value
        chosen = self.query_one(SelectionList).selected
        if uses_outputs and not chosen:
            self._tell("Choose at least one output with the space bar, or use none.")
            return
        try:
            made = make_experiment(
                self.query_one("#name", Input).value,
                self._root,
                example=self.query_one("#example", Checkbox).value,
                references=[each for each in self._references if uses_outputs and each in chosen],
                modules=[each for each in MODULES if self.query_one(f"#file-{each}", Checkbox).value],
            )
        except CrystallizeError as error:
            self._tell(str(error))
        else:
            self.dismiss(made.folder)

    def _tell(self, text: str) -> None:
        self.query_one("#verdict", Static).update(plain(text, "red"))

    def action_give_up(self) -> None:
        """Make nothing."""
        self.dismiss(None)
