"""A YAML file as plain Python values that know where in the file they stand.

Scalars follow the core schema of YAML 1.2, so that ``on``, ``yes`` and ``1:30`` are text and ``1e-3`` is a
number. What could surprise is refused: tags, merge keys, keys that are not text, tabs as indentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from crystallize.config.errors import KeyPath, Problem, spelled
from crystallize.config.scalars import describe, plain_scalar

LARGEST = 1 << 20
"""How many bytes a file may have."""

DEEPEST = 40
"""How many mappings and lists may stand inside each other."""

MOST_VALUES = 50_000
"""How many values a file may stand for, each alias counted with all that it repeats."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TAB_INDENT = re.compile(r"^ *\t[ \t]*[^\s#]", re.MULTILINE)


@dataclass(eq=False, slots=True)
class Node:
    """A value of the file: a scalar, a list of nodes, or a mapping of keys to (key's node, value's node)."""

    value: Any
    line: int
    column: int


@dataclass
class Document:
    """A file that was read.

    Attributes
    ----------
    file : pathlib.Path
        Where it is.
    root : Node or None
        What it holds; None if that could not be read.
    value : object
        The same as plain Python values.
    problems : list of Problem
        The mistakes that were found.
    """

    file: Path
    root: Node | None = None
    value: Any = None
    problems: list[Problem] = field(default_factory=list)

    def at(self, path: KeyPath, *, key: bool = False) -> tuple[int, int]:
        """Return line and column of the value at `path`, or of its key; of what is nearest if there is none."""
        node, place = self.root, (1, 1)
        if node is not None:
            place = (node.line, node.column)
        for number, part in enumerate(path, 1):
            if node is None:
                break
            own: Node | None = None
            if isinstance(node.value, dict) and part in node.value:
                own, node = node.value[part]
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                break
            spot = own if own is not None and key and number == len(path) else node
            place = (spot.line, spot.column)
        return place

    def add(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note a mistake at `path`."""
        self.problems.append(self.problem(path, message, hint, key=key))

    def problem(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """Make a problem at `path`."""
        return Problem(self.file, *self.at(path, key=key), spelled(path), message, hint)


def read_document(file: Path) -> Document:
    """Read a YAML file whose top level is a mapping; what is wrong with it is in its `problems`."""
    document = Document(file)
    text = _read_text(document)
    if text is not None:
        Reader(document, text).read()
    return document


def _read_text(document: Document) -> str | None:
    file = document.file

    def refuse(message: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        document.problems.append(Problem(file, line, column, "", message, hint))

    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        if file.parent.is_dir():
            refuse("there is no such file", "An experiment's folder has a config.yaml")
        else:
            refuse("there is no such folder", "Name the folder of an experiment, or its config.yaml")
        return None
    except IsADirectoryError:
        refuse("this is a folder, not a file", "Name the folder of an experiment, or its config.yaml")
        return None
    except (OSError, ValueError) as error:
        refuse(f"the file cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    if len(content) > LARGEST:
        refuse(
            f"the file has more than {LARGEST} bytes",
            "Keep data in files of its own; a data source loads them",
        )
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        refuse("the file is not UTF-8 text", "Save it as UTF-8", *_spot(before, len(before)))
        return None
    wrong = _UNPRINTABLE.search(text)
    if wrong:
        refuse(
            f"the file holds the control character {wrong.group()!r}",
            'Remove it, or write it in double quotes with a backslash, as in "\\x07"',
            *_spot(text, wrong.start()),
        )
        return None
    return text


def _spot(text: str, position: int) -> tuple[int, int]:
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


class _Unreadable(Exception):
    """The rest of the file makes no sense; the problem is noted."""


class Reader:
    """Makes the nodes and the values of one document."""

    def __init__(self, document: Document, text: str) -> None:
        self._document = document
        self._text = text
        self._loader = _Loader(text)
        self._anchors: dict[str, Node | None] = {}
        self._left = MOST_VALUES
        self._block_scalars: list[range] = []

    def read(self) -> None:
        """Read all of it; what is wrong becomes a problem of the document."""
        document = self._document
        try:
            root = self._root()
        except yaml.YAMLError as error:
            self._syntax(error)
            return
        except _Unreadable:
            return
        finally:
            self._loader.dispose()
        if self._tabs():
            return
        if not isinstance(root.value, dict):
            self._note(
                root.line,
                root.column,
                (),
                f"the file holds {describe(root.value)}, not a mapping",
                "It has keys such as 'datasource:' and 'steps:'",
            )
            return
        document.root = root
        try:
            document.value = self._plain(root)
        except _Unreadable:
            document.root = None

    # -- nodes -----------------------------------------------------------------------------------------------

    def _root(self) -> Node:
        loader = self._loader
        loader.get_event()  # the stream's start
        if loader.check_event(yaml.StreamEndEvent):
            self._note(1, 1, (), "the file is empty", "It has at least the keys 'datasource' and 'steps'")
            raise _Unreadable
        loader.get_event()
        root = self._node((), 0)
        loader.get_event()
        if not loader.check_event(yaml.StreamEndEvent):
            mark = loader.peek_event().start_mark
            self._note(
                mark.line + 1,
                mark.column + 1,
                (),
                "a second document starts here",
                "A file describes one experiment: remove the '---'",
            )
            raise _Unreadable
        return root

    def _node(self, path: KeyPath, depth: int) -> Node:
        event = self._loader.get_event()
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line, column, path)
        if depth > DEEPEST:
            self._note(line, column, (), f"more than {DEEPEST} lists and mappings stand inside each other")
            raise _Unreadable
        if event.tag is not None:
            self._note(
                line,
                column,
                path,
                f"the tag {_tag(event.tag)} is not supported",
                "Values are plain text, numbers, true, false, lists and mappings; remove the tag",
            )
        node = Node(None, line, column)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # a value cannot hold itself
        if isinstance(event, yaml.ScalarEvent):
            node.value = self._scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            node.value = []
            while not self._loader.check_event(yaml.SequenceEndEvent):
                node.value.append(self._node((*path, len(node.value)), depth + 1))
            self._loader.get_event()
        else:
            node.value = self._mapping(path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _mapping(self, path: KeyPath, depth: int) -> dict[str, tuple[Node, Node]]:
        entries: dict[str, tuple[Node, Node]] = {}
        while not self._loader.check_event(yaml.MappingEndEvent):
            is_plain = getattr(self._loader.peek_event(), "style", "?") in (None, "")
            key = self._node(path, depth + 1)
            name = key.value
            value = self._node((*path, name if isinstance(name, str) else describe(name)), depth + 1)
            if not isinstance(name, str):
                self._note(
                    key.line,
                    key.column,
                    path,
                    f"the key is {describe(name)}, and keys are text",
                    f'Write it in quotes: "{name}"' if isinstance(name, int | float) else "",
                )
            elif name == "<<" and is_plain:
                self._note(
                    key.line,
                    key.column,
                    path,
                    "the merge key '<<' is not supported",
                    "Write the keys out; a whole value may be repeated with an alias",
                )
            elif name in entries:
                self._note(
                    key.line,
                    key.column,
                    (*path, name),
                    f"the key {name!r} is here a second time; the first is in line {entries[name][0].line}",
                    "Remove one of the two",
                )
            else:
                entries[name] = key, value
        self._loader.get_event()
        return entries

    def _alias(self, anchor: Any, line: int, column: int, path: KeyPath) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            known = anchor in self._anchors
            self._note(
                line,
                column,
                path,
                f"the alias *{anchor} is part of what it stands for"
                if known
                else f"no anchor &{anchor} comes before",
            )
            raise _Unreadable
        return node

    def _scalar(self, event: Any, path: KeyPath) -> Any:
        text = event.value
        if event.style not in (None, ""):
            if event.style in ("|", ">"):
                self._block_scalars.append(range(event.start_mark.line + 1, event.end_mark.line + 1))
            return text
        try:
            return plain_scalar(text)
        except ValueError:
            mark = event.start_mark
            self._note(mark.line + 1, mark.column + 1, path, f"the number has {len(text)} digits")
            return 0

    def _plain(self, node: Node) -> Any:
        """Return the value of a node; each alias gets a copy of its own, up to a limit for all together."""
        self._left -= 1
        if self._left < 0:
            self._note(
                node.line,
                node.column,
                (),
                f"with its aliases the file stands for more than {MOST_VALUES} values",
                "Keep data in files of its own; a data source loads them",
            )
            raise _Unreadable
        if isinstance(node.value, dict):
            return {name: self._plain(value) for name, (_, value) in node.value.items()}
        if isinstance(node.value, list):
            return [self._plain(item) for item in node.value]
        return node.value

    def _note(self, line: int, column: int, path: KeyPath, message: str, hint: str = "") -> None:
        self._document.problems.append(
            Problem(self._document.file, line, column, spelled(path), message, hint)
        )

    def _syntax(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        lines = self._text.splitlines()[:line]
        tabbed = [number for number, text in enumerate(lines, 1) if text.lstrip(" ").startswith("\t")]
        if tabbed:
            self._note_tab(tabbed[-1], lines[tabbed[-1] - 1].index("\t") + 1)
            return
        reason = ", ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None))))
        self._note(
            line,
            column,
            (),
            f"this is not YAML: {reason or error}",
            "Check indentation, colons, brackets and quotes; text with special characters goes in quotes",
        )

    def _tabs(self) -> bool:
        """Note the tabs that are meant to indent; return whether there are any."""
        found = False
        for match in _TAB_INDENT.finditer(self._text):
            line, column = _spot(self._text, match.group().index("\t") + match.start())
            if not any(line - 1 in lines for lines in self._block_scalars):
                self._note_tab(line, column)
                found = True
        return found

    def _note_tab(self, line: int, column: int) -> None:
        self._note(line, column, (), "the line is indented with a tab", "YAML is indented with spaces")


def _tag(tag: str) -> str:
    prefix = "tag:yaml.org,2002:"
    return f"!!{tag.removeprefix(prefix)}" if tag.startswith(prefix) else tag
