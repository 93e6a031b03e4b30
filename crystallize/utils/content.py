"""What values consist of, written down: equal content gives equal bytes, and unequal content unequal ones.

Everything is written as a mark, which tells its type, then its size where that varies, then what is in it, so that no
two values run into one another. The items of a dict and a set are sorted: their order does not count.

Nor does it count which parts are one object: ``[a, a]`` is written like ``[a, b]`` where ``b`` equals ``a``. What holds
itself is written once; where it comes again stands how many of the objects that were begun lie in between.
"""

from __future__ import annotations

import copyreg
import enum
import struct
import types
from array import array
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache, partial
from operator import itemgetter
from pathlib import PosixPath, WindowsPath
from typing import Any

import xxhash

from crystallize.utils.arrays import content_of_array
from crystallize.utils.failures import error_text, safe_repr
from crystallize.utils.parts import Chunks, Reduced, StandsFor, reduced

_MOST_INLINE = 1 << 10
"""The most bytes that are written down as they are; of more, only their hash is."""

_MANY = 32
"""From how many numbers or texts on a list of them is written as a whole."""

_MANY_TEXTS = 1 << 14

_MOST_SHOWN = 60
_TEXT = {str}
_NUMBERS = ({float}, {int})

_sized = struct.Struct("<cQ").pack
_short_int = struct.Struct("<cq").pack
_float = struct.Struct("<cd").pack
_complex = struct.Struct("<cdd").pack


