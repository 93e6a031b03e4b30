"""Which replicates may have taken a worker down, and how often."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TRIES_IN_DOUBT = 4
"""How often more than otherwise a replicate is tried again of which it is not certain that it was the one."""


class CrashSuspects:
    """Counts deaths of workers against replicates.

    A worker that dies with several replicates counts against all of them, until one of them is found guilty of
    another death: then that one took the first worker down as well, and the others are innocent.

    Parameters
    ----------
    retries : int
        How often a replicate is tried again that is guilty.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._deaths: Counter[int] = Counter()
        self._cases: dict[int, frozenset[int]] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._deaths)

    def any_of(self, replicates: Iterable[int]) -> bool:
        """Whether one of them is under suspicion, so that it must run with nobody beside it."""
        return bool(self._deaths) and any(replicate in self._deaths for replicate in replicates)

    def deaths(self, replicate: int) -> int:
        """Return how many deaths count against a replicate."""
        return self._deaths[replicate]

    def suspect(self, replicates: Sequence[int]) -> list[int]:
        """Note that a worker died of one of these, it is not known of which; return those not to try again.

        Somebody else's work in the same workers may keep it from ever being known.
        """
        case = frozenset(replicates)
        for replicate in replicates:
            self._deaths[replicate] += 1
            self._cases[replicate] = case
        most = self._retries + _TRIES_IN_DOUBT
        return [replicate for replicate in replicates if self._deaths[replicate] > most]

    def convict(self, replicate: int) -> bool:
        """Note that a worker died of this one; return whether it is not to be tried again."""
        for other in self._cases.pop(replicate, frozenset()) - {replicate}:
            if self._cases.pop(other, None) is not None:
                self._deaths[other] -= 1
                if not self._deaths[other]:
                    del self._deaths[other]
        self._deaths[replicate] += 1
        return self._deaths[replicate] > self._retries

    def acquit(self, replicate: int) -> None:
        """Note that nothing more is to be found out about a replicate: it is through, or was given up."""
        self._deaths.pop(replicate, None)
        self._cases.pop(replicate, None)
