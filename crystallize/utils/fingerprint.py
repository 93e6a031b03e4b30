"""Stable hashes of Python values: equal content has an equal hash in every process."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import pickle
import struct
import sys
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

_DIGEST_SIZE = 16


def fingerprint(value: Any) -> str:
    """Return the hash of `value`'s content as 32 hexadecimal digits.

    Dictionaries and sets hash alike in any order. Functions and classes count by their qualified name. An
    object that is none of the known kinds counts by its class and what it pickles.
    """
    return _digest(value).hex()


def _digest(value: Any) -> bytes:
    hasher = hashlib.blake2b(digest_size=_DIGEST_SIZE)
    _feed(value, hasher.update)
    return hasher.digest()


def _feed(value: Any, put: Callable[[bytes], None]) -> None:
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
        _put_items(put, "tuple" if isinstance(value, tuple) else "list", [_digest(item) for item in value])
    elif isinstance(value, Mapping):
        _put_items(put, "mapping", sorted(_digest(key) + _digest(item) for key, item in value.items()))
    elif isinstance(value, AbstractSet):
        _put_items(put, "set", sorted(map(_digest, value)))
    elif isinstance(value, PurePath):
        _put_text(put, "path", value.as_posix())
    elif _is_array(value):
        _put_array(put, value)
    else:
        _feed_object(value, put)


def _feed_object(value: Any, put: Callable[[bytes], None]) -> None:
    identity = getattr(value, "__crystallize_fingerprint__", None)
    if identity is not None and not isinstance(value, type):
        _put_items(put, _qualified(type(value)), [_digest(identity())])
    elif isinstance(value, partial):
        _put_items(put, "partial", [_digest(value.func), _digest(value.args), _digest(value.keywords)])
    elif isinstance(value, MethodType):
        _put_items(put, "method", [_digest(value.__self__), _digest(value.__name__)])
    elif isinstance(value, type | FunctionType | BuiltinFunctionType):
        _put_text(put, "name", _qualified(value))
    elif isinstance(value, ModuleType):
        _put_text(put, "module", value.__name__)
    elif dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        _put_items(put, _qualified(type(value)), [_digest(fields)])
    else:
        _put_items(put, _qualified(type(value)), [_pickled(value)])


def _pickled(value: Any) -> bytes:
    try:
        return hashlib.blake2b(pickle.dumps(value, protocol=4), digest_size=_DIGEST_SIZE).digest()
    except Exception:  # whatever a foreign object's pickling raises: its class is all that is known of it
        return b""


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return (
        numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and not value.dtype.hasobject
    )


def _put_array(put: Callable[[bytes], None], array: Any) -> None:
    import numpy as np

    _put_text(put, "array", f"{array.dtype.str}{array.shape}")
    put(memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))  # type: ignore[arg-type]


def _put(put: Callable[[bytes], None], tag: str, content: bytes) -> None:
    put(f"{tag}:{len(content)}:".encode())
    put(content)


def _put_text(put: Callable[[bytes], None], tag: str, text: str) -> None:
    _put(put, tag, text.encode("utf-8", "surrogatepass"))


def _put_items(put: Callable[[bytes], None], tag: str, digests: list[bytes]) -> None:
    put(f"{tag}[{len(digests)}]:".encode())
    for digest in digests:
        put(digest)


def _qualified(value: Any) -> str:
    """Name a class or function; a script's ``__main__`` and an import of it are the same module."""
    return str(getattr(value, "__qualname__", repr(type(value))))
