"""How often rules are wrong, by many runs of the real runner: a few here, and a night's worth of them.

``make test-statistics`` runs the long form. Expected rates were found by simulating the bare formulas; a share is
allowed three standard errors.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from crystallize import Experiment, Result, Treatment, best, decided, looks, precise
from crystallize.statistics.stopping.report import Finding
from crystallize.statistics.stopping.rule import StoppingRule

AT_NIGHT = bool(os.environ.get("CRYSTALLIZE_ALL_STATISTICS"))
Draw = Callable[[np.random.Generator, int], Any]


@pytest.fixture(autouse=True)
def _nothing_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "artifact,logging,seed")


def count(few: int, many: int) -> int:
    return many if AT_NIGHT else few


def simulate(rule: StoppingRule, draw: Draw, runs: int, seed: int = 1) -> Iterator[Result]:
    """Yield the results of many runs: ``draw(rng, n)`` gives n replicates, a column for each condition."""
    rng = np.random.default_rng(seed)
    most = rule.limit
    assert most is not None
    table = draw(rng, most)
    columns = {name: place for place, name in enumerate(["baseline", *map(str, range(1, table.shape[1]))])}

    def measure(data: None, ctx: Any) -> Any:
        return data, {"x": rows[ctx["replicate"]][columns[ctx["condition"]]]}

    treatments = [Treatment(name, {}) for name in columns if name != "baseline"]
    experiment = Experiment(lambda: None, [measure], treatments=treatments, name="simulated")
    for _ in range(runs):
        rows = draw(rng, most).tolist()
        yield experiment.run(stop_when=rule)


def normal(effect: float, treatments: int = 1) -> Draw:
    """Differences to the baseline with standard deviation 1 and mean `effect`, correlated through the baseline."""

    def draw(rng: np.random.Generator, n: int) -> Any:
        table = rng.normal(size=(n, treatments + 1)) / math.sqrt(2)
        table[:, 1:] += effect
        return table

    return draw


def findings(result: Result) -> tuple[Finding, ...]:
    assert result.stopping is not None
    return result.stopping.parts[0].findings


def error(share: float, runs: int) -> float:
    """Return three standard errors of a share."""
    return 3 * math.sqrt(share * (1 - share) / runs)


def test_ten_treatments_without_an_effect_are_claimed_to_have_one_in_at_most_five_per_cent_of_runs() -> None:
    runs = count(100, 50_000)
    claims = sum(
        any(each.verdict != "undecided" for each in findings(result))
        for result in simulate(decided("x", max=30), normal(0, treatments=10), runs)
    )
    print(f"false claims: {claims} of {runs}")
    assert claims / runs <= 0.05 + (0 if AT_NIGHT else error(0.05, runs))


def test_an_effect_of_eight_tenths_needs_twenty_two_pairs_on_average() -> None:
    runs = count(150, 5_000)
    found = list(simulate(decided("x", max=100), normal(0.8), runs))
    mean = np.mean([result.replicates for result in found])
    print(f"pairs needed: {mean:.2f}")
    assert all(each.verdict == "higher" for result in found for each in findings(result))
    assert mean <= 22
    if AT_NIGHT:
        assert mean == pytest.approx(18, abs=0.7)


@pytest.mark.parametrize("effect", [0.3, 0.8])
def test_the_confidence_sequence_covers_after_stopping_and_the_naive_interval_does_not_always(
    effect: float,
) -> None:
    runs = count(150, 5_000)
    ends = [findings(result)[0] for result in simulate(decided("x", max=100), normal(effect), runs, seed=2)]
    covered = np.mean([each.low is None or each.low <= effect <= (each.high or 0) for each in ends])
    naive = np.mean([(each.naive_low or 0) <= effect <= (each.naive_high or 0) for each in ends])
    print(f"coverage after stopping at d = {effect}: {covered:.4f}, naive {naive:.4f}")
    assert covered >= 0.95 - (0 if AT_NIGHT else error(0.95, runs))
    assert naive < covered


@pytest.mark.parametrize(
    ("shape", "power"), [("obrien-fleming", 0.83), ("pocock", 0.76)], ids=["obrien-fleming", "pocock"]
)
def test_looks_keep_their_level_and_have_their_power(shape: str, power: float) -> None:
    runs = count(150, 5_000)
    rule = looks("x", k=5, max=100, shape=shape)
    for effect, expected in ((0.0, 0.05), (0.3, power)):
        claims = [findings(each)[0].verdict != "undecided" for each in simulate(rule, normal(effect), runs)]
        print(f"{shape}, d = {effect}: {np.mean(claims):.4f}")
        assert np.mean(claims) == pytest.approx(expected, abs=error(expected, runs) + 0.006)


def test_looks_of_several_treatments_keep_their_level_together() -> None:
    runs = count(100, 5_000)
    claims = np.mean(
        [
            any(each.verdict != "undecided" for each in findings(result))
            for result in simulate(looks("x", k=3, max=30), normal(0, treatments=4), runs)
        ]
    )
    print(f"false claims of four: {claims:.4f}")
    assert claims <= 0.05 + error(0.05, runs)


def exponential(rng: np.random.Generator, n: int) -> Any:
    return rng.exponential(size=(n, 1))


def spread(rng: np.random.Generator, n: int) -> Any:
    return rng.normal(1.0, 0.5, size=(n, 1))


@pytest.mark.parametrize(
    ("draw", "relative", "first", "expected"),
    [
        (exponential, 0.5, 2, 0.852),
        (exponential, 0.5, 10, 0.901),
        (spread, 0.3, 2, 0.892),
        (spread, 0.3, 10, 0.947),
    ],
)
def test_a_precise_interval_covers_as_the_table_says(
    draw: Draw, relative: float, first: int, expected: float
) -> None:
    runs = count(150, 10_000)
    rule = precise("x", relative=relative, min=first, max=400)
    ends = [findings(result)[0] for result in simulate(rule, draw, runs, seed=3)]
    covered = np.mean([(each.low or 0) <= 1 <= (each.high or 0) for each in ends])
    print(f"{draw.__name__}, first look at {first}: {covered:.4f}")
    assert covered == pytest.approx(expected, abs=error(expected, runs) + 0.008)


def test_shared_random_numbers_find_the_best_of_ten_at_a_third_of_the_cost() -> None:
    """The best is ahead by delta, half a standard deviation of one run; correlation 0.9 or none."""
    runs = count(15, 1_000)

    def draw(correlation: float) -> Draw:
        def table(rng: np.random.Generator, n: int) -> Any:
            shared = rng.normal(size=(n, 1)) * math.sqrt(correlation)
            values = shared + rng.normal(size=(n, 10)) * math.sqrt(1 - correlation)
            values[:, 3] += 0.5
            return values

        return table

    cost: dict[float, float] = {}
    right: dict[float, float] = {}
    for correlation in (0.9, 0.0):
        results = list(simulate(best("x", delta=0.5, direction="max", max=2000), draw(correlation), runs))
        cost[correlation] = np.mean(
            [
                sum(len(each.metrics["x"]) for each in map(result.condition, result.conditions))
                for result in results
            ]
        ).item()
        right[correlation] = np.mean([findings(result)[0].condition == "3" for result in results]).item()
    print(f"right {right}, outcomes {cost}")
    assert all(share >= 0.95 - error(0.95, runs) for share in right.values())
    assert right[0.9] >= 0.95
    assert cost[0.9] <= cost[0.0] / 3
