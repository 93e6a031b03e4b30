import copy
import enum
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import Experiment, Treatment, cases, grid, where, zipped
from crystallize.errors import InvalidNameError, InvalidTypeError, InvalidValueError
from crystallize.experiments.designs.design import MOST_CELLS
from crystallize.experiments.treatment import as_treatments
from crystallize.store.layout import check_condition_name
from crystallize.utils.levels import level_label


def names(design):
    return [treatment.name for treatment in design]


# -- making ------------------------------------------------------------------------------------------------------


def test_a_grid_has_a_treatment_for_each_combination_and_the_last_factor_changes_first():
    design = grid(lr=[0.1, 0.01], depth=[2, 4])
    assert names(design) == ["lr=0.1,depth=2", "lr=0.1,depth=4", "lr=0.01,depth=2", "lr=0.01,depth=4"]
    first = next(iter(design))
    assert first.settings == first.coordinates == {"lr": 0.1, "depth": 2}


def test_zipped_factors_go_together():
    assert names(zipped(model=["cnn", "mlp"], epochs=[5, 20])) == [
        "model=cnn,epochs=5",
        "model=mlp,epochs=20",
    ]


def test_zipped_factors_may_repeat_levels_as_long_as_no_cell_is_repeated():
    assert names(zipped(a=[1, 1], b=[1, 2])) == ["a=1,b=1", "a=1,b=2"]


def test_cases_are_written_out_and_need_not_have_the_same_factors():
    written = ({"model": "cnn", "lr": 0.1}, {"model": "mlp"})
    assert names(cases(*written)) == names(cases(list(written))) == ["model=cnn,lr=0.1", "model=mlp"]


def test_factors_whose_names_are_no_keywords_come_in_a_mapping():
    assert names(grid({"optimizer.lr": [1, 2]}, depth=[3])) == [
        "optimizer.lr=1,depth=3",
        "optimizer.lr=2,depth=3",
    ]


def test_product_sum_difference_and_where_go_together():
    design = (
        grid(lr=[0.01, 0.1]) * zipped(model=["a", "b"], width=[1, 2])
        + cases({"model": "c"})
        - where(lambda cell: cell.get("lr") == 0.1 and cell.model == "b")
    )
    assert names(design) == [
        "lr=0.01,model=a,width=1",
        "lr=0.01,model=b,width=2",
        "lr=0.1,model=a,width=1",
        "model=c",
    ]
    assert names(design - cases({"model": "c"})) == names(design)[:3]
    assert names(design.where(lambda cell: cell["model"] == "c")) == ["model=c"]


def test_a_cell_is_the_same_in_another_order_of_its_factors():
    assert names(grid(a=[1, 2], b=[1]) - cases({"b": 1, "a": 2})) == ["a=1,b=1"]


def test_a_design_tells_its_number_of_cells_its_factors_and_its_cells():
    design = grid(lr=[0.1, 0.01], depth=[2, 4, 8])
    assert len(design) == 6
    assert design.factors == {"lr": [0.1, 0.01], "depth": [2, 4, 8]}
    assert repr(design) == "<Design of 6 cells; levels of lr: 2, depth: 3>"
    cell = design.cells[-1]
    assert (cell.lr, cell["depth"], dict(cell)) == (0.01, 8, {"lr": 0.01, "depth": 8})


def test_a_cell_can_be_copied_and_pickled():
    cell = grid(a=[1]).cells[0]
    assert copy.copy(cell) == pickle.loads(pickle.dumps(cell)) == cell


def test_numbers_of_numpy_become_pythons():
    design = grid(lr=np.logspace(-2, -1, 2), depth=np.arange(1, 3))
    assert names(design)[-1] == "lr=0.1,depth=2"
    assert {type(level) for cell in design.cells for level in cell.values()} == {float, int}


# -- names -------------------------------------------------------------------------------------------------------


class Kind(enum.Enum):
    FAST = 1


def halve(x):
    return x / 2


@pytest.mark.parametrize(
    ("level", "label"),
    [
        (1e-5, "1e-05"),
        (-3, "-3"),
        (True, "True"),
        (None, "None"),
        ("adam", "adam"),
        ([64, 64], "64-64"),
        ((0.5, "x"), "0.5-x"),
        (halve, "halve"),
        (abs, "abs"),
        (Path, "Path"),
        (Kind.FAST, "FAST"),
        (math.inf, "inf"),
    ],
)
def test_a_level_is_called_as_one_would_write_it(level, label):
    assert names(grid(x=[level])) == [f"x={label}"]


@pytest.mark.parametrize(
    "level",
    [
        "data/train.csv",
        "a,b=c",
        "two words",
        "",
        "..",
        "ends.",
        "x" * 60,
        10**40,
        {"a": 1},
        [],
        b"raw",
        "\ud800",
    ],
)
def test_a_level_that_would_not_do_in_the_name_of_a_folder_is_shortened_with_a_hash(level):
    (name,) = names(grid(x=[level]))
    assert check_condition_name(name) == name
    assert len(name) <= len("x=") + 30
    assert name[-9] == "~"


@given(st.lists(st.text() | st.floats() | st.integers(), min_size=1, max_size=8, unique_by=repr))
def test_every_name_is_that_of_a_folder_or_the_levels_are_refused(levels):
    if len({level_label("x", level) for level in levels}) < len(levels):
        with pytest.raises(InvalidValueError, match=r"would both be called|twice"):
            grid(x=levels)
        return
    made = names(grid(x=levels))
    assert list(map(check_condition_name, made)) == made
    assert len(set(made)) == len(levels)


def test_a_label_is_its_own_label():
    for level in ("data/train.csv", "x" * 60, {"a": 1}, object):
        label = level_label("x", level)
        assert level_label("x", label) == label


