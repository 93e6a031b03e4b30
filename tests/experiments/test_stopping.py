"""Runs that a stopping rule watches: it decides by the order of the replicates, whatever the order of arrival."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize import (
    BasePlugin,
    Experiment,
    Hypothesis,
    Treatment,
    best,
    decided,
    dunnett_test,
    looks,
    open_run,
    paired_t_test,
    precise,
)
from crystallize.errors import CrystallizeError, InvalidTypeError, MissingMetricError, ValidationError
from crystallize.results.result import Result
from crystallize.statistics.stopping.report import Finding
from crystallize.statistics.stopping.rule import StoppingRule
from crystallize.utils.failures import RunCancelled

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
SMALL = Treatment("small", {"shift": 0.0})
LARGE = Treatment("large", {"shift": 3.0})


def noise(ctx: Any) -> float:
    return float(ctx.stream(ctx["condition"]).normal())


def findings(result: Result) -> tuple[Finding, ...]:
    assert result.stopping is not None
    return result.stopping.parts[0].findings


def measure(data: None, ctx: Any) -> tuple[None, dict[str, float]]:
    return data, {"loss": ctx.get("shift", 0.0) + noise(ctx)}


def make(*treatments: Treatment, step: Callable[..., Any] = measure, **more: Any) -> Experiment:
    given = treatments or (LARGE, SMALL)
    return Experiment(lambda: None, [step], name="watched", treatments=given, seed=7, **more)


def sleep_data(**more: Any) -> Experiment:
    def differences(data: None, ctx: Any) -> tuple[None, dict[str, float]]:
        return data, {"hours": SLEEP[ctx["replicate"]] if ctx["condition"] == "drug" else 0.0}

    return Experiment(
        lambda: None, [differences], name="sleep", treatments=[Treatment("drug", {})], seed=1, **more
    )


def stored(experiment: Experiment | str = "watched", version: int = 0) -> dict[str, bytes]:
    """Return what a run has on disk that does not depend on when, where and how it ran."""
    folder = Path("data") / str(experiment) / f"v{version}"
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("metadata.json", "journal.jsonl", "journal.lock")
    }
    metadata = json.loads((folder / "metadata.json").read_text())
    return found | {key: json.dumps(metadata[key]).encode() for key in ("replicates", "stopping", "status")}


# -- what it decides --------------------------------------------------------------------------------------------------


def test_a_run_ends_with_the_replicate_that_decides() -> None:
    result = sleep_data().run(stop_when=decided("hours", max=10))
    assert result.replicates == result.arrived == 8
    assert result.metrics.treatments["drug"].metrics["hours"] == SLEEP[:8]
    stopping = result.stopping
    assert stopping is not None
    assert (stopping.is_decided, stopping.reason) == (True, "every treatment is decided")
    ((finding,),) = (part.findings for part in stopping.parts)
    assert (finding.condition, finding.verdict, finding.at, finding.n) == ("drug", "higher", 8, 8)
    path = [round(look.statistic or 0, 6) for look in stopping.parts[0].looks[1:]]
    assert path == [1.443376, 2.701094, 5.985353, 4.177639, 8.069194, 19.756005, 36.205759]


def test_what_is_undecided_when_there_are_no_more_replicates_is_called_so() -> None:
    result = sleep_data().run(stop_when=decided("hours", max=5))
    assert result.stopping is not None
    assert not result.stopping.is_decided
    assert result.stopping.reason == "undecided when its largest number of replicates, 5, was reached"
    assert result.stopping.parts[0].findings[0].verdict == "undecided"


def test_the_replicates_that_are_asked_for_are_the_most_that_are_run() -> None:
    result = sleep_data(replicates=4).run(stop_when=decided("hours", max=10))
    assert result.replicates == 4
    assert "undecided when the run's largest number of replicates, 4, was reached" in str(
        result.stopping
    ).replace("\n  ", " ")


def test_an_experiment_may_have_a_rule_of_its_own() -> None:
    assert sleep_data(stop_when=decided("hours", max=10)).run().replicates == 8


def test_the_only_metric_need_not_be_named() -> None:
    assert sleep_data().run(stop_when=decided(max=10)).replicates == 8


def test_several_treatments_share_alpha_until_they_are_decided() -> None:
    result = make().run(stop_when=decided("loss", max=30))
    assert result.stopping is not None
    (part,) = result.stopping.parts
    verdicts = {each.condition: each.verdict for each in part.findings}
    assert verdicts == {"large": "higher", "small": "undecided"}
    large = next(each for each in part.looks if each.condition == "large" and (each.statistic or 0) >= 40)
    assert part.findings[0].at == large.replicates  # twice 20, for two of them share alpha


def test_looks_are_few_and_at_equal_distances() -> None:
    result = make(SMALL).run(stop_when=looks("loss", k=4, max=22))
    assert result.stopping is not None
    assert [look.replicates for look in result.stopping.parts[0].looks] == [6, 11, 17, 22]
    assert result.replicates == 22


def test_a_run_that_ends_before_a_rules_last_look_is_told_when_it_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for replicates, rule, told in [
        (50, looks("loss"), True),
        (50, decided("loss") | looks("loss", k=2, max=60), True),
        (120, looks("loss"), False),
        (50, looks("loss", max=50) & precise("loss", half_width=0.5), False),
    ]:
        caplog.clear()
        make(LARGE, disable_plugins=["artifact"]).run(replicates=replicates, stop_when=rule)
        warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert [
            f"at most: it never takes its last look. Give it max={replicates}" in each for each in warnings
        ] == [True] * told


def test_between_two_looks_a_run_tells_what_was_seen_at_the_last_one() -> None:
    rule = looks("loss", k=2, max=20)
    to_the_look, beyond = (make(SMALL).run(stop_when=rule, replicates=n) for n in (10, 13))
    assert findings(beyond) == findings(to_the_look)
    assert findings(beyond)[0].n == 10
    unseen = findings(make(SMALL).run(stop_when=rule, replicates=9))[0]
    assert (unseen.n, unseen.low, unseen.verdict) == (9, None, "undecided")


def test_of_many_looks_the_first_ones_the_last_and_some_between_are_kept() -> None:
    result = make(SMALL).run(stop_when=decided("loss", alpha=1e-6), replicates=90)
    assert result.stopping is not None
    kept = [look.replicates for look in result.stopping.parts[0].looks]
    assert kept[:21] == [*range(1, 22)]
    assert kept[-1] == 90
    assert len(kept) < 60


def test_a_precise_mean_needs_no_treatment() -> None:
    result = Experiment(lambda: None, [measure], seed=2, replicates=400).run(
        stop_when=precise(half_width=0.25)
    )
    assert result.stopping is not None
    (finding,) = result.stopping.parts[0].findings
    assert (finding.condition, finding.verdict) == ("baseline", "precise")
    assert finding.low is not None
    assert finding.high is not None
    assert (finding.high - finding.low) / 2 <= 0.25
    assert 10 < result.replicates < 400


def test_the_best_is_found_and_what_cannot_win_is_not_run_any_more() -> None:
    ran: list[tuple[str, int]] = []

    def noting(data: None, ctx: Any) -> Any:
        ran.append((ctx["condition"], ctx["replicate"]))
        return measure(data, ctx)

    shifts = [Treatment(f"t{shift}", {"shift": float(shift)}) for shift in (2, 4, 6)]
    close = Treatment("close", {"shift": 5.8})
    rule = best("loss", delta=0.7, direction="max", max=300)
    result = make(*shifts, close, step=noting).run(stop_when=rule)
    assert result.stopping is not None
    verdicts = {each.condition: each for each in result.stopping.parts[0].findings}
    assert next(name for name, each in verdicts.items() if each.verdict == "best") in ("t6", "close")
    assert result.stopping.dropped["t2"] == 10
    assert ("t2", 9) in ran
    assert ("t2", 10) not in ran
    assert ("baseline", result.replicates - 1) in ran  # what all are compared with
    assert len(result.metrics.treatments["t2"].metrics["loss"]) == 10


def test_the_best_of_values_with_a_large_offset_is_found_as_without_it() -> None:
    def far(offset: float) -> Callable[..., Any]:
        def step(data: None, ctx: Any) -> Any:
            step = 0.125 + ctx.get("shift", 0.0) / 24  # a multiple of the last place of 1e15
            return data, {"loss": offset + ctx["replicate"] % 7 * step + ctx.get("shift", 0.0)}

        return step

    rule = best("loss", delta=0.25, direction="max", max=40)
    here, there = (make(step=far(offset)).run(stop_when=rule).stopping for offset in (0.0, 1e15))
    assert here is not None
    assert there is not None
    for near, shifted in zip(here.parts[0].findings, there.parts[0].findings, strict=True):
        assert near[:5] == shifted[:5]
        assert near.estimate is not None
        assert shifted.estimate == 1e15 + near.estimate


@pytest.mark.parametrize("drop", [True, False])
def test_a_treatment_that_is_decided_goes_on_or_is_dropped_as_one_likes(drop: bool) -> None:
    result = make().run(stop_when=decided("loss", max=30, drop=drop))
    counts = {name: len(each.metrics["loss"]) for name, each in result.metrics.treatments.items()}
    assert counts["small"] == 30
    assert counts["large"] == 30 if not drop else 2 < counts["large"] < 30


def test_a_smallest_effect_decides_for_a_treatment_without_one() -> None:
    result = make().run(stop_when=decided("loss", smallest_effect=2.5, max=500))
    assert result.stopping is not None
    assert result.stopping.is_decided
    assert [each.verdict for each in result.stopping.parts[0].findings] == ["higher", "too small to matter"]


def test_rules_are_combined() -> None:
    both = make(LARGE).run(stop_when=decided("loss") & precise("loss", half_width=0.9), replicates=200)
    one = make(LARGE).run(stop_when=decided("loss") | precise("loss", half_width=0.9), replicates=200)
    assert one.replicates < both.replicates < 200
    assert one.stopping is not None
    assert both.stopping is not None
    assert both.stopping.rule == "decided('loss') & precise('loss', half_width=0.9)"
    assert [part.is_decided for part in both.stopping.parts] == [True, True]
    assert [part.is_decided for part in one.stopping.parts] == [True, False]


def test_rules_are_small_frozen_values() -> None:
    rule = decided("loss", max=20) | looks("loss", k=3) & best("loss", delta=1, direction="min")
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert {rule: 1}[rule] == 1
    assert str(rule) == (
        "decided('loss', max=20) | (looks('loss', k=3) & best('loss', delta=1, direction='min'))"
    )
    with pytest.raises(AttributeError):
        rule.rules = ()  # type: ignore[attr-defined]


# -- what is left out -------------------------------------------------------------------------------------------------


def test_a_failed_replicate_is_counted_and_its_pair_left_out() -> None:
    def fails(data: None, ctx: Any) -> Any:
        if ctx["replicate"] == 2 and ctx["condition"] == "large":
            raise ValueError("no convergence")
        return measure(data, ctx)

    result = make(LARGE, step=fails).run(stop_when=decided("loss", max=40))
    assert result.stopping is not None
    (finding,) = result.stopping.parts[0].findings
    assert (finding.verdict, finding.missing, finding.n) == ("withheld", 1, result.replicates - 1)
    assert "left out, failed or without a number: 1 of 'large'" in str(result.stopping)


def test_of_pairs_that_lack_the_baselines_number_the_baseline_is_named() -> None:
    def lacks(data: None, ctx: Any) -> Any:
        return data, {"loss": noise(ctx)} if ctx["condition"] == "large" else {"other": 1.0}

    result = make(Treatment("large", {}), step=lacks).run(stop_when=decided("loss", max=5))
    (finding,) = findings(result)
    assert (finding.missing, finding.of_baseline) == (5, 5)
    assert "without a number: 5 of 'large' (5 under the baseline)." in " ".join(str(result.stopping).split())


HARD = (1, 5, 8)


def loses(lost: float, *conditions: str) -> Callable[..., Any]:
    def step(data: None, ctx: Any) -> Any:
        if ctx["replicate"] in HARD and ctx["condition"] in conditions:
            return data, {"loss": lost}
        return measure(data, ctx)

    return step


@pytest.mark.parametrize(
    ("rule", "claim"),
    [
        (decided("loss", max=40), "higher"),
        (looks("loss", k=2, max=40), "higher"),
        (precise("loss", half_width=2), "precise"),
        (best("loss", delta=1, direction="max"), "best"),
    ],
)
@pytest.mark.parametrize("lost", [math.nan, math.inf])
def test_a_claim_is_withheld_where_one_condition_alone_has_lost_replicates(
    rule: StoppingRule, claim: str, lost: float
) -> None:
    def findings(*conditions: str) -> tuple[dict[str, Any], str]:
        run = make(LARGE, step=loses(lost, *conditions), hypotheses=[Hypothesis(paired_t_test(), "loss")])
        result = run.run(stop_when=rule, replicates=40)
        assert result.stopping is not None
        if conditions == ("large",) and math.isnan(lost):  # the hypothesis says the same
            assert result.metrics.hypotheses[0].comparisons[0].verdict == "withheld"
        text = " ".join(str(result.stopping).split())
        return {each.condition: each for each in result.stopping.parts[0].findings}, text

    one, text = findings("large")
    assert one["large"].verdict == "withheld"
    assert {each.verdict for each in one.values()} == {"withheld"}
    assert (one["large"].missing, one["large"].infinite) == (3, 3 if math.isinf(lost) else 0)
    assert "withheld: more replicates were lost under one condition than under the other" in text
    why = "infinite" if math.isinf(lost) else "failed or without a number"
    assert f"left out, {why}: 3 of 'large'." in text
    both, text = findings("large", "baseline")
    assert both["large"].verdict == claim
    assert "withheld" not in text


def test_rules_that_only_ran_out_of_replicates_say_so() -> None:
    rule = decided("loss", smallest_effect=1e-9) & precise("loss", half_width=10)
    result = make(SMALL).run(stop_when=rule, replicates=20)
    assert result.stopping is not None
    assert not result.stopping.is_decided
    assert result.stopping.reason == "undecided when the run's largest number of replicates, 20, was reached"
    text = " ".join(str(result.stopping).split())
    assert "decided('loss', smallest_effect=1e-09): loss undecided: 'small'" in text
    assert "precise('loss', half_width=10): loss precise: 'small'" in text


def test_the_reason_is_that_of_the_rules_that_decided() -> None:
    rule = decided("loss", max=20) | precise("loss", half_width=1e-9, max=20)
    result = make(LARGE).run(stop_when=rule)
    assert result.stopping is not None
    assert result.stopping.reason == "every treatment is decided"
    both = make(SMALL).run(stop_when=decided("loss", max=15) & precise("loss", half_width=10, max=20))
    assert both.stopping is not None
    assert both.stopping.reason == "undecided when its largest number of replicates, 15, was reached"


def test_what_is_no_number_or_is_not_recorded_is_counted_too() -> None:
    def gaps(data: None, ctx: Any) -> Any:
        if ctx["replicate"] == 1:
            return data, {"loss": math.nan}
        if ctx["replicate"] == 2 and ctx["condition"] == "baseline":
            return data, {"other": 1}
        return measure(data, ctx)

    result = make(LARGE, step=gaps).run(stop_when=decided("loss", max=40))
    assert result.stopping is not None
    assert result.stopping.parts[0].findings[0].missing == 2


def test_several_values_of_a_replicate_count_as_their_mean() -> None:
    def twice(data: None, ctx: Any) -> None:
        ctx.metrics.add("hours", 2 * SLEEP[ctx["replicate"]] if ctx["condition"] == "drug" else 0)
        ctx.metrics.add("hours", 0)

    experiment = Experiment(lambda: None, [twice], treatments=[Treatment("drug", {})], seed=1)
    assert experiment.run(stop_when=decided("hours", max=10)).replicates == 8


def test_differences_that_never_vary_decide_nothing() -> None:
    def constant(data: None, ctx: Any) -> Any:
        return data, {"loss": 0.1 * ctx["replicate"] + ctx.get("shift", 0.0)}

    result = make(LARGE, step=constant).run(stop_when=decided("loss", max=12) | looks("loss", k=2, max=12))
    assert result.stopping is not None
    assert result.replicates == 12
    assert {part.findings[0].verdict for part in result.stopping.parts} == {
        "undecided, for its differences do not vary"
    }


@pytest.mark.parametrize(
    "rule", [precise("loss", half_width=0.1, max=12), precise("loss", relative=0.1, max=12)]
)
def test_a_metric_that_never_varies_is_not_known_precisely(rule: StoppingRule) -> None:
    def constant(data: None, ctx: Any) -> Any:
        return data, {"loss": 5.0}

    result = make(Treatment("same", {}), step=constant).run(stop_when=rule)
    assert result.replicates == 12
    assert [each.verdict for each in findings(result)] == ["undecided, for its differences do not vary"]


def test_of_conditions_that_never_differ_none_is_the_best() -> None:
    def same(data: None, ctx: Any) -> Any:
        behind = 3 + noise(ctx) if ctx["condition"] == "baseline" else 0
        return data, {"loss": 5.0, "noisy": float(ctx.rng.normal()) - behind}

    experiment = make(Treatment("one", {}), Treatment("other", {}), step=same)
    result = experiment.run(stop_when=best("loss", delta=0.1, direction="max", max=20))
    assert result.replicates == 10
    assert [each.verdict for each in findings(result)] == ["undecided, for they never differ"] * 3

    result = experiment.run(stop_when=best("noisy", delta=0.5, direction="max", max=2000))
    assert {each.condition: each.verdict for each in findings(result)} == {
        "baseline": "eliminated",
        "one": "undecided, for they never differ",
        "other": "undecided, for they never differ",
    }
    assert result.stopping is not None
    assert result.stopping.reason == "the conditions that are left never differ"
    assert not result.stopping.is_decided


def test_of_conditions_that_differ_by_rounding_none_is_the_best() -> None:
    def add_up(data: None, ctx: Any) -> Any:
        numbers = ctx.rng.normal(100, 3, size=7)
        return data, {"loss": float(sum(numbers if ctx["condition"] == "baseline" else numbers[::-1]))}

    result = make(Treatment("turned", {}), step=add_up).run(
        stop_when=best("loss", delta=0.5, direction="max", max=20)
    )
    metrics = result.metrics
    assert metrics.baseline.metrics["loss"] != metrics.treatments["turned"].metrics["loss"]
    assert [each.verdict for each in findings(result)] == ["undecided, for they never differ"] * 2


@pytest.mark.parametrize("size", [10**40, 1e-300, 1e300])
def test_the_best_is_found_whatever_the_size_of_the_numbers(size: float) -> None:
    def grow(data: None, ctx: Any) -> Any:
        ahead = 3 + ctx["replicate"] % 2 if "shift" in ctx else 0
        if size == 10**40:  # integers differ by what they differ by
            return data, {"loss": size * (ctx["replicate"] > 3) + ahead}
        return data, {"loss": size * (ahead + float(ctx.rng.normal()))}

    delta = 1.0 if size == 10**40 else size
    result = make(LARGE, step=grow).run(stop_when=best("loss", delta=delta, direction="max", max=50))
    assert [(each.condition, each.verdict) for each in findings(result)] == [
        ("large", "best"),
        ("baseline", "eliminated"),
    ]


def test_what_is_known_of_the_best_is_known_after_so_many_replicates_the_lost_ones_among_them() -> None:
    def fail(data: None, ctx: Any) -> Any:
        if ctx["replicate"] in (1, 4, 5):
            raise ValueError("lost under all conditions")
        return measure(data, ctx)

    result = make(LARGE, step=fail).run(stop_when=best("loss", delta=1, direction="max", max=50))
    assert result.replicates == 13
    assert {(each.at, each.n) for each in findings(result)} == {(13, 10)}


def test_large_integers_differ_by_what_they_differ_by() -> None:
    def count(data: None, ctx: Any) -> tuple[None, dict[str, int]]:
        more = 100 * ctx.get("shift", 0.0) + ctx["replicate"] % 7 if "shift" in ctx else 0
        return data, {"count": 2**60 + ctx["replicate"] + int(more)}

    result = make(LARGE, step=count).run(stop_when=decided("count", max=30))
    (finding,) = result.stopping.parts[0].findings
    assert finding.verdict == "higher"
    assert 300 < finding.estimate < 307


def test_an_interval_is_shown_with_its_digits_also_of_large_numbers() -> None:
    def far(data: None, ctx: Any) -> Any:
        return data, {"loss": 1e6 + 0.125 * (ctx["replicate"] % 2)}

    result = Experiment(lambda: None, [far], name="far", seed=1).run(
        stop_when=precise("loss", half_width=0.1, max=20)
    )
    assert "'baseline' 1000000.0625 [1000000.0154, 1000000.1096] (n=10)." in str(result.stopping)


def test_one_replicate_decides_nothing() -> None:
    result = make(LARGE).run(stop_when=decided("loss", max=50), replicates=1)
    assert result.stopping is not None
    assert not result.stopping.is_decided
    assert result.stopping.parts[0].findings[0].low is None


# -- the same under any order -----------------------------------------------------------------------------------------


class Shuffled(BasePlugin):
    """Takes some replicates ahead and reports them in an order of its own."""

    def __init__(self, draw: Callable[[int], int], ahead: int) -> None:
        self.draw = draw
        self.ahead = ahead

    def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
        kept: dict[int, Any] = {}
        flying: list[Any] = []
        while True:
            while len(flying) < self.ahead and (number := next(experiment.owed, None)) is not None:
                flying.append(replicate_fn(number))
            if not flying:
                return [kept[number] for number in sorted(kept)]
            result = flying.pop(self.draw(len(flying)))
            kept[result.replicate] = experiment.replicate_done(result)


RULES: list[StoppingRule] = [
    decided("loss", max=40, drop=True),
    decided("loss", max=40) | precise("loss", half_width=0.7),
    looks("loss", k=5, max=40),
    best("loss", delta=0.5, direction="max", max=60),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_order_of_arrival_changes_nothing(rule: StoppingRule) -> None:
    make(LARGE, SMALL, step=with_artifact).run(stop_when=rule)
    wanted = stored()

    @settings(max_examples=4)
    @given(order=st.randoms(use_true_random=False), ahead=st.integers(1, 12))
    def check(order: Any, ahead: int) -> None:
        strategy = Shuffled(order.randrange, ahead)
        result = make(LARGE, SMALL, step=with_artifact, plugins=[strategy]).run(stop_when=rule)
        assert result.path is not None
        assert stored(version=int(result.path.name[1:])) == wanted

    check()


def with_artifact(data: None, ctx: Any) -> Any:
    ctx.artifacts.write("note.txt", str(ctx["replicate"]).encode())
    return measure(data, ctx)


def test_what_was_in_flight_is_nowhere_in_the_run() -> None:
    result = make(step=with_artifact, plugins=[Shuffled(lambda n: 0, 9)]).run(
        stop_when=decided("loss", max=30, drop=True)
    )
    assert result.path is not None
    assert result.stopping is not None
    again = open_run("watched")
    first = result.stopping.dropped["large"]
    for each in (result, again):
        assert each.replicates == 30
        assert each.metrics.treatments["large"].metrics == result.metrics.treatments["large"].metrics
        assert {e.replicate for e in each.artifacts if e.condition == "large"} == set(range(first))
        assert each.stopping == result.stopping
        assert each.arrived == 30
    assert not (result.path / f"replicate_{first}" / "large").exists()
    assert (result.path / f"replicate_{first - 1}" / "large").exists()


def test_a_strategy_that_asks_how_many_there_are_is_told_the_most() -> None:
    class ToTheLetter(BasePlugin):
        def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
            return [replicate_fn(number) for number in range(experiment.replicates)]

    wanted = sleep_data().run(stop_when=decided("hours", max=10))
    found = sleep_data(plugins=[ToTheLetter()]).run(stop_when=decided("hours", max=10))
    assert found.stopping == wanted.stopping
    assert found.to_dict()["conditions"] == wanted.to_dict()["conditions"]


def test_what_is_handed_back_is_that_of_what_counts() -> None:
    class Handing(BasePlugin):
        def __init__(self) -> None:
            self.got: list[tuple[int, str]] = []

        def before_replicate(self, experiment: Any, ctx: Any) -> None:
            ctx.hand_back(self, 1)

        def after_replicate(self, experiment: Any, result: Any) -> None:
            self.got += [(each.replicate, each.condition) for each in experiment.handed_back(self)]

    rule = decided("loss", max=30, drop=True)
    serial, shuffled = Handing(), Handing()
    make(plugins=[serial]).run(stop_when=rule)
    make(plugins=[shuffled, Shuffled(lambda n: n - 1, 7)]).run(stop_when=rule)
    assert shuffled.got == serial.got


# -- interruption and resume ------------------------------------------------------------------------------------------


def interrupted_at(replicate: int) -> Callable[..., Any]:
    def step(data: None, ctx: Any) -> Any:
        if ctx["replicate"] == replicate and not Path("went-on").exists():
            raise KeyboardInterrupt
        return with_artifact(data, ctx)

    return step


SCRIPT = """
import os, signal, sys
from pathlib import Path
from crystallize import Experiment, Treatment, decided

