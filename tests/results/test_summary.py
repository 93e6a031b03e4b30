"""The summary table: its numbers, and how they stand."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from crystallize import Experiment, Treatment
from crystallize.errors import CrystallizeError, InvalidValueError, MissingMetricError
from crystallize.metrics.columns import Column
from crystallize.metrics.condition import ConditionMetrics
from crystallize.results.result import ExperimentMetrics, Result
from crystallize.statistics.hypothesis import Hypothesis
from crystallize.statistics.intervals import bootstrap_t_interval
from crystallize.statistics.verifiers import equivalence_test, paired_t_test, welch_t_test
from crystallize.store.outcome import OutcomeError

FAILED = None


def make_result(hypotheses=(), tags=None, **conditions):
    """Make a result; for each condition the metrics with one entry a replicate."""
    replicates, made = 0, {}
    for name, metrics in conditions.items():
        columns, errors = {}, {}
        for place, (metric, entries) in enumerate(metrics.items()):
            replicates = len(entries)
            column = columns[metric] = Column()
            for i, entry in enumerate(entries):
                if entry is FAILED:
                    errors[i] = OutcomeError(i, name, "FitStep", "ValueError", "diverged", "")
                else:
                    column.put(i, entry if isinstance(entry, list) else [entry], place)
            if not len(column):
                del columns[metric]
        made[name] = ConditionMetrics(name, columns, tags or {}, [0] * replicates, list(errors.values()))
    baseline = made.pop("baseline")
    found = [each.evaluate(baseline, made) for each in hypotheses]
    return Result(
        experiment="e",
        replicates=replicates,
        master_seed=0,
        metrics=ExperimentMetrics(baseline, made, found),
        errors=[],
        artifacts=[],
        provenance=None,
    )


@pytest.fixture
def draws():
    rng = np.random.default_rng(5)
    base = rng.normal(57, 4, 40)
    return base, base - 1.2 + rng.normal(0, 0.1, 40)


def test_rows_hold_mean_spread_and_paired_difference_with_its_interval(draws):
    base, better = draws
    first, second = make_result(baseline={"rmse": base.tolist()}, t={"rmse": better.tolist()}).summary().rows
    assert (first.metric, first.condition, first.n, first.difference, first.interval) == (
        "rmse",
        "baseline",
        40,
        None,
        None,
    )
    assert (first.mean, first.sd) == pytest.approx((base.mean(), base.std(ddof=1)))
    reference = stats.ttest_rel(better, base).confidence_interval(0.95)
    assert second.difference == pytest.approx((better - base).mean())
    assert second.interval == pytest.approx((reference.low, reference.high))
    assert second.pairs == 40


def test_confidence_is_the_level_of_the_interval(draws):
    base, better = draws
    result = make_result(baseline={"rmse": base.tolist()}, t={"rmse": better.tolist()})
    summary = result.summary(confidence=0.99)
    reference = stats.ttest_rel(better, base).confidence_interval(0.99)
    assert summary.rows[1].interval == pytest.approx((reference.low, reference.high))
    assert "99% interval" in str(summary)
    assert str(result.summary(confidence=0.99)) == str(summary)


def test_differences_are_of_the_replicates_that_succeeded_under_both():
    rows = (
        make_result(baseline={"a": [1.0, 2.0, FAILED, 4.0]}, t={"a": [FAILED, 3.0, 9.0, 6.0]}).summary().rows
    )
    assert (rows[1].n, rows[1].pairs, rows[1].failed) == (3, 2, 1)
    assert rows[1].difference == pytest.approx(1.5)


def test_several_values_of_a_replicate_count_as_their_mean():
    rows = make_result(baseline={"a": [[1.0, 3.0], [4.0]]}, t={"a": [[5.0], [6.0, 8.0]]}).summary().rows
    assert (rows[0].n, rows[0].mean, rows[0].sd) == pytest.approx((2, 3.0, math.sqrt(2)))
    assert rows[1].difference == pytest.approx(3.0)


def test_table_stands_on_the_decimal_point_with_digits_that_the_spread_allows():
    table = str(
        make_result(
            baseline={"rmse": [56.0, 58.0, 53.0, 61.0], "steps": [3] * 4},
            ridge={"rmse": [54.5, 57.25, 52.0, 59.75], "steps": [12] * 4},
        ).summary()
    )
    assert table == "\n".join(
        [
            "metric  condition  n   mean    sd  difference      95% interval",
            "---------------------------------------------------------------",
            "rmse    baseline   4  57.00  3.37",
            "rmse    ridge      4  55.88  3.36      -1.125  [-1.639, -0.611]",
            "steps   baseline   4   3     0",
            "steps   ridge      4  12     0         +9              [+9, +9]",
            "",
            "4 replicates. sd: standard deviation over replicates.",
            "difference: treatment minus baseline within replicates; interval: Student's t.",
        ]
    )


def test_beside_a_treatment_that_went_astray_the_others_keep_their_digits():
    rng = np.random.default_rng(5)
    base, shift = rng.normal(0, 1, 20), rng.normal(0.18, 0.1, 20)
    table = make_result(
        [Hypothesis(paired_t_test(), "loss", direction="min")],
        baseline={"loss": base.tolist()},
        good={"loss": (base - shift).tolist()},
        astray={"loss": (base + 1e7 * shift).tolist()},
    )
    row = table.summary().rows[1]
    sides = f"{row.difference:+.3f}", *(f"{end:+.3f}" for end in row.interval)
    line = str(table.summary()).splitlines()[3]
    assert f"{row.mean:.2f}  " in line
    assert re.sub(" +", " ", line).endswith("{} [ {}, {}]".format(*sides))
    assert f" {row.difference:+.2f} " in str(table.get_hypothesis("paired_t_test"))
    bound = table.best("loss", direction="min").candidates[1].at_most
    assert f" {bound:.1f}" in str(table.best("loss", direction="min"))


def test_rounding_is_not_shown_as_spread():
    base = [0.1, 0.7, 1.3]
    table = str(make_result(baseline={"a": base}, t={"a": [value + 1 for value in base]}).summary())
    assert table.splitlines()[3].endswith("+1      [+1, +1]")


def test_failures_are_counted_below_the_table():
    summary = make_result(baseline={"a": [1.0, 2.0]}, t={"a": [FAILED, FAILED]}).summary()
    assert str(summary).endswith("failed replicates: 2 under 't'.")
    assert (summary.rows[1].n, summary.rows[1].mean, summary.rows[1].failed) == (0, None, 2)


def test_metrics_that_are_not_numeric_are_listed_as_such():
    summary = make_result(baseline={"label": ["a", "b"]}, t={"label": ["a", "c"]}).summary()
    assert [(row.n, row.mean, row.numeric) for row in summary.rows] == [(2, None, False)] * 2
    assert str(summary).count("not numeric") == 2


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e7, 1e15])
@pytest.mark.parametrize(
    "form", ["a_name_that_is_far_too_long_for_a_table_{}", "a_name_whose_{}_tail_is_far_too_long"]
)
def test_text_is_at_most_80_columns_wide_and_names_stay_apart(draws, scale, form):
    base, better = (side * scale for side in draws)
    name = "a_metric_with_a_name_that_is_far_too_long_for_a_table"
    conditions = {form.format(i): {name: better.tolist()} for i in (1, 2)}
    lines = str(make_result(baseline={name: base.tolist()}, **conditions).summary()).splitlines()
    assert max(map(len, lines)) <= 80
    assert len({line.split()[1] for line in lines[2:5]}) == 3


@pytest.mark.parametrize(
    "values",
    [[math.nan] * 3, [math.inf, 1.0, 2.0], [0.0] * 3, [-1e-300, 0.0, 1e-300], [1e308] * 3, [1.0], [True]],
)
def test_extreme_values_make_a_table_without_warnings(values):
    summary = make_result(baseline={"a": values}, t={"a": values[::-1]}).summary()
    assert "baseline" in str(summary)
    assert "baseline" in summary._repr_html_()


def test_metrics_can_be_chosen():
    result = make_result(baseline={"a": [1.0], "b": [2.0]}, t={"a": [1.0], "b": [3.0]})
    assert {row.metric for row in result.summary(["b"]).rows} == {"b"}
    with pytest.raises(
        MissingMetricError, match=r"no condition recorded metric 'c'\. Recorded were 'a', 'b'"
    ):
        result.summary(["c"])


@pytest.mark.parametrize("confidence", [0, 1, "0.95", True])
def test_a_wrong_confidence_is_refused(confidence):
    with pytest.raises(CrystallizeError, match="confidence"):
        make_result(baseline={"a": [1.0]}).summary(confidence=confidence)


def test_a_run_without_metrics_says_so():
    assert str(make_result(baseline={}).summary()) == "no metrics were recorded"
    under_way = make_result(baseline={})
    under_way.replicates = 60
    assert str(under_way.summary()) == "no metrics were recorded in 0 of 60 replicates"
    failed = make_result(baseline={"a": [FAILED] * 3}, t={"a": [FAILED] * 3}).summary()
    assert str(failed).splitlines() == [
        "no metrics were recorded",
        "failed replicates: 3 under 'baseline', 3 under 't'.",
    ]


def test_rows_are_records_that_json_takes(draws):
    base, better = (side.tolist() for side in draws)
    summary = make_result(baseline={"a": base}, t={"a": better}).summary()
    records = json.loads(json.dumps(summary.to_dict()))
    assert [row["condition"] for row in records["rows"]] == ["baseline", "t"]
    assert records["confidence"] == 0.95


def test_plain_data_of_a_summary_say_whatever_the_table_says():
    tags = {"a": {n: [{"patient": n % 3}] for n in range(6)}}
    values = [1.0, 2.0, 4.0, 3.0, 5.0, FAILED]
    summary = make_result(tags=tags, baseline={"a": values}, t={"a": values}).summary(cluster="patient")
    assert {each.name for each in fields(summary)} == summary.to_dict().keys()
    assert (summary.to_dict()["cluster"], summary.to_dict()["failed"]) == ("patient", {"baseline": 1, "t": 1})


def test_rich_and_html_show_the_same_cells(draws):
    base, better = (side.tolist() for side in draws)
    result = make_result(baseline={"<a>": base}, t={"<a>": better})
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(result)
    shown, page = console.file.getvalue(), result._repr_html_()
    for cell in ("55.71", "3.34", "[-1.2325, -1.1704]", "40 replicates"):
        assert cell in shown
        assert cell in page
    assert "<td>&lt;a&gt;</td>" in page


def test_conditions_that_change_nothing_are_said_to_be_identical():
    nan = math.nan
    baseline = {"a": [1.0, nan, 3.0], "b": ["x", FAILED, [1, 2]]}
    result = make_result(
        baseline=baseline,
        same=baseline,
        other_value={**baseline, "a": [1.0, nan, 4.0]},
        other_metric={**baseline, "c": [1.0, 2.0, 3.0]},
        other_failure={**baseline, "b": ["x", "y", [1, 2]]},
        other_count={**baseline, "b": ["x", FAILED, [1, 2, 2]]},
        nothing={},
    )
    assert result.summary(["a"]).identical == ("same",)
    assert "identical to the baseline in every outcome: 'same'." in str(result.summary())
    assert make_result(baseline={"a": [1.0]}, t={"a": [2.0]}).summary().identical == ()


def test_values_of_any_kind_can_be_compared_for_identity():
    nan, huge = math.nan, 10**400
    result = make_result(
        baseline={"a": [np.array([1, nan]), huge, [nan]]},
        same={"a": [np.array([1, nan]), huge, [nan]]},
        other={"a": [np.array([2, nan]), huge, [nan]]},
    )
    assert result.summary().identical == ("same",)


@pytest.mark.parametrize(
    ("values", "mean", "sd"),
    [
        ([math.inf, 1.0, 2.0], "inf", "nan"),
        ([1.0, math.nan], "nan", "nan"),
        ([10**400, 10**400], "inf", "0"),
        ([1.0], "1", ""),
    ],
)
def test_numbers_at_the_edge_are_shown_as_what_they_are(values, mean, sd):
    row = str(make_result(baseline={"a": values}).summary()).splitlines()[2]
    assert row.split() == ["a", "baseline", str(len(values)), mean, *([sd] if sd else [])]


def test_a_difference_that_is_rounding_is_zero_in_the_table_too():
    row = make_result(baseline={"a": [0.3, 0.6]}, t={"a": [0.1 + 0.2, 0.1 + 0.2 + 0.3]}).summary().rows[1]
    assert (row.difference, row.interval) == (0.0, (0.0, 0.0))


def test_large_integers_differ_by_what_they_differ_by():
    row = make_result(baseline={"a": [2**60, 2**60 + 5]}, t={"a": [2**60 + 3, 2**60 + 8]}).summary().rows[1]
    assert (row.difference, row.interval) == (3.0, (3.0, 3.0))


def test_several_large_integers_of_a_replicate_differ_by_what_they_differ_by():
    rng = np.random.default_rng(0)
    base = 10**15 + rng.integers(-1000, 1000, (20, 2))
    better = base + 100 + rng.integers(-3, 4, (20, 2))
    hypothesis = Hypothesis(paired_t_test(), "a", direction="max")
    result = make_result([hypothesis], baseline={"a": base.tolist()}, t={"a": better.tolist()})
    differences = (better - base).mean(axis=1)
    row, found = result.summary().rows[1], result.get_hypothesis(hypothesis.name).results["t"]
    assert row.difference == found["difference"] == pytest.approx(differences.mean(), rel=1e-12)
    reference = stats.ttest_1samp(differences, 0)
    assert row.interval == pytest.approx(tuple(reference.confidence_interval(0.95)), rel=1e-9)
    assert found["p_value"] == pytest.approx(reference.pvalue, rel=1e-9)


def test_the_hypotheses_stand_below_the_summary_wherever_it_is_shown(draws):
    base, better = (side.tolist() for side in draws)
    result = make_result(baseline={"rmse": base}, t={"rmse": better})
    hypothesis = Hypothesis(paired_t_test(), "rmse", name="lower", direction="min")
    found = hypothesis.evaluate(result.metrics.baseline, result.metrics.treatments)
    result.metrics.hypotheses.append(found)
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(result)
    for shown in (str(result.summary()), repr(result.summary()), console.file.getvalue()):
        assert str(found) in shown
    assert found._repr_html_() in result._repr_html_()
    assert result.summary().to_dict()["hypotheses"] == [found.to_dict()]


# -- all that is known of a comparison ---------------------------------------------------------------------------


def detail_of(result, condition="t", **arguments):
    rows = result.summary(detail=True, **arguments).rows
    return next(row for row in rows if row.condition == condition)


def test_details_of_a_comparison_agree_with_their_definitions(draws):
    base, better = draws
    row = detail_of(
        make_result(
            [Hypothesis(paired_t_test(), "rmse", direction="min", name="lower")],
            baseline={"rmse": base.tolist()},
            t={"rmse": better.tolist()},
            u={"rmse": (better + 1).tolist()},
        )
    )
    differences, found = better - base, row.detail
    assert found.d == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert found.g == pytest.approx(found.d * (1 - 3 / (4 * 39 - 1)), rel=1e-3)
    assert found.effect_interval[0] < found.d < found.effect_interval[1]
    assert found.relative == pytest.approx(better.mean() / base.mean() - 1)
    assert found.relative_interval[0] < found.relative < found.relative_interval[1] < 0
    assert found.better == np.mean(differences < 0)
    assert found.correlation == row.correlation == pytest.approx(np.corrcoef(base, better)[0, 1])
    assert found.worth == pytest.approx((base.var() + better.var()) / differences.var())
    assert found.p_value == pytest.approx(stats.ttest_rel(better, base).pvalue, rel=1e-12)
    assert found.adjusted_p_value == 2 * found.p_value
    assert (found.family, found.verdict) == ("2 tests of hypothesis 'lower', Holm", "better")


def test_what_no_hypothesis_asks_for_is_a_family_of_its_own(draws):
    base, better = draws
    asked = Hypothesis(paired_t_test(), "a", direction="min")
    conditions = {name: {m: better.tolist() for m in "abc"} for name in ("t", "u")}
    result = make_result([asked], baseline={m: base.tolist() for m in "abc"}, **conditions)
    details = {row.metric: row.detail for row in result.summary(detail=True).rows if row.condition == "t"}
    assert details["a"].adjusted_p_value == 2 * details["a"].p_value
    assert details["b"].adjusted_p_value == pytest.approx(4 * details["b"].p_value)
    assert details["b"].family == "4 tests of this summary, Holm"
    assert [details[metric].verdict for metric in "abc"] == ["better", "smaller", "smaller"]


def test_a_family_counts_the_tests_that_there_are(draws):
    base, better = (values.tolist() for values in draws)
    result = make_result(baseline={"a": base}, t={"a": better}, once={"a": better[:1]})
    found = {row.condition: row.detail for row in result.summary(detail=True).rows}["t"]
    assert found.adjusted_p_value == found.p_value
    assert found.family == "the only test of this summary"


@pytest.mark.parametrize("with_hypothesis", [True, False])
def test_details_tell_on_which_side_of_its_level_a_p_value_is(with_hypothesis):
    noise = np.array([-1.0, 1.0] * 10)
    by = stats.t.isf(0.0501 / 2, 19) * noise.std(ddof=1) / math.sqrt(20)
    hypotheses = [Hypothesis(paired_t_test(), "loss")] if with_hypothesis else []
    result = make_result(hypotheses, baseline={"loss": [0.0] * 20}, t={"loss": (noise + by).tolist()})
    summary = result.summary(detail=True)
    assert summary.rows[1].detail.alpha == pytest.approx(0.05)
    assert "  p           0.0501 (" in str(summary)
    assert "  verdict     undecided" in str(summary)


def test_details_are_shown_as_blocks_of_80_columns(draws):
    base, better = (side.tolist() for side in draws)
    hypothesis = Hypothesis(paired_t_test(), "rmse", direction="min", name="lower")
    shown = str(
        make_result([hypothesis], baseline={"rmse": base}, t={"rmse": [FAILED, *better[1:]]}).summary(
            detail=True
        )
    )
    assert "\nrmse, t\n  pairs       39; left out: 1 failed\n" in shown
    assert "  better      in 39 of 39 pairs (100 %)\n" in shown
    assert "(the only test of hypothesis 'lower')\n" in shown
    assert "  verdict     withheld: more replicates were lost" in shown
    assert "  effect      d = -12" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_details_of_one_pair_hide_neither_a_small_difference_nor_a_small_mean():
    large = str(make_result(baseline={"a": [1e6]}, t={"a": [1e6 - 1e-4]}).summary(detail=True))
    assert "difference  -1.00e-04 (Student's t on pairs)" in large
    small = str(make_result(baseline={"a": [1e-9]}, t={"a": [391.4]}).summary(detail=True))
    assert "means       baseline 1.00e-09, t 391" in small
    share = str(make_result(baseline={"a": [False]}, t={"a": [True]}).summary(detail=True))
    assert "means       baseline 0.000 [0.000, 0.793], t 1.000 [0.207, 1.000]" in share


def test_means_keep_their_digits_where_the_difference_never_varies():
    shown = str(make_result(baseline={"a": [0.25, 0.5]}, t={"a": [0.25, 0.5]}).summary(detail=True))
    assert "  means       baseline 0.375, t 0.375\n" in shown


def test_the_bootstrap_t_is_there_on_request(draws):
    base, better = draws
    result = make_result(baseline={"a": base.tolist()}, t={"a": better.tolist()})
    summary = result.summary(interval="bootstrap-t", detail=True)
    assert summary.rows[1].interval == bootstrap_t_interval(better - base)
    assert "interval: bootstrap-t." in str(summary)
    assert "(bootstrap-t on pairs)" in str(summary)
    with pytest.raises(InvalidValueError, match="interval is 'student' or 'bootstrap-t', got 'bca'"):
        result.summary(interval="bca")


def test_nan_is_counted_left_out_and_no_conclusion_is_drawn_where_one_condition_has_it():
    base = [1.0, 2.0, 3.0, 5.0, 4.0]
    hypothesis = Hypothesis(paired_t_test(), "a", direction="min")
    result = make_result([hypothesis], baseline={"a": base}, t={"a": [math.nan, 1.5, 2.0, 4.5, 3.0]})
    row = detail_of(result)
    assert (row.pairs, row.dropped, row.difference) == (4, {"NaN": 1}, -0.75)
    assert row.detail.verdict == "withheld"
    assert "left out of a: 1 pair, NaN." in str(result.summary())
    unasked = make_result(baseline={"a": base}, t={"a": [math.nan, -5.0, -4.0, -2.1, -3.0]})
    assert detail_of(unasked).detail.verdict == "withheld"


def test_a_verdict_that_is_withheld_says_why_also_where_no_hypothesis_has_asked():
    base = [float(n % 5) for n in range(12)]
    lost = [n + 3 for n in base[:-1]] + [FAILED]
    text = " ".join(str(make_result(baseline={"a": base}, t={"a": lost}).summary(detail=True)).split())
    assert "verdict withheld: more replicates were lost under one condition than under the other" in text


def test_nan_under_both_conditions_is_left_out_and_said_as_well():
    base, better = [math.nan, 2.0, 3.0, 5.0, 4.0], [math.nan, 1.5, 2.0, 4.5, 3.0]
    result = make_result([Hypothesis(paired_t_test(), "a")], baseline={"a": base}, t={"a": better})
    row, (found,) = detail_of(result), result.metrics.hypotheses
    reference = stats.ttest_rel(better[1:], base[1:])
    assert (row.pairs, row.dropped, row.difference) == (4, {"NaN": 1}, -0.75)
    assert row.interval == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert found.results["t"]["p_value"] == pytest.approx(reference.pvalue) == row.detail.p_value
    assert found.dropped == {"t": row.dropped}
    assert "left out of a: 1 pair, NaN." in str(result.summary())


def test_true_and_false_have_the_intervals_of_shares():
    base, other = [True] * 4 + [False] * 16, [True] * 16 + [False] * 4
    result = make_result(baseline={"won": base}, t={"won": other})
    row = detail_of(result)
    assert row.method == "shares"
    assert row.detail.p_value == pytest.approx(stats.binomtest(0, 12).pvalue)
    wilson = stats.binomtest(4, 20).proportion_ci(method="wilson")
    assert row.detail.shares[0] == pytest.approx((wilson.low, wilson.high))
    assert "interval: Agresti and Min." in " ".join(str(result.summary()).split())
    assert detail_of(make_result(baseline={"won": [1, 0]}, t={"won": [1, 1]})).method == "student"


def test_true_and_false_stay_shares_where_some_are_lost_as_nan():
    base, other = [True] * 4 + [False] * 16, [True] * 16 + [False] * 4
    kept = detail_of(make_result(baseline={"won": base}, t={"won": other}))
    for place in (0, 21):  # NaN comes first, or last
        sides = [[*side[:place], math.nan, *side[place:]] for side in (base, other)]
        found = detail_of(make_result(baseline={"won": sides[0]}, t={"won": sides[1]}))
        assert (found.method, found.interval, found.dropped) == ("shares", kept.interval, {"NaN": 1})
        assert found.detail.p_value == kept.detail.p_value


def test_several_true_and_false_values_of_a_replicate_count_as_their_mean():
    base = [[True, False], [False, False], [True, True], [False, True], [False, False], [True, False]]
    better = [[True, True], [True, False], [True, True], [True, True], [False, True], [True, True]]
    result = make_result([Hypothesis(paired_t_test(), "ok")], baseline={"ok": base}, t={"ok": better})
    row = detail_of(result)
    reference = stats.ttest_rel(np.mean(better, axis=1), np.mean(base, axis=1))
    assert (row.method, row.difference) == ("student", pytest.approx(5 / 12))
    assert row.interval == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert row.detail.p_value == pytest.approx(reference.pvalue)
    one_side = make_result(baseline={"ok": base}, t={"ok": [True] * 6})
    assert one_side.summary().rows[1].difference == pytest.approx(7 / 12)


def test_a_metric_whose_hypothesis_has_no_pairs_has_welchs_interval(draws):
    base, better = draws
    hypothesis = Hypothesis(welch_t_test(), "rmse")
    result = make_result([hypothesis], baseline={"rmse": base.tolist()}, t={"rmse": better.tolist()})
    row, reference = detail_of(result), stats.ttest_ind(better, base, equal_var=False).confidence_interval()
    assert row.interval == pytest.approx((reference.low, reference.high), rel=1e-12)
    assert (row.detail.d, row.detail.worth, row.detail.better) == (None, None, None)
    assert "Welch's t, without pairs" in str(result.summary())


def test_values_of_one_cluster_count_together():
    rng = np.random.default_rng(2)
    of_patient = rng.normal(0.2, 1, 8)
    base = rng.normal(size=(40, 1))
    values = (base + np.repeat(of_patient, 5)[:, None] + rng.normal(0, 0.1, (40, 1))).tolist()
    tags = {"a": {i: [{"patient": i // 5}] for i in range(40)}}
    hypothesis = Hypothesis(paired_t_test(), "a", direction="max")
    result = make_result([hypothesis], tags, baseline={"a": base.tolist()}, t={"a": values})
    naive, clustered = detail_of(result), detail_of(result, cluster="patient")
    assert clustered.difference == pytest.approx(naive.difference)
    assert clustered.method == "clusters"
    assert clustered.detail.clusters == 8
    assert np.ptp(clustered.interval) > 1.5 * np.ptp(naive.interval)
    assert clustered.detail.p_value > naive.detail.p_value
    assert "40 of 8 clusters" in str(result.summary(detail=True, cluster="patient"))
    with pytest.raises(InvalidValueError, match=r"no value has the tag 'patent'.*Did you mean 'patient'"):
        result.summary(cluster="patent")


def test_a_small_relative_change_is_shown_with_its_digits():
    noise = np.array([0.5, -0.25, -1.0, 0.75])
    result = make_result(baseline={"a": (1e5 + noise).tolist()}, t={"a": (1e5 + 3 + 2 * noise).tolist()})
    assert "relative    +0.003 %, 95% interval [+0.002, +0.004] (Fieller)" in str(result.summary(detail=True))


def test_clusters_that_differ_by_rounding_alone_prove_nothing():
    base = np.random.default_rng(2).normal(120, 5, 20)
    gains = np.arange(20) % 5 * 0.37
    tags = {"a": {i: [{"fold": i // 5}] for i in range(20)}}
    for shift, p_value in ((0.1, 0.125), (0.0, 1.0)):  # tosses of four coins; and a mean of nothing
        values = base + gains - gains.mean() + shift
        result = make_result([], tags, baseline={"a": base.tolist()}, t={"a": values.tolist()})
        row = detail_of(result, cluster="fold")
        assert (row.detail.p_value, row.detail.verdict) == (p_value, "undecided")
        assert row.interval == (row.difference, row.difference)


def test_where_each_replicate_has_all_clusters_replicates_count_beside_them():
    rng = np.random.default_rng(2)
    patients, replicates = rng.normal(0, 0.1, 5), rng.normal(0, 1, 20)
    base = rng.normal(120, 5, (20, 5))
    values = base + patients + replicates[:, None] + rng.normal(0, 0.1, (20, 5))
    tags = {"a": {i: [{"patient": patient} for patient in range(5)] for i in range(20)}}
    result = make_result([], tags, baseline={"a": base.tolist()}, t={"a": values.tolist()})
    of_replicates, of_both = (detail_of(result, cluster=cluster) for cluster in (None, "patient"))
    assert np.ptp(of_both.interval) == pytest.approx(np.ptp(of_replicates.interval), rel=0.1)
    assert of_both.detail.p_value == pytest.approx(of_replicates.detail.p_value, rel=0.2)


def test_pairs_that_have_no_cluster_in_common_are_counted():
    def step(data, ctx):
        replicate, is_treated = ctx["replicate"], ctx["condition"] != "baseline"
        tags = {0: {}, 1: {"patient": is_treated}}.get(replicate, {"patient": replicate})
        ctx.record("x", math.nan if replicate == 2 else ctx.rng.normal(), tags=tags)
        return data

    result = Experiment(lambda: None, [step], treatments=[Treatment("t", {})]).run(replicates=6)
    row = detail_of(result, cluster="patient")
    assert (row.pairs, row.dropped) == (3, {"NaN": 1, "without a cluster in common": 2})
    assert "without a cluster in common" in " ".join(str(result.summary(cluster="patient")).split())


@pytest.fixture
def of_patients(draws):
    """Two metrics of six patients, and one without patients."""
    base, better = draws
    patients = {metric: {i: [{"patient": i % 6}] for i in range(len(base))} for metric in "ab"}

    def make(*hypotheses):
        conditions = {name: {metric: better.tolist() for metric in "abc"} for name in ("t", "u")}
        return make_result(
            hypotheses, tags=patients, baseline={metric: base.tolist() for metric in "abc"}, **conditions
        )

    return make


@pytest.mark.parametrize("shown", [None, "a"])
@pytest.mark.parametrize("correction", ["holm", "bonferroni"])
def test_on_clusters_p_values_are_corrected_for_all_tests_of_a_hypothesis(
    of_patients, draws, shown, correction
):
    first = Hypothesis(paired_t_test(), "b", name="first")
    asked = Hypothesis(paired_t_test(), ["a", "b", "c"], name="three", correction=correction)
    rows = of_patients(first, asked).summary(shown, detail=True, cluster="patient").rows
    detail = next(row.detail for row in rows if (row.metric, row.condition) == ("a", "t"))
    assert detail.p_value > stats.ttest_rel(*draws).pvalue  # of c, which has no patients
    tests = 4 if correction == "holm" else 6
    assert detail.adjusted_p_value == pytest.approx(tests * detail.p_value)
    assert detail.family.startswith("6 tests of hypothesis 'three'")


def test_on_clusters_a_test_of_a_difference_is_not_said_to_be_one_of_equivalence(of_patients):
    asked = Hypothesis(equivalence_test(margin=50.0), "a", name="alike")
    of_each, of_clusters = (
        detail_of(of_patients(asked), metrics="a", cluster=cluster).detail for cluster in (None, "patient")
    )
    assert (of_each.verdict, of_each.family) == ("equivalent", "2 tests of hypothesis 'alike', Holm")
    assert (of_clusters.verdict, of_clusters.family) == ("smaller", "2 tests of this summary, Holm")
    shown = " ".join(str(of_patients(asked).summary(cluster="patient")).split())
    assert "do not count clusters of 'patient'." in shown
    assert "Those that do" not in shown


def test_below_a_table_of_clusters_a_hypothesis_says_that_it_counts_none():
    of_patient = [0.9, 1.4, -0.6, 1.1]  # p by patients: 0.21
    base = [[0.0]] * 40
    values = [[of_patient[i // 10] + 0.01 * (i % 3)] for i in range(40)]
    tags = {"a": {i: [{"patient": i // 10}] for i in range(40)}}
    hypothesis = Hypothesis(paired_t_test(), "a", direction="max")
    result = make_result([hypothesis], tags, baseline={"a": base}, t={"a": values})
    assert detail_of(result).detail.verdict == "better"
    assert detail_of(result, cluster="patient").detail.verdict == "undecided"
    assert "best is 't'." in str(result.summary())
    by_clusters = result.summary(cluster="patient")
    for shown in (" ".join(str(by_clusters).split()), by_clusters._repr_html_().replace("&#x27;", "'")):
        assert "best is" not in shown
        assert "take each replicate as one, and do not count clusters of 'patient'" in shown
    with pytest.raises(InvalidValueError, match="over clusters is Student's, and not 'bootstrap-t'"):
        result.summary(cluster="patient", interval="bootstrap-t")


def test_pairs_that_vary_against_each_other_are_told(draws):
    base, _ = draws
    result = make_result(baseline={"a": base.tolist()}, t={"a": (114 - base).tolist()})
    assert "the pairs of 't' on a vary against each other" in str(result.summary())
    assert "it cost replicates" in " ".join(str(result.summary(detail=True)).split())
    assert "vary against" not in str(
        make_result(baseline={"a": base.tolist()}, t={"a": np.roll(base, 2).tolist()}).summary()
    )


@pytest.mark.parametrize(
    "values", [[1.0], [1.0, 1.0, 1.0], [math.nan] * 3, [math.inf, 1.0, 2.0], [10**400, 1, 2], [True]]
)
def test_details_of_extreme_values_claim_nothing(values):
    for other in (values, values[::-1]):
        result = make_result([Hypothesis(paired_t_test())], baseline={"a": values}, t={"a": other})
        assert detail_of(result).detail.verdict == "undecided"
        assert "verdict     undecided" in str(result.summary(detail=True))


def test_of_a_thousand_treatments_the_best_ten_are_shown():
    rng = np.random.default_rng(3)
    base = rng.normal(size=6)
    treatments = {f"t{i}": {"a": (base + i + rng.normal(0, 0.1, 6)).tolist()} for i in range(1000)}
    hypothesis = Hypothesis(paired_t_test(), "a", direction="min", ranker=lambda found: found["difference"])
    summary = make_result([hypothesis], baseline={"a": base.tolist()}, **treatments).summary()
    lines = str(summary).splitlines()
    assert [line.split()[1] for line in lines[2:13]] == ["baseline", *(f"t{i}" for i in range(10))]
    assert "990 more treatments: rows and to_frame() have all of them." in lines
    assert any(line.startswith("990 more comparisons: ") for line in lines)
    assert len(lines) < 50
    assert len(summary.rows) == 1001


def test_a_frame_has_a_column_for_each_number(draws):
    base, better = (side.tolist() for side in draws)
    frame = make_result(baseline={"a": base}, t={"a": better}).summary(detail=True).to_frame()
    assert list(frame.condition) == ["baseline", "t"]
    assert {"difference", "interval", "d", "g", "worth", "p_value", "verdict"} <= set(frame.columns)
    assert frame.verdict[1] == "smaller"
