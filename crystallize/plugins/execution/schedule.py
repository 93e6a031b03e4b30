"""Which replicates a worker is given next, and how many of them at a time, for strategies with workers."""

from __future__ import annotations

import sys
from collections import deque
from itertools import islice
from operator import length_hint
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SECONDS_PER_BATCH = 0.2
"""About how long a batch may take; a worker hands back what it did not get to in twice that time."""
_WORTH_A_QUEUE = 0.02
"""Replicates that take fewer seconds than this are sent ahead, so that no worker waits for the next ones."""
_SLOWEST_CHANGE = 0.3
_SHORTEST = 1e-7
_UNKNOWN = sys.maxsize


class Schedule:
    """The replicates that are owed, given out in batches (guided self-scheduling).

    A batch takes as long as a worker may be busy without a message, and becomes shorter towards the end, so
    that all workers end at the same time. See Polychronopoulos, C. D. and Kuck, D. J. (1987), "Guided
    self-scheduling", IEEE Transactions on Computers C-36(12).

    Parameters
    ----------
    owed : iterator of int
        The numbers of the replicates. No more are taken than are given out, so it may be open-ended.

    Attributes
    ----------
    workers : int
        How many replicates can be worked on at the same time; to be kept up to date.
    unfinished : set of int
        What was taken from `owed` and has not been finished.
    """

    def __init__(self, owed: Iterator[int]) -> None:
        self.workers = 0
        self.unfinished: set[int] = set()
        self._owed = owed
        self._has_ended = False
        self._first: deque[Sequence[int]] = deque()
        self._last: deque[Sequence[int]] = deque()
        self._left_over = 0  # in both
        self._finished = 0
        self._seconds: float | None = None  # per replicate

    @property
    def depth(self) -> int:
        """How many batches a worker should have: the one that it works on and, if that is short, the next."""
        return 2 if self._seconds is not None and self._seconds < _WORTH_A_QUEUE else 1

    @property
    def has_left_over(self) -> bool:
        """Whether something was put back that nobody has been given again."""
        return self._left_over > 0

    @property
    def is_used_up(self) -> bool:
        """Whether all has been given out."""
        return not self._left_over and (self._has_ended or length_hint(self._owed, 1) == 0)

    @property
    def has_end(self) -> bool:
        """Whether it is known how many replicates are left."""
        return self._has_ended or length_hint(self._owed, _UNKNOWN) != _UNKNOWN

    def take_all(self) -> list[int]:
        """Take all that is left; return in order what is unfinished then."""
        self.unfinished.update(self._owed)
        self._has_ended = True
        self._first.clear()
        self._last.clear()
        self._left_over = 0
        return sorted(self.unfinished)

    def count_useful_workers(self) -> int:
        """Return how many workers could have something to do at the same time; a huge number if not known."""
        return len(self.unfinished) + length_hint(self._owed, _UNKNOWN)

    def take(self) -> Sequence[int]:
        """Remove and return a batch; an empty one if there is nothing left."""
        most = self._batch_size()
        while True:
            # Who decides when an open-ended run ends may be waiting for the very replicate that was put last.
            pieces = self._first or (self._last if length_hint(self._owed, _UNKNOWN) == _UNKNOWN else None)
            if not pieces and not self._has_ended:
                batch = list(islice(self._owed, most))
                self._has_ended = len(batch) < most
                self.unfinished.update(batch)
                if batch:
                    return batch
            pieces = self._first or self._last
            if not pieces:
                return ()
            piece = pieces.popleft()
            self._left_over -= len(piece)
            if len(piece) > most:
                pieces.appendleft(piece[most:])
                self._left_over += len(piece) - most
            batch = [replicate for replicate in piece[:most] if replicate in self.unfinished]
            if batch:  # else all of it has been finished meanwhile
                return batch

    def put_back(self, replicates: Iterable[int]) -> None:
        """Have those of `replicates` that are not finished given out next."""
        self._put(self._first.appendleft, replicates)

    def put_last(self, replicates: Iterable[int]) -> None:
        """Have those of `replicates` that are not finished given out last, apart from all others.

        If `owed` is open-ended, there is no last, and they are given out before more is taken.
        """
        self._put(self._last.append, replicates)

    def finish(self, replicate: int) -> bool:
        """Note that a replicate is through; return False if it was before."""
        if replicate in self.unfinished:
            self.unfinished.remove(replicate)
            self._finished += 1
            return True
        return False

    def learn(self, seconds: float) -> None:
        """Note how long a replicate of the last batch took.

        The shortest time counts at once, longer ones slowly: a worker hands back what is too much for it.
        """
        if self._seconds is None or seconds < self._seconds:
            self._seconds = seconds
        else:
            self._seconds += _SLOWEST_CHANGE * (seconds - self._seconds)

    def _put(self, put: Callable[[Sequence[int]], None], replicates: Iterable[int]) -> None:
        piece = [replicate for replicate in replicates if replicate in self.unfinished]
        if piece:
            put(piece)
            self._left_over += len(piece)

    def _batch_size(self) -> int:
        if self._seconds is None:
            return 1
        in_time = int(SECONDS_PER_BATCH / max(self._seconds, _SHORTEST))
        # A run of which nobody knows the end is taken to be half through: what was taken has to be run.
        left = self._left_over + length_hint(self._owed, self._finished)
        return max(1, min(in_time, left // (2 * max(1, self.workers))))
