"""Every call of the store, one after the other: whatever goes wrong there, resume ends as if nothing had happened.

``make test`` strikes a few of the calls, spread over the run; ``make test-faults`` each of them.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

PLAN = {"conditions": 2, "replicates": 3, "seed": 5}
STEP = 1 if "CRYSTALLIZE_ALL_FAULTS" in os.environ else 41


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize(
    ("what", "lasting"),
    [
        ("SIGKILL", False),
        ("SIGINT", False),
        ("SIGTERM", True),
        ("ENOSPC", False),
        ("ENOSPC", True),
        ("EMFILE", False),
    ],
)
def test_after_a_fault_at_each_call_resume_ends_as_if_nothing_had_happened(
    what: str, lasting: bool, versioned: bool, worlds: Any
) -> None:
    plan = {**PLAN, "versioned": versioned}
    undisturbed = worlds.end_of(plan)
    executions = itertools.cycle(["serial", "thread", "async"])
    for call in range(len(what) % STEP, undisturbed.calls, STEP):
        print(f"{what} at call {call}")
        world = worlds.new(plan)
        world.run("serial", fault={"call": call, "what": what, "half": True, "lasting": lasting})
        world.resume_and_compare(next(executions), undisturbed)
        worlds.forget(world)
