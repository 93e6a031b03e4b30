"""Taking in the results of a run as they arrive, and finishing it."""

from __future__ import annotations

import logging
from collections import Counter
from operator import attrgetter, length_hint
from typing import TYPE_CHECKING, Any

from crystallize.errors import (
    CrystallizeError,
    ExecutionError,
    MissingMetricError,
    PluginError,
    RunFailedError,
    StoreError,
)
from crystallize.experiments.failure_policy import how_to_repeat
from crystallize.experiments.handover import Handover
from crystallize.experiments.in_order import InOrder
from crystallize.experiments.order import INTERLEAVED, order_of_replicates
from crystallize.experiments.owed import Owed
from crystallize.experiments.settings import ReadWatch
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.results.result import failures_error, wholly_failed
from crystallize.store.extent import Extent, takes_part
from crystallize.store.outcome import ReplicateResult, warn_of_cache
from crystallize.utils.failures import ADDRESSED_TO_THE_RUN, RunCancelled, safe_repr
from crystallize.utils.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crystallize.experiments.aggregation import ResultAggregator
    from crystallize.experiments.run import Run
    from crystallize.hookspecs import RunningExperiment
    from crystallize.results.result import Result
    from crystallize.statistics.hypothesis import Hypothesis
    from crystallize.store.outcome import Outcome, OutcomeError

_LONGEST_TEXT = 80
_condition_of = attrgetter("condition")
_logger = logging.getLogger("crystallize.experiment")
_failure_logger = logging.getLogger("crystallize.experiment.failures")
_plugin_logger = logging.getLogger("crystallize.plugins")


