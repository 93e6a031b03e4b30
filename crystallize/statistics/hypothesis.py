"""Hypotheses: how a run compares its treatments with the baseline.

A *verifier* compares the samples of two conditions and returns a mapping, nearly always with a ``p_value``.
A *hypothesis* applies one to the baseline and each treatment, and ranks the treatments by what came out.
"""

from __future__ import annotations

import logging
import math
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crystallize.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingMetricError,
    RunFailedError,
    UnknownNameError,
)
from crystallize.statistics.p_values import find_p_values, holm, is_number, smaller, smallest_p_value
from crystallize.statistics.samples import BaselineColumns
from crystallize.statistics.verifier import Verifier, VerifierFactory, check_verifier
from crystallize.utils.factories import Factory, portable, restore
from crystallize.utils.signatures import name_of
from crystallize.utils.suggest import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.results.condition import ConditionMetrics

_logger = logging.getLogger("crystallize.hypothesis")


@dataclass(frozen=True)
class HypothesisResult:
    """What a hypothesis found.

    Attributes
    ----------
    name : str
        The hypothesis's name.
    results : dict of str to object
        For each treatment what the verifier returned; a list of that if the hypothesis has several groups of
        metrics.
    errors : dict of str to str
        For each treatment that could not be compared or ranked: why, with the traceback if there is one.
    scores : dict of str to float
        What the ranker gave each treatment. Small is good.
    ranking : dict
        ``"ranked"``: the names of all treatments with a score, the best first, NaN last, equal ones in the
        order of the treatments. ``"best"``: the first of them, or None if there is none with a number.
    """

    name: str
    results: dict[str, Any]
    errors: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def ranking(self) -> dict[str, Any]:
        """The treatments in order; see the class."""
        scores = self.scores
        ranked = sorted(scores, key=lambda name: (math.isnan(scores[name]), scores[name]))
        best = ranked[0] if ranked and not math.isnan(scores[ranked[0]]) else None
        return {"best": best, "ranked": ranked}

    def get_for_treatment(self, name: str) -> Any:
        """Return what the verifier returned for the treatment `name`.

        Raises
        ------
        UnknownNameError
            If the run had no such treatment.
        RunFailedError
            If the treatment could not be compared; the message says why.
        """
        if name in self.results:
            return self.results[name]
        where = f"hypothesis {self.name!r}"
        if name in self.errors:
            raise RunFailedError(f"treatment {name!r} was not compared: {self.errors[name].strip()}", where)
        known = [*self.results, *self.errors]
        advice = did_you_mean(name, known) or f"It has {listed(known)}"
        raise UnknownNameError(f"there is no treatment {name!r}", where, advice)

    @property
    def adjusted_p_values(self) -> dict[str, float]:
        """The p-value of each treatment, corrected for the number of tests that this hypothesis made.

        By the step-down method of Holm, S. (1979), "A simple sequentially rejective multiple test procedure",
        Scandinavian Journal of Statistics 6, 65-70. If the treatments with a value of at most alpha are said
        to differ from the baseline, the probability of even one false claim is at most alpha, however the
        tests depend on each other. ``p_value`` itself bounds it only for one comparison chosen beforehand.

        All p-values of all treatments are one family. A treatment with several (from several metrics) gets
        the smallest of its corrected ones. Tests that gave NaN are not counted; results without a p-value are
        left out.
        """
        found = {name: list(find_p_values(result)) for name, result in self.results.items()}
        flat = [(name, value) for name, values in found.items() for value in values]
        adjusted: dict[str, float] = {}
        for (name, _), value in zip(flat, holm([value for _, value in flat]), strict=True):
            adjusted[name] = smaller(adjusted.get(name, value), value)
        return adjusted

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts and lists, for JSON."""
        return {
            "name": self.name,
            "results": self.results,
            "adjusted_p_values": self.adjusted_p_values,
            "ranking": self.ranking,
            "errors": self.errors,
        }


class Hypothesis:
    """A comparison of every treatment with the baseline.

    Parameters
    ----------
    verifier : callable
        ``verifier(baseline_samples, treatment_samples)``, each a mapping from metric to the list of its
        values; the values at one position of both lists come from the same replicate. Made by a
        :func:`~crystallize.statistics.verifier.verifier` factory, a factory without missing settings, or
        any other callable.
    metrics : str, list of str, or list of lists of str, optional
        The metrics that the verifier is given. A list of lists gives one call, and one result, for each
        inner list. By default all metrics that both conditions recorded.
    ranker : callable, optional
        ``ranker(result) -> float`` for one treatment's result; small is good. By default the p-value, the
        smallest one if there are several.
    name : str, optional
        By default the verifier's name.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an argument cannot be used.
    """

    def __init__(
        self,
        verifier: Callable[..., Any],
        metrics: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        ranker: Callable[[Any], float] | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(verifier, VerifierFactory):
            verifier = verifier()
        check_verifier(verifier)
        if ranker is not None and not callable(ranker):
            raise InvalidTypeError(f"a ranker is a callable (result) -> number, got {ranker!r}")
        if name is not None and not isinstance(name, str):
            raise InvalidTypeError(f"the name of a hypothesis is a str, got {name!r}")
        if name is not None and not name.strip():
            raise InvalidValueError("the name of a hypothesis is empty")
        self.verifier = verifier
        self.groups, self._is_list = _parse_metrics(metrics)
        self.ranker: Callable[[Any], float] = ranker or smallest_p_value
        self.name: str = name or name_of(verifier)

    def __repr__(self) -> str:
        groups: Any = self.groups if self._is_list or self.groups is None else self.groups[0]
        return f"Hypothesis({self.name!r}, verifier={self.verifier!r}, metrics={groups!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"ranker": portable(self.ranker)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"ranker": restore(state["ranker"])}

    def describe(self) -> dict[str, Any]:
        """Return name, verifier with its settings, and metrics: what a run's metadata keeps."""
        described: dict[str, Any] = {
            "name": self.name,
            "verifier": name_of(self.verifier),
            "metrics": self.groups,
        }
        if isinstance(self.verifier, Verifier):
            described["settings"] = self.verifier.settings
        return described

    def evaluate(
        self, baseline: ConditionMetrics, treatments: Mapping[str, ConditionMetrics]
    ) -> HypothesisResult:
        """Compare each treatment with the baseline.

        A verifier or ranker that raises, and a metric that failed replicates took with them, is in the
        result's `errors` and stops nothing else.

        Parameters
        ----------
        baseline : ConditionMetrics
            What the baseline recorded.
        treatments : mapping of str to ConditionMetrics
            What each treatment recorded.

        Raises
        ------
        MissingMetricError
            If a condition never recorded a metric that is asked for, and no failed replicate explains that.
        """
        lacking = {"baseline": self._why_missing("baseline", baseline)}
        lacking |= {name: self._why_missing(name, condition) for name, condition in treatments.items()}
        found = HypothesisResult(self.name, {})
        reader = BaselineColumns(baseline.columns)
        for name, condition in treatments.items():
            reason = lacking["baseline"] or lacking[name]
            if reason:
                self._note(found, name, reason)
                continue
            try:
                results = [
                    self.verifier(*reader.align(condition.columns, group))
                    for group in self.groups or [_shared(baseline, condition)]
                ]
            except Exception:
                self._note(found, name, traceback.format_exc())
                continue
            found.results[name] = result = results if self._is_list else results[0]
            try:
                score = self.ranker(result)
                if not is_number(score):
                    raise InvalidTypeError(f"the ranker returned no number but {score!r}")
                found.scores[name] = float(score)
            except Exception:
                self._note(found, name, f"the ranker raised\n{traceback.format_exc()}")
        return found

    def _note(self, found: HypothesisResult, treatment: str, reason: str) -> None:
        found.errors[treatment] = reason
        _logger.warning(
            "hypothesis %r, treatment %r: %s", self.name, treatment, reason.strip().splitlines()[-1]
        )

    def _why_missing(self, name: str, condition: ConditionMetrics) -> str:
        """Say which failure explains that `condition` lacks a metric; empty if it lacks none."""
        columns = condition.columns
        wanted = [metric for group in self.groups or [] for metric in group]
        missing = [metric for metric in wanted if metric not in columns]
        if not missing and columns:
            return ""
        what = f"metric {missing[0]!r}" if missing else "any metric"
        if condition.errors:
            first = condition.errors[0]
            return (
                f"{name!r} has not recorded {what}: {len(condition.errors)} replicates failed, first {first}"
            )
        advice = did_you_mean(missing[0], columns) if missing else ""
        raise MissingMetricError(
            f"condition {name!r} never recorded {what}",
            f"hypothesis {self.name!r}",
            f"It recorded {listed(columns)}. {advice}".rstrip(),
        )


