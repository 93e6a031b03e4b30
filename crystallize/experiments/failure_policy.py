"""What a run does about outcomes that fail."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Real
from shlex import quote
from typing import TYPE_CHECKING, Any, Self

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.utils.checks import check_count
from crystallize.utils.wording import did_you_mean

if TYPE_CHECKING:
    from crystallize.hookspecs import RunningExperiment
    from crystallize.store.outcome import OutcomeError

ON_ERROR = ("continue", "stop")


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """What a run does about outcomes that fail.

    Attributes
    ----------
    max_failures : int or None
        How many outcomes may fail before the run stops; None for any number.
    retries : int
        How often an outcome that failed is tried again, at once and with the same seeds. One that took too long is not.
    timeout : float or None
        How many seconds one attempt at an outcome may take; None for any time.
    """

    max_failures: int | None = None
    retries: int = 0
    timeout: float | None = None

    @classmethod
    def of(
        cls, *, on_error: Any = "continue", max_failures: Any = None, retries: Any = 0, timeout: Any = None
    ) -> Self:
        """Return the policy that a user asks for; ``on_error="stop"`` is ``max_failures=0``.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            If an argument has the wrong type or value, or two contradict each other.
        """
        if on_error not in ON_ERROR:
            kind = InvalidValueError if isinstance(on_error, str) else InvalidTypeError
            raise kind(
                f"on_error is 'continue' or 'stop', got {on_error!r}",
                hint=did_you_mean(on_error, ON_ERROR) if isinstance(on_error, str) else "",
            )
        if max_failures is not None:
            max_failures = check_count("max_failures", max_failures, least=0)
        if on_error == "stop":
            if max_failures:
                raise InvalidValueError(
                    f"on_error='stop' ends the run with the first failure, and max_failures={max_failures} allows more",
                    hint="Give one of the two",
                )
            max_failures = 0
        return cls(
            max_failures,
            check_count("retries", retries, least=0),
            None if timeout is None else _check_seconds(timeout),
        )

    def changed(self, **asked: Any) -> Self:
        """Return this policy with what is `asked` for in place of its own; the arguments are those of :meth:`of`."""
        given = {"retries": self.retries, "timeout": self.timeout, **asked}
        if "on_error" not in asked:
            given.setdefault("max_failures", self.max_failures)
        return self.of(**given)


def how_to_repeat(experiment: RunningExperiment, error: OutcomeError) -> str:
    """Say what runs the outcome alone that failed in the run under way."""
    seed, name = experiment.master_seed, experiment.command_name
    if name is None:
        call = f"experiment.apply({error.condition!r}, replicate={error.replicate}, seed={seed})"
    else:
        is_stored = experiment.plugins.find(ArtifactPlugin) is not None  # then the stored run knows the seed
        call = outcome_command(name, error.replicate, error.condition, None if is_stored else seed)
    return f"Run this outcome alone: {call}"


def outcome_command(name: str, replicate: int, condition: str, seed: int | None = None) -> str:
    """Return the command that runs one outcome alone of what the command line calls `name`.

    Without a `seed` it takes the one of the newest stored run.
    """
    command = f"crystallize run {quote(name)} --replicate {replicate} --condition {quote(condition)} --debug"
    return command if seed is None else f"{command} --seed {seed}"


def _check_seconds(timeout: Any) -> float:
    if not isinstance(timeout, Real) or isinstance(timeout, bool):
        raise InvalidTypeError(f"timeout is a number of seconds, got {timeout!r}")
    seconds = float(timeout)
    if not (isfinite(seconds) and seconds > 0):
        raise InvalidValueError(f"timeout is a number of seconds above 0, got {timeout!r}")
    return seconds
