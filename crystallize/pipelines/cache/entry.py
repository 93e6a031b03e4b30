"""An entry of the step cache as a file.

::

    crystallize step cache 1
    checksum 0f3c...                  of the next two parts; a signature, where there is a key
    {"step": ..., "sizes": [...]}     what the entry is, in one line
    <pickle>                          the record: what the step did besides returning its output
    <pickle> <buffer> ...             the output, with the memory of arrays behind it

What the entry is and the record are read and checked without the output, whose own checksum is in the line. Buffers are
read into memory once and not copied again. Nothing is unpickled before its checksum, or its signature where there is a
key, is found to be right.
"""

from __future__ import annotations

import copyreg
import hashlib
import hmac
import io
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import xxhash

from crystallize.errors import CrystallizeError
from crystallize.utils import exact_json
from crystallize.utils.arrays import array_reducers
from crystallize.utils.files import atomic_write_parts, open_our_own
from crystallize.utils.shared_generators import generator_reducers

FIRST_LINE = b"crystallize step cache 1\n"
SUFFIX = ".pkl"
_HEAD = 1 << 16  # of an entry, read at once: most entries are smaller
_LONGEST_LINE = 1 << 20
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

    def load(self, given: Callable[[], Any], name_here: Callable[[str], str] = str) -> Any:
        """Make the objects anew.

        Parameters
        ----------
        given : callable
            Returns the step's input; called if a part of the input was in them, which then is again.
        name_here : callable, optional
            Returns what a module is called here in which a class or function was.

        Raises
        ------
        Exception
            Whatever their classes or `given` raise.
        """
        unpickler = _Unpickler(io.BytesIO(self.body), buffers=self.buffers)
        unpickler.given = given
        unpickler.name_here = name_here
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
    pickler.dispatch_table = copyreg.dispatch_table | array_reducers() | generator_reducers()
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
    given: Callable[[], Any]
    name_here: Callable[[str], str]
    _data: tuple[Any] | None = None

    def find_class(self, module: str, name: str, /) -> Any:
        return super().find_class(self.name_here(module), name)

    def persistent_load(self, place: tuple[Any, ...]) -> Any:
        if self._data is None:
            self._data = (self.given(),)  # once: a part that is there twice is one object
        (found,) = self._data
        for key in place:
            found = found[key]
        return found


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


def write_entry(
    path: Path, header: Mapping[str, Any], record: bytes, output: Pickled, key: bytes | None
) -> None:
    """Write an entry, so that a reader sees all of it or nothing.

    Raises
    ------
    OSError
        If it cannot be written. Nothing is left behind then.
    """
    views = [memoryview(part) for part in (output.body, *output.buffers)]
    about = {
        **header,
        "sizes": [len(record), *(view.nbytes for view in views)],
        "read_only": [view.readonly for view in views],
        "output_checksum": _digest(views, key),
    }
    head = exact_json.dump(about) + b"\n" + record
    atomic_write_parts(path, (FIRST_LINE, _check_line(head, key), head, *views))


class Entry:
    """An entry that is open: what it is and its record have been read and checked. It is a context manager.

    A small one is read as a whole, and needs its file no more.

    Attributes
    ----------
    about : dict
        What it is.
    record : memoryview
        The record.
    size : int
        Its bytes.
    used : float
        When it was stored or taken last, in seconds since 1970.
    """

    __slots__ = ("_file", "_key", "_output", "_rest", "about", "record", "size", "used")

    def __init__(
        self,
        file: int,
        key: bytes | None,
        about: dict[str, Any],
        record: memoryview,
        rest: memoryview,
        *,
        found: os.stat_result,
    ) -> None:
        self._file: int | None = file
        self._key = key
        self._rest = rest
        self._output: Pickled | None = None
        self.about = about
        self.record = record
        self.size = found.st_size
        self.used = found.st_mtime

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its file, if it is not closed."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def output(self) -> Pickled:
        """Read the output and check it: once, unless the entry is a small one.

        Raises
        ------
        DamagedEntryError
            If it cannot be used.
        """
        if self._output is not None:
            return self._output
        about = self.about
        sizes = about["sizes"][1:]
        if sizes == [len(self._rest)]:
            self._check(_digest([self._rest], self._key))
            self._output = Pickled(self._rest)
            return self._output
        hasher = _hasher(self._key)
        try:
            parts = [self._part(size, hasher.update) for size in sizes]
        except OSError as error:
            raise DamagedEntryError(f"it cannot be read: {error.strerror or error}") from error
        self._check(hasher.hexdigest())
        # An array that could not be written to will not be able to be now.
        body, *buffers = [
            part.toreadonly() if is_read_only else part
            for part, is_read_only in zip(parts, about["read_only"], strict=True)
        ]
        return Pickled(body, tuple(buffers))

    def _check(self, checksum: str) -> None:
        if not hmac.compare_digest(checksum, self.about["output_checksum"]):
            raise _changed(self._key)

    def _part(self, size: int, observe: Callable[[memoryview], object]) -> memoryview:
        part = memoryview(bytearray(size))
        have = min(size, len(self._rest))
        part[:have] = self._rest[:have]
        self._rest = self._rest[have:]
        observe(part[:have])
        if have < size:
            assert self._file is not None
            with io.FileIO(self._file, closefd=False) as file:
                while have < size:
                    count = file.readinto(part[have : have + _CHUNK])
                    if not count:
                        raise DamagedEntryError("it was cut off while it was read")
                    observe(part[have : have + count])
                    have += count
        return part


