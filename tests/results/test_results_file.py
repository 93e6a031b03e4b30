"""What a condition measured, on its way through results.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize.errors import StoreError
from crystallize.metrics.columns import Column
from crystallize.metrics.condition import ConditionMetrics
from crystallize.results.results_file import format_results, read_results
from crystallize.store.outcome import OutcomeError

REPLICATES = 8
NUMBERS = st.floats() | st.integers() | st.integers(-(10**400), 10**400)
PLAIN = NUMBERS | st.booleans() | st.none() | st.text(max_size=3)
OBJECTS = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)
RECORDED = st.one_of(
    st.lists(st.floats().map(lambda value: [value]), max_size=REPLICATES),
    st.lists(st.integers().map(lambda value: [value]), max_size=REPLICATES),
    st.lists(st.lists(NUMBERS, max_size=3), max_size=REPLICATES),
    st.lists(st.lists(OBJECTS, max_size=3), max_size=REPLICATES),
).map(lambda recorded: dict(enumerate(recorded)))


def condition(recorded: dict[str, dict[int, list[Any]]], failed: tuple[int, ...] = ()) -> ConditionMetrics:
    columns = {metric: Column() for metric in recorded}
    for place, (metric, by_replicate) in enumerate(recorded.items()):
        for replicate, values in by_replicate.items():
            columns[metric].put(replicate, values, place)
    errors = [OutcomeError(replicate, "high", "Fit", "ValueError", "bad", "...") for replicate in failed]
    return ConditionMetrics("high", columns, {}, [None] * REPLICATES, errors)


def store(content: bytes | bytearray, folder: Path) -> Path:
    file = folder / "high" / "results.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return file


def read_back(stored: ConditionMetrics) -> ConditionMetrics:
    with TemporaryDirectory() as folder:
        store(format_results(stored), Path(folder))
        return read_results(Path(folder), "high", REPLICATES)


@settings(max_examples=50)
@given(recorded=st.dictionaries(st.text(max_size=3), RECORDED, max_size=3), failed=st.sets(st.integers(0, 7)))
def test_what_is_read_is_what_was_measured(
    recorded: dict[str, dict[int, list[Any]]], failed: set[int]
) -> None:
    stored = condition(recorded, tuple(sorted(failed)))
    read = read_back(stored)
    assert list(read.columns) == list(stored.columns)
    for metric, column in stored.columns.items():
        same = read.columns[metric]
        assert repr(list(same.by_replicate())) == repr(list(column.by_replicate()))  # NaN, -0.0, 1 and 1.0
        assert (same.is_dense, same.is_numeric) == (column.is_dense, column.is_numeric)
    assert read.name == "high"
    assert [error.replicate for error in read.errors] == sorted(failed)
    assert format_results(read) == format_results(stored)


@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        ({0: [1], 1: [2]}, '{"metrics": {"m": [1, 2]}}\n'),
        ({1: ["b"], 0: [1.5]}, '{"metrics": {"m": [1.5, "b"]}}\n'),
        ({0: [1, 2], 1: [3]}, '{"metrics": {"m": [1, 2, 3]}, "replicates": {"m": [0, 0, 1]}}\n'),
        ({1: [-0.0], 3: [math.nan]}, '{"metrics": {"m": [-0.0, NaN]}, "replicates": {"m": [1, 3]}}\n'),
    ],
)
def test_replicates_are_named_only_if_they_have_not_one_value_each(
    recorded: dict[int, list[Any]], text: str
) -> None:
    assert format_results(condition({"m": recorded})).decode() == text


def test_a_failed_replicate_is_told_from_one_that_recorded_nothing() -> None:
    stored = condition({"m": {0: [1], 3: [2]}}, failed=(1,))
    assert json.loads(format_results(stored))["failed"] == [1]
    (error,) = read_back(stored).errors
    assert str(error) == "unknown error: why is not stored (condition 'high', replicate 1)"


def test_what_json_has_no_form_for_becomes_text() -> None:
    stored = condition({"m": {0: [1j], 1: [10**5000]}})
    assert read_back(stored).metrics == {"m": ["1j", hex(10**5000)]}


@pytest.mark.parametrize("replicates", [range(4000), range(1, 4001)])
def test_a_long_column_is_written_as_a_short_one(replicates: range) -> None:
    stored = condition({"m": {replicate: [replicate / 3] for replicate in replicates}})
    written = json.loads(format_results(stored))
    assert written["metrics"]["m"] == [replicate / 3 for replicate in replicates]
    assert written.get("replicates", {"m": list(range(4000))})["m"] == list(replicates)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"metrics": ',
        "[]",
        "{}",
        '{"metrics": 3}',
        '{"metrics": {"m": 3}}',
        '{"metrics": {"m": "abc"}}',
        '{"metrics": {"m": [1, 2]}, "replicates": []}',
        '{"metrics": {"m": [1, 2]}, "replicates": {"m": 0}}',
        '{"metrics": {"m": [1, 2]}, "replicates": {"m": [0]}}',
        '{"metrics": {"m": [1, 2]}, "replicates": {"m": [1, 0]}}',
        '{"metrics": {"m": [1, 2]}, "replicates": {"m": [0, 8]}}',
        '{"metrics": {"m": [1, 2]}, "replicates": {"m": [-1, 0]}}',
        '{"metrics": {"m": [1, 2]}, "replicates": {"m": [0, 1.0]}}',
        '{"metrics": {"m": [1, 2, 3, 4, 5, 6, 7, 8, 9]}}',
        '{"metrics": {}, "failed": [8]}',
        '{"metrics": {}, "failed": true}',
        '{"metrics": {"m": ' + "[" * 100_000,
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    file = store(text.encode(), tmp_path)
    with pytest.raises(StoreError, match=r"results of a run cannot be read") as caught:
        read_results(tmp_path, "high", REPLICATES)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_results(tmp_path, "high", REPLICATES)