def test_long_names_keep_their_first_coordinates_and_stay_distinct():
    design = grid({f"factor_{number}": [number, 100 + number] for number in range(12)})
    made = names(design)
    assert len(set(made)) == 2**12
    assert max(map(len, made)) <= 100
    assert made[0].startswith("factor_0=0,factor_1=1,")


def test_a_secret_is_not_part_of_the_name():
    (name,) = names(grid(api_key=["sk-123456"]))
    assert "123456" not in name


def test_names_do_not_depend_on_other_levels_and_other_treatments():
    small, large = names(grid(lr=[0.1], depth=[2, 4])), names(grid(lr=[1, 0.1, 0.01], depth=[8, 4, 2]))
    assert set(small) <= set(large)


def test_names_are_the_same_in_every_process():
    code = "from crystallize import grid; print(*[t.name for t in grid(x=['a b', {'k': {1, 2}}, [None]])])"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert again.split() == names(grid(x=["a b", {"k": {1, 2}}, [None]]))


# -- in experiments ----------------------------------------------------------------------------------------------


def test_designs_and_treatments_stand_in_one_list():
    made = as_treatments([Treatment("plain", {"lr": 1}), grid(lr=[0.1, 0.01])])
    assert [each.name for each in made] == ["plain", "lr=0.1", "lr=0.01"]
    assert made[0].coordinates == {}


def test_an_experiment_takes_a_design_as_its_treatments():
    experiment = Experiment(lambda: 1, [scale], treatments=grid(factor=[2, 3]), name="g")
    assert experiment.conditions == ("baseline", "factor=2", "factor=3")


def scale(data, factor=1):
    return data, {"y": data * factor}


def test_two_designs_with_one_cell_are_refused():
    with pytest.raises(InvalidNameError, match="two treatments are called 'a=1'"):
        as_treatments([grid(a=[1, 2]), grid(a=[1])])


def test_levels_that_some_systems_do_not_tell_apart_are_refused():
    with pytest.raises(InvalidNameError, match="would share a folder on some systems"):
        as_treatments(grid(optimizer=["Adam", "adam"]))


# -- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid(), "grid has no factors"),
        (lambda: grid(lr=[]), "the factor 'lr' has no levels"),
        (lambda: cases(), "cases has no cells"),
        (lambda: cases({}), "case 0 sets nothing"),
        (lambda: grid(lr=[1, 2, 1]), "the factor 'lr' has the level 1 twice"),
        (lambda: grid(lr=[1, 1.0]), "the levels 1 and 1.0 of 'lr' are equal"),
        (lambda: grid(lr=[1, "1"]), "the levels 1 and '1' of 'lr' would both be called '1'"),
        (lambda: cases({"lr": 1}, {"lr": "1"}), "the levels 1 and '1' of 'lr' would both be called '1'"),
        (lambda: cases({"lr": 1}, {"lr": 1}), "cases has the cell lr=1 twice"),
        (
            lambda: grid(a=[1]) + grid(a=[1, 2]),
            r"the sum has the cell a=1 twice. Leave it out once: a \+ \(b - a\)",
        ),
        (lambda: grid(a=[1]) * grid(a=[2]), "both sides of the product have the factor 'a'"),
        (lambda: grid(a=[1]) - grid(a=[1]), "the difference has no cells"),
        (lambda: grid(a=[1]) - where(lambda cell: True), "leaves of the design has no cells"),
        (lambda: zipped(model=[1, 2, 3], epochs=[1, 2]), "'model' has 3, and 'epochs' has 2"),
        (lambda: grid(replicate=[1]), "sets 'replicate', which the framework sets itself"),
        (lambda: grid({"a": [1]}, a=[2]), "has the factor 'a' twice"),
        (lambda: grid(a=range(1000), b=range(1000)), "the grid has 1,000,000 cells"),
        (lambda: grid(a=range(1000)) * grid(b=range(1000)), "the product has 1,000,000 cells"),
        (
            lambda: cases({"a": number} for number in range(MOST_CELLS + 1)),
            "cases has more than 100,000 cells",
        ),
    ],
)
def test_a_design_that_cannot_be_meant_is_refused(make, message):
    with pytest.raises(InvalidValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid(lr=0.1), "the levels of 'lr' are a list, got 0.1"),
        (lambda: grid(optimizer="adam"), "the levels of 'optimizer' are a list, got 'adam'"),
        (lambda: grid(lr={0.1, 0.2}), "in the order in which they are to be run"),
        (lambda: grid({1: [2]}), "context keys are str"),
        (lambda: cases("a=1"), "cases are mappings of factors to levels"),
        (lambda: cases(["a"]), "case 0 is a mapping"),
        (lambda: grid([0.1, 0.2]), "grid is a mapping of context keys to values"),
        (lambda: zipped(3), "zipped is a mapping of context keys to values"),
        (lambda: where(True), "where takes a function of a cell"),
        (lambda: grid(a=[1]) + Treatment("b", {}), "unsupported operand"),
        (lambda: as_treatments([grid(a=[1]), 3]), "a treatment is a Treatment, got 3"),
    ],
)
def test_a_wrong_type_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_predicate_that_fails_names_the_cell():
    with pytest.raises(AttributeError, match=r"the cell has no factor 'dept'.*Did you mean 'depth'") as error:
        grid(depth=[2, 4]).where(lambda cell: cell.dept > 2)
    assert "the cell depth=2" in error.value.__notes__[0]


def test_coordinates_are_a_mapping():
    with pytest.raises(InvalidTypeError, match="the coordinates of treatment 'a'"):
        Treatment("a", {}, coordinates=[1])
