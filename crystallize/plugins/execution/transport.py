"""What a cluster has to bring: a transport, which starts workers, sends them batches and tells what happens there.

A strategy gives a transport to :class:`~crystallize.plugins.execution.PoolDriver`, which decides everything else: who
is given which replicates, what a worker's death interrupted, what is tried again, and when to give up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from crystallize.plugins.execution.messages import Finished


class Batch(NamedTuple):
    """Replicates that a worker runs one after another.

    Attributes
    ----------
    number : int
        Which batch of the run it is.
    replicates : sequence of int
        The replicates, in the order in which they are to be run. There may be gaps between their numbers.
    careful : bool
        Whether one of them may have taken a worker down: if this one dies too, it should be known of which.
    dropped : mapping of str to int
        What the worker's ``replicate_fn.dropped`` is to be, so that it runs no condition in vain that a stopping rule
        has dropped. A transport that does not pass it on wastes some time, and nothing else.
    """

    number: int
    replicates: Sequence[int]
    careful: bool
    dropped: Mapping[str, int] = {}


class Joined(NamedTuple):
    """A new worker can be sent batches; the first event of each worker.

    Attributes
    ----------
    worker : object
        What the transport calls the worker from now on; no other worker of the run is equal to it.
    room : int
        How many batches it works on at the same time.
    """

    worker: Hashable
    room: int = 1


class Progress(NamedTuple):
    """Replicates of a batch that goes on are through."""

    worker: Hashable
    finished: Sequence[Finished]


class BatchEnd(NamedTuple):
    """A worker works on a batch no longer. What of it was never reported as finished runs elsewhere.

    Attributes
    ----------
    worker : object
        The worker.
    batch : int
        The number of the batch.
    finished : sequence of Finished
        The replicates of it that were not reported before.
    seconds : float or None
        How long a replicate of it took; None if none was run.
    """

    worker: Hashable
    batch: int
    finished: Sequence[Finished]
    seconds: float | None


class Overdue(NamedTuple):
    """A replicate took too long, which ends its batch.

    Attributes
    ----------
    worker : object
        The worker.
    batch : int
        The number of the batch.
    finished : sequence of Finished
        The replicates of the batch that were through before, and not reported.
    replicate : int
        The one that took too long.
    seconds : float
        How long it might take.
    is_lost : bool
        Whether the worker can no longer be used, with all that it was sent.
    """

    worker: Hashable
    batch: int
    finished: Sequence[Finished]
    replicate: int
    seconds: float
    is_lost: bool


class DeathReport(NamedTuple):
    """A worker has died.

    Attributes
    ----------
    worker : object
        The worker; None for one that never joined.
    cause : str
        What it died of, such as "killed by SIGKILL".
    interrupted : sequence of sequences of int
        For each batch that it was working on, the replicates of it that it may have died of: one if it is known
        which it was.
    was_alone : bool
        Whether nothing else was going on in it that it may have died of, such as somebody else's work.
    was_loading : bool
        Whether it had not opened the experiment yet.
    is_needed : bool
        Whether the run comes to nothing if workers keep dying like this one.
    """

    worker: Hashable
    cause: str
    interrupted: Sequence[Sequence[int]] = ()
    was_alone: bool = True
    was_loading: bool = False
    is_needed: bool = True


class Departure(NamedTuple):
    """A worker was sent away, which is no replicate's fault.

    Attributes
    ----------
    worker : object
        The worker; None for one that never joined.
    interrupted : sequence of int
        The replicates that it was working on.
    """

    worker: Hashable
    interrupted: Sequence[int] = ()


class Raised(NamedTuple):
    """Something that ends the run, such as an exception of ``replicate_fn``.

    Attributes
    ----------
    error : BaseException
        What the run raises.
    finished : sequence of Finished
        Replicates that were through before.
    """

    error: BaseException
    finished: Sequence[Finished] = ()


Event = Joined | Progress | BatchEnd | Overdue | DeathReport | Departure | Raised
"""What a transport tells. Results and deaths may come late, and more than once."""


class Transport(Protocol):
    """How a driver reaches its workers. It is used by one thread, for one run."""

    def provide(self, workers: int) -> None:
        """Have this many workers, or as many as there can be, also in place of those that have died.

        It is called again when a worker was lost and there is something left to do. It need not wait until the
        workers are there, nor end any that are too many.

        Parameters
        ----------
        workers : int
            How many could have something to do.
        """

    def send(self, worker: Hashable, batch: Batch) -> None:
        """Give a batch to a worker that has joined; if the worker is dead, an event will say so."""

    def wait(self, seconds: float) -> Iterable[Event]:
        """Wait until something happens, though no longer than `seconds`, and return what has happened.

        Raises
        ------
        ExecutionError
            If the run can no longer come to its end: no worker can be started, or there is nobody to talk to.
        """

    def drain(self) -> Iterable[Sequence[Finished]]:
        """Yield, when the run was broken off, what was finished by now or will be in a moment."""

    def close(self, *, kill: bool = False) -> None:
        """End everything that was started for the run.

        Parameters
        ----------
        kill : bool
            Whether the run was broken off: workers may be at work.
        """
