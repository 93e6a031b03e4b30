"""The definition of an experiment as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.experiments.checks import data_sources

if TYPE_CHECKING:
    from crystallize.experiments.experiment import Experiment


def describe(experiment: Experiment) -> dict[str, Any]:
    """Return what defines the run under way, or else the experiment, for metadata.

    Values that are not JSON's are left to whoever writes it.
    """
    treatments = experiment.active_treatments
    pipeline = experiment.pipeline
    return {
        "id": experiment.id,
        "name": experiment.name,
        "description": experiment.description,
        "replicates": experiment.replicates,
        "conditions": {
            name: treatments[name].describe() if name in treatments else {} for name in experiment.conditions
        },
        "pipeline": [
            {"step": name, "params": step.params, "cacheable": step.cacheable}
            for name, step in zip(pipeline.names, pipeline.steps, strict=True)
        ],
        "datasource": repr(experiment.datasource),
        "inputs": [entry for source in data_sources(experiment).values() for entry in source.inputs()],
        "initial_ctx": sorted(experiment.initial_ctx),
        "hypotheses": [hypothesis.describe() for hypothesis in experiment.hypotheses],
        "master_seed": experiment.master_seed,
    }
