"""The tests in what verifiers return."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

_NUMBER, _MAPPING = (int, float), (dict, Mapping)  # unions would be made anew at each call


class Records(list[dict[str, Any]]):
    """What a test finds of several treatments: a dict for each; and in columns, so that nobody has to take it apart.

    Parameters
    ----------
    columns : dict of str to list
        For each key of the dicts its values.
    """

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        rows = zip(*columns.values(), strict=True)
        super().__init__([dict(zip(columns, values, strict=True)) for values in rows])
        self.columns = columns


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


def above_zero(p_values: Any) -> Any:
    """Return p-values that are no float, so small are they, as the smallest that is one: no test says never."""
    import numpy as np

    return np.maximum(p_values, sys.float_info.min)


def smaller(a: float, b: float) -> float:
    """Return the smaller number; NaN only if both are."""
    return b if b < a or math.isnan(a) else a


def rounded(p_value: float, alpha: float, digits: int = 2) -> str:
    """Return a p-value with some digits, or with as many as tell on which side of `alpha` it is."""
    texts = (f"{p_value:.{each}g}" for each in range(digits, 18))
    return next(text for text in texts if (float(text) <= alpha) == (p_value <= alpha))


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether `value` is one real number, of Python or NumPy."""
    return isinstance(value, _NUMBER) or (
        getattr(value, "ndim", None) == 0 and hasattr(value, "item") and isinstance(value.item(), _NUMBER)
    )
