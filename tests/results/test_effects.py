"""Main effects and interactions of designs, against published numbers and SciPy's tests."""

from __future__ import annotations

import itertools
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from crystallize import Experiment, Result, Treatment, cases, decided, design, grid, linear, open_run, zipped
from crystallize.errors import InvalidTypeError, InvalidValueError, MissingMetricError, UnknownNameError
from crystallize.results.effects import _Design

# Box, Hunter and Hunter (2005), "Statistics for Experimenters", table 5.2: a pilot plant. Yield by temperature,
# concentration and catalyst, in standard order.
PILOT_PLANT = dict(
    zip(
        [(t, c, k) for k, c, t in itertools.product((0, 1), repeat=3)],
        [60, 72, 54, 68, 52, 83, 45, 80],
        strict=True,
    )
)
TWO_LEVELS = {"T": [0, 1], "C": [0, 1], "K": [0, 1]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(step: Callable[..., Any], *treatments: Any, replicates: int = 6) -> Result:
    return Experiment(
        lambda: 0.0, [step], name="e", treatments=treatments, replicates=replicates, seed=7
    ).run()


def plant(data: float, T: int = 0, C: int = 0, K: int = 0) -> tuple[float, dict[str, float]]:
    return data, {"y": PILOT_PLANT[T, C, K]}


def noisy(data: float, ctx: Any, a: Any = 0, b: Any = 0, c: Any = 0) -> tuple[float, dict[str, float]]:
    noise = ctx.stream(f"{a} {b} {c}").normal()
    return data, {"y": {"p": 1.0, "q": 4.0}.get(a, a) + 2 * b + b * c + noise}


def block_of(result: Result) -> dict[str, list[float]]:
    return {name: result.condition(name).metrics["y"] for name in result.conditions}


# -- full grids ------------------------------------------------------------------------------------------------------


def test_the_effects_of_the_pilot_plant_are_the_published_ones() -> None:
    effects = run(plant, grid(**TWO_LEVELS), replicates=1).effects("y")
    assert {effect.name: effect.estimate for effect in effects} == {
        "T": 23.0,
        "C": -5.0,
        "K": 1.5,
        "T x C": 1.5,
        "T x K": 10.0,
        "C x K": 0.0,
    }
    assert effects[0].changes == (("0", "1"),)
    assert {(effect.interval, effect.p_value, effect.adjusted) for effect in effects} == {(None, None, None)}
    assert "One replicate tells nothing of how sure an effect is." in str(effects)


def test_a_p_value_has_the_digits_that_tell_on_which_side_of_the_level_it_is() -> None:
    noise = np.array([-1.0, 1.0] * 10)
    by = stats.t.isf(0.05004 / 2, 19) * noise.std(ddof=1) / math.sqrt(20)

    def near(data: float, ctx: Any, a: int = 0) -> tuple[float, dict[str, float]]:
        return data, {"y": a * (by + noise[ctx["replicate"]])}

    line = str(run(near, grid(a=[0, 1]), replicates=20).effects("y")).splitlines()[2]
    assert line.split()[-2:] == ["0.05004", "0.05004"]


@pytest.mark.parametrize("offset", [10**18, 10**40])
def test_large_integers_have_the_effects_of_small_ones(offset: int) -> None:
    def far(data: float, T: int = 0, C: int = 0, K: int = 0) -> tuple[float, dict[str, int]]:
        return data, {"y": offset + PILOT_PLANT[T, C, K]}

    there, here = (run(step, grid(TWO_LEVELS)).effects("y") for step in (far, plant))
    assert there.effects == here.effects


def test_the_order_of_factors_levels_and_cells_changes_no_effect() -> None:
    turned = run(plant, grid(K=[1, 0], T=[0, 1], C=[1, 0]), replicates=1).effects("y")
    assert {frozenset(effect.factors): effect.estimate for effect in turned} == {
        frozenset("T"): 23.0,
        frozenset("C"): -5.0,
        frozenset("K"): 1.5,
        frozenset("TC"): 1.5,
        frozenset("TK"): 10.0,
        frozenset("CK"): 0.0,
    }


def test_an_effect_is_tested_as_a_paired_difference_of_averages() -> None:
    result = run(noisy, grid(a=[1, 3], b=[0, 1]))
    y = {name: np.array(values) for name, values in block_of(result).items()}
    high = (y["a=3,b=0"] + y["a=3,b=1"]) / 2
    low = (y["a=1,b=0"] + y["a=1,b=1"]) / 2
    (effect,) = result.effects("y").of("a")
    expected = stats.ttest_rel(high, low)
    assert effect.estimate == pytest.approx((high - low).mean(), rel=1e-12)
    assert effect.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    assert effect.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-12)


