"""Running one replicate: every condition once, each in a context of its own."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NoReturn

from crystallize.datasources.datasource import DataSource, FunctionSource
from crystallize.errors import CrystallizeError, InvalidTypeError
from crystallize.experiments.order import INTERLEAVED, order_of_conditions
from crystallize.experiments.time_limit import limited, reported, timeout_error
from crystallize.store.extent import takes_part
from crystallize.store.outcome import Outcome, OutcomeError, ReplicateResult
from crystallize.utils.context import FrozenContext
from crystallize.utils.failures import is_addressed_to_the_run, users_frames
from crystallize.utils.fingerprint import fingerprint
from crystallize.utils.flow import Flow, adrive, drive
from crystallize.utils.randomness import stream_key
from crystallize.utils.signatures import is_async
from crystallize.utils.stage import DATA_SOURCE, TREATMENT, notes_key, trace_of, with_plain_names

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from crystallize.experiments.treatment import Treatment
    from crystallize.hookspecs import RunningExperiment
    from crystallize.plugins.collection import PluginRecord
    from crystallize.utils.stage import Trace

_logger = logging.getLogger("crystallize.experiment")

FETCH: Any = object()
"""Stands for data that the data source has yet to give."""

_new = tuple.__new__  # of a NamedTuple: its own takes three times as long
_NONE_REUSED: frozenset[str] = frozenset()
_HOOKS_RNG = stream_key("crystallize.hooks")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, ready to run."""

    name: str
    new_context: Callable[[int], FrozenContext]
    function: Callable[[FrozenContext], Any] | None
    fetch: Callable[[FrozenContext], Any]
    recheck: Callable[[FrozenContext], None] | None


