"""Execution: the strategies that drive the replicates of a run, and the parts that other strategies build on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.plugins.execution.strategies import (
    VALID_EXECUTOR_TYPES,
    Arrivals,
    AsyncExecution,
    ParallelExecution,
    ProcessExecution,
    SerialExecution,
    ThreadExecution,
    check_bool,
    check_count,
    usable_cores,
    warn_of_shared_random_state,
)

__all__ = [
    "TYPE_CHECKING",
    "VALID_EXECUTOR_TYPES",
    "Arrivals",
    "AsyncExecution",
    "ParallelExecution",
    "ProcessExecution",
    "SerialExecution",
    "ThreadExecution",
    "check_bool",
    "check_count",
    "usable_cores",
    "warn_of_shared_random_state",
]
