"""From the table to the report."""

from __future__ import annotations

import numpy as np

from crystallize import Artifact, pipeline_step


@pipeline_step()
def differences(table, *, first, second):
    """Subtract one column from another."""
    return np.array([float(row[second]) - float(row[first]) for row in table])


@pipeline_step()
def bootstrap(sample, ctx, *, resamples, statistic="mean"):
    """Estimate a statistic and its 95% interval, from samples drawn with replacement (Efron 1979)."""
    compute = getattr(np, statistic)
    drawn = compute(ctx.rng.choice(sample, size=(resamples, len(sample))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = {"estimate": compute(sample), "low": low, "high": high}
    return found | {"statistic": statistic, "sample": sample}, found


@pipeline_step()
def write_report(found, *, report: Artifact):
    """Write the page."""
    report.write(found)
    return found
