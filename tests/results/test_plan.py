"""Plans from pilots."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import crystallize
from crystallize import (
    Artifact,
    Experiment,
    Hypothesis,
    Treatment,
    decided,
    equivalence_test,
    non_inferiority_test,
    open_run,
    paired_t_test,
    power,
    precise,
    sign_flip_test,
    welch_t_test,
)
from crystallize.errors import CrystallizeError, InvalidTypeError, MissingMetricError, UnknownNameError
from crystallize.statistics.power import largest_sd, smallest_effect, t_test_power


def pilot(replicates=10, spreads=(1.0,), metric="rmse", name=None, more=(), **options):
    """Run an experiment in which treatment i differs from the baseline with a standard deviation of spreads[i]."""

    def measure(data, ctx, *, spread=0.0):
        common = ctx.stream("common").normal(50, 5)
        value = common + spread * ctx.stream(f"own {spread}").normal()
        return data, {"label": "x"} | dict.fromkeys([metric, *more], float(value))

    treatments = [Treatment(f"t{i}", {"spread": spread}) for i, spread in enumerate(spreads)]
    experiment = Experiment(lambda: None, [measure], treatments=treatments, seed=3, name=name, **options)
    return experiment.run(replicates=replicates)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_plan_takes_the_upper_limit_of_the_pilots_spread():
    result = pilot()
    plan = power(result, effect=0.5)
    baseline, treatment = (np.array(result.condition(name).metrics["rmse"]) for name in ("baseline", "t0"))
    sd = (treatment - baseline).std(ddof=1)
    assert plan.sd == pytest.approx(sd)
    assert plan.sd_limit == pytest.approx(largest_sd(sd, 9, 0.8))
    assert (
        t_test_power(0.5 / plan.sd_limit, plan.pairs)
        >= 0.8
        > t_test_power(0.5 / plan.sd_limit, plan.pairs - 1)
    )
    assert plan.power_of(plan.pairs) == t_test_power(0.5 / plan.sd_limit, plan.pairs)
    assert plan.smallest_effect() == pytest.approx(smallest_effect(10) * plan.sd_limit)
    assert plan.smallest_effect(plan.pairs) <= 0.5 < plan.smallest_effect(plan.pairs - 1)
    pooled = math.sqrt((baseline.var(ddof=1) + treatment.var(ddof=1)) / 2)
    unpaired = 0.5 / largest_sd(pooled, 18, 0.8)
    assert t_test_power(unpaired, plan.unpaired, paired=False) >= 0.8
    assert t_test_power(unpaired, plan.unpaired - 1, paired=False) < 0.8


def test_more_assurance_more_power_and_smaller_effects_need_more_pairs():
    result = pilot()
    base = power(result, effect=0.5).pairs
    assert power(result, effect=0.5, assurance=0.9).pairs > base
    assert power(result, effect=0.5, power=0.9).pairs > base
    assert power(result, effect=0.5, alpha=0.01).pairs > base
    effects, pairs = zip(*power(result, effect=0.5).curve(), strict=True)
    assert effects == (0.25, 0.375, 0.5, 0.75, 1.0)
    assert pairs[2] == base
    assert list(pairs) == sorted(pairs, reverse=True)
    assert power(result, effect=0.5).curve([0.5]) == [(0.5, base)]


def test_of_several_treatments_the_one_that_needs_most_counts_and_all_share_alpha():
    result = pilot(spreads=(0.2, 2.0, 0.3))
    plan = power(result, effect=1)
    assert (plan.treatment, plan.comparisons) == ("t1", 3)
    alone = power(result, effect=1, treatment="t1")
    assert alone.pairs < plan.pairs
    assert plan.pairs == power(result, effect=1, treatment="t1", alpha=0.05 / 3).pairs
    assert "'t1' needs most." in str(plan)


def test_a_plan_is_for_the_tests_of_the_hypothesis_on_the_metric():
    def plan(**settings):
        asked = Hypothesis(paired_t_test(alpha=0.01), smallest_effect=0.5, **settings)
        result = pilot(spreads=(1.0, 2.0), more=["loss"], hypotheses=[asked])
        return power(result, effect=0.5, metric="rmse"), result.metrics.hypotheses[0].comparisons

    both, comparisons = plan(metrics=["rmse", "loss"])
    assert (both.alpha, both.tests) == (0.01, 4)
    needed = next(10 + each.more for each in comparisons if (each.metric, each.treatment) == ("rmse", "t1"))
    assert t_test_power(0.5 / both.sd, needed, alpha=0.01 / 4) >= 0.8  # what the hypothesis says of itself
    assert both.pairs > needed
    assert plan(metrics="rmse")[0].tests == 2
    alone, _ = plan(metrics="rmse", correction="none")
    assert (alone.tests, alone.comparisons) == (1, 2)
    assert "'t1' needs most." in str(alone)
    assert power(pilot(), effect=0.5).alpha == 0.05


def test_a_plan_for_one_treatment_is_for_its_test_among_all_of_the_hypothesis():
    result = pilot(spreads=(0.2, 2.0, 0.3), hypotheses=[Hypothesis(paired_t_test(), "rmse")])
    alone = power(result, effect=0.5, treatment="t0")
    assert (alone.tests, alone.comparisons) == (3, 1)
    assert t_test_power(0.5 / alone.sd_limit, alone.pairs, alpha=0.05 / 3) >= 0.8


def test_a_plan_for_a_test_without_pairs_is_without_pairs():
    asked, paired = ([Hypothesis(test(), "rmse")] for test in (welch_t_test, paired_t_test))
    plan, of_pairs = (power(pilot(hypotheses=each), effect=4.0) for each in (asked, paired))
    assert plan.pairs == plan.unpaired == of_pairs.unpaired > of_pairs.pairs
    assert plan.sd_limit == plan.unpaired_sd_limit == of_pairs.unpaired_sd_limit
    limit = 4.0 / plan.sd_limit
    assert plan.power_of(plan.pairs) == t_test_power(limit, plan.pairs, paired=False) >= 0.8
    assert plan.smallest_effect(plan.pairs) <= 4.0 < plan.smallest_effect(plan.pairs - 1)
    assert plan.curve([4.0]) == [(4.0, plan.pairs)]
    assert str(plan).endswith("The hypothesis compares without pairs.")


@pytest.mark.parametrize(
    ("test", "claim", "says"),
    [
        (equivalence_test(margin=0.5), "equivalent", "rmse equivalent within 0.5"),
        (non_inferiority_test(margin=0.5, direction="min"), "not worse", "rmse not worse by 0.5"),
    ],
)
def test_a_plan_for_a_test_against_a_margin_has_the_power_of_its_sides(test, claim, says):
    plan = power(pilot(hypotheses=[Hypothesis(test, "rmse")]), effect=0.5)
    margin = 0.5 / plan.sd_limit
    assert plan.claim == claim
    assert plan.power_of(plan.pairs) == t_test_power(margin, plan.pairs, claim=claim) >= 0.8
    assert t_test_power(margin, plan.pairs - 1, claim=claim) < 0.8
    assert plan.smallest_effect(plan.pairs) <= 0.5 < plan.smallest_effect(plan.pairs - 1)
    assert plan.curve([0.5]) == [(0.5, plan.pairs)]
    text = " ".join(str(plan).split())
    assert f"{plan.pairs} replicates find {says}, if the conditions do not differ (80 % power)" in text
    assert "The pilot's 10 are enough for a margin of " in text
    two_sided = power(pilot(hypotheses=[Hypothesis(paired_t_test(), "rmse")]), effect=0.5)
    assert (plan.pairs > two_sided.pairs) == (claim == "equivalent")


def test_a_plan_says_for_which_of_several_hypotheses_it_is():
    first, second = (
        Hypothesis(paired_t_test(), "rmse", name="first"),
        Hypothesis(welch_t_test(), "rmse", name="second"),
    )
    both = power(pilot(hypotheses=[first, second]), effect=0.5)
    alone = power(pilot(hypotheses=[first]), effect=0.5)
    assert (both.hypothesis, both.pairs) == (alone.hypothesis, alone.pairs) == ("first", alone.pairs)
    assert "The plan is for hypothesis 'first', the first of 2 on rmse." in " ".join(str(both).split())
    assert alone.notes == ()


def test_a_pilot_that_a_rule_has_ended_is_told_and_one_that_ran_out_is_none():
    ended = power(pilot(50, stop_when=precise("rmse", half_width=1.0)), effect=0.5)
    assert ended.pilot < 50
    (note,) = ended.notes
    assert note.startswith("A stopping rule of ")
    assert " ".join(note.split()) in " ".join(str(ended).split())
    assert power(pilot(10, stop_when=precise("rmse", half_width=1e-9)), effect=0.5).notes == ()


def test_a_treatment_that_a_rule_has_dropped_from_the_pilot_is_told_though_others_are_undecided():
    def measure(data, ctx, *, shift=0.0):
        return data, {"rmse": shift + float(ctx.stream(ctx["condition"]).normal())}

    shifts = [Treatment("far", {"shift": 9.0}), Treatment("same", {"shift": 0.0})]
    result = Experiment(lambda: None, [measure], treatments=shifts, seed=1).run(
        replicates=12, stop_when=decided("rmse", drop=True)
    )
    assert not result.stopping.is_decided
    (note,) = power(result, effect=0.5, treatment="far").notes
    assert note.startswith("A stopping rule of ")


def test_a_pilot_whose_replicates_share_what_they_read_or_whose_input_a_rule_ended_is_told():
    def write(data, ctx, *, x: Artifact):
        x.write(str(ctx.rng.normal()))
        return data, {"m": ctx.rng.normal()}

    def measure(data, ctx, *, spread=0.0):
        return data, {"rmse": float(data) + spread * ctx.stream("own").normal()}

    def notes(asked, **how):
        out = Artifact("x", loader="text")
        Experiment(lambda: None, [write], name="made", outputs=[out], seed=1).run(**how)
        reads = Experiment(out, [measure], treatments=[Treatment("t", {"spread": 1.0})], seed=2)
        return power(reads.run(replicates=asked), effect=0.5).notes

    assert notes(4, replicates=4) == ()
    (note,) = notes(4, replicates=2)
    assert note.startswith(
        "The pilot's replicates are not independent: they share those of 'made', which has 2."
    )
    (note,) = notes(3, stop_when=precise("m", half_width=1e-9, min=2, max=3))
    assert note.startswith("A stopping rule of 'made' has said how many replicates the pilot has")


@pytest.mark.parametrize(("treatments", "fewest"), [(1, 6), (2, 7), (5, 8)])
def test_a_plan_has_as_many_replicates_as_a_test_that_counts_exchanges_needs_at_least(treatments, fewest):
    asked = Hypothesis(sign_flip_test(), "rmse")
    result = pilot(replicates=5, spreads=tuple(range(1, treatments + 1)), hypotheses=[asked])
    plan = power(result, effect=1000)
    assert plan.pairs == plan.fewest == fewest
    assert "The pilot's 5 find nothing." in str(plan)
    assert (plan.power_of(fewest - 1), plan.smallest_effect(fewest - 1)) == (0.0, math.inf)
    assert plan.power_of(fewest) == pytest.approx(1.0)
    assert {pairs for _, pairs in plan.curve()} == {fewest}


def test_the_metric_is_the_only_one_or_that_of_a_hypothesis():
    assert power(pilot(), effect=1).metric == "rmse"

    def two(data, ctx, *, shift=0.0):
        return data, {
            "a": float(ctx.rng.normal(shift)),
            "b": float(ctx.rng.normal() + shift * ctx.rng.normal()),
        }

    made = Experiment(lambda: None, [two], treatments=[Treatment("t", {"shift": 1.0})], seed=1)
    with pytest.raises(MissingMetricError, match=r"the plan is for one metric .*Name one of 'a', 'b'"):
        power(made.run(replicates=5), effect=1)
    asked = made.run(replicates=5, hypotheses=[Hypothesis(paired_t_test(), "b")])
    assert power(asked, effect=1).metric == "b"


def test_the_cost_is_that_of_the_pilots_replicates_and_a_stored_pilot_gives_the_same_plan():
    result = pilot(name="stored")
    plan = power(result, effect=0.5)
    assert plan.seconds == plan.pairs * plan.seconds_per_replicate > 0
    assert power(open_run("stored"), effect=0.5) == plan
    unstored = power(pilot(disable_plugins=["artifact"]), effect=0.5)
    assert (unstored.seconds, unstored.pairs) == (None, plan.pairs)


def test_a_plan_is_two_lines_and_a_record_that_json_takes():
    plan = power(pilot(name="e"), effect=0.5)
    first, second = str(plan).splitlines()
    assert first.startswith(f"{plan.pairs} replicates find a difference of 0.5 in rmse (80 % power), in ")
    assert second.startswith("The pilot's 10 find ")
    assert second.endswith(f"Without pairs: {plan.unpaired} of each condition.")
    assert max(len(first), len(second)) <= 80
    record = json.loads(json.dumps(plan.to_dict()))
    assert record["pairs"] == plan.pairs
    assert record["curve"][2] == [0.5, plan.pairs]


@pytest.mark.parametrize("effect", [0, -1.0, math.nan, math.inf, "1", True])
def test_an_effect_of_nothing_is_refused(effect):
    with pytest.raises(CrystallizeError, match="effect is "):
        power(pilot(2), effect=effect)


@pytest.mark.parametrize("name", ["power", "assurance", "alpha"])
@pytest.mark.parametrize("value", [0, 1, 1.5, "0.8"])
def test_shares_lie_between_0_and_1(name, value):
    with pytest.raises(CrystallizeError, match=f"{name} "):
        power(pilot(2), effect=1, **{name: value})


def test_nothing_is_planned_from_nothing():
    with pytest.raises(
        ValueError, match="the pilot has 1 complete pair of metric 'rmse', and needs two at least"
    ):
        power(pilot(1), effect=1)
    with pytest.raises(ValueError, match="the differences of metric 'rmse' are all equal in the pilot"):
        power(pilot(spreads=(0.0,)), effect=1)
    with pytest.raises(ValueError, match="the pilot has no treatment"):
        power(pilot(spreads=()), effect=1)
    with pytest.raises(ValueError, match="no number of replicates finds a difference of 1e-09"):
        power(pilot(), effect=1e-9)


def test_names_that_the_pilot_lacks_are_told_with_the_nearest():
    with pytest.raises(MissingMetricError, match=r"no numbers of metric 'rsme'.*Did you mean 'rmse'"):
        power(pilot(2), effect=1, metric="rsme")
    with pytest.raises(MissingMetricError, match="no numbers of metric 'label'"):
        power(pilot(2), effect=1, metric="label")
    with pytest.raises(UnknownNameError, match=r"the pilot has no treatment 'u' .*It has 't0'"):
        power(pilot(2), effect=1, treatment="u")


def test_power_is_public():
    assert crystallize.power is power


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="power takes the result of a pilot, got 'x'"):
        power("x", effect=1)  # type: ignore[arg-type]
