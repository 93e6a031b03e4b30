"""Data sources: what gives the pipeline its first data."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, overload

from crystallize.errors import InvalidTypeError, MissingParameterError
from crystallize.utils.wrapped import portable, restore

if TYPE_CHECKING:
    from crystallize.store.layout import RunLocation
    from crystallize.utils.context import FrozenContext


class DataSource(ABC):
    """Gives each outcome its first data.

    Subclasses implement :meth:`fetch`. An instance is sent to each worker once, so it must be possible to
    pickle it (cloudpickle does functions of scripts and lambdas too).
    """

    @property
    def replicates(self) -> int | None:
        """How many replicates there is data for; None if any number will do."""
        return None

    @property
    def usual_replicates(self) -> int | None:
        """How many replicates a run has that asks for no number; None if the source does not care."""
        return self.replicates

    def inputs(self) -> list[dict[str, Any]]:
        """Return which stored runs the source reads, once it has settled, for the consumer's metadata."""
        return []

    def producers(self) -> list[RunLocation]:
        """Return where the experiments whose artifacts the source reads store their runs."""
        return []

    def settle(self) -> None:  # noqa: B027 - most sources have nothing to choose
        """Choose what the coming run reads; called once before each run, in the coordinator."""

    @abstractmethod
    def fetch(self, ctx: FrozenContext) -> Any:
        """Return the data for the outcome that `ctx` belongs to; called once for each, may be ``async``."""


class FunctionSource(DataSource):
    """A data source made from a function of no argument, or of the context.

    Parameters
    ----------
    fn : callable
        ``fn()`` or ``fn(ctx)``, with keyword arguments of its own.
    arguments : dict, optional
        The keyword arguments.

    Raises
    ------
    MissingParameterError
        If the function has further parameters without a default.
    InvalidTypeError
        If it has no such keyword argument.
    """

    def __init__(self, fn: Callable[..., Any], arguments: dict[str, Any] | None = None) -> None:
        self.fn = fn
        self.arguments = arguments or {}
        self.takes_context = _takes_context(fn, self.arguments)
        _check_call(fn, self.takes_context, self.arguments)

    def fetch(self, ctx: FrozenContext) -> Any:
        """Call the function."""
        return self.fn(ctx, **self.arguments) if self.takes_context else self.fn(**self.arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_source, (portable(self.fn), self.arguments)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{getattr(self.fn, '__name__', self.fn)}({arguments})"


@overload
def data_source(fn: Callable[..., Any], /) -> Callable[..., FunctionSource]: ...
@overload
def data_source() -> Callable[[Callable[..., Any]], Callable[..., FunctionSource]]: ...
def data_source(fn: Callable[..., Any] | None = None, /) -> Any:
    """Turn a function into a factory of data sources; write ``@data_source`` or ``@data_source()``.

    Parameters
    ----------
    fn : callable
        ``fn(ctx)`` or ``fn()``; further parameters are given when the factory is called:
        ``@data_source def numbers(ctx, *, n=10)`` is used as ``datasource=numbers(n=100)``.

    Returns
    -------
    callable
        The factory. It raises MissingParameterError for a missing argument and InvalidTypeError for one that
        the function does not take.
    """
    if fn is None:
        return data_source
    if not callable(fn):
        raise InvalidTypeError(f"@data_source decorates a function, got {fn!r}")

    @functools.wraps(fn)
    def factory(**arguments: Any) -> FunctionSource:
        return FunctionSource(fn, arguments)

    factory.__crystallize_data_source__ = True  # type: ignore[attr-defined]
    return factory


def as_datasource(source: Any) -> DataSource:
    """Return `source` as a data source.

    Parameters
    ----------
    source : object
        A DataSource, any other object with a ``fetch(ctx)`` method, a ``@data_source`` factory without
        required arguments, or a function of no argument or of the context.

    Raises
    ------
    InvalidTypeError
        If it is none of these.
    """
    if isinstance(source, DataSource):
        return source
    if isinstance(source, type):
        raise InvalidTypeError(
            f"the data source is the class {source.__name__}",
            hint=f"Pass an instance: {source.__name__}(...)",
        )
    if getattr(source, "__crystallize_data_source__", False):
        made: FunctionSource = source()
        return made
    if callable(getattr(source, "fetch", None)):
        return _ForeignSource(source)
    if callable(source):
        return FunctionSource(source)
    raise InvalidTypeError(
        f"a data source is a DataSource or a function, got {source!r}",
        hint="Pass a function of no argument or of the context, or an object with a fetch(ctx) method",
    )


class _ForeignSource(DataSource):
    """An object that has ``fetch`` without inheriting from DataSource."""

    def __init__(self, source: Any) -> None:
        self.source = source

    @property
    def replicates(self) -> int | None:
        count: int | None = getattr(self.source, "replicates", None)
        return count

    def fetch(self, ctx: FrozenContext) -> Any:
        return self.source.fetch(ctx)


def _restore_source(fn: Any, arguments: dict[str, Any]) -> FunctionSource:
    return FunctionSource(restore(fn), arguments)


def _takes_context(fn: Callable[..., Any], arguments: Collection[str]) -> bool:
    """Tell whether `fn` is called with the context: whether it has a parameter without a keyword of its own."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature
        return False
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in arguments
    ]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters) and not positional:
        return True
    if not positional:
        return False
    first = positional[0]
    return first.default is first.empty or first.name == "ctx"


def _check_call(fn: Callable[..., Any], takes_context: bool, arguments: dict[str, Any]) -> None:
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # a builtin without a signature
        return
    try:
        signature.bind(*((None,) if takes_context else ()), **arguments)
    except TypeError as error:
        kind = MissingParameterError if "missing" in str(error) else InvalidTypeError
        name = getattr(fn, "__name__", type(fn).__name__)
        raise kind(f"data source {name!r}: {error}", hint=f"It takes {signature}") from None
