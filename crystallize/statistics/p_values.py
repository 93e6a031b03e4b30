"""The tests in what verifiers return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

_NUMBER, _MAPPING = (int, float), (dict, Mapping)  # unions would be made anew at each call


def find_tests(result: Any, label: str = "") -> list[tuple[str, Mapping[str, Any], float]]:
    """Return the tests in what a verifier returned: ``p_value`` or ``p``, also of each metric or group.

    Returns
    -------
    list of tuple
        The metric that the test stands under, or `label`; the mapping that holds it; its p-value.
    """
    if isinstance(result, _MAPPING):
        for key in ("p_value", "p"):
            value = result.get(key)
            if is_number(value):
                return [(label, result, float(value))]
        parts = [(str(name), part) for name, part in result.items()]
    elif isinstance(result, list | tuple):
        parts = [(label, part) for part in result]
    else:
        return []
    return [test for name, part in parts for test in find_tests(part, name)]


def smaller(a: float, b: float) -> float:
    """Return the smaller number; NaN only if both are."""
    return b if b < a or math.isnan(a) else a


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether `value` is one real number, of Python or NumPy."""
    return isinstance(value, _NUMBER) or (
        getattr(value, "ndim", None) == 0 and hasattr(value, "item") and isinstance(value.item(), _NUMBER)
    )
