"""Running one replicate: every condition once, each in a context of its own."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import InvalidTypeError
from crystallize.plugins.manager import RAISED
from crystallize.results.provenance import DATA_SOURCE, TREATMENT
from crystallize.store.outcome import Outcome, OutcomeError, ReplicateResult
from crystallize.utils.context import FrozenContext
from crystallize.utils.fingerprint import fingerprint
from crystallize.utils.flow import Flow, adrive, drive
from crystallize.utils.randomness import stream_key

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from crystallize.datasources.datasource import DataSource
    from crystallize.errors import CrystallizeError
    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.treatment import Treatment
    from crystallize.pipelines.pipeline import AfterStep, BeforeStep

FETCH: Any = object()
"""Stands for data that the data source has yet to give."""

_HOOKS_RNG = stream_key("crystallize.hooks")
_DATA_SOURCE_RNG = stream_key("crystallize.data source")
_TREATMENT_RNG = stream_key("crystallize.treatment")
_ENGINE = (str(Path(__file__).parent.parent), str(Path(os.__file__).parent / "asyncio"))
"""Folders whose frames lie between the coordinator and the user's code."""


class Condition(NamedTuple):
    """A condition, ready to run."""

    name: str
    settings: Mapping[str, Any]
    function: Callable[[FrozenContext], Any] | None
    datasource: DataSource


class Replicate:
    """The ``replicate_fn`` of an experiment: ``replicate(i)`` runs replicate ``i`` under every condition.

    It is what an execution strategy sends to its workers. Pickled, it is the experiment and nothing more; what
    the loop needs at hand is prepared once in each process.

    Parameters
    ----------
    experiment : Experiment
        The experiment that is running.
    loop : asyncio.AbstractEventLoop, optional
        The event loop that ``Experiment.arun`` was awaited on, for strategies that can use it.
    """

    def __init__(self, experiment: Experiment, loop: AbstractEventLoop | None = None) -> None:
        self.experiment = experiment
        self.loop = loop
        self._pipeline = experiment.pipeline.bind(experiment.outputs)
        self._initial = experiment.initial_ctx
        self._master_seed = experiment.master_seed
        self._conditions = tuple(
            _condition(name, experiment.active_treatments.get(name), experiment.datasource)
            for name in experiment.conditions
        )
        self._run = experiment.run_token
        self._plugin_name = experiment.plugins.name_of
        self._before_replicate = experiment.plugins.direct("before_replicate")
        self._before_step = self._hook_before_step()
        self._after_step = self._hook_after_step()
        self._pickled: tuple[str, bytes] | None = None

    def recipe(self) -> tuple[Callable[..., Replicate], tuple[Any, ...]]:
        """Return the function and the arguments that make this object anew in a worker.

        For strategies that send an experiment to each worker once and have a pickler of their own.
        """
        return Replicate, (self.experiment,)

    def __reduce__(self) -> tuple[Any, ...]:
        # Any other pool pickles a function with every task, and with plain pickle, which stops at a lambda.
        if self._pickled is None:
            import cloudpickle

            payload = cloudpickle.dumps(self.recipe())
            self._pickled = (fingerprint(payload), payload)
        return _unpickled, self._pickled

    def __call__(self, replicate: int) -> ReplicateResult:
        """Run all conditions of one replicate; an error of a step is part of the result."""
        return drive(self._replicate(replicate))

    async def acall(self, replicate: int) -> ReplicateResult:
        """Do the same on the running event loop."""
        return await adrive(self._replicate(replicate))

    def failed(self, replicate: int, error: CrystallizeError) -> ReplicateResult:
        """Return the result of a replicate that a strategy could not run: an error for every condition."""
        kind, message = _kind(error), str(error)
        return ReplicateResult(
            replicate,
            tuple(
                Outcome(
                    condition.name,
                    None,
                    {},
                    {},
                    [],
                    (),
                    OutcomeError(replicate, condition.name, None, kind, message, f"{kind}: {message}\n"),
                )
                for condition in self._conditions
            ),
            self._run,
        )

    def describe_parts(self) -> dict[str, object]:
        """Return what is sent to a worker, part by part, for messages about what cannot be sent."""
        experiment = self.experiment
        parts: dict[str, object] = {"data source": experiment.datasource}
        parts |= {
            f"step {name!r}": step
            for name, step in zip(experiment.pipeline.names, experiment.pipeline.steps, strict=True)
        }
        parts |= {f"initial_ctx[{key!r}]": value for key, value in experiment.initial_ctx.items()}
        parts |= {f"treatment {each.name!r}": each for each in experiment.active_treatments.values()}
        parts |= {f"output {alias!r}": output for alias, output in experiment.outputs.items()}
        parts |= {f"plugin {record.name!r}": record.plugin for record in experiment.plugins.records}
        return parts

    def apply(self, condition: str, data: Any) -> tuple[Any, ReplicateResult]:
        """Run one condition once and return the last step's data; an error of a step is raised.

        Parameters
        ----------
        condition : str
            The condition.
        data : object
            The pipeline's first data, or :data:`FETCH` for the data source's.
        """
        chosen = next(each for each in self._conditions if each.name == condition)
        ctx = self._context(0, chosen)
        with ctx.in_force():
            returned = drive(self._play(ctx, chosen, data))
        return returned, ReplicateResult(0, (_outcome(ctx, chosen.name, None),), self._run)

    # -- the flow ------------------------------------------------------------------------------------------

    def _replicate(self, replicate: int) -> Flow[ReplicateResult]:
        outcomes = []
        for condition in self._conditions:
            outcomes.append((yield from self._outcome(replicate, condition)))
        return ReplicateResult(replicate, tuple(outcomes), self._run)

    def _outcome(self, replicate: int, condition: Condition) -> Flow[Outcome]:
        ctx = self._context(replicate, condition)
        error = None
        token = ctx.enter()
        try:
            yield from self._play(ctx, condition, FETCH)
        except RAISED as raised:  # a step that calls sys.exit() fails like any other
            ctx.leave_stage()
            error = describe_error(raised, replicate, condition.name, ctx.peek("step_name"))
        finally:
            ctx.leave(token)
        return _outcome(ctx, condition.name, error)

    def _play(self, ctx: FrozenContext, condition: Condition, data: Any) -> Flow[Any]:
        if self._before_replicate is not None:
            try:
                self._before_replicate(self.experiment, ctx)
            except RAISED as raised:
                raise self.experiment.plugins.blame("before_replicate", raised) from raised
        if condition.function is not None:
            ctx.enter_stage(TREATMENT, _TREATMENT_RNG, "treatment")
            returned = condition.function(ctx)
            if returned is not None:
                raise InvalidTypeError(
                    f"treatment {condition.name!r} returned {returned!r}, which nobody uses",
                    ctx.place(),
                    "Give the context what the steps need: ctx.add(key, value)",
                )
        if data is FETCH:
            ctx.enter_stage(DATA_SOURCE, _DATA_SOURCE_RNG, "data source")
            data = condition.datasource.fetch(ctx)
            if type(data) is CoroutineType:
                data = yield data
        return (yield from self._pipeline.flow(data, ctx, self._before_step, self._after_step))

    def _context(self, replicate: int, condition: Condition) -> FrozenContext:
        ctx = FrozenContext(
            self._initial,
            condition.settings,
            replicate=replicate,
            condition=condition.name,
            master_seed=self._master_seed,
            rng_key=_HOOKS_RNG,
        )
        ctx.plugin_name = self._plugin_name
        return ctx

    # -- hooks around steps --------------------------------------------------------------------------------

    def _hook_before_step(self) -> BeforeStep | None:
        experiment, plugins = self.experiment, self.experiment.plugins
        call = plugins.direct("before_step")
        if call is None:
            return None

        def before_step(step: Any, ctx: FrozenContext) -> None:
            state = ctx.enter_hook(_HOOKS_RNG)
            try:
                call(experiment, step, ctx)
            except RAISED as raised:
                raise plugins.blame("before_step", raised) from raised
            finally:
                ctx.leave_hook(state)

        return before_step

    def _hook_after_step(self) -> AfterStep | None:
        experiment, plugins = self.experiment, self.experiment.plugins
        call = plugins.direct("after_step")
        if call is None:
            return None

        def after_step(step: Any, data: Any, ctx: FrozenContext) -> None:
            state = ctx.enter_hook(_HOOKS_RNG)
            try:
                call(experiment, step, data, ctx)
            except RAISED as raised:
                blame = plugins.call_rest(
                    "after_step", raised, experiment=experiment, step=step, data=data, ctx=ctx
                )
                raise blame from raised
            finally:
                ctx.leave_hook(state)

        return after_step


