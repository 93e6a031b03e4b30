"""Hypotheses: what verifiers are handed, what comes of it, and how treatments are ranked."""

from __future__ import annotations

import logging
import math
import pickle
import statistics
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crystallize.errors import (
    CrystallizeError,
    InvalidTypeError,
    InvalidValueError,
    MissingMetricError,
    RunFailedError,
    UnknownNameError,
)
from crystallize.metrics.columns import Column
from crystallize.metrics.condition import ConditionMetrics
from crystallize.statistics.adjustment import holm
from crystallize.statistics.hypothesis import Hypothesis, HypothesisResult, as_hypothesis, hypothesis
from crystallize.statistics.power import smallest_effect
from crystallize.statistics.verifier import verifier
from crystallize.statistics.verifiers import (
    dunnett_test,
    equivalence_test,
    non_inferiority_test,
    paired_t_test,
    sign_flip_test,
    welch_t_test,
    wilcoxon_test,
)
from crystallize.store.outcome import OutcomeError

FAILED = None  # in place of a replicate's value
ABSENT = ...


def condition(name, **metrics):
    """Make what a run gives: for each metric one entry a replicate, a value or a list of several."""
    columns, errors = {}, {}
    for place, (metric, entries) in enumerate(metrics.items()):
        column = Column()
        for replicate, entry in enumerate(entries):
            if entry is FAILED:
                errors[replicate] = OutcomeError(replicate, name, "FitStep", "ValueError", "diverged", "")
            elif entry is not ABSENT:
                column.put(replicate, entry if isinstance(entry, list) else [entry], place)
        if len(column):
            columns[metric] = column
    return ConditionMetrics(name, columns, {}, [], list(errors.values()))


def evaluate(tested, baseline, **treatments):
    return tested.evaluate(
        condition("baseline", **baseline), {name: condition(name, **m) for name, m in treatments.items()}
    )


@verifier
def keep(baseline_samples, treatment_samples):
    """Return what a verifier is handed."""
    return {"p_value": 0.5, "baseline": dict(baseline_samples), "treatment": dict(treatment_samples)}


@hypothesis(verifier=paired_t_test(alpha=0.01), metrics="loss")
def lower_loss(result):
    return result["difference"]


# -- what verifiers are handed -----------------------------------------------------------------------------------


def test_verifier_gets_lists_of_the_metrics_asked_for():
    found = evaluate(
        Hypothesis(keep, metrics=["a", "b"]),
        {"a": [1, 2], "b": ["x", "y"], "c": [0, 0]},
        t={"a": [3, 4], "b": ["z", "w"], "c": [0, 0]},
    ).results["t"]
    assert found["baseline"] == {"a": [1, 2], "b": ["x", "y"]}
    assert found["treatment"] == {"a": [3, 4], "b": ["z", "w"]}
    assert isinstance(found["baseline"]["a"], list)


def test_without_metrics_the_verifier_gets_all_that_both_conditions_recorded():
    found = evaluate(Hypothesis(keep), {"a": [1], "b": [2]}, t={"b": [3], "a": [4], "extra": [5]}).results[
        "t"
    ]
    assert (found["baseline"], found["treatment"]) == ({"a": [1], "b": [2]}, {"a": [4], "b": [3]})


def test_each_inner_list_of_metrics_gives_one_result():
    found = evaluate(
        Hypothesis(keep, metrics=[["a"], ["b", "a"]]), {"a": [1], "b": [2]}, t={"a": [3], "b": [4]}
    )
    assert [part["treatment"] for part in found.results["t"]] == [{"a": [3]}, {"b": [4], "a": [3]}]


def test_replicates_that_failed_on_one_side_are_left_out_of_both():
    found = evaluate(
        Hypothesis(keep, metrics="a"), {"a": [10, FAILED, 12, 13, 14]}, t={"a": [20, 21, FAILED, 23, 24]}
    ).results["t"]
    assert (found["baseline"], found["treatment"]) == ({"a": [10, 13, 14]}, {"a": [20, 23, 24]})


@given(st.lists(st.tuples(*[st.one_of(st.none(), st.floats(-9, 9))] * 2), min_size=5, max_size=20))
def test_failed_replicates_never_shift_the_pairs(replicates):
    complete = [pair for pair in replicates if FAILED not in pair]
    if any(side.count(FAILED) == len(side) for side in zip(*replicates, strict=True)):
        return
    baseline, treatment = ([*side] for side in zip(*replicates, strict=True))
    found = evaluate(Hypothesis(paired_t_test(), "a"), {"a": baseline}, t={"a": treatment}).results["t"]
    apart = paired_t_test()({"a": [a for a, _ in complete]}, {"a": [b for _, b in complete]})
    assert repr(found) == repr(apart)


def test_lists_are_given_to_numpy_without_conversion_and_the_baseline_is_read_once():
    seen = []

    def look(baseline, treatment):
        seen.append([np.asarray(samples["a"]) for samples in (baseline, treatment)])
        return {"p": 1.0}

    evaluate(Hypothesis(look, "a"), {"a": [0.5, 1.5]}, t={"a": [1.0, 2.0]}, u={"a": [2.0, 3.0]})
    assert [[list(array) for array in call] for call in seen] == [[[0.5, 1.5], [1, 2]], [[0.5, 1.5], [2, 3]]]
    assert np.shares_memory(seen[0][0], seen[1][0])


