"""Names that become files or folders."""

from __future__ import annotations

import re

from crystallize.errors import InvalidNameError, InvalidTypeError

_LONGEST = 200  # bytes; file systems allow 255, and the store adds suffixes of its own
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\:*?\"<>|]")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_REPLICATE_FOLDER = re.compile(r"replicate_\d+")
_STORE_FILES = frozenset({"metadata.json", "_manifest.json", "run.db"})


def check_name(kind: str, name: object) -> str:
    """Return `name` if it can be a file or folder on every system, inside the folder that it belongs to.

    Parameters
    ----------
    kind : str
        What is named, for the message: ``"artifact"``, ``"experiment"``, ...
    name : object
        The name.

    Raises
    ------
    InvalidTypeError
        If it is not a str.
    InvalidNameError
        If it is empty, too long, ``.`` or ``..``, a device name of Windows, begins or ends with a blank, ends
        with a dot, or has a separator, a drive letter, a control character, half a surrogate pair or one of
        ``* ? " < > |``.
    """
    if not isinstance(name, str):
        raise InvalidTypeError(f"the name of {_article(kind)} {kind} is a str, got {name!r}")
    found = _FORBIDDEN.search(name)
    if found:
        fault = f"holds {found.group()!r}"
    elif not name.strip():
        fault = "is empty"
    elif name in {".", ".."}:
        fault = "leads to another folder"
    elif name != name.strip() or name.endswith("."):
        fault = "begins or ends with a blank, or ends with a dot"
    elif _DEVICES.fullmatch(name):
        fault = "is a device on Windows"
    elif len(name.encode()) > _LONGEST:
        fault = f"is longer than {_LONGEST} bytes"
    else:
        return name
    raise InvalidNameError(
        f"{name!r} cannot be the name of {_article(kind)} {kind}: it becomes a file or folder, and it {fault}",
        hint="Use letters, digits, '-', '_' and '.'",
    )


def check_condition_name(name: object) -> str:
    """Return `name` if it can be the name of a condition: its folder stands beside the store's own files."""
    checked = check_name("treatment", name)
    if _REPLICATE_FOLDER.fullmatch(checked) or checked in _STORE_FILES or checked.startswith("."):
        raise InvalidNameError(
            f"{checked!r} cannot be the name of a treatment: the store keeps that name for itself",
            hint="Choose another name",
        )
    return checked


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"
