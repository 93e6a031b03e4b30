"""Names that become files or folders."""

from __future__ import annotations

import re
import unicodedata

from crystallize.errors import InvalidNameError, InvalidTypeError

_LONGEST = 200  # bytes; file systems allow 255, and the store adds suffixes of its own
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\:*?\"<>|]")
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_VERSION = re.compile(r"@v[0-9]+$")


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


def check_experiment_name(name: object) -> str:
    """Return `name` if it can be the name of an experiment, that can be referred to."""
    checked = check_name("experiment", name)
    if "#" in checked:
        fault = "has a '#', which stands between an experiment and its artifact"
    elif _VERSION.search(checked):
        fault = "ends as what refers to one of an experiment's runs"
    else:
        return checked
    raise InvalidNameError(
        f"{checked!r} cannot be the name of an experiment: it {fault}", hint="Choose another name"
    )


def name_key(name: str) -> str:
    """Return what is equal for names that are one file on some system, whatever their case and normal form."""
    if name.isascii():
        return name.lower()
    # Canonical caseless matching: The Unicode Standard, section 3.13, definition D145.
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"