class HypothesisFactory(Factory[Hypothesis]):
    """What :func:`hypothesis` makes of a ranker: call it, without arguments, for the :class:`Hypothesis`."""

    decorator = "@hypothesis"
    product = "hypothesis"
    by_hand = ".ranker(result), with what the verifier returns"
    verifier: Callable[..., Any]
    metrics: str | Sequence[str] | Sequence[Sequence[str]] | None
    name: str

    def make(self, fn: Callable[..., Any], arguments: dict[str, Any]) -> Hypothesis:
        """Return the hypothesis."""
        if arguments:
            raise InvalidTypeError(
                f"hypothesis {self.name} is called without arguments, got {listed(arguments)}"
            )
        return Hypothesis(self.verifier, self.metrics, fn, self.name)


def hypothesis(
    *,
    verifier: Callable[..., Any],
    metrics: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
    name: str | None = None,
) -> Callable[[Callable[[Any], float]], HypothesisFactory]:
    """Turn a ranker into a factory of hypotheses.

    Parameters
    ----------
    verifier, metrics
        As for :class:`Hypothesis`.
    name : str, optional
        By default the name of the function.

    Returns
    -------
    callable
        A decorator. What it returns is called without arguments for a :class:`Hypothesis`; an experiment
        takes both.

    Examples
    --------
    >>> from crystallize.statistics.verifiers import paired_t_test
    >>> @hypothesis(verifier=paired_t_test(), metrics="loss")
    ... def lower_loss(result):
    ...     return result["difference"]
    >>> lower_loss().name
    'lower_loss'
    """

    def decorate(ranker: Callable[[Any], float]) -> HypothesisFactory:
        factory = HypothesisFactory(ranker, verifier=verifier, metrics=metrics, name=name or name_of(ranker))
        factory()  # wrong settings are reported where they stand
        return factory

    return decorate


