"""Fit two models to ever more patients, and predict the same others."""

from __future__ import annotations

import numpy as np

from crystallize import pipeline_step


@pipeline_step()
def split(inputs, ctx, *, test, learn_from):
    """Draw the patients to learn from: the first few of a random order, whose end is the test under every condition."""
    patients = ctx.rng.permutation(inputs["patients"])
    return patients[:-test][:learn_from], patients[-test:]


@pipeline_step()
def compare(parts, *, penalty):
    """Measure the root mean squared error of least squares and of ridge regression."""
    errors = {"least_squares": rmse(*parts, 0.0), "ridge": rmse(*parts, penalty)}
    return errors, errors


def rmse(train, test, penalty):
    x, y = train[:, :-1], train[:, -1]
    centre = x.mean(axis=0)
    gram = (x - centre).T @ (x - centre) + penalty * np.eye(x.shape[1])
    slopes = np.linalg.solve(gram, (x - centre).T @ (y - y.mean()))
    residuals = test[:, -1] - y.mean() - (test[:, :-1] - centre) @ slopes
    return np.sqrt(np.mean(residuals**2))
