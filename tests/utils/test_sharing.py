"""Values in a form that no use of them can change for the next one."""

from __future__ import annotations

from collections import Counter, deque, namedtuple

import numpy as np
import pandas as pd
import polars as pl
import pytest

from crystallize import Experiment, Treatment, data_source, pipeline_step, treatment
from crystallize.utils.json_text import to_json
from crystallize.utils.sharing import protect, snapshot, to_python
from crystallize.utils.stage import describe_parameters

Pair = namedtuple("Pair", "first second")


@pytest.mark.parametrize(
    "value", [1, "a", None, (1, (2, "b")), Pair(1, 2), frozenset({1}), b"x", object(), range(3)]
)
def test_what_nobody_can_change_comes_itself(value):
    assert protect(value) is value


@pytest.mark.parametrize(
    "value", [[1], {"a": [1]}, {1}, (1, [2]), Pair(1, [2]), deque([1]), bytearray(b"x"), Counter("aab")]
)
def test_containers_come_as_copies(value):
    copy = protect(value)
    assert copy is not value
    assert (copy, type(copy)) == (value, type(value))


def test_an_array_comes_as_a_view_that_cannot_be_written_to():
    array = np.zeros(3)
    view = protect({"array": array})["array"]
    assert view.base is array
    assert not view.flags.writeable


@pytest.mark.parametrize(
    ("frame", "write"),
    [
        (pd.DataFrame({"x": [1.0, 2.0]}), lambda frame: frame.__setitem__("y", 1)),
        (pd.DataFrame({"x": [1.0, 2.0]}), lambda frame: frame.loc.__setitem__((0, "x"), 5)),
        (pd.Series([1.0, 2.0]), lambda series: series.iloc.__setitem__(0, 5)),
        (pl.DataFrame({"x": [1.0, 2.0]}), lambda frame: frame.__setitem__((0, "x"), 5)),
        (pl.Series([1.0, 2.0]), lambda series: series.__setitem__(0, 5)),
    ],
)
def test_what_a_step_writes_to_a_data_frame_no_other_outcome_sees(frame, write):
    def total(data, table):
        found = float(np.sum(table.to_numpy()))
        write(table)
        return data, {"total": found}

    result = Experiment(
        lambda: 1, [total], initial_ctx={"table": frame}, treatments=[Treatment("same", {})]
    ).run(replicates=2)
    for condition in (result.metrics.baseline, result.metrics.treatments["same"]):
        assert condition.metrics["total"] == [3.0, 3.0]


class Quantity(np.ndarray):
    """A number with a unit, as astropy's are: its item is one again, and lists of it are refused."""

    def item(self):
        return self.copy()

    def tolist(self):
        raise NotImplementedError


def test_a_quantity_is_no_number_and_is_kept_as_it_is_now():
    quantity = np.array(3.0).view(Quantity)
    assert to_python(quantity) is quantity
    assert describe_parameters({"radius": quantity}) == {"radius": "Quantity(3.)"}
    kept = snapshot(quantity)
    quantity += 1
    assert (type(kept), float(kept)) == (Quantity, 3.0)
    assert to_json({"radius": kept}) == '{"radius": "Quantity(3.)"}'


@data_source
def source(values, more=[0]):  # noqa: B006 - the point
    values.append(len(values))
    more.append(1)
    return [*values, len(more)]


@pipeline_step
def step(data, *, seen, kept=[], options=None):  # noqa: B006
    seen.append(1)
    kept.append(1)
    options["calls"] = options.get("calls", 0) + 1
    return data, {"value": [len(data), len(seen), len(kept), options["calls"]]}


@treatment("more")
def more(ctx, *, by):
    by.append(1)
    ctx.add("kept", [0] * len(by))


def plain(data, kept=[]):  # noqa: B006
    kept.append(1)
    return data, {"plain": len(kept)}


@pytest.mark.parametrize("execution", ["serial", "thread", "process", "async"])
def test_configuration_is_the_same_at_each_call(execution):
    experiment = Experiment(
        source(values=[5]),
        [step(seen=[], options={}), plain],
        treatments=[more(by=[1]), Treatment("other", {"kept": [0, 0, 0]})],
        execution=execution,
    )
    metrics = experiment.run(replicates=3).metrics
    assert metrics.baseline.metrics == {"value": [[3, 1, 1, 1]] * 3, "plain": [1] * 3}
    assert metrics.treatments["more"].metrics == {"value": [[3, 1, 3, 1]] * 3, "plain": [3] * 3}
    assert metrics.treatments["other"].metrics == {"value": [[3, 1, 4, 1]] * 3, "plain": [4] * 3}


def test_an_array_that_is_an_argument_is_not_copied_and_cannot_be_changed():
    weights = np.ones(3)

    @pipeline_step
    def weigh(data, *, weights):
        weights *= 2

    result = Experiment(lambda: 1, [weigh(weights=weights)]).run()
    assert "read-only" in result.errors[0].message
    assert weights.tolist() == [1.0, 1.0, 1.0]
