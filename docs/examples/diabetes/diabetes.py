"""Does ridge regression predict better than ordinary least squares when there are few patients to learn from?

Run it from anywhere: ``python docs/examples/diabetes/diabetes.py``. README.md beside it describes the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from crystallize import (
    Artifact,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    data_source,
    hypothesis,
    paired_t_test,
    pipeline_step,
    treatment,
)

TABLE = Path(__file__).parent / "diabetes.csv"
PENALTIES = (1, 3, 10, 30, 100)


@data_source
def patients(*, table):
    """One row for each patient: ten measurements, and the progression of the disease."""
    return table


@pipeline_step()
def split(table, ctx, *, learn_from=40):
    """Draw the patients to learn from; the others are the test."""
    order = ctx.rng.permutation(len(table))  # the same under every condition of a replicate
    return table[order[:learn_from]], table[order[learn_from:]]


@pipeline_step()
def fit(parts, *, coefficients: Artifact, penalty=0.0):
    """Fit a linear model by ridge regression on standardised columns; without a penalty, by least squares."""
    train, test = parts
    x, y = train[:, :-1], train[:, -1]
    mean, scale = x.mean(axis=0), x.std(axis=0)
    z = (x - mean) / scale
    gram = z.T @ z + penalty * np.eye(z.shape[1])
    slopes = np.linalg.solve(gram, z.T @ (y - y.mean())) / scale
    model = np.concatenate([[y.mean() - mean @ slopes], slopes])  # intercept first, in the units of the data
    coefficients.write(model)
    return model, test


@pipeline_step()
def predict(fitted):
    """Measure the root mean squared error on the patients that the model has not seen."""
    model, test = fitted
    residuals = test[:, -1] - model[0] - test[:, :-1] @ model[1:]
    rmse = np.sqrt(np.mean(residuals**2))
    return rmse, {"rmse": rmse}


@hypothesis(verifier=paired_t_test(), metrics="rmse")
def ridge_lowers_the_error(result):
    """Rank by the mean difference to least squares: the most negative is best."""
    return result["difference"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicates", type=int, default=200, help="number of random splits (default: 200)")
    replicates = parser.parse_args().replicates

    experiment = Experiment(
        name="diabetes",
        datasource=patients(table=np.loadtxt(TABLE, delimiter=",", skiprows=1)),
        pipeline=Pipeline([split(), fit(), predict()]),
        outputs=[Artifact("coefficients.npy", loader="npy")],
        treatments=[treatment(f"ridge_{penalty}", {"penalty": penalty}) for penalty in PENALTIES],
        hypotheses=[ridge_lowers_the_error],
        plugins=[SeedPlugin(seed=2004), ParallelExecution(executor_type="process", progress=True)],
    )
    print(f"Least squares against {len(PENALTIES)} penalties of ridge regression, on 442 diabetes patients:")
    print(
        f"{replicates} times, learn from 40 drawn at random and predict the disease of the others.",
        flush=True,
    )

    result = experiment.run(replicates=replicates)
    result.raise_for_errors()
    print(f"\n{result.summary()}\n")

    found = result.get_hypothesis("ridge_lowers_the_error")
    best = found.ranking["best"]
    test, p_value = found.get_for_treatment(best), found.adjusted_p_values[best]
    if p_value <= 0.05:
        verdict = "lower" if test["difference"] < 0 else "higher"
        print(f"Over random splits of these patients, {best} has a {verdict} error than least squares:")
    else:
        print(f"No penalty is shown to change the error. The smallest error has {best}:")
    print(
        f"{test['difference']:+.2f} in RMSE, paired t({test['degrees_of_freedom']:.0f}) = {test['statistic']:.1f}, "
        f"p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'} after Holm's correction for all penalties."
    )
    print(f"Results and fitted coefficients: {result.path}")


if __name__ == "__main__":
    main()
