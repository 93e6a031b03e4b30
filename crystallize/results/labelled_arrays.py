"""The metrics of a run as arrays whose axes are replicates and factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crystallize.errors import InvalidTypeError
from crystallize.statistics.moments import as_floats
from crystallize.statistics.samples import per_replicate
from crystallize.utils.levels import factors_of, level_label

if TYPE_CHECKING:
    import numpy as np
    from xarray import Dataset

    from crystallize.metrics.columns import Column
    from crystallize.metrics.condition import ConditionMetrics

_LEAST_FILLED = 0.5


def make_dataset(conditions: Sequence[ConditionMetrics], replicates: int) -> Dataset:
    """Return a variable for each metric that is a number; see :meth:`crystallize.Result.to_xarray`."""
    try:
        import xarray
    except ImportError:
        raise ImportError(
            "Result.to_xarray needs xarray. Install it with: pip install 'crystallize-lab[xarray]'"
        ) from None
    cells = [condition for condition in conditions if condition.coordinates]
    factors = factors_of(condition.coordinates for condition in cells)
    sizes = [len(levels) for levels in factors.values()]
    is_filled = bool(cells) and _LEAST_FILLED * math.prod(sizes) <= len(cells)
    if is_filled and all(condition.coordinates.keys() == factors.keys() for condition in cells):
        dims = ["replicate", *factors]
        labels = {
            factor: {level_label(factor, level): place for place, level in enumerate(levels)}
            for factor, levels in factors.items()
        }
        places = [
            tuple(of[level_label(factor, cell.coordinates[factor])] for factor, of in labels.items())
            for cell in cells
        ]
        coords = {factor: [_scalar(factor, level) for level in levels] for factor, levels in factors.items()}
    else:
        cells, sizes = list(conditions), [len(conditions)]
        dims = ["replicate", "condition"]
        places = [(number,) for number in range(len(cells))]
        coords = {"condition": [condition.name for condition in cells]}
    variables = {
        metric: (dims, values)
        for metric in dict.fromkeys(metric for condition in cells for metric in condition.columns)
        if (values := _values(cells, metric, (replicates, *sizes), places)) is not None
    }
    dataset = xarray.Dataset(_renamed(variables, {"replicate", *factors, "condition"}), coords=coords)
    dataset = dataset.assign_coords(replicate=range(replicates))
    if "condition" in dims and factors:
        dataset = dataset.assign_coords(
            {
                factor: (
                    "condition",
                    [_scalar(factor, condition.coordinates.get(factor)) for condition in cells],
                )
                for factor in factors
            }
        )
    return dataset


def _renamed(variables: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """Return the variables; one that is called like a dimension is ``metric:NAME``."""
    return {f"metric:{name}" if name in taken else name: variable for name, variable in variables.items()}


def _scalar(factor: str, level: Any) -> Any:
    """Return a level as a label of an axis: a list is a text there."""
    return level if isinstance(level, bool | int | float | str | None) else level_label(factor, level)


def _values(
    cells: Sequence[ConditionMetrics], metric: str, shape: tuple[int, ...], places: Sequence[tuple[int, ...]]
) -> np.ndarray[Any, Any] | None:
    """Return the metric's values at the places of the conditions; None if one is no number."""
    import numpy as np

    values = np.full(shape, np.nan)
    for condition, place in zip(cells, places, strict=True):
        column: Column | None = condition.columns.get(metric)
        if column is None:
            continue
        try:
            numbers = as_floats(per_replicate(column, metric))
        except InvalidTypeError:
            return None
        index: Any = ([replicate for replicate, _ in column.by_replicate()], *place)
        values[index] = numbers
    return values
