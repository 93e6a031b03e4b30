"""A plugin for Crystallize that tells where the time of a run goes."""

from __future__ import annotations

import csv
import logging
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from crystallize import BasePlugin

if TYPE_CHECKING:
    from crystallize import Experiment, FrozenContext, PipelineStep, Result
    from crystallize.store.outcome import ReplicateResult

_log = logging.getLogger("crystallize.{{ cookiecutter.__short }}")


class {{ cookiecutter.__class }}(BasePlugin):
    """Time each step, and write the sums to a CSV file beside the results of the run.

    Parameters
    ----------
    file_name : str
        What the file is called.

    Attributes
    ----------
    calls : Counter of str
        How often each step ran in the last run.
    seconds : dict of str to float
        How long that took in all.
    """

    def __init__(self, file_name: str = "step_times.csv") -> None:
        self.file_name = file_name
        self.calls: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._began: dict[tuple[int, str, str], float] = {}

    def before_run(self, experiment: Experiment) -> None:
        """Begin to count anew."""
        self.calls.clear()
        self.seconds.clear()

    def before_step(self, experiment: Experiment, step: PipelineStep, ctx: FrozenContext) -> None:
        """Start the clock."""
        self._began[_place(ctx)] = time.perf_counter()

    def after_step(self, experiment: Experiment, step: PipelineStep, data: Any, ctx: FrozenContext) -> None:
        """Stop the clock."""
        seconds = time.perf_counter() - self._began.pop(_place(ctx))
        # In a worker process this is a copy of the plugin: what it kept in itself, nobody would ever see.
        ctx.hand_back(self, (ctx["step_name"], seconds))

    def after_replicate(self, experiment: Experiment, result: ReplicateResult) -> None:
        """Add up what the workers have measured."""
        for handed_back in experiment.handed_back(self):
            step, seconds = handed_back.value
            self.calls[step] += 1
            self.seconds[step] += seconds

    def after_run(self, experiment: Experiment, result: Result) -> None:
        """Log the sums, and write them beside the results if the run is stored."""
        slowest_first = sorted(self.seconds.items(), key=lambda item: item[1], reverse=True)
        rows = [(step, self.calls[step], round(seconds, 6)) for step, seconds in slowest_first]
        for step, calls, seconds in rows:
            _log.info("%s: %d calls took %.3f s", step, calls, seconds)
        if result.path is not None:
            with (result.path / self.file_name).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([("step", "calls", "seconds"), *rows])


def _place(ctx: FrozenContext) -> tuple[int, str, str]:
    """Say which call of a step this is: under threads, a plugin serves several replicates at a time."""
    return ctx["replicate"], ctx["condition"], ctx["step_name"]
