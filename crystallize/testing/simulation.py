"""A transport to workers that exist in a simulation only, for tests of what drives them.

Nothing here waits: the clock is turned to the time of the next event, so an hour of a thousand workers takes a moment.
"""

from __future__ import annotations

import pickle
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, Literal

from crystallize.plugins.execution import (
    SECONDS_PER_BATCH,
    Batch,
    BatchEnd,
    DeathReport,
    Departure,
    Event,
    Finished,
    Joined,
    Overdue,
    Progress,
)

Moment = Literal["loading", "running", "finished", "sent", "idle"]
"""When something may befall a worker: while it opens the experiment; in a replicate; when it is through with one and
has not sent the result; when it has; and when it has sent the end of a batch."""

Fate = Literal["lives", "dies", "leaves", "is late"]
"""What may befall it: a death, being sent away, or, in the moment "running", that its replicate takes too long."""

_SECONDS_BETWEEN_FLUSHES = 0.1
_SECONDS_FOR_A_REPLICATE = 60.0
_MOST_WITHOUT_A_RESULT = 200_000
"""How often :meth:`SimulatedTransport.wait` may be called without a result: a driver that spins ends, and its test."""


def _no_time() -> float:
    return 0.0


def _never() -> bool:
    return False


def _lives(_moment: Moment, _worker: int, _replicate: int | None) -> Fate:
    return "lives"