def test_a_verifier_that_sorts_its_lists_does_not_spoil_the_next_comparison():
    def spoil(baseline, treatment):
        before = list(baseline["a"])
        baseline["a"].sort()
        return {"p": 1.0, "before": before}

    found = evaluate(Hypothesis(spoil, "a"), {"a": [3.0, 1.0]}, t={"a": [1.0, 2.0]}, u={"a": [1.0, 2.0]})
    assert found.results["u"]["before"] == [3.0, 1.0]


def test_several_values_of_a_replicate_count_as_their_mean_in_the_built_in_tests():
    baseline = {"a": [[1.0, 3.0], [5.0], [2.0, 4.0]]}
    treatment = {"a": [[2.0], [5.5, 6.5], [4.0, 6.0]]}
    means = {"a": [2.0, 5.0, 3.0]}, {"a": [2.0, 6.0, 5.0]}
    for test in (welch_t_test(), paired_t_test(), sign_flip_test()):
        assert evaluate(Hypothesis(test, "a"), baseline, t=treatment).results["t"] == test(*means)


def test_unequal_numbers_of_values_are_left_out_of_lists_and_told(caplog):
    with caplog.at_level(logging.WARNING, "crystallize"):
        found = evaluate(Hypothesis(keep, "a"), {"a": [[1, 2], [3, 4]]}, t={"a": [[5], [6, 7]]}).results["t"]
    assert (found["baseline"], found["treatment"]) == ({"a": [3, 4]}, {"a": [6, 7]})
    assert "metric 'a' has different numbers of values under the two conditions in 1 of 2" in caplog.text


# -- missing metrics and errors ----------------------------------------------------------------------------------


def test_what_can_be_compared_is_compared_if_some_conditions_lack_the_metric():
    baseline, conditions = (
        condition("baseline", a=[1, 2]),
        {"t": condition("t", a=[2, 3]), "u": condition("u", b=[1])},
    )
    found = Hypothesis(keep, "a").compare(baseline, conditions)
    assert list(found.results) == ["t"]
    assert found.errors == {"u": "'u' has not recorded metric 'a'; it recorded 'b'"}
    assert "u was not compared: 'u' has not recorded metric 'a'" in str(found)


@pytest.mark.parametrize(
    ("baseline", "treatment", "message"),
    [
        (
            {"lost": [1]},
            {"loss": [1]},
            "condition 'baseline' never recorded metric 'loss'.*Did you mean 'lost'",
        ),
        (
            {"loss": [1]},
            {"b": [1], "a": [2]},
            r"condition 't' never recorded metric 'loss' .*recorded 'a', 'b'",
        ),
        ({}, {"loss": [1]}, "condition 'baseline' never recorded metric 'loss'.*recorded nothing"),
    ],
)
def test_a_metric_that_was_never_recorded_is_an_error_that_names_condition_and_metrics(
    baseline, treatment, message
):
    with pytest.raises(MissingMetricError, match=message) as caught:
        evaluate(Hypothesis(keep, "loss", name="h"), baseline, t=treatment)
    assert isinstance(caught.value, KeyError)
    assert "hypothesis 'h'" in str(caught.value)


def test_a_condition_that_recorded_nothing_at_all_is_an_error():
    with pytest.raises(MissingMetricError, match="condition 't' never recorded any metric"):
        evaluate(Hypothesis(keep), {"a": [1]}, t={})


def test_a_treatment_that_always_failed_stops_no_other_comparison(caplog):
    found = evaluate(Hypothesis(keep, "a"), {"a": [1, 2]}, t={"a": [FAILED, FAILED]}, u={"a": [3, 4]})
    assert list(found.results) == found.ranking["ranked"] == ["u"]
    assert (
        "'t' has not recorded metric 'a'; it recorded nothing, and 2 replicates failed, first ValueError: diverged"
        in found.errors["t"]
    )
    assert "replicates failed" in caplog.text


def test_a_baseline_that_always_failed_is_told_for_every_treatment():
    found = evaluate(Hypothesis(keep, "a"), {"a": [FAILED]}, t={"a": [1]})
    assert "'baseline' has not recorded metric 'a'" in found.errors["t"]
    assert found.ranking == {"best": None, "ranked": []}


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
def test_a_verifier_that_raises_is_that_treatments_error_with_its_traceback(caplog, kind):
    def picky(baseline, treatment):
        if treatment["a"][0] < 0:
            raise kind("negative")
        return {"p_value": 0.1}

    found = evaluate(Hypothesis(picky, "a"), {"a": [1]}, bad={"a": [-1]}, good={"a": [1]})
    assert found.results == {"good": {"p_value": 0.1}}
    assert found.ranking["ranked"] == ["good"]
    assert "in picky" in found.errors["bad"]
    assert f"hypothesis 'picky', treatment 'bad': {kind.__name__}: negative" in caplog.text


def test_a_verifier_that_forgets_a_treatment_is_an_error_that_counts_them():
    @verifier(many=lambda samples: [{"p_value": 0.5}] * (len(samples) - 1))
    def forgetful(baseline, treatment):
        return {"p_value": 0.5}

    found = evaluate(
        Hypothesis(forgetful(), "a"), {"a": [1.0, 2.0]}, t={"a": [1.0, 2.0]}, u={"a": [3.0, 4.0]}
    )
    assert not found.results
    assert all("forgetful gave 1 result of 2 treatments" in found.errors[name] for name in ("t", "u"))


