"""What a terminal may be given: texts of others, without what would steer it."""

from __future__ import annotations

import re
from typing import Any

# Control characters but tab and newline, the marks that reverse the direction of text, separators of lines that
# only some programs know, and halves of surrogate pairs, which no encoding has.
_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return `text` with an escape, as in a Python string, for each character that would steer a terminal.

    Newlines and tabs stay; the line ends of Windows become newlines.

    >>> visible("a name\x1b[31m")
    'a name\\x1b[31m'
    """
    return _STEERING.sub(lambda found: repr(found.group())[1:-1], text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    r"""Return `text` as :func:`visible` does, with newlines and tabs escaped too: for names, which others stand beside.

    >>> one_line("two\nlines")
    'two\\nlines'
    """
    return visible(text).replace("\n", r"\n").replace("\t", r"\t")


def is_terminal(stream: Any) -> bool:
    """Tell whether a stream leads to a terminal; one that is closed, missing or cannot tell does not."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False
