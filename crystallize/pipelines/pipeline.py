"""The pipeline: steps in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import CoroutineType
from typing import TYPE_CHECKING, Any, TypeAlias

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.pipelines.pipeline_step import FunctionStep, PipelineStep, as_step
from crystallize.utils.context import FrozenContext
from crystallize.utils.fingerprint import fingerprint
from crystallize.utils.flow import Flow, adrive, drive
from crystallize.utils.names import check_name, name_key
from crystallize.utils.signatures import is_generator
from crystallize.utils.stage import describe_parameters

if TYPE_CHECKING:
    from crystallize.datasources.artifact import Artifact

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
        self.names = _unique_names(self.steps)
        if is_generator(getattr(self.steps[-1], "fn", self.steps[-1])):
            raise InvalidTypeError(
                f"step {self.names[-1]!r} is a generator, and the last step: nobody would run it",
                hint="Return a list, or (data, metrics), where it says yield",
            )
        self._calls = tuple(
            (index, name, step, step.direct if isinstance(step, FunctionStep) else step)
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

    def run(self, data: Any, ctx: FrozenContext) -> Any:
        """Put `data` through all steps and return the last one's data; asynchronous steps are awaited.

        Use it with :func:`crystallize.standalone_context` to try a pipeline by hand.
        """
        with ctx.in_force(), ctx.within_stage():
            return drive(self.flow(data, ctx))

    async def arun(self, data: Any, ctx: FrozenContext) -> Any:
        """Do what :meth:`run` does, inside a running event loop."""
        with ctx.in_force(), ctx.within_stage():
            return await adrive(self.flow(data, ctx))

    def flow(
        self, data: Any, ctx: FrozenContext, before: BeforeStep | None = None, after: AfterStep | None = None
    ) -> Flow[Any]:
        """Put `data` through all steps, yielding each awaitable; see :data:`crystallize.utils.flow.Flow`.

        Parameters
        ----------
        before, after : callable, optional
            Called around each step; None costs nothing.
        """
        metrics = ctx.metrics
        for index, name, step, call in self._calls:
            if before is not None:
                ctx.end_stage()
                ctx.set_step_name(name)
                before(step, ctx)
            ctx.begin_stage(index, index, name)
            returned = call(data, ctx)
            if type(returned) is CoroutineType:
                returned = yield returned
            if (
                type(returned) is tuple
                and len(returned) == 2
                and (type(returned[1]) is dict or isinstance(returned[1], Mapping))
            ):
                data, recorded = returned
                for metric, value in recorded.items():
                    metrics.add(metric, value)
            else:
                data = returned
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