def test_a_verifier_of_all_treatments_is_handed_a_sequence_of_pairs():
    handed = []

    def many(samples):
        handed.append(samples)
        return [{"p_value": 0.5}] * len(samples)

    ask = verifier(many=many)(lambda baseline, treatment: {"p_value": 0.5})
    evaluate(Hypothesis(ask(), "a"), {"a": [1.0, 2.0]}, t={"a": [3.0, 4.0]}, u={"a": [5.0, 6.0]})
    (samples,) = handed
    assert [(dict(ours), dict(theirs)) for ours, theirs in samples] == [
        ({"a": [1.0, 2.0]}, {"a": [3.0, 4.0]}),
        ({"a": [1.0, 2.0]}, {"a": [5.0, 6.0]}),
    ]
    assert [*samples][::-1] == [*reversed(samples)] == [samples[-1], samples[0]]
    assert samples[:1] == [samples[0]]
    assert repr(samples) == repr([*samples])


def test_a_verifier_is_not_asked_where_nothing_can_be_compared():
    asked = []
    ask = verifier(many=asked.append)(lambda baseline, treatment: asked.append(treatment))
    for metrics in ("a", None, [["a"], ["b"]]):
        found = evaluate(
            Hypothesis(ask(), metrics), {"a": [1.0], "b": [1.0]}, t={"a": [FAILED], "b": [FAILED]}
        )
        assert "'t' has not recorded" in found.errors["t"]
        assert not found.results
    assert not asked


@pytest.mark.parametrize("odd", ["x", [1.0], Decimal(1)])
def test_a_metric_that_is_not_numeric_is_the_built_in_tests_error(odd):
    values = [[odd], [[1.0, 2.0]], [odd]]  # lists of different lengths are no table
    for treatment in (values, [*values[:2], FAILED]):
        found = evaluate(Hypothesis(welch_t_test(), "a"), {"a": values}, t={"a": treatment})
        assert f"metric 'a' is not numeric, for example {odd!r}" in found.errors["t"]


@pytest.mark.parametrize("value", [-1, 2, math.inf, 1.0000001])
@pytest.mark.parametrize("key", ["p_value", "p", "adjusted_p_value"])
def test_a_p_value_outside_its_range_is_an_error_that_names_the_verifier(value, key):
    def careless(baseline, treatment):
        found = {"p_value": 0.5, "difference": 1.0}
        if treatment["a"] == [2.0]:
            found = {"p": 0.5, "difference": 1.0} if key == "p" else found
            found[key] = value
        return found

    found = evaluate(Hypothesis(careless, "a", direction="max"), {"a": [1.0]}, t={"a": [2.0]}, u={"a": [3.0]})
    said = f"verifier careless gave {float(value)!r} as a p-value, and those lie between 0 and 1"
    assert found.errors["t"] == said
    assert list(found.results) == ["u"]
    assert verdicts(found) == {"u": "undecided"}


@pytest.mark.parametrize(
    "test",
    [
        welch_t_test(),
        paired_t_test(),
        sign_flip_test(resamples=99),
        wilcoxon_test(),
        equivalence_test(margin=1.0),
        non_inferiority_test(margin=1.0, direction="min"),
        dunnett_test(),
    ],
    ids=lambda test: test.__name__,
)
def test_a_built_in_test_is_judged_by_what_its_results_say_and_by_nothing_else(test):
    def take_apart(samples):
        return [dict(each) for each in test.compare_all(samples)]

    @verifier(many=take_apart, corrects=test.corrects)
    def told(baseline, treatment):
        return test(baseline, treatment)

    draw = np.random.default_rng(3).normal
    baseline = {"a": draw(size=7).tolist()}
    treatments = {
        "apart": {"a": draw(5, size=7).tolist()},
        "unclear": {"a": draw(0.1, size=7).tolist()},
        "near": {"a": [value + 1 + 0.01 * draw() for value in baseline["a"]]},
        "equal": baseline,
        "shifted": {"a": [value + 2 for value in baseline["a"]]},
    }
    margins = {"smallest_effect": 1.5, "equivalence_margin": 0.5, "direction": "min"}
    ours, theirs = (
        evaluate(Hypothesis(each, "a", name="same", **margins), baseline, **treatments)
        for each in (test, told())
    )
    assert len(ours.comparisons) == 5
    assert ours == theirs


def test_a_treatment_that_is_better_and_worse_is_said_not_to_be_best():
    base = [float(value) for value in range(12)]
    up, down = ([value + sign + 0.01 * (i % 3) for i, value in enumerate(base)] for sign in (3, -3))
    tested = Hypothesis(paired_t_test(), [["acc"], ["f1"]], direction="max")
    found = evaluate(tested, {"acc": base, "f1": base}, t={"acc": up, "f1": down})
    assert found.ranking["best"] is None
    assert "'t' is better on acc and worse on f1, so it is not called best." in str(found)
    assert "No treatment is known to be better" not in str(found)


def test_a_correction_that_the_verifier_would_ignore_is_refused():
    for correction in ("holm", "bonferroni", "none"):
        with pytest.raises(
            InvalidValueError, match="dunnett_test corrects p-values for their number by itself"
        ):
            Hypothesis(dunnett_test(), "a", correction=correction)
    assert Hypothesis(dunnett_test(), "a").correction == "holm"
    assert pickle.loads(pickle.dumps(dunnett_test())).corrects


@pytest.mark.parametrize(("number", "text"), [(4, "1 more is undecided"), (5, "2 more are undecided")])
def test_undecided_treatments_that_are_not_explained_are_counted(number, text):
    base = [1.0, 2.0, 4.0, 3.0]
    others = {f"t{i}": {"a": [2.0, 1.0, 4.5 + i, 2.0]} for i in range(number)}
    found = evaluate(Hypothesis(paired_t_test(), "a"), {"a": base}, **others)
    assert f"{text}: summary(detail=True), or --detail, says what is needed." in " ".join(str(found).split())


