"""What is known of a worker that is gone: whether it was expected, what it was doing, and what it died of."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from distributed import rpc

from crystallize.plugins import execution
from crystallize_dask.tasks import NOTE

if TYPE_CHECKING:
    from distributed import Client

    from crystallize_dask.tasks import Welcome

_LOOKS = 10
_SECONDS_BETWEEN_LOOKS = 0.2


class DaskReport(NamedTuple):
    """What the scheduler has noted of a worker.

    Attributes
    ----------
    expected : bool
        Whether it was sent away, and did not die.
    running : dict of str to int
        The batches that it was working on, of all runs, by the key of their task: the replicate that the worker
        had announced last.
    """

    expected: bool
    running: dict[str, int]


async def read_death_report(client: Client, address: str) -> DaskReport:
    """Ask the scheduler about a worker that it has removed."""
    announced: dict[str, int] = {}
    removal: dict[str, Any] = {}
    for _, message in await client.get_events(address):
        if NOTE in message:
            key, replicate = message[NOTE]
            announced[key] = replicate
        elif message.get("action") == "remove-worker":
            removal = message
    owed = removal.get("processing-tasks", ())
    return DaskReport(
        bool(removal.get("expected")), {key: announced[key] for key in owed if key in announced}
    )


async def cause_of_death(client: Client, welcome: Welcome | None) -> str:
    """Say what a worker died of, if it has a nanny, which outlives it, that knows; else nothing."""
    if welcome is not None and welcome.nanny is not None:
        pattern = re.compile(rf"\b{welcome.pid} (was killed by signal|exited with status) (\d+)")
        with suppress(OSError):
            async with rpc(welcome.nanny, connection_args=client.connection_args) as nanny:
                for _ in range(_LOOKS):  # it may hear of the death later than the scheduler
                    for _, line in await nanny.get_logs():
                        if told := pattern.search(line):
                            code = int(told[2])
                            return execution.cause_of_death(-code if "signal" in told[1] else code)
                    await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
    return ""
