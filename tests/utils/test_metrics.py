"""The metrics of one outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.utils.metrics import MetricLog, to_python


def test_values_of_a_name_stand_in_the_order_of_recording() -> None:
    log = MetricLog()
    log.add("b", 1)
    log.add("a", 2)
    log.add("b", 3)
    assert dict(log) == {"b": [1, 3], "a": [2]}
    assert list(log) == ["b", "a"]
    assert len(log) == 2
    assert log["b"] == [1, 3]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(2.5), 2.5),
        (True, True),
        (3, 3),
        ("text", "text"),
        (None, None),
    ],
)
def test_numpy_scalars_become_pythons_and_numbers_stay_numbers(value: Any, kept: Any) -> None:
    log = MetricLog()
    log.add("m", value)
    assert log["m"] == [kept]
    assert type(log["m"][0]) is type(kept)
    assert type(to_python(value)) is type(kept)


def test_anything_else_is_kept_as_it_is() -> None:
    array, rows = np.arange(3), [1, 2]
    log = MetricLog()
    log.add("array", array)
    log.add("rows", rows)
    assert log["array"][0] is array
    assert log["rows"][0] is rows


def test_tags_belong_to_the_value_they_came_with() -> None:
    log = MetricLog()
    log.add("loss", 1.0)
    log.add("loss", 2.0, {"epoch": np.int64(1)})
    log.add("loss", 3.0)
    log.add("other", 4.0)
    assert log.tags == {"loss": [None, {"epoch": 1}, None]}
    assert type(log.tags["loss"][1]["epoch"]) is int  # type: ignore[index]


def test_tags_are_copied() -> None:
    log, tags = MetricLog(), {"epoch": 1}
    log.add("loss", 1.0, tags)
    tags["epoch"] = 2
    assert log.tags["loss"] == [{"epoch": 1}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 1.0), "a metric's name is a str, got 5"),
        ((None, 1.0), "a metric's name is a str"),
        (("loss", 1.0, "epoch"), "the tags of metric 'loss' are a mapping with str keys, got 'epoch'"),
        (("loss", 1.0, [1]), "the tags of metric 'loss' are a mapping"),
        (("loss", 1.0, {1: "a"}), "the tags of metric 'loss' are a mapping with str keys"),
        (
            ("loss", 1.0, {"value": 3}),
            "a tag of metric 'loss' is called 'value'.*to_frame.*Choose another name",
        ),
        (("loss", 1.0, {"replicate": 3}), "a tag of metric 'loss' is called 'replicate'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(arguments: Any, message: str) -> None:
    log = MetricLog()
    with pytest.raises((InvalidTypeError, InvalidValueError), match=message):
        log.add(*arguments)
    assert dict(log) == {}
    assert log.tags == {}


def test_what_is_masked_is_no_number() -> None:
    log = MetricLog()
    log.add("loss", np.ma.array([1.0], mask=[True]).mean())
    log.add("loss", np.ma.array([1.0]).mean())
    assert repr(log["loss"]) == "[nan, 1.0]"
