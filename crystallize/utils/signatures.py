"""What a callable takes, as far as it tells: one that is written in C may have no signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from crystallize.errors import InvalidTypeError, MissingParameterError


def signature_of(fn: Callable[..., Any], *, with_types: bool = False) -> inspect.Signature | None:
    """Return the signature of `fn`, or None if it has none that can be read.

    Parameters
    ----------
    fn : callable
        A function, a class or any other callable.
    with_types : bool, optional
        Whether postponed annotations are evaluated, if all of them can be; else they stay texts.
    """
    if with_types:
        try:
            return inspect.signature(fn, eval_str=True)
        except Exception:  # an annotation is an expression of its author's, and may raise anything
            pass
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):
        return None


def mismatch(fn: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    """Say why `fn` does not take these arguments; an empty text if it does, or does not tell."""
    signature = signature_of(fn)
    if signature is None:
        return ""
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        return str(error)
    return ""


def check_call(what: str, fn: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """Refuse arguments that `fn` does not take.

    Parameters
    ----------
    what : str
        What the function is, for the message: ``"treatment 'low'"``.
    fn : callable
        The function.
    *arguments, **keywords
        What it would be called with.

    Raises
    ------
    MissingParameterError
        If a parameter without a default is not given.
    InvalidTypeError
        If the function does not take one of the arguments.
    """
    fault = mismatch(fn, *arguments, **keywords)
    if fault:
        kind = MissingParameterError if "missing" in fault else InvalidTypeError
        raise kind(f"{what}: {fault}", hint=f"It takes {signature_of(fn)}")


def takes_keyword(fn: Callable[..., Any], name: str) -> bool:
    """Tell whether `fn` can be given the keyword `name`; one that does not tell is believed to take it."""
    signature = signature_of(fn)
    if signature is None:
        return True
    parameter = signature.parameters.get(name)
    if parameter is not None and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
        return True
    return any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())


def is_async(fn: Any) -> bool:
    """Tell whether calling `fn` gives a coroutine; `fn` may be an object with an ``async __call__``."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def name_of(fn: Any) -> str:
    """Return what to call `fn` in a message: its name, or its class's."""
    return str(getattr(fn, "__name__", type(fn).__name__))


def place_of_code(fn: Any) -> str:
    """Return ``file:line`` of where `fn` is defined; an empty text if that is not known."""
    code = getattr(fn, "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def is_generator(fn: Any) -> bool:
    """Whether a call of `fn` only returns a generator, and runs none of its code."""
    return any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
        for each in (fn, getattr(fn, "__call__", None))  # noqa: B004
    )
