"""Steps: callables that take data and a context and return data."""

from __future__ import annotations

import copy
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from crystallize.errors import InvalidTypeError, InvalidValueError, MissingParameterError
from crystallize.pipelines.injection import REQUIRED, check_arguments, inspect_step, missing_parameter
from crystallize.utils.checks import check_bool
from crystallize.utils.factories import ConfiguredFunction, Factory
from crystallize.utils.signatures import name_of
from crystallize.utils.wording import name_hint

if TYPE_CHECKING:
    from crystallize.datasources.artifact import Artifact
    from crystallize.utils.context import FrozenContext

CACHE_OPTIONS = {"cacheable": False, "version": None, "depends_on": (), "ignore": ()}
"""The attributes of a step that are about the cache, as they are where nothing is said."""
_UNCACHED = {"cacheable": False, "ignore": ()}  # version and depends_on count when a run is resumed, too


class PipelineStep(ABC):
    """One step of a pipeline.

    Subclass it for a step that holds something expensive to make; for anything else decorate a function with
    :func:`pipeline_step`. An instance serves all replicates of its worker, so what ``__call__`` returns must
    not depend on earlier calls.

    Attributes
    ----------
    cacheable : bool
        Whether equal input may be answered with a stored output.
    version : str or None
        Of what cannot be seen, such as a program that the step calls: another version is another step.
    depends_on : sequence
        What else the step rests on: functions, classes, values, and files, each a ``pathlib.Path``.
    ignore : sequence of str
        The parameters and context keys that do not matter for what it gives.
    """

    cacheable: bool = False
    version: str | None = None
    depends_on: Sequence[Any] = ()
    ignore: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The name on disk and in messages: the class's."""
        return type(self).__name__

    @property
    def params(self) -> dict[str, Any]:
        """What configures the step; part of the pipeline's signature."""
        return {}

    @abstractmethod
    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        """Process `data`.

        Parameters
        ----------
        data : object
            What the step before returned; the data source's value for the first.
        ctx : FrozenContext
            The context of this outcome.

        Returns
        -------
        object
            The data for the next step, or a tuple ``(data, metrics)`` whose second part is a mapping.
        """

    def bind(self, outputs: Mapping[str, Artifact]) -> PipelineStep:
        """Return the step with the experiment's outputs filled in where it asks for them."""
        return self

    def with_cache(self, cacheable: bool) -> PipelineStep:
        """Return the step, cacheable or not, whatever it is by itself."""
        if self.cacheable is cacheable:
            return self
        changed = copy.copy(self)
        vars(changed).update({"cacheable": True} if cacheable else _UNCACHED)
        return changed


class FunctionStep(ConfiguredFunction, PipelineStep):
    """A step made from a function.

    Parameters
    ----------
    fn : callable
        ``fn(data)``, ``fn(data, ctx)``, either with further parameters; may be ``async``.
    arguments : dict, optional
        Values of further parameters. Those that are missing are looked up in the context at each call, then
        fall back to their defaults.
    **options
        ``cacheable``, ``version``, ``depends_on`` and ``ignore``: see :class:`PipelineStep`.

    Raises
    ------
    InvalidTypeError
        If the function cannot be a step, or an argument is not one of its parameters.
    """

    def __init__(
        self, fn: Callable[..., Any], arguments: dict[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(fn, arguments, **options)
        self._name = _step_name(fn)
        self.signature = inspect_step(fn, self._name)
        check_arguments(self.signature, self.arguments, self._name)
        self._injected = tuple(
            # A default that a call could change is in `fresh_arguments`.
            (name, REQUIRED if name in self._changeable else default)
            for name, default in self.signature.parameters.items()
            if name not in self.arguments and name not in self.signature.artifacts
        )
        self._passes_context = self.signature.context is not None and not self.signature.context_by_keyword
        self._is_plain = not self._injected and not self.arguments and not self.signature.context_by_keyword

    @property
    def name(self) -> str:
        """The function's name in title case with ``Step`` behind it: ``load_csv`` gives ``Load_CsvStep``."""
        return self._name

    @property
    def params(self) -> dict[str, Any]:
        """The arguments given at construction."""
        return dict(self.arguments)

    @property
    def injected(self) -> dict[str, Any]:
        """Default of each parameter that the context may provide; ``REQUIRED`` if it has none."""
        return {name: self.signature.parameters[name] for name, _ in self._injected}

    @property
    def direct(self) -> Callable[[Any, FrozenContext], Any]:
        """What does the same as calling the step: the function itself, if ``(data, ctx)`` is all it takes."""
        return self.fn if type(self) is FunctionStep and self._is_plain and self._passes_context else self

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        """Call the function with its arguments."""
        if self._is_plain:
            return self.fn(data, ctx) if self._passes_context else self.fn(data)
        arguments = self.fresh_arguments() if self._changeable else dict(self.arguments)
        for name, default in self._injected:
            value = ctx.get(name, default)
            if value is REQUIRED:
                if name in self._changeable:
                    continue
                raise missing_parameter(self._name, name, ctx.keys_held(), ctx.place())
            arguments[name] = value
        if self._passes_context:
            return self.fn(data, ctx, **arguments)
        if self.signature.context is not None:
            arguments[self.signature.context] = ctx
        return self.fn(data, **arguments)

    def bind(self, outputs: Mapping[str, Artifact]) -> PipelineStep:
        """Return the step with a value for each parameter that is annotated with ``Artifact``.

        Raises
        ------
        MissingParameterError
            If the experiment has no output of the parameter's name and the parameter has no default.
        """
        open_parameters = self.signature.artifacts - self.arguments.keys()
        if not open_parameters:
            return self
        found = {name: outputs[name] for name in open_parameters if name in outputs}
        for name in sorted(open_parameters - found.keys()):
            if self.signature.parameters[name] is REQUIRED:
                raise MissingParameterError(
                    f"step {self._name!r} writes to the artifact {name!r}, and the experiment has no such output",
                    hint=name_hint(name, "Its outputs are", outputs),
                )
        return FunctionStep(self.fn, {**self.arguments, **found}, **self._options)

    def with_cache(self, cacheable: bool) -> FunctionStep:
        """Return the step, cacheable or not, whatever its decorator says."""
        changed = {"cacheable": True} if cacheable else _UNCACHED
        return FunctionStep(self.fn, self.arguments, **{**self._options, **changed})


class StepFactory(Factory[FunctionStep]):
    """What :func:`pipeline_step` leaves in place of a function: call it to get a configured step."""

    decorator = "@pipeline_step"
    product = "step"
    by_hand = "(data, ctx), with ctx from standalone_context"
    instead_of_class = "A class becomes a step by inheriting from PipelineStep"

    def make(self, fn: Callable[..., Any], arguments: dict[str, Any]) -> FunctionStep:
        """Return the step with these arguments."""
        return FunctionStep(fn, arguments, **self._options)


@overload
def pipeline_step(fn: Callable[..., Any], /) -> StepFactory: ...
@overload
def pipeline_step(
    *,
    cacheable: bool = False,
    version: str | None = None,
    depends_on: Sequence[Any] = (),
    ignore: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], StepFactory]: ...
def pipeline_step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    cacheable: bool = False,
    version: str | None = None,
    depends_on: Sequence[Any] = (),
    ignore: Sequence[str] = (),
) -> StepFactory | Callable[[Callable[..., Any]], StepFactory]:
    """Turn a function into a factory of steps.

    The function takes ``data`` and, if it wants to, ``ctx``. Its other parameters configure the step: they are
    given when the factory is called, or else looked up in the context when the step runs.

    Parameters
    ----------
    cacheable : bool, optional
        Whether equal input may be answered with a stored output.
    version : str, optional
        Of what cannot be seen, such as a program that the step calls: another version is another step.
    depends_on : sequence, optional
        What else the step rests on: functions, classes, values, and files, each a ``pathlib.Path``.
    ignore : sequence of str, optional
        The parameters and context keys that do not matter for what it gives.

    Returns
    -------
    StepFactory
        ``scale(factor=2.0)`` is a step; in a Pipeline, ``scale`` alone is called for you.

    Raises
    ------
    InvalidTypeError
        If what is decorated is not a function that takes data, or an argument has the wrong type.
    InvalidValueError
        If `ignore` is given, and the step is not cacheable.

    Examples
    --------
    >>> @pipeline_step()
    ... def scale(data: list[float], *, factor: float = 1.0) -> list[float]:
    ...     return [x * factor for x in data]
    """
    options = {"cacheable": cacheable, "version": version, "depends_on": depends_on, "ignore": ignore}
    check_cache_options(**options)

    def decorate(function: Callable[..., Any]) -> StepFactory:
        factory = StepFactory(function, **options)
        inspect_step(function, _step_name(function))
        return factory

    return decorate if fn is None else decorate(fn)