def test_an_interaction_is_half_of_what_one_effect_differs_between_the_levels_of_the_other() -> None:
    result = run(noisy, grid(b=[0, 1], c=[0, 4]))
    y = {name: np.array(values) for name, values in block_of(result).items()}
    found = ((y["b=1,c=4"] - y["b=0,c=4"]) - (y["b=1,c=0"] - y["b=0,c=0"])) / 2
    (effect,) = result.effects("y").of("c", "b")
    assert effect.estimate == pytest.approx(found.mean(), rel=1e-12)
    assert effect.p_value == pytest.approx(stats.ttest_1samp(found, 0).pvalue, rel=1e-12)


def test_each_level_is_compared_with_the_first_one() -> None:
    effects = run(noisy, grid(a=["q", "p"], b=[3, 1, 2])).effects("y", interactions=False)
    assert [(effect.name, effect.changes) for effect in effects] == [
        ("a", (("q", "p"),)),
        ("b", (("1", "2"),)),
        ("b", (("1", "3"),)),
    ]
    assert [effect.estimate for effect in effects] == pytest.approx([-3, 2, 4], abs=2)


def test_p_values_are_corrected_for_all_effects_of_the_table() -> None:
    effects = run(noisy, grid(a=[0, 1, 2], b=[0, 1])).effects("y")
    raw = sorted(effect.p_value for effect in effects)
    assert len(effects) == 2 + 1 + 2
    smallest = min(effects, key=lambda effect: effect.p_value)
    assert smallest.adjusted == pytest.approx(min(1, 5 * raw[0]))


def test_noise_that_is_common_to_all_cells_of_a_replicate_cancels() -> None:
    def shifted(data: float, ctx: Any, a: float = 0, b: float = 0) -> tuple[float, dict[str, float]]:
        return data, {"y": 0.1 * a + 0.7 * b + 100 * ctx.rng.normal()}

    effects = run(shifted, grid(a=[0, 1], b=[0, 1]), replicates=6).effects("y")
    assert [effect.estimate for effect in effects] == pytest.approx([0.1, 0.7, 0.0])
    # Equal in all replicates: as unlikely as six signs that agree, and not impossible.
    assert [effect.p_value for effect in effects] == [2**-5, 2**-5, 1.0]


def test_intervals_cover_and_false_alarms_are_as_rare_as_promised() -> None:
    def null(data: float, ctx: Any, a: int = 0, b: int = 0) -> tuple[float, dict[str, float]]:
        rng = ctx.stream(f"{a}{b}")
        for _ in range(200):
            ctx.metrics.add("unused", 0.0)
        return data, {f"y{number}": float(rng.normal()) for number in range(400)}

    result = run(null, grid(a=[0, 1], b=[0, 1]), replicates=5)
    found = [result.effects(f"y{number}") for number in range(400)]
    any_claim = sum(min(effect.adjusted for effect in effects) <= 0.05 for effects in found) / 400
    covered = (
        sum(effect.interval[0] <= 0 <= effect.interval[1] for effects in found for effect in effects) / 1200
    )
    assert any_claim <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert abs(covered - 0.95) <= 3 * math.sqrt(0.05 * 0.95 / 1200)


# -- other designs ---------------------------------------------------------------------------------------------------


