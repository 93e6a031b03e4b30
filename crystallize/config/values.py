"""Single values as text, as on a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crystallize.config.document import Document, Reader
from crystallize.config.scalars import plain_scalar
from crystallize.errors import InvalidValueError


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
    document = Document(Path("value"))
    Reader(document, f"value: {text}").read()
    if document.problems:
        problem = document.problems[0]
        raise InvalidValueError(f"{text!r} cannot be read: {problem.message}", hint=problem.hint)
    return document.value["value"]
