"""Secrets: recognised by what they are called, and kept out of what is stored or shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

MASK = "***"
_DEEPEST = 20

# Texts only: `max_tokens=512` is a setting like any other.
_SECRET = re.compile(
    r"(?:^|[_\W])(?:password|passwd|passphrase|pwd|secret|token|apikey|credentials?|auth|bearer"
    r"|(?:api|access|private|secret|auth|crystallize_cache|signing|encryption|decryption|master|ssh|hmac)[_-]?key)"
    r"(?:$|[_-](?:key|id|value|text)$)",
    re.IGNORECASE,
)
# Those of a text are settings: what masked them would hide from resume that they changed.
_OF_A_TEXT = re.compile(
    r"(?:^|[_\W])(?:pad|mask|bos|eos|unk|sep|cls|start|stop|end|special)[_-]?token", re.IGNORECASE
)
_NEW_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")  # db|Password, HF|Token
_IN_ADDRESS = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")  # https://user:password@host


@lru_cache(maxsize=1024)  # what a step reads is looked at each time
def _is_secret(name: str) -> bool:
    words = _NEW_WORD.sub("_", name)
    return _SECRET.search(words) is not None and _OF_A_TEXT.search(words) is None


def masked(key: object, value: Any, *, depth: int = 0) -> Any:
    """Return the value of a setting, or a mask if it is a text that the name of the setting calls a secret.

    What a mapping or list holds is looked through; passwords in addresses are masked as well.

    >>> masked("db", {"api_key": "x1", "max_tokens": 512, "url": "https://me:secret@host"})
    {'api_key': '***', 'max_tokens': 512, 'url': 'https://me:***@host'}
    """
    if isinstance(value, str | bytes):
        if value and isinstance(key, str) and _is_secret(key):
            return MASK
        return without_passwords(value) if isinstance(value, str) else value
    if depth == _DEEPEST:  # it may be inside of itself
        return value
    if isinstance(value, Mapping):
        return {inner: masked(inner, item, depth=depth + 1) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(key, item, depth=depth + 1) for item in value]
    return value


def masked_text(name: str, text: str) -> str:
    """Return a text, or a mask if its name calls it a secret. It is :func:`masked`, in a third of the time."""
    return MASK if text and _is_secret(name) else without_passwords(text)


def without_passwords(text: str) -> str:
    """Return `text` without the passwords of addresses like ``https://user:password@host``."""
    return _IN_ADDRESS.sub(rf"\1:{MASK}@", text) if "://" in text else text


def masked_command(arguments: Sequence[str]) -> list[str]:
    """Return a command line without its secrets: ``--token=x``, ``--token x``, ``--set api_key=x``."""
    shown = []
    is_secret = False
    for each in arguments:
        name, separator, value = each.partition("=")
        if is_secret and not each.startswith("-"):
            shown.append(MASK)
        elif separator:
            shown.append(f"{name}={masked(name, value)}")
        else:
            shown.append(without_passwords(each))
        is_secret = not separator and each.startswith("--") and _is_secret(each)
    return shown
