"""An execution strategy for Crystallize on an executor of :mod:`concurrent.futures`."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, Any

from crystallize import BasePlugin
from crystallize.plugins.execution import ResultCollector

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
        with (
            ResultCollector(experiment, self.progress) as collector,
            ThreadPoolExecutor(self.max_workers) as pool,
        ):
            try:
                _run(pool, self.max_workers, replicate_fn, collector)
            except BaseException:  # an error, or Ctrl-C: what has not begun does not begin any more
                pool.shutdown(cancel_futures=True)
                raise
        return collector.results


def _run(
    pool: Executor, workers: int, replicate_fn: Callable[[int], Any], collector: ResultCollector
) -> None:
    """Hand on each result as it arrives: progress is shown and plugins are called then, not at the end."""
    running: dict[Future[Any], int] = {}
    while True:
        for replicate in islice(collector.owed, workers - len(running)):
            running[pool.submit(copy_context().run, replicate_fn, replicate)] = replicate
        if not running:
            return
        for future in wait(running, timeout=1, return_when=FIRST_COMPLETED).done:
            collector.add(running.pop(future), future.result())
        collector.check_cancelled()  # the run may have been cancelled from elsewhere
