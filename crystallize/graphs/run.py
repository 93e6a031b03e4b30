"""One run of a graph: each experiment runs as soon as those that it depends on have finished."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from crystallize.datasources.artifact import Artifact, ArtifactSource
from crystallize.datasources.datasource import chosen_runs
from crystallize.errors import CrystallizeError, GraphRunError
from crystallize.graphs.dependencies import downstream_of, files_of, sources_of
from crystallize.plugins.execution import AsyncExecution, ParallelExecution, SerialExecution
from crystallize.plugins.seed import SeedPlugin
from crystallize.results.result import wholly_failed
from crystallize.store.metadata import run_token
from crystallize.utils.aio import close_loop
from crystallize.utils.failures import RunCancelled, error_text
from crystallize.utils.signals import termination_ends_the_run

if TYPE_CHECKING:
    from crystallize.experiments.experiment import Experiment
    from crystallize.graphs.dependencies import Nodes
    from crystallize.graphs.planning import Plan
    from crystallize.results.result import Result

_logger = logging.getLogger("crystallize.graph")
_SECONDS_BETWEEN_CHECKS = 1.0
_SECONDS_BETWEEN_CANCELS = 0.05


class _Finished(NamedTuple):
    name: str
    result: Result | None
    error: BaseException | None


class GraphRun:
    """Runs the experiments of a graph, several at a time.

    Parameters
    ----------
    nodes : mapping of str to Experiment
        The experiments.
    plan : Plan
        What to do. Among the experiments that could run, the earlier one in its order starts first.
    max_concurrency : int
        How many may run at the same time.
    has_warned : bool
        Whether the user knows of the random state that they share.
    strategy : {"rerun", "resume"}
        What to do about earlier runs.
    """

    def __init__(
        self,
        nodes: Nodes,
        plan: Plan,
        max_concurrency: int,
        *,
        has_warned: bool,
        strategy: str,
    ) -> None:
        self.nodes = nodes
        self._strategy = strategy
        self.plan = plan
        self.order = plan.order
        self.results: dict[str, Result] = {}
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.has_warned = has_warned
        self._max_concurrency = max_concurrency
        self._downstream = downstream_of(plan.upstream)
        self._waiting_for = {name: len(producers) for name, producers in plan.upstream.items()}
        self._position = {name: index for index, name in enumerate(self.order)}
        self._ready = [index for index, name in enumerate(self.order) if not self._waiting_for[name]]
        self._running: dict[str, Experiment] = {}
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[tuple[str, Context] | None] = SimpleQueue()
        self._finished: SimpleQueue[_Finished] = SimpleQueue()
        self._first_error: BaseException | None = None
        self._cancelled = threading.Event()
        self._ended = threading.Event()

    def run(self) -> dict[str, Result]:
        """Run everything that can be run, and return the results in topological order.

        Raises
        ------
        GraphRunError
            If experiments failed, once all that do not depend on them have finished.
        BaseException
            ``KeyboardInterrupt`` and the like, once the experiments that were running have stopped. A second
            Ctrl-C abandons them. The results of all that ran are its ``results``.

        What had been measured of an experiment that failed, or was stopped, is among the error's results.
        """
        try:
            with termination_ends_the_run():
                self._run_all()
        except BaseException as error:
            self.cancel()
            self._stop_threads()
            self._wait_for_running()
            vars(error)["results"] = self.results
            raise
        finally:
            self._ended.set()
            self._stop_threads()
        for thread in self._threads:
            thread.join()
        self.results = {name: self.results[name] for name in self.order if name in self.results}
        if self.failed:
            raise self._graph_error() from self._first_error
        return self.results

    def cancel(self) -> None:
        """Start no further experiment and have those that are running end soon; from any thread."""
        if not self._cancelled.is_set():
            self._cancelled.set()
            threading.Thread(
                target=self._cancel_running, name="crystallize-graph-cancel", daemon=True
            ).start()

    # -- running -------------------------------------------------------------------------------------------

    def _run_all(self) -> None:
        while self._ready or self._running:
            if self._cancelled.is_set():
                raise RunCancelled
            # A thread is for what runs beside something else: a chain needs none.
            if not self._running and (len(self._ready) == 1 or self._max_concurrency == 1):
                self._record(self._run_experiment(self._next_ready()))
                continue
            while self._ready and len(self._running) < self._max_concurrency:
                self._start(self._next_ready())
            self._record(self._next_finished())

    def _next_ready(self) -> str:
        name = self.order[heapq.heappop(self._ready)]
        self._running[name] = self.nodes[name]
        return name

    def _start(self, name: str) -> None:
        self._warn_of_shared_random_state()
        self._tasks.put((name, copy_context()))
        if len(self._threads) < len(self._running):
            number = len(self._threads)
            thread = threading.Thread(target=self._run_tasks, name=f"crystallize-graph-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _stop_threads(self) -> None:
        """Have each thread end after its present experiment."""
        for _ in self._threads:
            self._tasks.put(None)

    def _run_tasks(self) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                name, context = task
                self._finished.put(context.run(self._run_experiment, name))
        finally:
            close_loop()

    def _run_experiment(self, name: str) -> _Finished:
        try:
            if self._cancelled.is_set():
                raise RunCancelled
            with self._reading_what_was_made(name):
                result = self.nodes[name].run(
                    treatments=self.plan.treatments[name],
                    hypotheses=() if name in self.plan.without_hypotheses else None,
                    replicates=self.plan.asked_replicates,
                    strategy=self._strategy,
                    stop_when=self.plan.rules[name],
                )
        except BaseException as error:  # the coordinator decides what an error means
            return _Finished(name, None, error)
        return _Finished(name, result, None)

    @contextmanager
    def _reading_what_was_made(self, name: str) -> Iterator[None]:
        """Have an experiment read the runs of this graph, though another process may have made newer ones."""
        swapped = (each.datasource for each in self.plan.treatments[name])
        sources = [*sources_of(self.nodes[name]), *filter(None, swapped)]
        artifacts = {
            (location.experiment, leaf.name)
            for source in sources
            for leaf in source.leaves()
            if isinstance(leaf, Artifact | ArtifactSource)
            for location in leaf.producers()
        }
        inputs = [
            {
                "experiment": producer,
                "artifact": artifact,
                "version": made.path.name,
                "run": run_token(made.path),
            }
            for producer, artifact in artifacts
            if (made := self.results.get(producer)) is not None and made.path is not None
        ]
        with chosen_runs(sources, inputs):
            yield

    def _next_finished(self) -> _Finished:
        while True:
            try:
                return self._finished.get(timeout=_SECONDS_BETWEEN_CHECKS)  # Ctrl-C comes through everywhere
            except Empty:
                continue

    def _wait_for_running(self) -> None:
        while self._running:
            try:
                finished = self._finished.get(timeout=_SECONDS_BETWEEN_CHECKS)
                self._running.pop(finished.name, None)
                self._keep(finished)
            except Empty:  # Ctrl-C may have come before a thread began
                if self._finished.empty() and not any(thread.is_alive() for thread in self._threads):
                    self._running.clear()

    def _cancel_running(self) -> None:
        """Cancel what is running, repeatedly: an experiment that is about to begin does not notice it."""
        while True:
            for experiment in list(self._running.values()):
                experiment.cancel()
            if self._ended.wait(_SECONDS_BETWEEN_CANCELS):
                return

    # -- what comes back -----------------------------------------------------------------------------------

    def _record(self, finished: _Finished) -> None:
        name, result, error = finished
        del self._running[name]
        self._keep(finished)
        if error is not None and not isinstance(error, Exception):
            raise error
        if result is None:
            # The kind of an error of ours adds nothing to its text.
            told = error_text(error) if error and not isinstance(error, CrystallizeError) else str(error)
            self._fail(name, told, error)
            return
        if failed := wholly_failed(result):
            first = failed[0]
            reason = f"every outcome of condition {first.name!r} failed, first {first.errors[0]}"
            self._fail(name, reason, None)
            return
        for consumer in self._downstream[name]:
            self._waiting_for[consumer] -= 1
            if not self._waiting_for[consumer] and consumer not in self.skipped:
                heapq.heappush(self._ready, self._position[consumer])

    def _keep(self, finished: _Finished) -> None:
        result = finished.result or getattr(finished.error, "result", None)
        if result is not None:
            self.results[finished.name] = result

    def _fail(self, name: str, reason: str, error: BaseException | None) -> None:
        self.failed[name] = reason
        self._first_error = self._first_error or error
        dependent = [*self._downstream[name]]
        left_out: list[str] = []
        while dependent:
            consumer = dependent.pop()
            if consumer not in self.skipped:
                self.skipped[consumer] = name
                left_out.append(consumer)
                dependent += self._downstream[consumer]
        left_out.sort(key=self._position.__getitem__)
        _logger.error(
            "experiment %r failed: %s%s",
            name,
            reason,
            f"; left out, because they depend on it: {', '.join(map(repr, left_out))}" if left_out else "",
        )

    def _graph_error(self) -> GraphRunError:
        failed = {name: self.failed[name] for name in self.order if name in self.failed}
        skipped = {name: self.skipped[name] for name in self.order if name in self.skipped}
        what = f"{len(failed)} of {len(self.order)} experiments failed: " + "; ".join(
            f"{name!r}: {reason}" for name, reason in failed.items()
        )
        if skipped:
            what += ". Left out: " + ", ".join(
                f"{name!r} (depends on {cause!r})" for name, cause in skipped.items()
            )
        return GraphRunError(
            what,
            files_of(self.nodes[name] for name in failed),
            "The results of all that ran are in the error's `results`",
            results=self.results,
            failed=failed,
            skipped=skipped,
        )

    # -- random state --------------------------------------------------------------------------------------

    def _warn_of_shared_random_state(self) -> None:
        """Warn once if global generators are seeded while several experiments use them."""
        if self.has_warned or len(self._running) < 2:
            return
        sharing = [each for each in self._running.values() if _runs_in_this_process(each)]
        if len(sharing) > 1 and any(each.plugins.find(SeedPlugin) for each in sharing):
            self.has_warned = True
            _logger.warning(
                "experiments of a graph that run at the same time share the global random state of random and "
                "NumPy, so what SeedPlugin seeds in one, another one may draw from. Take random numbers from "
                "ctx.rng, which is each replicate's own, or give the graph max_concurrency=1, or its experiments "
                'execution="process", for strict reproducibility of global generators'
            )


def _runs_in_this_process(experiment: Experiment) -> bool:
    record = experiment.plugins.strategy
    plugin = None if record is None else record.plugin
    if isinstance(plugin, ParallelExecution):
        return plugin.executor_type == "thread"
    return isinstance(plugin, SerialExecution | AsyncExecution)