# -- ranking -----------------------------------------------------------------------------------------------------


def ranked(scores, ranker=None):
    def look_up(baseline, treatment):
        return {"p": scores[treatment["a"][0]]}

    return evaluate(Hypothesis(look_up, "a", ranker), {"a": [""]}, **{name: {"a": [name]} for name in scores})


def test_small_is_good_and_nan_ranks_last():
    found = ranked({"a": 0.5, "b": math.nan, "c": 0.01, "d": 0.5}, lambda result: result["p"])
    assert found.ranking == {"best": "c", "ranked": ["c", "a", "d", "b"]}
    assert found.scores["c"] == 0.01


def test_of_equal_p_values_the_larger_gain_ranks_first_and_nan_last():
    base = [float(i) for i in range(40)]
    shifts = {"none": math.nan, "small": 2.0, "large": 3.0, "down": -4.0, "one": [1.0] * 20 + [1.5] * 20}
    treatments = {
        name: {
            "a": [value + (shift[i] if isinstance(shift, list) else shift) for i, value in enumerate(base)]
        }
        for name, shift in shifts.items()
    }
    for direction, ranked_so in (
        (None, ["down", "large", "small", "one", "none"]),
        ("max", ["large", "small", "one"]),
        ("min", ["down"]),
    ):
        tested = Hypothesis(wilcoxon_test(), "a", direction=direction)
        assert evaluate(tested, {"a": base}, **treatments).ranking["ranked"] == ranked_so


def test_nothing_is_best_if_all_scores_are_nan():
    assert ranked({"a": math.nan}, lambda result: result["p"]).ranking == {"best": None, "ranked": ["a"]}


def test_a_ranker_decides_and_may_return_numpy_numbers():
    assert ranked({"a": 0.1, "b": 0.3}, lambda result: np.float32(-result["p"])).ranking["best"] == "b"


def test_a_ranker_that_raises_leaves_the_result_and_ranks_the_others():
    found = ranked({"a": 1.0, "b": 0.0}, lambda result: 1 / result["p"])
    assert found.ranking == {"best": "a", "ranked": ["a"]}
    assert found.results["b"] == {"p": 0.0}
    assert "the ranker raised" in found.errors["b"]
    assert "ZeroDivisionError" in found.errors["b"]


@pytest.mark.parametrize("odd", [None, "0.5", [1.0]])
def test_a_ranker_must_return_a_number(odd):
    found = ranked({"a": 1.0}, lambda result: odd)
    assert "the ranker returned no number" in found.errors["a"]


def test_a_result_without_p_value_needs_a_ranker():
    found = evaluate(Hypothesis(lambda a, b: {"better": True}, "a"), {"a": [1]}, t={"a": [1]})
    assert found.results["t"] == {"better": True}
    assert "has no 'p_value' to rank by" in found.errors["t"]
    assert "Return a dict with 'p_value', or give the Hypothesis a ranker" in found.errors["t"]


def test_several_results_rank_by_their_smallest_p_value():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 20))
    groups = Hypothesis(paired_t_test(), [["a"], ["b"]], direction="max")
    together = Hypothesis(paired_t_test(), ["a", "b"], direction="max")
    for tested in (groups, together):
        found = evaluate(
            tested,
            {"a": noise[0].tolist(), "b": noise[1].tolist()},
            t={"a": noise[2].tolist(), "b": noise[3].tolist()},
            u={"a": noise[2].tolist(), "b": (noise[1] + 3).tolist()},
        )
        assert found.ranking["best"] == "u"


# -- direction and verdicts --------------------------------------------------------------------------------------


def shifted(direction, verifier=paired_t_test, **shifts):
    """Compare treatments that differ from the baseline by these shifts, and by some noise."""
    noise = np.random.default_rng(1).normal(size=(1 + len(shifts), 30))
    return evaluate(
        Hypothesis(verifier(), "a", direction=direction),
        {"a": noise[0].tolist()},
        **{
            name: {"a": (noise[0] + shift + noise[i] / 9).tolist()}
            for i, (name, shift) in enumerate(shifts.items(), start=1)
        },
    )


def verdicts(found):
    return {each.treatment: each.verdict for each in found.comparisons}


@pytest.mark.parametrize("verifier", [welch_t_test, paired_t_test, sign_flip_test])
def test_best_lies_where_the_direction_says_however_certain_the_others_are(verifier):
    shifts = {"far_worse": -9.0, "little": 1.5, "much": 2.0, "same": 0.0}
    found = shifted("max", verifier, **shifts)
    assert found.ranking["best"] == "much"
    assert verdicts(found) == {
        "far_worse": "worse",
        "little": "better",
        "much": "better",
        "same": "undecided",
    }
    assert "far_worse" not in found.ranking["ranked"]
    assert shifted("min", verifier, **shifts).ranking["best"] == "far_worse"


def test_of_treatments_with_one_p_value_the_larger_gain_is_the_best():
    found = shifted("max", sign_flip_test, some=1.0, more=2.0)
    assert found.scores["some"] == found.scores["more"]
    assert found.ranking == {"best": "more", "ranked": ["more", "some"]}


def test_none_is_best_if_none_is_known_to_be_better():
    for shifts in ({"worse": -2.0}, {"same": 0.0, "alike": 0.001}):
        found = shifted("max", **shifts)
        assert found.ranking["best"] is None
        assert "No treatment is known to be better than the baseline." in str(found)