def test_without_some_cells_the_effects_are_those_of_least_squares_with_replicates_as_blocks() -> None:
    cells = grid(a=[0, 1, 2], b=[0, 1]) - cases({"a": 2, "b": 1})
    result = run(noisy, cells)
    effects = result.effects("y", interactions=False)
    rows, values = [], []
    for name in result.conditions[1:]:
        levels = result.condition(name).coordinates
        for replicate, value in enumerate(result.condition(name).metrics["y"]):
            block = [float(replicate == other) for other in range(6)]
            rows.append([*block, levels["a"] == 1, levels["a"] == 2, levels["b"] == 1])
            values.append(value)
    fitted = np.linalg.lstsq(np.array(rows, dtype=float), np.array(values), rcond=None)[0][6:]
    assert [effect.estimate for effect in effects] == pytest.approx(fitted.tolist(), rel=1e-9)
    assert "least squares" in " ".join(effects.notes)


def test_least_squares_and_averages_agree_where_both_are_there() -> None:
    numbers = _Design([dict(cell) for cell in grid(a=[0, 1, 2], b=[0, 1], c=["x", "y", "z", "w"]).cells])
    exact, *_ = numbers.contrasts(interactions=True)
    numbers.is_full = False
    fitted, confounded, _ = numbers.contrasts(interactions=True)
    assert not confounded
    assert [each[:3] for each in fitted] == [each[:3] for each in exact]
    np.testing.assert_allclose(
        [each.weights for each in fitted], [each.weights for each in exact], atol=1e-12
    )


def test_factors_that_always_change_together_are_not_told_apart() -> None:
    effects = run(noisy, zipped(a=[0, 1], b=[0, 1])).effects("y")
    assert (len(effects), effects.confounded) == (0, ("a", "b", "a x b"))
    assert "Not told from other effects by this design: a, b, a x b." in str(effects)


def test_a_half_fraction_tells_main_effects_and_says_what_it_does_not_tell() -> None:
    effects = run(plant, design("fractional", n=4, **TWO_LEVELS), replicates=2).effects("y")
    assert [(effect.name, effect.estimate) for effect in effects] == [
        ("T", pytest.approx(23 + 0)),  # T and C x K are added up
        ("C", pytest.approx(-5 + 10)),
        ("K", pytest.approx(1.5 + 1.5)),
    ]
    assert effects.confounded == ("T x C", "T x K", "C x K")
    assert "Interactions are taken to be nothing" in str(effects)
    assert "Not told from other effects by this design: T x C, T x K, C x K." in str(effects)


def test_a_fraction_of_resolution_iv_tells_main_effects_and_no_interactions() -> None:
    def four(data: float, p: int = 0, q: int = 0, r: int = 0, s: int = 0) -> tuple[float, dict[str, float]]:
        return data, {"y": 3.0 * p - q + 2 * r + p * q}

    effects = run(four, design("fractional", {key: [0, 1] for key in "pqrs"}, n=8)).effects("y")
    assert {effect.name: round(effect.estimate, 9) for effect in effects} == {
        "p": 3.5,
        "q": -0.5,
        "r": 2.0,
        "s": 0.0,
    }
    assert len(effects.confounded) == 6
    assert "Interactions are taken" not in str(effects)


def test_factors_with_one_level_and_treatments_with_names_play_no_part() -> None:
    result = run(noisy, Treatment("named", {"a": 50}), grid(a=[1, 2], b=[7]))
    assert [effect.name for effect in result.effects("y")] == ["a"]


# -- missing values --------------------------------------------------------------------------------------------------


def test_replicates_in_which_a_cell_failed_or_is_not_finite_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def holes(data: float, ctx: Any, a: int = 0, b: int = 0) -> tuple[float, dict[str, float]]:
        if (ctx["replicate"], a, b) == (1, 1, 1):
            raise ValueError("no")
        return data, {"y": math.nan if (ctx["replicate"], a) == (3, 0) else ctx["replicate"] * a}

    with caplog.at_level(logging.ERROR):
        effects = run(holes, grid(a=[0, 1], b=[0, 1])).effects("y")
    assert (effects.replicates, effects.dropped) == (4, 2)
    assert effects.of("a")[0].estimate == (0 + 2 + 4 + 5) / 4
    assert "2 replicates left out, where a cell failed or gave no finite number." in str(effects)


