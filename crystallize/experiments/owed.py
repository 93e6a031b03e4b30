"""What a run still has to do."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from crystallize.utils.growing import put


class Owed(Iterator[int]):
    """The replicates that a run still owes: an execution strategy takes from it as it has room, in any thread.

    What has arrived is not given out, so there may be gaps. ``operator.length_hint(owed, default)`` says about how
    many are left, if that is known.

    Parameters
    ----------
    numbers : iterable of int
        The replicates of the run, in order; it may be without an end.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = iter(numbers)
        self._lock = threading.Lock()
        self._taken: set[int] = set()  # and not arrived
        self._arrived = bytearray()  # a flag for each number; it grows
        self._ahead = 0  # how many have arrived without having been taken, and are still to be passed over
        self._has_ended = False

    def __next__(self) -> int:
        with self._lock:
            for number in () if self._has_ended else self._numbers:
                if not self.has_arrived(number):
                    self._taken.add(number)
                    return number
                self._ahead -= 1
        raise StopIteration

    def end(self) -> None:
        """Give out nothing more, for what was taken is enough; from any thread."""
        self._has_ended = True

    def __length_hint__(self) -> int:
        if self._has_ended:
            return 0
        hint = operator.length_hint(self._numbers, -1)
        return NotImplemented if hint < 0 else max(0, hint - self._ahead)

    def settle(self, number: int) -> bool:
        """Note that a replicate has arrived; return whether it had not before."""
        arrived = self._arrived
        if number < len(arrived) and arrived[number]:
            return False
        if number in self._taken:
            self._taken.remove(number)
        else:
            self._ahead += 1
        put(arrived, number, 1, 0)
        return True

    def has_arrived(self, number: int) -> bool:
        """Tell whether a replicate has arrived."""
        return number < len(self._arrived) and bool(self._arrived[number])

    def is_settled_by(self, numbers: list[Any]) -> bool:
        """Tell whether these are the numbers of all that have arrived, in order, and nothing of 0 to the last lacks."""
        return (
            numbers == list(range(len(self._arrived)))
            and {*map(type, numbers)} <= {int}
            and all(self._arrived)
        )

    def lost(self) -> list[int]:
        """Return the replicates that were taken and have not arrived, in order."""
        return sorted(self._taken)
