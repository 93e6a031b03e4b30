"""S14: a stopping rule that looks after each replicate: what a look costs, after however many.

``refit`` is what one writes without a rule that remembers: the t test of all differences so far, after each replicate.
"""

from __future__ import annotations

import random
from typing import Any

from harness import OURS, Budget, Reading, Scenario, Variant, time_each


def differences(size: int) -> list[float]:
    """Return noise around nothing, on which no rule stops early."""
    rng = random.Random(1)
    return [rng.gauss(0.0, 1.0) for _ in range(size)]


def refit(size: int, variant: str) -> Reading:
    """NumPy's mean and standard deviation of all there is, each time."""
    import numpy as np

    values = np.array(differences(size))

    def run() -> float:
        largest = 0.0
        for n in range(2, size + 1):
            seen = values[:n]
            largest = max(largest, abs(float(seen.mean() / (seen.std(ddof=1) / n**0.5))))
        return largest

    return time_each(run, size)


def crystallize(size: int, variant: str) -> Reading:
    """The rule, given one replicate after the other."""
    from crystallize import decided, precise

    rule: Any = decided("x", alpha=1e-9) if variant == "decided" else precise("x", half_width=1e-9)
    rows = [{"baseline": {"x": [0.0]}, "treated": {"x": [each]}} for each in differences(size)]

    def run() -> Any:
        watch = rule.begin(("baseline", "treated"))
        for row in rows:
            watch.see(row)
        assert not watch.is_over
        return watch

    return time_each(run, size)


SCENARIO = Scenario(
    name="S14",
    title="a stopping rule looks after each replicate",
    size="replicates",
    sizes=(100, 1_000, 10_000),
    peers={"refit": refit, OURS: crystallize},
    stated=(10_000,),
    variants=(
        Variant("decided", "us/look", (Budget(5),)),
        Variant("precise", "us/look", (Budget(5),)),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
