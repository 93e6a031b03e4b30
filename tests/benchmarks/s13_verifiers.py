"""S13: the built-in tests of 100 treatments against the baseline, in pairs.

We are timed through the public API: ``Hypothesis.evaluate`` on the metrics of a run, which is not timed. The other side
is NumPy, which puts the arrays of the conditions into one and finds for all treatments at once what the tests promise:
p-values by moments, ranks, or one matrix of random signs, both ends of the intervals, and p-values corrected by Holm.
It takes for granted that all values are finite floats, that nothing is missing, and that nothing is constant or tied.

Both sides end with plain numbers under each treatment's name: what a report, a file of JSON, or the next line of a
script takes; arrays without names are half of the way there. Of NumPy that is one dict of five or three numbers for
each treatment, made from its columns at once; verdicts, and what else our results hold, it is not asked for.
"""

from __future__ import annotations

import math
from typing import Any

from harness import OURS, Budget, Reading, Scenario, Variant, fresh_folder, repeat, seconds

TREATMENTS = 100
RESAMPLES = 999
TESTS = ("paired_t_test", "welch_t_test", "sign_flip_test", "wilcoxon_test")


def table(size: int) -> Any:
    """Draw the values: a row for the baseline and one for each treatment."""
    import numpy as np

    drawn = np.random.default_rng(0).normal(size=(1 + TREATMENTS, size))
    return drawn + np.linspace(0, 0.1, 1 + TREATMENTS)[:, None]


def milliseconds(run: Any) -> Reading:
    """Time one evaluation of all treatments."""
    run()
    return repeat(lambda: seconds(run) * 1e3, rounds=11)


def answers(variant: str, values: Any) -> tuple[Any, ...]:
    """Return differences, p-values, lower and upper ends of the 95 % intervals; Wilcoxon's test has no interval."""
    import numpy as np
    from scipy.special import ndtr, stdtr, stdtrit

    n = values.shape[1]
    if variant == "welch_t_test":
        means, shares = values.mean(axis=1), values.var(axis=1, ddof=1) / n
        squared = shares[1:] + shares[0]
        freedom = squared**2 * (n - 1) / (shares[1:] ** 2 + shares[0] ** 2)
        difference, error = means[1:] - means[0], np.sqrt(squared)
        half_width = stdtrit(freedom, 0.975) * error
        return (
            difference,
            2 * stdtr(freedom, -np.abs(difference / error)),
            difference - half_width,
            difference + half_width,
        )
    differences = values[1:] - values[0]
    if variant == "paired_t_test":
        difference, error = differences.mean(axis=1), differences.std(axis=1, ddof=1) / math.sqrt(n)
        half_width = stdtrit(n - 1, 0.975) * error
        p_value = 2 * stdtr(n - 1, -np.abs(difference / error))
        return difference, p_value, difference - half_width, difference + half_width
    if variant == "sign_flip_test":
        chosen = np.random.default_rng(0).integers(0, 2, size=(RESAMPLES, n), dtype=np.int8).astype(float)
        sums, total = differences @ chosen.T, differences.sum(axis=1, keepdims=True)
        flipped = np.abs(total - 2 * sums) >= np.abs(total)
        counts, outside = chosen.sum(axis=1), int(0.05 * (RESAMPLES + 1))
        typical = np.concatenate([sums / counts, (total - sums) / (n - counts), total / n], axis=1)
        low, high = np.partition(typical, [outside - 1, -outside], axis=1)[:, [outside - 1, -outside]].T
        return total[:, 0] / n, (flipped.sum(axis=1) + 1) / (RESAMPLES + 1), low, high
    ranks = np.empty_like(differences)
    np.put_along_axis(ranks, np.abs(differences).argsort(axis=1), np.arange(1.0, n + 1)[None], axis=1)
    above = np.where(differences > 0, ranks, 0).sum(axis=1)
    z = (above - n * (n + 1) / 4) / math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return differences.mean(axis=1), 2 * ndtr(-np.abs(z))


def holm(p_values: Any) -> Any:
    """Return the p-values corrected for their number."""
    import numpy as np

    order = p_values.argsort()
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted


def numpy(size: int, variant: str) -> Reading:
    """All treatments in one array."""
    import numpy as np

    rows = [np.array(row) for row in table(size)]
    names = [f"treatment_{i}" for i in range(1, 1 + TREATMENTS)]

    def run() -> Any:
        difference, p_value, *interval = answers(variant, np.array(rows))
        found = {"difference": difference, "p_value": p_value, "adjusted": holm(p_value)}
        found |= zip(("low", "high"), interval, strict=False)
        each = zip(*(column.tolist() for column in found.values()), strict=True)
        return {name: dict(zip(found, row, strict=True)) for name, row in zip(names, each, strict=True)}

    return milliseconds(run)


def scipy(size: int, variant: str) -> Reading:
    """One call of ``scipy.stats`` on arrays for each treatment."""
    import numpy as np
    from scipy import stats

    values = table(size)
    one = {
        "paired_t_test": lambda row: stats.ttest_rel(row, values[0]),
        "welch_t_test": lambda row: stats.ttest_ind(row, values[0], equal_var=False),
        "sign_flip_test": lambda row: stats.permutation_test(
            (row - values[0],), np.mean, permutation_type="samples", n_resamples=RESAMPLES, axis=0
        ),
        "wilcoxon_test": lambda row: stats.wilcoxon(row - values[0]),
    }[variant]
    return milliseconds(lambda: [one(row).pvalue for row in values[1:]])


def crystallize(size: int, variant: str) -> Reading:
    """A hypothesis on the metrics of a run."""
    import numpy as np

    from crystallize import Experiment, Hypothesis, Pipeline, Treatment
    from crystallize.statistics import verifiers

    values = table(size)
    rows = values.tolist()

    def draw(ctx: Any) -> float:
        return rows[ctx.get("row", 0)][ctx["replicate"]]

    def record(data: float, ctx: Any) -> float:
        ctx.metrics.add("value", data)
        return data

    settings = {"resamples": RESAMPLES} if variant == "sign_flip_test" else {}
    hypothesis = Hypothesis(getattr(verifiers, variant)(**settings), "value")
    with fresh_folder():
        treatments = [Treatment(f"treatment_{i}", {"row": i}) for i in range(1, 1 + TREATMENTS)]
        metrics = Experiment(draw, Pipeline([record])).run(treatments=treatments, replicates=size).metrics
    found = hypothesis.evaluate(metrics.baseline, metrics.treatments)
    expected = answers(variant, values)[1]
    tolerance = {"atol": 0.1} if variant == "sign_flip_test" else {"rtol": 1e-9}
    np.testing.assert_allclose([one["p_value"] for one in found.results.values()], expected, **tolerance)
    return milliseconds(lambda: hypothesis.evaluate(metrics.baseline, metrics.treatments))


SCENARIO = Scenario(
    name="S13",
    title="Built-in tests of 100 treatments",
    size="replicates",
    sizes=(100, 1_000, 10_000),
    peers={"numpy": numpy, "scipy": scipy, OURS: crystallize},
    stated=(1_000,),
    variants=tuple(Variant(name, "ms", (Budget(3, "numpy"),), f"`{name}`") for name in TESTS),
)

if __name__ == "__main__":
    SCENARIO.main()
