"""The one step: choose the units that all measurements are given in."""

from __future__ import annotations

import numpy as np

from crystallize import Artifact, pipeline_step


@pipeline_step()
def standardize(table, *, patients: Artifact, units: Artifact):
    """Give each measurement in standard deviations from its mean; leave the disease, the last column, as it is."""
    columns, values = table
    measured, disease = values[:, :-1], values[:, -1]
    mean, deviation = measured.mean(axis=0), measured.std(axis=0)
    standardized = (measured - mean) / deviation
    patients.write(np.column_stack([standardized, disease]))
    units.write({"columns": columns[:-1], "mean": mean.tolist(), "deviation": deviation.tolist()})
    return standardized, {"patients": len(values), "condition_number": np.linalg.cond(standardized)}
