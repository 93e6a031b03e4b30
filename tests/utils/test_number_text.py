"""Numbers as text."""

from __future__ import annotations

import math

from crystallize.utils.number_text import align_points, choose_decimals, decimals_of_each, format_number


def test_the_spread_decides_how_many_decimals_are_shown() -> None:
    assert choose_decimals([0.0123], [1.5]) == 4
    assert choose_decimals([None], [3.0, 4.0]) == 0
    assert choose_decimals([1e-9], [1.0]) is None


def test_a_far_smaller_value_keeps_two_digits_of_its_own_spread() -> None:
    assert decimals_of_each([0.3, 0.1], [5.0, 0.02]) == [3, 3]
    assert decimals_of_each([1e5, 0.03, None, math.nan], [1e6, 0.18, None, math.inf]) == [0, 3, 0, 0]
    assert decimals_of_each([0.3, 1e-8, 1e-8, 0], [0.1, 3e-7, 0.5, 0]) == [3, None, 3, 3]
    assert decimals_of_each([1e11, 0.03], [1e12, 0.18]) == [None, None]
    assert decimals_of_each([None, None], [2.06, -0.0012]) == [2, 4]


def test_points_stand_below_each_other_and_words_make_a_column_no_wider() -> None:
    assert align_points(["1.25", "not numeric", "12", "nan", "1.02e-08", ""]) == [
        "       1.25",
        "not numeric",
        "      12   ",
        "        nan",
        "   1.02e-08",
        "           ",
    ]


def test_numbers_that_are_none_are_told_as_what_they_are() -> None:
    assert [format_number(each, 2, sign="+") for each in (1.5, math.nan, math.inf, None)] == [
        "+1.50",
        "nan",
        "+inf",
        "",
    ]
    assert format_number(123456789012.0, None) == "1.23e+11"


def test_decimal_points_stand_below_each_other() -> None:
    assert align_points(["1.5", "12.25", "", "3"]) == [" 1.5 ", "12.25", "     ", " 3   "]
