"""Which replicates may have taken a worker down, and how often."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Suspects:
    """Counts deaths of workers against replicates.

    A worker that dies with several replicates counts against all of them, until one of them is found guilty of
    another death: then that one took the first worker down as well, and the others are innocent.
    """

    def __init__(self) -> None:
        self._tries: Counter[int] = Counter()
        self._cases: dict[int, frozenset[int]] = {}

    def any_of(self, replicates: Iterable[int]) -> bool:
        """Whether one of them is under suspicion, so that it must run with nobody beside it."""
        return bool(self._tries) and any(replicate in self._tries for replicate in replicates)

    def add(self, replicates: Sequence[int]) -> None:
        """Note that a worker died of one of these, it is not known of which."""
        case = frozenset(replicates)
        for replicate in replicates:
            self._tries[replicate] += 1
            self._cases[replicate] = case

    def convict(self, replicate: int) -> int:
        """Note that a worker died of this one; return how many it has taken down by now."""
        for other in self._cases.pop(replicate, frozenset()) - {replicate}:
            if self._cases.pop(other, None) is not None:
                self._tries[other] -= 1
                if not self._tries[other]:
                    del self._tries[other]
        self._tries[replicate] += 1
        return self._tries[replicate]

    def acquit(self, replicate: int) -> None:
        """Note that a replicate is through."""
        self._tries.pop(replicate, None)
        self._cases.pop(replicate, None)
