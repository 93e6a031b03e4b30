"""S4a: replicates of 5 ms of processor time in two worker processes."""

from __future__ import annotations

from harness import Budget
from processes import burn, scenario

SCENARIO = scenario(
    "S4a",
    "two processes, 5 ms of processor time a replicate",
    (200, 600, 1_200),
    burn,
    "burn",
    Budget(1.05, "pool"),
    stated=600,
)

if __name__ == "__main__":
    SCENARIO.main()
