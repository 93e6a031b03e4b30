"""Filters on what stored runs measured: ``rmse < 60``, ``ridge.rmse < 60``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from crystallize.errors import InvalidValueError

if TYPE_CHECKING:
    from crystallize.metrics.columns import Column

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_SIGNS = re.compile(r"[<>=!~]+")  # the last ones compare: a condition may be called lr=0.1

Means = Mapping[str, Mapping[str, float]]
"""For each condition the mean of each metric over replicates."""


class MetricFilter(NamedTuple):
    """One comparison of a metric's mean over replicates with a number.

    Attributes
    ----------
    name : str
        ``METRIC``, which is any condition's, or ``CONDITION.METRIC``.
    sign : str
        How they are compared.
    number : float
        With what.
    """

    name: str
    sign: str
    number: float

    def values(self, means: Means) -> list[float]:
        """Return the means that the filter is about: one for each condition with the metric, or one, or none."""
        found = [of_metric[self.name] for of_metric in means.values() if self.name in of_metric]
        if found:
            return found
        places = [place for place, letter in enumerate(self.name) if letter == "."]
        pairs = ((self.name[:place], self.name[place + 1 :]) for place in places)
        return [means[condition][metric] for condition, metric in pairs if metric in means.get(condition, {})]

    def accepts(self, means: Means) -> bool:
        """Tell whether one of the means compares as is asked for."""
        compare = _COMPARISONS[self.sign]
        return any(compare(value, self.number) for value in self.values(means))


def parse_filter(text: str) -> MetricFilter:
    """Return the filter that a text stands for.

    Raises
    ------
    InvalidValueError
        If it stands for none, with the place where that shows.
    """
    signs = list(_SIGNS.finditer(text))
    if not signs:
        _refuse(text, len(text), "a comparison is missing")
    sign = signs[-1]
    name, number = text[: sign.start()].strip(), text[sign.end() :].strip()
    if sign[0] not in _COMPARISONS:
        _refuse(text, sign.start(), f"{sign[0]!r} is no comparison")
    if not name:
        _refuse(text, sign.start(), "the metric is missing")
    if not number:
        _refuse(text, len(text), "the number is missing")
    start = text.index(number, sign.end())
    try:
        value = float(number)
    except ValueError:
        _refuse(text, start, f"{number!r} is no number")
    if math.isnan(value):
        _refuse(text, start, "nothing compares with nan")
    return MetricFilter(name, sign[0], value)


def mean_over_replicates(column: Column) -> float | None:
    """Return the mean of a metric that the summary has, to the last digit; None if not numeric."""
    if not len(column) or not column.is_numeric:
        return None
    from crystallize.statistics.moments import moments
    from crystallize.statistics.samples import per_replicate

    return float(moments(per_replicate(column, "")).mean)


def _refuse(text: str, place: int, why: str) -> NoReturn:
    raise InvalidValueError(
        f"the filter cannot be read at column {place + 1}: {why}\n  {text}\n  {' ' * place}^\n"
        f"Write METRIC < NUMBER or CONDITION.METRIC < NUMBER, with one of {', '.join(_COMPARISONS)}"
    )
