"""Arguments that have to be counts or switches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.utils.checks import check_bool, check_count


@pytest.mark.parametrize("value", [1, 2**100, np.int64(7)])
def test_a_count_is_an_int_of_any_kind_and_size(value: Any) -> None:
    count = check_count("replicates", value)
    assert (count, type(count)) == (value, int)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, np.array([1, 2]), np.float64(1)])
def test_what_is_no_int_is_refused(value: Any) -> None:
    with pytest.raises(
        InvalidTypeError, match=r"^replicates is an int of at least 1, got .*\. Leave it out$"
    ):
        check_count("replicates", value, hint="Leave it out")


def test_a_count_below_the_least_is_refused() -> None:
    assert check_count("seed", 0, least=0) == 0
    with pytest.raises(InvalidValueError, match=r"^seed is at least 0, got -1$"):
        check_count("seed", -1, least=0)


def test_a_switch_is_a_bool_and_nothing_that_counts_as_one() -> None:
    assert check_bool("versioned", False) is False
    with pytest.raises(InvalidTypeError, match=r"^versioned is True or False, got 1$"):
        check_bool("versioned", 1)