class Replicate:
    """The ``replicate_fn`` of an experiment: ``replicate(i)`` runs replicate ``i`` under every condition.

    It is what an execution strategy sends to its workers. Pickled, it is the experiment and nothing more; what
    the loop needs at hand is prepared once in each process.

    Parameters
    ----------
    experiment : RunningExperiment
        The experiment that is running.
    loop : asyncio.AbstractEventLoop, optional
        The event loop that ``Experiment.arun`` was awaited on, for strategies that can use it.
    is_there : callable, optional
        Tells of a replicate whether it was there already when the run was resumed, so that it is not run.

    Attributes
    ----------
    conditions : tuple of str
        Their names, in order.
    timeout : float or None
        How many seconds one outcome may take.
    begin_outcome : callable or None
        If there is a `timeout` and somebody who kills what takes longer: told the condition as each outcome begins.
    dropped : mapping of str to int
        For each condition that a stopping rule has dropped, the first replicate that it is not run in. It grows; what
        a worker has not heard of yet it runs in vain.
    timed_out : mapping of int to collection of str
        The conditions that were found to take too long, by replicate: they are not run, and their outcomes are errors.
    is_async : bool
        Whether something in it is ``async``, as far as that can be told from its functions or was seen in a call.
    """

    def __init__(
        self,
        experiment: RunningExperiment,
        loop: AbstractEventLoop | None = None,
        is_there: Callable[[int], bool] | None = None,
    ) -> None:
        self.experiment = experiment
        self.loop = loop
        self._is_there = is_there
        hooks_see_data = any(map(_sees_data, experiment.plugins.records))
        self._pipeline = experiment.pipeline.bind(experiment.outputs).cached(
            experiment.current_run.cache, hooks_see_data=hooks_see_data
        )
        self._master_seed = experiment.master_seed
        self._conditions = tuple(
            self._condition(name, experiment.active_treatments.get(name)) for name in experiment.conditions
        )
        self.conditions = experiment.conditions
        self.is_async = any(map(is_async, _functions_of(experiment)))
        self._run = experiment.current_run.token
        self._done = experiment.current_run.done
        self._order = experiment.current_run.order
        self.dropped: Mapping[str, int] = experiment.current_run.dropped
        self._retries = experiment.current_run.failure_policy.retries
        self.timeout = experiment.current_run.failure_policy.timeout
        self.begin_outcome: Callable[[str], None] | None = None
        self.timed_out: Mapping[int, Collection[str]] = {}
        self._before_replicate = experiment.plugins.direct("before_replicate")
        self._before_step = self._hook("before_step")
        self._after_step = self._hook("after_step")
        self._last_traces: dict[str, tuple[bytes, Trace]] = {}  # by condition, each with its key
        self._pickled: tuple[str, bytes] | None = None

    def _condition(self, name: str, treatment: Treatment | None) -> Condition:
        experiment, source = self.experiment, self.experiment.datasource
        if treatment is not None and treatment.datasource is not None:
            source = treatment.datasource
        return Condition(
            name,
            partial(
                FrozenContext,
                experiment.initial_ctx,
                {} if treatment is None else treatment.settings,
                name,
                experiment.master_seed,
                _HOOKS_RNG,
                experiment.plugins.name_of,
                experiment.current_run.artifact_sink,
            ),
            None if treatment is None else treatment.function,
            source.direct if isinstance(source, FunctionSource) else source.fetch,
            None if type(source).recheck is DataSource.recheck else source.recheck,
        )

    def _hook(self, name: str) -> Callable[..., None] | None:
        call = self.experiment.plugins.direct(name)
        return None if call is None else partial(call, self.experiment)

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
        return drive(self._replicate(replicate), self._note_await)

    def _note_await(self) -> None:
        self.is_async = True

    async def acall(self, replicate: int) -> ReplicateResult:
        """Do the same on the running event loop."""
        return await adrive(self._replicate(replicate))

    def failed(self, replicate: int, error: CrystallizeError) -> ReplicateResult:
        """Return the result of a replicate that a strategy could not run: an error for every condition."""
        outcomes = (_given_up(replicate, condition.name, error) for condition in self._owed(replicate))
        return ReplicateResult(replicate, tuple(outcomes), self._run)

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

    def apply(self, condition: str, data: Any, replicate: int = 0) -> tuple[Any, ReplicateResult]:
        """Run one condition once and return the last step's data; an error of a step is raised.

        Parameters
        ----------
        condition : str
            The condition.
        data : object
            The pipeline's first data, or :data:`FETCH` for the data source's.
        replicate : int, default 0
            Which replicate it is.
        """
        chosen = next(each for each in self._conditions if each.name == condition)
        if data is not FETCH:
            chosen = replace(chosen, fetch=lambda ctx: data, recheck=None)
        ctx = chosen.new_context(replicate)
        started = time.time()
        with ctx.in_force():
            returned = drive(self._play(ctx, chosen))
        outcome = _outcome(ctx, chosen.name, None, started, ctx.trace)
        return returned, ReplicateResult(replicate, (outcome,), self._run)

    # -- the flow ------------------------------------------------------------------------------------------

    def _replicate(self, replicate: int) -> Flow[ReplicateResult]:
        if self._is_there is not None and self._is_there(replicate):
            return ReplicateResult(
                replicate, (), self._run, frozenset(each.name for each in self._conditions)
            )
        outcomes = []
        timed_out = self.timed_out.get(replicate, ())
        owed = self._owed(replicate)
        for condition in self._in_time(replicate, owed):
            if timed_out and condition.name in timed_out:
                assert self.timeout is not None
                error = timeout_error(replicate, condition.name, self.timeout)
                outcomes.append(_given_up(replicate, condition.name, error))
                continue
            for attempt in range(1 + self._retries):
                # Here and not in a generator of its own, which each outcome would pay for.
                started = time.time()
                ctx = condition.new_context(replicate)
                described = None
                forks = len(_forks)
                token = ctx.enter()
                try:
                    if self.timeout is None:
                        yield from self._play(ctx, condition)
                    else:
                        yield from self._play_in_time(ctx, condition)
                except BaseException as raised:  # a step that calls sys.exit() fails like any other
                    if is_addressed_to_the_run(raised):
                        raise
                    if forks != len(_forks):
                        _end_forked_child(raised)
                    ctx.end_stage()
                    described = describe_error(raised, replicate, condition.name, ctx.peek("step_name"))
                finally:
                    ctx.leave(token)
                if forks != len(_forks):
                    _end_forked_child(None)
                trace = self._trace(ctx, condition.name)
                outcome = _outcome(ctx, condition.name, described, started, trace, attempt)
                # What took too long once takes too long again.
                if described is None or described.status != "failed" or attempt == self._retries:
                    break
                ctx.artifacts.discard()
                _logger.info("attempt %d failed and is followed by another: %s", attempt + 1, described)
            outcomes.append(outcome)
        if self._order != INTERLEAVED:
            place = {condition.name: number for number, condition in enumerate(owed)}
            outcomes.sort(key=lambda outcome: place[outcome.condition])
        return _new(ReplicateResult, (replicate, tuple(outcomes), self._run, _NONE_REUSED))

    def _owed(self, replicate: int) -> tuple[Condition, ...]:
        """Return the conditions that a replicate has yet to run."""
        done, dropped = self._done.get(replicate, ()), self.dropped
        if not done and not dropped:
            return self._conditions
        return tuple(
            condition
            for condition in self._conditions
            if condition.name not in done and takes_part(condition.name, replicate, dropped)
        )

    def _in_time(self, replicate: int, owed: Sequence[Condition]) -> Sequence[Condition]:
        """Return the conditions in the order in which they are run; what a resumed replicate lacks, in the same one."""
        if self._order == INTERLEAVED:
            return owed
        order = order_of_conditions(self._order, self._master_seed, replicate, self._conditions)
        names = {condition.name for condition in owed}
        return [condition for condition in order if condition.name in names]

    def _trace(self, ctx: FrozenContext, condition: str) -> Trace:
        """Return the trace, which is the one that the condition left last if it is the same: it is sent and kept once.

        A step that is given up because of its time may go on, and note more in the context; nothing of that is in it.
        """
        noted = tuple(ctx.noted)
        try:
            key = notes_key(noted)
        except ValueError:
            noted = with_plain_names(noted)
            key = notes_key(noted)
        last_key, last = self._last_traces.get(condition, (b"", ()))
        if key == last_key:
            return last
        trace = tuple(trace_of(noted))
        self._last_traces[condition] = key, trace  # another thread may put its own there at once
        return trace

    def _play_in_time(self, ctx: FrozenContext, condition: Condition) -> Flow[Any]:
        replicate, seconds = ctx.peek("replicate"), self.timeout
        assert seconds is not None
        flow = limited(
            self._play_later(ctx, condition), timeout_error(replicate, condition.name, seconds), seconds
        )
        if self.begin_outcome is not None:
            self.begin_outcome(condition.name)
            return (yield from flow)
        with reported(flow, replicate, condition.name, seconds):
            return (yield from flow)

    def _play_later(self, ctx: FrozenContext, condition: Condition) -> Flow[Any]:
        return (yield from self._play(ctx, condition))

    def _play(self, ctx: FrozenContext, condition: Condition) -> Flow[Any]:
        """Run the condition up to its data at once, and return the rest as a flow."""
        if self._before_replicate is not None:
            self._before_replicate(self.experiment, ctx)
        if condition.function is not None:
            ctx.begin_stage(TREATMENT, "treatment")
            returned = condition.function(ctx)
            if returned is not None:
                raise InvalidTypeError(
                    f"treatment {condition.name!r} returned {returned!r}, which nobody uses",
                    ctx.place(),
                    "Give the context what the steps need: ctx.add(key, value)",
                )
        ctx.begin_stage(DATA_SOURCE, "data source")
        if condition.recheck is not None:
            return self._play_and_recheck(ctx, condition, condition.recheck)
        return self._pipeline.flow(condition.fetch(ctx), ctx, self._before_step, self._after_step)

    def _play_and_recheck(
        self, ctx: FrozenContext, condition: Condition, recheck: Callable[[FrozenContext], None]
    ) -> Flow[Any]:
        try:
            data = condition.fetch(ctx)
            returned = yield from self._pipeline.flow(data, ctx, self._before_step, self._after_step)
        except Exception:
            recheck(ctx)  # what has become of the data explains the error
            raise
        recheck(ctx)
        return returned


