"""Data sources: what gives the pipeline its first data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, overload

from crystallize.errors import InvalidTypeError
from crystallize.utils.factories import ConfiguredFunction, Factory
from crystallize.utils.signatures import check_call, name_of, signature_of

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
    def default_replicates(self) -> int | None:
        """How many replicates a run has that asks for no number; None if the source does not care."""
        return self.replicates

    def inputs(self) -> list[dict[str, Any]]:
        """Return which stored runs the source reads, once its run is chosen, for the consumer's metadata."""
        return []

    def producers(self) -> list[RunLocation]:
        """Return where the experiments whose artifacts the source reads store their runs."""
        return []

    def shared_producers(self) -> dict[str, int]:
        """Return the experiments whose artifacts replicates of these share, with how many replicates those have."""
        return {}

    def stopped_producers(self) -> list[str]:
        """Return those of these experiments whose run has as many replicates as a stopping rule has made it."""
        return []

    def consumed(self, replicate: int, condition: str) -> tuple[str, ...]:
        """Return the digests of the stored artifacts that the source reads for an outcome, once its run is chosen."""
        return ()

    def check_inputs(self, replicate: int, condition: str) -> None:  # noqa: B027 - most sources read none
        """Raise an ArtifactError if a stored artifact that an outcome would read is not what its producer wrote."""

    def leaves(self) -> Iterator[DataSource]:
        """Yield the sources that this one consists of: itself, if it is no bundle."""
        yield self

    def choose_run(self) -> None:  # noqa: B027 - most sources have nothing to choose
        """Choose what the coming run reads; called once before each run, in the coordinator."""

    def choose_run_again(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Choose what an earlier run read, as far as it is still there; else as :meth:`choose_run` does.

        Parameters
        ----------
        inputs : sequence of mapping
            What :meth:`inputs` returned in that run.
        """
        self.choose_run()

    def release_run(self) -> None:  # noqa: B027
        """Let what :meth:`choose_run` chose go; called when the run is over."""

    def recheck(self, ctx: FrozenContext) -> None:  # noqa: B027 - most sources give the data itself
        """Raise if what the source gave an outcome may have become something else before its last step was done.

        It is called when the last step is done, or one has failed.
        """

    @abstractmethod
    def fetch(self, ctx: FrozenContext) -> Any:
        """Return the data for the outcome that `ctx` belongs to; called once for each, may be ``async``."""


class FunctionSource(ConfiguredFunction, DataSource):
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
        super().__init__(fn, arguments)
        self.takes_context = takes_context(fn, self.arguments)
        context = (None,) if self.takes_context else ()
        check_call(f"data source {name_of(fn)!r}", fn, *context, **self.arguments)

    def fetch(self, ctx: FrozenContext) -> Any:
        """Call the function."""
        arguments = self.fresh_arguments() if self._changeable else self.arguments
        return self.fn(ctx, **arguments) if self.takes_context else self.fn(**arguments)

    @property
    def direct(self) -> Callable[[FrozenContext], Any]:
        """What does the same as :meth:`fetch`: the function itself, if the context is all it takes."""
        is_plain = type(self) is FunctionSource and self.takes_context
        return self.fn if is_plain and not self.arguments and not self._changeable else self.fetch


class SourceFactory(Factory[FunctionSource]):
    """What :func:`data_source` leaves in place of a function: call it to get a configured data source."""

    decorator = "@data_source"
    product = "data source"
    by_hand = ".fetch(ctx), with ctx from standalone_context"
    instead_of_class = "A class becomes a data source by inheriting from DataSource"

    def make(self, fn: Callable[..., Any], arguments: dict[str, Any]) -> FunctionSource:
        """Return the data source with these arguments."""
        return FunctionSource(fn, arguments)


@overload
def data_source(fn: Callable[..., Any], /) -> SourceFactory: ...
@overload
def data_source() -> Callable[[Callable[..., Any]], SourceFactory]: ...
def data_source(fn: Callable[..., Any] | None = None, /) -> Any:
    """Turn a function into a factory of data sources; write ``@data_source`` or ``@data_source()``.

    Parameters
    ----------
    fn : callable
        ``fn(ctx)`` or ``fn()``; further parameters are given when the factory is called:
        ``@data_source def numbers(ctx, *, n=10)`` is used as ``datasource=numbers(n=100)``.

    Returns
    -------
    SourceFactory
        It raises MissingParameterError for a missing argument and InvalidTypeError for one that
        the function does not take.
    """
    return SourceFactory if fn is None else SourceFactory(fn)


@contextmanager
def chosen_runs(
    sources: Iterable[DataSource], inputs: Sequence[Mapping[str, Any]] | None = None
) -> Iterator[None]:
    """Have data sources choose what they read, these `inputs` if given, and keep to it while the block runs.

    If one cannot choose, those before it let go what they chose, and no others: another run may keep to that.
    """
    with ExitStack() as stack:
        for leaf in (leaf for source in sources for leaf in source.leaves()):
            leaf.choose_run() if inputs is None else leaf.choose_run_again(inputs)
            stack.callback(leaf.release_run)
        yield


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
    if isinstance(source, SourceFactory):
        return source()
    if callable(getattr(source, "fetch", None)):
        return _ForeignSource(source)
    if callable(source):
        return FunctionSource(source)
    raise InvalidTypeError(
        f"a data source is a DataSource or a function, got {source!r:.80}",
        hint="ExperimentInput(name=source, ...) is one that gives a dictionary of several"
        if isinstance(source, Mapping)
        else "Pass a function of no argument or of the context, or an object with a fetch(ctx) method",
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


def takes_context(fn: Callable[..., Any], arguments: Collection[str]) -> bool:
    """Tell whether `fn` is called with the context: whether it has a parameter without a keyword of its own."""
    signature = signature_of(fn)
    parameters = [] if signature is None else list(signature.parameters.values())
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.name not in arguments
    ]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters) and not positional:
        return True
    first = positional[0] if positional else None
    return first is not None and (first.default is first.empty or first.name == "ctx")
