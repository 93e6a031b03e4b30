"""``crystallize run --dry-run``: what a run would do, and what it would cost."""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.cli import screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.experiments.experiment import Experiment
    from crystallize.graphs.graph import ExperimentGraph
    from crystallize.graphs.planning import Plan

_MOST_SHOWN = 20


class Prospect(NamedTuple):
    """What the run of one experiment would be.

    Attributes
    ----------
    experiment : str
        Its name.
    conditions : tuple of str
        All of them, the baseline first.
    replicates : int or None
        How many, or how many at most; None if the data will tell.
    is_exact : bool
        Whether there will be as many, and no stopping rule decides.
    rule : str or None
        The rule, as it is written.
    factors : dict of str to int
        How many levels each factor of its designs has.
    seconds : float or None
        The time of one replicate of all conditions, by the newest run that has outcomes; None if there is none.
    version : str
        That run.
    new : int
        How many of the conditions it did not have: they count like the others on average.
    """

    experiment: str
    conditions: tuple[str, ...]
    replicates: int | None
    is_exact: bool
    rule: str | None
    factors: dict[str, int]
    seconds: float | None
    version: str
    new: int

    @property
    def outcomes(self) -> int | None:
        """How many there would be."""
        return None if self.replicates is None else self.replicates * len(self.conditions)

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        seconds = None if self.seconds is None or self.replicates is None else self.seconds * self.replicates
        return {
            "conditions": list(self.conditions),
            "replicates": self.replicates,
            "at_most": not self.is_exact,
            "rule": self.rule,
            "outcomes": self.outcomes,
            "factors": self.factors,
            "seconds": seconds,
            "by": self.version or None,
        }


def look_ahead(graph: ExperimentGraph, treatments: list[str] | None) -> list[Prospect]:
    """Return what a run of the graph would do.

    Raises
    ------
    CrystallizeError
        If it could not run.
    """
    plan = graph.plan(treatments=treatments)
    return [_prospect(graph.experiments[name], plan) for name in plan.order]


def show(found: Sequence[Prospect], *, as_json: bool) -> None:
    """Print what a run would do."""
    if as_json:
        screen.print_json({each.experiment: each.to_dict() for each in found})
        return
    for each in found:
        for line in _lines(each):
            screen.echo(line)
    screen.echo("Nothing was run.", err=True)


def _prospect(experiment: Experiment, plan: Plan) -> Prospect:
    from crystallize.experiments.treatment import with_baseline
    from crystallize.utils.levels import factors_of

    name = experiment.folder_name
    treatments, rule = plan.treatments[name], plan.rules[name]
    conditions = with_baseline(each.name for each in treatments)
    factors = factors_of(each.coordinates for each in treatments)
    version, durations = _durations(experiment)
    known = [durations[each] for each in conditions if each in durations]
    new = len(conditions) - len(known)
    seconds = sum(known) + new * fmean(durations.values()) if durations else None
    return Prospect(
        name,
        conditions,
        plan.most[name],
        plan.replicates[name] is not None,
        None if rule is None else str(rule),
        {factor: len(levels) for factor, levels in factors.items()},
        seconds,
        version,
        new,
    )


def _durations(experiment: Experiment) -> tuple[str, dict[str, float]]:
    """Return the newest run that has outcomes, and the typical time of each of its conditions, in seconds."""
    from crystallize.errors import StoreError
    from crystallize.results.measured import MeasuredRun
    from crystallize.store.folders import versions

    location = experiment.location()
    for folder in versions(location.folder) if location is not None else ():
        times: dict[str, list[float]] = {}
        try:
            stored = MeasuredRun(folder)
            for _, outcomes in stored if stored.has_journal else ():
                for outcome in outcomes:
                    if outcome.error is None:
                        times.setdefault(outcome.condition, []).append(outcome.seconds)
        except StoreError:
            continue
        if times:  # the median: the first outcome of a process often waits for an import
            return folder.name, {name: median(each) for name, each in times.items()}
    return "", {}


def _lines(each: Prospect) -> Iterator[str]:
    from crystallize.utils.quantities import format_duration
    from crystallize.utils.wording import counted

    conditions, most = counted(len(each.conditions), "condition"), "" if each.is_exact else "at most "
    if each.replicates is None:
        yield f"{each.experiment}: {conditions}, as many replicates as there is data"
    else:
        outcomes, replicates = counted(each.outcomes or 0, "outcome"), counted(each.replicates, "replicate")
        yield f"{each.experiment}: {conditions} x {most}{replicates} = {most}{outcomes}"
    if each.rule is not None:
        yield f"  ends when {each.rule} has seen enough"
    if each.factors:
        sizes = (f"{name} ({counted(size, 'level')})" for name, size in each.factors.items())
        yield f"  factors: {', '.join(sizes)}"
    shown = each.conditions if len(each.conditions) <= _MOST_SHOWN else each.conditions[: _MOST_SHOWN - 1]
    yield from (f"  - {name}" for name in shown)
    if len(shown) < len(each.conditions):
        yield f"  and {len(each.conditions) - len(shown)} more"
    if each.seconds is None:
        yield "  cost: not known, for no run with outcomes is stored"
        return
    replicate = f"{format_duration(each.seconds)} a replicate"
    whole = "" if each.replicates is None else f"{format_duration(each.seconds * each.replicates)} of work, "
    about = "about" if each.is_exact or each.replicates is None else "at most about"
    new = f"; {counted(each.new, 'condition')} new, taken to be like the others" if each.new else ""
    yield f"  cost: {about} {whole}{replicate}, by {each.version}{new}"
