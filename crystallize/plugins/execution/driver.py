"""The driver of a pool: who gets which batch, what a worker's death interrupted, and when to give up.

It needs the same time for an event whatever the number of workers.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.errors import ExecutionError, OutcomeTimeoutError, SerializationError, WorkerLostError
from crystallize.plugins.execution.crash_suspects import CrashSuspects
from crystallize.plugins.execution.messages import give_up, result_of
from crystallize.plugins.execution.schedule import Schedule
from crystallize.plugins.execution.transport import (
    Batch,
    BatchEnd,
    DeathReport,
    Departure,
    Joined,
    Overdue,
    Progress,
    Raised,
)
from crystallize.utils.failures import RunCancelled

if TYPE_CHECKING:
    from crystallize.plugins.execution.collector import ResultCollector
    from crystallize.plugins.execution.messages import Finished
    from crystallize.plugins.execution.transport import Event, Transport

logger = logging.getLogger("crystallize.execution")

_SECONDS_BETWEEN_CHECKS = 1.0
_DEATHS_IN_A_ROW = 6
"""How many workers may die, that no replicate is to blame for, without a result from any worker."""
_DEPARTURES = 20
"""How many workers may be sent away while they work on the same replicate."""


class _Worker:
    """A worker as the driver sees it: its room, and the batches that it has been sent and has not ended."""

    __slots__ = ("batches", "is_careful", "name", "room")

    def __init__(self, name: Hashable, room: int) -> None:
        self.name = name
        self.room = room
        self.batches: dict[int, Batch] = {}
        self.is_careful = False  # what it has must run with nothing beside it


class PoolDriver:
    """Drives the replicates of one run through the workers of a transport.

    Nothing that reached this process is lost when a worker dies: what else it owed runs on other workers. The
    replicate that it died of is tried again, after all others and alone on its worker; when it has used up its
    retries, its result is the one that ``replicate_fn.failed`` makes. Where it is not certain which one it was, each
    that may have been it runs alone until that is known.

    Parameters
    ----------
    transport : Transport
        Reaches the workers; it is closed at the end.
    collector : ResultCollector
        Says what is owed, and takes the results.
    replicate_fn : callable
        What `run_experiment_loop` was given, for the results of replicates that are given up.
    retries : int, default 1
        How often a replicate is tried again that took its worker down or ran out of time.
    """

    def __init__(
        self,
        transport: Transport,
        collector: ResultCollector,
        replicate_fn: Callable[[int], Any],
        *,
        retries: int = 1,
    ) -> None:
        self._transport = transport
        self._collector = collector
        self._replicate_fn = replicate_fn
        self._schedule = Schedule(collector.owed)
        self._suspects = CrashSuspects(retries)
        self._workers: dict[Hashable, _Worker] = {}
        self._idle: dict[Hashable, _Worker] = {}  # those with room for more than there was
        self._sent = 0
        self._deaths = 0  # in a row
        self._has_results = False
        self._departures: Counter[int] = Counter()
        self._is_delivering = False
        self._events: Iterator[Event] = iter(())
        self._taking: Iterator[Finished] = iter(())
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            Joined: self._welcome,
            Progress: self._take_progress,
            BatchEnd: self._end_batch,
            Overdue: self._handle_overdue,
            DeathReport: self._handle_death,
            Departure: self._handle_departure,
            Raised: self._raise,
        }

    def run(self) -> None:
        """Return when all that is owed has been run and its results were taken.

        Raises
        ------
        ExecutionError
            If workers keep dying before anything is measured, or the transport knows that there will be no more.
        BaseException
            What `replicate_fn` raised, the collector, or Ctrl-C. The workers have ended by then, and what they had
            finished was taken.
        """
        handlers, schedule = self._handlers, self._schedule
        try:
            if not schedule.is_used_up:
                self._transport.provide(schedule.count_useful_workers())
            while schedule.unfinished or not schedule.is_used_up:
                self._events = iter(self._transport.wait(_SECONDS_BETWEEN_CHECKS))
                for event in self._events:
                    handlers[type(event)](event)
                self._collector.check_cancelled()
            self._transport.close()
        except BaseException:
            self._take_last_results()
            self._transport.close(kill=True)
            raise

    # -- batches -------------------------------------------------------------------------------------------

    def _welcome(self, joined: Joined) -> None:
        worker = self._workers[joined.worker] = _Worker(joined.worker, joined.room)
        self._schedule.workers += joined.room
        self._feed(worker)

    def _feed(self, worker: _Worker) -> None:
        """Give a worker what it is to do next, and, if that is short, what comes after it."""
        batches, schedule = worker.batches, self._schedule
        if not batches:
            worker.is_careful = False
        room = worker.room * schedule.depth
        while len(batches) < room and not worker.is_careful:
            replicates = schedule.take()
            if not replicates:
                self._idle[worker.name] = worker
                return
            careful = self._suspects.any_of(replicates)
            if careful and batches:  # it gets a worker to itself
                schedule.put_back(replicates)
                return
            worker.is_careful = careful
            self._sent += 1
            dropped = dict(getattr(self._replicate_fn, "dropped", ()))
            batch = batches[self._sent] = Batch(self._sent, replicates, careful, dropped)
            self._transport.send(worker.name, batch)

    def _feed_idle_workers(self) -> None:
        while self._idle and self._schedule.has_left_over:
            self._feed(self._idle.popitem()[1])

    def _take_progress(self, progress: Progress) -> None:
        self._take(progress.finished)

    def _end_batch(self, end: BatchEnd) -> None:
        self._take(end.finished)
        worker = self._workers.get(end.worker)
        batch = None if worker is None else worker.batches.pop(end.batch, None)
        if worker is None or batch is None:  # it was told before, or the worker is known to be dead
            return
        self._schedule.put_back(batch.replicates)
        if end.seconds is not None:
            self._schedule.learn(end.seconds)
        self._feed(worker)
        self._feed_idle_workers()

    # -- results -------------------------------------------------------------------------------------------

    def _take(self, finished: Iterable[Finished]) -> None:
        self._taking = iter(finished)
        for each in self._taking:
            if each.replicate not in self._schedule.unfinished:
                continue  # late: another worker was faster
            try:
                result = result_of(each)
            except SerializationError as error:
                result = give_up(self._replicate_fn, each.replicate, error)
            self._arrive(each.replicate, result)

    def _arrive(self, replicate: int, result: Any) -> None:
        self._has_results = True
        self._schedule.finish(replicate)
        if self._suspects:
            self._suspects.acquit(replicate)
        self._deaths = 0
        self._is_delivering = True
        try:
            self._collector.add(replicate, result)
        except (KeyboardInterrupt, RunCancelled):  # it was not the taking that failed
            self._is_delivering = False
            raise
        self._is_delivering = False

    def _give_up(
        self, replicate: int, what: str, hint: str, kind: type[ExecutionError] = WorkerLostError
    ) -> None:
        error = kind(what, f"replicate {replicate}", hint)
        self._arrive(replicate, give_up(self._replicate_fn, replicate, error))

    def _raise(self, raised: Raised) -> None:
        self._take(raised.finished)
        raise raised.error

    def _take_last_results(self) -> None:
        """Take what is finished when the run is broken off, unless it was the taking that failed."""
        try:
            if not self._is_delivering:
                self._take(self._taking)
                for event in self._events:
                    self._take(getattr(event, "finished", ()))
                for finished in self._transport.drain():
                    self._take(finished)
        except BaseException:  # the first error is the one to raise
            logger.debug("results were lost when the run was broken off", exc_info=True)

    # -- workers that are lost -----------------------------------------------------------------------------

    def _handle_death(self, report: DeathReport) -> None:
        if report.worker is None:
            self._count_death(report)
            self._replace_workers()
            return
        worker = self._workers.get(report.worker)
        if worker is None:  # it was told before
            return
        unfinished = self._schedule.unfinished
        groups = [[i for i in group if i in unfinished] for group in report.interrupted]
        groups = [group for group in groups if group]
        possible = [replicate for group in groups for replicate in group]
        self._forget(worker, put_back_all_but=possible)
        if not possible:
            self._count_death(report)
        elif report.was_alone and len(possible) == 1:
            self._blame(possible[0], "its worker died", report.cause)
        else:
            self._suspect(groups, report.cause)
        self._replace_workers()

    def _handle_departure(self, departure: Departure) -> None:
        worker = self._workers.get(departure.worker)
        if worker is None:
            self._replace_workers()
            return
        given_up = []
        for replicate in departure.interrupted:  # it may go on like this, but not for ever
            if replicate in self._schedule.unfinished:
                self._departures[replicate] += 1
                if self._departures[replicate] >= _DEPARTURES:
                    given_up.append(replicate)
        self._forget(worker, put_back_all_but=given_up)
        for replicate in given_up:
            self._give_up(
                replicate,
                f"{_DEPARTURES} workers were sent away while they worked on it",
                "Let workers live for longer than a replicate takes",
            )
        self._replace_workers()

    def _handle_overdue(self, overdue: Overdue) -> None:
        self._take(overdue.finished)
        worker = self._workers.get(overdue.worker)
        if worker is None or overdue.batch not in worker.batches:
            return
        late = overdue.replicate
        if overdue.is_lost:
            self._forget(worker, put_back_all_but=[late])
        else:
            batch = worker.batches.pop(overdue.batch)
            self._schedule.put_back(replicate for replicate in batch.replicates if replicate != late)
        if late in self._schedule.unfinished:
            self._blame(late, f"it took more than {overdue.seconds:g} seconds", kind=OutcomeTimeoutError)
        if overdue.is_lost:
            self._replace_workers()
        else:
            self._feed(worker)
            self._feed_idle_workers()

    def _forget(self, worker: _Worker, put_back_all_but: Iterable[int]) -> None:
        """Have others do what a worker owed that is lost."""
        kept_apart = frozenset(put_back_all_but)
        del self._workers[worker.name]
        self._idle.pop(worker.name, None)
        self._schedule.workers -= worker.room
        for batch in reversed(worker.batches.values()):
            self._schedule.put_back(i for i in batch.replicates if i not in kept_apart)

    def _replace_workers(self) -> None:
        self._feed_idle_workers()
        if not self._schedule.is_used_up:
            self._transport.provide(self._schedule.count_useful_workers())

    def _count_death(self, report: DeathReport) -> None:
        """Note a death that is no replicate's fault; give up if there are too many of those that are needed."""
        self._deaths += 1
        when = "while it loaded the experiment" if report.was_loading else "between replicates"
        if self._deaths < _DEATHS_IN_A_ROW:
            logger.warning("a worker died %s: %s", when, report.cause)
        elif report.is_needed:
            self._give_up_all(
                f"{self._deaths} workers died one after the other before a replicate was through, the last one "
                f"{when}: {report.cause}"
            )

    def _give_up_all(self, what: str) -> None:
        """Have what is owed fail, but for what workers are still at: what was measured stands.

        Raises
        ------
        ExecutionError
            If nothing was measured, or if nobody knows how much is owed.
        """
        hint = "Run serially to see more"
        if not self._has_results or not self._schedule.has_end:
            raise ExecutionError(what, hint=hint)
        running = {
            i for each in self._workers.values() for batch in each.batches.values() for i in batch.replicates
        }
        owed = [replicate for replicate in self._schedule.take_all() if replicate not in running]
        logger.error("%s. The %d replicates that are still owed have failed", what, len(owed))
        for replicate in owed:
            self._give_up(replicate, what, hint)

    def _blame(
        self, replicate: int, fault: str, cause: str = "", kind: type[ExecutionError] = WorkerLostError
    ) -> None:
        """Try a replicate again, or give it up if that has been done often enough."""
        if not self._suspects.convict(replicate):
            reason = ": ".join(filter(None, [fault, cause]))
            logger.warning("replicate %d is tried again: %s", replicate, reason)
            self._schedule.put_last([replicate])
            return
        tries = self._suspects.deaths(replicate)
        what = fault if tries == 1 else f"{fault} {tries} times"
        if cause:
            what += f": {cause}" if tries == 1 else f", the last time: {cause}"
        hint = "Run this replicate serially to see more, or use fewer workers if memory is short"
        self._give_up(replicate, what, hint, kind)

    def _suspect(self, groups: Sequence[Sequence[int]], cause: str) -> None:
        """Try replicates again, one after the other, of which one took a worker down, if it was one of them."""
        logger.warning(
            "a worker died with several replicates, which are tried again one after the other: %s", cause
        )
        hopeless = self._suspects.suspect([replicate for group in groups for replicate in group])
        for group in groups:
            self._schedule.put_last(replicate for replicate in group if replicate not in hopeless)
        for replicate in hopeless:
            self._give_up(
                replicate,
                f"its worker died {self._suspects.deaths(replicate)} times, each time with other replicates in "
                f"it, so it is not certain that it was this one; the last time: {cause}",
                "Run it serially, or on workers with one thread, to see which one it is",
            )