def test_the_best_is_one_that_is_better_however_small_the_p_value_of_another_verdict_is():
    noise = np.random.default_rng(1).normal(size=(4, 20))
    base, good, steady, lossy = (
        noise[0],
        noise[0] + 2 + noise[1] / 2,
        noise[0] + 0.5 + noise[2] / 50,
        noise[0] + 9 + noise[3] / 9,
    )
    treatments = {"lossy": [None, *lossy.tolist()[1:]], "steady": steady.tolist(), "good": good.tolist()}

    def found(ranker=None):
        tested = Hypothesis(paired_t_test(), "a", ranker, direction="max", smallest_effect=1.0)
        return evaluate(
            tested, {"a": base.tolist()}, **{name: {"a": each} for name, each in treatments.items()}
        )

    by_default = found()
    assert verdicts(by_default) == {"lossy": "withheld", "steady": "too small to matter", "good": "better"}
    assert max(by_default.scores, key=by_default.scores.get) == "good"
    assert by_default.ranking == {"best": "good", "ranked": ["good", "lossy", "steady"]}
    assert str(by_default).splitlines()[-1] == "best is 'good'."
    by_size = found(lambda result: -result["difference"])
    assert by_size.ranking == {"best": "lossy", "ranked": ["lossy", "good", "steady"]}
    assert str(by_size).splitlines()[-1] == "best is 'lossy', by its ranker."
    silent = found(lambda result: math.nan)
    assert silent.ranking["best"] is None
    assert str(silent).splitlines()[-1] == "The ranker gave no treatment a number, so none is called best."


def test_the_best_stands_in_a_table_that_has_no_room_for_all():
    noise = np.random.default_rng(2).normal(size=(30, 20))
    base = noise[0].tolist()
    lossy = {f"lossy{i}": [None, *(noise[0] + 9 + noise[i] / 9).tolist()[1:]] for i in range(1, 13)}
    treatments = {**lossy, "good": (noise[0] + 2 + noise[20]).tolist()}
    tested = Hypothesis(paired_t_test(), "a", direction="max")
    found = evaluate(tested, {"a": base}, **{name: {"a": each} for name, each in treatments.items()})
    assert str(found).splitlines()[3].split()[:2] == ["a", "good"]


def test_without_a_direction_none_is_best_and_those_that_differ_are_named_with_their_sign():
    found = shifted(None, up=2.0, down=-3.0, same=0.0)
    assert found.ranking["best"] is None
    assert set(found.ranking["ranked"]) == {"up", "down", "same"}
    assert verdicts(found) == {"up": "larger", "down": "smaller", "same": "undecided"}
    assert "differ from the baseline: 'up' (+), 'down' (-)." in str(found)


def test_a_treatment_that_is_better_in_one_metric_and_worse_in_another_is_not_best():
    noise = np.random.default_rng(0).normal(size=20)
    baseline = {"a": noise.tolist(), "b": noise.tolist()}
    mixed = {"a": (noise * 1.01 + 2).tolist(), "b": (noise * 1.01 - 2).tolist()}
    found = evaluate(Hypothesis(paired_t_test(), ["a", "b"], direction="max"), baseline, mixed=mixed)
    assert found.ranking == {"best": None, "ranked": []}
    assert [(each.metric, each.verdict) for each in found.comparisons] == [("a", "better"), ("b", "worse")]


def test_verdicts_are_those_of_the_adjusted_p_value_at_the_verifiers_alpha():
    def of(alpha):
        @verifier
        def raw(baseline, treatment, *, alpha=alpha):
            return {"p_value": 0.03, "significant": True, "difference": 1.0}

        return verdicts(evaluate(Hypothesis(raw, "a"), {"a": [0]}, t={"a": [1]}, u={"a": [1]}))

    assert of(0.05) == {"t": "undecided", "u": "undecided"}
    assert of(0.1) == {"t": "larger", "u": "larger"}


@pytest.mark.parametrize(
    ("p_value", "shown", "verdict"),
    [
        (0.0496, "0.05", "larger"),
        (0.0504, "0.0504", "undecided"),
        (0.05 + 1e-9, "0.050000001", "undecided"),
        (0.0514, "0.051", "undecided"),
        (0.0, "0", "larger"),
    ],
)
def test_a_p_value_is_shown_with_digits_that_agree_with_the_verdict(p_value, shown, verdict):
    found = evaluate(
        Hypothesis(lambda a, b: {"p_value": p_value, "difference": 1.0}, "a", name="h"),
        {"a": [0.0, 1.0]},
        t={"a": [1.0, 2.0]},
    )
    assert str(found).splitlines()[3].split() == ["a", "t", "+1", shown, shown, verdict]


def test_treatments_that_do_nothing_are_hardly_ever_said_to_differ():
    rng = np.random.default_rng(0)
    claims = 0
    for draws in rng.normal(size=(200, 11, 10)):
        baseline, *others = (row.tolist() for row in draws)
        found = evaluate(
            Hypothesis(paired_t_test(), "a"),
            {"a": baseline},
            **{f"t{i}": {"a": x} for i, x in enumerate(others)},
        )
        claims += set(verdicts(found).values()) != {"undecided"}
    assert claims / 200 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_nan_decides_nothing_and_is_shown_as_nan():
    found = evaluate(Hypothesis(paired_t_test(), "a"), {"a": [1.0, 2.0]}, t={"a": [math.nan, 1.0]})
    assert found.results["t"]["significant"] is None
    assert verdicts(found) == {"t": "undecided"}
    assert str(found).splitlines()[3].split() == ["a", "t", "-1", "nan", "nan", "undecided"]


