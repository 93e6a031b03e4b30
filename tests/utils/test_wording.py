"""Suggestions for names that were misspelt."""

from __future__ import annotations

import pytest

from crystallize.utils.wording import did_you_mean, first_of, listed, name_hint, shortened


@pytest.mark.parametrize(
    ("name", "choices", "suggestion"),
    [
        ("proces", ["process", "thread"], "Did you mean 'process'?"),
        ("procss", {"process": 1}, "Did you mean 'process'?"),
        ("xyz", ["process", "thread"], ""),
        ("x", [], ""),
        (5, ["five"], ""),
    ],
)
def test_the_nearest_choice_is_suggested_if_one_is_near(
    name: object, choices: list[str], suggestion: str
) -> None:
    assert did_you_mean(name, choices) == suggestion


def test_names_are_listed_quoted_and_sorted() -> None:
    assert listed(["b", "a"]) == "'a', 'b'"
    assert listed(iter(())) == "nothing"
    assert listed(f"t{number:03}" for number in range(1000)).endswith("'t038' and 961 more")


def test_of_many_names_the_first_are_shown_and_the_others_counted() -> None:
    assert first_of(("a", "b", "c"), 3) == "a, b, c"
    assert first_of(("a", "b", "c", "d"), 3) == "a, b and 2 more"
    assert first_of(()) == ""


def test_the_advice_for_a_wrong_name_tells_the_nearest_before_all_that_there_are() -> None:
    assert name_hint("proces", "There are", ["thread", "process"]) == (
        "Did you mean 'process'? There are 'process', 'thread'"
    )
    assert name_hint("x", "It has", iter(())) == "It has nothing"


def test_a_long_text_is_cut_off() -> None:
    assert shortened("four", 4) == "four"
    assert shortened("fives", 4) == "f..."