def describe_error(error: BaseException, replicate: int, condition: str, step: str | None) -> OutcomeError:
    """Describe an exception in plain data, so that it can be sent, stored and compared."""
    frames = users_frames(error)
    if frames is None and not isinstance(error, CrystallizeError):
        frames = error.__traceback__
    lines = traceback.format_exception(type(error), error, frames)
    return OutcomeError(
        replicate=replicate,
        condition=condition,
        step=step,
        kind=_kind(error),
        message=_message(error),
        traceback="".join(lines) if len(lines) > 1 else "",  # a single one is the message
    )


def _given_up(replicate: int, condition: str, error: CrystallizeError) -> Outcome:
    """Return the outcome of a condition that could not be brought to an end."""
    described = OutcomeError(replicate, condition, None, _kind(error), str(error), "")
    return Outcome(condition, seed=None, metrics={}, tags={}, error=described)


def _kind(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as unprintable:  # a foreign __str__ must not take the run down
        return f"<no text: its __str__ raised {type(unprintable).__name__}>"


def _outcome(  # noqa: PLR0917 - with keywords it takes longer, and there is one for each outcome
    ctx: FrozenContext,
    condition: str,
    error: OutcomeError | None,
    started: float,
    trace: Trace,
    attempt: int = 0,
) -> Outcome:
    seconds = time.time() - started
    ctx.is_over = True
    metrics = ctx.metrics
    return _new(
        Outcome,
        (
            condition,
            ctx.peek("seed_used"),
            metrics.values_by_name if error is None else {},
            metrics.tags if error is None else {},
            ctx.artifacts.entries if ctx.artifact_entries else (),
            trace,
            error,
            tuple(ctx.handed_back) if ctx.handed_back else (),
            started,
            seconds if seconds > 0.0 else 0.0,  # the clock may be set back
            attempt,
            None,
            () if ctx.caching is None else tuple(ctx.caching.notes),
        ),
    )


# -- steps that fork ---------------------------------------------------------------------------------------

_forks: list[None] = []
"""As long as the number of forks between this process and the one that imported this module."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forks.append(None))


def _end_forked_child(raised: BaseException | None) -> NoReturn:
    """End a process that a step has forked, as a script ends, before it goes on as a second coordinator."""
    code = 0 if raised is None else 1
    if isinstance(raised, SystemExit):
        code = raised.code if isinstance(raised.code, int) else int(raised.code is not None)
        if code and not isinstance(raised.code, int):
            sys.stderr.write(f"{raised.code}\n")
    elif raised is not None:
        traceback.print_exception(raised)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)


@lru_cache(maxsize=4)
def _unpickled(digest: str, payload: bytes) -> Replicate:
    """Make the object of a payload, once in each worker however often it arrives."""
    make, arguments = pickle.loads(payload)
    made: Replicate = make(*arguments)
    return made


def _functions_of(experiment: RunningExperiment) -> Iterator[Any]:
    for step in experiment.pipeline.steps:
        yield getattr(step, "fn", step)
    for source in (
        experiment.datasource,
        *(each.datasource for each in experiment.active_treatments.values()),
    ):
        yield getattr(source, "fn", getattr(source, "fetch", None))


def _sees_data(record: PluginRecord) -> bool:
    """Tell whether a plugin gets the data between two steps, and may change them."""
    hooks = {each.hook for each in record.implementations}
    return not hooks.isdisjoint({"before_step", "after_step"}) and getattr(
        record.plugin, "affects_outcomes", True
    )
