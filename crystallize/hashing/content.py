"""The hash of a value's content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from crystallize.errors import UnhashableContentError
from crystallize.hashing.lookup import hasher_of
from crystallize.utils.code import code_of, name_of_code
from crystallize.utils.content import Encoder, HiddenContentError
from crystallize.utils.failures import error_text
from crystallize.utils.parts import closure_of

_HINT = (
    "Leave it out, install or write a hasher for its type (entry point group crystallize.hashers), give its class "
    "a method __crystallize_fingerprint__ that returns what it consists of, or say cacheable=False"
)


def content_hash(value: Any, name: str = "value") -> str:
    """Return the hash of a value's content as 32 hexadecimal digits.

    Equal content has an equal hash in every process and on every platform, and unequal content an unequal one.

    Parameters
    ----------
    value : object
        Anything made of Python's own types, of those that a hasher is installed for, of functions and classes, and of
        objects that can be pickled, or whose class has a method ``__crystallize_fingerprint__``.
    name : str, default "value"
        What an error calls it.

    Raises
    ------
    UnhashableContentError
        If it, or a part of it, hides its content: a lock, an open file, an iterator. The error says where that part is.

    Notes
    -----
    *What counts*: the type of everything, so that ``1``, ``1.0`` and ``True`` differ, and a list and a tuple; the bits
    of floats, so that 0.0 and -0.0 differ, and a NaN is itself; ``fold`` and the time zone of moments; the order of
    lists; the code of the user's functions and classes, with defaults and what they close over; the names of
    libraries' ones.

    *What does not*: the order of dicts and sets; which parts are one object; how an array lies in memory, the order
    of its bytes among that; what a ``cached_property`` remembers.

    Examples
    --------
    >>> content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    True
    >>> content_hash([1, 2]) == content_hash((1, 2))
    False
    """
    return hash_with(hasher_of, value, name)


def hash_with(hasher_for: Callable[[type], Any], value: Any, name: str = "value") -> str:
    """Return the hash of a value's content if `hasher_for` gives the hasher of a type; see :func:`content_hash`."""
    encoder = Encoder(hasher_for, _code_of, _refuse)
    try:
        encoder.put(value)
    except HiddenContentError as error:
        place = name + "".join(reversed(error.steps))
        raise UnhashableContentError(f"{place}: {error.reason}", hint=_HINT) from error.__cause__
    except RecursionError as error:
        raise UnhashableContentError(f"{name} is nested too deep to be hashed", hint=_HINT) from error
    except (
        Exception
    ) as error:  # what a hasher returns may raise while it is read, or be changed by another thread
        raise UnhashableContentError(f"{name}: {error_text(error)}", hint=_HINT) from error
    return encoder.hexdigest()


def _code_of(thing: Any) -> Mapping[str, Any]:
    """Return what a class, function or module counts by: its name, its code, and what a function holds on to."""
    if isinstance(thing, BuiltinFunctionType):
        return {"name": f"{thing.__module__}.{thing.__qualname__}"}
    code = code_of(thing)
    if isinstance(thing, ModuleType):
        return {"name": thing.__name__, "code": code}
    name = name_of_code(thing)
    if not isinstance(thing, FunctionType):
        return {"name": name, "code": code}
    return {
        "name": name,
        "code": code,
        "__defaults__": thing.__defaults__,
        "__kwdefaults__": thing.__kwdefaults__,
        "__closure__": closure_of(thing),
        "__dict__": thing.__dict__,
    }


def _refuse(value: Any, reason: str) -> None:
    raise HiddenContentError(f"a {type(value).__module__}.{type(value).__qualname__}: {reason}")
