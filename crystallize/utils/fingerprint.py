"""Stable hashes of Python values for signatures: equal content has an equal hash in every process.

Functions and classes count by their names, for a signature lists their code besides, and what nothing can look into
counts by its class: a signature of almost everything is better than none. Where that would not do,
:func:`crystallize.hashing.content_hash` is strict.
"""

from __future__ import annotations

from typing import Any

from crystallize.utils.arrays import content_of
from crystallize.utils.content import Encoder
from crystallize.utils.imports import imported


def fingerprint(value: Any) -> str:
    """Return the hash of `value`'s content as 32 hexadecimal digits.

    Dictionaries and sets hash alike in any order. Functions and classes count by their qualified name. An
    object that is none of the known kinds counts by its class and the parts that pickle would store of it.
    """
    encoder = Encoder(_content_of, _name_of, lambda hidden, reason: None)
    encoder.put(value)
    return encoder.hexdigest()


def safe_fingerprint(value: Any) -> str:
    """Return the hash of `value`, or of its type if it is nested too deep, or a foreign part of it raises."""
    try:
        return fingerprint(value)
    except Exception:
        return fingerprint(type(value))


def _content_of(kind: type) -> Any:
    return content_of if _is_array_type(kind) else None


def is_array(value: Any) -> bool:
    """Tell whether `value` is an array or scalar, of one of NumPy's own classes, that holds no objects."""
    kind = type(value)
    return _is_array_type(kind) and not is_derived_array(kind) and not value.dtype.hasobject


def is_derived_array(kind: type) -> bool:
    """Tell whether a class is derived from one of NumPy's arrays or scalars, and not NumPy's own."""
    return _is_array_type(kind) and kind.__module__.partition(".")[0] != "numpy"


def _is_array_type(kind: type) -> bool:
    numpy = imported("numpy")
    return numpy is not None and issubclass(kind, numpy.ndarray | numpy.generic)


def _name_of(code: Any) -> dict[str, str]:
    """Name a class, function or module; a script's ``__main__`` and an import of it are the same module."""
    return {"name": str(getattr(code, "__qualname__", None) or code.__name__)}
