"""Comparing a run with reruns, and finding tolerances from them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from crystallize.results.closeness import Tolerance
from crystallize.results.reruns import Outcomes, compare, find_tolerances
from crystallize.results.verification import Findings
from crystallize.store.layout import ArtifactEntry
from crystallize.store.outcome import Outcome, OutcomeError


def outcome(condition: str = "baseline", /, **fields: Any) -> Outcome:
    metrics = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    return Outcome(condition, 7, metrics, {})


def failed(kind: str, message: str, condition: str = "baseline", replicate: int = 0) -> Outcome:
    error = OutcomeError(replicate, condition, "FitStep", kind, message, "...")
    return Outcome(condition, 7, {}, {}, error=error)


def run(*outcomes: Outcome) -> Outcomes:
    """One outcome for each replicate."""
    return [(replicate, [each]) for replicate, each in enumerate(outcomes)]


def with_file(content: str, name: str = "model.bin") -> Outcome:
    path = f"replicate_0/baseline/FitStep/{name}"
    return outcome(loss=1.0)._replace(
        artifacts=[ArtifactEntry(name, "FitStep", 0, "baseline", path, 3, content)]
    )


def first_of(before: Outcome, *now: Outcome, **options: Any) -> tuple[Any, ...]:
    """Kind, name, step and values of the first difference."""
    found = compare(run(before), [run(each) for each in now], **options).first
    assert found is not None
    return found.kind, found.name, found.step, found.before, found.after


# -- what counts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, -0.0, 10**30, "text", None, [1.0, [2.0]], {"a": {1, 2}}, (1, 2)])
def test_the_same_value_of_any_kind_is_no_difference(value: Any) -> None:
    found = compare(run(outcome(m=[value])), [run(outcome(m=[value]))])
    assert (found.first, found.outcomes, found.different) == (None, 1, 0)


@pytest.mark.parametrize(
    ("before", "now"), [(1.0, math.nextafter(1.0, 2)), (0.0, -0.0), (1, 1.0), ([1], (1,)), (math.nan, 0.0)]
)
def test_a_single_bit_or_another_type_is_one(before: Any, now: Any) -> None:
    found = compare(run(outcome(m=[before])), [run(outcome(m=[now]))])
    assert found.different == found.metrics[0].different == 1


def test_of_several_values_the_first_that_differs_is_told_with_the_step_that_recorded_it() -> None:
    trace = [(0, (), (("loss", 2),)), (1, (), (("loss", 1),))]
    before, now = (outcome(loss=[1.0, 2.0, last])._replace(trace=trace) for last in (3.0, 4.0))
    assert first_of(before, now, steps=["A", "B"]) == ("metric", "loss", "B", 3.0, 4.0)


def test_a_value_that_is_missing_or_too_much_is_told_with_all_values() -> None:
    assert first_of(outcome(loss=[1.0]), outcome(loss=[1.0, 2.0])) == (
        *("metric", "loss", None),
        [1.0],
        [1.0, 2.0],
    )
    assert first_of(outcome(loss=1.0), outcome())[3:] == ([1.0], [])
    assert first_of(outcome(), outcome(acc=1.0))[:2] == ("metric", "acc")


def test_tags_count() -> None:
    before, now = (outcome(loss=1.0)._replace(tags={"loss": [{"fold": fold}]}) for fold in (1, 2))
    assert first_of(before, now)[3:] == ((1.0, {"fold": 1}), (1.0, {"fold": 2}))
    assert first_of(before, now._replace(metrics={"loss": [2.0]}))[3:] == (1.0, 2.0)


def test_the_first_difference_is_that_of_the_lowest_replicate_then_condition_then_step() -> None:
    trace = [(0, (), (("late", 1),)), (1, (), (("early", 1),))]

    def measured(changed: int) -> Outcomes:
        conditions = ["baseline", "high"]
        numbers = [2, 0, 1]  # as they arrived
        return [
            (
                number,
                [
                    outcome(
                        name, early=float(changed * (number > 0)), late=float(changed * (number > 0))
                    )._replace(trace=trace)
                    for name in conditions
                ],
            )
            for number in numbers
        ]

    found = compare(measured(0), [measured(1)], steps=["A", "B"])
    assert found.first is not None
    place = (found.first.replicate, found.first.condition, found.first.step, found.first.name)
    assert place == (1, "baseline", "A", "late")
    assert (found.outcomes, found.different) == (6, 4)


def test_the_lead_is_the_first_thing_that_a_step_did_in_another_way() -> None:
    drew = [(0, (), (), (), (), None, ((None, 0, 0, stop, 0, 0),), (), ()) for stop in (3, 4)]
    before, now = (
        outcome(loss=loss)._replace(trace=[each, (1, (), (("loss", 1),))])
        for loss, each in zip((1.0, 2.0), drew, strict=True)
    )
    found = compare(run(before), [run(now)], steps=["Draw", "Fit"]).first
    assert found is not None
    assert (found.step, found.lead) == ("Fit", "Draw: streams.rng [0, 3] -> [0, 4]")
    other_steps = compare(run(before), [run(now)], steps=["Draw", "Fit"], has_same_steps=False).first
    assert other_steps is not None
    assert other_steps.lead == ""


def test_artifacts_are_compared_by_their_hash() -> None:
    assert first_of(with_file("aa"), with_file("bb")) == ("artifact", "model.bin", "FitStep", "aa", "bb")
    assert first_of(with_file("aa"), outcome(loss=1.0))[3:] == ("aa", None)
    assert compare(run(with_file("aa")), [run(with_file("aa"))]).first is None


def test_failures_are_compared_by_kind_and_message() -> None:
    before = failed("pkg.Oops", "no <M at 0x7f> here")
    assert compare(run(before), [run(failed("other.Oops", "no <M at 0x55> here"))]).first is None
    assert first_of(before, failed("pkg.Oops", "else"))[3:] == ("Oops: no <M> here", "Oops: else")
    assert first_of(before, outcome(loss=1.0))[3:] == ("Oops: no <M> here", None)
    assert first_of(outcome(loss=1.0), before)[3:] == (None, "Oops: no <M> here")


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("OutcomeTimeoutError", "its time limit"), ("WorkerLostError", "the loss of its worker")],
)
def test_what_the_machine_has_ended_is_not_compared(kind: str, cause: str) -> None:
    ended = failed(f"crystallize.errors.{kind}", "too bad")
    for before, now, when in ((ended, outcome(loss=1.0), "then"), (outcome(loss=1.0), ended, "now")):
        found = compare(run(before), [run(now)])
        assert found == Findings(0, 0, None, [], {f"ended by {cause} {when}": 1})


def test_what_only_the_rerun_has_does_not_count_and_what_it_lacks_does() -> None:
    one = outcome(loss=1.0)
    assert compare(run(one), [run(one, one)]).outcomes == 1
    assert compare(run(one, one), [run(one)]).not_compared == {"not run again": 1}


def test_metrics_and_artifacts_can_be_left_out() -> None:
    before, now = (
        with_file(content)._replace(metrics={"loss": [loss], "acc": [1.0]})
        for content, loss in (("aa", 1.0), ("bb", 2.0))
    )
    found = compare(run(before), [run(now)], leaving_out=["loss", "model.bin"])
    assert (found.first, found.outcomes) == (None, 1)


def test_an_outcome_of_which_nothing_is_left_is_not_compared() -> None:
    found = compare(
        run(outcome(loss=1.0), outcome()), [run(outcome(loss=2.0), outcome())], leaving_out=["loss"]
    )
    assert (found.outcomes, found.not_compared) == (1, {"all that it gave is left out": 1})


def test_a_failure_is_compared_also_if_the_file_that_was_written_before_it_is_left_out() -> None:
    before = failed("ValueError", "no fit")._replace(artifacts=with_file("aa").artifacts)
    found = compare(run(before), [run(before)], leaving_out=["model.bin"])
    assert (found.outcomes, found.not_compared) == (1, {})


def test_a_tolerance_is_for_numbers_and_each_metric_may_have_its_own() -> None:
    before, now = outcome(a=1.0, b=1.0), outcome(a=1.01, b=1.01)
    found = compare(run(before), [run(now)], tolerances={"a": Tolerance(0.1)})
    assert [check.different for check in found.metrics] == [0, 1]
    assert found.metrics[0].largest == pytest.approx(0.01)
    assert compare(run(before), [run(now)], otherwise=Tolerance(0.1)).first is None
    assert first_of(outcome(m="x"), outcome(m="y"), otherwise=Tolerance(0.1))[3:] == ("x", "y")


# -- tolerances from reruns ----------------------------------------------------------------------------------


def test_the_tolerance_is_twice_the_largest_difference_between_two_reruns() -> None:
    reruns = [run(outcome(loss=10.0), outcome(loss=value)) for value in (1.0, 1.5, 2.0)]
    assert find_tolerances(reruns).tolerances == {"loss": Tolerance(1.0, 2.0, needs_both=True)}


def test_a_metric_that_never_differs_must_be_exact() -> None:
    reruns = [run(outcome(loss=1.0, noisy=value)) for value in (1.0, 1.1)]
    found = find_tolerances(reruns)
    assert found.tolerances["loss"].is_exact
    assert not found.tolerances["noisy"].is_exact
    before = outcome(loss=math.nextafter(1.0, 2), noisy=1.05)
    assert (
        first_of(before, *(next(iter(each))[1][0] for each in reruns), tolerances=found.tolerances)[1]
        == "loss"
    )


def test_a_value_is_compared_with_what_the_reruns_span() -> None:
    reruns = [run(outcome(loss=value)) for value in (1.0, 2.0)]
    tolerances = find_tolerances(reruns).tolerances
    for value, count in ((1.5, 0), (4.0, 0), (4.1, 1), (-1.0, 1), (0.9, 0)):
        assert compare(run(outcome(loss=value)), reruns, tolerances=tolerances).different == count


@pytest.mark.parametrize("values", [("a", "b"), (1.0, math.nan), ([1.0], [1.0, 2.0]), (None, 1.0)])
def test_what_differs_between_reruns_and_has_no_distance_is_not_compared(values: Sequence[Any]) -> None:
    found = find_tolerances([run(outcome(m=[value])) for value in values])
    assert found == ({}, {"m": "it differs between the reruns, and has no distance"})


def test_an_artifact_that_differs_between_reruns_is_not_compared() -> None:
    assert list(find_tolerances([run(with_file("aa")), run(with_file("bb"))]).unsteady) == ["model.bin"]
    assert not find_tolerances([run(with_file("aa")), run(with_file("aa"))]).unsteady


def test_an_outcome_that_fails_now_and_then_agrees_with_those_reruns_that_ended_as_it_did() -> None:
    reruns = [run(outcome(loss=1.0)), run(failed("Oops", "no"))]
    assert find_tolerances(reruns).tolerances["loss"].is_exact
    for before in (outcome(loss=1.0), failed("Oops", "no")):
        assert compare(run(before), reruns).first is None
    assert compare(run(outcome(loss=2.0)), reruns).different == 1


@pytest.mark.parametrize(("reruns", "most"), [(5, 0.03), (3, 0.07)])
def test_a_run_that_is_as_noisy_as_its_reruns_is_seldom_called_different(reruns: int, most: float) -> None:
    rng = random.Random(1)
    wrong = trials = 0
    for _ in range(250):
        outcomes = [rng.lognormvariate(0, 1) for _ in range(12)]

        def noisy(outcomes: Sequence[float] = outcomes) -> Outcomes:
            # Heavy tails: a Student's t with three degrees of freedom.
            return run(*(outcome(m=each * (1 + 1e-9 * rng.gauss(0, 1) / _chi(rng))) for each in outcomes))

        again = [noisy() for _ in range(reruns)]
        tolerances = find_tolerances(again).tolerances
        wrong += compare(noisy(), again, tolerances=tolerances).first is not None
        trials += 1
    assert wrong / trials <= most


def _chi(rng: random.Random) -> float:
    return math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3)


def test_noise_of_a_larger_size_is_found() -> None:
    rng = random.Random(2)

    def noisy(size: float) -> Outcomes:
        return run(*(outcome(m=1 + size * rng.gauss(0, 1)) for _ in range(20)))

    again = [noisy(1e-9) for _ in range(5)]
    tolerances: Mapping[str, Tolerance] = find_tolerances(again).tolerances
    assert compare(noisy(1e-7), again, tolerances=tolerances).first is not None
