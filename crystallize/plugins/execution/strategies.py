"""The four execution strategies: serial, thread, process and async.

Each is a plugin that decides how the replicates of a run are driven. All of them return the same list, in
replicate order, for the same experiment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.plugins.base import BasePlugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.experiments.experiment import Experiment
    from crystallize.plugins.execution.progress import ProgressBar

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

logger = logging.getLogger("crystallize.execution")


class SerialExecution(BasePlugin):
    """Run replicates one after another in the coordinator.

    Parameters
    ----------
    progress : bool, default False
        Show a progress bar on standard error.
    """

    def __init__(self, progress: bool = False) -> None:
        self.progress = check_bool("progress", progress)

    def run_experiment_loop(self, experiment: Experiment, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Run all replicates in order; see :func:`crystallize.hookspecs.run_experiment_loop`."""
        with Arrivals(experiment, self.progress) as arrivals:
            for replicate in range(arrivals.replicates):
                arrivals.deliver(replicate, replicate_fn(replicate))
        return arrivals.results


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
    threads_per_worker : int or None
        How many threads the numeric libraries in each worker process may use: cores divided by workers. None
        for threads, before the first run, and if the environment already sets such a limit
        (``OMP_NUM_THREADS`` and the like), which then holds.

    Notes
    -----
    Processes start by ``forkserver``, or by ``spawn`` where there is none. The environment variable
    ``CRYSTALLIZE_START_METHOD`` names one of the two.

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
        self.progress = check_bool("progress", progress)
        self.threads_per_worker: int | None = None
        self._has_warned = False

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments and, for processes, `threads_per_worker`."""
        settings = super().settings
        if self.executor_type == "process":
            settings["threads_per_worker"] = self.threads_per_worker
        return settings

    def run_experiment_loop(self, experiment: Experiment, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Run all replicates in the pool; see :func:`crystallize.hookspecs.run_experiment_loop`.

        Raises
        ------
        SerializationError
            If the experiment cannot be sent to worker processes; the message names the part.
        ExecutionError
            If worker processes cannot be started or kept alive.
        """
        with Arrivals(experiment, self.progress) as arrivals:
            replicates = arrivals.replicates
            if replicates == 0:
                return arrivals.results
            if self.executor_type == "thread":
                from crystallize.plugins.execution.threads import run_in_threads

                workers = min(replicates, self.max_workers or MOST_THREADS)
                if workers > 1 and not self._has_warned:
                    self._has_warned = warn_of_shared_random_state(experiment, "threads")
                run_in_threads(replicate_fn, replicates, workers, arrivals.deliver)
            else:
                from crystallize.plugins.execution.launch import threads_for
                from crystallize.plugins.execution.processes import run_in_processes

                workers = min(replicates, self.max_workers or usable_cores())
                self.threads_per_worker = threads_for(workers, usable_cores())
                run_in_processes(replicate_fn, replicates, workers, arrivals, self.threads_per_worker)
        return arrivals.results


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
        How many replicates are under way at the same time. By default all of them.
    """

    def __init__(self, progress: bool = False, max_concurrency: int | None = None) -> None:
        self.progress = check_bool("progress", progress)
        self.max_concurrency = (
            None if max_concurrency is None else check_count("max_concurrency", max_concurrency)
        )
        self._has_warned = False

    def run_experiment_loop(self, experiment: Experiment, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Run all replicates in an event loop; see :func:`crystallize.hookspecs.run_experiment_loop`."""
        from crystallize.plugins.execution.tasks import run_in_tasks, run_on_loop

        self._warn(experiment)
        home = getattr(replicate_fn, "loop", None)
        with Arrivals(experiment, self.progress) as arrivals:
            if home is None:
                run_in_tasks(
                    replicate_fn,
                    arrivals.replicates,
                    self.max_concurrency,
                    arrivals.deliver,
                    check=arrivals.check,
                )
            else:
                run_on_loop(
                    home,
                    replicate_fn,
                    arrivals.replicates,
                    self.max_concurrency,
                    arrivals.deliver,
                    check=arrivals.check,
                )
        return arrivals.results

    def _warn(self, experiment: Experiment) -> None:
        if self.max_concurrency != 1 and not self._has_warned:
            self._has_warned = warn_of_shared_random_state(experiment, "async replicates")


class Arrivals:
    """The list that a strategy returns, filled as results arrive.

    Parameters
    ----------
    experiment : Experiment
        Its ``replicate_done``, if it has one, is told of each result and decides what is kept of it.
    progress : bool
        Show a progress bar while the context manager is open.

    Attributes
    ----------
    replicates : int
        How many there are to be.
    results : list
        One entry for each replicate.
    check : callable
        Raises if the run was cancelled; to be called now and then while no result arrives.
    """

    def __init__(self, experiment: Experiment, progress: bool) -> None:
        self.replicates: int = experiment.replicates or 0
        self.results: list[Any] = [None] * self.replicates
        self._replicate_done: Callable[[Any], Any] | None = getattr(experiment, "replicate_done", None)
        self.check: Callable[[], None] = getattr(experiment, "check_cancelled", _nothing)
        self._bar: ProgressBar | None = None
        if progress:
            from crystallize.plugins.execution.progress import ProgressBar

            self._bar = ProgressBar(getattr(experiment, "name", None) or "experiment", self.replicates)

    def deliver(self, replicate: int, result: Any) -> None:
        """Take the result of one replicate; call it in the coordinator, one call at a time."""
        kept = result if self._replicate_done is None else self._replicate_done(result)
        self.results[replicate] = kept
        if self._bar is not None:
            self._bar.advance(result)

    def __enter__(self) -> Arrivals:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _nothing() -> None:
    """Stand in for the check of an experiment that cannot be cancelled."""


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def warn_of_shared_random_state(experiment: Experiment, who: str) -> bool:
    """Warn if global generators are seeded while several replicates use them; return whether it did."""
    plugins = getattr(experiment, "plugins", None)
    records = getattr(plugins, "records", None)
    active = [record.plugin for record in records] if records is not None else list(plugins or ())
    if not any(base.__name__ == "SeedPlugin" for plugin in active for base in type(plugin).__mro__):
        return False
    logger.warning(
        "%s share the global random state of random and NumPy, so what SeedPlugin seeds in one replicate, "
        "another one may draw from. Take random numbers from ctx.rng, which is each replicate's own, or use "
        'execution="process" for strict reproducibility of global generators',
        who,
    )
    return True


def check_bool(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} is True or False, got {value!r}")
    return value


def check_count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"{name} is an int of at least 1, or None, got {value!r}")
    if value < 1:
        raise InvalidValueError(
            f"{name} is at least 1, got {value}", hint="Leave it out to have it chosen for you"
        )
    return value


def _check_executor_type(value: object) -> str:
    allowed = sorted(VALID_EXECUTOR_TYPES)
    if not isinstance(value, str):
        raise InvalidTypeError(f"executor_type is one of {allowed}, got {value!r}")
    if value not in VALID_EXECUTOR_TYPES:
        from crystallize.utils.suggest import did_you_mean

        raise InvalidValueError(
            f"there is no executor_type {value!r}, only {allowed}", hint=did_you_mean(value, allowed)
        )
    return value
