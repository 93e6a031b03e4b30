"""Stable hashes of Python values: equal content has an equal hash in every process."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import struct
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from crystallize.utils.imports import imported

_DIGEST_SIZE = 16
_LARGE = 1 << 16


def fingerprint(value: Any) -> str:
    """Return the hash of `value`'s content as 32 hexadecimal digits.

    Dictionaries and sets hash alike in any order. Functions and classes count by their qualified name. An
    object that is none of the known kinds counts by its class and the parts that pickle would store of it.
    """
    return _digest(value, ()).hex()


def safe_fingerprint(value: Any) -> str:
    """Return the hash of `value`, or of its type if it is nested too deep, or a foreign part of it raises."""
    try:
        return fingerprint(value)
    except Exception:
        return fingerprint(type(value))


def _digest(value: Any, above: tuple[int, ...]) -> bytes:
    """Hash `value`; `above` are the identities of what it is inside of."""
    hasher = hashlib.blake2b(digest_size=_DIGEST_SIZE)
    if id(value) in above:  # it holds itself
        _put_text(hasher.update, "above", str(len(above) - above.index(id(value))))
    else:
        _feed(value, hasher.update, (*above, id(value)))
    return hasher.digest()


def _feed(value: Any, put: Callable[[bytes], None], above: tuple[int, ...]) -> None:
    """Put a type tag and the content of `value`; tags keep ``1``, ``"1"`` and ``[1]`` apart."""
    kind = type(value)
    if value is None or kind is bool or kind is int:
        _put_text(put, "scalar", repr(value))
    elif kind is float:
        _put(put, "float", struct.pack("<d", value))
    elif kind is complex:
        _put(put, "complex", struct.pack("<dd", value.real, value.imag))
    elif kind is str:
        _put_text(put, "str", value)
    elif isinstance(value, bytes | bytearray | memoryview):
        _put(put, "bytes", bytes(value))
    elif isinstance(value, enum.Enum):
        _put_text(put, "enum", f"{_qualified(kind)}.{value.name}")
    elif isinstance(value, list | tuple):
        tag = "tuple" if isinstance(value, tuple) else "list"
        _put_items(put, tag, [_digest(item, above) for item in value])
    elif isinstance(value, Mapping):
        pairs = (_digest(key, above) + _digest(item, above) for key, item in value.items())
        _put_items(put, "mapping", sorted(pairs))
    elif isinstance(value, AbstractSet):
        _put_items(put, "set", sorted(_digest(item, above) for item in value))
    elif isinstance(value, PurePath):
        _put_text(put, "path", value.as_posix())
    elif is_array(value):
        _put_array(put, value)
    else:
        _feed_object(value, put, above)


def _feed_object(value: Any, put: Callable[[bytes], None], above: tuple[int, ...]) -> None:
    kind = type(value)
    if isinstance(value, type | FunctionType | BuiltinFunctionType):
        _put_text(put, "name", _qualified(value))
    elif isinstance(value, ModuleType):
        _put_text(put, "module", value.__name__)
    else:
        tag, parts = _qualified(kind), parts_of(value)
        _put_items(put, tag, [_digest(part, above) for part in parts])


def parts_of(value: Any) -> tuple[Any, ...]:
    """Return what an object consists of: what it calls its identity, or else what pickle would store of it."""
    identity = getattr(value, "__crystallize_fingerprint__", None)
    if identity is not None:
        return (identity(),)
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, MethodType):
        return value.__self__, value.__name__
    if dataclasses.is_dataclass(value):
        return ({field.name: getattr(value, field.name) for field in dataclasses.fields(value)},)
    return _reduced(value)


def _reduced(value: Any) -> tuple[Any, ...]:
    """Return what pickle would store of an object, part by part.

    Pickle's own bytes will not do: they depend on the order of sets, and on which parts are one object.
    """
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # whatever a foreign object's pickling raises: its class is all that is known of it
        return ()
    if isinstance(reduced, str):
        return (reduced,)
    function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    return function, arguments, state, list(items or ()), dict(pairs or ())


def is_array(value: Any) -> bool:
    """Tell whether `value` is an array or scalar of NumPy's that holds no objects."""
    numpy = imported("numpy")
    return (
        numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and not value.dtype.hasobject
    )


def _put_array(put: Callable[[bytes], None], array: Any) -> None:
    import numpy as np

    _put_text(put, "array", f"{array.dtype.str}{array.shape}")
    _put_bytes(put, memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))  # type: ignore[arg-type]


def _put(put: Callable[[bytes], None], tag: str, content: bytes) -> None:
    put(f"{tag}:{len(content)}:".encode())
    _put_bytes(put, content)


def _put_bytes(put: Callable[[bytes], None], content: bytes | memoryview) -> None:
    """Put `content`, or where it is large its hash, which is made at the speed of memory."""
    if len(content) > _LARGE:
        import xxhash

        content = xxhash.xxh3_128_digest(content)
    put(content)  # type: ignore[arg-type]


def _put_text(put: Callable[[bytes], None], tag: str, text: str) -> None:
    _put(put, tag, text.encode("utf-8", "surrogatepass"))


def _put_items(put: Callable[[bytes], None], tag: str, digests: list[bytes]) -> None:
    put(f"{tag}[{len(digests)}]:".encode())
    for digest in digests:
        put(digest)


def _qualified(value: Any) -> str:
    """Name a class or function; a script's ``__main__`` and an import of it are the same module."""
    return str(getattr(value, "__qualname__", repr(type(value))))
