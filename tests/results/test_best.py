"""Which conditions may be the best, by hand and against SciPy's tests; what is lost, constant or measured once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from crystallize import Experiment, Hypothesis, Result, Treatment, best, open_run, paired_t_test
from crystallize.errors import InvalidTypeError, InvalidValueError, MissingMetricError, UnknownNameError

Table = dict[str, Sequence[Any]]

# Worked out by hand: t(3) leaves 2.5 % above 3.182446305; the differences to b have the means 1.5 and 0.5.
BY_HAND: Table = {"baseline": [2, 1, 5, 4], "a": [2, 4, 4, 6], "b": [1, 2, 3, 4]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(table: Table, seed: int = 1, **options: Any) -> Result:
    """Return the result of a run that measures what stands in the table; None is a failure."""

    def measure(data: None, ctx: Any) -> Any:
        value = table[ctx["condition"]][ctx["replicate"]]
        if value is None:
            raise RuntimeError("it failed")
        return data, {"x": value}

    return Experiment(
        lambda: None,
        [measure],
        name="e",
        treatments=[Treatment(name, {}) for name in table if name != "baseline"],
        replicates=len(table["baseline"]),
        seed=seed,
        **options,
    ).run()


def test_the_set_and_its_bounds_are_those_that_were_worked_out_by_hand() -> None:
    found = run(BY_HAND).best("x", direction="min")
    assert found.names == ("b", "baseline")
    assert [each.condition for each in found.candidates] == ["b", "baseline", "a"]
    assert [each.mean for each in found.candidates] == [2.5, 3.0, 4.0]
    assert [each.behind for each in found.candidates] == [0, 0.5, 1.5]
    assert [each.at_most for each in found.candidates] == pytest.approx(
        [1.554260, 2.554260, 3.905163], abs=5e-7
    )


def test_large_values_may_be_the_good_ones() -> None:
    mirrored = {name: [-value for value in values] for name, values in BY_HAND.items()}
    found = run(mirrored).best("x", direction="max")
    assert found.names == ("b", "baseline")
    assert [each.mean for each in found.candidates] == [-2.5, -3.0, -4.0]
    assert found.candidates[2].at_most == pytest.approx(3.905163, abs=5e-7)


def test_a_condition_is_out_if_and_only_if_a_paired_test_at_its_share_of_alpha_says_that_another_is_better() -> (
    None
):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(12, 1)) * 3 + rng.normal(size=(12, 8)) + np.linspace(0, 2, 8)
    table = dict(zip(["baseline", *"abcdefg"], values.T.tolist(), strict=True))
    found = run(table).best("x", direction="min", alpha=0.1)
    beaten = {
        one
        for one, other in itertools.permutations(table, 2)
        if stats.ttest_rel(table[other], table[one], alternative="less").pvalue < 0.1 / 7
    }
    assert 0 < len(beaten) < 7
    assert set(found.names) == table.keys() - beaten


def test_direction_is_what_a_hypothesis_on_the_metric_says() -> None:
    asked = [Hypothesis(paired_t_test(), metrics="x", direction="min")]
    result = run(BY_HAND, hypotheses=asked)
    assert result.best("x").names == ("b", "baseline")
    assert result.best("x", direction="max").names[0] == "a"
    assert open_run("e").best("x").names == ("b", "baseline")
    both = [*asked, Hypothesis(paired_t_test(), metrics="x", direction="max", name="other")]
    with pytest.raises(InvalidValueError, match="hypotheses differ on whether small or large"):
        run(BY_HAND, hypotheses=both).best("x")


# -- what cannot be compared -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [None, math.nan, math.inf])
def test_what_has_lost_more_replicates_than_others_is_not_compared(lost: float | None) -> None:
    table = {**BY_HAND, "fragile": [-9, lost, -9, -9]}
    found = run(table).best("x", direction="min")
    assert found.names == ("b", "baseline")
    assert found.not_compared == {"fragile": "lost 1 of 4 replicates"}
    assert "Not compared: fragile (lost 1 of 4 replicates)." in str(found)
    assert found.candidates == run(BY_HAND).best("x", direction="min").candidates


def test_what_all_have_lost_alike_is_left_out() -> None:
    table = {name: [values[0], None, *values[1:]] for name, values in BY_HAND.items()}
    found = run(table).best("x", direction="min")
    assert (found.replicates, found.dropped) == (4, 1)
    assert "1 replicate left out, where a condition failed or gave no finite number." in str(found)
    assert found.candidates == run(BY_HAND).best("x", direction="min").candidates


def test_what_a_rule_has_dropped_is_not_compared_and_what_it_means_for_the_rest_is_said() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(60, 3)) + np.array([0, 0.3, 9])
    result = run(
        dict(zip(["baseline", "a", "b"], values.T.tolist(), strict=True)),
        stop_when=best("x", delta=0.1, direction="min"),
    )
    found = result.best("x", direction="min")
    assert found.not_compared == {"b": "dropped by the stopping rule"}
    assert found.replicates == result.replicates
    assert found.was_stopped
    assert "A rule has ended this run, or one that it reads, by what it saw" in " ".join(str(found).split())


# -- what says little --------------------------------------------------------------------------------------------------


def test_one_replicate_tells_no_condition_from_the_best() -> None:
    found = run({name: values[:1] for name, values in BY_HAND.items()}).best("x", direction="min")
    assert set(found.names) == BY_HAND.keys()
    assert all(math.isinf(each.at_most) for each in found.candidates)
    assert "One replicate tells nothing" in str(found)
    assert [each["at_most"] for each in found.to_dict()["candidates"]] == [None] * 3


def test_a_constant_metric_leaves_all_conditions_in_the_set() -> None:
    found = run({name: [7] * 5 for name in BY_HAND}).best("x", direction="max")
    assert set(found.names) == BY_HAND.keys()
    assert [each.at_most for each in found.candidates] == [0, 0, 0]


def test_a_difference_that_is_always_the_same_counts_from_as_many_replicates_as_make_it_no_chance() -> None:
    def constant(n: int) -> Table:
        return {"baseline": [1.0] * n, "a": [1.1] * n, "b": [3.0] * n}

    few, enough = (run(constant(n)).best("x", direction="min") for n in (5, 6))  # 2 ** -6 < 0.025 < 2 ** -5
    assert set(few.names) == {"baseline", "a", "b"}
    assert math.isinf(few.candidates[0].at_most)
    assert "counts from 6 replicates on" in str(few)
    assert enough.names == ("baseline",)
    assert [each.at_most for each in enough.candidates] == pytest.approx([0, 0.1, 2.0])


def test_rounding_is_no_difference() -> None:
    table = {"baseline": [0.3, 0.6, 0.9], "a": [0.1 + 0.2, 0.2 + 0.4, 0.1 + 0.8]}
    found = run(table).best("x", direction="min")
    assert set(found.names) == {"baseline", "a"}
    assert [each.at_most for each in found.candidates] == [0, 0]


def test_values_with_a_large_offset_are_told_apart_as_without_it() -> None:
    table = {"baseline": [0.0, 0.5, 1.0, 0.25], "a": [0.75, 1.0, 1.75, 1.25], "b": [0.5, 0.5, 1.25, 1.0]}
    here = run(table).best("x", direction="max")
    far = {name: [value + 1e12 for value in values] for name, values in table.items()}
    there = run(far).best("x", direction="max")
    assert there.names == here.names == ("a",)
    for near, shifted in zip(here.candidates, there.candidates, strict=True):
        assert (shifted.condition, shifted.behind) == (near.condition, near.behind)
        assert shifted.at_most == pytest.approx(near.at_most, rel=1e-12)


@pytest.mark.parametrize(("offset", "factor"), [(10**18, 1), (10**40, 1), (0, 1e-300), (0, 1e300)])
def test_conditions_are_told_apart_whatever_the_size_of_their_numbers(offset: int, factor: float) -> None:
    table = {name: [offset + factor * value for value in values] for name, values in BY_HAND.items()}
    found, here = (run(each).best("x", direction="min") for each in (table, BY_HAND))
    assert found.names == here.names == ("b", "baseline")
    for one, other in zip(found.candidates, here.candidates, strict=True):
        assert one.condition == other.condition
        assert (one.behind, one.at_most) == pytest.approx(
            (factor * other.behind, factor * other.at_most), rel=1e-12, abs=0
        )


# -- the winner's curse ------------------------------------------------------------------------------------------------


def test_the_winner_is_said_to_look_better_than_it_is() -> None:
    found = run(BY_HAND).best("x", direction="min")
    said = "The mean of b is the best of several, and so it looks better than it is"
    assert f"{said}: measure it again on new replicates, under another seed than 1." in " ".join(
        str(found).split()
    )


def test_fresh_replicates_of_another_run_say_what_the_winner_is_like() -> None:
    again = run({"baseline": [0, 0, 0], "b": [3.0, 4.0, 8.0]}, seed=2)
    found = run(BY_HAND).best("x", direction="min", fresh=again)
    assert found.fresh is not None
    assert (found.fresh.replicates, found.fresh.mean) == (3, 5.0)
    low, high = stats.ttest_1samp([3.0, 4.0, 8.0], 0).confidence_interval()
    assert found.fresh.interval == pytest.approx((low, high), rel=1e-12)
    assert "In 3 replicates of another run, b has 5.0" in " ".join(str(found).split())
    assert "measure it again" not in str(found)


def test_replicates_of_the_same_seed_are_not_fresh() -> None:
    with pytest.raises(InvalidValueError, match="has the seed 1, as this one has"):
        run(BY_HAND).best("x", direction="min", fresh=run(BY_HAND))
    with pytest.raises(UnknownNameError, match="no condition 'b'"):
        run(BY_HAND).best("x", direction="min", fresh=run({"baseline": [1, 2]}, seed=2))


# -- how it is shown ---------------------------------------------------------------------------------------------------


def test_of_a_thousand_conditions_ten_are_shown_and_how_many_more_there_are() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(8, 1000)) * 0.1 + np.repeat([0, 5], [30, 970])
    names = ["baseline", *(f"t{number}" for number in range(999))]
    found = run(dict(zip(names, values.T.tolist(), strict=True))).best("x", direction="min")
    lines = str(found).splitlines()
    assert len(lines) < 25
    assert max(map(len, lines)) <= 80
    assert "And 20 that may be the best and 970 that are not." in lines
    assert found._repr_html_().count("<tr>") == 1001


def test_bounds_that_are_far_larger_than_the_means_take_no_digits_from_them() -> None:
    rng = np.random.default_rng(0)
    values = {f"t{number}": (0.1 * number + rng.normal(size=2)).tolist() for number in range(200)}
    found = run({"baseline": [0.0, 0.1], **values}).best("x", direction="max")
    assert max(each.at_most for each in found.candidates) > 1000
    means = [line.split()[1] for line in str(found).splitlines()[2:12]]
    assert [float(text) for text in means] == [
        pytest.approx(each.mean, abs=0.05) for each in found.candidates[:10]
    ]


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "options", "error", "said"),
    [
        ("y", {"direction": "min"}, MissingMetricError, "'y'. Recorded were 'x'"),
        ("x", {}, InvalidValueError, "no hypothesis says whether small or large values of 'x' are good"),
        ("x", {"direction": "up"}, InvalidValueError, "'min' or 'max', got 'up'"),
        ("x", {"direction": "min", "alpha": 1}, InvalidValueError, "alpha lies between 0 and 1"),
        ("x", {"direction": "min", "alpha": "5"}, InvalidTypeError, "alpha is a number"),
    ],
)
def test_bad_input_is_told(metric: str, options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        run(BY_HAND).best(metric, **options)


@pytest.mark.parametrize(
    ("table", "error", "said"),
    [
        ({"baseline": [1, 2]}, InvalidValueError, "nothing to compare 'baseline' with"),
        (
            {"baseline": [1, 2], "a": [None, None]},
            InvalidValueError,
            "with: a .lost 2 of 2 replicates.. Resume",
        ),
        (
            {"baseline": [1, None], "a": [None, 2]},
            InvalidValueError,
            "no replicate has a finite 'x' in all 2",
        ),
        (
            {"baseline": [math.nan] * 2, "a": [math.nan] * 2},
            InvalidValueError,
            "no replicate has a finite 'x'",
        ),
        ({"baseline": ["good"], "a": ["bad"]}, InvalidTypeError, "'x' is not numeric"),
    ],
)
def test_a_run_that_compares_nothing_is_told(table: Table, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        run(table).best("x", direction="min")
