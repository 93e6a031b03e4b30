"""From patients to the error of a forecast; the second step is worth a cache."""

from itertools import combinations

import numpy as np

from crystallize import pipeline_step

FOLDS = 5
ROUNDS = 1


@pipeline_step()
def split(data, ctx, *, train=200):
    """Draw the patients to learn from; the others are there to be foretold."""
    order = ctx.rng.permutation(len(data["progression"]))
    parts = {"train": order[:train], "test": order[train:]}
    return {
        part: (standardised(data["measured"])[rows], data["progression"][rows])
        for part, rows in parts.items()
    }


@pipeline_step(cacheable=True)
def choose_measurements(data, *, most=10):
    """Try every set of up to `most` measurements by cross-validation, and take the best."""
    measured, progression = data["train"]
    count = measured.shape[1]
    sets = [chosen for size in range(1, most + 1) for chosen in combinations(range(count), size)]
    errors = [cross_validated(measured[:, chosen], progression) for chosen in sets]
    return {**data, "chosen": sets[int(np.argmin(errors))]}


@pipeline_step()
def forecast(data):
    """Measure how far the forecasts for the other patients are off."""
    chosen = list(data["chosen"])
    weights = least_squares(*((data["train"][0][:, chosen], data["train"][1])))
    measured, progression = data["test"]
    off = progression - with_constant(measured[:, chosen]) @ weights
    return data, {"error": float(np.sqrt(np.mean(off**2))), "measurements": len(chosen)}


def standardised(measured):
    """Return each measurement with mean 0 and standard deviation 1."""
    return (measured - measured.mean(axis=0)) / measured.std(axis=0)


def with_constant(measured):
    """Return the measurements with a column of ones."""
    return np.column_stack([np.ones(len(measured)), measured])


def least_squares(measured, progression):
    """Return the weights of the constant and of each measurement."""
    return np.linalg.lstsq(with_constant(measured), progression, rcond=None)[0]


def cross_validated(measured, progression):
    """Return the mean squared error of forecasts for patients that were left out."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(ROUNDS):
        for left_out in np.array_split(rng.permutation(len(progression)), FOLDS):
            kept = np.delete(np.arange(len(progression)), left_out)
            weights = least_squares(measured[kept], progression[kept])
            off = progression[left_out] - with_constant(measured[left_out]) @ weights
            errors.append(float(np.mean(off**2)))
    return np.mean(errors)
