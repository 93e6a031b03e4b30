"""A plan that is written down before an experiment is run, and what in a run departs from it.

The plan is a file beside config.yaml. It holds what decides the outcomes and what is asked of them, as the metadata of
a run have it, so that a run is compared with it part by part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import StoreError, ValidationError
from crystallize.experiments.checks import check_experiment
from crystallize.experiments.inputs import resolve_replicates
from crystallize.experiments.signature import experiment_signature
from crystallize.results.circumstances import SEED_SETTING, signature_changes
from crystallize.results.preregistration import Preregistration
from crystallize.store.accounting import now
from crystallize.utils.failures import store_errors
from crystallize.utils.files import atomic_write_bytes
from crystallize.utils.json_text import parse_json, to_json
from crystallize.utils.wording import shortened

if TYPE_CHECKING:
    from crystallize.hookspecs import RunningExperiment
    from crystallize.results.circumstances import Change
    from crystallize.statistics.hypothesis import Hypothesis

FILE = "preregistration.json"

SCHEMA_VERSION = 1

_AGAIN = "Restore the file; or delete it, and lock the experiment again"


class Plan(NamedTuple):
    """What an experiment was to be.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    digest : str
        ``sha256:`` and the hash of all that the file holds besides.
    locked : str
        When it was written, in UTC.
    experiment : str
        Whose plan it is.
    signature : dict
        What decides the outcomes and what is asked of them, with the number of ``replicates``.
    """

    path: Path
    digest: str
    locked: str
    experiment: str
    signature: dict[str, Any]


def lock(experiment: RunningExperiment, hypotheses: Sequence[Hypothesis], *, replace: bool = False) -> Plan:
    """Write down the plan of an experiment that is a folder.

    If nobody has given it a seed, the plan holds one that is drawn now, and runs take that.

    Parameters
    ----------
    experiment : RunningExperiment
        As :meth:`Experiment.from_yaml` returns it.
    hypotheses : sequence of Hypothesis
        What is to be asked of its metrics.
    replace : bool, default False
        Whether an older plan may be replaced.

    Raises
    ------
    ValidationError
        If the experiment is no folder, cannot run as it is defined, or has a plan already.
    StoreError
        If the file cannot be written.
    """
    if experiment.source is None:
        raise ValidationError(
            f"experiment {experiment.folder_name!r} is no folder, and a plan is a file beside its config.yaml",
            hint="Write it as a folder, and load it with Experiment.from_yaml",
        )
    path = experiment.source.parent / FILE
    if path.exists() and not replace:
        raise ValidationError(
            "the experiment has a plan already", str(path), "Replace it with 'crystallize lock NAME --force'"
        )
    check_experiment(experiment, hypotheses)
    content = {
        "experiment": experiment.folder_name,
        "locked": now(),
        "plan": _signature(experiment, hypotheses),
    }
    heading = {"schema_version": SCHEMA_VERSION, "digest": _digest(content)}
    text = to_json({**heading, **content}, indent=2)
    with store_errors("the plan cannot be written", path):
        atomic_write_bytes(path, f"{text}\n".encode())
    return _parsed(path, text.encode())


def read_plan(config: Path) -> Plan | None:
    """Return the plan beside a config.yaml; None if there is none.

    Raises
    ------
    StoreError
        If it cannot be read, or was edited.
    """
    path = config.parent / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"the plan cannot be read: {error.strerror or error}", str(path), _AGAIN) from error
    return _parsed(path, content)


def compare_with_plan(
    experiment: RunningExperiment, hypotheses: Sequence[Hypothesis]
) -> Preregistration | None:
    """Return how the run under way relates to the plan of its experiment; None if there is no plan.

    Raises
    ------
    StoreError
        If there is a plan that cannot be read, or was edited.
    """
    plan = None if experiment.source is None else read_plan(experiment.source)
    if plan is None:
        return None
    departures = _departures(plan.signature, _signature(experiment, hypotheses))
    run = experiment.current_run
    if run is not None and _is_before(run.started, plan.locked):
        departures.insert(0, "it began before the plan was locked")
    return Preregistration(plan.digest, plan.locked, tuple(departures))


# -- what is compared ----------------------------------------------------------------------------------------


def _signature(experiment: RunningExperiment, hypotheses: Sequence[Hypothesis]) -> dict[str, Any]:
    """Return what decides the outcomes and what is asked of them, with the number of replicates and the rule."""
    decided = experiment.current_run or experiment
    rule = decided.stop_when
    extent: dict[str, Any] = {"replicates": resolve_replicates(experiment, experiment.replicates, rule)}
    if rule is not None:
        extent["stop_when"] = str(rule)
    policy = asdict(decided.failure_policy)
    return {**extent, "failure_policy": policy, **experiment_signature(experiment, hypotheses)}


def _departures(planned: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    settings, code = signature_changes({"signature": planned}, {"signature": run}, leaving_out=())
    departures = [
        _told(each, f"was {shortened(repr(each.before))}, is {shortened(repr(each.after))}")
        for each in settings
        if each.name != SEED_SETTING
    ]
    if planned.get("python") == run["python"]:
        return departures + [_told(each, "changed") for each in code]
    return [*departures, "whether the code is the same cannot be told under another Python"]


def _is_before(started: str, locked: str) -> bool:
    return datetime.fromisoformat(started) < datetime.fromisoformat(locked)


def _told(change: Change, changed: str) -> str:
    if change.before is None or change.after is None:
        return f"{change.name} is {'new' if change.before is None else 'gone'}"
    return f"{change.name} {changed}"


# -- the file ------------------------------------------------------------------------------------------------


def _digest(content: Mapping[str, Any]) -> str:
    """Return the hash of what a file holds, whatever its layout."""
    return f"sha256:{hashlib.sha256(to_json(content).encode()).hexdigest()}"


def _parsed(path: Path, content: bytes) -> Plan:
    try:
        held = parse_json(content)
        version, digest = held.pop("schema_version"), held.pop("digest")
        plan = Plan(path, digest, held["locked"], held["experiment"], held["plan"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError("this is no plan of an experiment", str(path), _AGAIN) from error
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the plan has schema version {version}, and this Crystallize reads {SCHEMA_VERSION}",
            str(path),
            "Another version of Crystallize has written it: pip install --upgrade crystallize-lab",
        )
    if digest != _digest(held):
        raise StoreError("the plan was edited, for its hash is not that of what it holds", str(path), _AGAIN)
    return plan
