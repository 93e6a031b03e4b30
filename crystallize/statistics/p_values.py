"""The tests in what verifiers return."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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


def smaller(a: float, b: float) -> float:
    """Return the smaller number; NaN only if both are."""
    return b if b < a or math.isnan(a) else a


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether `value` is one real number, of Python or NumPy."""
    return isinstance(value, int | float) or (
        getattr(value, "ndim", None) == 0 and hasattr(value, "item") and isinstance(value.item(), int | float)
    )
