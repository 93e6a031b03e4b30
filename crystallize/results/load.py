"""A stored run as a Result."""

from __future__ import annotations

from pathlib import Path

from crystallize.errors import StoreError
from crystallize.results.hypotheses_file import read_hypotheses
from crystallize.results.result import ExperimentMetrics, Result
from crystallize.results.results_file import read_results
from crystallize.store.layout import BASELINE, METADATA, RESULTS
from crystallize.store.manifest import read_manifest
from crystallize.store.metadata import read_metadata


def load_result(run: str | Path) -> Result:
    """Return the result of a stored run.

    Nothing is unpickled, and none of the user's code is imported. Values are those that the run measured, each in its
    replicate; what JSON has no form for became text. Why an outcome failed, seeds, tags and provenance are not stored
    yet: errors say so, seeds are None, and asking for provenance is an error.

    Parameters
    ----------
    run : str or pathlib.Path
        The folder ``<root>/<experiment>/v<N>``.

    Raises
    ------
    StoreError
        If there is no run, if it has no results since it did not come to its end, or if a file is damaged.
    """
    run = Path(run)
    metadata = read_metadata(run)
    if metadata is None:
        raise StoreError("no run is stored here, for there is no metadata", str(run))
    experiment = metadata.get("name") or metadata.get("id")
    replicates, names, seeds = (metadata.get(key) for key in ("replicates", "conditions", "seeds"))
    if (
        not isinstance(experiment, str)
        or not isinstance(replicates, int)
        or not isinstance(names, dict)
        or BASELINE not in names
        or not isinstance(seeds, dict)
        or not isinstance(seeds.get("master"), int)
    ):
        raise StoreError(
            "the metadata of a run do not tell its name, replicates, conditions and master seed",
            str(run / METADATA),
            "Run the experiment again",
        )
    try:
        conditions = {name: read_results(run / name / RESULTS, replicates) for name in names}
    except FileNotFoundError as error:
        status = metadata.get("status")
        raise StoreError(
            f"the run of experiment {experiment!r} is {status} and has no results",
            str(error.filename),
            "Run the experiment again",
        ) from None
    errors = [error for condition in conditions.values() for error in condition.errors]
    order = {name: place for place, name in enumerate(conditions)}
    result = Result(
        experiment=experiment,
        replicates=replicates,
        master_seed=seeds["master"],
        metrics=ExperimentMetrics(conditions.pop(BASELINE), conditions, read_hypotheses(run)),
        errors=sorted(errors, key=lambda error: error.replicate),
        artifacts=sorted(read_manifest(run), key=lambda entry: (entry.replicate, order[entry.condition])),
        provenance=None,
    )
    result.path = run
    return result
