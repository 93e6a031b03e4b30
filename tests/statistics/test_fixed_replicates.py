"""What runs of a fixed number of replicates promise, by many runs of the real runner and its random streams.

``make test-statistics`` runs the long form. A step records fifty metrics, each an experiment of its own, so that one
run simulates fifty. Expected rates were found by simulating the bare formulas 1,500 times or more; a share is allowed
three standard errors, with that of the expected one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from crystallize import Experiment, Hypothesis, Result, Treatment, paired_t_test, power, sign_flip_test
from crystallize.statistics.power import t_test_power

AT_NIGHT = bool(os.environ.get("CRYSTALLIZE_ALL_STATISTICS"))
METRICS = [f"x{number}" for number in range(50)]
Draw = Callable[[np.random.Generator], Any]


@pytest.fixture(autouse=True)
def _nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "artifact,logging,seed")


def simulate(
    runs: int, replicates: int, difference: Draw, real: dict[str, float], verifier: Any = None
) -> Iterator[Result]:
    """Yield results in which treatments differ from the baseline by what is drawn and a real effect.

    What all conditions of a replicate share drops out of the differences; its spread is ten times theirs.
    """

    def measure(data: None, ctx: Any) -> Any:
        values = ctx.stream("shared").normal(0, 10, len(METRICS))
        condition = ctx["condition"]
        if condition != "baseline":
            values = values + difference(ctx.stream(condition)) + real[condition]
        return data, dict(zip(METRICS, values.tolist(), strict=True))

    hypotheses = [] if verifier is None else [Hypothesis(verifier, each, name=each) for each in METRICS]
    for seed in range(runs):
        yield Experiment(
            lambda: None,
            [measure],
            treatments=[Treatment(name, {}) for name in real],
            hypotheses=hypotheses,
            replicates=replicates,
            seed=seed,
        ).run()


def normal(rng: np.random.Generator) -> Any:
    return rng.normal(size=len(METRICS))


def heavy_tails(rng: np.random.Generator) -> Any:
    return rng.standard_t(3, size=len(METRICS))


def lognormals(rng: np.random.Generator) -> Any:
    return rng.lognormal(size=len(METRICS)) - rng.lognormal(size=len(METRICS))


def skewed(rng: np.random.Generator) -> Any:
    return rng.exponential(size=len(METRICS)) - 1


def delay_of_customers(rng: np.random.Generator) -> Any:
    """Return the mean delay of the first 25 customers of queues M/M/1 with load 0.9, empty at first."""
    waits = total = np.zeros(len(METRICS))
    for _ in range(24):
        waits = np.maximum(0, waits + rng.exponential(0.9, waits.size) - rng.exponential(1, waits.size))
        total = total + waits
    return total / 25


def band(share: float, count: int, known_from: float = math.inf) -> float:
    """Return three standard errors of the difference of two simulated shares."""
    return 3 * math.sqrt(share * (1 - share) * (1 / count + 1 / known_from))


def covers(runs: int, replicates: int, difference: Draw, true: float, confidence: float) -> float:
    """Return how often the summary's interval of the difference holds the true one."""
    intervals = [
        row.interval
        for result in simulate(runs, replicates, difference, {"treated": 0.0})
        for row in result.summary(confidence=confidence).rows
        if row.condition == "treated"
    ]
    assert len(intervals) == runs * len(METRICS)
    return np.mean([low <= true <= high for low, high in intervals]).item()


@pytest.mark.parametrize(
    ("difference", "replicates", "share", "known_from"),
    [
        (normal, 5, 0.95, math.inf),
        (normal, 10, 0.95, math.inf),
        (heavy_tails, 10, 0.967, 1500),
        (lognormals, 10, 0.970, 1500),
        (lognormals, 30, 0.961, 1500),
        (skewed, 10, 0.905, 1500),
        (skewed, 30, 0.929, 1500),
    ],
)
def test_the_interval_of_the_summary_covers_as_the_table_says(
    difference: Draw, replicates: int, share: float, known_from: float
) -> None:
    runs = 200 if AT_NIGHT else 4
    found = covers(runs, replicates, difference, 0.0, 0.95)
    print(f"{difference.__name__}, {replicates} replicates: {found:.4f}, expected {share}")
    assert found == pytest.approx(share, abs=band(share, runs * len(METRICS), known_from))


