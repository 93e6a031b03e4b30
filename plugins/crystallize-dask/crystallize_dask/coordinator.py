"""The coordinator of a run on a cluster: gives out batches, takes results in, finds out what killed a member.

Every batch is sent to one certain worker, and no worker has more batches than it has use for. So Dask moves none
of them by itself, it is known what a worker's death has interrupted, and one replicate is to blame for it.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import uuid
from collections import Counter
from concurrent.futures import CancelledError as FutureCancelled
from concurrent.futures import wait
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from distributed import KilledWorker

from crystallize.errors import ExecutionError, SerializationError
from crystallize.plugins.execution import warn_of_shared_random_state
from crystallize.plugins.execution.messages import give_up, load_error, result_of
from crystallize.plugins.execution.schedule import Schedule
from crystallize_dask import tasks
from crystallize_dask.crew import Crew, Task
from crystallize_dask.luggage import make_luggage
from crystallize_dask.suspects import Suspects

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client

    from crystallize.experiments.experiment import Experiment
    from crystallize.plugins.execution import Arrivals
    from crystallize.utils.pickling import Packed
    from crystallize_dask.cluster import LocalCluster
    from crystallize_dask.crew import CrewMember, Terms

logger = logging.getLogger("crystallize.execution")

_DEATHS_WITHOUT_A_RESULT = 6
"""How many workers in a row may die that no replicate is to blame for."""
_DEPARTURES = 20
"""How many workers may be sent away while they work on the same replicate."""
_SECONDS_BETWEEN_CHECKS = 0.5
_SECONDS_TO_TIDY_UP = 3.0


class Coordinator:
    """One run on a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    local : LocalCluster or None
        The cluster, if it is ours to look after.
    experiment : Experiment
        The experiment.
    packed : Packed
        What is sent to the workers.
    replicate_fn : callable
        The same, here.
    arrivals : Arrivals
        Takes the results.
    terms : Terms
        What the user has asked for.
    """

    def __init__(
        self,
        client: Client,
        *,
        local: LocalCluster | None,
        experiment: Experiment,
        packed: Packed,
        replicate_fn: Callable[[int], Any],
        arrivals: Arrivals,
        terms: Terms,
    ) -> None:
        self._client = client
        self._luggage = make_luggage(packed)
        self._loop: asyncio.AbstractEventLoop = cast(Any, client.loop).asyncio_loop
        self._experiment = experiment
        self._replicate_fn = replicate_fn
        self._arrivals = arrivals
        self._terms = terms
        self._crew = Crew(client, local, terms)
        self._schedule = Schedule(arrivals.replicates, 1 if local is None else local.size)
        self._suspects = Suspects(terms.retries)
        self._departures: Counter[int] = Counter()
        self._run = f"crystallize-{uuid.uuid4().hex}"
        self._sent = 0
        self._arrived: SimpleQueue[tuple[CrewMember, Task, Any]] = SimpleQueue()
        self._missing = arrivals.replicates
        self._delivering = False
        self._deaths = 0
        self._has_warned = False

    def run(self) -> None:
        """Send the experiment, and return when the results of all replicates have been delivered."""
        try:
            self._send_luggage()
            while self._missing:
                self._look_after_workers()
                self._wait()
                self._arrivals.check()
        except BaseException:
            self._take_what_has_arrived()
            raise
        finally:
            for member in self._crew.members.values():
                for task in member.tasks:
                    task.drop()
            with suppress(Exception):  # workers that do not answer, a scheduler that is gone
                self._crew.ask(lambda: self._client.unregister_worker_plugin(self._run), _SECONDS_TO_TIDY_UP)

    # -- workers -------------------------------------------------------------------------------------------

    def _send_luggage(self) -> None:
        """Have every worker, also those that join later, be given the experiment."""
        for tries_left in (2, 1, 0):
            sent = self._crew.start(lambda: self._client.register_plugin(self._luggage, name=self._run))
            try:
                while not wait([sent], _SECONDS_BETWEEN_CHECKS).done:
                    self._arrivals.check()
                sent.result()
            except OSError as error:  # a worker has left meanwhile
                if not tries_left:
                    raise ExecutionError(f"the experiment cannot be sent to the workers: {error}") from error
            except BaseException:
                sent.cancel()  # it must not arrive after all is tidied up
                raise
            else:
                return

    def _look_after_workers(self) -> None:
        changes = self._crew.look(self._missing)
        if changes is None:
            return
        for member in changes.joined:
            self._submit(member, None)
        for member in changes.gone:
            self._bury(member)
        for cause in changes.causes:
            self._count_death(cause)
        for member in self._crew.members.values():
            self._feed(member)

    # -- deaths --------------------------------------------------------------------------------------------

    def _bury(self, member: CrewMember) -> None:
        """Have somebody else do what a worker owed that is gone, and find out whose fault it was."""
        self._crew.part_with(member)
        if not member.tasks or self._crew.will_hear_of(member):
            return
        obituary = self._crew.read_obituary(member)
        interrupted = []
        for task in member.tasks:
            if task.key in obituary.running:
                interrupted.append(task)
            else:
                self._schedule.put_back(task.batch or range(0))
        if obituary.expected:
            for task in interrupted:
                self._move(task, obituary.running[task.key])
            return
        cause = self._crew.cause_of_death(member)
        if not interrupted:
            self._count_death(cause, needed=self._crew.needs(member))
            return
        possible = [self._possible_culprits(task, obituary.running[task.key]) for task in interrupted]
        if len(obituary.running) == 1 and len(possible[0]) == 1:
            self._blame(possible[0][0], "its worker died", cause)
            return
        logger.warning(
            "a worker died with several replicates, which are tried again one after the other: %s", cause
        )
        hopeless = self._suspects.suspect([replicate for piece in possible for replicate in piece])
        for piece in possible:
            if piece[0] in hopeless:
                self._give_up_in_doubt(piece[0], cause)
            else:
                self._schedule.put_last(piece)

    def _possible_culprits(self, task: Task, announced: int) -> range:
        """Have done again what a batch certainly did not die of, and return the rest."""
        assert task.batch is not None
        if not task.careful:
            return task.batch
        self._schedule.put_back(range(announced + 1, task.batch.stop))
        self._schedule.put_back(range(task.batch.start, announced))
        return range(announced, announced + 1)

    def _blame(self, replicate: int, fault: str, detail: str = "") -> None:
        """Try a replicate again, or give it up if that has been done often enough."""
        if not self._suspects.convict(replicate):
            reason = ": ".join(filter(None, [fault, detail]))
            logger.warning("replicate %d is tried again: %s", replicate, reason)
            self._schedule.put_last(range(replicate, replicate + 1))
            return
        tries = self._suspects.deaths(replicate)
        what = fault if tries == 1 else f"{fault} {tries} times"
        if detail:
            what += f": {detail}" if tries == 1 else f", the last time: {detail}"
        self._give_up(replicate, what, "Run this replicate serially to see more")

    def _give_up_in_doubt(self, replicate: int, cause: str) -> None:
        """Give up a replicate that never gets a worker to itself, for others' work goes on in the same ones."""
        self._give_up(
            replicate,
            f"its worker died {self._suspects.deaths(replicate)} times, each time with other replicates in it, "
            f"so it is not certain that it was this one; the last time: {cause}",
            "Run it serially, or on workers with one thread, to see which one it is",
        )

    def _move(self, task: Task, replicate: int) -> None:
        """Have somebody else do a batch whose worker was sent away; that may go on, but not for ever."""
        assert task.batch is not None
        self._departures[replicate] += 1
        if self._departures[replicate] < _DEPARTURES:
            self._schedule.put_back(task.batch)
            return
        self._schedule.put_back(range(replicate + 1, task.batch.stop))
        self._schedule.put_back(range(task.batch.start, replicate))
        self._give_up(
            replicate,
            f"{_DEPARTURES} workers were sent away while they worked on it",
            "Let workers live for longer than a replicate takes",
        )

    def _count_death(self, cause: str, *, needed: bool = True) -> None:
        """Note a death that is no replicate's fault; give up if there are too many of those that are needed."""
        self._deaths += 1
        if self._deaths >= _DEATHS_WITHOUT_A_RESULT:
            if not needed:
                return
            raise ExecutionError(
                f"{self._deaths} workers died one after the other before a replicate was through, "
                f"the last time: {cause}",
                hint="Run serially to see more",
            )
        logger.warning("a worker died between replicates, or while it opened the experiment: %s", cause)

    # -- tasks ---------------------------------------------------------------------------------------------

    def _feed(self, member: CrewMember) -> None:
        """Give a worker what it is to do next, and, if that is short, what comes after it."""
        room = member.room * self._schedule.depth
        while self._schedule.left and len(member.tasks) < room:
            batch = self._schedule.take()
            careful = self._suspects.any_of(batch)
            if member.tasks and (careful or member.tasks[-1].careful):  # it gets a worker of its own
                self._schedule.put_back(batch)
                return
            self._submit(member, batch, careful=careful)

    def _submit(self, member: CrewMember, batch: range | None, *, careful: bool = False) -> None:
        """Send a batch, or without one the request to open the experiment."""
        self._sent += 1
        key = f"{self._run}-{self._sent}"
        call = tasks.Call(tasks.load, self._run)
        if batch is not None:
            within = self._terms.timeout
            order = tasks.Order(self._run, key, member.address, batch.start, batch.stop, careful, within)
            call = tasks.Call(tasks.run_batch, order)
        future = self._client.submit(
            pickle.loads,
            pickle.dumps(call),
            key=key,
            workers=[member.address],
            allow_other_workers=False,
            resources=self._terms.resources if batch is not None else None,
            retries=0,
            pure=False,
        )
        task = Task(key, future, batch, careful=careful)
        member.tasks.append(task)
        asyncio.run_coroutine_threadsafe(self._collect(member, task), self._loop)

    async def _collect(self, member: CrewMember, task: Task) -> None:
        try:
            answer = await task.future
        except BaseException as error:  # also that it was cancelled: the coordinator knows whether by itself
            answer = error
        self._arrived.put((member, task, answer))

    def _wait(self) -> None:
        """See to the next answer, or return soon if there is none."""
        with suppress(Empty):
            arrived = self._arrived.get(timeout=self._crew.pause)
            self._see_to(*arrived)

    def _see_to(self, member: CrewMember, task: Task, answer: Any) -> None:
        if task not in member.tasks or self._crew.members.get(member.address) is not member:
            return  # its replicates have been given to somebody else
        if isinstance(answer, KilledWorker):
            self._bury(member)
            return
        if isinstance(answer, BaseException):
            raise self._failure(member, answer) from answer
        answer = pickle.loads(answer)
        if isinstance(answer, tasks.Stranger):  # a new worker has its address, or it joined too early
            if task.batch is None:
                self._send_luggage()
            self._bury(member)
            return
        member.tasks.remove(task)
        if isinstance(answer, tasks.Report):
            self._take_in(member, task.batch or range(0), answer)
        elif isinstance(answer, tasks.Welcome):
            self._crew.welcome(member, answer)
            self._warn_of_threads(member)
        else:
            raise load_error(answer.payload, answer.traceback, loading=True)
        if member.address in self._crew.members:
            self._feed(member)

    def _warn_of_threads(self, member: CrewMember) -> None:
        if member.room > 1 and not self._has_warned:
            self._has_warned = True
            warn_of_shared_random_state(self._experiment, "replicates in threads of one Dask worker")

    def _failure(self, member: CrewMember, error: BaseException) -> ExecutionError:
        if isinstance(error, ImportError):
            return ExecutionError(
                f"a worker cannot import what it needs: {error}",
                f"worker {member.address}",
                "Install crystallize-dask where the workers run, in the same version as here",
            )
        if isinstance(error, (asyncio.CancelledError, FutureCancelled)):
            return self._crew.lost_touch()
        return ExecutionError(
            f"a worker cannot do what it is told: {type(error).__name__}: {error}",
            f"worker {member.address}",
            "Compare the versions of crystallize-dask, distributed and Python there and here",
        )

    # -- results -------------------------------------------------------------------------------------------

    def _take_in(self, member: CrewMember, batch: range, report: tasks.Report) -> None:
        self._take_in_finished(report)
        if report.raised is not None:
            raise load_error(report.raised.payload, report.raised.traceback, loading=False)
        self._schedule.put_back(range(report.stop, batch.stop))
        if report.stuck is not None:
            if self._crew.restart(member):
                for task in member.tasks:
                    self._schedule.put_back(task.batch or range(0))
            self._blame(report.stuck, f"it took more than {self._terms.timeout:g} seconds")
        elif report.finished:
            self._schedule.learn(report.seconds)

    def _take_in_finished(self, report: tasks.Report) -> None:
        for record in report.logs:
            logging.getLogger(record.name).handle(record)
        for finished in report.finished:
            try:
                result = result_of(finished)
            except SerializationError as error:
                result = give_up(self._replicate_fn, finished.replicate, error)
            self._arrive(finished.replicate, result)

    def _give_up(self, replicate: int, what: str, hint: str) -> None:
        error = ExecutionError(what, f"replicate {replicate}", hint)
        self._arrive(replicate, give_up(self._replicate_fn, replicate, error))

    def _arrive(self, replicate: int, result: Any) -> None:
        self._suspects.acquit(replicate)
        self._deaths = 0
        self._delivering = True
        self._arrivals.deliver(replicate, result)
        self._delivering = False
        self._missing -= 1

    def _take_what_has_arrived(self) -> None:
        """Deliver what workers have sent before the run was broken off."""
        try:
            while not self._delivering:
                member, task, answer = self._arrived.get_nowait()
                if isinstance(answer, bytes) and task in member.tasks:
                    member.tasks.remove(task)
                    report = pickle.loads(answer)
                    if isinstance(report, tasks.Report):
                        self._take_in_finished(report)
        except Empty:
            return
        except BaseException:  # the first error is the one to raise
            logger.debug("results were lost when the run was broken off", exc_info=True)
