"""The result of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crystallize.errors import InvalidValueError, RunFailedError, StoreError, UnknownNameError
from crystallize.results.cache_report import CacheReport
from crystallize.results.frame import make_frame
from crystallize.store.layout import ROOT
from crystallize.utils.json_text import to_json
from crystallize.utils.wording import counted, first_of, name_hint

if TYPE_CHECKING:
    from os import PathLike

    from pandas import DataFrame
    from xarray import Dataset

    from crystallize.metrics.condition import ConditionMetrics
    from crystallize.results.best import BestSet
    from crystallize.results.effects import Effects
    from crystallize.results.preregistration import Preregistration
    from crystallize.results.provenance import Provenance
    from crystallize.results.summary import Summary
    from crystallize.statistics.hypothesis_result import HypothesisResult
    from crystallize.statistics.stopping.report import Stopping
    from crystallize.statistics.verdicts import Direction
    from crystallize.store.layout import ArtifactEntry
    from crystallize.store.outcome import OutcomeError

_MOST_SHOWN = 3


@dataclass(eq=False)
class ExperimentMetrics:
    """The metrics of all conditions, and what the hypotheses say of them.

    Attributes
    ----------
    baseline : ConditionMetrics
        The baseline's.
    treatments : dict of str to ConditionMetrics
        Those of each treatment.
    hypotheses : list of HypothesisResult
        In the order of the experiment's hypotheses.
    """

    baseline: ConditionMetrics
    treatments: dict[str, ConditionMetrics]
    hypotheses: list[HypothesisResult] = field(default_factory=list)

    @property
    def conditions(self) -> list[ConditionMetrics]:
        """What each condition gave, the baseline first."""
        return [self.baseline, *self.treatments.values()]


class Result:
    """The result of one run.

    Attributes
    ----------
    experiment : str
        Name of the experiment, or its id if it has no name.
    replicates : int
        How many replicates the run had.
    arrived : int
        How many of them were measured: fewer in the result of a run that was broken off.
    master_seed : int
        The seed that repeats the run.
    metrics : ExperimentMetrics
        ``result.metrics.baseline.metrics["loss"]`` is the list of that metric's values.
    errors : list of OutcomeError
        The failed outcomes, in replicate order.
    artifacts : list of ArtifactEntry
        What was stored, in replicate order.
    preregistration : Preregistration or None
        The plan that was locked before the run, and what departs from it; None if there was none.
    shared_inputs : dict of str to int
        Each experiment of which several replicates read the same artifact, so that they are not independent, with how
        many replicates that has.
    stopped_inputs : list of str
        The experiments that it read, and that a stopping rule has ended: the run has as many replicates as they have.
    path : pathlib.Path or None
        The folder that the run was stored in.
    stopping : Stopping or None
        Why the rule that watched the run has ended it, and what it saw; None if there was none.
    """

    def __init__(
        self,
        *,
        experiment: str,
        replicates: int,
        master_seed: int,
        metrics: ExperimentMetrics,
        errors: list[OutcomeError],
        artifacts: list[ArtifactEntry],
        provenance: Provenance | None,
        cache: CacheReport | None = None,
    ) -> None:
        self.experiment = experiment
        self.replicates = self.arrived = replicates
        self.master_seed = master_seed
        self.metrics = metrics
        self.errors = errors
        self.artifacts = artifacts
        self._provenance = provenance
        self._cache = cache or CacheReport({})
        self.preregistration: Preregistration | None = None
        self.shared_inputs: dict[str, int] = {}
        self.stopped_inputs: list[str] = []
        self.path: Path | None = None
        self.stopping: Stopping | None = None

    @classmethod
    def load(
        cls, run: str | PathLike[str], version: int | str = "latest", *, root_dir: str | Path = ROOT
    ) -> Result:
        """Return the result of a stored run; the same as :func:`crystallize.open_run`."""
        from crystallize.results.load import open_run

        return open_run(run, version, root_dir=root_dir)

    # -- reading -------------------------------------------------------------------------------------------

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions, the baseline first."""
        return (self.metrics.baseline.name, *self.metrics.treatments)

    def condition(self, name: str) -> ConditionMetrics:
        """Return what the condition `name` gave.

        Raises
        ------
        UnknownNameError
            If the run had no such condition.
        """
        if name == self.metrics.baseline.name:
            return self.metrics.baseline
        if name in self.metrics.treatments:
            return self.metrics.treatments[name]
        raise UnknownNameError(
            f"the run of {self.experiment!r} had no condition {name!r}",
            hint=name_hint(name, "It had", self.conditions),
        )

    def explain_cache(self) -> CacheReport:
        """Return what the step cache did: which outputs it gave, and why the others had to be made.

        Returns
        -------
        CacheReport
            To print, or to ask for numbers.
        """
        return self._cache

    @property
    def provenance(self) -> Provenance:
        """How each outcome came about.

        Raises
        ------
        StoreError
            If the result is that of a stored run without a journal.
        """
        if self._provenance is None:
            raise StoreError(
                f"provenance of experiment {self.experiment!r} is not stored",
                str(self.path),
                "The run has no journal",
            )
        return self._provenance

    @property
    def seeds(self) -> dict[str, list[int | None]]:
        """For each condition the ``seed_used`` of each replicate; None where it is not known."""
        return {each.name: each.seeds for each in self.metrics.conditions}

    def get_hypothesis(self, name: str) -> HypothesisResult:
        """Return what the hypothesis `name` says.

        Raises
        ------
        UnknownNameError
            If the experiment has no such hypothesis.
        """
        for hypothesis in self.metrics.hypotheses:
            if hypothesis.name == name:
                return hypothesis
        names = [hypothesis.name for hypothesis in self.metrics.hypotheses]
        raise UnknownNameError(
            f"experiment {self.experiment!r} has no hypothesis {name!r}",
            hint=name_hint(name, "It has", names),
        )

    def tell_stopping(self, stopping: Stopping) -> None:
        """Note why the rule that watched the run has ended it, and what it has dropped on the way."""
        self.stopping = stopping
        for name, first in stopping.dropped.items():
            self.condition(name).dropped_at = first

    def raise_for_errors(self) -> None:
        """Raise if any outcome failed.

        Raises
        ------
        RunFailedError
            With the first errors, and the first one's traceback, if it is known, as a note.
        """
        if not self.errors:
            return
        outcomes = sum(len(each.seeds) for each in self.metrics.conditions)
        raise failures_error(
            self.errors,
            f"{len(self.errors)} of {outcomes} outcomes of {self.experiment!r} failed",
            "result.errors has them all, with their tracebacks",
        )

    def __eq__(self, other: object) -> bool:
        """Tell whether both hold the same; where they are stored, and what the step cache did, does not count.

        NaN equals NaN, while 1, 1.0 and True differ. What JSON has no form for is compared by its ``repr``, and arrays
        and sets as lists, since a stored run has nothing else of them.
        """
        if not isinstance(other, Result):
            return NotImplemented
        return all(ours == theirs for ours, theirs in zip_longest(self._content(), other._content()))

    __hash__ = None  # type: ignore[assignment]  # it can change

    def _content(self) -> Iterator[str]:
        """Yield all that it holds as JSON, part by part."""
        yield to_json(self.to_dict())
        for each in self.metrics.conditions:
            columns = [(metric, list(column.by_replicate())) for metric, column in each.columns.items()]
            yield to_json([columns, each.tags, each.coordinates, each.dropped_at])
        yield from map(to_json, self._provenance or ())

    # -- showing -------------------------------------------------------------------------------------------

    def summary(
        self,
        metrics: Sequence[str] | None = None,
        *,
        confidence: float = 0.95,
        detail: bool = False,
        cluster: str | None = None,
        interval: Literal["student", "bootstrap-t"] = "student",
    ) -> Summary:
        """Return a table with each metric's mean, spread and difference to the baseline, and one of each hypothesis.

        Parameters
        ----------
        metrics : sequence of str, optional
            The metrics wanted; all, if not given.
        confidence : float, optional
            Level of the interval of the difference, between 0 and 1.
        detail : bool, optional
            Whether to find all that is known of each comparison: relative difference, effect size, share of pairs that
            are better, what pairing was worth, p-values, verdict.
        cluster : str, optional
            A tag of values, such as ``"patient"``, if those of different replicates that have the same one depend on
            each other. Intervals and p-values then count clusters, and replicates only where one has values of several.
        interval : {"student", "bootstrap-t"}, optional
            How the interval of a mean of paired differences is found; ``"bootstrap-t"`` is for skewed differences.
        """
        from crystallize.results.summary import summarize

        table = summarize(
            self.metrics.conditions,
            self.arrived,
            metrics,
            confidence,
            self.metrics.hypotheses,
            detail=detail,
            cluster=cluster,
            interval=interval,
        )
        return replace(
            table,
            preregistration=self.preregistration,
            shared_inputs=self.shared_inputs,
            stopped_inputs=tuple(self.stopped_inputs),
            stopping=self.stopping,
            planned=self.replicates,
        )

    @property
    def _was_stopped(self) -> bool:
        """Whether a rule says how many replicates there are, by what it saw of them."""
        return self.stopping is not None or bool(self.stopped_inputs)

    def effects(self, metric: str, *, interactions: bool = True, confidence: float = 0.95) -> Effects:
        """Return what each factor of a design does to a metric, and what two of them do together.

        Replicates are blocks: in each, every effect is a difference of averages over its cells, which have common
        random numbers. Of a full grid these are plain differences; else they come from least squares. Their mean over
        replicates is the estimate, with Student's interval.

        Parameters
        ----------
        metric : str
            The metric; of several values of a replicate, their mean counts.
        interactions : bool, default True
            Whether to compute those of two factors, too.
        confidence : float, optional
            Level of the intervals, between 0 and 1.

        Returns
        -------
        Effects
            To print, or to ask for numbers. Their p-values are corrected by Holm's method for all of them.

        Raises
        ------
        MissingMetricError
            If the metric is not there in each cell.
        InvalidValueError
            If the run has no design, or one that does not compare levels.
        InvalidTypeError
            If a value of the metric is no number.
        """
        from crystallize.results.effects import find_effects

        found = find_effects(
            self.metrics.conditions,
            metric,
            self.arrived,
            interactions=interactions,
            confidence=confidence,
        )
        return replace(found, was_stopped=self._was_stopped, shared_inputs=self.shared_inputs)

    def best(
        self,
        metric: str,
        *,
        direction: Direction | None = None,
        alpha: float = 0.05,
        fresh: Result | None = None,
    ) -> BestSet:
        """Return the conditions that cannot be told from the best one, and how much worse than it each is at most.

        The baseline is one of the conditions. They are compared two by two, by their differences within replicates,
        at a level that holds for all of them together.

        Parameters
        ----------
        metric : str
            The metric; of several values of a replicate, their mean counts.
        direction : {"min", "max"}, optional
            Whether small values are good, or large ones. By default, what a hypothesis on this metric says.
        alpha : float, optional
            The chance that the best is not among them, or that a bound does not hold; for all conditions together.
        fresh : Result, optional
            The result of another run, under another seed, that has the condition that looks best here. The mean of the
            best of several is better than it really is, and that of the fresh run is not.

        Returns
        -------
        BestSet
            To print, or to ask for numbers.

        Raises
        ------
        MissingMetricError
            If no condition recorded the metric.
        InvalidValueError
            If it is not known where better lies, if there is nothing to compare, or if the other run is not fresh.
        InvalidTypeError
            If a value of the metric is no number.

        References
        ----------
        Nelson, B. L., Swann, J., Goldsman, D. and Song, W. (2001), "Simple procedures for selecting the best simulated
        system when the number of alternatives is large", Operations Research 49, 950-963: the screening, with
        Bonferroni's inequality for replicates that share their random numbers.

        Hsu, J. C. (1984), "Constrained simultaneous confidence intervals for multiple comparisons with the best",
        Annals of Statistics 12, 1136-1144: the bounds.
        """
        from crystallize.results.best import find_best, measure_again

        found = find_best(
            self.metrics.conditions,
            metric,
            self.metrics.hypotheses,
            direction=direction,
            alpha=alpha,
            replicates=self.arrived,
            seed=self.master_seed,
        )
        found = replace(found, was_stopped=self._was_stopped, shared_inputs=self.shared_inputs)
        if fresh is None:
            return found
        if fresh.master_seed == self.master_seed:
            raise InvalidValueError(
                f"the fresh run has the seed {self.master_seed}, as this one has: its replicates are the same",
                hint="Run it with another seed",
            )
        return replace(found, fresh=measure_again(fresh.condition(found.names[0]), metric, 1 - alpha))

    def print_tree(self, fmt: str = "condition > replicate > step") -> None:
        """Print the provenance as a tree.

        Parameters
        ----------
        fmt : str
            The levels from the outside in; see :meth:`crystallize.results.provenance.Provenance.tree`.
        """
        print(self.provenance.tree(fmt))

    def __repr__(self) -> str:
        arrived = "" if self.arrived == self.replicates else f"{self.arrived} of "
        replicates = f"{arrived}{counted(self.replicates, 'replicate')}"
        failed = f", {counted(len(self.errors), 'failed outcome')}" if self.errors else ""
        return f"<Result of {self.experiment!r}: {replicates} of {first_of(self.conditions)}{failed}>"

    def __rich__(self) -> Summary:
        return self.summary()

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    # -- handing on ----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return metrics, seeds, errors, hypotheses, artifacts and the plan as plain dicts and lists."""
        return {
            "experiment": self.experiment,
            "replicates": self.replicates,
            "arrived": self.arrived,
            "master_seed": self.master_seed,
            "conditions": {
                each.name: {
                    "metrics": {metric: list(values) for metric, values in each.metrics.items()},
                    "seeds": each.seeds,
                    "errors": [error._asdict() for error in each.errors],
                }
                for each in self.metrics.conditions
            },
            "hypotheses": [hypothesis.to_dict() for hypothesis in self.metrics.hypotheses],
            "stopping": None if self.stopping is None else self.stopping.to_dict(),
            "artifacts": [entry._asdict() for entry in self.artifacts],
            "preregistration": None if self.preregistration is None else self.preregistration._asdict(),
            "shared_inputs": dict(self.shared_inputs),
            "stopped_inputs": list(self.stopped_inputs),
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return :meth:`to_dict` as JSON.

        NaN and the infinities become null, arrays and sets lists, and what JSON has no form for its ``repr``.
        """
        return to_json(self.to_dict(), strict=True, indent=indent)

    def to_frame(self) -> DataFrame:
        """Return all values as a tidy frame: replicate, condition, metric, value, and a column for each tag.

        A run of a grid has a column for each factor, too, beside the condition.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return make_frame((({}, each) for each in self.metrics.conditions), (), "Result.to_frame")

    def to_xarray(self) -> Dataset:
        """Return the metrics that are numbers as a labelled array each, to select and average by the levels of factors.

        Its dimensions are the replicate and each factor of the design, if at least half of their combinations were
        run; NaN stands for the others, and conditions that are no cells are left out. Else, and without a design, they
        are the replicate and the condition, beside which stand its levels. Of several values of a replicate, it is
        their mean.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        from crystallize.results.labelled_arrays import make_dataset

        return make_dataset(self.metrics.conditions, self.replicates)


def wholly_failed(result: Result) -> list[ConditionMetrics]:
    """Return the conditions whose every outcome failed."""
    return [each for each in result.metrics.conditions if 0 < len(each.errors) == result.replicates]


def failures_error(errors: Sequence[OutcomeError], what: str, hint: str) -> RunFailedError:
    """Return the error that names the first of the failures, with the first one's traceback as a note."""
    shown = "; ".join(map(str, errors[:_MOST_SHOWN]))
    more = f"; and {len(errors) - _MOST_SHOWN} more" if len(errors) > _MOST_SHOWN else ""
    error = RunFailedError(f"{what}: {shown}{more}", hint=hint)
    if errors[0].traceback:
        error.add_note(f"The first one's traceback:\n{errors[0].traceback}")
    return error
