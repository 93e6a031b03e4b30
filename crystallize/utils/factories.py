"""Functions that a decorator makes a factory of: steps, data sources, treatments, verifiers, hypotheses.

The decorator leaves a :class:`Factory` under the function's name. Called with arguments, it makes what is made of
the function and these arguments, often a :class:`ConfiguredFunction`.

Pickle cannot find such a function by its name, which now stands for the factory, and would send it to workers by
value, cut off from its module's state. It is found again as the ``__wrapped__`` of whatever the name stands for.
"""

from __future__ import annotations

import functools
import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from crystallize.errors import InvalidTypeError
from crystallize.utils.imports import imported
from crystallize.utils.masking import masked
from crystallize.utils.sharing import protect
from crystallize.utils.signatures import name_of, signature_of

T = TypeVar("T")


class Factory(ABC, Generic[T]):
    """What a decorator leaves in place of a function; it bears the function's name and documentation.

    Subclasses say what is made, in :meth:`make`, and what messages call it.

    Parameters
    ----------
    fn : callable
        The function, kept as ``__wrapped__``.
    **options
        What else the decorator was given; an attribute each.

    Raises
    ------
    InvalidTypeError
        If `fn` is a class, or not callable.
    """

    decorator: ClassVar[str]
    product: ClassVar[str]
    by_hand: ClassVar[str]  # how what is made is called
    instead_of_class: ClassVar[str] = ""  # what to do with a class, which cannot be decorated
    __wrapped__: Callable[..., Any]

    def __init__(self, fn: Callable[..., Any], **options: Any) -> None:
        if isinstance(fn, type) or not callable(fn):
            raise InvalidTypeError(
                f"{self.decorator} decorates a function, got {fn!r}", hint=self.instead_of_class
            )
        functools.update_wrapper(self, fn)
        self._options = options
        vars(self).update(options)

    @abstractmethod
    def make(self, fn: Callable[..., Any], arguments: dict[str, Any]) -> T:
        """Return what is made of the function and these arguments."""

    def __call__(self, *misplaced: Any, **arguments: Any) -> T:
        """Return what is made of the function and these arguments.

        Raises
        ------
        InvalidTypeError
            If an argument is given without its name, or the function does not take it.
        MissingParameterError
            If the function needs another one.
        """
        if misplaced:
            name = name_of(self.__wrapped__)
            raise InvalidTypeError(
                f"{name}(...) makes a {self.product} and takes the {self.product}'s parameters by name only",
                hint=f"To try it, call {name}(){self.by_hand}",
            )
        return self.make(self.__wrapped__, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), portable(self.__wrapped__), self._options)

    def __crystallize_fingerprint__(self) -> object:
        return self.__wrapped__, self._options

    def __repr__(self) -> str:
        return f"<{self.product} factory {name_of(self.__wrapped__)}>"


class ConfiguredFunction:
    """A function with the arguments that configure it.

    Parameters
    ----------
    fn : callable
        The function.
    arguments : dict of str to object, optional
        Its keyword arguments.
    **options
        What else a subclass is made with; an attribute each.
    """

    def __init__(
        self, fn: Callable[..., Any], arguments: dict[str, Any] | None = None, **options: Any
    ) -> None:
        self.fn = fn
        self.arguments = arguments or {}
        self._options = options
        vars(self).update(options)
        every = _defaults(fn) | self.arguments
        self._changeable = {name: value for name, value in every.items() if protect(value) is not value}

    def fresh_arguments(self) -> dict[str, Any]:
        """Return the arguments of one call, which cannot change those of the next: see :func:`protect`.

        A default that a call could change is among them.
        """
        if not self._changeable:
            return dict(self.arguments)
        return self.arguments | {name: protect(value) for name, value in self._changeable.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), portable(self.fn), {"arguments": self.arguments, **self._options})

    def __crystallize_fingerprint__(self) -> object:
        return self.fn, self.arguments

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={masked(name, value)!r}" for name, value in self.arguments.items())
        return f"{getattr(self.fn, '__name__', self.fn)}({arguments})"


def _defaults(fn: Callable[..., Any]) -> dict[str, Any]:
    signature = signature_of(fn)
    return {
        each.name: each.default
        for each in (() if signature is None else signature.parameters.values())
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY) and each.default is not each.empty
    }


def _restored(kind: Callable[..., Any], fn: Any, options: dict[str, Any]) -> Any:
    return kind(restore(fn), **options)


class WrappedReference(NamedTuple):
    """Where a wrapped function is found by import."""

    module: str
    qualname: str


def portable(fn: Callable[..., Any]) -> Callable[..., Any] | WrappedReference:
    """Return what to pickle for `fn`: a reference if it can be imported as somebody's ``__wrapped__``."""
    module, qualname = getattr(fn, "__module__", None), getattr(fn, "__qualname__", "<locals>")
    if module in (None, "__main__") or "<" in qualname or is_sent_by_value(str(module)):
        return fn
    try:
        wrapper = attrgetter(qualname)(sys.modules[str(module)])
    except (KeyError, AttributeError):
        return fn
    return WrappedReference(str(module), qualname) if getattr(wrapper, "__wrapped__", None) is fn else fn


def restore(pickled: Callable[..., Any] | WrappedReference) -> Callable[..., Any]:
    """Return the function that :func:`portable` stood for."""
    if isinstance(pickled, WrappedReference):
        wrapper = attrgetter(pickled.qualname)(importlib.import_module(pickled.module))
        wrapped: Callable[..., Any] = wrapper.__wrapped__
        return wrapped
    return pickled


def is_sent_by_value(module: str) -> bool:
    """Tell whether cloudpickle was told to send this module's functions by value."""
    cloudpickle = imported("cloudpickle")
    return cloudpickle is not None and any(
        module == name or module.startswith(f"{name}.")
        for name in cloudpickle.list_registry_pickle_by_value()
    )
