"""A YAML file as plain Python values, with the place of each.

Scalars follow the core schema of YAML 1.2, so that ``on``, ``yes`` and ``1:30`` are text and ``1e-3`` is a
number. What could surprise is refused: tags, merge keys, keys that are not text, tabs as indentation.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from crystallize.config.errors import KeyPath, Problem, spelled
from crystallize.errors import InvalidValueError
from crystallize.utils.files import read_plain
from crystallize.utils.wording import shortened
from crystallize.utils.yaml12 import plain_scalar

LARGEST = 1 << 20
"""How many bytes a file may have."""

DEEPEST = 40
"""How many mappings and lists may stand inside each other."""

MOST_VALUES = 50_000
"""How many values a file may stand for, each alias counted with all that it repeats."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TAB_INDENT = re.compile(r" *\t[ \t]*[^\s#]")
_ELSEWHERE = "Keep data in files of its own; a data source loads them"
_TAB = "the line is indented with a tab", "YAML is indented with spaces"
_PLAIN = "plain"
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Document:
    """A file that was read.

    Attributes
    ----------
    file : pathlib.Path
        Where it is.
    value : dict or None
        What it holds; None if that could not be read.
    problems : list of Problem
        The mistakes that were found; checks that come later add theirs.
    places, key_places : dict
        Line and column of each value, and of its key, by its path.
    """

    file: Path
    value: dict[str, Any] | None = None
    problems: list[Problem] = field(default_factory=list)
    places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    key_places: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)

    def at(self, path: KeyPath, *, key: bool = False) -> tuple[int, int]:
        """Return line and column of the value at `path`, or of its key; of what is nearest if there is none."""
        if key and path in self.key_places:
            return self.key_places[path]
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, (1, 1))

    def add(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note a mistake at `path`."""
        self.problems.append(self.problem(path, message, hint, key=key))

    def problem(self, path: KeyPath, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """Make a problem at `path`."""
        return Problem(self.file, *self.at(path, key=key), spelled(path), message, hint)


class _Refused(Exception):
    """The file, or the rest of it, cannot be read: message, hint, and line and column if they are known."""

    def __init__(self, message: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message, self.hint, self.line, self.column = message, hint, line, column


def read_document(file: Path, text: str | None = None) -> Document:
    """Read a YAML file whose top level is a mapping; what is wrong with it is in its `problems`.

    With a `text`, that is read in place of the file's.
    """
    document = Document(file)
    try:
        _Reader(document, _read_text(file) if text is None else text).read()
    except _Refused as error:
        document.problems.append(Problem(file, error.line, error.column, "", error.message, error.hint))
    return document


def read_value(text: str) -> Any:
    """Read one value that stands alone: a plain scalar, or a list, mapping or quoted text of YAML's flow style.

    Only what begins with ``[``, ``{`` or a quote is looked into, so that other text needs no quotes.

    Raises
    ------
    InvalidValueError
        If it begins so and is none, or is a number with too many digits.
    """
    if not text.lstrip().startswith(("[", "{", '"', "'")):
        try:
            return plain_scalar(text)
        except ValueError as error:
            raise InvalidValueError(f"{text!r} cannot be read: {error}") from None
    document = read_document(Path("value"), f"value: {text}")
    if document.problems or document.value is None:
        problem = document.problems[0]
        raise InvalidValueError(f"{text!r} cannot be read: {problem.message}", hint=problem.hint)
    return document.value["value"]


def describe(value: Any) -> str:
    """Say what a value of a YAML file is, for messages."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {shortened(value)!r}"
    return "a list" if isinstance(value, list) else "a mapping" if value else "an empty mapping"


def _read_text(file: Path) -> str:
    advice = "Name the folder of an experiment, or its config.yaml"
    try:
        content = read_plain(file, LARGEST)
    except FileNotFoundError:
        if file.parent.is_dir():
            raise _Refused("there is no such file", "An experiment's folder has a config.yaml") from None
        raise _Refused("there is no such folder", advice) from None
    except IsADirectoryError:
        raise _Refused("this is a folder, not a file", advice) from None
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.EFBIG:
            raise _Refused(f"the file has more than {LARGEST} bytes", _ELSEWHERE) from None
        raise _Refused(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        raise _Refused("the file is not UTF-8 text", "Save it as UTF-8", *_end_of(before)) from None
    wrong = _UNPRINTABLE.search(text)
    if wrong:
        hint = 'Remove it, or write it in double quotes with a backslash, as in "\\x07"'
        message = f"the file holds the control character {wrong.group()!r}"
        raise _Refused(message, hint, *_end_of(text[: wrong.start()]))
    return text


def _end_of(text: str) -> tuple[int, int]:
    """Return line and column of what follows `text`."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


class _Composer(_Safe):  # type: ignore[misc]
    """Composes nodes and gives them no tags but those of the file; those of plain scalars are marked."""

    depth = 0

    def resolve(self, kind: type, value: Any, implicit: Any) -> str:
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else ""

    def descend_resolver(self, parent: Any, index: Any) -> None:
        self.depth += 1
        if self.depth > DEEPEST + 2:
            line, column = _place(parent)
            raise _Refused(
                f"more than {DEEPEST} lists and mappings stand inside each other", "", line, column
            )

    def ascend_resolver(self) -> None:
        self.depth -= 1


class _Reader:
    """Makes the values of one document, and notes their places."""

    def __init__(self, document: Document, text: str) -> None:
        self._document = document
        self._text = text
        self._count = 0
        self._ancestors: set[int] = set()
        self._block_lines: set[int] = set()

    def read(self) -> None:
        """Read all of it; what is wrong becomes a problem of the document."""
        try:
            root = yaml.compose(self._text, Loader=_Composer)
        except yaml.YAMLError as error:
            raise self._syntax(error) from None
        if root is None:
            raise _Refused("the file is empty", "It has at least the keys 'datasource' and 'steps'", 1, 1)
        value = self._value(root, ())
        tabs = list(self._tabs())
        if tabs:
            self._document.problems = tabs
        elif isinstance(value, dict):
            self._document.value = value
        else:
            hint = "It has keys such as 'datasource:' and 'steps:'"
            raise _Refused(f"the file holds {describe(value)}, not a mapping", hint, *_place(root))

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        """Return the value of a node; each alias gets a copy of its own, up to a limit for all together."""
        place = self._document.places[path] = _place(node)
        self._count += 1
        if self._count > MOST_VALUES:
            message = f"with its aliases the file stands for more than {MOST_VALUES} values"
            raise _Refused(message, _ELSEWHERE, *place)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._check_tag(node, path)
        if id(node) in self._ancestors:
            raise _Refused("an alias here is part of what it stands for", "Write the value out", *place)
        self._ancestors.add(id(node))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node, path)
        else:
            value = [self._value(item, (*path, number)) for number, item in enumerate(node.value)]
        self._ancestors.discard(id(node))
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            is_scalar = isinstance(key_node, yaml.ScalarNode)
            key = self._scalar(key_node, path) if is_scalar else [] if key_node.id == "sequence" else {}
            inner = (*path, key) if isinstance(key, str) else (*path, describe(key))
            if not isinstance(key, str):
                hint = f'Write it in quotes: "{key}"' if isinstance(key, int | float) else "Choose a text"
                self._note(key_node, path, f"the key is {describe(key)}, and keys are text", hint)
            elif key == "<<" and key_node.tag == _PLAIN:
                hint = "Write the keys out; a whole value may be repeated with an alias"
                self._note(key_node, path, "the merge key '<<' is not supported", hint)
            elif key in mapping:
                first = self._document.key_places[inner][0]
                message = f"the key {key!r} is here a second time; the first is in line {first}"
                self._note(key_node, inner, message, "Remove one of the two")
            else:
                self._document.key_places[inner] = _place(key_node)
                mapping[key] = self._value(value_node, inner)
        return mapping

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        self._check_tag(node, path)
        if node.style in ("|", ">"):
            self._block_lines.update(range(node.start_mark.line + 1, node.end_mark.line + 1))
        if node.tag != _PLAIN:
            return node.value
        try:
            return plain_scalar(node.value)
        except ValueError:
            self._note(node, path, f"the number has {len(node.value)} digits")
            return 0

    def _check_tag(self, node: yaml.Node, path: KeyPath) -> None:
        if node.tag not in ("", _PLAIN):
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            hint = "Values are plain text, numbers, true, false, lists and mappings; remove the tag"
            self._note(node, path, f"the tag {tag} is not supported", hint)

    def _note(self, node: yaml.Node, path: KeyPath, message: str, hint: str = "") -> None:
        self._document.problems.append(
            Problem(self._document.file, *_place(node), spelled(path), message, hint)
        )

    def _syntax(self, error: yaml.YAMLError) -> _Refused:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        lines = self._text.splitlines()[:line]
        tabbed = [number for number, text in enumerate(lines, 1) if text.lstrip(" ").startswith("\t")]
        if tabbed:
            return _Refused(*_TAB, tabbed[-1], lines[tabbed[-1] - 1].index("\t") + 1)
        what = getattr(error, "problem", None)
        reason = ", ".join(filter(None, (getattr(error, "context", None), what))) or str(error)
        if what == "but found another document":
            hint = "A file describes one experiment: remove the '---'"
            return _Refused("a second document starts here", hint, line, column)
        if what and "undefined alias" in what:
            alias = re.split(r"[\s,\]}]", lines[-1][column - 1 :], maxsplit=1)[0]
            return _Refused(f"no anchor &{alias[1:]} comes before", f"{alias} repeats it", line, column)
        hint = "Check indentation, colons, brackets and quotes; text with special characters goes in quotes"
        return _Refused(f"this is not YAML: {reason}", hint, line, column)

    def _tabs(self) -> Iterator[Problem]:
        """Yield a problem for each tab that is meant to indent."""
        for number, line in enumerate(self._text.split("\n"), 1):
            if "\t" in line and number - 1 not in self._block_lines and _TAB_INDENT.match(line):
                yield Problem(self._document.file, number, line.index("\t") + 1, "", *_TAB)


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
