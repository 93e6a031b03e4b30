"""The plugin that logs what a run does."""

from __future__ import annotations

import logging
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.hookspecs import hookimpl
from crystallize.plugins.base import BasePlugin
from crystallize.utils.checks import check_bool
from crystallize.utils.wording import counted, did_you_mean

if TYPE_CHECKING:
    from crystallize.hookspecs import RunningExperiment
    from crystallize.pipelines.pipeline_step import PipelineStep
    from crystallize.results.result import Result
    from crystallize.utils.context import FrozenContext

_root = logging.getLogger("crystallize")
_log = logging.getLogger("crystallize.run")
_step_began: ContextVar[float] = ContextVar("crystallize_step_began")


class LoggingPlugin(BasePlugin):
    """Log the start and the end of each run through the logger ``crystallize``.

    Parameters
    ----------
    verbose : bool, default False
        Log each step with its duration, too; and where no logging is configured, show the log on standard
        error while the run lasts.
    log_level : str or int, default "INFO"
        The level of the logger ``crystallize`` during a run: a name or number of :mod:`logging`. A level
        that you gave that logger yourself stands against the default.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If `verbose` is not a bool, or `log_level` is no level of :mod:`logging`.

    Notes
    -----
    Handlers that are configured, on this logger or on the root, are left alone and get the messages. The
    start and end of a run and each step are of level INFO.
    """

    affects_outcomes = False

    def __init__(self, verbose: bool = False, log_level: str | int = "INFO") -> None:
        self.verbose = check_bool("verbose", verbose)
        self.log_level = log_level
        self._level_number = _level_number(log_level)

    def active_hooks(self) -> frozenset[str]:
        """Leave the step hooks out unless `verbose`, so that they cost nothing."""
        quiet = frozenset() if self.verbose else frozenset({"before_step", "after_step"})
        return super().active_hooks() - quiet

    @hookimpl(trylast=True)  # nothing but the run itself is left that could break off
    def before_run(self, experiment: RunningExperiment) -> None:
        """Set the level, and log the experiment, its replicates and its conditions."""
        yields = self.log_level == "INFO" and not self.verbose
        claim = _Claim(self._level_number, self.verbose, yields)
        _level.raise_for(claim)
        experiment.current_run.exit_stack.callback(_level.drop, claim)
        experiment.current_run.state(self).began = time.perf_counter()
        is_open = experiment.current_run.stop_when is not None
        _log.info("%s: %s starts", _title(experiment), _extent(experiment, is_open=is_open))

    def before_step(self, experiment: RunningExperiment, step: PipelineStep, ctx: FrozenContext) -> None:
        """Start the clock of the step."""
        _log.debug("%s: starts", ctx.place())
        _step_began.set(time.perf_counter())

    def after_step(
        self, experiment: RunningExperiment, step: PipelineStep, data: Any, ctx: FrozenContext
    ) -> None:
        """Log the step's place and duration."""
        if _log.isEnabledFor(logging.INFO):
            _log.info("%s: %s", ctx.place(), _duration(time.perf_counter() - _step_began.get()))

    def after_run(self, experiment: RunningExperiment, result: Result) -> None:
        """Log how long the run took and how much of it failed."""
        seconds = _duration(time.perf_counter() - experiment.current_run.state(self).began)
        failed = len(result.errors)
        end = f"{counted(failed, 'outcome')} failed" if failed else "no failures"
        _log.info("%s: %s in %s, %s", _title(experiment), _extent(experiment), seconds, end)


def _title(experiment: RunningExperiment) -> str:
    return f"experiment {experiment.name or experiment.id!r}"


def _extent(experiment: RunningExperiment, *, is_open: bool = False) -> str:
    if experiment.run_kind == "apply":
        return "apply"
    conditions = experiment.conditions
    named = f" ({', '.join(conditions)})" if len(conditions) <= 6 else ""
    replicates = counted(experiment.replicates or 0, "replicate")
    if is_open:
        replicates = f"at most {replicates}"
    return f"{replicates} under {counted(len(conditions), 'condition')}{named}"


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def _level_number(level: Any) -> int:
    if isinstance(level, bool) or not isinstance(level, str | int):
        raise InvalidTypeError(f"log_level is the name of a logging level, got {level!r}")
    if isinstance(level, int):
        return level
    levels = logging.getLevelNamesMapping()
    number = levels.get(level.upper())
    if number is None:
        names = ", ".join(name for name in levels if name != "NOTSET")
        advice = f"{did_you_mean(level.upper(), levels)} The levels are {names}".strip()
        raise InvalidValueError(f"{level!r} is no logging level", hint=advice)
    return number


class _Claim:
    """What one plugin asks of the logger while its run lasts."""

    def __init__(self, level: int, verbose: bool, yields: bool) -> None:
        self.level = level
        self.verbose = verbose
        self.yields = yields


class _Level:
    """Level and handler of the logger while runs last, which may overlap: the most talkative one counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[_Claim, None] = {}
        self._raised = False
        self._before = logging.NOTSET
        self._handler: logging.Handler | None = None

    def raise_for(self, claim: _Claim) -> None:
        with self._lock:
            if not self._raised:
                self._before = _root.level
            if claim.yields and self._before != logging.NOTSET:
                return
            self._claims[claim] = None
            self._apply()

    def drop(self, claim: _Claim) -> None:
        with self._lock:
            if claim in self._claims:
                del self._claims[claim]
                self._apply()

    def _apply(self) -> None:
        claims = list(self._claims)
        self._raised = bool(claims)
        _root.setLevel(min((claim.level for claim in claims), default=self._before))
        verbose = any(claim.verbose for claim in claims)
        if self._handler is not None and not verbose:
            _root.removeHandler(self._handler)
            self._handler = None
        elif self._handler is None and verbose and not _root.hasHandlers():
            self._handler = logging.StreamHandler()
            self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
            _root.addHandler(self._handler)


_level = _Level()
