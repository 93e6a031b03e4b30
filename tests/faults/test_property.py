"""Whatever the experiment is, whenever it is cut off, and whatever does the rest: the end is the same."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ALL = "CRYSTALLIZE_ALL_FAULTS" in os.environ
EXAMPLES = 200 if ALL else 10
STRATEGIES = ["serial", "thread", "async", *(["process"] if ALL else [])]  # processes take a second to start
numbers = st.one_of(
    st.sampled_from(["=nan", "=inf", "=-inf", "=-0.0"]),
    st.integers(-(2**80), 2**80),
    st.floats(allow_nan=False, allow_infinity=False),
)


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an experiment; some of its outcomes fail."""
    conditions, replicates = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    names = ["baseline", *(f"t{number}" for number in range(1, conditions))]
    outcomes = [f"{name} {replicate}" for name in names for replicate in range(replicates)]
    return {
        "conditions": conditions,
        "replicates": replicates,
        "seed": draw(st.integers(0, 2**32)),
        "versioned": draw(st.booleans()),
        "fsync": draw(st.booleans()),
        "size": draw(st.sampled_from([0, 100, 300_000])),
        "values": draw(st.lists(numbers, max_size=3)),
        "fails": draw(st.lists(st.sampled_from(outcomes), max_size=2, unique=True)),
    }


@settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), plan=plans())
def test_a_run_that_was_cut_off_and_resumed_is_one_that_was_not(
    worlds: Any, data: st.DataObject, plan: dict[str, Any]
) -> None:
    end = worlds.end_of(plan)
    world = worlds.new(plan)
    first, second = data.draw(st.sampled_from(STRATEGIES)), data.draw(st.sampled_from(STRATEGIES))
    what = data.draw(st.sampled_from(["SIGKILL", "SIGTERM", "SIGINT", "ENOSPC", "EMFILE"]))
    call = data.draw(st.integers(0, end.calls - 1))
    half, lasting = data.draw(st.booleans()), data.draw(st.booleans())
    world.run(first, fault={"call": call, "what": what, "half": half, "lasting": lasting})
    world.resume_and_compare(second, end)
    worlds.forget(world)
