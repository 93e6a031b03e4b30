"""The verdict of a comparison, in words that say no more than is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from crystallize.errors import InvalidValueError

Direction = Literal["min", "max"]

BETTER, WORSE, LARGER, SMALLER, DIFFERENT = "better", "worse", "larger", "smaller", "different"
EQUIVALENT, NOT_WORSE, TOO_SMALL = "equivalent", "not worse", "too small to matter"
UNDECIDED, WITHHELD = "undecided", "withheld"

WHY_WITHHELD = (
    "withheld: more replicates were lost under one condition than under the other, and those that are left may not be "
    "like the lost ones."
)


def check_direction(direction: Any) -> None:
    """Refuse what says neither that small values are good nor that large ones are."""
    if direction not in ("min", "max"):
        raise InvalidValueError(
            f"direction is 'min' or 'max', got {direction!r}",
            hint="Say 'min' if smaller values are better, 'max' if larger ones are",
        )


def sharing_notes(shared_inputs: Mapping[str, int], replicates: int) -> Iterator[str]:
    """Say of which experiments several of so many replicates have read the same artifact."""
    for producer, count in shared_inputs.items():
        if count < replicates:
            yield (
                f"replicates are not independent: they share those of {producer!r}, which has {count}. "
                "Intervals and p-values promise too much."
            )


class Evidence(NamedTuple):
    """What a verdict is made of. The p-values are adjusted for all tests of the family; NaN decides nothing.

    Attributes
    ----------
    difference : float or None
        Treatment minus baseline.
    p_value : float
        Of no difference, or of what the test is against.
    claim : str
        What a small `p_value` says, if that is not a difference.
    p_equivalent : float
        Of a difference beyond the equivalence margin.
    p_small : float
        Of a difference of at least the smallest effect that matters.
    is_lopsided : bool
        Whether more replicates were lost under one condition than under the other.
    """

    difference: float | None
    p_value: float
    claim: str = ""
    p_equivalent: float = math.nan
    p_small: float = math.nan
    is_lopsided: bool = False


def verdict(found: Evidence, alpha: float, direction: Direction | None) -> str:
    """Return what the evidence says at level `alpha`.

    What is known to be smaller than what counts is said first, whether or not it is known to differ from zero. Nothing
    is concluded where losses differ: the pairs that are left may not be like those that are lost.
    """
    concluded = _conclusion(found, alpha, direction)
    return WITHHELD if found.is_lopsided and concluded != UNDECIDED else concluded


def _conclusion(found: Evidence, alpha: float, direction: Direction | None) -> str:
    if found.claim:
        return found.claim if found.p_value <= alpha else UNDECIDED
    if found.p_equivalent <= alpha:
        return EQUIVALENT
    if found.p_small <= alpha:
        return TOO_SMALL
    if not found.p_value <= alpha:
        return UNDECIDED
    if not found.difference or math.isnan(found.difference):
        return DIFFERENT
    if direction is None:
        return LARGER if found.difference > 0 else SMALLER
    return BETTER if (found.difference > 0) == (direction == "max") else WORSE
