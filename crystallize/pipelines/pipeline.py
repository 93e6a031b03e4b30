"""The pipeline: steps in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import cached_property, partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.pipelines.cache.settings import CacheSettings
from crystallize.pipelines.pipeline_step import FunctionStep, PipelineStep, as_step, check_cache_options
from crystallize.store.outcome import warn_of_cache
from crystallize.utils.context import FrozenContext
from crystallize.utils.fingerprint import fingerprint
from crystallize.utils.flow import Flow, adrive, drive
from crystallize.utils.names import check_name, name_key
from crystallize.utils.signatures import is_generator
from crystallize.utils.stage import describe_parameters

if TYPE_CHECKING:
    from crystallize.datasources.artifact import Artifact
    from crystallize.pipelines.cache.cached_step import CachedStep
    from crystallize.utils.metrics import MetricLog

_Call: TypeAlias = "tuple[int, str, PipelineStep, Callable[[Any, FrozenContext], Any], CachedStep | None]"
_OF_INTEREST = frozenset({CoroutineType, tuple})  # what a step may return besides data
BeforeStep: TypeAlias = Callable[[PipelineStep, FrozenContext], None]
AfterStep: TypeAlias = Callable[[PipelineStep, Any, FrozenContext], None]


class Pipeline:
    """A sequence of steps.

    Parameters
    ----------
    steps : iterable
        Steps, step factories, ``functools.partial`` of factories and plain functions, mixed.

    Attributes
    ----------
    steps : tuple of PipelineStep
        The steps.
    names : tuple of str
        Their names, made unique: a second ``ScaleStep`` is ``ScaleStep-2``.

    Raises
    ------
    InvalidTypeError
        If something in it cannot be a step, or the last one is a generator.
    InvalidValueError
        If it is empty.
    """

    def __init__(self, steps: Iterable[Any]) -> None:
        if isinstance(steps, str | bytes | Mapping | PipelineStep) or not isinstance(steps, Iterable):
            raise InvalidTypeError(f"a pipeline takes a list of steps, got {steps!r}")
        self.steps = tuple(as_step(step, position) for position, step in enumerate(steps, 1))
        if not self.steps:
            raise InvalidValueError("the pipeline is empty", hint="Give it at least one step")
        for step in self.steps:
            check_cache_options(step.cacheable, step.version, step.depends_on, step.ignore)
        self.names = _unique_names(self.steps)
        if is_generator(getattr(self.steps[-1], "fn", self.steps[-1])):
            raise InvalidTypeError(
                f"step {self.names[-1]!r} is a generator, and the last step: nobody would run it",
                hint="Return a list, or (data, metrics), where it says yield",
            )
        self._calls: tuple[_Call, ...] = tuple(
            (index, name, step, step.direct if isinstance(step, FunctionStep) else step, None)
            for index, (name, step) in enumerate(zip(self.names, self.steps, strict=True))
        )

    @cached_property
    def signature(self) -> str:
        """A hash of the steps' names and parameters; the same in every process and on every machine."""
        return fingerprint([(name, step.params) for name, step in zip(self.names, self.steps, strict=True)])

    def describe(self) -> list[tuple[str, dict[str, Any]]]:
        """Return name and parameters of each step, as records have them."""
        return [
            (name, describe_parameters(step.params))
            for name, step in zip(self.names, self.steps, strict=True)
        ]

    def bind(self, outputs: Mapping[str, Artifact]) -> Pipeline:
        """Return the pipeline with the experiment's outputs filled in where steps ask for them."""
        bound = [step.bind(outputs) for step in self.steps]
        unchanged = all(new is old for new, old in zip(bound, self.steps, strict=True))
        return self if unchanged else Pipeline(bound)

    @property
    def is_cacheable(self) -> bool:
        """Whether a step of it may be cached."""
        return any(step.cacheable for step in self.steps)

    def cached(self, settings: CacheSettings, *, hooks_see_data: bool = False) -> Pipeline:
        """Return the pipeline with its cacheable steps cached; itself if there are none.

        What the cache takes a step for is what the step is when it runs next, so that this is called for each run.

        Parameters
        ----------
        settings : CacheSettings
            Where the cache is.
        hooks_see_data : bool, default False
            Whether somebody gets hold of the data between two steps, and could change them.
        """
        if settings.mode == "off" or not self.is_cacheable:
            return self
        from crystallize.pipelines.cache.cached_step import CachedStep

        cached = copy(self)
        cached._calls = tuple(
            (
                index,
                name,
                step,
                call,
                CachedStep(
                    step,
                    name,
                    index,
                    partial(_run, call),
                    settings=settings,
                    is_last_word=not hooks_see_data,
                    is_followed=any(each.cacheable for each in self.steps[index + 1 : index + 2]),
                ),
            )
            if step.cacheable
            else (index, name, step, call, None)
            for index, name, step, call, _ in self._calls
        )
        return cached

    def run(self, data: Any, ctx: FrozenContext) -> Any:
        """Put `data` through all steps and return the last one's data; asynchronous steps are awaited.

        Use it with :func:`crystallize.standalone_context` to try a pipeline by hand.
        """
        with ctx.in_force(), ctx.within_stage():
            output = drive(self._by_hand(ctx).flow(data, ctx))
        _warn_of_cache(ctx)
        return output

    async def arun(self, data: Any, ctx: FrozenContext) -> Any:
        """Do what :meth:`run` does, inside a running event loop."""
        with ctx.in_force(), ctx.within_stage():
            output = await adrive(self._by_hand(ctx).flow(data, ctx))
        _warn_of_cache(ctx)
        return output

    def _by_hand(self, ctx: FrozenContext) -> Pipeline:
        """Return what runs in `ctx` without an experiment: in a step it is that step's, and not cached by itself."""
        return self.cached(CacheSettings.of()) if self.is_cacheable and not ctx.is_enclosed else self

    def flow(
        self, data: Any, ctx: FrozenContext, before: BeforeStep | None = None, after: AfterStep | None = None
    ) -> Flow[Any]:
        """Put `data`, awaited if it is a coroutine, through all steps, yielding each awaitable.

        See :data:`crystallize.utils.flow.Flow`.

        Parameters
        ----------
        before, after : callable, optional
            Called around each step; None costs nothing.
        """
        begin_stage = ctx.begin_inner_stage if ctx.is_enclosed else ctx.begin_stage
        if type(data) is CoroutineType:
            data = yield data
        for index, name, step, call, cached in self._calls:
            if before is not None:
                ctx.end_stage()
                ctx.set_step_name(name)
                before(step, ctx)
            begin_stage(index, name)
            if cached is None:
                data = call(data, ctx)
                if type(data) in _OF_INTEREST:
                    if type(data) is CoroutineType:
                        data = yield data
                    if type(data) is tuple:
                        data = _without_metrics(data, ctx.metrics)
            else:
                data = yield from cached.flow(data, ctx, is_needed=after is not None)
            if after is not None:
                ctx.end_stage()
                after(step, data, ctx)
        ctx.end_stage()
        return data

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return f"Pipeline([{', '.join(map(repr, self.steps))}])"

    def __reduce__(self) -> tuple[Any, ...]:
        return Pipeline, (self.steps,)


def _run(call: Callable[[Any, FrozenContext], Any], data: Any, ctx: FrozenContext) -> Flow[Any]:
    returned = call(data, ctx)
    if type(returned) is CoroutineType:
        returned = yield returned
    return _without_metrics(returned, ctx.metrics) if type(returned) is tuple else returned


def _without_metrics(returned: tuple[Any, ...], metrics: MetricLog) -> Any:
    """Record the metrics that a step has returned beside its data, if it has, and return the data."""
    if len(returned) == 2 and (type(returned[1]) is dict or isinstance(returned[1], Mapping)):
        data, recorded = returned
        for metric, value in recorded.items():
            metrics.add(metric, value)
        return data
    return returned


def _warn_of_cache(ctx: FrozenContext) -> None:
    if ctx.caching is not None:
        warn_of_cache(ctx.caching.notes, set())


def _unique_names(steps: Iterable[PipelineStep]) -> tuple[str, ...]:
    names: list[str] = []
    taken: set[str] = set()
    for step in steps:
        name = unique = check_name("step", step.name)
        number = 1
        while name_key(unique) in taken:
            number += 1
            unique = f"{name}-{number}"
        names.append(unique)
        taken.add(name_key(unique))
    return tuple(names)
