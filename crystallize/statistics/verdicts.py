"""The verdict of a comparison, in one word that says no more than is known."""

from __future__ import annotations

import math
from typing import Literal

Direction = Literal["min", "max"]

BETTER, WORSE, LARGER, SMALLER, DIFFERENT = "better", "worse", "larger", "smaller", "different"
EQUIVALENT, NOT_WORSE, TOO_SMALL = "equivalent", "not worse", "too small to matter"
UNDECIDED, WITHHELD = "undecided", "withheld"


def verdict(difference: float | None, adjusted: float, alpha: float, direction: Direction | None) -> str:
    """Return what a test says of a difference whose adjusted p-value is `adjusted`. NaN decides nothing."""
    if not adjusted <= alpha:
        return UNDECIDED
    if not difference or math.isnan(difference):
        return DIFFERENT
    if direction is None:
        return LARGER if difference > 0 else SMALLER
    return BETTER if (difference > 0) == (direction == "max") else WORSE
