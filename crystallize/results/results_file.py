"""The file results.json: what one condition measured, exactly.

::

    {"metrics": {"loss": [0.5, 0.75], "curve": [3, 2, 2, 1]},
     "replicates": {"loss": [0, 2], "curve": [0, 0, 2, 2]},
     "failed": [1]}

The values of a metric are one of each replicate from 0 on, unless ``replicates`` tells for each value which replicate
recorded it. ``failed`` are the replicates that failed under the condition. Both keys are there only if needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from crystallize.errors import StoreError
from crystallize.metrics.columns import Column, in_slices
from crystallize.metrics.condition import ConditionMetrics
from crystallize.store.layout import RESULTS, read_in
from crystallize.store.outcome import OutcomeError
from crystallize.utils.json_text import parse_json, to_json

_BELIEVED = 1_000_000
"""So many replicates may have recorded nothing; where there are more, each has left a value or has failed."""


def format_results(condition: ConditionMetrics) -> bytearray:
    """Return the content of results.json, made piece by piece: lists of a long run are large beside its columns."""
    content = bytearray()
    for piece in _pieces(condition):
        content += piece.encode()
    return content


def _pieces(condition: ConditionMetrics) -> Iterator[str]:
    columns = condition.columns
    yield '{"metrics": '
    yield from _object_of_lists({name: column.slices() for name, column in columns.items()})
    uneven = {name: column for name, column in columns.items() if not column.is_one_each}
    if uneven:
        yield ', "replicates": '
        yield from _object_of_lists({name: in_slices(column.replicates()) for name, column in uneven.items()})
    if condition.errors:
        yield f', "failed": {to_json([error.replicate for error in condition.errors])}'
    yield "}\n"


def _object_of_lists(slices_by_name: Mapping[str, Iterable[list[Any]]]) -> Iterator[str]:
    yield "{"
    for number, (name, slices) in enumerate(slices_by_name.items()):
        yield f"{', ' if number else ''}{to_json(name)}: ["
        for place, values in enumerate(slices):
            yield f"{', ' if place else ''}{to_json(values)[1:-1]}"
        yield "]"
    yield "}"


def read_results(run: Path, condition: str, replicates: int) -> ConditionMetrics:
    """Return what :func:`format_results` was given, as far as the file has it.

    Seeds, tags, and why a replicate failed, it has not. What JSON has no form for became text.

    Parameters
    ----------
    run : pathlib.Path
        The folder of the run.
    condition : str
        The condition, whose folder has the file.
    replicates : int
        How many replicates the run had, so its metadata say.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StoreError
        If the file is damaged.
    """
    columns, failed = _read(run, condition, replicates)
    errors = [
        OutcomeError(replicate, condition, None, "unknown error", "why is not stored", "")
        for replicate in failed
    ]
    return ConditionMetrics(condition, columns, {}, [None] * replicates, errors)


def read_columns(run: Path, condition: str, replicates: int | None) -> dict[str, Column]:
    """Return the values of each metric that the file has; `replicates` is None if no metadata tell their number.

    Raises
    ------
    FileNotFoundError, StoreError
        As :func:`read_results`.
    """
    return _read(run, condition, replicates)[0]


def _read(run: Path, condition: str, replicates: int | None) -> tuple[dict[str, Column], Any]:
    try:
        stored = parse_json(read_in(run, condition, RESULTS))
        if replicates is None:
            replicates = max(map(len, stored["metrics"].values()), default=0)
        _check_count(replicates, stored)
        owners = stored.get("replicates", {})
        columns = {
            metric: _read_column(values, owners.get(metric, range(len(values))), place, replicates)
            for place, (metric, values) in enumerate(stored["metrics"].items())
        }
        return columns, _check_replicates(stored.get("failed", []), replicates)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            "the results of a run cannot be read",
            str(run / condition / RESULTS),
            f"Run the experiment again ({error!r})",
        ) from error


def _check_count(replicates: int, stored: Any) -> None:
    """Refuse a number of replicates that would fill the memory, where hardly any of them left a trace."""
    found = sum(map(len, stored["metrics"].values())) + len(stored.get("failed", ()))
    if replicates < 1 or (replicates > _BELIEVED and replicates > found):
        raise ValueError(f"the metadata tell of {replicates} replicates, and the results have {found} values")


def _read_column(values: Any, owners: Any, place: int, replicates: int) -> Column:
    if not isinstance(values, list):
        raise TypeError(f"the values of a metric are a list, not {values!r:.60}")
    column = Column()
    numbered = zip(_check_replicates(owners, replicates), values, strict=True)
    for replicate, group in groupby(numbered, key=lambda pair: pair[0]):
        column.put(replicate, [value for _, value in group], place)
    return column


def _check_replicates(numbers: Any, replicates: int) -> Any:
    """Return `numbers` if they are replicates of the run in order; each of them may stand there several times."""
    if isinstance(numbers, list):
        if any(type(number) is not int for number in numbers) or numbers != sorted(numbers):
            raise ValueError("the replicates are not numbers in order")
    elif not isinstance(numbers, range):
        raise TypeError(f"replicates are a list, not {numbers!r:.60}")
    if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < replicates:
        raise ValueError(f"the run has {replicates} replicates, and values of replicate {numbers[-1]}")
    return numbers
