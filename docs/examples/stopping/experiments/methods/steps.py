"""Learn from some patients, and forecast the others."""

import numpy as np

from crystallize import pipeline_step


@pipeline_step()
def split(data, ctx, *, learn_from=40):
    """Draw the patients to learn from; the others are there to be foretold."""
    measured, progression = data
    order = ctx.rng.permutation(len(progression))
    return [(measured[rows], progression[rows]) for rows in (order[:learn_from], order[learn_from:])]


@pipeline_step()
def forecast(data, *, penalty=0.0, measurements=()):
    """Fit a linear model to the first part, and measure how far its forecasts for the second are off."""
    chosen = list(measurements) or slice(None)
    (measured, progression), (others, outcomes) = data
    mean = progression.mean()
    known = measured[:, chosen]
    ridge = np.sqrt(penalty) * np.eye(known.shape[1])
    target = np.concatenate([progression - mean, np.zeros(len(ridge))])
    weights = np.linalg.lstsq(np.vstack([known, ridge]), target, rcond=None)[0]
    off = outcomes - mean - others[:, chosen] @ weights
    return data, {"error": float(np.sqrt(np.mean(off**2)))}