def test_replicates_that_were_never_measured_are_not_called_left_out() -> None:
    def broken_off(data: float, ctx: Any, a: int = 0) -> tuple[float, dict[str, float]]:
        if ctx["replicate"] == 4:
            raise KeyboardInterrupt
        return data, {"y": a * ctx.rng.random()}

    with pytest.raises(KeyboardInterrupt):
        run(broken_off, grid(a=[0, 1]))
    effects = open_run("e", version=0).effects("y")
    assert (effects.replicates, effects.dropped) == (4, 0)
    assert "left out" not in str(effects)


def test_where_a_rule_has_dropped_a_cell_that_is_said_and_that_the_rule_has_ended_the_run() -> None:
    rule = decided("y", max=30, drop=True)
    experiment = Experiment(lambda: 0.0, [noisy], treatments=grid(a=[0.1, 50], b=[0, 1]), seed=7)
    result = experiment.run(stop_when=rule)
    effects = result.effects("y")
    first = min(each.dropped_at or 30 for each in result.metrics.treatments.values())
    assert (effects.replicates, effects.dropped, effects.was_stopped) == (first, 30 - first, True)
    text = " ".join(str(effects).split())
    assert "where a cell failed or gave no finite number, or was dropped by the stopping rule." in text
    assert "A rule has ended this run, or one that it reads, by what it saw" in text


def test_of_several_values_of_a_replicate_the_mean_counts() -> None:
    def folds(data: float, ctx: Any, a: int = 0) -> float:
        for fold in range(3):
            ctx.metrics.add("y", a * fold)
        return data

    assert run(folds, grid(a=[0, 2])).effects("y")[0].estimate == 2.0


# -- showing ---------------------------------------------------------------------------------------------------------


def test_effects_and_interactions_are_shown_as_tables() -> None:
    effects = run(plant, grid(**TWO_LEVELS), replicates=2).effects("y")
    assert str(effects).splitlines()[:4] == [
        "effect  change              y    95% interval    p  Holm",
        "--------------------------------------------------------",
        "T       0 to 1          +23.0  [+23.0, +23.0]  0.5     1",
        "C       0 to 1           -5.0    [-5.0, -5.0]  0.5     1",
    ]
    assert "Holm: p corrected for 6 effects" in str(effects)
    alone = run(plant, grid(T=[0, 1]), replicates=2).effects("y")
    assert "interval: Student's t over replicates." in str(alone)
    assert effects.interaction("T", "K").splitlines() == [
        "y     K=0   K=1",
        "---------------",
        "T=0  57.0  48.5",
        "T=1  70.0  81.5",
    ]
    assert effects.to_dict()["effects"][0]["estimate"] == 23.0
    assert "<td>T x K</td>" in effects._repr_html_()


def test_the_table_of_an_interaction_has_the_means_of_large_numbers() -> None:
    def large(data: float, a: int = 0, b: int = 0, c: int = 0) -> tuple[float, dict[str, float]]:
        return data, {"y": 1e308}

    effects = run(large, grid(a=[0, 1], b=[0, 1], c=[0, 1])).effects("y")
    assert effects.interaction("a", "b").count("1.00e+308") == 4


def test_the_table_of_an_interaction_shows_what_a_factor_does_beside_a_far_larger_one() -> None:
    def measure(data: Any, *, size: float = 1, knob: int = 0) -> Any:
        return data, {"y": size * (2 + 0.3 * knob)}

    effects = run(measure, grid(size=[1, 1000], knob=[0, 1])).effects("y")
    assert effects.interaction("size", "knob").splitlines()[2:] == [
        "size=1       2.00    2.30",
        "size=1000    2000    2300",
    ]
    assert effects.interaction("knob", "size").splitlines()[2:] == [
        "knob=0    2.00       2000",
        "knob=1    2.30       2300",
    ]


