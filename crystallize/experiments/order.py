"""The order in time of replicates and of the conditions in each, against drift of the machine.

A machine grows warm, a cache fills, a neighbour starts a job: what is measured of time or of a shared service drifts
while a run goes on. Interleaved, each replicate runs all conditions one after the other, so that a slow drift meets
them alike; randomised, no condition has a place in a replicate, or a time of the run, of its own (Fisher (1935), "The
Design of Experiments", chapter 2). Results do not depend on it otherwise: seeds belong to replicates, not to places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from crystallize.errors import InvalidValueError
from crystallize.utils.randomness import generator, stream_key
from crystallize.utils.wording import did_you_mean

Order = Literal["interleaved", "randomised"]
INTERLEAVED: Order = "interleaved"
RANDOMISED: Order = "randomised"

_OF_REPLICATES = stream_key("crystallize.order of replicates")
_OF_CONDITIONS = stream_key("crystallize.order of conditions")
_T = TypeVar("_T")


def check_order(order: Any) -> Order:
    """Return `order` if there is such a one; raise InvalidValueError if not."""
    if order == INTERLEAVED:
        return INTERLEAVED
    if order == RANDOMISED:
        return RANDOMISED
    hint = did_you_mean(order, [INTERLEAVED, RANDOMISED])
    raise InvalidValueError(f"order is {INTERLEAVED!r} or {RANDOMISED!r}, got {order!r}", hint=hint)


def order_of_replicates(order: Order, master_seed: int, replicates: int) -> Sequence[int]:
    """Return the replicates of a run in the order in which they are given out."""
    numbers = range(replicates)
    return numbers if order == INTERLEAVED else _shuffled(numbers, master_seed, 0, _OF_REPLICATES)


def order_of_conditions(
    order: Order, master_seed: int, replicate: int, conditions: Sequence[_T]
) -> Sequence[_T]:
    """Return the conditions in the order in which a replicate runs them: the same wherever it is run."""
    if order == INTERLEAVED:
        return conditions
    return _shuffled(conditions, master_seed, replicate, _OF_CONDITIONS)


def _shuffled(items: Sequence[_T], master_seed: int, replicate: int, key: int) -> list[_T]:
    # Sorted by numbers that are drawn: unlike how NumPy permutes, how it draws them stays the same in all its versions.
    drawn = generator(master_seed, replicate, key).random(len(items)).tolist()
    return [items[place] for place in sorted(range(len(items)), key=drawn.__getitem__)]
