"""The workers of a cluster as the coordinator sees them: who is there, who is of use, who has to go."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from crystallize.errors import ExecutionError
from crystallize_dask.cluster import patience
from crystallize_dask.luggage import versions
from crystallize_dask.obituary import Obituary, cause_of_death, read_obituary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    import distributed
    from distributed import Client

    from crystallize_dask.cluster import LocalCluster
    from crystallize_dask.tasks import Welcome

logger = logging.getLogger("crystallize.execution")

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_FIRST_LOOKS = 0.05
_SECONDS_FOR_AN_ANSWER = 10.0
_SECONDS_TO_RESTART = 30.0


class Terms(NamedTuple):
    """What the user has asked for; see :class:`crystallize_dask.DaskExecution`."""

    address: str
    max_workers: int | None
    resources: dict[str, float]
    retries: int
    timeout: float | None


class Task:
    """A task that Dask has been given: a batch of replicates, or, without one, the opening of the experiment."""

    def __init__(
        self, key: str, future: distributed.Future[bytes], batch: range | None, *, careful: bool
    ) -> None:
        self.key = key
        self.future = future
        self.batch = batch
        self.careful = careful

    def drop(self) -> None:
        """Be no longer interested in it. What waits for it hears that it was cancelled."""
        self.future.release()


class CrewMember:
    """A worker process of the cluster, and the tasks that it has been given."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.tasks: list[Task] = []
        self.welcome: Welcome | None = None  # until it has opened the experiment
        self.room = 0  # how many replicates it can work on at the same time

    @property
    def may_be_of_use(self) -> bool:
        """Whether it can run replicates, or that is not known yet."""
        return self.room > 0 or self.welcome is None


class Changes(NamedTuple):
    """What has changed since the last look."""

    joined: list[CrewMember]
    gone: list[CrewMember]
    causes: list[str]
    """What those died of that have never joined."""


