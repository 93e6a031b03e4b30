"""Values in JSON from which the very same values can be made again.

Numbers, text, lists and mappings are what they are in JSON. Whatever JSON lacks, NaN and tuples among it, is an object
with the key ``~``, which names its kind: ``{"~": "tuple", "items": [1, 2]}``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any

import orjson

from crystallize.utils.failures import error_text
from crystallize.utils.json_text import parse_json, to_json

KIND = "~"
MARK = ord(KIND)
"""A byte that stands in every text into which :func:`pack` has put anything besides JSON's own types.

As a number: whether bytes hold other bytes takes five times as long to tell, for those are tried as a number first.
"""

_PLAIN = frozenset({bool, str, type(None)})
_MOST_BITS = 63  # of an integer that every reader of JSON understands


def _to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _moment_to_text(moment: datetime) -> str:
    """Return the text of RFC 9557, with a key for which of two equal hours it was when clocks went back."""
    zone = getattr(moment.tzinfo, "key", None)  # which a zoneinfo.ZoneInfo has, and a fixed offset lacks
    return moment.isoformat() + (f"[{zone}]" if zone else "") + ("[_fold=1]" if moment.fold else "")


def _moment_from_text(text: str) -> datetime:
    from zoneinfo import ZoneInfo

    text, *suffixes = text.replace("]", "").split("[")
    moment = datetime.fromisoformat(text)
    for suffix in suffixes:
        moment = moment.replace(fold=1) if suffix == "_fold=1" else moment.replace(tzinfo=ZoneInfo(suffix))
    return moment


_SEQUENCES: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_AS_TEXT: dict[type, tuple[str, Callable[[Any], str]]] = {
    float: ("float", repr),  # NaN and the infinities
    int: ("int", hex),  # Python refuses to read thousands of decimal digits
    bytes: ("bytes", _to_base64),
    complex: ("complex", repr),
    Decimal: ("decimal", str),
    Fraction: ("fraction", str),
    datetime: ("datetime", _moment_to_text),
    date: ("date", date.isoformat),
}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "float": float,
    "int": lambda text: int(text, 16),
    "bytes": _from_base64,
    "complex": complex,
    "decimal": Decimal,
    "fraction": Fraction,
    "datetime": _moment_from_text,
    "date": date.fromisoformat,
}


def dump(value: Any) -> bytes:
    """Return what :func:`pack` made as text in one line."""
    try:
        text: bytes = orjson.dumps(value)
        return text
    except TypeError:  # half of a surrogate pair, which names of files may hold
        return json.dumps(value, separators=(",", ":")).encode()


def load(text: bytes) -> Any:
    """Return what a JSON text stands for, for :func:`unpack`.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return orjson.loads(text)
    except ValueError:
        return parse_json(text)


def is_plain(value: Any) -> bool:
    """Tell whether :func:`pack` would return the value itself since JSON has a form for it."""
    kind = type(value)
    if kind is float:
        return isfinite(value)
    return kind in _PLAIN or (kind is int and value.bit_length() <= _MOST_BITS)


def pack(value: Any) -> Any:
    """Return what stands for `value` in JSON, made of JSON's own types.

    What has no form of its own is pickled. Beside it stands what :func:`~crystallize.utils.json_text.to_json` writes of
    it, for those who must not unpickle; of what cannot be pickled that is all that remains.
    """
    if is_plain(value):
        return value
    kind = type(value)
    if kind is list:
        return [pack(item) for item in value]
    if kind is dict:
        if KIND not in value and all(type(key) is str for key in value):
            return {key: pack(item) for key, item in value.items()}
        return {KIND: "dict", "items": [[pack(key), pack(item)] for key, item in value.items()]}
    if kind in _SEQUENCES:
        return {KIND: _SEQUENCES[kind], "items": [pack(item) for item in value]}
    if kind in _AS_TEXT:
        name, to_text = _AS_TEXT[kind]
        return {KIND: name, "text": to_text(value)}
    return _packed_array(value) if _is_plain_array(value) else _pickled(value)


def unpack(packed: Any, *, may_unpickle: bool = False) -> Any:
    """Return the value that :func:`pack` was given.

    Parameters
    ----------
    packed : object
        What it returned.
    may_unpickle : bool, default False
        Whether to make what was pickled, which runs the code that the file names. If not, it is what JSON has of it:
        of a pandas Series its values, of most objects their ``repr``.

    Raises
    ------
    ValueError
        If it is damaged, or was made by a later version.
    pickle.UnpicklingError
        If it was pickled and cannot be made here, for want of the code that it names, say.
    """
    kind = type(packed)
    if kind is list:
        return [unpack(item, may_unpickle=may_unpickle) for item in packed]
    if kind is not dict:
        return packed
    if KIND not in packed:
        return {key: unpack(item, may_unpickle=may_unpickle) for key, item in packed.items()}
    try:
        return _unpacked(packed, may_unpickle)
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"a stored value is damaged: {error!r}") from error


def _unpacked(packed: dict[str, Any], may_unpickle: bool) -> Any:
    name = packed[KIND]
    if name in _FROM_TEXT:
        return _FROM_TEXT[name](packed["text"])
    if name == "array":
        return _unpacked_array(packed)
    if name == "object":
        if may_unpickle and "pickle" in packed:
            return _unpickled(_from_base64(packed["pickle"]))
        return unpack(packed["text"])
    items = unpack(packed["items"], may_unpickle=may_unpickle)
    if name == "dict":
        return dict(items)
    for sequence, known in _SEQUENCES.items():
        if name == known:
            return sequence(items)
    raise ValueError(f"a stored value is of the unknown kind {name!r:.40}")


# -- what JSON has no form for -------------------------------------------------------------------------------


def _is_plain_array(value: Any) -> bool:
    kind = type(value)
    return kind.__module__ == "numpy" and kind.__name__ == "ndarray" and value.dtype.kind in "biufcmMSU"


def _packed_array(array: Any) -> dict[str, Any]:
    return {
        KIND: "array",
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "base64": _to_base64(array.tobytes()),
    }


def _unpacked_array(packed: dict[str, Any]) -> Any:
    import numpy as np

    values = np.frombuffer(_from_base64(packed["base64"]), dtype=np.dtype(packed["dtype"]))
    return values.reshape(packed["shape"]).copy()  # an array of one's own, which can be written to


def _pickled(value: Any) -> dict[str, Any]:
    packed = {KIND: "object", "text": pack(parse_json(to_json(value)))}
    with contextlib.suppress(Exception):  # a lambda, an open file; a foreign __reduce__ may raise anything
        packed["pickle"] = _to_base64(pickle.dumps(value))
    return packed


def _unpickled(content: bytes) -> Any:
    try:
        return pickle.loads(content)
    except Exception as error:  # whatever the code that it names raises
        raise pickle.UnpicklingError(error_text(error)) from error
