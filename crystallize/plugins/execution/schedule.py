"""Which replicates a worker is given next, and how many of them at a time, for strategies with workers."""

from __future__ import annotations

from collections import deque

SECONDS_PER_BATCH = 0.2
"""About how long a batch may take; a worker hands back what it did not get to in twice that time."""
_WORTH_A_QUEUE = 0.02
"""Replicates that take fewer seconds than this are sent ahead, so that no worker waits for the next ones."""
_SLOWEST_CHANGE = 0.3
_SHORTEST = 1e-7


class Schedule:
    """The replicates that are owed, given out in batches (guided self-scheduling).

    A batch takes as long as a worker may be busy without a message, and becomes shorter towards the end, so
    that all workers end at the same time. See Polychronopoulos, C. D. and Kuck, D. J. (1987), "Guided
    self-scheduling", IEEE Transactions on Computers C-36(12).

    Parameters
    ----------
    replicates, workers : int
        How many of each.

    Attributes
    ----------
    left : int
        How many replicates are owed that no worker has been given.
    """

    def __init__(self, replicates: int, workers: int) -> None:
        self.left = 0
        self._workers = workers
        self._pieces: deque[range] = deque()
        self._seconds: float | None = None  # per replicate
        self.put_back(range(replicates))

    @property
    def depth(self) -> int:
        """How many batches a worker should have: the one that it works on and, if that is short, the next."""
        return 2 if self._seconds is not None and self._seconds < _WORTH_A_QUEUE else 1

    def take(self) -> range:
        """Remove and return a batch of replicates that follow each other."""
        piece = self._pieces.popleft()
        most = self._batch_size()
        if len(piece) > most:
            self._pieces.appendleft(piece[most:])
            piece = piece[:most]
        self.left -= len(piece)
        return piece

    def put_back(self, piece: range) -> None:
        """Have `piece` given out next."""
        if piece:
            self._pieces.appendleft(piece)
            self.left += len(piece)

    def put_last(self, piece: range) -> None:
        """Have `piece` given out after all others; no batch holds replicates of it and of another piece."""
        if piece:
            self._pieces.append(piece)
            self.left += len(piece)

    def learn(self, seconds: float) -> None:
        """Note how long a replicate of the last batch took.

        The shortest time counts at once, longer ones slowly: a worker hands back what is too much for it.
        """
        if self._seconds is None or seconds < self._seconds:
            self._seconds = seconds
        else:
            self._seconds += _SLOWEST_CHANGE * (seconds - self._seconds)

    def _batch_size(self) -> int:
        if self._seconds is None:
            return 1
        in_time = int(SECONDS_PER_BATCH / max(self._seconds, _SHORTEST))
        return max(1, min(in_time, self.left // (2 * self._workers)))
