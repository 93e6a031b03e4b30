"""An entry of the step cache as a file: what it is, a checksum or signature, and objects.

The first line says what the file is, the second is a JSON object about the entry, and the rest is a pickle with the
buffers of arrays behind it, which are read into memory once and not copied again. Nothing is unpickled before the
checksum, or the signature where there is a key, is found to be right.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from crystallize.errors import CrystallizeError
from crystallize.utils import exact_json
from crystallize.utils.files import atomic_write_parts, open_plain

FIRST_LINE = b"crystallize step cache 1\n"
SUFFIX = ".pkl"
_LONGEST_HEADER = 1 << 20
_CHUNK = 1 << 18  # small enough that what was read is still in the processor's cache when it is hashed
_LARGE = 1 << 16  # a buffer that is worth being kept out of the pickle


class DamagedEntryError(CrystallizeError, ValueError):
    """An entry of the step cache cannot be used."""


class Pickled(NamedTuple):
    """Objects in the form in which they are stored.

    Attributes
    ----------
    body : bytes
        The pickle.
    buffers : tuple of bytes-like
        What is too large to be copied into it.
    """

    body: bytes | memoryview
    buffers: tuple[Any, ...] = ()

    def load(self, data: Any) -> Any:
        """Make the objects anew; where a part of the step's input was in them, that of `data` is.

        Raises
        ------
        Exception
            Whatever their classes raise.
        """
        unpickler = _Unpickler(io.BytesIO(self.body), buffers=self.buffers)
        unpickler.data = data
        return unpickler.load()


def pickled(objects: Any, data: Any) -> Pickled:
    """Pickle what a step left behind; where a part of its input `data` is in it, the way to that part stands for it.

    Raises
    ------
    Exception
        Whatever objects raise that cannot be pickled.
    """
    buffers: list[pickle.PickleBuffer] = []

    def keep_apart(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _LARGE:
            return True
        buffers.append(buffer)
        return False

    file = io.BytesIO()
    places = _places(data)
    kind = _Pickler if places else pickle.Pickler  # which is faster
    pickler = kind(file, protocol=5, buffer_callback=keep_apart)
    if isinstance(pickler, _Pickler):
        pickler.places = places
    pickler.dump(objects)
    return Pickled(file.getbuffer(), tuple(buffer.raw() for buffer in buffers))


_ATOMIC = frozenset({int, float, bool, str, bytes, complex, type(None)})
_CONTAINERS = frozenset({list, dict, tuple})


class _Pickler(pickle.Pickler):
    places: Mapping[int, tuple[Any, ...]] = {}

    def persistent_id(self, each: Any) -> tuple[Any, ...] | None:
        return self.places.get(id(each))


class _Unpickler(pickle.Unpickler):
    data: Any = None

    def persistent_load(self, place: tuple[Any, ...]) -> Any:
        part = self.data
        for key in place:
            part = part[key]
        return part


def _places(data: Any) -> dict[int, tuple[Any, ...]]:
    """Return the keys that lead to each part of `data` that is an object of its own, by the part's identity."""
    places: dict[int, tuple[Any, ...]] = {}
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(data, ())]
    while waiting:
        part, place = waiting.pop()
        kind = type(part)
        if kind in _ATOMIC or id(part) in places:
            continue
        places[id(part)] = place
        if kind in _CONTAINERS:
            inner = part.items() if kind is dict else enumerate(part)
            waiting += ((item, (*place, key)) for key, item in inner)
    return places


# -- the file ------------------------------------------------------------------------------------------------


def write_entry(path: Path, header: Mapping[str, Any], content: Pickled, key: bytes | None) -> None:
    """Write an entry, so that a reader sees all of it or nothing.

    Raises
    ------
    OSError
        If it cannot be written. Nothing is left behind then.
    """
    parts = (content.body, *content.buffers)
    views = [memoryview(part) for part in parts]
    about = dict(header, sizes=[view.nbytes for view in views], read_only=[view.readonly for view in views])
    digest = _hasher(key)
    digest.update(_canonical(about))
    for view in views:
        digest.update(view)
    about["signature" if key is not None else "checksum"] = digest.hexdigest()
    atomic_write_parts(path, (FIRST_LINE, exact_json.dump(about), b"\n", *views))


def read_entry(path: str | Path, key: bytes | None) -> tuple[dict[str, Any], Pickled] | None:
    """Read an entry and check it; None if there is none.

    Raises
    ------
    DamagedEntryError
        If what is there cannot be used: it is torn, changed, something else, or not signed with the key.
    """
    try:
        descriptor = open_plain(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedEntryError(f"it cannot be opened: {error.strerror or error}") from error
    try:
        with os.fdopen(descriptor, "rb", buffering=_CHUNK) as file:
            return _read(file, key)
    except OSError as error:
        raise DamagedEntryError(f"it cannot be read: {error.strerror or error}") from error


def read_header(path: Path) -> dict[str, Any]:
    """Read what an entry says about itself, unchecked.

    Raises
    ------
    DamagedEntryError
        If it is none.
    """
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            return _read_header(file)
    except OSError as error:
        raise DamagedEntryError(f"it cannot be read: {error.strerror or error}") from error


def _read(file: Any, key: bytes | None) -> tuple[dict[str, Any], Pickled]:
    about = _read_header(file)
    expected = about.pop("signature" if key is not None else "checksum", None)
    if not isinstance(expected, str):
        raise DamagedEntryError(
            "it is not signed" if key is not None else "it is signed, and there is no key"
        )
    digest = _hasher(key)
    digest.update(_canonical(about))
    left = os.fstat(file.fileno()).st_size - file.tell()
    if sum(about["sizes"]) != left:
        raise DamagedEntryError(
            f"it ends too early or too late: {left} bytes in place of {sum(about['sizes'])}"
        )
    parts = [_read_part(file, size, digest.update) for size in about["sizes"]]
    if not hmac.compare_digest(digest.hexdigest(), expected):
        what = (
            "its signature is not that of the key"
            if key is not None
            else "its content is not what was written"
        )
        raise DamagedEntryError(what)
    # An array that could not be written to will not be able to be now.
    views = [
        memoryview(part).toreadonly() if is_read_only else memoryview(part)
        for part, is_read_only in zip(parts, about["read_only"], strict=True)
    ]
    return about, Pickled(views[0], tuple(views[1:]))


def _read_header(file: Any) -> dict[str, Any]:
    if file.readline(len(FIRST_LINE)) != FIRST_LINE:
        raise DamagedEntryError("it is no entry of the step cache, or one of another version")
    try:
        about = exact_json.load(file.readline(_LONGEST_HEADER))
    except ValueError:
        about = None
    sizes = about.get("sizes") if isinstance(about, dict) else None
    if not isinstance(sizes, list) or not sizes or not all(type(size) is int and size >= 0 for size in sizes):
        raise DamagedEntryError("its header cannot be read")
    return about  # type: ignore[no-any-return]


def _read_part(file: Any, size: int, observe: Callable[[memoryview], object]) -> bytearray:
    part = bytearray(size)
    rest = memoryview(part)
    while rest:
        count = file.readinto(rest[:_CHUNK])
        if not count:
            raise DamagedEntryError("it was cut off while it was read")
        observe(rest[:count])
        rest = rest[count:]
    return part


def _canonical(about: Mapping[str, Any]) -> bytes:
    return exact_json.dump(dict(sorted(about.items())))


def _hasher(key: bytes | None) -> Any:
    # A checksum finds accidents. A signature has to withstand those who mean it.
    return xxhash.xxh3_128() if key is None else hmac.new(key, digestmod=hashlib.blake2b)
