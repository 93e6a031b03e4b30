"""What a hypothesis concludes: verdicts, margins, corrections, and what is said of undecided comparisons."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from crystallize.errors import CrystallizeError
from crystallize.metrics.columns import Column
from crystallize.metrics.condition import ConditionMetrics
from crystallize.statistics.hypothesis import Hypothesis
from crystallize.statistics.hypothesis_result import HypothesisResult
from crystallize.statistics.power import smallest_effect, t_test_power
from crystallize.statistics.verdicts import Evidence, verdict
from crystallize.statistics.verifiers import (
    dunnett_test,
    equivalence_test,
    mcnemar_test,
    non_inferiority_test,
    paired_t_test,
    sign_flip_test,
    welch_t_test,
    wilcoxon_test,
)
from crystallize.store.outcome import OutcomeError

NAN = math.nan


def condition(name, values):
    column, errors = Column(), []
    for replicate, value in enumerate(values):
        if value is None:
            errors.append(OutcomeError(replicate, name, "FitStep", "ValueError", "diverged", ""))
        else:
            column.put(replicate, [value], 0)
    return ConditionMetrics(name, {"rmse": column}, {}, [], errors)


def evaluate(hypothesis, baseline, **treatments):
    return hypothesis.evaluate(
        condition("baseline", baseline),
        {name: condition(name, values) for name, values in treatments.items()},
    )


def verdicts(found):
    return {each.treatment: each.verdict for each in found.comparisons}


def shifted(by, spread=0.5, n=30, seed=0):
    """Return a baseline and a treatment whose differences have exactly this mean and standard deviation."""
    rng = np.random.default_rng(seed)
    baseline, noise = rng.normal(50, 4, n), rng.normal(size=n)
    noise = (noise - noise.mean()) / noise.std(ddof=1) * spread
    return baseline.tolist(), (baseline + by + noise).tolist()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Evidence(-1.0, 0.01), "better"),
        (Evidence(1.0, 0.01), "worse"),
        (Evidence(1.0, 0.06), "undecided"),
        (Evidence(1.0, NAN), "undecided"),
        (Evidence(None, 0.01), "different"),
        (Evidence(-1.0, 0.01, p_small=0.04), "too small to matter"),
        (Evidence(-1.0, 0.4, p_small=0.04), "too small to matter"),
        (Evidence(-1.0, 0.4, p_equivalent=0.04, p_small=0.04), "equivalent"),
        (Evidence(-1.0, 0.01, p_equivalent=0.06, p_small=0.06), "better"),
        (Evidence(-1.0, 0.01, "equivalent"), "equivalent"),
        (Evidence(-1.0, 0.06, "equivalent"), "undecided"),
        (Evidence(-1.0, 0.01, is_lopsided=True), "withheld"),
        (Evidence(-1.0, 0.06, is_lopsided=True), "undecided"),
    ],
)
def test_each_verdict_has_its_evidence(found, expected):
    assert verdict(found, 0.05, "min") == expected


def test_without_a_direction_a_difference_is_larger_or_smaller():
    assert [verdict(Evidence(d, 0.01), 0.05, None) for d in (-1.0, 1.0)] == ["smaller", "larger"]


@pytest.mark.parametrize(
    ("by", "standards", "expected"),
    [
        (-0.5, {}, "better"),
        (-0.5, {"smallest_effect": 0.4}, "better"),  # the interval reaches beyond 0.4: it may well matter
        (-0.5, {"smallest_effect": 0.8}, "too small to matter"),
        (0.01, {"smallest_effect": 0.8}, "too small to matter"),
        (0.01, {"equivalence_margin": 0.2}, "equivalent"),
        (0.01, {"equivalence_margin": 0.1}, "undecided"),
        (0.01, {}, "undecided"),
    ],
)
def test_the_interval_decides_on_margins(by, standards, expected):
    # n = 30, sd 0.5: the 95 % interval is the difference +- 0.187.
    baseline, treatment = shifted(by)
    found = evaluate(Hypothesis(paired_t_test(), "rmse", direction="min", **standards), baseline, t=treatment)
    assert verdicts(found) == {"t": expected}


def test_margins_are_judged_for_the_number_of_tests_too():
    baseline, treatment = shifted(0.0)
    alone = Hypothesis(paired_t_test(), "rmse", equivalence_margin=0.2)
    assert verdicts(evaluate(alone, baseline, t=treatment)) == {"t": "equivalent"}
    far = {f"far{i}": shifted(9.0 + i)[1] for i in range(5)}
    assert verdicts(evaluate(alone, baseline, t=treatment, **far))["t"] == "undecided"


@pytest.mark.parametrize("verifier", [sign_flip_test(), welch_t_test()])
def test_margins_are_judged_with_any_verifier(verifier):
    baseline, treatment = shifted(0.0)
    found = evaluate(Hypothesis(verifier, "rmse", equivalence_margin=4.0), baseline, t=treatment)
    assert verdicts(found) == {"t": "equivalent"}
    assert found.comparisons[0].paired == (verifier.__name__ == "sign_flip_test")


def test_an_undecided_comparison_says_what_was_to_be_seen_and_how_many_more_are_needed():
    baseline, treatment = shifted(-0.1, n=10)
    hypothesis = Hypothesis(paired_t_test(), "rmse", direction="min", smallest_effect=0.25)
    found = evaluate(hypothesis, baseline, t=treatment)
    (only,) = found.comparisons
    assert only.visible == pytest.approx(0.99600 * 0.5, abs=1e-5)
    assert t_test_power(0.25 / 0.5, 10 + only.more) >= 0.8 > t_test_power(0.25 / 0.5, 9 + only.more)
    assert "t on rmse: about 24 more replicates needed to find 0.25; 4 of 5 such runs find a" in str(found)
    assert found.outlook(only._replace(more=1)).startswith("about 1 more replicate needed to find 0.25;")


def test_without_a_smallest_effect_nobody_knows_how_many_more_are_needed():
    baseline, treatment = shifted(-0.1, n=10)
    found = evaluate(Hypothesis(paired_t_test(), "rmse", direction="min"), baseline, t=treatment)
    assert found.comparisons[0].more is None
    assert "t on rmse: 4 of 5 such runs find a difference of 0.498." in str(found)


def test_what_a_test_finds_is_not_known_if_it_does_not_tell_its_standard_error():
    def rank_sums(baseline, treatment):
        return {"p_value": float(stats.mannwhitneyu(baseline["rmse"], treatment["rmse"]).pvalue)}

    def with_error(baseline, treatment):
        return rank_sums(baseline, treatment) | {"standard_error": 0.2, "n": 30, "difference": -0.1}

    baseline, treatment = shifted(-0.1)
    ours = Hypothesis(rank_sums, "rmse", smallest_effect=0.25)
    (only,) = evaluate(ours, baseline, t=treatment).comparisons
    assert (only.verdict, only.more, only.visible) == ("undecided", None, None)
    within = Hypothesis(rank_sums, "rmse", equivalence_margin=1.0)
    assert verdicts(evaluate(within, baseline, t=treatment)) == {"t": "equivalent"}
    (told,) = evaluate(Hypothesis(with_error, "rmse"), baseline, t=treatment).comparisons
    assert told.visible == pytest.approx(0.2 * math.sqrt(30) * smallest_effect(30))


COUNTING = [sign_flip_test(), wilcoxon_test(), mcnemar_test()]


@pytest.mark.parametrize("verifier", COUNTING)
@pytest.mark.parametrize(
    ("n", "treatments", "correction", "can"),
    [
        (5, 1, "holm", False),  # 2 / 2**5
        (6, 1, "holm", True),
        (6, 2, "holm", False),
        (6, 2, "bonferroni", False),
        (7, 2, "holm", True),
        (6, 2, "none", True),
        (6, 2, "benjamini-hochberg", True),  # if both are as small as can be
        (6, 2, "hochberg", True),
    ],
)
def test_a_test_that_counts_exchanges_says_where_it_can_find_nothing(
    verifier, n, treatments, correction, can
):
    worst, best = [False] * n, [True] * n
    hypothesis = Hypothesis(verifier, "rmse", correction=correction)
    largest = evaluate(hypothesis, worst, **{f"t{i}": best for i in range(treatments)})
    assert (set(verdicts(largest).values()) == {"larger"}) is can
    found = evaluate(hypothesis, worst, **{f"t{i}": [*worst[:-1], True] for i in range(treatments)})
    assert set(verdicts(found).values()) == {"undecided"}
    assert any(each.visible == math.inf for each in found.comparisons) is not can
    assert ("cannot find a difference" in str(found)) is not can
    assert HypothesisResult.from_dict(found.to_dict()) == found


def test_of_very_many_treatments_random_exchanges_are_too_few():
    baseline, _ = shifted(0.0)
    many = {f"t{i}": shifted(0.1, seed=i)[1] for i in range(30)}
    hypothesis = Hypothesis(sign_flip_test(resamples=99), "rmse")
    assert {each.visible for each in evaluate(hypothesis, baseline, **many).comparisons} == {math.inf}


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0, 1.0], [1.0, NAN, 2.0], [3, 4]])
def test_nothing_is_concluded_from_nothing(values):
    hypothesis = Hypothesis(
        paired_t_test(), "rmse", direction="min", smallest_effect=5.0, equivalence_margin=5.0
    )
    found = evaluate(hypothesis, values, t=[value + 1 for value in values])
    assert verdicts(found) == {"t": "undecided"}
    assert (found.comparisons[0].more, found.comparisons[0].visible) == (None, None)
    assert "4 of 5" not in str(found)


def test_a_conclusion_is_withheld_where_more_replicates_were_lost_on_one_side():
    baseline, treatment = shifted(-3.0, n=12)
    hypothesis = Hypothesis(paired_t_test(), "rmse", direction="min")
    lost = [None, *treatment[1:]]
    found = evaluate(hypothesis, baseline, t=lost)
    assert found.comparisons[0].p_value < 1e-6
    assert verdicts(found) == {"t": "withheld"}
    assert found.ranking["best"] is None
    said = " ".join(str(found).split())
    assert "withheld: more replicates were lost under one condition than under the other" in said
    assert "Resume the run to try them again." in said
    same = evaluate(hypothesis, [None, *baseline[1:]], t=lost)
    assert verdicts(same) == {"t": "better"}


def test_a_test_that_skips_nan_itself_cannot_hide_it():
    def of_known(baseline, treatment):
        return {"p_value": 0.001, "difference": -1.0}

    baseline, treatment = shifted(-3.0, n=12)
    found = evaluate(Hypothesis(of_known, "rmse", direction="min"), baseline, t=[NAN, *treatment[1:]])
    assert verdicts(found) == {"t": "withheld"}


def test_claims_of_equivalence_and_non_inferiority_are_verdicts():
    baseline, treatment = shifted(0.05)
    for verifier, claim in (
        (equivalence_test(margin=0.3), "equivalent"),
        (non_inferiority_test(margin=0.3, direction="min"), "not worse"),
    ):
        found = evaluate(Hypothesis(verifier, "rmse"), baseline, t=treatment, far=shifted(5.0)[1])
        assert verdicts(found) == {"t": claim, "far": "undecided"}
        assert "No treatment" not in str(found)  # a test against a margin does not ask who differs


@pytest.mark.parametrize(("direction", "what"), [("min", "to be better than"), (None, "to differ from")])
def test_what_differs_by_too_little_is_not_said_to_differ_by_nothing(direction, what):
    baseline, treatment = shifted(-0.5)
    asked = Hypothesis(paired_t_test(), "rmse", direction=direction, smallest_effect=0.8)
    found = evaluate(asked, baseline, t=treatment)
    assert found.adjusted_p_values["t"] < 0.001
    assert f"No treatment is known {what} the baseline by enough to matter." in str(found)


def test_a_hypothesis_takes_its_direction_from_the_verifier_and_refuses_another():
    verifier = non_inferiority_test(margin=0.3, direction="min")
    assert Hypothesis(verifier, "rmse").direction == "min"
    with pytest.raises(ValueError, match="the hypothesis has the direction 'max', and its verifier 'min'"):
        Hypothesis(verifier, "rmse", direction="max")


@pytest.mark.parametrize("n", [(), ["many", "few"], "ten", None, (3, 4)])
def test_whatever_a_verifier_says_of_numbers_stops_nothing(n):
    def odd(baseline, treatment):
        return {"p_value": 0.5, "difference": 1.0, "standard_error": 0.1, "degrees_of_freedom": 9.0, "n": n}

    baseline, treatment = shifted(0.1, n=10)
    assert verdicts(evaluate(Hypothesis(odd, "rmse"), baseline, t=treatment)) == {"t": "undecided"}


def test_a_treatment_that_cannot_be_tested_stops_no_other_of_those_that_are_tested_at_once():
    baseline, treatment = shifted(-3.0, n=12)
    hypothesis = Hypothesis(sign_flip_test(), "rmse", direction="min")
    found = evaluate(hypothesis, baseline, t=treatment, text=["x"] * 12, u=treatment)
    alone = evaluate(hypothesis, baseline, t=treatment)
    assert verdicts(found) == {"t": "better", "u": "better"}
    assert "metric 'rmse' is not numeric" in found.errors["text"]
    assert found.results["t"]["interval"] == pytest.approx(alone.results["t"]["interval"])


def test_dunnetts_own_adjustment_is_taken_as_it_is():
    treatments = {f"t{i}": shifted(-0.25 * i, spread=0.5, seed=0)[1] for i in range(3)}
    found = evaluate(Hypothesis(dunnett_test(), "rmse", direction="min"), shifted(0)[0], **treatments)
    for each in found.comparisons:
        assert each.adjusted_p_value == found.results[each.treatment]["adjusted_p_value"] >= each.p_value
    assert found.correction == "own"
    assert verdicts(found) == {"t0": "undecided", "t1": "better", "t2": "better"}
    assert "adjusted for all 3 tests (by the test itself)" in str(found)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("lost", [None, NAN])
def test_dunnetts_test_compares_all_treatments_on_the_replicates_that_all_conditions_have(lost, paired):
    rng = np.random.default_rng(0)
    block = 10 * rng.normal(size=12)
    rows = [(block + shift + rng.normal(size=12)).tolist() for shift in (0.0, -3.0, 0.0, -0.5)]
    hypothesis = Hypothesis(dunnett_test(paired=paired), "rmse", direction="min")
    whole = [row[4:] for row in rows]
    for replicate, row in enumerate(rows):
        row[replicate] = lost  # each condition another one
    baseline, *treatments = rows
    found = evaluate(hypothesis, baseline, **dict(zip("tuv", treatments, strict=True)))
    kept = evaluate(hypothesis, whole[0], **dict(zip("tuv", whole[1:], strict=True)))
    assert found.results == kept.results
    assert found.adjusted_p_values == kept.adjusted_p_values
    assert found.dropped == {name: {"failed" if lost is None else "NaN": 4} for name in "tuv"}
    said = " ".join(str(found).split())
    assert (
        "t, u, v: 4 replicates each dropped, for only replicates that all conditions have are compared"
        in said
    )


def test_a_replicate_that_many_treatments_lack_is_told_in_one_line():
    baseline, treatment = shifted(-3.0, n=12)
    treatments = {f"t{i}": treatment for i in range(50)}
    found = evaluate(Hypothesis(paired_t_test(), "rmse"), [None, *baseline[1:]], **treatments)
    (line,) = [line for line in found.lines(10_000) if "dropped" in line]
    assert line.startswith("t0, t1, ")
    assert "and 39 more: 1 replicate each dropped, for only complete pairs are compared: 1 failed." in line


def test_what_a_rule_has_dropped_takes_no_replicates_from_dunnetts_test_of_the_others():
    baseline, treatment = shifted(-3.0, n=12)
    hypothesis = Hypothesis(dunnett_test(), "rmse", direction="min")
    conditions = {name: condition(name, values) for name, values in (("t", treatment), ("u", baseline[:4]))}
    conditions["u"].dropped_at = 4
    found = hypothesis.compare(condition("baseline", baseline), conditions)
    assert found.results == evaluate(hypothesis, baseline, t=treatment).results
    assert (
        "a stopping rule has dropped it after 4 replicates, and dunnett_test compares all"
        in found.errors["u"]
    )


def test_dunnetts_test_of_conditions_that_have_no_replicate_in_common_knows_nothing():
    hypothesis = Hypothesis(dunnett_test(), "rmse")
    found = evaluate(hypothesis, [1.0, NAN, 2.0], t=[NAN, 2.0, 3.0], u=[1.0, 2.0, NAN])
    assert verdicts(found) == {"t": "undecided", "u": "undecided"}
    assert found.dropped == {"t": {"NaN": 3}, "u": {"NaN": 3}}


@pytest.mark.parametrize("verifier", [paired_t_test(), sign_flip_test(), welch_t_test(), dunnett_test()])
def test_a_replicate_with_nan_is_no_pair_whichever_condition_recorded_it(verifier):
    baseline, treatment = shifted(-3.0, n=12)
    hypothesis = Hypothesis(verifier, "rmse", direction="min")
    kept = evaluate(hypothesis, baseline[1:], t=treatment[1:])
    for lost, expected in (
        ((NAN, NAN), "better"),
        ((NAN, None), "better"),
        ((NAN, treatment[0]), "withheld"),
        ((baseline[0], NAN), "withheld"),
    ):
        found = evaluate(hypothesis, [lost[0], *baseline[1:]], t=[lost[1], *treatment[1:]])
        assert found.results == kept.results
        assert verdicts(found) == {"t": expected}
        reason = "failed" if None in lost else "NaN"
        assert found.dropped == {"t": {reason: 1}}
        compared = "replicates that all conditions have" if found.correction == "own" else "complete pairs"
        said = " ".join(str(found).split())
        assert f"t: 1 replicate dropped, for only {compared} are compared: 1 {reason}." in said
        assert "Resume the run" not in said  # it would not run again what has recorded NaN


def test_where_no_test_gave_a_p_value_none_is_counted():
    found = evaluate(Hypothesis(paired_t_test(), "rmse", direction="min"), [1.0, NAN, NAN], t=[NAN, 2.0, 3.0])
    assert verdicts(found) == {"t": "undecided"}
    assert "no p-value is known: there are too few pairs, or a number is not finite." in str(found)
    assert "0 tests" not in str(found)
    assert found.dropped == {"t": {"NaN": 3}}


def test_true_and_false_are_compared_by_mcnemars_test():
    baseline = [True] * 5 + [False] * 25
    found = evaluate(
        Hypothesis(mcnemar_test(), "rmse", direction="max"), baseline, t=[True] * 25 + [False] * 5
    )
    assert verdicts(found) == {"t": "better"}
    assert found.comparisons[0].difference == pytest.approx(20 / 30)
    undecided = evaluate(Hypothesis(mcnemar_test(), "rmse"), baseline, t=[*baseline[:-1], True])
    assert (undecided.comparisons[0].verdict, undecided.comparisons[0].visible) == ("undecided", None)


@pytest.mark.parametrize(
    ("correction", "title", "claims"),
    [
        ("holm", "adjusted for all 4 tests (Holm)", 2),
        ("hochberg", "adjusted for all 4 tests (Hochberg)", 4),
        ("benjamini-hochberg", "adjusted for all 4 tests (Benjamini-Hochberg", 4),
        ("bonferroni", "adjusted for all 4 tests (Bonferroni)", 2),
        ("none", "of the p-value of each of 4 tests alone", 4),
    ],
)
def test_the_correction_can_be_chosen_and_is_named(correction, title, claims):
    def echo(baseline, treatment):
        return {"p_value": treatment["rmse"][0]}

    p_values = {"a": [0.01], "b": [0.04], "c": [0.03], "d": [0.005]}
    found = evaluate(Hypothesis(echo, "rmse", correction=correction), [1.0], **p_values)
    assert sum(each.verdict != "undecided" for each in found.comparisons) == claims
    assert title in " ".join(str(found).split())


@pytest.mark.parametrize(
    ("standards", "reason"),
    [
        ({"smallest_effect": 0}, "smallest_effect is above 0, in the metric's unit, got 0"),
        ({"equivalence_margin": "1"}, "equivalence_margin is a number above 0, got '1'"),
        ({"correction": "holms"}, "there is no correction 'holms'.*Did you mean 'holm'"),
    ],
)
def test_wrong_standards_are_refused(standards, reason):
    with pytest.raises(CrystallizeError, match=reason):
        Hypothesis(paired_t_test(), "rmse", **standards)


def test_a_stored_result_prints_the_same():
    baseline, treatment = shifted(-0.1, n=10)
    hypothesis = Hypothesis(
        paired_t_test(), "rmse", direction="min", smallest_effect=0.25, correction="hochberg"
    )
    found = evaluate(hypothesis, baseline, t=treatment, u=[None, *treatment[1:]])
    stored = HypothesisResult.from_dict(json.loads(json.dumps(found.to_dict())))
    assert str(stored) == str(found)


def test_standards_are_in_the_text_and_in_the_metadata_of_a_hypothesis():
    made = Hypothesis(
        paired_t_test(), "rmse", direction="min", smallest_effect=1, correction="none", equivalence_margin=0.5
    )
    assert repr(made).endswith(
        "direction='min', smallest_effect=1.0, equivalence_margin=0.5, correction='none')"
    )
    assert {
        "smallest_effect": 1.0,
        "equivalence_margin": 0.5,
        "correction": "none",
    }.items() <= made.describe().items()