class SimulatedTransport:
    """A :class:`crystallize.plugins.execution.Transport` to workers that are simulated, with whatever goes wrong.

    The result of a replicate is its number. What is asked for below is called in an order that is the same in every
    run, so that draws from a seeded generator, or from Hypothesis, can be repeated.

    Parameters
    ----------
    workers : int
        How many there are at most; those that are lost are replaced when the driver asks for it.
    seconds : callable, optional
        ``seconds(replicate)`` is how long a replicate takes. By default each takes one second.
    latency : callable, optional
        ``latency()`` is how many seconds a message from a worker is on its way: one may overtake another, and results
        may arrive after the death of their worker is known. By default none.
    doubles : callable, optional
        ``doubles()`` says whether a message arrives a second time. By default none does.
    fate : callable, optional
        ``fate(moment, worker, replicate)`` is what befalls a worker in one of the moments "loading", "running",
        "finished" (through with a replicate whose result is not sent), "sent" and "idle" (between batches): "lives",
        "dies", "leaves" or, if "running", "is late". Workers are numbered from 0 on, and so are those that replace
        others. By default all live.
    knows_culprit : bool, default True
        Whether it is known in which replicate a worker died, even if the batch was not a careful one.

    Attributes
    ----------
    now : float
        The time on the simulated clock, in seconds.
    begun : collections.Counter of int
        How often each replicate was begun.
    arrived : set of int
        The replicates whose results have reached the driver.
    is_closed : bool
        Whether the driver has ended the run.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from crystallize.plugins.execution import PoolDriver, ResultCollector
    >>> collector = ResultCollector(SimpleNamespace(owed=iter(range(100))), progress=False)
    >>> transport = SimulatedTransport(10)
    >>> PoolDriver(transport, collector, replicate_fn=None).run()
    >>> collector.results == list(range(100)), transport.now
    (True, 10.0)
    """

    def __init__(
        self,
        workers: int,
        *,
        seconds: Callable[[int], float] = lambda replicate: 1.0,
        latency: Callable[[], float] = _no_time,
        doubles: Callable[[], bool] = _never,
        fate: Callable[[Moment, int, int | None], Fate] = _lives,
        knows_culprit: bool = True,
    ) -> None:
        self.now = 0.0
        self.begun: Counter[int] = Counter()
        self.arrived: set[int] = set()
        self.is_closed = False
        self._size = workers
        self._seconds = seconds
        self._latency = latency
        self._doubles = doubles
        self._fate = fate
        self._knows_culprit = knows_culprit
        self._workers: dict[Hashable, _Worker] = {}  # also those that are loading
        self._started = 0
        self._without_a_result = 0
        self._agenda: list[tuple[float, int, Callable[..., Event | None], tuple[Any, ...]]] = []
        self._order = count()

    # -- what a driver calls -------------------------------------------------------------------------------

    def provide(self, workers: int) -> None:
        """Start workers until there are as many as can be of use, or as there can be."""
        for _ in range(min(workers, self._size) - len(self._workers)):
            worker = _Worker(self._started)
            self._workers[worker.name] = worker
            self._started += 1
            self._at(self.now, self._load, worker)

    def send(self, worker: Any, batch: Batch) -> None:
        """Have a worker run a batch when it is through with what it has."""
        receiver = self._workers.get(worker)
        if receiver is not None:
            receiver.batches.append(batch)
            if len(receiver.batches) == 1:
                self._begin_batch(receiver)

    def wait(self, seconds: float) -> Iterator[Event]:
        """Turn the clock to when the next event arrives, and yield what arrives then.

        Raises
        ------
        AssertionError
            If nothing will ever happen again, or things happen on and on and no replicate comes to its end: whoever
            drives the workers waits in vain.
        """
        if not self._agenda:
            raise AssertionError("nothing will ever happen again, and the run has not come to its end")
        if self._without_a_result >= _MOST_WITHOUT_A_RESULT:
            raise AssertionError(f"{self._without_a_result} calls in a row without the result of a replicate")
        self._without_a_result += 1
        deadline = self.now + seconds
        has_arrived = False
        while self._agenda and self._agenda[0][0] <= (self.now if has_arrived else deadline):
            self.now, _, act, arguments = heappop(self._agenda)
            event = act(*arguments)
            if event is not None:
                has_arrived = True
                if getattr(event, "finished", ()):
                    self._without_a_result = 0
                self.arrived.update(each.replicate for each in getattr(event, "finished", ()))
                yield event
        if not has_arrived:
            self.now = deadline

    def drain(self) -> Iterator[Sequence[Finished]]:
        """Yield what is on its way, and what workers have not sent."""
        for _, _, act, arguments in sorted(self._agenda, key=lambda entry: entry[:2]):
            if act is _arrive:
                yield getattr(arguments[0], "finished", ())
        for worker in self._workers.values():
            yield worker.finished

    def close(self, *, kill: bool = False) -> None:
        """End the simulation."""
        self.is_closed = True
        self._agenda.clear()
        self._workers.clear()

    # -- workers -------------------------------------------------------------------------------------------

    def _load(self, worker: _Worker) -> Event | None:
        fate = self._fate("loading", worker.name, None)
        if fate == "dies":
            self._lose(worker, DeathReport(None, "simulated", was_loading=True))
        elif fate == "leaves":
            self._lose(worker, Departure(None))
        else:
            return Joined(worker.name)
        return None

    def _begin_batch(self, worker: _Worker) -> None:
        worker.began = worker.flushed = self.now
        worker.position = 0
        self._begin_replicate(worker)

    def _begin_replicate(self, worker: _Worker) -> None:
        replicate = worker.batches[0].replicates[worker.position]
        self.begun[replicate] += 1
        seconds = self._seconds(replicate)
        fate = self._fate("running", worker.name, replicate)
        if fate == "lives":
            self._at(self.now + seconds, self._end_replicate, worker, replicate)
        else:
            self._at(self.now + seconds / 2, self._befall, worker, fate, replicate)

    def _end_replicate(self, worker: _Worker, replicate: int) -> None:
        worker.finished.append(Finished(replicate, pickle.dumps(replicate), ""))
        worker.position += 1
        if (fate := self._fate("finished", worker.name, replicate)) != "lives":
            self._befall(worker, fate, replicate)
            return
        batch, busy = worker.batches[0], self.now - worker.began
        if worker.position == len(batch.replicates) or busy > 2 * SECONDS_PER_BATCH:
            worker.batches.popleft()
            self._send(BatchEnd(worker.name, batch.number, worker.finished, busy / worker.position))
            worker.finished = []
            if (fate := self._fate("idle", worker.name, replicate)) != "lives":
                self._befall(worker, fate, None)
            elif worker.batches:
                self._begin_batch(worker)
            return
        if self.now - worker.flushed > _SECONDS_BETWEEN_FLUSHES:
            worker.flushed = self.now
            self._send(Progress(worker.name, worker.finished))
            worker.finished = []
            if (fate := self._fate("sent", worker.name, replicate)) != "lives":
                self._befall(worker, fate, None)
                return
        self._begin_replicate(worker)

    def _befall(self, worker: _Worker, fate: Fate, replicate: int | None) -> None:
        if fate == "leaves":
            self._lose(worker, Departure(worker.name, () if replicate is None else [replicate]))
        elif fate == "is late" and replicate is not None:
            number = worker.batches[0].number
            late = Overdue(
                worker.name, number, worker.finished, replicate, _SECONDS_FOR_A_REPLICATE, is_lost=True
            )
            self._lose(worker, late)
        else:
            known: Sequence[Sequence[int]] = () if replicate is None else ((replicate,),)
            if worker.batches and not self._knows_culprit and not worker.batches[0].careful:
                known = (tuple(worker.batches[0].replicates),)
            self._lose(worker, DeathReport(worker.name, "simulated", known))

    def _lose(self, worker: _Worker, event: Event) -> None:
        del self._workers[worker.name]
        self._send(event)

    # -- time ----------------------------------------------------------------------------------------------

    def _send(self, event: Event) -> None:
        self._at(self.now + self._latency(), _arrive, event)
        if self._doubles():
            self._at(self.now + self._latency(), _arrive, event)

    def _at(self, time: float, act: Callable[..., Event | None], *arguments: Any) -> None:
        heappush(self._agenda, (time, next(self._order), act, arguments))


def _arrive(event: Event) -> Event:
    return event


class _Worker:
    """A simulated worker: what it was sent, and what it has not sent back."""

    __slots__ = ("batches", "began", "finished", "flushed", "name", "position")

    def __init__(self, name: int) -> None:
        self.name = name
        self.batches: deque[Batch] = deque()
        self.position = 0
        self.began = self.flushed = 0.0
        self.finished: list[Finished] = []
