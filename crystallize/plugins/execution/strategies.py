"""The four execution strategies: serial, thread, process and async.

Each is a plugin that decides how the replicates of a run are driven. All of them return the same list, in
replicate order, for the same experiment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import BasePlugin
from crystallize.plugins.execution.collector import ResultCollector
from crystallize.plugins.execution.shared_random_state import SharedRandomState, warn_of_shared_random_state
from crystallize.plugins.execution.surroundings import usable_cores
from crystallize.utils.checks import check_bool, check_count

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "VALID_EXECUTOR_TYPES",
    "AsyncExecution",
    "ParallelExecution",
    "ProcessExecution",
    "SerialExecution",
    "ThreadExecution",
]

VALID_EXECUTOR_TYPES = frozenset({"thread", "process"})
"""What :class:`ParallelExecution` takes as its `executor_type`."""

MOST_THREADS = 32
"""How many threads `max_workers=None` starts at most."""


class SerialExecution(BasePlugin):
    """Run replicates one after another in the coordinator.

    Parameters
    ----------
    progress : bool, default False
        Show a progress bar on standard error.
    """

    def __init__(self, progress: bool = False) -> None:
        self.progress = check_bool("progress", progress)

    def run_experiment_loop(self, experiment: Any, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Run all replicates in order; see :func:`crystallize.hookspecs.run_experiment_loop`."""
        with ResultCollector(experiment, self.progress) as collector:
            for replicate in collector.owed:
                collector.add(replicate, replicate_fn(replicate))
        return collector.results


class ParallelExecution(BasePlugin):
    """Run replicates at the same time, in threads or in processes.

    Threads suit replicates that wait for something, or whose work releases the interpreter's lock; they
    share global random state, so take random numbers from ``ctx.rng``. Processes suit work in Python. The
    experiment is sent once to each process: its functions may be lambdas, closures or defined in
    ``__main__``, and a script needs no ``if __name__ == "__main__"``. What cannot be sent, such as a
    connection, is made in each worker by :func:`crystallize.resource_factory`.

    Parameters
    ----------
    max_workers : int, optional
        The number of threads or processes. By default as many as there are replicates, but at most 32
        threads, or as many processes as there are cores that this process may use.
    executor_type : {"thread", "process"}, default "thread"
        What a worker is.
    progress : bool, default False
        Show a progress bar on standard error.

    Attributes
    ----------
    workers : int or None
        How many threads or processes the last run had.
    threads_per_worker : int or None
        How many threads the numeric libraries in each worker process may use: cores divided by workers. None
        for threads, before the first run, and if the environment already sets such a limit
        (``OMP_NUM_THREADS`` and the like), which then holds.

    Notes
    -----
    Processes start by ``forkserver``, or by ``spawn`` where there is none. The environment variable
    ``CRYSTALLIZE_START_METHOD`` names one of the two; anything else is an InvalidValueError.

    A worker process that dies is replaced. The replicate that it was working on is tried once more, and if
    it kills its worker again, its outcomes are errors. Whatever had finished is kept.

    Ctrl-C stops the run when the replicates in flight are through (threads; a second Ctrl-C abandons them)
    or at once (processes).
    """

    def __init__(
        self, max_workers: int | None = None, executor_type: str = "thread", progress: bool = False
    ) -> None:
        self.max_workers = None if max_workers is None else check_count("max_workers", max_workers)
        self.executor_type = _check_executor_type(executor_type)
        if executor_type == "process" and "CRYSTALLIZE_START_METHOD" in os.environ:
            from crystallize.plugins.execution.launch import start_method

            start_method()  # a wrong one is told now, and not when the run has begun
        self.progress = check_bool("progress", progress)
        self.workers: int | None = None
        self.threads_per_worker: int | None = None
        self._has_warned = False

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, `workers` and, for processes, `threads_per_worker`."""
        settings = super().settings | {"workers": self.workers}
        if self.executor_type == "process":
            settings["threads_per_worker"] = self.threads_per_worker
        return settings

    @hookimpl(tryfirst=True)  # before a worker's run has a folder, which would be left behind
    def before_run(self, experiment: Any) -> None:
        """Refuse to run in processes what a worker runs while it imports a module."""
        if self.executor_type == "process" and experiment.run_kind == "run":
            from crystallize.plugins.execution.launch import check_not_loading

            check_not_loading()

    def run_experiment_loop(self, experiment: Any, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Run all replicates in the pool; see :func:`crystallize.hookspecs.run_experiment_loop`.

        Raises
        ------
        SerializationError
            If the experiment cannot be sent to worker processes; the message names the part.
        ExecutionError
            If worker processes cannot be started or kept alive.
        """
        with ResultCollector(experiment, self.progress) as collector:
            most = self.max_workers or (MOST_THREADS if self.executor_type == "thread" else usable_cores())
            self.workers = workers = min(collector.count_owed(most), most)
            if workers == 0:
                return collector.results
            if self.executor_type == "thread":
                from crystallize.plugins.execution.threads import run_in_threads

                if workers > 1 and not self._has_warned:
                    self._has_warned = warn_of_shared_random_state(experiment, "threads")
                run_in_threads(replicate_fn, collector.owed, workers, collector.add)
            else:
                from crystallize.plugins.execution.launch import threads_for
                from crystallize.plugins.execution.processes import run_in_processes

                self.threads_per_worker = threads_for(workers, usable_cores())
                run_in_processes(replicate_fn, workers, collector, self.threads_per_worker)
        return collector.results