class Intake:
    """Takes the results of one run, from whatever drives it, and makes the result of the run.

    Parameters
    ----------
    experiment : RunningExperiment
        The experiment, with this run under way.
    run : Run
        The run, with its number of replicates.
    aggregator : ResultAggregator
        Collates the outcomes.
    hypotheses : sequence of Hypothesis
        What to ask of the metrics at the end.

    Attributes
    ----------
    owed : Owed
        What the execution strategy takes its replicates from.
    handover : Handover
        What hooks in the workers hand back to their plugins.
    """

    def __init__(
        self,
        experiment: RunningExperiment,
        run: Run,
        aggregator: ResultAggregator,
        hypotheses: Sequence[Hypothesis],
    ) -> None:
        self.experiment = experiment
        self.run = run
        self.hypotheses = hypotheses
        self._in_order: InOrder | None = None
        if run.stop_when is None:
            self.owed = Owed(order_of_replicates(run.order, run.master_seed, run.replicates or 0))
            self.handover = Handover(self.owed.has_arrived)
        else:
            self._in_order = in_order = InOrder(run.stop_when, run)
            # Replicates come in their order, as the rule looks at them; and nobody knows how many of them will be run:
            # a generator does not tell its length.
            self.owed = Owed(number for number in range(run.replicates or 0))
            self.handover = Handover(lambda number: number < in_order.count, in_order.counts)
        self._aggregator = aggregator
        self._conditions = list(run.conditions)
        self._most = run.replicates
        self._count = 0  # of the replicates that were collated
        self._count_run = 0  # of those that the strategy gave
        self._not_owed: set[int] = (
            set()
        )  # the replicates that were there already, and those that are left out
        self._partial: dict[int, dict[str, Outcome]] = {}  # what was there of others
        self._failed_conditions: set[str] = set()
        self._max_failures = run.failure_policy.max_failures
        self._failures: list[OutcomeError] = []  # if there is a most
        self._has_too_many_failures = False
        self._hook_error: PluginError | None = None  # the first one
        self._failed_hooks: Counter[str] = Counter()
        self._result: Result | None = None  # once all has arrived
        self._taken: Any = None  # what the strategy returned, once it was looked through
        self._is_wrapped = False
        self._read_watch = ReadWatch(experiment)
        self._told_of_cache: set[str] = set()
        self._after_replicate = experiment.plugins.direct("after_replicate")

    def take_stored(self) -> Callable[[int], bool] | None:
        """Take what is there already of a run that is resumed, and leave out what nobody asks for: the rest is owed.

        Plugins are told of what is there in ``after_replicate``, as if it had arrived now.

        Returns
        -------
        callable or None
            Tells of a replicate whether it is not to be run; None if all are.
        """
        run = self.run
        if run.only is not None:
            left_out = [number for number in range(run.replicates or 0) if number not in run.only]
            self._not_owed.update(filter(self.owed.settle, left_out))
        stored, run.stored = run.stored, ()
        all_conditions = frozenset(self._conditions)
        # The plugin that stores runs has nothing to do for them: it is where they come from.
        after_stored = self.experiment.plugins.direct("after_replicate", but_for=ArtifactPlugin)
        for replicate, outcomes, _, _ in stored:
            if run.replicates is not None and replicate >= run.replicates:
                continue  # of a run that a rule watched
            if len(outcomes) < len(all_conditions) and not self._is_enough(replicate, outcomes):
                self._partial[replicate] = {outcome.condition: outcome for outcome in outcomes}
                run.done[replicate] = frozenset(self._partial[replicate])
            elif self.owed.settle(replicate):
                self._not_owed.add(replicate)
                self._collate(ReplicateResult(replicate, outcomes, run.token, all_conditions), after_stored)
        if self._in_order is not None:
            return lambda replicate: replicate in self._not_owed or self._is_left_out(replicate)
        return self._not_owed.__contains__ if self._not_owed else None

    def _is_enough(self, replicate: int, outcomes: Sequence[Outcome]) -> bool:
        """Tell whether the outcomes that are there of a replicate are all that a rule still asks for."""
        if self._in_order is None:
            return False
        return {*self._in_order.owed_conditions(replicate)} <= {each.condition for each in outcomes}

    def _is_left_out(self, replicate: int) -> bool:
        """Tell whether a rule has seen enough without a replicate."""
        return self._in_order is not None and self._in_order.is_over and replicate >= self._in_order.count

    def drive(self, replicate_fn: Callable[[int], Any]) -> Result:
        """Have the execution strategy run all replicates, and finish.

        Raises
        ------
        RunFailedError
            If more outcomes failed than the run allows.
        BaseException
            What ended the run; once an outcome has arrived, with all that was measured as its ``result``.
        """
        try:
            if length_hint(self.owed, 1):
                self._have_strategy_drive(replicate_fn)
            return self.finish()
        except BaseException as error:
            self._give_result_to(error)
            raise

    def _have_strategy_drive(self, replicate_fn: Callable[[int], Any]) -> None:
        experiment = self.experiment
        try:
            with experiment.plugins.taking_in(self.take_unreported):
                results = experiment.plugins.hook.run_experiment_loop(
                    experiment=experiment, replicate_fn=replicate_fn
                )
        except RunCancelled:
            if self._has_too_many_failures:
                raise self._failed_run() from None
            raise
        except (CrystallizeError, *ADDRESSED_TO_THE_RUN):
            raise
        except BaseException as raised:
            raise experiment.plugins.error_of("run_experiment_loop", raised) from raised
        if results is not self._taken:  # a wrapper has made something else of them
            self._is_wrapped = True
            self.take_unreported(results)

    def _failed_run(self) -> CrystallizeError:
        experiment, count = self.experiment, len(self._failures)
        return failures_error(
            self._failures,
            f"the run of {experiment.folder_name!r} has stopped: {counted(count, 'outcome')} failed, and max_failures "
            f"is {self._max_failures}",
            self._how_to_go_on(),
        )

    def _how_to_go_on(self) -> str:
        if self.experiment.plugins.find(ArtifactPlugin) is None:
            return ""
        return "What was measured is stored, and a run with strategy='resume', or --resume, goes on with it"

    def _give_result_to(self, error: BaseException) -> None:
        """Have an error that ends the run carry what was measured."""
        in_order = self._in_order
        parts: list[ReplicateResult] = []
        if in_order is None or not in_order.is_over:
            for each in () if in_order is None else in_order.held_back():
                self._add(each)
            extent = Extent(dropped=self.run.dropped)
            parts = list(self._still_owed(extent))
            for part in parts:
                self._count += len(part.outcomes) == extent.count_owed(part.replicate, self._conditions)
                self._aggregator.add(part)
        if not self._count and not parts:
            return
        try:
            result = self._result or self._collated()
        except Exception:  # an aggregator of the user's may need all results
            _logger.warning("what was measured cannot be collated, for the run was broken off", exc_info=True)
            return
        if in_order is not None and in_order.is_over:
            result.tell_stopping(in_order.stopping())
        result.arrived = self._count
        vars(error)["result"] = result
        arrived = f"{self._count} of {self.run.replicates}" if self.run.replicates else str(self._count)
        error.add_note(f"What was measured is in this error's attribute `result`: {arrived} replicates")
        says_so = isinstance(error, RunFailedError)
        cannot_be_stored = isinstance(error.__cause__, StoreError)
        if result.path is None and not says_so and not cannot_be_stored and (how := self._how_to_go_on()):
            error.add_note(how)

    def _still_owed(self, extent: Extent) -> Iterator[ReplicateResult]:
        """Yield what earlier sessions have left of the replicates that are owed: some conditions, and failures."""
        failed, end = self.run.failed, self.run.replicates
        for replicate in sorted({*self._partial, *failed}):
            if self.owed.has_arrived(replicate) or (end is not None and replicate >= end):
                continue
            there = {**failed.get(replicate, {}), **self._partial.get(replicate, {})}
            counts = (name for name in self._conditions if name in there and extent.includes(replicate, name))
            yield ReplicateResult(replicate, tuple([there[name] for name in counts]), self.run.token)

    def take(self, result: Any) -> int:
        """Take the result of one replicate as it arrives; return its number.

        Raises
        ------
        RunCancelled
            If the run was cancelled, or more outcomes have failed than it allows, when this is told for the first
            time; the result was taken.
        """
        number = getattr(result, "replicate", None)
        if self._not_owed and number in self._not_owed:
            return int(result.replicate)  # from a strategy that does not ask what is owed
        if self._in_order is not None and type(number) is int and self._is_left_out(number):
            # It was in flight when the rule had seen enough.
            self._count_run += self.owed.settle(number)
            return number
        replicate = self._checked(result)
        if not self.owed.settle(replicate):
            raise self._broken_contract(f"gave replicate {replicate} twice")
        self._count_run += 1
        if self._partial and replicate in self._partial:
            result = self._completed(result)
        self._collate(result, self._after_replicate)
        if replicate == 0:  # the first, under any strategy: it decides alike
            for hypothesis in self.hypotheses:
                hypothesis.check_first_replicate(result.outcomes)
        if self._max_failures is not None and not self.run.is_cancelled:
            self._has_too_many_failures = self.run.is_cancelled = len(self._failures) > self._max_failures
        self.run.check_cancelled()
        return replicate

    def _completed(self, result: ReplicateResult) -> ReplicateResult:
        """Return the result of a replicate with the outcomes that were there already."""
        there = self._partial.pop(result.replicate)
        found = there | {outcome.condition: outcome for outcome in result.outcomes}
        outcomes = tuple(found[name] for name in self._conditions if name in found)
        return result._replace(outcomes=outcomes, reused=frozenset(there))

    def _collate(
        self,
        result: ReplicateResult,
        after_replicate: Callable[[RunningExperiment, ReplicateResult], None] | None,
    ) -> None:
        if self._in_order is None:
            self._add(result)
        else:
            self._add_in_order(self._in_order, result)
        if self._read_watch.is_watching:
            self._read_watch.look(result)
        for outcome in result.outcomes:
            if outcome.cache:
                warn_of_cache(outcome.cache, self._told_of_cache)
            if outcome.error is not None:
                self._note_failure(outcome.error)
        if after_replicate is not None:
            self.handover.arrive(result)
            try:
                after_replicate(self.experiment, result)
            except PluginError as raised:
                self._keep(raised, run_goes_on=True)
            finally:
                self.handover.close()

    def _add(self, result: ReplicateResult) -> None:
        self._count += 1
        self._aggregator.add(result)

    def _add_in_order(self, in_order: InOrder, result: ReplicateResult) -> None:
        """Collate what counts of the replicates whose turn it is, and end the run if the rule has seen enough."""
        for each in in_order.take(result):
            self._add(each)
        if in_order.is_over:
            self.owed.end()
            self.run.replicates = in_order.count

    def _note_failure(self, error: OutcomeError) -> None:
        if self._max_failures is not None:
            self._failures.append(error)
        if error.condition not in self._failed_conditions:
            self._failed_conditions.add(error.condition)
            _failure_logger.warning(
                "experiment %r: first failure of condition %r: %s\n%s%s",
                self.experiment.folder_name,
                error.condition,
                error,
                error.traceback,
                "" if len(self._failed_conditions) > 1 else how_to_repeat(self.experiment, error),
            )

    def finish(self) -> Result:
        """Compare the conditions, tell the plugins, and return the result.

        Raises
        ------
        MissingMetricError
            If a condition lacks a metric that a hypothesis asks for, once everything is stored.
        PluginError
            What a plugin's hook raised on the way, once everything is stored.
        """
        self._result = result = self._collated()
        if self._in_order is not None:
            result.tell_stopping(self._in_order.stopping())
        if self.run.only is not None:
            result.arrived = self._count
        error: CrystallizeError | None = None
        metrics = result.metrics
        for hypothesis in self.hypotheses:
            metrics.hypotheses.append(hypothesis.compare(metrics.baseline, metrics.treatments))
            try:
                hypothesis.check_recorded(metrics.conditions)
            except MissingMetricError as raised:
                error = error or raised
        self._call("after_run", result)
        _report_total_failures(result)
        if self.run.kind == "run":
            self._read_watch.warn()
        if self._hook_error is not None:
            for raised_in, count in self._failed_hooks.items():
                if count > 1:
                    self._hook_error.add_note(f"{raised_in} {count} times")
            raise self._hook_error
        if error is not None:
            raise error
        return result

    def _collated(self) -> Result:
        """Return the result of what has arrived, with what is known of the run itself."""
        result = self._aggregator.finish()
        result.preregistration = self.run.preregistration
        result.shared_inputs = self.run.shared_inputs
        result.stopped_inputs = self.run.stopped_inputs
        return result

    def take_unreported(self, results: Any) -> None:
        """Take those of the results that ``run_experiment_loop`` returned and had not reported.

        Raises
        ------
        ExecutionError
            If they are not those of all replicates that were owed; in order, unless the run's is randomised.
        """
        if not isinstance(results, list):
            raise self._broken_contract(f"returned {type(results).__name__}, not a list")
        if not self.owed.is_settled_by(results):
            self._take_one_by_one(results)
        if lost := self.owed.lost():
            raise self._broken_contract(
                f"returned without replicate {lost[0]}, which it had taken"
                + (f", and without {len(lost) - 1} more" if len(lost) > 1 else "")
            )
        undone = next(self.owed, None)
        if undone is not None:
            raise self._broken_contract(f"returned and left replicate {undone} undone")
        if len(results) < self._count_run:
            raise self._broken_contract(f"returned {len(results)} results of {self._count_run} replicates")
        self._taken = results

    def _take_one_by_one(self, results: list[Any]) -> None:
        last = -1
        returned: set[int] = set()  # if they may come in any order
        for result in results:
            replicate = result if type(result) is int else getattr(result, "replicate", None)
            if type(replicate) is not int or replicate < 0:
                raise self._broken_contract(f"returned {_described(result)} in place of a result")
            if replicate == last or replicate in returned:
                raise self._broken_contract(f"returned replicate {replicate} twice")
            if self.run.order != INTERLEAVED:
                returned.add(replicate)
            elif replicate < last:
                raise self._broken_contract(f"returned replicate {replicate} after replicate {last}")
            last = replicate
            if not self.owed.has_arrived(replicate):
                if not isinstance(result, ReplicateResult):
                    raise self._broken_contract(
                        f"returned {replicate} for a replicate that it never reported"
                    )
                self.take(result)

    def _checked(self, result: Any) -> int:
        if not isinstance(result, ReplicateResult):
            raise self._broken_contract(
                f"gave {_described(result)} as a result; results are what replicate_fn returns"
            )
        replicate = result.replicate
        if replicate < 0 or (self._most is not None and replicate >= self._most):
            raise self._broken_contract(f"gave replicate {replicate} of {self._most}")
        conditions, owed = list(map(_condition_of, result.outcomes)), self._conditions
        if self._partial and replicate in self._partial:
            owed = [name for name in owed if name not in self._partial[replicate]]
        if conditions != owed and self.run.dropped:  # a worker may not have heard of it, or not yet
            owed = [
                name for name in owed if name in conditions or takes_part(name, replicate, self.run.dropped)
            ]
        if conditions != owed:
            raise self._broken_contract(
                f"gave replicate {replicate} with the conditions {conditions}, not {owed}"
            )
        if result.run != self.run.token:
            raise self._broken_contract(f"gave replicate {replicate} of another run")
        return replicate

    def _broken_contract(self, fault: str) -> ExecutionError:
        plugins = self.experiment.plugins
        strategy = f"the execution strategy, {plugins.strategy},"
        # What the strategy itself returned was taken inside of the wrappers, and was right.
        around = plugins.implementers("run_experiment_loop")
        wrappers = listed(record.name for record, each in around if each.wrapper or each.hookwrapper)
        return ExecutionError(
            f"{f'a wrapper of run_experiment_loop, one of {wrappers},' if self._is_wrapped else strategy} {fault}",
            f"experiment {self.experiment.folder_name!r}",
            "run_experiment_loop returns one result for each replicate that is owed, in replicate order",
        )

    def _call(self, hook: str, result: Any) -> None:
        """Call a hook of every plugin; its error waits until everything is stored."""
        try:
            self.experiment.plugins.call(hook, experiment=self.experiment, result=result)
        except PluginError as raised:
            self._keep(raised, run_goes_on=False)

    def _keep(self, error: PluginError, *, run_goes_on: bool) -> None:
        """Keep what hooks raised until everything is stored; but if nothing can be stored any more, raise it now.

        Of each plugin's hook, the first error is told; of those that follow, there may be one for each replicate.
        """
        if isinstance(error.__cause__, StoreError):
            raise error
        first = self._hook_error = self._hook_error or error
        for each in (error, *error.others):
            self._failed_hooks[each.raised_in] += 1
            if self._failed_hooks[each.raised_in] == 1:
                if run_goes_on or each is not first:
                    _plugin_logger.warning("%s", each)
                if error is not first:
                    first.add_note(f"Also: {each}")


def _report_total_failures(result: Result) -> None:
    for each in wholly_failed(result):
        _failure_logger.error(
            "experiment %r: every outcome of condition %r failed (%d of %d), first %s",
            result.experiment,
            each.name,
            len(each.errors),
            result.replicates,
            each.errors[0],  # its traceback stands where it failed
        )


def _described(result: Any) -> str:
    """Name what a strategy gave as a result; a whole result would fill the screen."""
    if isinstance(result, ReplicateResult):
        return f"the result of replicate {result.replicate}"
    text = safe_repr(result)
    return text if len(text) <= _LONGEST_TEXT else f"a {type(result).__name__}"
