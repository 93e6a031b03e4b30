"""The experiments by group, a line for each, in columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len
from rich.color import Color, ColorParseError
from rich.style import Style
from rich.text import Text
from textual.binding import Binding
from textual.message import Message
from textual.widgets import Tree

from crystallize.config.project import GRAPH, FoundExperiment
from crystallize.store.metadata import FAILED, INTERRUPTED
from crystallize_tui.wording import about, ago, fitted, one_line, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from textual import events
    from textual.widgets.tree import TreeNode

    from crystallize_tui.project import Past

_INDENT = 4
_SIGNS = 5
_LONGEST_NAME = 28
_LEAST_DESCRIPTION = 16
_COLUMNS = (("n", 6), ("treat.", 6), ("last run", 21), ("next", 8))
_APART = 2
_FIXED = sum(size + _APART for _, size in _COLUMNS)
_BAD = (FAILED, INTERRUPTED, "damaged", "newer")


class ExperimentTree(Tree["FoundExperiment | str"]):
    """The experiments by group; a node's data are an experiment, or the name of a group.

    The line of an experiment is made when it is drawn, so that thousands of them cost nothing.

    Attributes
    ----------
    pasts : dict
        What is known of earlier runs, by the config.yaml of their experiment.
    """

    BINDINGS: ClassVar[list[Any]] = [
        Binding("enter", "select_cursor", "Run", tooltip="Run the experiment, or open and close a group"),
        Binding("h", "screen.history", "History", tooltip="Compare the earlier versions of the experiment"),
    ]

    def __init__(self) -> None:
        super().__init__("experiments", id="experiments")
        self.show_root = False
        self.show_guides = False
        self.guide_depth = 2
        self.pasts: dict[Path, Past] = {}
        self._name_width = 10
        self._rest = 0

    class Resized(Message):
        """There is another width now."""

    def on_resize(self, event: events.Resize) -> None:
        """Tell that the lines fit no more."""
        self.post_message(self.Resized())

    @property
    def experiment(self) -> FoundExperiment | None:
        """The experiment that the cursor is on."""
        data = self.cursor_node.data if self.cursor_node else None
        return data if not isinstance(data, str) else None

    @property
    def leaves(self) -> list[TreeNode[Any]]:
        """The nodes of experiments."""
        return [leaf for group in self.root.children for leaf in group.children]

    def leaf_of(self, config: Path) -> TreeNode[Any] | None:
        """Return the node of an experiment, by its config.yaml."""
        return next((leaf for leaf in self.leaves if _of(leaf).config == config), None)

    def learn(self, pasts: Mapping[Path, Past]) -> None:
        """Tell of earlier runs."""
        self.pasts.update(pasts)
        for leaf in self.leaves:
            if _of(leaf).config in pasts:
                leaf.refresh()

    def fit(self) -> Text:
        """Give each column as much room as there is now, and return the heading."""
        width = self.scrollable_content_region.width or self.size.width
        longest = max((cell_len(one_line(_of(leaf).name)) for leaf in self.leaves), default=0)
        self._name_width = max(10, min(longest, _LONGEST_NAME, width - _INDENT - _SIGNS - _FIXED))
        rest = width - _INDENT - _SIGNS - self._name_width - _FIXED - _APART
        self._rest = rest if rest >= _LEAST_DESCRIPTION else 0
        gap = " " * _APART
        cells = [fitted(title, size, right=place < 2) for place, (title, size) in enumerate(_COLUMNS)]
        heading = [fitted("experiment", self._name_width), *cells, *(["description"] if self._rest else [])]
        return plain(" " * (_INDENT + _SIGNS) + gap.join(heading), "dim")

    def get_label_width(self, node: TreeNode[Any]) -> int:
        """Return how wide a line is; that of an experiment fits."""
        if not isinstance(node.data, FoundExperiment):
            return super().get_label_width(node)
        return _SIGNS + self._name_width + _FIXED + (self._rest + _APART if self._rest else 0)

    def render_label(self, node: TreeNode[Any], base_style: Style, style: Style) -> Text:
        """Return the line of an experiment, or the name of a group."""
        if not isinstance(node.data, FoundExperiment):
            return super().render_label(node, base_style, style)
        line = self._line(node.data)
        line.stylize(style)
        return line

    def _line(self, each: FoundExperiment) -> Text:
        signs = " ".join(filter(None, (one_line(each.icon), GRAPH if each.is_graph else "")))
        name = fitted(each.name, self._name_width)
        gap = " " * _APART
        if each.problems:
            room = _FIXED - _APART + (self._rest + _APART if self._rest else 0)
            reason = f"line {each.problems[0].line}: " if each.problems[0].line else ""
            text = fitted(reason + each.problems[0].message, room)
            return Text.assemble(fitted("✗", _SIGNS), (name, "red"), gap, (text, "red"))
        past = self.pasts.get(each.config)
        n = "" if each.replicates is None else str(each.replicates)
        cells = [(n, ""), (str(len(each.treatments)), ""), _last_run(past), (_next(past), "")]
        line = Text.assemble(fitted(signs, _SIGNS), (name, _colour(each.color)))
        for place, ((cell, style), (_, size)) in enumerate(zip(cells, _COLUMNS, strict=True)):
            line.append(gap).append(fitted(cell, size, right=place < 2), style)
        if self._rest:
            line.append(gap).append(fitted(each.description, self._rest), "dim")
        return line


def _of(leaf: TreeNode[Any]) -> FoundExperiment:
    """Return the experiment of a leaf."""
    assert isinstance(leaf.data, FoundExperiment)
    return leaf.data


def _last_run(past: Past | None) -> tuple[str, str]:
    """Return how the last run ended, and in which style that is told."""
    if past is None:
        return "...", "dim"
    if past.problem:
        return "unreadable", "red"
    last = past.last
    if last is None:
        return "never", "dim"
    told = f"{last.failed_outcomes} failed" if last.failed_outcomes else last.status
    when = f", {ago(last.when)}" if last.when else ""
    return told + when, "red" if last.failed_outcomes or last.status in _BAD else ""


def _next(past: Past | None) -> str:
    return about(past.estimate) if past is not None and past.estimate is not None else ""


def _colour(color: str) -> str | Style:
    """Return the style of a name; a colour that there is not stays without."""
    try:
        Color.parse(color)
    except ColorParseError:
        return ""
    return Style(color=color)
