"""What a strategy has to run and what has come of it: the numbers that are owed, and the results as they arrive."""

from __future__ import annotations

from operator import length_hint
from typing import TYPE_CHECKING, Any

from crystallize.utils.growing import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crystallize.plugins.execution.progress import ProgressBar

_MISSING = object()
_UNKNOWN = -1


class ResultCollector:
    """Collects the results of one run as they arrive, and shows progress while the context manager is open.

    Parameters
    ----------
    experiment : Experiment
        Its ``owed`` says which replicates are to be run. Its ``replicate_done`` and ``check_cancelled``, if it has
        them, are called.
    progress : bool
        Show a progress bar on standard error.

    Attributes
    ----------
    owed : iterator of int
        The numbers of the replicates that are still to be run. Threads may share it. Take a number when there is
        room for it; each one that was taken is to be run.
    check_cancelled : callable
        Raises if the run was cancelled; to be called now and then while no result arrives.
    """

    def __init__(self, experiment: Any, progress: bool) -> None:
        self.owed: Iterator[int] = experiment.owed
        self.check_cancelled: Callable[[], None] = getattr(experiment, "check_cancelled", _do_nothing)
        self._replicate_done: Callable[[Any], Any] | None = getattr(experiment, "replicate_done", None)
        self._kept: list[Any] = []  # the place of a replicate is its number; there may be gaps
        self._count = 0
        self._bar: ProgressBar | None = None
        if progress:
            from crystallize.plugins.execution.progress import ProgressBar

            name = getattr(experiment, "name", None) or "experiment"
            self._bar = ProgressBar(name, self.count_owed(_UNKNOWN))

    def count_owed(self, default: int) -> int:
        """Return how many replicates are still to be taken; `default` if that is not known."""
        return length_hint(self.owed, default)

    def add(self, replicate: int, result: Any) -> None:
        """Take the result of one replicate; call it in the coordinator, one call at a time."""
        to_keep = result if self._replicate_done is None else self._replicate_done(result)
        put(self._kept, replicate, to_keep, _MISSING)
        self._count += 1
        if self._bar is not None:
            self._bar.advance(result)

    @property
    def results(self) -> list[Any]:
        """What was kept of each result, in the order of the replicates: what `run_experiment_loop` returns."""
        if self._count == len(self._kept):
            return self._kept
        return [kept for kept in self._kept if kept is not _MISSING]

    def __enter__(self) -> ResultCollector:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _do_nothing() -> None:
    """Stand in for the check of an experiment that cannot be cancelled."""
