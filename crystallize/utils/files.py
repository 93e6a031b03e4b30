"""Files that are whole or absent: written beside their place and renamed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from crystallize.utils.failures import safe_repr

if TYPE_CHECKING:
    from pathlib import Path

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 18  # small enough that what was hashed is still in the CPU's cache when it is written

_LONGEST_INT = 10_000  # bits; Python refuses to write much longer ones in decimal
_DEEPEST = 100

_process_token = os.urandom(4).hex()
_serial = count()


def unique_suffix() -> str:
    """Return a text that no other call returns: in this process, its forks, other processes or machines."""
    return f"{os.getpid():x}-{_process_token}-{next(_serial):x}"


def atomic_write_bytes(
    path: str | Path,
    content: bytes | bytearray | memoryview,
    *,
    observe: Callable[[memoryview], object] | None = None,
) -> None:
    """Write a file so that a reader sees all of it or, until then, what was there before.

    Folders that are missing are made. The content is not flushed to the disk's platters: it survives the end
    of the process at any moment, though not the loss of power.

    Parameters
    ----------
    path : str or Path
        The file.
    content : bytes-like
        What it will hold; not copied.
    observe : callable, optional
        Called with each part of `content` just before that part is written, for example a hash's ``update``.

    Raises
    ------
    OSError
        If the file cannot be written. Nothing is left behind then.
    """
    target = os.fspath(path)
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name[:100]}.{unique_suffix()}.tmp")  # noqa: PTH118
    try:
        descriptor = os.open(beside, _CREATE, 0o666)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        descriptor = os.open(beside, _CREATE, 0o666)
    try:
        try:
            _write_all(descriptor, content, observe)
        finally:
            os.close(descriptor)
        os.replace(beside, target)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)  # noqa: PTH108
        raise


def _write_all(
    descriptor: int, content: bytes | bytearray | memoryview, observe: Callable[[memoryview], object] | None
) -> None:
    rest = memoryview(content).cast("B")
    while rest:
        part = rest[:_CHUNK]
        if observe is not None:
            observe(part)
        while part:
            written = os.write(descriptor, part)
            part = part[written:]
        rest = rest[_CHUNK:]


def atomic_write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON by :func:`atomic_write_bytes`; see :func:`to_json` for what JSON lacks."""
    atomic_write_bytes(path, f"{to_json(value)}\n".encode())


def to_json(value: Any, *, default: Callable[[Any], Any] | None = None) -> str:
    """Return `value` as JSON text in one line.

    Floats have all their digits; NaN and the infinities are written as ``NaN`` and ``Infinity``, which
    Python's reader understands.

    Parameters
    ----------
    value : object
        The value.
    default : callable, optional
        Gives what is written in place of a value that JSON has no form for. By default arrays and sets become
        lists, and all else its ``repr``.
    """
    default = default or _json_default
    try:
        return _encoder(default).encode(value)
    except (TypeError, ValueError, RecursionError):  # an odd key, a cycle, a number that is too long
        return json.dumps(_made_of_json_types(value, default, ()))


@lru_cache(maxsize=8)
def _encoder(default: Callable[[Any], Any]) -> json.JSONEncoder:
    return json.JSONEncoder(default=default)  # json.dumps would make one for each value


def _json_default(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return value.tolist()
    return safe_repr(value)


def _made_of_json_types(value: Any, default: Callable[[Any], Any], inside: tuple[int, ...]) -> Any:
    """Return `value` made of nothing but JSON's types; `inside` are the containers that hold it."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < _LONGEST_INT else hex(value)
    if id(value) in inside or len(inside) > _DEEPEST:
        return "..."
    deeper = (*inside, id(value))
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else safe_repr(key): _made_of_json_types(item, default, deeper)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_made_of_json_types(item, default, deeper) for item in value]
    return _made_of_json_types(default(value), default, deeper)