class Crew:
    """The workers that take part in a run.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.
    local : LocalCluster or None
        The cluster, if it is ours to look after.
    terms : Terms
        What the user has asked for.
    """

    def __init__(self, client: Client, local: LocalCluster | None, terms: Terms) -> None:
        self.members: dict[str, CrewMember] = {}
        self.pause = _SECONDS_BETWEEN_FIRST_LOOKS
        """How many seconds until the next look is due."""
        self._client = client
        self._loop: asyncio.AbstractEventLoop = cast(Any, client.loop).asyncio_loop
        self._local = local
        self._terms = terms
        self._leaving: set[str] = set()
        self._next_look = 0.0
        self._in_touch_at = self._hopeful_at = time.monotonic()
        self._warnings: set[str] = set()

    def ask(self, question: Callable[[], Awaitable[Any]], seconds: float = _SECONDS_FOR_AN_ANSWER) -> Any:
        """Call what waits for the scheduler, for no longer than some seconds.

        Raises
        ------
        OSError, TimeoutError
            If there is no answer.
        """
        asked = self.start(question)
        try:
            return asked.result(seconds)
        except BaseException:
            asked.cancel()
            raise

    def start(self, question: Callable[[], Awaitable[Any]]) -> Future[Any]:
        """Call what waits for the scheduler, and do not wait."""

        async def answer() -> Any:
            return await question()

        return asyncio.run_coroutine_threadsafe(answer(), self._loop)

    def look(self, owed: int) -> Changes | None:
        """Compare the workers that there are with the members; None if a look is not due yet.

        Parameters
        ----------
        owed : int
            How many replicates are to be done: a cluster of ours has no more workers than that.

        Raises
        ------
        ExecutionError
            If the scheduler has not answered for long, or nobody could do the work for long.
        """
        now = time.monotonic()
        if now < self._next_look:
            return None
        causes = []
        if self._local is not None:
            dead = [pid for pid in self._local.staff(owed) if pid not in self._local.joined]
            causes = [self._local.cause_of_death(pid) for pid in dead]
        try:
            present = self.ask(self._client.nthreads)
        except (OSError, TimeoutError) as error:
            if time.monotonic() - self._in_touch_at > patience():
                raise self.lost_touch() from error
            return Changes([], [], causes)
        self._in_touch_at = time.monotonic()
        gone = [member for address, member in self.members.items() if address not in present]
        self._leaving &= present.keys()
        joined = []
        for address in sorted(present.keys() - self.members.keys() - self._leaving):
            useful = sum(each.may_be_of_use for each in self.members.values())
            if self._terms.max_workers is None or useful < self._terms.max_workers:
                joined.append(CrewMember(address))
                self.members[address] = joined[-1]
        is_complete = self._local is None or len(self.members) >= min(self._local.size, owed)
        self.pause = _SECONDS_BETWEEN_LOOKS if is_complete else _SECONDS_BETWEEN_FIRST_LOOKS
        self._next_look = now + self.pause
        self._keep_hope()
        return Changes(joined, gone, causes)

    def welcome(self, member: CrewMember, welcome: Welcome) -> None:
        """Note what a worker can do, now that it has opened the experiment."""
        member.welcome = welcome
        if self._local is not None:
            self._local.joined.add(welcome.pid)
        needs = self._terms.resources.items()
        fits = [int(welcome.resources.get(name, 0) / amount) for name, amount in needs]
        member.room = min([welcome.threads, *fits])
        for name, ours in versions().items():
            theirs = welcome.versions[name]
            if theirs != ours:
                self._warn_once(
                    name,
                    f"worker {member.address} has {name} {theirs}, and this process {ours}: results may differ",
                )

    def part_with(self, member: CrewMember) -> None:
        """Have nothing more to do with a worker: its tasks are no longer waited for."""
        del self.members[member.address]
        self._next_look = 0.0
        for task in member.tasks:
            task.drop()

    def restart(self, member: CrewMember) -> bool:
        """Have a worker end, whatever it is doing; return whether there is somebody to replace it."""
        assert member.welcome is not None
        if self._local is not None:
            self._local.kill(member.welcome.pid)
        elif member.welcome.nanny is not None:
            asyncio.run_coroutine_threadsafe(self._have_restarted(member.address), self._loop)
        else:
            self._warn_once(
                "nanny",
                f"worker {member.address} has no nanny to restart it: what ran out of time goes on there in vain",
            )
            return False
        self.part_with(member)
        self._leaving.add(member.address)
        return True

    async def _have_restarted(self, address: str) -> None:
        with suppress(Exception):  # whether it comes back is seen when it does
            await self._client.restart_workers([address], timeout=_SECONDS_TO_RESTART, raise_for_error=False)
        self._leaving.discard(address)  # the new one may have the same

    def needs(self, member: CrewMember) -> bool:
        """Whether the run cannot go on if workers keep dying as this one did: nobody else is there to work."""
        newcomer = self._local is None and member.welcome is None
        return not (newcomer and any(each.room for each in self.members.values()))

    def will_hear_of(self, member: CrewMember) -> bool:
        """Whether a worker that is gone will be among those of :attr:`Changes.causes`, when its process has ended."""
        return self._local is not None and member.welcome is None

    def read_obituary(self, member: CrewMember) -> Obituary:
        """Return what is known of a worker that is gone."""
        try:
            found: Obituary = self.ask(lambda: read_obituary(self._client, member.address))
        except (OSError, TimeoutError):
            return Obituary(expected=False, running={})
        return found

    def cause_of_death(self, member: CrewMember) -> str:
        """Say what a worker died of."""
        welcome = member.welcome
        if self._local is not None:
            return self._local.cause_of_death(None if welcome is None else welcome.pid)
        with suppress(OSError, TimeoutError):
            if told := self.ask(lambda: cause_of_death(self._client, welcome)):
                return str(told)
        return f"the scheduler lost it ({member.address})"

    def lost_touch(self) -> ExecutionError:
        """Return the error that there is no more scheduler to talk to."""
        return ExecutionError(
            f"the connection to the Dask scheduler at {self._terms.address} was lost",
            hint="Run the experiment again when the scheduler is back",
        )

    def _keep_hope(self) -> None:
        """Give up when for some time there was nobody who could do what is left."""
        now = time.monotonic()
        if any(member.may_be_of_use for member in self.members.values()):
            self._hopeful_at = now
        if now - self._hopeful_at <= patience():
            return
        if not self.members:
            raise ExecutionError(
                f"the Dask scheduler at {self._terms.address} has no workers",
                hint=f"Start some with `dask worker {self._terms.address}`",
            )
        offers = [
            f"{member.address} has {member.welcome.resources or 'none'}"
            for member in self.members.values()
            if member.welcome is not None
        ]
        raise ExecutionError(
            f"no Dask worker offers what a replicate needs: {self._terms.resources}",
            "; ".join(offers[:3]),
            "Start workers with `dask worker --resources`",
        )

    def _warn_once(self, about: str, text: str) -> None:
        if about not in self._warnings:
            self._warnings.add(about)
            logger.warning("%s", text)