def test_the_sign_of_a_verifier_that_tells_no_difference_is_that_of_the_means():
    def p_alone(baseline, treatment):
        return {"p_value": 0.001}

    found = evaluate(Hypothesis(p_alone, "a", direction="min"), {"a": [1.0, 2.0]}, t={"a": [0.5, 1.0]})
    assert found.comparisons[0].difference == -0.75
    assert found.ranking["best"] == "t"
    together = evaluate(Hypothesis(p_alone, ["a", "b"]), {"a": [1], "b": [1]}, t={"a": [2], "b": [0]})
    assert verdicts(together) == {"t": "different"}


def test_a_decorated_ranker_takes_a_direction():
    made = hypothesis(verifier=paired_t_test(), metrics="a", direction="min")(lambda result: 0.0)
    assert "direction='min'" in repr(made())
    assert made().describe()["direction"] == "min"


@pytest.mark.parametrize("direction", ["up", "MAX", 1, True])
def test_a_wrong_direction_is_refused(direction):
    with pytest.raises(InvalidValueError, match="direction is 'min' or 'max', got"):
        Hypothesis(keep, direction=direction)


def test_a_result_prints_as_a_table_of_80_columns_with_one_verdict_a_line():
    name = "a_treatment_with_a_name_that_says_everything_"
    found = shifted("min", **{f"{name}{i}": -1.0 * i for i in range(3)})
    lines = str(found).splitlines()
    assert lines[0] == "hypothesis 'paired_t_test', smaller is better"
    assert lines[1].split() == ["metric", "condition", "difference", "p", "adjusted", "p", "verdict"]
    assert [line.split()[-1] for line in lines[3:6]] == ["undecided", "better", "better"]
    assert len({line.split()[1] for line in lines[3:6]}) == 3
    assert max(map(len, lines)) <= 80
    assert f"best is '{name}2'." in str(found)
    assert repr(found) == str(found)
    assert found._repr_html_().count("<tr>") == 4


def test_what_a_verifier_gives_besides_tests_is_told_below():
    found = evaluate(
        Hypothesis(lambda a, b: {"share": b["a"][0] / 3}, "a", lambda result: -result["share"], "h"),
        {"a": [1]},
        t={"a": [1]},
        u={"a": [2]},
    )
    assert str(found).splitlines() == [
        "hypothesis 'h'",
        "t: share = 0.333",
        "u: share = 0.667",
        "best is 'u', by its ranker.",
    ]


# -- multiple comparisons ----------------------------------------------------------------------------------------


