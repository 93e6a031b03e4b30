"""An execution strategy for Crystallize on an executor of :mod:`concurrent.futures`."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from crystallize import BasePlugin
from crystallize.plugins.execution import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize import Experiment


class {{ cookiecutter.__class }}(BasePlugin):
    """Run replicates in a pool of threads.

    Any executor with the interface of :mod:`concurrent.futures` can take the pool's place, for example one
    that runs on a cluster. To reach another process, `replicate_fn` and its result can be pickled.

    Parameters
    ----------
    max_workers : int
        How many replicates run at the same time.
    progress : bool
        Show a progress bar.
    """

    def __init__(self, max_workers: int = 4, progress: bool = False) -> None:
        if max_workers < 1:
            raise ValueError(f"max_workers is at least 1, got {max_workers}")
        self.max_workers = max_workers
        self.progress = progress

    def run_experiment_loop(self, experiment: Experiment, replicate_fn: Callable[[int], Any]) -> list[Any]:
        """Run all replicates, and return their results in replicate order."""
        with Arrivals(experiment, self.progress) as arrivals, ThreadPoolExecutor(self.max_workers) as pool:
            try:
                _run(pool, replicate_fn, arrivals)
            except BaseException:  # an error, or Ctrl-C: what has not begun does not begin any more
                pool.shutdown(cancel_futures=True)
                raise
        return arrivals.results


def _run(pool: Executor, replicate_fn: Callable[[int], Any], arrivals: Arrivals) -> None:
    """Hand on each result as it arrives: progress is shown and plugins are called then, not at the end."""
    replicate_of: dict[Future[Any], int] = {
        pool.submit(copy_context().run, replicate_fn, replicate): replicate
        for replicate in range(arrivals.replicates)
    }
    waiting = set(replicate_of)
    while waiting:
        arrived, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
        for future in arrived:
            arrivals.deliver(replicate_of.pop(future), future.result())
        arrivals.check()  # the run may have been cancelled from elsewhere
