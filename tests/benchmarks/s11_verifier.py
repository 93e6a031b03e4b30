"""S11: Welch's test of 20 treatments against the baseline.

We are timed through the public API: ``Hypothesis.evaluate`` on the metrics of a run, which is not timed.
``user`` is a verifier of a user's own, which calls ``scipy.stats.ttest_ind`` on the samples that it is given.
"""

from __future__ import annotations

from typing import Any

from harness import OURS, Budget, Reading, Scenario, Variant, fresh_folder, repeat, seconds

TREATMENTS = 20


def table(size: int) -> Any:
    """Draw the values: a row for the baseline and one for each treatment."""
    import numpy as np

    drawn = np.random.default_rng(0).normal(size=(1 + TREATMENTS, size))
    return drawn + np.linspace(0, 0.1, 1 + TREATMENTS)[:, None]


def milliseconds(run: Any) -> Reading:
    """Time one evaluation of all treatments."""
    run()
    return repeat(lambda: seconds(run) * 1e3, rounds=21)


def numpy(size: int, variant: str) -> Reading:
    """Vectorised moments of all treatments at once and ``scipy.special.stdtr``."""
    import numpy as np
    from scipy.special import stdtr

    values = table(size)

    def run() -> Any:
        means = values.mean(axis=1)
        shares = values.var(axis=1, ddof=1) / size
        squared = shares[1:] + shares[0]
        statistic = (means[1:] - means[0]) / np.sqrt(squared)
        freedom = squared**2 * (size - 1) / (shares[1:] ** 2 + shares[0] ** 2)
        return 2 * stdtr(freedom, -np.abs(statistic))

    return milliseconds(run)


def scipy(size: int, variant: str) -> Reading:
    """One ``scipy.stats.ttest_ind`` on arrays for each treatment."""
    from scipy.stats import ttest_ind

    values = table(size)
    return milliseconds(lambda: [ttest_ind(row, values[0], equal_var=False).pvalue for row in values[1:]])


def scipy_lists(size: int, variant: str) -> Reading:
    """The same on lists."""
    from scipy.stats import ttest_ind

    rows = table(size).tolist()
    return milliseconds(lambda: [ttest_ind(row, rows[0], equal_var=False).pvalue for row in rows[1:]])


def crystallize(size: int, variant: str) -> Reading:
    """A hypothesis on the metrics of a run."""
    import numpy as np
    from scipy.stats import ttest_ind

    from crystallize import Experiment, Hypothesis, Pipeline, Treatment, welch_t_test

    rows = table(size).tolist()

    def draw(ctx: Any) -> float:
        return rows[ctx.get("row", 0)][ctx["replicate"]]

    def record(data: float, ctx: Any) -> float:
        ctx.metrics.add("value", data)
        return data

    def user(baseline: Any, treatment: Any) -> dict[str, float]:
        found = ttest_ind(np.asarray(treatment["value"]), np.asarray(baseline["value"]), equal_var=False)
        return {"p_value": float(found.pvalue)}

    verifier = user if variant == "user" else welch_t_test()
    hypothesis = Hypothesis(verifier, "value")
    with fresh_folder():
        treatments = [Treatment(f"treatment_{i}", {"row": i}) for i in range(1, 1 + TREATMENTS)]
        metrics = Experiment(draw, Pipeline([record])).run(treatments=treatments, replicates=size).metrics
    found = hypothesis.evaluate(metrics.baseline, metrics.treatments)
    expected = [ttest_ind(row, rows[0], equal_var=False).pvalue for row in rows[1:]]
    np.testing.assert_allclose([one["p_value"] for one in found.results.values()], expected, rtol=1e-9)
    return milliseconds(lambda: hypothesis.evaluate(metrics.baseline, metrics.treatments))


SCENARIO = Scenario(
    name="S11",
    title="Welch's test of 20 treatments",
    size="values in each condition",
    sizes=(1_000, 10_000, 50_000),
    peers={"numpy": numpy, "scipy": scipy, "scipy-lists": scipy_lists, OURS: crystallize},
    stated=(10_000,),
    variants=(
        Variant("built-in", "ms", (Budget(3, "numpy"),), "our `welch_t_test`"),
        Variant("user", "ms", (), "a user's verifier with `scipy.stats.ttest_ind`"),
    ),
)

if __name__ == "__main__":
    SCENARIO.main()