def as_hypothesis(given: object) -> Hypothesis:
    """Return the hypothesis that `given` is or makes.

    Raises
    ------
    InvalidTypeError
        If it is neither a :class:`Hypothesis` nor what :func:`hypothesis` makes.
    """
    if isinstance(given, HypothesisFactory):
        return given()
    if isinstance(given, Hypothesis):
        return given
    raise InvalidTypeError(
        f"expected a Hypothesis, got {given!r}", hint="Wrap a verifier: Hypothesis(verifier, metrics=...)"
    )


def _shared(baseline: ConditionMetrics, treatment: ConditionMetrics) -> list[str]:
    return [metric for metric in baseline.columns if metric in treatment.columns]


def _parse_metrics(metrics: Any) -> tuple[list[list[str]] | None, bool]:
    """Return the groups of metrics, and whether the results are a list."""
    if metrics is None:
        return None, False
    given = [metrics] if isinstance(metrics, str) else metrics
    wrong = InvalidTypeError(
        f"metrics is a name, a list of names or a list of lists of names, got {metrics!r}"
    )
    if not isinstance(given, list | tuple):
        raise wrong
    is_list = any(isinstance(part, list | tuple) for part in given)
    groups = given if is_list else [given]
    for group in groups:
        if not isinstance(group, list | tuple) or not all(isinstance(metric, str) for metric in group):
            raise wrong
        if not group or len(set(group)) < len(group):
            fault = "names a metric twice" if group else "names no metric"
            raise InvalidValueError(f"a group of metrics {fault}: {metrics!r}")
    return [list(group) for group in groups], is_list
