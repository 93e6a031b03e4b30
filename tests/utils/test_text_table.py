"""Tables of numbers as text."""

from __future__ import annotations

from rich.cells import cell_len

from crystallize.utils.text_table import TextTable, shorten, wrapped

LONG = ("accuracy_on_the_validation_set", "accuracy_on_the_test_set")


def test_names_stand_on_the_left_and_numbers_on_the_right() -> None:
    table = TextTable(("metric", "condition", "mean"), [("loss", "base", "1.5"), ("loss", "high", "12.0")])
    assert table.lines() == [
        "metric  condition  mean",
        "-----------------------",
        "loss    base        1.5",
        "loss    high       12.0",
    ]


def test_names_are_cut_until_the_table_fits_and_numbers_never() -> None:
    rows = [(name, "a_treatment_of_a_long_name", "0.123456") for name in LONG]
    lines = TextTable(("metric", "condition", "mean"), rows).lines(40)
    assert max(map(len, lines)) == 40
    assert all(line.endswith("0.123456") for line in lines[2:])


def test_names_are_cut_in_the_middle_and_stay_apart() -> None:
    assert shorten(["the_first_of_all_names"], 11) == {"the_first_of_all_names": "the_...ames"}
    alike = [f"{'x' * 20}_{letter}_{'y' * 20}" for letter in "ab"]
    assert len(set(shorten(alike, 12).values())) == 2
    assert all(len(short) <= 12 for short in shorten(alike, 12).values())


def test_names_of_many_coordinates_stay_distinct() -> None:
    cells = [
        f"lr={lr},depth={depth},model={model},width=64"
        for lr in (0.1, 0.01)
        for depth in (2, 4)
        for model in "ab"
    ]
    for width in (12, 16, 20, 24):
        assert len(set(shorten(cells, width).values())) == len(cells)
        assert all(len(short) <= width for short in shorten(cells, width).values())


def test_what_counts_are_the_columns_of_a_terminal_and_not_the_characters() -> None:
    rows = [("\u8aa4\u5dee", "\u4e2d\u592e\u5024", "1.5"), ("e\u0301te\u0301", "\u975e\u5e38" * 20, "12.0")]
    lines = TextTable(("metric", "condition", "mean"), rows).lines(40)
    assert {cell_len(line) for line in lines} == {len(lines[1])}, "numbers do not end in one column"
    assert 38 <= len(lines[1]) <= 40
    assert cell_len(shorten(["\u975e\u5e38" * 20], 12)["\u975e\u5e38" * 20]) <= 12


def test_a_number_in_a_name_is_shortened_to_no_other_number() -> None:
    names = [f"a treatment of number {number} with a long name" for number in range(190, 200)]
    assert set(shorten(names, 24).values()) == {f"...{number} with a long name" for number in range(190, 200)}
    assert len(set(shorten([str(10**30 + n) for n in range(20)], 16).values())) == 20


def test_a_note_that_goes_on_is_indented() -> None:
    assert wrapped(["one two three four"], 10) == ["one two", "  three", "  four"]
