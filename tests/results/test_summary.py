"""The summary table: its numbers, and how they stand."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from crystallize.errors import CrystallizeError, MissingMetricError
from crystallize.results.columns import Column
from crystallize.results.condition import ConditionMetrics
from crystallize.results.result import ExperimentMetrics, Result
from crystallize.statistics.hypothesis import Hypothesis
from crystallize.statistics.verifiers import paired_t_test
from crystallize.store.outcome import OutcomeError

FAILED = None


def make_result(**conditions):
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
        made[name] = ConditionMetrics(name, columns, {}, [0] * replicates, list(errors.values()))
    baseline = made.pop("baseline")
    return Result(
        experiment="e",
        replicates=replicates,
        master_seed=0,
        metrics=ExperimentMetrics(baseline, made),
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


def test_rounding_is_not_shown_as_spread():
    base = [0.1, 0.7, 1.3]
    table = str(make_result(baseline={"a": base}, t={"a": [value + 1 for value in base]}).summary())
    assert table.splitlines()[3].endswith("+1.00  [+1.00, +1.00]")


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


def test_rows_are_records_that_json_takes(draws):
    base, better = (side.tolist() for side in draws)
    summary = make_result(baseline={"a": base}, t={"a": better}).summary()
    records = json.loads(json.dumps(summary.to_dict()))
    assert [row["condition"] for row in records["rows"]] == ["baseline", "t"]
    assert records["confidence"] == 0.95


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
    result = make_result(baseline={"a": [np.arange(2), 10**400]}, t={"a": [np.arange(2), 10**400]})
    assert result.summary().identical == ()  # arrays have no one truth value


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