def open_entry(path: str | Path, key: bytes | None) -> Entry | None:
    """Open an entry, and check it but for its output; None if there is none.

    Raises
    ------
    DamagedEntryError
        If what is there cannot be used: it is torn, changed, something else, or not signed with the key.
    """
    try:
        file, found = open_our_own(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedEntryError(f"it cannot be opened: {error.strerror or error}") from error
    try:
        return _opened(file, found, key)
    except BaseException as error:
        os.close(file)
        if isinstance(error, OSError):
            raise DamagedEntryError(f"it cannot be read: {error.strerror or error}") from error
        raise


def read_about(path: Path) -> dict[str, Any]:
    """Read what an entry says about itself, unchecked.

    Raises
    ------
    DamagedEntryError
        If it is none.
    """
    try:
        file, _ = open_our_own(path)
        try:
            head, start, end = _read_head(file)
        finally:
            os.close(file)
    except OSError as error:
        raise DamagedEntryError(f"it cannot be read: {error.strerror or error}") from error
    return _parsed(head[start:end])


def _opened(file: int, found: os.stat_result, key: bytes | None) -> Entry:
    head, start, line_end = _read_head(file)
    about = _parsed(head[start:line_end])
    sizes = about["sizes"]
    left = found.st_size - line_end
    if sum(sizes) != left:
        raise DamagedEntryError(f"it ends too early or too late: {left} bytes in place of {sum(sizes)}")
    end = line_end + sizes[0]
    # Of a small one all, also where a read gives less than was asked for.
    wanted = max(end, min(found.st_size, _HEAD))
    while len(head) < wanted:
        more = os.read(file, wanted - len(head))
        if not more:
            raise DamagedEntryError("it was cut off while it was read")
        head += more
    view = memoryview(head)
    check, expected = head[len(FIRST_LINE) : start], _check_line(view[start:end], key)
    if not hmac.compare_digest(check, expected):
        if check.split(b" ")[0] == expected.split(b" ")[0]:
            raise _changed(key)
        raise DamagedEntryError(
            "it is not signed" if key is not None else "it is signed, and there is no key"
        )
    entry = Entry(file, key, about, view[line_end:end], view[end:], found=found)
    if len(head) == found.st_size:
        entry.close()
    return entry


def _read_head(file: int) -> tuple[bytes, int, int]:
    """Return the beginning of an entry, and where the line that says what it is begins and ends there."""
    head = os.read(file, _HEAD)
    if not head.startswith(FIRST_LINE):
        raise DamagedEntryError("it is no entry of the step cache, or one of another version")
    start = head.find(b"\n", len(FIRST_LINE)) + 1
    end = head.find(b"\n", start) + 1
    if not end and len(head) == _HEAD:
        head += os.read(file, _LONGEST_LINE)
        end = head.find(b"\n", start) + 1
    if not start or not end:
        raise DamagedEntryError("it ends too early")
    return head, start, end


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        about = exact_json.load(line)
        sizes, read_only = about["sizes"], about["read_only"]
        is_ours = len(sizes) == len(read_only) + 1 > 1 and set(map(type, sizes)) == {int} and min(sizes) >= 0
        is_ours = is_ours and isinstance(about["module"], str)
    except (ValueError, LookupError, TypeError):
        is_ours = False
    if not is_ours:
        raise DamagedEntryError("what it is cannot be read")
    return about  # type: ignore[no-any-return]


def _hasher(key: bytes | None) -> Any:
    # A checksum finds accidents. A signature has to withstand those who mean it.
    return xxhash.xxh3_128() if key is None else hmac.new(key, digestmod=hashlib.blake2b)


def _digest(parts: Sequence[bytes | memoryview], key: bytes | None) -> str:
    if key is None and len(parts) == 1:
        return xxhash.xxh3_128_hexdigest(parts[0])  # in half of the time
    hasher = _hasher(key)
    for part in parts:
        hasher.update(part)
    return str(hasher.hexdigest())


def _check_line(head: bytes | memoryview, key: bytes | None) -> bytes:
    return f"{'checksum' if key is None else 'signature'} {_digest([head], key)}\n".encode()


def _changed(key: bytes | None) -> DamagedEntryError:
    return DamagedEntryError(
        "its content is not what was written" if key is None else "its signature is not that of the key"
    )
