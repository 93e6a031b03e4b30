"""One run under way: taking results as they arrive, and what is done with them at the end."""

from __future__ import annotations

import logging
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from crystallize.errors import CrystallizeError, ExecutionError, PluginError
from crystallize.experiments.handover import Handover
from crystallize.plugins.manager import RAISED
from crystallize.store.outcome import ReplicateResult
from crystallize.utils.files import safe_repr
from crystallize.utils.randomness import check_seed
from crystallize.utils.suggest import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.experiments.aggregation import ResultAggregator
    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.replicate import Replicate
    from crystallize.experiments.treatment import Treatment
    from crystallize.results.result import Result
    from crystallize.statistics.hypothesis import Hypothesis

_LONGEST_TEXT = 80
_logger = logging.getLogger("crystallize.experiment")
_OF_THE_RUN = ("active_treatments", "conditions", "replicates", "master_seed", "current_run", "run_token")


_entrance = threading.Lock()  # two threads that start one experiment at once: one of them is told


@contextmanager
def under_way(
    experiment: Experiment,
    kind: Literal["run", "apply"],
    *,
    treatments: dict[str, Treatment],
    conditions: tuple[str, ...],
    replicates: int | None,
    seed: int | None,
) -> Iterator[None]:
    """Let the attributes of `experiment` describe one run while it is under way.

    Plugins look at the experiment from everywhere, so it is this object that tells about the run, not a copy;
    which is why it can do one run at a time.

    Raises
    ------
    ExecutionError
        If it is running already.
    """
    master_seed = experiment.master_seed if seed is None else check_seed(seed)
    with _entrance:
        if experiment.run_kind is not None:
            raise ExecutionError(
                f"experiment {experiment.folder_name!r} is running already",
                hint="Wait for that run to end, or build a second Experiment",
            )
        experiment.run_kind = kind
    before = {name: getattr(experiment, name) for name in _OF_THE_RUN}
    now = (treatments, conditions, replicates, master_seed, None, secrets.token_hex(8))
    try:
        for name, value in zip(_OF_THE_RUN, now, strict=True):
            setattr(experiment, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(experiment, name, value)
        experiment.run_kind = None


class RunCancelled(BaseException):
    """The task that awaited ``Experiment.arun`` was cancelled; a strategy treats it like Ctrl-C."""


class Run:
    """One run of an experiment.

    Parameters
    ----------
    experiment : Experiment
        The experiment, with the replicates and treatments of this run.
    hypotheses : sequence of Hypothesis
        What to ask of the metrics at the end.

    Attributes
    ----------
    handover : Handover
        What hooks in the workers hand back to their plugins.
    cancelled : threading.Event
        Set if the run is to end soon.
    """

    def __init__(self, experiment: Experiment, hypotheses: Sequence[Hypothesis]) -> None:
        self.experiment = experiment
        self.hypotheses = hypotheses
        self.cancelled = threading.Event()
        self._aggregator: ResultAggregator = experiment.aggregator(experiment)
        self._conditions = list(experiment.conditions)
        self._arrived = bytearray(experiment.replicates or 0)
        self.handover = Handover(self._arrived)
        self._failed_conditions: set[str] = set()
        self._hook_error: PluginError | None = None
        self._taken: Any = None  # what the strategy returned, once it was looked through
        self._is_wrapped = False
        self._notices_arrivals = experiment.plugins.caller("after_replicate") is not None

    def drive(self, replicate: Replicate) -> Result:
        """Have the execution strategy run all replicates, and finish."""
        experiment = self.experiment
        try:
            with experiment.plugins.taking_in(self.take_unreported):
                results = experiment.plugins.hook.run_experiment_loop(
                    experiment=experiment, replicate_fn=replicate
                )
        except CrystallizeError:
            raise
        except RAISED as raised:
            raise experiment.plugins.blame("run_experiment_loop", raised) from raised
        if results is not self._taken:  # a wrapper has made something else of them
            self._is_wrapped = True
            self.take_unreported(results)
        return self.finish()

    def take(self, result: Any) -> int:
        """Take the result of one replicate as it arrives; return its number."""
        self.check_cancelled()
        replicate = self._checked(result)
        self._arrived[replicate] = 1
        self._aggregator.add(result)
        for error in result.errors:
            if error.condition not in self._failed_conditions:
                self._failed_conditions.add(error.condition)
                _logger.warning(
                    "experiment %r: first failure of condition %r: %s\n%s",
                    self.experiment.folder_name,
                    error.condition,
                    error,
                    error.traceback,
                )
        if self._notices_arrivals:
            self.handover.arrive(result)
            try:
                self._call_all("after_replicate", result)
            finally:
                self.handover.close()
        return replicate

    def check_cancelled(self) -> None:
        """Raise if the run was cancelled."""
        if self.cancelled.is_set():
            raise RunCancelled

    def finish(self) -> Result:
        """Compare the conditions, tell the plugins, and return the result.

        Raises
        ------
        CrystallizeError
            What a hypothesis or a plugin's hook raised on the way, once everything is stored.
        """
        result = self._aggregator.finish()
        error: CrystallizeError | None = None
        for hypothesis in self.hypotheses:
            try:
                result.metrics.hypotheses.append(
                    hypothesis.evaluate(result.metrics.baseline, result.metrics.treatments)
                )
            except CrystallizeError as raised:
                error = error or raised
        self._call_all("after_run", result)
        self._cry_out(result)
        if self._hook_error is not None:
            raise self._hook_error
        if error is not None:
            raise error
        return result

    def take_unreported(self, results: Any) -> None:
        """Take those of the results that ``run_experiment_loop`` returned and had not reported.

        Raises
        ------
        ExecutionError
            If they are not one for each replicate, in order.
        """
        if not isinstance(results, list):
            raise self._broken_contract(f"returned {type(results).__name__}, not a list")
        if len(results) != len(self._arrived):
            raise self._broken_contract(
                f"returned {len(results)} results for {len(self._arrived)} replicates"
            )
        for position, result in enumerate(results):
            if self._arrived[position] and result == position:
                continue  # replicate_done was told of it
            if not isinstance(result, ReplicateResult) or result.replicate != position:
                raise self._broken_contract(f"returned {_told(result)} in place of replicate {position}")
            if not self._arrived[position]:
                self.take(result)
        self._taken = results

    def _checked(self, result: Any) -> int:
        if not isinstance(result, ReplicateResult):
            raise self._broken_contract(
                f"gave {_told(result)} as a result; results are what replicate_fn returns"
            )
        replicate = result.replicate
        if not 0 <= replicate < len(self._arrived):
            raise self._broken_contract(f"gave replicate {replicate} of {len(self._arrived)}")
        if self._arrived[replicate]:
            raise self._broken_contract(f"gave replicate {replicate} twice")
        conditions = [outcome.condition for outcome in result.outcomes]
        if conditions != self._conditions:
            raise self._broken_contract(
                f"gave replicate {replicate} with the conditions {conditions}, not {self._conditions}"
            )
        if result.run != self.experiment.run_token:
            raise self._broken_contract(f"gave replicate {replicate} of another run")
        return replicate

    def _broken_contract(self, fault: str) -> ExecutionError:
        plugins = self.experiment.plugins
        strategy = f"the execution strategy, {plugins.strategy},"
        names = plugins.order().get("run_experiment_loop", [])
        # What the strategy itself returned was taken inside of the wrappers, and was right.
        wrappers = listed(name for name in names if plugins.strategy is None or name != plugins.strategy.name)
        return ExecutionError(
            f"{f'a wrapper of run_experiment_loop, one of {wrappers},' if self._is_wrapped else strategy} {fault}",
            f"experiment {self.experiment.folder_name!r}",
            "run_experiment_loop returns one result for each replicate, in replicate order",
        )

    def _call_all(self, hook: str, result: Any) -> None:
        """Call a hook of every plugin; its error waits until everything is stored."""
        try:
            self.experiment.plugins.call_all(hook, experiment=self.experiment, result=result)
        except PluginError as raised:
            if self._hook_error is None:
                self._hook_error = raised
            else:
                self._hook_error.add_note(str(raised))

    def _cry_out(self, result: Result) -> None:
        for name in result.conditions:
            errors = result.condition(name).errors
            if errors and len(errors) == result.replicates:
                _logger.error(
                    "experiment %r: every outcome of condition %r failed (%d of %d); the first:\n%s",
                    result.experiment,
                    name,
                    len(errors),
                    result.replicates,
                    errors[0].traceback,
                )


def _told(result: Any) -> str:
    """Name what a strategy gave as a result; a whole result would fill the screen."""
    if isinstance(result, ReplicateResult):
        return f"the result of replicate {result.replicate}"
    text = safe_repr(result)
    return text if len(text) <= _LONGEST_TEXT else f"a {type(result).__name__}"