class ThreadExecution(ParallelExecution):
    """Run replicates in threads: ``execution="thread"``; see :class:`ParallelExecution`.

    Parameters
    ----------
    max_workers : int, optional
        The number of threads. By default as many as there are replicates, but at most 32.
    progress : bool, default False
        Show a progress bar on standard error.
    """

    def __init__(self, max_workers: int | None = None, progress: bool = False) -> None:
        super().__init__(max_workers, "thread", progress)


class ProcessExecution(ParallelExecution):
    """Run replicates in processes: ``execution="process"``; see :class:`ParallelExecution`.

    Parameters
    ----------
    max_workers : int, optional
        The number of processes. By default as many as there are replicates, but at most one for each core
        that this process may use.
    progress : bool, default False
        Show a progress bar on standard error.
    """

    environment: ClassVar[Mapping[str, str]] = {
        "CRYSTALLIZE_START_METHOD": "how worker processes start: forkserver or spawn",
        "OMP_NUM_THREADS": "if it or another such limit is set, it holds in the workers, instead of cores / workers",
    }

    def __init__(self, max_workers: int | None = None, progress: bool = False) -> None:
        super().__init__(max_workers, "process", progress)


class AsyncExecution(BasePlugin):
    """Run replicates as tasks of one event loop, for steps that are ``async def``.

    They share one thread: a step that does not await keeps the others waiting, and global random state is
    shared, so take random numbers from ``ctx.rng``. ``run`` works where a loop is already running, as in a
    notebook: the tasks then run in a helper thread. ``await experiment.arun()`` runs them in that loop.

    Parameters
    ----------
    progress : bool, default False
        Show a progress bar on standard error.
    max_concurrency : int, optional
        How many replicates are under way at the same time. By default all of them, or 100 where it is not known
        beforehand how many there are.
    """

    def __init__(self, progress: bool = False, max_concurrency: int | None = None) -> None:
        self.progress = check_bool("progress", progress)
        self.max_concurrency = (
            None if max_concurrency is None else check_count("max_concurrency", max_concurrency)
        )
        self._has_warned = False

    def run_experiment_loop(self, experiment: Any, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Run all replicates in an event loop; see :func:`crystallize.hookspecs.run_experiment_loop`."""
        with ResultCollector(experiment, self.progress) as collector:
            if not getattr(replicate_fn, "is_async", True):
                for replicate in collector.owed:
                    collector.add(replicate, replicate_fn(replicate))
                    if replicate_fn.is_async:  # type: ignore[attr-defined]
                        break  # a function returned what is to be awaited: from now on there is a loop
                else:
                    return collector.results
            self._run_in_loop(experiment, replicate_fn, collector)
        return collector.results

    def _run_in_loop(
        self, experiment: Any, replicate_fn: Callable[[int], Any], collector: ResultCollector
    ) -> None:
        from crystallize.plugins.execution.tasks import run_in_tasks

        shared = None
        if self.max_concurrency != 1 and not self._has_warned:
            shared = SharedRandomState(experiment, "async replicates", collector.add)
        run_in_tasks(
            replicate_fn,
            collector.owed,
            max_concurrency=self.max_concurrency,
            deliver=collector.add if shared is None else shared.deliver,
            check=collector.check_cancelled,
            loop=getattr(replicate_fn, "loop", None),
        )
        if shared is not None:
            shared.look()
            self._has_warned = shared.has_warned


def _check_executor_type(value: object) -> str:
    allowed = sorted(VALID_EXECUTOR_TYPES)
    if not isinstance(value, str):
        raise InvalidTypeError(f"executor_type is one of {allowed}, got {value!r}")
    if value not in VALID_EXECUTOR_TYPES:
        from crystallize.utils.wording import did_you_mean

        raise InvalidValueError(
            f"there is no executor_type {value!r}, only {allowed}", hint=did_you_mean(value, allowed)
        )
    return value
