"""The values of results as one tidy data frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pandas import DataFrame

    from crystallize.metrics.condition import ConditionMetrics

_COLUMNS = ("replicate", "condition", "metric", "value")
_FEWEST_ROUNDED = 2.0**53  # integers from here on may be no floats


def make_frame(
    conditions: Iterable[tuple[Mapping[str, Any], ConditionMetrics]], labels: Iterable[str], asked_by: str
) -> DataFrame:
    """Return a row for each value: the labels, replicate, condition, factors, metric, value, and tags.

    A factor has a column with the level of each condition; one called like another column is in ``factor:NAME``, and
    a tag called like a label in ``tag:NAME``. Integers that no float holds keep their digits: then the column is of
    objects.

    Parameters
    ----------
    conditions : iterable of (mapping, ConditionMetrics)
        What the conditions gave, each with the values of its labels. Those with equal labels stand together.
    labels : iterable of str
        The columns that come first.
    asked_by : str
        Who needs pandas, for the message.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    import numpy as np

    frame = frame_type(asked_by)
    found, names = list(conditions), list(labels)
    tags = {
        key: f"tag:{key}" if key in names else key for _, condition in found for key in _tag_names(condition)
    }
    factors = _factor_columns((condition for _, condition in found), [*names, *_COLUMNS, *tags])
    rows = [
        row
        for labelled, condition in found
        for row in _rows(
            labelled, condition, {factors[key]: level for key, level in condition.coordinates.items()}, tags
        )
    ]
    runs = {tuple(labelled.values()): place for place, (labelled, _) in reversed(list(enumerate(found)))}
    # Stable: conditions and metrics stay in their order.
    rows.sort(key=lambda row: (runs[tuple(row[name] for name in names)], row["replicate"]))
    table = frame(rows, columns=[*names, *_COLUMNS[:2], *factors.values(), *_COLUMNS[2:], *tags.values()])
    for name in table.select_dtypes("float"):
        # pandas makes floats of integers beside floats and gaps
        if (table[name].abs() >= _FEWEST_ROUNDED).any():
            values = [row.get(name, math.nan) for row in rows]
            if int in map(type, values):
                table[name] = np.array(values, dtype=object)
    return table


def frame_type(asked_by: str) -> type[DataFrame]:
    """Return the type of data frames; raise ImportError, which names who needs it, if pandas is not installed."""
    try:
        from pandas import DataFrame
    except ImportError:
        raise ImportError(
            f"{asked_by} needs pandas. Install it with: pip install 'crystallize-lab[frame]'"
        ) from None
    found: type[DataFrame] = DataFrame
    return found


def _factor_columns(conditions: Iterable[ConditionMetrics], taken: Collection[str]) -> dict[str, str]:
    factors = dict.fromkeys(factor for condition in conditions for factor in condition.coordinates)
    return {factor: f"factor:{factor}" if factor in taken else factor for factor in factors}


def _rows(
    labels: Mapping[str, Any],
    condition: ConditionMetrics,
    levels: Mapping[str, Any],
    tag_columns: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    for metric, column in condition.columns.items():
        tagged = condition.tags.get(metric, {})
        for replicate, values in column.by_replicate():
            tags = tagged.get(replicate) or ()
            for place, value in enumerate(values):
                own = (tags[place] if place < len(tags) else None) or {}
                yield {
                    **labels,
                    "replicate": replicate,
                    "condition": condition.name,
                    **levels,
                    "metric": metric,
                    "value": value,
                    **{tag_columns[key]: tag for key, tag in own.items()},
                }


def _tag_names(condition: ConditionMetrics) -> Iterator[str]:
    for by_replicate in condition.tags.values():
        for tags in by_replicate.values():
            for tag in tags:
                yield from tag or ()