@pytest.mark.parametrize(("replicates", "share"), [(5, 0.837), (10, 0.859), (20, 0.877), (40, 0.888)])
def test_the_interval_covers_the_delay_in_a_queue_as_often_as_is_known(replicates: int, share: float) -> None:
    runs = 200 if AT_NIGHT else 4
    found = covers(runs, replicates, delay_of_customers, 2.1241, 0.9)
    print(f"M/M/1, {replicates} replicates: {found:.4f}, expected {share}")
    assert found == pytest.approx(share, abs=band(share, runs * len(METRICS)))


@pytest.mark.parametrize("verifier", [paired_t_test(), sign_flip_test()], ids=["paired t", "sign flip"])
def test_a_paired_test_has_its_level_and_the_t_test_the_power_that_is_planned_with(verifier: Any) -> None:
    runs = 100 if AT_NIGHT else 3
    for effect in (0.0, 1.0):
        found = np.mean(
            [
                result.get_hypothesis(metric).comparisons[0].p_value <= 0.05
                for result in simulate(runs, 10, normal, {"treated": effect}, verifier)
                for metric in METRICS
            ]
        )
        expected = t_test_power(effect, 10)
        print(f"effect {effect}: {found:.4f}, expected {expected:.4f}")
        # The sign flip has 1,024 levels only, and a little less power than t where differences are normal.
        assert found == pytest.approx(expected, abs=band(expected, runs * len(METRICS)) + 0.03 * (effect > 0))


@pytest.mark.parametrize(("replicates", "expected"), [(10, 0.59), (20, 0.98)])
def test_of_ten_treatments_holm_claims_none_without_effect_and_finds_those_that_have_one(
    replicates: int, expected: float
) -> None:
    runs = 100 if AT_NIGHT else 2
    families = runs * len(METRICS)
    real = {f"t{number}": 1.2 if number < 3 else 0.0 for number in range(10)}
    raw = false = found = 0
    for result in simulate(runs, replicates, normal, real, paired_t_test()):
        for metric in METRICS:
            tests = result.get_hypothesis(metric).comparisons
            assert len(tests) == len(real)
            found += sum(each.adjusted_p_value <= 0.05 for each in tests if real[each.treatment])
            nulls = [each for each in tests if not real[each.treatment]]
            false += any(each.adjusted_p_value <= 0.05 for each in nulls)
            raw += any(each.p_value <= 0.05 for each in nulls)
    share = found / (3 * families)
    print(f"false claims {false / families:.4f}, without Holm {raw / families:.4f}, power {share:.4f}")
    assert false / families <= 0.05 + band(0.05, families)
    assert raw / families == pytest.approx(1 - 0.95**7, abs=band(0.3, families))
    assert share == pytest.approx(expected, abs=band(expected, families, 2000))


def test_plans_from_pilots_of_ten_reach_a_power_of_80_per_cent_in_80_per_cent_of_cases() -> None:
    runs = 100 if AT_NIGHT else 4
    plans = [
        power(pilot, effect=0.5, metric=metric).pairs
        for pilot in simulate(runs, 10, normal, {"treated": 0.0})
        for metric in METRICS
    ]
    share = np.mean([t_test_power(0.5, pairs) >= 0.8 for pairs in plans])
    print(f"plans that have the power: {share:.4f}, median {np.median(plans)}")
    assert share == pytest.approx(0.8, abs=0.03 if AT_NIGHT else 0.03 + band(0.8, len(plans)))
    assert np.median(plans) == pytest.approx(52, abs=3)