class HiddenContentError(Exception):
    """A part of a value hides what it consists of.

    Parameters
    ----------
    reason : str
        What the part is, and why that says nothing.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []
        """How to get to the part, the last step first, each as Python spells it: ``.lock``, ``['model']``."""


class Encoder:
    """Writes down values, one after the other.

    Parameters
    ----------
    content_of : callable
        Takes a type, and returns a function that says what a value of it consists of; None where pickle knows better.
    code_of : callable
        Returns what a class or function counts by, as a mapping.
    hidden : callable
        Takes an object that nothing can look into, and why; returns what it counts by besides its class, or raises
        :class:`HiddenContentError`.
    """

    def __init__(
        self,
        content_of: Callable[[type], Callable[[Any], Any] | None],
        code_of: Callable[[Any], Mapping[str, Any]],
        hidden: Callable[[Any, str], Any],
    ) -> None:
        self._content_of = content_of
        self._code_of = code_of
        self._hidden = hidden
        self._out = bytearray()
        self._classes: dict[type, bytes] = {}
        # What is written already, by identity; with the objects, so that nothing else gets their identity.
        self._known: dict[int, tuple[Any, bytes]] = {}
        # What is begun, and what is written already but refers to something begun, as Tarjan finds strong components.
        self._open: list[Any] = []
        self._places: dict[int, int] = {}
        self._lowest = 0

    def hexdigest(self) -> str:
        """Return the hash of all that was written as 32 hexadecimal digits."""
        return xxhash.xxh3_128_hexdigest(self._out)

    def put(self, value: Any) -> None:
        """Write down a value."""
        kind = type(value)
        plain = _PLAIN.get(kind)
        if plain is not None:
            self._out += plain(value)
            return
        identity, out, opened = id(value), self._out, self._open
        if identity in self._known:
            out += self._known[identity][1]
            return
        if identity in self._places:
            place = self._places[identity]
            out += _sized(b"^", len(opened) - place)
            self._lowest = min(self._lowest, place)
            return
        start, place, lowest = len(out), len(opened), self._lowest
        opened.append(value)
        self._places[identity] = self._lowest = place
        _COMPOUND.get(kind, Encoder._object)(self, value)
        is_whole = self._lowest == place  # it does not refer to anything that it is inside of
        if is_whole and opened[-1] is value:  # as _close() does
            opened.pop()
            del self._places[identity]
        elif is_whole:
            self._close(place)
        if len(out) - start > _MOST_INLINE:
            written = b"#" + xxhash.xxh3_128_digest(self._cut(start))
            out += written
            if is_whole:
                self._known[identity] = value, written
        self._lowest = min(self._lowest, lowest)

    def _close(self, place: int) -> None:
        opened = self._open
        while len(opened) > place:
            del self._places[id(opened.pop())]

    def _cut(self, start: int) -> bytes:
        part = bytes(self._out[start:])
        del self._out[start:]
        return part

    def _apart(self, value: Any) -> bytes:
        """Return what is written for a value whose neighbours come in no order, so that they must not count."""
        start, place = len(self._out), len(self._open)
        self.put(value)
        self._close(place)
        return self._cut(start)

    # -- containers ------------------------------------------------------------------------------------------

    def _list(self, value: list[Any] | tuple[Any, ...]) -> None:
        out = self._out
        out += _sized(b"l" if type(value) is list else b"t", len(value))
        if len(value) >= _MANY and (packed := _packed(value)):
            out += packed
            return
        index = 0
        try:
            for item in value:
                plain = _PLAIN.get(type(item))
                if plain is None:
                    self.put(item)
                else:  # as put() does, in a third of the time
                    out += plain(item)
                index += 1
        except HiddenContentError as error:
            error.steps.append(f"[{index}]")
            raise

    def _dict(self, value: Mapping[Any, Any], step: str = "[{!r}]") -> None:
        out = self._out
        out += _sized(b"d", len(value))
        if set(map(type, value)) <= _TEXT:
            ordered = [(_name(key), key, value[key]) for key in sorted(value)]
        else:
            ordered = sorted(((self._key(key), key, item) for key, item in value.items()), key=itemgetter(0))
            if len({written for written, _, _ in ordered}) < len(ordered):  # as of two NaN
                out += b"".join(sorted(written + self._apart(item) for written, _, item in ordered))
                return
        key = None
        try:
            for written, key, item in ordered:  # noqa: B007 - the error needs the key
                out += written
                plain = _PLAIN.get(type(item))
                if plain is None:
                    self.put(item)
                else:
                    out += plain(item)
        except HiddenContentError as error:
            error.steps.append(step.format(key))
            raise

    def _key(self, key: Any) -> bytes:
        try:
            return self._apart(key)
        except HiddenContentError as error:
            error.steps.append(f" as the key {_brief(key)}")
            raise

    def _mapping_proxy(self, value: types.MappingProxyType[Any, Any]) -> None:
        self._out += b"p"
        self._dict(value)

    def _set(self, value: set[Any] | frozenset[Any]) -> None:
        self._out += _sized(b"s" if type(value) is set else b"z", len(value))
        self._out += b"".join(sorted(map(self._item, value)))

    def _item(self, item: Any) -> bytes:
        try:
            return self._apart(item)
        except HiddenContentError as error:
            error.steps.append(f" with the item {_brief(item)}")
            raise

    # -- memory ----------------------------------------------------------------------------------------------

    def _memory(self, value: Any) -> None:
        """Write down a memoryview or an array of the standard library as NumPy understands it."""
        import numpy as np

        if isinstance(value, array):
            self._out += b"a" + value.typecode.encode()
            if value.typecode in "uw":
                self.put(value.tounicode())
                return
        else:
            self._out += b"v"
            self.put(value.format)
        self.put(content_of_array(np.asarray(value)))

    def _chunks(self, value: Chunks) -> None:
        hasher = xxhash.xxh3_128()
        for piece in value.pieces:
            hasher.update(piece)
        self._out += b"c" + hasher.digest()

    # -- code ------------------------------------------------------------------------------------------------

    def _class(self, value: type) -> None:
        """Write down a class, whose code is looked at once: objects of one class come in numbers."""
        written = self._classes.get(value)
        if written is None:
            start, place = len(self._out), len(self._open)
            self._code(value)
            self._close(place)
            self._classes[value] = written = b"#" + xxhash.xxh3_128_digest(self._cut(start))
        self._out += written

    def _code(self, value: Any) -> None:
        self._out += b"k" + _text("class" if isinstance(value, type) else type(value).__name__)
        self._dict(self._code_of(value), ".{}")

    def _builtin(self, value: Any) -> None:
        self._code(value)
        owner = value.__self__
        if owner is not None and not isinstance(owner, types.ModuleType):
            self.put(owner)

    def _method(self, value: types.MethodType) -> None:
        self._out += b"m"
        self._dict({"__func__": value.__func__, "__self__": value.__self__}, ".{}")

    # -- objects ---------------------------------------------------------------------------------------------

    def _object(self, value: Any) -> None:
        """Write down an object: its class, and what that, a hasher or pickle says that it consists of."""
        kind = type(value)
        if isinstance(value, type):
            self._class(value)
            return
        try:
            content = self._content(value, kind)
        except (HiddenContentError, RecursionError):
            raise
        except Exception as error:  # foreign code may raise anything
            content = self._hidden(value, error_text(error))
        if type(content) is StandsFor:
            self.put(content.value)
            return
        self._out += b"o"
        self._class(kind)
        if type(content) is Reduced:
            self._reduced(content, kind)
        elif type(content) is dict:
            self._dict(content, ".{}")
        else:
            self.put(content)

    def _content(self, value: Any, kind: type) -> Any:
        own = getattr(kind, "__crystallize_fingerprint__", None)
        if own is not None:
            return own(value)
        content_of = self._content_of(kind)
        content = NotImplemented if content_of is None else content_of(value)
        if content is not NotImplemented:
            return content
        if isinstance(value, enum.Enum):
            return value.value if value.name is None else value.name
        if isinstance(value, Iterator):
            return self._hidden(value, "reading an iterator uses it up")
        return reduced(value)

    def _reduced(self, parts: Reduced, kind: type) -> None:
        if parts.function is not copyreg.__newobj__:  # type: ignore[attr-defined] # which makes most objects
            self.put(parts.function)
        self.put(parts.arguments)
        states = parts.state if _has_slots(parts.state) else (parts.state,)
        for state in states:
            if type(state) is dict and set(map(type, state)) <= _TEXT:
                self._dict(_without_caches(state, kind), ".{}")
            else:
                self.put(state)
        self.put(parts.setter)
        self._list(parts.items)
        if parts.is_ordered:
            self._list(list(parts.pairs.items()))
        else:
            self._dict(parts.pairs)


def _has_slots(state: Any) -> bool:
    """Tell whether a state is that of attributes in a dict and of others in slots, as pickle spells it."""
    return type(state) is tuple and len(state) == 2 and type(state[1]) is dict


def _without_caches(state: dict[str, Any], kind: type) -> dict[str, Any]:
    """Leave out what only a ``cached_property`` has put there: it follows from the rest."""
    caches = [name for name in state if type(getattr(kind, name, None)) is cached_property]
    return {name: state[name] for name in state.keys() - caches} if caches else state


def _brief(value: Any) -> str:
    text = safe_repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


# -- plain values --------------------------------------------------------------------------------------------


def _int(value: int) -> bytes:
    try:
        return _short_int(b"i", value)
    except struct.error:
        content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return _sized(b"I", len(content)) + _hashed(content)


def _text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return _sized(b"u", len(content)) + _hashed(content)


_name = lru_cache(maxsize=1 << 12)(_text)  # the keys of dicts are the same again and again


def _hashed(content: bytes | bytearray) -> bytes | bytearray:
    """Return what stands for bytes whose number is written before: they themselves or, if they are many, their hash."""
    return content if len(content) <= _MOST_INLINE else xxhash.xxh3_128_digest(content)


def _packed(items: list[Any] | tuple[Any, ...]) -> bytes:
    """Return many numbers or texts as a block if they are of one type; else nothing."""
    kinds = set(map(type, items))
    if kinds == {str}:
        return b"U" + _packed_texts(items)
    form, mark = ("d", b"F") if kinds == {float} else ("q", b"Q")
    try:
        return mark + _hashed(struct.pack(f"<{len(items)}{form}", *items)) if kinds in _NUMBERS else b""
    except struct.error:  # an integer is too large
        return b""


def _packed_texts(texts: list[str] | tuple[str, ...]) -> bytes:
    """Return the hash of the lengths of texts and of the texts, joined, some at a time."""
    hasher = xxhash.xxh3_128()
    for start in range(0, len(texts), _MANY_TEXTS):
        part = texts[start : start + _MANY_TEXTS]
        hasher.update(struct.pack(f"<{len(part)}Q", *map(len, part)))
        hasher.update("".join(part).encode("utf-8", "surrogatepass"))
    return hasher.digest()


_PLAIN: dict[type, Callable[[Any], bytes | bytearray]] = {
    type(None): lambda value: b"n",
    bool: lambda value: b"1" if value else b"0",
    int: _int,
    float: partial(_float, b"f"),
    complex: lambda value: _complex(b"j", value.real, value.imag),
    str: _text,
    bytes: lambda value: _sized(b"b", len(value)) + _hashed(value),
    bytearray: lambda value: _sized(b"B", len(value)) + _hashed(value),
    # What a path means does not depend on the system; a concrete one can be opened, and a pure one cannot.
    PosixPath: lambda value: b"P" + _text(value.as_posix()),
    WindowsPath: lambda value: b"P" + _text(value.as_posix()),
}
_COMPOUND: dict[type, Callable[[Encoder, Any], None]] = {
    list: Encoder._list,
    tuple: Encoder._list,
    dict: Encoder._dict,
    set: Encoder._set,
    frozenset: Encoder._set,
    types.MappingProxyType: Encoder._mapping_proxy,
    memoryview: Encoder._memory,
    array: Encoder._memory,
    Chunks: Encoder._chunks,
    type: Encoder._class,
    types.FunctionType: Encoder._code,
    types.BuiltinFunctionType: Encoder._builtin,
    types.MethodType: Encoder._method,
    types.ModuleType: Encoder._code,
}
