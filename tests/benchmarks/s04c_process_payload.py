"""S4c: an experiment that holds an object of 50 MB, in two worker processes."""

from __future__ import annotations

from harness import PREDECESSOR, Budget
from processes import scenario, touch

SCENARIO = scenario(
    "S4c",
    "two processes, an object of 50 MB in the experiment",
    (20, 80, 320),
    touch,
    "touch_payload",
    Budget(1.5, "pool"),
    stated=20,
    megabytes=50,
    largest={PREDECESSOR: 20},
)

if __name__ == "__main__":
    SCENARIO.main()
