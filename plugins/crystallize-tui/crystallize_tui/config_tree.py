"""A config.yaml as a tree whose values can be edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static, Tree

from crystallize.config.errors import spelled
from crystallize.errors import CrystallizeError
from crystallize.utils.yaml12 import plain_scalar
from crystallize_tui.config_file import as_text
from crystallize_tui.trees import go_to
from crystallize_tui.wording import one_line, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.widgets.tree import TreeNode

    from crystallize.config.errors import KeyPath
    from crystallize_tui.config_file import ConfigFile

_OPEN = frozenset({"steps", "treatments", "datasource"})  # what one looks at first


class ConfigTree(Tree["KeyPath"]):
    """What a config.yaml holds, to be looked at and edited."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("enter", "select_cursor", "Edit value", tooltip="Edit the value, or open and close an entry"),
        Binding("a", "add", "Add", tooltip="Add an entry to the mapping or list that the cursor is on or in"),
        Binding("delete,d", "remove", "Remove", tooltip="Remove the entry"),
    ]

    class Saved(Message):
        """The file was written."""

    def __init__(self, **options: Any) -> None:
        super().__init__("config.yaml", data=(), **options)
        self.root.expand()
        self.guide_depth = 2
        self.display = False
        self._file: ConfigFile | None = None

    def show(self, file: ConfigFile | None) -> None:
        """Show another file, or none."""
        is_same = file is not None and self._file is not None and file.path == self._file.path
        cursor = self.cursor_node.data if is_same and self.cursor_node else ()
        is_open = {node.data: node.is_expanded for node in _below(self.root)} if is_same else {}
        self._file = file
        self.clear()
        self.display = file is not None and file.value is not None
        if file is None or file.value is None:
            return
        for key, value in file.value.items():
            self._add(self.root, key, value, (key,), is_open)
        self.root.expand()
        found = next((node for node in _below(self.root) if node.data == cursor), self.root)
        go_to(self, found)

    def _add(
        self, parent: TreeNode[KeyPath], key: Any, value: Any, path: KeyPath, is_open: dict[Any, bool]
    ) -> None:
        name = "-" if isinstance(key, int) else one_line(key)
        if not isinstance(value, dict | list) or not value:
            label = Text.assemble((name, "bold"), (" " if name == "-" else ": ")) + _shown(value)
            parent.add_leaf(label, path)
            return
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        node = parent.add(plain(name, "bold"), path, expand=is_open.get(path, key in _OPEN or len(path) > 1))
        for inner_key, inner in entries:
            self._add(node, inner_key, inner, (*path, inner_key), is_open)

    # -- edits -----------------------------------------------------------------------------------------------

    def on_tree_node_selected(self, event: Tree.NodeSelected[KeyPath]) -> None:
        """Edit a value; what holds others opens and closes by itself."""
        event.stop()
        file, path = self._file, event.node.data
        if file is None or not path or event.node.allow_expand:
            return
        self._ask(
            f"{spelled(path)}",
            as_text(file.at(path)),
            lambda text: file.with_value(path, text),
        )

    def action_add(self) -> None:
        """Ask for an entry to add to what the cursor is on, or in."""
        file, node = self._file, self.cursor_node
        if file is None or file.value is None or node is None:
            return
        path = node.data or ()
        value = file.at(path)
        if path and not isinstance(value, dict | list):
            path = path[:-1]
            value = file.at(path)
        what = "value" if isinstance(value, list) else "key: value"
        where = spelled(path) or file.path.name
        self._ask(f"new in {where} ({what})", "", lambda text: file.with_entry(path, text))

    def action_remove(self) -> None:
        """Remove the entry that the cursor is on, once more is asked."""
        file, path = self._file, self.cursor_node.data if self.cursor_node else ()
        if file is not None and path:
            self._ask(f"remove {spelled(path)}?", None, lambda _: file.without(path))

    def _ask(self, title: str, text: str | None, edit: Callable[[str], str]) -> None:
        assert self._file is not None
        self.app.push_screen(EditScreen(self._file, title, text, edit), self._edited)

    def _edited(self, is_saved: bool | None) -> None:
        if is_saved:
            self.post_message(self.Saved())


class EditScreen(ModalScreen[bool]):
    """A dialog for one edit of a file, which stays open until the edit is sound, or given up.

    Parameters
    ----------
    file : ConfigFile
        What is edited.
    title : str
        What the edit is.
    text : str or None
        What stands there now; None if nothing is to be typed.
    edit : callable
        Takes what was typed and returns the new text of the file.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("enter", "save", "Save"),
        Binding("escape", "give_up", "Leave it as it is"),
    ]

    def __init__(self, file: ConfigFile, title: str, text: str | None, edit: Callable[[str], str]) -> None:
        super().__init__()
        self._file = file
        self._what = title
        self._text = text
        self._edit = edit
        self._is_checking = False
        self._is_saved = False

    def compose(self) -> ComposeResult:
        """Show what stands there now."""
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(one_line(self._what))
            dialog.border_subtitle = "Enter: check and save   Esc: leave it as it is"
            if self._text is not None:
                yield Input(self._text, compact=True, select_on_focus=False)
            yield Static(id="verdict", markup=False)

    def on_input_submitted(self) -> None:
        """Save what was typed."""
        self.action_save()

    def action_save(self) -> None:
        """Check the edit and write it."""
        if not self._is_checking:
            self._is_checking = True
            self.run_worker(self._save())

    async def _save(self) -> None:
        typed = "" if self._text is None else self.query_one(Input).value
        self._tell("Checking, as 'crystallize check' does ...", "dim")
        try:
            problems = await self._file.save(self._edit(typed))
        except CrystallizeError as error:
            self._tell(str(error), "red")
        else:
            if not problems:
                self._is_saved = True
                self.on_screen_resume()
                return
            self._tell("\n".join(map(str, problems)), "red")
        self._is_checking = False

    def on_screen_resume(self) -> None:
        """Close when the edit is saved, and nothing else stands before the dialog."""
        if self._is_saved and self.is_active:
            self.dismiss(True)

    def _tell(self, text: str, style: str) -> None:
        self.query_one("#verdict", Static).update(plain(text, style))

    def action_give_up(self) -> None:
        """Leave the file as it is."""
        self.dismiss(False)


def _shown(value: Any) -> Text:
    """Return a value for the screen; a text stands in quotes only if it could be taken for something else."""
    is_text = isinstance(value, str) and value and plain_scalar(value) == value
    return plain(one_line(value if is_text else as_text(value)), "dim" if value in (None, [], {}) else "")


def _below(node: TreeNode[Any]) -> list[TreeNode[Any]]:
    return [node, *(each for child in node.children for each in _below(child))]
