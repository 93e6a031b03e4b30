"""The metrics of one outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.utils.metrics import MetricLog
from crystallize.utils.sharing import to_python


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
        (np.longdouble(0.5), 0.5),
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


def test_numpy_scalars_inside_of_a_value_become_pythons_too() -> None:
    log = MetricLog()
    log.add("m", {np.int64(1): [np.float32(0.5)], (np.int64(2), "a"): {np.str_("b"): np.bool_(True)}})
    assert repr(log["m"]) == "[{1: [0.5], (2, 'a'): {'b': True}}]"


def test_anything_else_is_kept_by_reference() -> None:
    thing, log = object(), MetricLog()
    log.add("thing", thing)
    assert log["thing"][0] is thing


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


def test_what_is_recorded_is_kept_as_it_was_at_that_moment():
    log, array, nested = MetricLog(), np.zeros(2), {"losses": [1.0]}
    tags = {"at": [1]}
    log.add("array", array)
    log.add("nested", nested, tags)
    log.add("pair", (array, "text"))
    array += 1
    nested["losses"].append(2.0)
    tags["at"].append(2)
    assert log["array"][0].tolist() == [0.0, 0.0]
    assert log["nested"] == [{"losses": [1.0]}]
    assert log.tags["nested"] == [{"at": [1]}]
    assert log["pair"][0][0].tolist() == [0.0, 0.0]
    array_of_its_own = log["array"][0]
    array_of_its_own += 1  # unlike what a context hands out, it can be changed


def test_what_cannot_be_copied_is_kept_by_reference():
    class Tensor:
        ndim = 1

        def __deepcopy__(self, memo):
            raise RuntimeError("belongs to a computation")

    log, tensor = MetricLog(), Tensor()
    log.add("tensor", tensor)
    assert log["tensor"] == [tensor]
