"""S13: the built-in tests of 100 treatments against the baseline, in pairs.

We are timed through the public API: ``Hypothesis.evaluate`` on the metrics of a run, which is not timed. The other side
is NumPy on one array of all treatments: moments, ranks, or one matrix of random signs for all.
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


def p_values(variant: str, values: Any) -> Any:
    """Return the p-values of all treatments, each step on all of them at once."""
    import numpy as np
    from scipy.special import ndtr, stdtr

    n = values.shape[1]
    if variant == "welch_t_test":
        means, shares = values.mean(axis=1), values.var(axis=1, ddof=1) / n
        squared = shares[1:] + shares[0]
        freedom = squared**2 * (n - 1) / (shares[1:] ** 2 + shares[0] ** 2)
        return 2 * stdtr(freedom, -np.abs((means[1:] - means[0]) / np.sqrt(squared)))
    differences = values[1:] - values[0]
    if variant == "paired_t_test":
        statistic = differences.mean(axis=1) / (differences.std(axis=1, ddof=1) / math.sqrt(n))
        return 2 * stdtr(n - 1, -np.abs(statistic))
    if variant == "sign_flip_test":
        signs = np.random.default_rng(0).integers(0, 2, size=(RESAMPLES, n), dtype=np.int8) * 2.0 - 1
        flipped = np.abs(signs @ differences.T) >= np.abs(differences.sum(axis=1))
        return (flipped.sum(axis=0) + 1) / (RESAMPLES + 1)
    ranks = np.empty_like(differences)
    np.put_along_axis(ranks, np.abs(differences).argsort(axis=1), np.arange(1.0, n + 1)[None], axis=1)
    above = np.where(differences > 0, ranks, 0).sum(axis=1)
    return 2 * ndtr(-np.abs(above - n * (n + 1) / 4) / math.sqrt(n * (n + 1) * (2 * n + 1) / 24))


def numpy(size: int, variant: str) -> Reading:
    """All treatments in one array."""
    values = table(size)
    return milliseconds(lambda: p_values(variant, values))


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
    expected = p_values(variant, values)
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
