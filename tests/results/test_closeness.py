"""How far values are from each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.results.closeness import (
    INCOMPARABLE,
    SAME,
    Distance,
    Tolerance,
    distance,
    is_identical,
    leaves,
    spread,
)

NUMBERS = st.integers() | st.floats()


@given(NUMBERS)
def test_a_number_is_identical_to_itself_whatever_it_is(number: float) -> None:
    assert is_identical(number, number)
    assert distance(number, [1.5, number]) is None
    assert spread([number, number]) == SAME


@pytest.mark.parametrize(
    ("one", "other"), [(0.0, -0.0), (1, 1.0), (True, 1), (math.nan, 1.0), ("1", 1), (None, 0.0)]
)
def test_sign_of_zero_type_and_nan_tell_values_apart(one: Any, other: Any) -> None:
    assert not is_identical(one, other)


def test_addresses_and_the_place_of_a_folder_do_not() -> None:
    assert is_identical("<M at 0x7f01>", "<M at 0x55aa>")
    assert is_identical("crystallize_folder_fit_12ab.steps.M", "crystallize_folder_fit_99ff.steps.M")


@given(NUMBERS, st.lists(NUMBERS, min_size=1))
def test_a_number_between_those_of_the_reruns_has_no_distance(number: float, others: list[float]) -> None:
    found = distance(number, others)
    finite = [other for other in others if isinstance(other, int) or math.isfinite(other)]
    if found is not None and finite and min(finite) <= number <= max(finite):
        assert found == SAME


def test_a_distance_is_counted_from_the_nearest_end() -> None:
    assert distance(5.0, [1.0, 4.0]) == Distance(1.0, 0.2)
    assert distance(-8.0, [-4.0, 4.0]) == Distance(4.0, 0.5)
    assert spread([1.0, 4.0, 2.0]) == Distance(3.0, 0.75)


@pytest.mark.parametrize(
    ("value", "other"), [(math.nan, 1.0), (1.0, math.inf), ("a", "b"), (1.0, None), (10**400, 1.0)]
)
def test_what_is_no_finite_number_is_infinitely_far(value: Any, other: Any) -> None:
    assert distance(value, [other]) == INCOMPARABLE
    assert spread([value, other]) == INCOMPARABLE


def test_a_value_is_taken_apart_whatever_the_order_of_sets_and_mappings() -> None:
    value = {"curve": (1.0, [2]), "names": {"x", "y"}}
    assert leaves(value) == leaves({"names": {"y", "x"}, "curve": (1.0, [2])})
    assert [leaf for _, leaf in leaves(value)] == [dict, tuple, 1.0, list, 2, set, "x", "y"]
    assert leaves([]) != leaves(())


def test_an_array_is_its_type_its_shape_and_its_numbers() -> None:
    array = np.array([[1.0, 2.0]], dtype=np.float32)
    assert leaves(array)[0] == ("", ("<f4", (1, 2)))
    assert leaves(array)[-1] == ("[0][1]", 2.0)
    assert leaves(array)[0] != leaves(array.astype(float))[0]


def test_one_limit_is_enough_unless_both_are_needed() -> None:
    near_zero = Distance(1e-17, 1.0)
    assert Tolerance(1e-9, 1e-12).allows(near_zero)
    assert not Tolerance(1e-9, 1e-12, needs_both=True).allows(near_zero)
    assert not Tolerance().allows(SAME)  # -0.0 is not 0.0 where every bit counts
    assert Tolerance(1e-9).allows(SAME)


@pytest.mark.parametrize(("rtol", "kind"), [(-1.0, InvalidValueError), (math.nan, InvalidValueError)])
def test_a_limit_is_a_finite_number_of_0_or_more(rtol: float, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="rtol is a number of 0 or more"):
        Tolerance.of(rtol, 0)
    with pytest.raises(InvalidTypeError, match="atol is a number, got '1e-3'"):
        Tolerance.of(0, "1e-3")