def check_cache_options(cacheable: Any, version: Any, depends_on: Any, ignore: Any) -> None:
    """Check what is said about the cache of a step.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it has the wrong type, or `ignore` is given and the step is not cacheable.
    """
    check_bool("cacheable", cacheable)
    if version is not None and not isinstance(version, str):
        raise InvalidTypeError(f"version is a text, got {version!r}", hint='For example version="2"')
    for name, value in (("depends_on", depends_on), ("ignore", ignore)):
        if not isinstance(value, list | tuple):
            raise InvalidTypeError(f"{name} is a list, got {value!r}")
    for each in depends_on:
        if isinstance(each, str) and os.path.isfile(each):  # noqa: PTH113 - any text is asked about, a long one too
            raise InvalidValueError(
                f"depends_on has the text {each!r}, and a file of that name is there, whose content would not count",
                hint=f"Write Path({each!r})",
            )
    if not all(isinstance(name, str) for name in ignore):
        raise InvalidTypeError(f"ignore is a list of names, got {ignore!r}")
    if not cacheable and ignore:
        raise InvalidValueError(
            "ignore says what the cache does not look at, and the step is not cacheable",
            hint="Add cacheable=True, or leave it out",
        )


def as_step(step: Any, position: int) -> PipelineStep:
    """Return what a user put into a pipeline as a step.

    Parameters
    ----------
    step : object
        A step, a step factory, a ``functools.partial`` of either a factory, a class of steps or a plain
        function, or a plain function.
    position : int
        Where it stands in the pipeline, for messages.

    Raises
    ------
    InvalidTypeError
        If it cannot be a step.
    """
    if isinstance(step, PipelineStep):
        return step
    if isinstance(step, StepFactory):
        return step()
    if isinstance(step, functools.partial):
        if isinstance(step.func, StepFactory) or (
            isinstance(step.func, type) and issubclass(step.func, PipelineStep)
        ):
            made: PipelineStep = step()
            return made
        if not step.args:
            return FunctionStep(step.func, dict(step.keywords))
    elif isinstance(step, type):
        raise InvalidTypeError(
            f"step {position} of the pipeline is the class {step.__name__}",
            hint=f"Pass an instance: {step.__name__}(...)",
        )
    if callable(step):
        return FunctionStep(step)
    raise InvalidTypeError(
        f"step {position} of the pipeline is not callable: {step!r}",
        hint="A step is a function decorated with @pipeline_step, a plain function or a PipelineStep",
    )


def _step_name(fn: Callable[..., Any]) -> str:
    target = fn.func if isinstance(fn, functools.partial) else fn
    return f"{name_of(target).strip('<>').title()}Step"
