"""The tests in what verifiers return, and their correction when there are several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard


def find_tests(result: Any, label: str = "") -> Iterator[tuple[str, Mapping[str, Any], float]]:
    """Yield the tests in what a verifier returned: ``p_value`` or ``p``, also of each metric or group.

    Yields
    ------
    tuple
        The metric that the test stands under, or `label`; the mapping that holds it; its p-value.
    """
    if isinstance(result, Mapping):
        for key in ("p_value", "p"):
            if is_number(result.get(key)):
                yield label, result, float(result[key])
                return
        for name, part in result.items():
            if isinstance(part, Mapping | list | tuple):
                yield from find_tests(part, str(name))
    elif isinstance(result, list | tuple):
        for part in result:
            yield from find_tests(part, label)


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


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether `value` is one real number, of Python or NumPy."""
    return isinstance(value, int | float) or (
        getattr(value, "ndim", None) == 0 and hasattr(value, "item") and isinstance(value.item(), int | float)
    )
