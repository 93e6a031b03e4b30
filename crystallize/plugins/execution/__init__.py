"""Execution: the strategies that drive the replicates of a run, and the parts that other strategies build on.

A strategy of your own needs :class:`ResultCollector`. One with workers elsewhere gives a :class:`Transport` to a
:class:`PoolDriver`, and sends and receives with the functions below, which are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.plugins.execution.collector import ResultCollector
from crystallize.plugins.execution.schedule import SECONDS_PER_BATCH, Schedule
from crystallize.plugins.execution.shared_random_state import warn_of_shared_random_state
from crystallize.plugins.execution.strategies import (
    VALID_EXECUTOR_TYPES,
    AsyncExecution,
    ParallelExecution,
    ProcessExecution,
    SerialExecution,
    ThreadExecution,
)
from crystallize.plugins.execution.surroundings import Surroundings, usable_cores
from crystallize.plugins.execution.transport import (
    Batch,
    BatchEnd,
    DeathReport,
    Departure,
    Event,
    Joined,
    Overdue,
    Progress,
    Raised,
    Transport,
)
from crystallize.utils.checks import check_bool, check_count

if TYPE_CHECKING:
    from crystallize.plugins.execution.driver import PoolDriver
    from crystallize.plugins.execution.launch import start_worker, threads_for, worker_context
    from crystallize.plugins.execution.messages import (
        Finished,
        cause_of_death,
        dump_error,
        finish,
        give_up,
        load_error,
        pack_replicate_fn,
        result_of,
        unpack,
    )
    from crystallize.plugins.execution.worker import WorkerSettings, become_worker
    from crystallize.utils.aio import close_loop
    from crystallize.utils.pickling import Packed

_HOMES = {
    "crystallize.plugins.execution.driver": ("PoolDriver",),
    "crystallize.plugins.execution.launch": ("start_worker", "threads_for", "worker_context"),
    "crystallize.plugins.execution.messages": (
        "Finished",
        "cause_of_death",
        "dump_error",
        "finish",
        "give_up",
        "load_error",
        "pack_replicate_fn",
        "result_of",
        "unpack",
    ),
    "crystallize.plugins.execution.worker": ("WorkerSettings", "become_worker"),
    "crystallize.utils.aio": ("close_loop",),
    "crystallize.utils.pickling": ("Packed",),
}

__all__ = [
    "SECONDS_PER_BATCH",
    "VALID_EXECUTOR_TYPES",
    "AsyncExecution",
    "Batch",
    "BatchEnd",
    "DeathReport",
    "Departure",
    "Event",
    "Finished",
    "Joined",
    "Overdue",
    "Packed",
    "ParallelExecution",
    "PoolDriver",
    "ProcessExecution",
    "Progress",
    "Raised",
    "ResultCollector",
    "Schedule",
    "SerialExecution",
    "Surroundings",
    "ThreadExecution",
    "Transport",
    "WorkerSettings",
    "become_worker",
    "cause_of_death",
    "check_bool",
    "check_count",
    "close_loop",
    "dump_error",
    "finish",
    "give_up",
    "load_error",
    "pack_replicate_fn",
    "result_of",
    "start_worker",
    "threads_for",
    "unpack",
    "usable_cores",
    "warn_of_shared_random_state",
    "worker_context",
]


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            found = getattr(import_module(home), name)
            globals()[name] = found  # the next look-up does not come here
            return found
    raise AttributeError(f"module 'crystallize.plugins.execution' has no attribute {name!r}")
