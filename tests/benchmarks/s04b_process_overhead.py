"""S4b: replicates of no work in two worker processes."""

from __future__ import annotations

from harness import PREDECESSOR, Budget
from processes import no_work, scenario

SCENARIO = scenario(
    "S4b",
    "two processes, replicates of no work",
    (500, 2_000, 10_000),
    no_work,
    "no_work",
    Budget(3, "pool"),
    stated=2_000,
    largest={PREDECESSOR: 2_000},
)

if __name__ == "__main__":
    SCENARIO.main()