def test_holm_gives_the_known_values():
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") of R, and a case with ties and a cap at 1.
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.7, 0.0001, 0.7]) == pytest.approx([1.0, 0.0003, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(values, alpha):
    rejected = set()
    for step, (value, i) in enumerate(sorted((value, i) for i, value in enumerate(values))):
        if value > alpha / (len(values) - step):
            break
        rejected.add(i)
    corrected = holm(values)
    # At the border, a division and a product may round to different sides.
    if not any(math.isclose(value, alpha, rel_tol=1e-12) for value in corrected):
        assert {i for i, value in enumerate(corrected) if value <= alpha} == rejected
    assert all(value <= after <= 1 for value, after in zip(values, corrected, strict=True))


def test_adjusted_p_values_count_all_treatments_but_not_nan():
    found = ranked({"a": 0.01, "b": 0.02, "c": math.nan})
    assert found.adjusted_p_values == pytest.approx({"a": 0.02, "b": 0.02, "c": math.nan}, nan_ok=True)


def test_adjusted_p_values_count_all_metrics():
    results = {1: [{"p_value": 0.01}, {"p_value": 0.9}], 2: {"x": {"p": 0.02}, "y": {"p": 0.03}}, 3: {}}
    found = evaluate(
        Hypothesis(lambda a, b: results[b["a"][0]], "a"), {"a": [0]}, t={"a": [1]}, u={"a": [2]}, v={"a": [3]}
    )
    assert found.adjusted_p_values == pytest.approx({"t": 0.04, "u": 0.06})


# -- the result --------------------------------------------------------------------------------------------------


def test_a_result_is_found_by_treatment():
    found = evaluate(Hypothesis(keep, "a", name="h"), {"a": [1]}, low={"a": [2]}, high={"a": [FAILED]})
    assert found.get_for_treatment("low") is found.results["low"]
    with pytest.raises(
        UnknownNameError, match=r"no treatment 'lo' \(hypothesis 'h'\)\. Did you mean 'low'\?"
    ):
        found.get_for_treatment("lo")
    with pytest.raises(RunFailedError, match=r"treatment 'high' was not compared: .*diverged"):
        found.get_for_treatment("high")


def test_results_can_be_pickled_and_are_plain_data_as_a_dict():
    found = evaluate(Hypothesis(welch_t_test(), "a"), {"a": [1.0, 2.0]}, t={"a": [2.0, 4.0]})
    assert pickle.loads(pickle.dumps(found)) == found
    assert HypothesisResult.from_dict(found.to_dict()) == found
    reference = stats.ttest_ind([2.0, 4.0], [1.0, 2.0], equal_var=False).pvalue
    assert found.to_dict()["adjusted_p_values"]["t"] == pytest.approx(reference)


# -- making hypotheses -------------------------------------------------------------------------------------------


def test_names_default_to_the_verifiers_and_to_the_rankers():
    assert Hypothesis(welch_t_test()).name == Hypothesis(welch_t_test).name == "welch_t_test"
    assert Hypothesis(keep, name="h").name == "h"
    assert lower_loss().name == "lower_loss"


def test_a_decorated_ranker_makes_hypotheses():
    made = lower_loss()
    found = evaluate(
        made, {"loss": [1.0, 2.0, 3.0]}, t={"loss": [1.0, 2.5, 4.0]}, u={"loss": [0.0, 1.5, 2.0]}
    )
    assert found.ranking["best"] == "u"
    assert found.scores["t"] == 0.5
    assert made.describe() == {
        "name": "lower_loss",
        "verifier": "paired_t_test",
        "metrics": [["loss"]],
        "direction": None,
        "smallest_effect": None,
        "equivalence_margin": None,
        "correction": "holm",
        "settings": {"alpha": 0.01},
    }


def test_an_experiment_takes_hypotheses_and_their_factories():
    made = Hypothesis(keep)
    assert as_hypothesis(made) is made
    assert as_hypothesis(lower_loss).name == "lower_loss"
    with pytest.raises(InvalidTypeError, match=r"expected a Hypothesis, got .*Wrap a verifier"):
        as_hypothesis(welch_t_test())


def test_hypotheses_can_be_pickled():
    for made in (
        Hypothesis(welch_t_test(alpha=0.1), ["a", "b"], name="h"),
        lower_loss(),
        pickle.loads(pickle.dumps(lower_loss))(),
    ):
        copy = pickle.loads(pickle.dumps(made))
        assert copy.describe() == made.describe()
        assert copy.ranker is made.ranker


def test_hypotheses_made_inside_functions_reach_other_processes_by_cloudpickle():
    import cloudpickle

    @hypothesis(verifier=lambda a, b: {"gain": b["a"][0] - a["a"][0]}, metrics="a")
    def largest_gain(result):
        return -result["gain"]

    copy = pickle.loads(cloudpickle.dumps(largest_gain()))
    assert evaluate(copy, {"a": [1]}, t={"a": [3]}).scores == {"t": -2}


class Async:
    async def __call__(self, baseline, treatment):
        return {}


@pytest.mark.parametrize("bad", ["welch", None, dict, lambda one: {}, Async()])
def test_what_cannot_be_called_with_two_samples_is_refused(bad):
    with pytest.raises(InvalidTypeError, match="a verifier is "):
        Hypothesis(bad)


@pytest.mark.parametrize(
    ("metrics", "error"),
    [
        (3, InvalidTypeError),
        ([1], InvalidTypeError),
        (["a", ["b"]], InvalidTypeError),
        ({"a": 1}, InvalidTypeError),
        ([], InvalidValueError),
        ([["a"], []], InvalidValueError),
        (["a", "a"], InvalidValueError),
    ],
)
def test_metrics_of_another_form_are_refused(metrics, error):
    with pytest.raises(error, match="metrics"):
        Hypothesis(keep, metrics=metrics)


@pytest.mark.parametrize("arguments", [{"ranker": "p_value"}, {"name": 3}, {"name": " "}])
def test_a_wrong_ranker_or_name_is_refused(arguments):
    with pytest.raises(CrystallizeError, match=next(iter(arguments))):
        Hypothesis(keep, **arguments)


def test_wrong_settings_of_the_decorator_are_refused_where_they_stand():
    with pytest.raises(InvalidTypeError, match="metrics is a name"):
        hypothesis(verifier=welch_t_test(), metrics=3)(lambda result: 0.0)
    with pytest.raises(InvalidTypeError, match="@hypothesis decorates a function"):
        hypothesis(verifier=welch_t_test())("p_value")


# -- several groups, metrics and corrections ---------------------------------------------------------------------------

ONE, UP = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.5, 4.0, 5.2, 6.1]
WIDE, WIDER = [3.0, 1.0, 9.0, 2.0, 7.0], [9.0, 1.0, 3.0, 0.0, 8.0]


def visible(found):
    return [each.visible for each in found.comparisons]


def test_each_treatment_is_compared_on_what_it_shares_with_the_baseline():
    both = {"a": ONE, "b": ONE}
    found = evaluate(Hypothesis(paired_t_test()), both, t={"a": UP}, u={"b": UP}, v={"a": UP, "b": UP})
    tested = [(each.treatment, each.metric) for each in found.comparisons]
    assert tested == [("t", "a"), ("u", "b"), ("v", "a"), ("v", "b")]
    assert set(found.results["v"]) == {"a", "b"}


@pytest.mark.parametrize("test", [paired_t_test(), welch_t_test(), dunnett_test()])
def test_a_treatment_that_shares_nothing_with_the_baseline_is_an_error(test):
    found = evaluate(Hypothesis(test), {"a": ONE}, t={"b": UP})
    assert "the baseline and the treatment" in found.errors["t"]
    assert "no metric" in found.errors["t"]
    assert not found.results


def test_comparisons_stand_in_the_order_of_treatments_and_what_raised_is_in_no_family():
    def picky(baseline, treatment):
        if treatment.get("b", [0])[0] > 5:
            raise ValueError("too large")
        return {"p_value": 0.02}

    groups = [["a"], ["b"]]
    base, small = {"a": ONE, "b": ONE}, {"a": UP, "b": UP}
    found = evaluate(Hypothesis(picky, groups), base, s=small, t={"a": UP, "b": [9.0] * 5}, u=small)
    tested = [(each.treatment, each.metric) for each in found.comparisons]
    assert tested == [("s", "a"), ("s", "b"), ("u", "a"), ("u", "b")]
    assert [each.adjusted_p_value for each in found.comparisons] == [0.08] * 4
    assert list(found.errors) == ["t"]


def test_the_first_group_that_went_wrong_is_told():
    def picky(baseline, treatment):
        raise ValueError(f"not of {', '.join(treatment)}")

    found = evaluate(Hypothesis(picky, [["a"], ["b"]]), {"a": ONE, "b": ONE}, t={"a": UP, "b": UP})
    assert "not of a" in found.errors["t"]


def test_what_a_run_can_see_depends_on_how_many_tests_there_are_unless_none_is_corrected():
    alone = evaluate(Hypothesis(paired_t_test(), "a"), {"a": ONE}, t={"a": WIDE})
    unknown = evaluate(Hypothesis(paired_t_test(), "a"), {"a": ONE}, t={"a": WIDE}, u={"a": [math.inf] * 5})
    assert visible(unknown)[0] == visible(alone)[0]
    holm, none = (
        evaluate(
            Hypothesis(paired_t_test(), "a", correction=correction), {"a": ONE}, t={"a": WIDE}, u={"a": WIDER}
        )
        for correction in ("holm", "none")
    )
    assert visible(none)[0] == visible(alone)[0] < visible(holm)[0]


def test_what_an_unpaired_run_can_see_is_in_units_of_the_sd_of_both_conditions():
    found = evaluate(Hypothesis(welch_t_test(), "a"), {"a": ONE}, t={"a": WIDE})
    sd = math.sqrt((statistics.variance(ONE) + statistics.variance(WIDE)) / 2)
    assert visible(found) == pytest.approx([sd * smallest_effect(5, alpha=0.05, paired=False)], rel=1e-12)


@pytest.mark.parametrize(("paired", "freedom"), [(True, 8 * 4), (False, 9 * 4)])
def test_what_dunnetts_test_can_see_is_by_the_degrees_of_freedom_of_all_conditions(paired, freedom):
    draws = np.random.default_rng(1).normal(size=(9, 5))
    columns = [{"a": each.tolist()} for each in draws]
    tested = Hypothesis(dunnett_test(paired=paired), "a", smallest_effect=0.1)
    found = evaluate(tested, columns[0], **{f"t{i}": each for i, each in enumerate(columns[1:])})
    error, undecided = found.results["t0"]["standard_error"], found.comparisons[0]
    level = 0.05 / 8

    def power(n, effect):
        many = freedom / 4 * (n - 1)
        return stats.nct.sf(stats.t.isf(level / 2, many), many, effect / (error * math.sqrt(5 / n)))

    assert power(5, undecided.visible) == pytest.approx(0.8, abs=1e-6)
    assert power(5 + undecided.more, 0.1) >= 0.8 > power(4 + undecided.more, 0.1)


def test_a_test_of_a_claim_has_no_outlook():
    tested = Hypothesis(equivalence_test(margin=0.01), "a", smallest_effect=0.5)
    (comparison,) = evaluate(tested, {"a": ONE}, t={"a": WIDE}).comparisons
    assert (comparison.more, comparison.visible) == (None, None)


def test_of_equal_adjusted_p_values_the_smaller_p_value_ranks_first():
    found = ranked({"t": 0.04, "u": 0.03, "v": 0.02})
    assert found.adjusted_p_values == {"t": 0.06, "u": 0.06, "v": 0.06}
    assert found.ranking["ranked"] == ["v", "u", "t"]


def test_several_values_of_each_replicate_are_no_loss():
    several = [[1.0, 2.0], [2.0, 3.0], [4.0, 4.0]]
    found = evaluate(
        Hypothesis(paired_t_test(), "a"), {"a": several}, t={"a": [[1.0, 3.0], [2.0, 3.0], [4.0, 5.0]]}
    )
    assert found.dropped == {}


def test_large_integers_keep_their_digits_beside_a_treatment_of_floats():
    large = 2**60
    base, own = [large + 1, large + 2, large + 3, large + 4], [large + 2, large + 4, large + 5, large + 5]
    found = evaluate(
        Hypothesis(welch_t_test(), "a"), {"a": base}, i={"a": own}, f={"a": [1.0, 2.0, 3.0, 4.0]}
    )
    assert found.results["i"]["difference"] == 1.5


def test_a_result_that_is_changed_is_judged_as_it_is_told():
    def stricter(samples):
        found = paired_t_test().compare_all(samples)
        for each in found:
            each["p_value"] *= 10
        return found

    tested = verifier(many=stricter)(lambda baseline, treatment: stricter([(baseline, treatment)])[0])
    found = evaluate(Hypothesis(tested(), "a"), {"a": ONE}, t={"a": WIDE}, u={"a": UP})
    for each in found.comparisons:
        assert each.p_value == found.results[each.treatment]["p_value"]


@pytest.mark.parametrize("n", [0, -3, 10**400])
def test_an_impossible_number_of_values_is_not_believed(n):
    told = {"p_value": 0.5, "difference": 1.0, "standard_error": 0.1, "n": n}
    found = evaluate(Hypothesis(lambda *_: told, "a", smallest_effect=0.5), {"a": ONE}, t={"a": WIDE})
    sane = evaluate(Hypothesis(paired_t_test(), "a", smallest_effect=0.5), {"a": ONE}, t={"a": WIDE})
    assert visible(found) == pytest.approx(visible(sane), rel=1e-12)


@pytest.mark.parametrize("key", ["p_value", "difference"])
def test_a_number_that_no_float_holds_is_that_treatments_error(key):
    def huge(baseline, treatment):
        return {"p_value": 0.5, "difference": 1.0} | ({key: 10**400} if treatment["a"] == WIDE else {})

    found = evaluate(Hypothesis(huge, "a"), {"a": ONE}, t={"a": WIDE}, u={"a": UP})
    assert "OverflowError" in found.errors["t"]
    assert list(found.results) == ["u"]
