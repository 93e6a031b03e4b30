"""Edits of a YAML text that leave every other character as it is: comments, order, layout.

Each takes the text and a path in it, and returns the text with one change. None looks whether the result means what
it should: who calls them reads it again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from crystallize.config.errors import KeyPath

_BEFORE_COMMENT = re.compile(" +(?=#)")


def replaced(text: str, path: KeyPath, value: str) -> str:
    """Return the text with another value at `path`; a comment behind it stays in its column."""
    node = _find(text, path)
    start, end = node.start_mark.index, _end(text, node)
    if start == end:  # nothing was said
        value = f" {value}"
    rest = text[end:]
    gap = _BEFORE_COMMENT.match(rest)
    if gap:
        width = max(1, len(gap.group()) + (end - start) - len(value))
        rest = " " * width + rest[gap.end() :]
    return text[:start] + value + rest


def added(text: str, path: KeyPath, entry: str) -> str:
    """Return the text with one entry more at the end of the mapping or list at `path`."""
    node = _find(text, path)
    if node.flow_style:
        close = node.end_mark.index - 1
        return f"{text[:close].rstrip()}{', ' if node.value else ''}{entry}{text[close:]}"
    is_list = isinstance(node, yaml.SequenceNode)
    line_end = _line_end(text, _end(text, node))
    return (
        f"{text[:line_end]}\n{' ' * node.start_mark.column}{'- ' if is_list else ''}{entry}{text[line_end:]}"
    )


def removed(text: str, path: KeyPath) -> str:
    """Return the text without the entry at `path`, which is not the only one of its mapping or list."""
    parent = _find(text, path[:-1])
    spans = [(first.start_mark.index, _end(text, last)) for first, last in _entries(parent)]
    place = _place(parent, path[-1])
    start, end = spans[place]
    if parent.flow_style:
        if place + 1 < len(spans):
            return text[:start] + text[spans[place + 1][0] :]
        return text[: spans[place - 1][1]] + text[end:]
    line_start = text.rfind("\n", 0, start) + 1
    if text[line_start:start].strip(" -"):
        raise ValueError("something else stands in its line")
    if isinstance(parent, yaml.MappingNode) and text[line_start:start].strip():  # behind the dash of a list
        return text[:start] + text[spans[place + 1][0] :]
    return text[:line_start] + text[_line_end(text, end) + 1 :]


def _find(text: str, path: KeyPath) -> Any:
    """Return the node at a path."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for part in path:
        node = _entries(node)[_place(node, part)][1]
    return node


def _entries(node: Any) -> list[tuple[Any, Any]]:
    """Return where each entry begins and what its value is."""
    if isinstance(node, yaml.MappingNode):
        return list(node.value)
    return [(item, item) for item in node.value]


def _place(node: Any, part: str | int) -> int:
    if isinstance(part, int):
        return part
    keys = [str(key.value) for key, _ in node.value]
    return keys.index(part)


def _end(text: str, node: Any) -> int:
    """Return where a value ends, without the comments behind it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        return _end(text, _entries(node)[-1][1])
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    return start + len(text[start:end].rstrip())


def _line_end(text: str, place: int) -> int:
    end = text.find("\n", place)
    return len(text) if end < 0 else end