def describe_error(error: BaseException, replicate: int, condition: str, step: str | None) -> OutcomeError:
    """Describe an exception in plain data, so that it can be sent, stored and compared.

    The traceback begins with the first frame outside of the engine, whose own frames differ between strategies
    and tell a user nothing.
    """
    formatted = "".join(traceback.format_exception(type(error), error, _from_users_code(error.__traceback__)))
    return OutcomeError(replicate, condition, step, _kind(error), _message(error), formatted)


def _from_users_code(tb: TracebackType | None) -> TracebackType | None:
    frame = tb
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_ENGINE):
        frame = frame.tb_next
    return frame or tb


def _kind(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as unprintable:  # a foreign __str__ must not take the run down
        return f"<no text: its __str__ raised {type(unprintable).__name__}>"


def _outcome(ctx: FrozenContext, condition: str, error: OutcomeError | None) -> Outcome:
    failed = error is not None
    parcels, ctx.handed_back = ctx.handed_back, None  # what comes later is refused
    return Outcome(
        condition,
        ctx.peek("seed_used"),
        {} if failed else ctx.metrics.values_by_name,
        {} if failed else ctx.metrics.tags,
        ctx.artifact_entries,
        ctx.trace,
        error,
        tuple(parcels) if parcels else (),
    )


@lru_cache(maxsize=4)
def _unpickled(digest: str, payload: bytes) -> Replicate:
    """Make the object of a payload, once in each worker however often it arrives."""
    make, arguments = pickle.loads(payload)
    made: Replicate = make(*arguments)
    return made


def _condition(name: str, treatment: Treatment | None, datasource: DataSource) -> Condition:
    if treatment is None:
        return Condition(name, {}, None, datasource)
    return Condition(name, treatment.settings, treatment.function, treatment.datasource or datasource)