def measure(data, ctx):
    if ctx["replicate"] == int(sys.argv[2]) and not Path("went-on").exists():
        os.kill(int(os.environ["TEST_COORDINATOR"]), signal.SIGKILL)
        signal.pause()
    shift = 3.0 if ctx["condition"] == "large" else 0.0
    return data, {"loss": shift + float(ctx.stream(ctx["condition"]).normal())}

os.environ.setdefault("TEST_COORDINATOR", str(os.getpid()))
treatments = [Treatment("large", {}), Treatment("small", {})]
Experiment(lambda: None, [measure], name="watched", treatments=treatments, seed=7, execution=sys.argv[1]).run(
    stop_when=decided("loss", max=30, drop=True), strategy=sys.argv[3]
)
"""


@pytest.mark.parametrize(("execution", "replicate"), [("serial", 3), ("process", 20)])
@pytest.mark.usefixtures("warm_processes")
def test_a_run_whose_coordinator_is_killed_ends_as_if_it_had_not_been(execution: str, replicate: int) -> None:
    Path("script.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != "TEST_COORDINATOR"}
    call = [sys.executable, "script.py", execution, str(replicate)]
    assert subprocess.run([*call, "rerun"], check=False, env=environment).returncode == -signal.SIGKILL
    Path("went-on").touch()
    subprocess.run([*call, "resume"], check=True, env=environment, capture_output=True)
    subprocess.run([*call, "rerun"], check=True, env=environment, capture_output=True)
    assert stored() == stored(version=1)


@pytest.mark.parametrize("ahead", [1, 6])
@pytest.mark.parametrize("replicate", [1, 4, 12, 28])
def test_a_run_that_is_interrupted_and_resumed_ends_as_if_it_had_not_been(replicate: int, ahead: int) -> None:
    rule = decided("loss", max=30, drop=True)
    step = interrupted_at(replicate)
    with pytest.raises(KeyboardInterrupt) as caught:
        make(step=step, plugins=[Shuffled(lambda n: 0, ahead)]).run(stop_when=rule)
    if replicate > ahead:
        live, there = caught.value.result, open_run(Path("data/watched/v0"))  # type: ignore[attr-defined]
        assert live.stopping is there.stopping is None
        assert (there, there.arrived) == (live, live.arrived)
    Path("went-on").touch()
    make(step=step).run(stop_when=rule, strategy="resume")
    found = stored()
    make(step=step).run(stop_when=rule)
    assert found == stored(version=1)


@pytest.mark.parametrize("ahead", [1, 6])
def test_a_run_that_is_cancelled_when_its_rule_has_decided_has_what_was_decided(ahead: int) -> None:
    class Cancelling(BasePlugin):
        def after_replicate(self, experiment: Any, result: Any) -> None:
            if experiment.replicates < 40 and not Path("went-on").exists():
                experiment.cancel()

    rule = precise("loss", half_width=1.2, max=40)
    with pytest.raises(RunCancelled) as caught:
        make(SMALL, step=with_artifact, plugins=[Shuffled(lambda n: 0, ahead), Cancelling()]).run(
            stop_when=rule
        )
    live, there = caught.value.result, open_run(Path("data/watched/v0"))  # type: ignore[attr-defined]
    assert live.stopping is not None
    assert (there, there.arrived, there.stopping) == (live, live.arrived, live.stopping)
    Path("went-on").touch()
    make(SMALL, step=with_artifact, plugins=[Cancelling()]).run(stop_when=rule, strategy="resume")
    found = stored()
    make(SMALL, step=with_artifact, plugins=[Cancelling()]).run(stop_when=rule)
    assert found == stored(version=1)


def test_a_run_that_has_been_decided_stays_as_it_is_when_it_is_resumed() -> None:
    rule = decided("loss", max=30, drop=True)
    first = make(step=with_artifact, plugins=[Shuffled(lambda n: 0, 9)]).run(stop_when=rule)
    before = Path("data/watched/v0/metadata.json").read_bytes()
    second = make(step=with_artifact).run(stop_when=rule, strategy="resume")
    assert Path("data/watched/v0/metadata.json").read_bytes() == before
    assert second.stopping == first.stopping
    assert second.metrics.treatments["large"].metrics == first.metrics.treatments["large"].metrics


def test_a_rule_that_asks_for_more_goes_on_with_what_is_there() -> None:
    ran: list[int] = []

    def noting(data: None, ctx: Any) -> Any:
        ran.append(ctx["replicate"])
        return with_artifact(data, ctx)

    make(SMALL, step=noting, plugins=[Shuffled(lambda n: 0, 5)]).run(
        stop_when=precise("loss", half_width=1.2, max=40)
    )
    assert max(ran) > 9
    count = open_run("watched").replicates
    ran.clear()
    result = make(SMALL, step=noting).run(
        stop_when=precise("loss", half_width=0.8, max=40), strategy="resume"
    )
    assert min(ran) == count < result.replicates
    assert result.path == open_run("watched").path
    assert open_run("watched").stopping == result.stopping
    make(SMALL, step=noting).run(stop_when=precise("loss", half_width=0.8, max=40))
    assert stored() == stored(version=1)


def test_a_run_that_was_stopped_goes_on_without_a_rule() -> None:
    make(SMALL).run(stop_when=precise("loss", half_width=1.2, max=40))
    result = make(SMALL).run(replicates=25, strategy="resume")
    assert result.replicates == 25
    assert result.stopping is None
    assert open_run("watched").stopping is None
    assert open_run("watched").metrics.baseline.metrics == result.metrics.baseline.metrics


HASTY = precise("loss", half_width=10, max=40)


@pytest.mark.parametrize(
    ("rule", "asked"),
    [(HASTY, None), (decided("loss", max=12, alpha=1e-20), None), (decided("loss", alpha=1e-20), 12)],
    ids=str,
)
def test_a_rule_takes_nothing_away_that_was_measured_without_it(
    rule: StoppingRule, asked: int | None
) -> None:
    make(SMALL, step=with_artifact).run(replicates=30)
    before = everything_stored()
    with pytest.raises(ValidationError, match=r"leave out .* outcomes.*Run without --resume") as caught:
        make(SMALL, step=with_artifact).run(stop_when=rule, replicates=asked, strategy="resume")
    assert "data/watched/v0" in str(caught.value)
    assert everything_stored() == before


def test_a_rule_drops_no_condition_that_was_measured_without_it() -> None:
    make(step=with_artifact).run(replicates=30)
    before = everything_stored()
    with pytest.raises(ValidationError, match="and leave out"):
        make(step=with_artifact).run(stop_when=decided("loss", max=30, drop=True), strategy="resume")
    assert everything_stored() == before


def test_a_rule_takes_nothing_away_where_an_outcome_is_owed() -> None:
    def failing(data: None, ctx: Any) -> Any:
        if ctx["replicate"] == 5 and not Path("went-on").exists():
            raise ValueError("no")
        return with_artifact(data, ctx)

    make(SMALL, step=failing).run(replicates=30)
    Path("went-on").touch()
    before = everything_stored()
    with pytest.raises(ValidationError, match="after 5 replicates"):
        make(SMALL, step=failing).run(stop_when=HASTY, strategy="resume")
    assert everything_stored() == before


def test_fewer_replicates_take_nothing_away_under_the_same_rule() -> None:
    rule = decided("loss", alpha=1e-20)
    make(SMALL, step=with_artifact).run(stop_when=rule, replicates=30)
    before = everything_stored()
    with pytest.raises(ValidationError, match="after 12 replicates"):
        make(SMALL, step=with_artifact).run(stop_when=rule, replicates=12, strategy="resume")
    assert everything_stored() == before


def test_a_rule_that_leaves_nothing_out_goes_on_with_a_run_that_it_had_not_watched() -> None:
    make(SMALL).run(replicates=10)
    result = make(SMALL).run(stop_when=decided("loss", alpha=1e-20, max=12), strategy="resume")
    assert (result.replicates, result.path) == (12, Path("data/watched/v0").absolute())


def everything_stored() -> dict[str, bytes]:
    files = (path for path in Path("data").rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path): path.read_bytes() for path in files}


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decided("loss", alpha=0), "alpha lies between 0 and 1, got 0"),
        (lambda: decided("loss", alpha=1.0), "alpha lies between 0 and 1"),
        (lambda: decided("loss", alpha="5%"), "alpha is a number, got '5%'"),
        (lambda: decided("loss", alpha=math.nan), "alpha lies between"),
        (lambda: decided("loss", max=1), "it looks first at 2 replicates, and max is 1"),
        (lambda: decided("loss", smallest_effect=0), "smallest_effect is positive, got 0"),
        (lambda: decided(3), "metric is the name of a metric, got 3"),
        (lambda: looks("loss", k=5, max=9), "5 looks need 10 replicates at least, and max is 9"),
        (lambda: looks("loss", shape="pocok"), "there is no shape 'pocok'"),
        (lambda: looks("loss", k=0), "k is at least 1"),
        (lambda: precise("loss"), "it takes one of half_width and relative"),
        (lambda: precise("loss", half_width=1, relative=0.1), "it takes one of half_width and relative"),
        (lambda: precise("loss", half_width=-1), "half_width is positive"),
        (lambda: precise("loss", half_width=1, max=5), "it looks first at 10 replicates, and max is 5"),
        (lambda: best("loss", delta=0, direction="max"), "delta is positive"),
        (lambda: best("loss", delta=1, direction="up"), "direction is 'max' or 'min', got 'up'"),
        (lambda: best("loss", delta=1, direction="max", max=5), "it looks first at 10 replicates"),
        (lambda: make().run(stop_when="decided"), "stop_when is a stopping rule, got 'decided'"),
        (lambda: make(stop_when=3), "stop_when is a stopping rule, got 3"),
    ],
)
def test_mistakes_are_told_before_anything_runs(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(CrystallizeError) as caught:
        call()
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError | TypeError)
    assert not Path("data").exists()


def test_a_rule_that_compares_needs_a_treatment() -> None:
    for rule in (decided("loss", max=9), looks("loss"), best("loss", delta=1, direction="max", max=20)):
        with pytest.raises(ValidationError, match="has nothing to compare with the baseline"):
            Experiment(lambda: None, [measure]).run(stop_when=rule)
    assert not Path("data").exists()


def test_a_run_without_any_end_is_refused() -> None:
    with pytest.raises(
        ValidationError, match="nothing ends the run if the rule decided\\('loss'\\) never decides"
    ):
        make().run(stop_when=decided("loss"))


def test_a_metric_that_nothing_records_ends_the_run_at_once() -> None:
    with pytest.raises(MissingMetricError, match="no condition recorded the metric 'los'") as caught:
        make().run(stop_when=decided("los", max=30))
    assert "Did you mean 'loss'?" in str(caught.value)


def test_of_several_metrics_one_is_to_be_named() -> None:
    def two(data: None, ctx: Any) -> Any:
        return data, {"a": ctx.get("shift"), "b": 2.0}

    with pytest.raises(MissingMetricError, match="does not say which metric it is about"):
        make(SMALL, step=two).run(stop_when=decided(max=30))


@pytest.mark.parametrize("kind", [str, Decimal])
def test_a_metric_that_is_not_numeric_is_refused(kind: Any) -> None:
    def text(data: None, ctx: Any) -> Any:
        return data, {"loss": kind(ctx.get("shift", 0))}

    with pytest.raises(InvalidTypeError, match=r"the metric 'loss' of the rule .* is not numeric"):
        make(SMALL, step=text).run(stop_when=decided("loss", max=30))


# -- what is compared -------------------------------------------------------------------------------------------------


def test_a_treatment_that_was_dropped_is_compared_with_the_replicates_that_it_had() -> None:
    """It has lost none of the others: they were not owed, and nothing is withheld for them."""
    asked = Hypothesis(paired_t_test(), metrics="loss", direction="min")
    result = make(hypotheses=[asked]).run(stop_when=decided("loss", max=30, drop=True))
    for each in (result, open_run("watched")):
        large = each.metrics.hypotheses[0].comparisons[0]
        assert (large.treatment, large.verdict) == ("large", "worse")
        assert each.metrics.hypotheses[0].dropped == {}
        rows = {row.condition: row for row in each.summary(detail=True).rows}
        assert each.stopping is not None
        assert rows["large"].pairs == each.stopping.dropped["large"] < rows["small"].pairs == 30
        assert "dropped" not in str(each.summary(detail=True)).partition("stopped after")[0]
        values = [each.condition(name).metrics["loss"] for name in ("large", "baseline")]
        differences = [ours - theirs for ours, theirs in zip(*values, strict=False)]
        assert rows["large"].difference == pytest.approx(math.fsum(differences) / len(differences))


@pytest.mark.parametrize(
    ("treatments", "rule"),
    [
        ([LARGE], decided("loss", drop=True)),
        ([LARGE, SMALL], decided("loss", drop=True) | precise("loss", half_width=0.7)),
    ],
)
def test_a_treatment_that_is_settled_when_the_run_ends_was_not_dropped(
    treatments: list[Treatment], rule: StoppingRule
) -> None:
    """It has as many replicates as all others, and is compared with them."""
    asked = Hypothesis(dunnett_test(), metrics="loss", direction="max")
    result = make(*treatments, hypotheses=[asked]).run(stop_when=rule, replicates=30)
    for each in (result, open_run("watched")):
        assert each.stopping is not None
        assert each.stopping.dropped == {}
        assert each.metrics.hypotheses[0].comparisons[0].verdict == "better"
        assert each.best("loss").names == ("large",)