def test_an_interaction_is_drawn_with_a_line_for_each_level_of_the_second_factor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from matplotlib import figure

    monkeypatch.setenv("MPLBACKEND", "agg")
    effects = run(plant, grid(**TWO_LEVELS), replicates=2).effects("y")
    axes = effects.plot("T", "K")
    assert [[*line.get_ydata()] for line in axes.get_lines()] == [[57.0, 70.0], [48.5, 81.5]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["K=0", "K=1"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("T", "y")
    axes.set_yticks([0], ["a label of forty characters on each tick"])
    axes.figure.savefig("interaction.png")
    assert axes.yaxis.label.get_window_extent().x0 >= 0, "a label is cut off"
    assert Path("interaction.png").read_bytes().startswith(b"\x89PNG")
    (own,) = figure.Figure().subplots(1, 1, squeeze=False)[0]
    assert effects.plot("C", "K", axes=own) is own


def test_where_a_combination_was_not_run_the_line_has_a_gap() -> None:
    from matplotlib import figure

    axes = figure.Figure().subplots()
    effects = run(noisy, grid(a=[0, 1, 2], b=[0, 1]) - grid(a=[1], b=[1]), replicates=2).effects("y")
    assert np.isnan(
        [[*line.get_ydata()] for line in effects.plot("a", "b", axes=axes).get_lines()]
    ).tolist() == [
        [False, False, False],
        [False, True, False],
    ]


def test_without_matplotlib_a_plot_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    effects = run(plant, grid(**TWO_LEVELS), replicates=1).effects("y")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'crystallize-lab\[plot\]'"):
        effects.plot("T", "K")


def test_of_many_effects_the_first_are_shown_and_the_others_counted() -> None:
    effects = run(noisy, grid(a=list(range(8)), b=list(range(5))), replicates=2).effects("y")
    assert len(effects) == 7 + 4 + 28
    assert "And 19 effects more." in str(effects)
    assert all(len(line) <= 80 for line in str(effects).splitlines())


def test_a_stored_run_has_the_same_effects() -> None:
    result = run(noisy, grid(a=["p", "q"], b=[0, 1]))
    assert result.path is not None
    assert open_run(result.path).effects("y").to_dict() == result.effects("y").to_dict()


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_what_has_no_effects_is_refused() -> None:
    plain = run(noisy, Treatment("a", {"a": 1}))
    with pytest.raises(InvalidValueError, match="the run has no design"):
        plain.effects("y")
    with pytest.raises(InvalidValueError, match="no factor has more than one level"):
        run(noisy, grid(a=[1])).effects("y")
    with pytest.raises(InvalidValueError, match="'a' has 8 levels in 8 cells"):
        run(noisy, design("latin_hypercube", n=8, a=linear(0, 1), b=linear(0, 1)), replicates=1).effects("y")
    with pytest.raises(InvalidValueError, match="the cell 'a=1' has no 'b'"):
        run(noisy, cases({"a": 1}, {"a": 2, "b": 1})).effects("y")


def test_metrics_and_factors_that_are_not_there_are_named() -> None:
    result = run(noisy, grid(a=[1, 2]), replicates=1)
    with pytest.raises(MissingMetricError, match="Recorded were 'y'"):
        result.effects("z")
    with pytest.raises(UnknownNameError, match=r"no effect of 'b'. There are those of 'a'"):
        result.effects("y").of("b")
    with pytest.raises(UnknownNameError, match="the design has no factor 'b'"):
        result.effects("y").interaction("a", "b")
    with pytest.raises(UnknownNameError, match="the design has no factor 'b'"):
        result.effects("y").plot("b", "a")
    with pytest.raises(InvalidValueError, match="of two factors, got 'a' twice"):
        result.effects("y").interaction("a", "a")
    with pytest.raises(InvalidValueError, match="confidence"):
        result.effects("y", confidence=95)


def test_a_metric_that_is_missing_in_a_cell_or_is_no_number_or_never_finite_is_refused() -> None:
    def odd(data: float, a: int = 0) -> tuple[float, dict[str, Any]]:
        return data, {"text": "x", "nan": math.nan} | ({"some": 1} if a == 1 else {})

    result = run(odd, grid(a=[1, 2]))
    with pytest.raises(MissingMetricError, match="the cell 'a=2' recorded no 'some'"):
        result.effects("some")
    with pytest.raises(InvalidTypeError, match="not numeric"):
        result.effects("text")
    with pytest.raises(InvalidValueError, match="no replicate has a finite 'nan' in all 2 cells"):
        result.effects("nan")
