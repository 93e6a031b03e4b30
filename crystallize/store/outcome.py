"""What comes back from a replicate.

Named tuples, not dataclasses: a run makes one for every condition of every replicate and sends it between
processes, and these are several times cheaper to make and to pickle.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from crystallize.store.layout import ArtifactEntry
    from crystallize.utils.stage import Trace


_STATUS_OF_KIND = {
    "crystallize.errors.OutcomeTimeoutError": "timeout",
    "crystallize.errors.WorkerLostError": "worker-lost",
}


class OutcomeError(NamedTuple):
    """Why an outcome failed.

    Attributes
    ----------
    replicate : int
        Index of the replicate.
    condition : str
        ``"baseline"`` or the treatment's name.
    step : str or None
        The step, ``"data source"`` or ``"treatment"``; None if it failed elsewhere.
    kind : str
        Name of the exception's class, with its module unless that is ``builtins``.
    message : str
        The exception's text.
    traceback : str
        The formatted traceback, from the user's code on; empty if there is no more to tell than the message.
    """

    replicate: int
    condition: str
    step: str | None
    kind: str
    message: str
    traceback: str

    @property
    def status(self) -> str:
        """What became of the outcome: ``"failed"``, ``"timeout"`` or ``"worker-lost"``."""
        return _STATUS_OF_KIND.get(self.kind, "failed")

    def __str__(self) -> str:
        step = f", step {self.step!r}" if self.step else ""
        return f"{self.kind}: {self.message} (condition {self.condition!r}, replicate {self.replicate}{step})"


class CacheNote(NamedTuple):
    """What the step cache did for one step of one outcome.

    Attributes
    ----------
    step : str
        The step.
    what : {"hit", "miss", "uncached"}
        Whether the step's output was there; ``"uncached"`` if the step could not be cached.
    why : str
        What was different from what is stored, or why the step could not be cached.
    warning : str
        What to tell the user.
    """

    step: str
    what: str
    why: str = ""
    warning: str = ""


def warn_of_cache(notes: Iterable[CacheNote], told: set[str]) -> None:
    """Log the warnings among the notes that are not in `told`, and put them there."""
    for note in notes:
        if note.warning and note.warning not in told:
            told.add(note.warning)
            logging.getLogger("crystallize.cache").warning("%s", note.warning)


class Outcome(NamedTuple):
    """What one condition gave in one replicate: an error, or else metrics and artifacts.

    Attributes
    ----------
    condition : str
        ``"baseline"`` or the treatment's name.
    seed : int or None
        The context's ``"seed_used"``.
    metrics : dict of str to list
        The values recorded, by name, in the order of recording. Empty if the outcome failed.
    tags : dict of str to list
        For metrics with tags, a mapping or None for each value.
    artifacts : sequence of ArtifactEntry
        What was stored.
    trace : Trace
        What each stage read, drew, added and recorded.
    error : OutcomeError or None
        Why the outcome failed.
    handed_back : tuple of (str, bytes)
        What hooks sent to plugins in the coordinator, which get it from ``experiment.handed_back``: the
        plugin's name and the pickled value.
    started : float
        When it began, in seconds since 1970.
    seconds : float
        How long it took.
    attempt : int
        How often it had been tried before.
    consumed : tuple of str or None
        The digests of the artifacts of other experiments that its data source read; None if it reads none. The
        coordinator adds them when it stores the outcome.
    cache : tuple of CacheNote
        What the step cache did, for each step that asks for it.
    """

    condition: str
    seed: int | None
    metrics: dict[str, list[Any]]
    tags: dict[str, list[Mapping[str, Any] | None]]
    artifacts: Sequence[ArtifactEntry] = ()
    trace: Trace = ()
    error: OutcomeError | None = None
    handed_back: tuple[tuple[str, bytes], ...] = ()
    started: float = 0.0
    seconds: float = 0.0
    attempt: int = 0
    consumed: tuple[str, ...] | None = None
    cache: tuple[CacheNote, ...] = ()

    @property
    def status(self) -> str:
        """How it ended: ``"ok"``, ``"failed"``, ``"timeout"`` or ``"worker-lost"``."""
        return "ok" if self.error is None else self.error.status


class ReplicateResult(NamedTuple):
    """The outcomes of one replicate, one for each condition.

    Attributes
    ----------
    replicate : int
        Index of the replicate.
    outcomes : tuple of Outcome
        In the order of the experiment's conditions.
    run : str
        The run that it belongs to, so that results of another one are not taken for this one's.
    reused : frozenset of str
        The conditions whose outcomes were there already when the run was resumed.
    """

    replicate: int
    outcomes: tuple[Outcome, ...]
    run: str = ""
    reused: frozenset[str] = frozenset()

    @property
    def errors(self) -> list[OutcomeError]:
        """The errors of this replicate."""
        return [outcome.error for outcome in self.outcomes if outcome.error is not None]
