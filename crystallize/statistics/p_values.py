"""The p-values in what verifiers return, and their correction when there are several."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crystallize.errors import InvalidValueError


def find_p_values(result: Any) -> Iterator[float]:
    """Yield the p-values in what a verifier returned: ``p_value`` or ``p``, also of each metric or group."""
    if isinstance(result, Mapping):
        for key in ("p_value", "p"):
            if is_number(result.get(key)):
                yield float(result[key])
                return
        result = list(result.values())
    if isinstance(result, list | tuple):
        for part in result:
            if isinstance(part, Mapping | list | tuple):
                yield from find_p_values(part)


def smallest_p_value(result: Any) -> float:
    """Rank by the p-value, small is good: the ranker of hypotheses that name none.

    Raises
    ------
    InvalidValueError
        If there is no p-value.
    """
    found = list(find_p_values(result))
    if not found:
        raise InvalidValueError(
            f"the verifier's result has no 'p_value' to rank by: {result!r}",
            hint="Give the Hypothesis a ranker",
        )
    return functools.reduce(smaller, found)


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number by the step-down method of Holm (1979).

    Parameters
    ----------
    values : sequence of float
        The p-values of one family of tests. NaN stays NaN and is not counted.

    Returns
    -------
    list of float
        The corrected values, at most 1, in the same order.
    """
    order = sorted((i for i, value in enumerate(values) if not math.isnan(value)), key=lambda i: values[i])
    corrected = [float("nan")] * len(values)
    so_far = 0.0
    for rank, i in enumerate(order):
        so_far = max(so_far, min(1.0, (len(order) - rank) * values[i]))
        corrected[i] = so_far
    return corrected


def smaller(a: float, b: float) -> float:
    """Return the smaller number; NaN only if both are."""
    return b if b < a or math.isnan(a) else a


def is_number(value: object) -> bool:
    """Tell whether `value` is one real number, of Python or NumPy."""
    return isinstance(value, int | float) or (
        getattr(value, "ndim", None) == 0 and hasattr(value, "item") and isinstance(value.item(), int | float)
    )
