"""Split the patients, fit a linear model to the one part, predict the other."""

from __future__ import annotations

import numpy as np

from crystallize import Artifact, pipeline_step


@pipeline_step()
def split(inputs, ctx, *, learn_from):
    """Draw the patients to learn from; the others are the test."""
    patients = ctx.rng.permutation(inputs["patients"])  # the same under every condition of a replicate
    return patients[:learn_from], patients[learn_from:], inputs["units"]


@pipeline_step()
def fit(parts, *, coefficients: Artifact, penalty=0.0):
    """Fit a linear model by ridge regression; without a penalty, by least squares."""
    train, test, units = parts
    x, y = train[:, :-1], train[:, -1]
    centre = x.mean(axis=0)
    gram = (x - centre).T @ (x - centre) + penalty * np.eye(x.shape[1])
    slopes = np.linalg.solve(gram, (x - centre).T @ (y - y.mean()))
    intercept = y.mean() - centre @ slopes
    in_units_of_the_data = slopes / units["deviation"]
    coefficients.write(np.append(intercept - in_units_of_the_data @ units["mean"], in_units_of_the_data))
    return intercept, slopes, test


@pipeline_step()
def predict(fitted):
    """Measure the root mean squared error on the patients that the model has not seen."""
    intercept, slopes, test = fitted
    residuals = test[:, -1] - intercept - test[:, :-1] @ slopes
    rmse = np.sqrt(np.mean(residuals**2))
    return rmse, {"rmse": rmse}
