"""Hypotheses: how a run compares its treatments with the baseline.

A *verifier* compares the samples of two conditions and returns a mapping, nearly always with a ``p_value``.
A *hypothesis* applies one to the baseline and each treatment, and ranks the treatments by what came out.
"""

from __future__ import annotations

import logging
import traceback
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn, cast

from crystallize.errors import InvalidTypeError, InvalidValueError, MissingMetricError
from crystallize.metrics.condition import count_dropped
from crystallize.statistics.adjustment import CORRECTIONS, Correction
from crystallize.statistics.hypothesis_result import Comparison, HypothesisResult
from crystallize.statistics.judging import Standards, Test, judge, tests_in_each
from crystallize.statistics.p_values import is_number
from crystallize.statistics.samples import AlignedSamples, in_blocks, replicates_of_some
from crystallize.statistics.verdicts import WORSE, Direction, check_direction
from crystallize.statistics.verifier import Verifier, VerifierFactory, check_verifier
from crystallize.utils.checks import check_size
from crystallize.utils.factories import Factory, portable, restore
from crystallize.utils.signatures import name_of
from crystallize.utils.wording import counted, listed, name_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from crystallize.metrics.condition import ConditionMetrics
    from crystallize.statistics.samples import Compared, Pair
    from crystallize.store.outcome import Outcome

_ALPHA = 0.05
_logger = logging.getLogger("crystallize.hypothesis")


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
        ``ranker(result) -> float`` for one treatment's result; small is good. It decides which treatment is
        best. By default the p-value adjusted for all tests, among the treatments that are better than the
        baseline.
    name : str, optional
        By default the verifier's name.
    direction : {"min", "max"}, optional
        Whether smaller or larger values of the metrics are better. Without it, and without a ranker, no
        treatment is called best, and those that differ from the baseline are larger or smaller.
    smallest_effect : float, optional
        The smallest difference that matters, in the metrics' unit. What is known to be smaller is too small to
        matter; of what is undecided it is said how many replicates more would find it.
    equivalence_margin : float, optional
        Differences below it, in the metrics' unit, count as none. What is known to be smaller is equivalent.
    correction : {"holm", "hochberg", "benjamini-hochberg", "bonferroni", "none"}, optional
        How p-values are corrected for their number, by default as Holm does. All tests of the hypothesis, of all
        treatments and metrics, are one family. A verifier that corrects by itself, as :func:`dunnett_test` does, takes
        no other.

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
        *,
        direction: Direction | None = None,
        smallest_effect: float | None = None,
        equivalence_margin: float | None = None,
        correction: Correction | None = None,
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
        for what, size in (("smallest_effect", smallest_effect), ("equivalence_margin", equivalence_margin)):
            if size is not None:
                check_size(what, size)
        if correction is not None and correction not in CORRECTIONS:
            raise InvalidValueError(
                f"there is no correction {correction!r}",
                hint=name_hint(str(correction), "There are", list(CORRECTIONS)),
            )
        self.verifier = verifier
        if correction is not None and self._is_joint:
            raise InvalidValueError(
                f"{name_of(verifier)} corrects p-values for their number by itself, so there is no {correction!r}",
                hint="Leave out correction, or take a test of one treatment, such as paired_t_test",
            )
        self.groups, self._is_list = _parse_metrics(metrics)
        self._asked = {metric for group in self.groups or () for metric in group}
        self.ranker = ranker
        self.direction = _direction(direction, verifier)
        self.smallest_effect = None if smallest_effect is None else float(smallest_effect)
        self.equivalence_margin = None if equivalence_margin is None else float(equivalence_margin)
        self.correction: Correction = correction or "holm"
        self.name: str = name or name_of(verifier)

    def __repr__(self) -> str:
        groups: Any = self.groups if self._is_list or self.groups is None else self.groups[0]
        given = {name: value for name, value in self.standards.items() if value not in (None, "holm")}
        more = "".join(f", {name}={value!r}" for name, value in given.items())
        return f"Hypothesis({self.name!r}, verifier={self.verifier!r}, metrics={groups!r}{more})"

    @property
    def standards(self) -> dict[str, Any]:
        """What the verdicts are measured by: direction, smallest effect, equivalence margin and correction."""
        return {
            "direction": self.direction,
            "smallest_effect": self.smallest_effect,
            "equivalence_margin": self.equivalence_margin,
            "correction": self.correction,
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"ranker": None if self.ranker is None else portable(self.ranker)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"ranker": None if state["ranker"] is None else restore(state["ranker"])}

    @property
    def alpha(self) -> float:
        """The level of the verdicts: the verifier's setting ``alpha``, 0.05 if it has none."""
        given = self.verifier.settings.get("alpha") if isinstance(self.verifier, Verifier) else None
        return float(given) if is_number(given) and 0 < given < 1 else _ALPHA

    def describe(self) -> dict[str, Any]:
        """Return name, verifier with its settings, metrics and standards: what a run's metadata keeps."""
        described: dict[str, Any] = {
            "name": self.name,
            "verifier": name_of(self.verifier),
            "metrics": self.groups,
            **self.standards,
        }
        if isinstance(self.verifier, Verifier):
            described["settings"] = self.verifier.settings
        return described

    def evaluate(
        self, baseline: ConditionMetrics, treatments: Mapping[str, ConditionMetrics]
    ) -> HypothesisResult:
        """Compare each treatment with the baseline, where all of them recorded what is asked for.

        Parameters
        ----------
        baseline : ConditionMetrics
            What the baseline recorded.
        treatments : mapping of str to ConditionMetrics
            What each treatment recorded.

        Raises
        ------
        MissingMetricError
            As :meth:`check_recorded`.
        """
        self.check_recorded([baseline, *treatments.values()])
        return self.compare(baseline, treatments)

    def check_recorded(self, conditions: Sequence[ConditionMetrics]) -> None:
        """Refuse to compare what was not measured.

        Raises
        ------
        MissingMetricError
            If a condition never recorded a metric that is asked for, and no failed replicate explains that.
        """
        for condition in conditions:
            if not condition.errors and not self._has_recorded(condition):
                self._refuse(f"condition {condition.name!r} never recorded", condition.columns)

    def check_first_replicate(self, outcomes: Sequence[Outcome]) -> None:
        """Refuse to go on for a metric that no condition has recorded in a run's first replicate.

        Raises
        ------
        MissingMetricError
            If an outcome did not fail, and none has a metric that is asked for.
        """
        succeeded = [each for each in outcomes if each.error is None]
        recorded = dict.fromkeys(metric for each in succeeded for metric in each.metrics)
        if succeeded and self._lacking(recorded):
            self._refuse("no condition recorded", recorded, " in the first replicate")

    def compare(
        self, baseline: ConditionMetrics, treatments: Mapping[str, ConditionMetrics]
    ) -> HypothesisResult:
        """Compare each treatment with the baseline, as far as it can be.

        A verifier or ranker that raises, and a metric that a condition lacks, is in the result's `errors` and
        stops nothing else. The parameters are those of :meth:`evaluate`.
        """
        errors: dict[str, str] = {}
        compared = self._comparable(baseline, treatments, errors)
        places = range(len(self.groups) if self.groups else 1) if compared else ()
        samples = [self._aligned(compared.values(), place) for place in places]
        found, tests, wrong = self._test(compared, samples)
        results: dict[str, Any] = dict(zip(compared, found, strict=True))
        for name in filter(wrong.__contains__, compared):
            self._note(errors, name, self._what_is_wrong(wrong[name]))
            del results[name]
        comparisons, correction = judge(tests, Standards(self.alpha, **self.standards))
        if self.ranker is None:
            scores = self._scores_by_p_value(comparisons)
            with_p_value = {each.treatment for each in comparisons}
            for name, result in results.items():
                if name not in with_p_value:
                    reason = f"the verifier's result has no 'p_value' to rank by: {result!r}"
                    self._note(
                        errors,
                        name,
                        f"{reason}. Return a dict with 'p_value', or give the Hypothesis a ranker",
                    )
        else:
            scores = self._scores_by_ranker(self.ranker, results, errors)
        return HypothesisResult(
            self.name,
            results,
            errors,
            scores,
            comparisons,
            self.direction,
            self.alpha,
            self.ranker is not None,
            correction,
            self.smallest_effect,
            self.equivalence_margin,
            _dropped_together(compared) if self._is_joint else _dropped(compared, samples),
        )

    def _comparable(
        self,
        baseline: ConditionMetrics,
        treatments: Mapping[str, ConditionMetrics],
        errors: dict[str, str],
    ) -> dict[str, Compared]:
        """Return what can be compared of each treatment, and note where a metric is missing."""
        is_in_baseline = self._has_recorded(baseline)
        groups = [tuple(group) for group in self.groups or ()]
        compared = {}
        for name, treatment in treatments.items():
            side = baseline.beside(treatment)
            if not (is_in_baseline if side is baseline else self._has_recorded(side)):
                self._note(errors, name, self._why_missing(side))
            elif not self._has_recorded(treatment):
                self._note(errors, name, self._why_missing(treatment))
            elif treatment.dropped_at is not None and self._is_joint:
                had = counted(treatment.dropped_at, "replicate")
                why = f"a stopping rule has dropped it after {had}"
                self._note(
                    errors,
                    name,
                    f"{why}, and {name_of(self.verifier)} compares all treatments on the same ones",
                )
            else:
                compared[name] = side, treatment, groups or [_shared(side, treatment)]
        return compared

    @property
    def _is_joint(self) -> bool:
        """Whether the verifier tests all treatments jointly, and has to be given the same replicates of all."""
        return isinstance(self.verifier, Verifier) and self.verifier.corrects

    def _aligned(self, compared: Collection[Compared], place: int) -> AlignedSamples:
        """Return the samples of the group of metrics at `place`."""
        samples = AlignedSamples(compared, place)
        if self._is_joint and samples.lossy():
            return AlignedSamples(in_blocks(compared, place), place)
        return samples

    def _test(
        self, compared: Mapping[str, Compared], samples: Sequence[AlignedSamples]
    ) -> tuple[Sequence[Any], list[Test], dict[str, BaseException | str]]:
        """Return what the verifier gives of each treatment, the tests in it, and what is wrong with some."""
        found: list[Sequence[Any]] = []
        tests: list[Test] = []
        wrong: dict[str, BaseException | str] = {}
        for place, pairs in enumerate(samples):
            found.append(self._verify(pairs))
            of_group, wrong_in_group = tests_in_each(found[-1], compared, place, pairs)
            tests += of_group
            wrong = wrong_in_group | wrong
        if len(found) > 1 or wrong:
            order = {name: place for place, name in enumerate(compared)}
            tests = [each for each in tests if each.treatment not in wrong]
            tests.sort(key=lambda each: order[each.treatment])
        by_treatment = list(map(list, zip(*found, strict=True))) if self._is_list else [*chain(*found)]
        return by_treatment, tests, wrong

    def _verify(self, samples: Sequence[Pair]) -> Sequence[Any]:
        """Return what the verifier gives or raises for one group of metrics of each treatment."""
        if isinstance(self.verifier, Verifier) and self.verifier.many is not None:
            try:
                return self.verifier.find_all(samples)
            except (Exception, SystemExit) as error:
                return [error] * len(samples)
        found: list[Any] = []
        for pair in samples:
            try:
                found.append(self.verifier(*pair))
            except (Exception, SystemExit) as error:
                found.append(error)
        return found

    def _what_is_wrong(self, found: BaseException | str) -> str:
        """Return what to say of a verifier that raised, or returned what no test gives."""
        if isinstance(found, str):
            return f"verifier {name_of(self.verifier)} {found}"
        return "".join(traceback.format_exception(found))

    def _scores_by_ranker(
        self, ranker: Callable[[Any], float], results: Mapping[str, Any], errors: dict[str, str]
    ) -> dict[str, float]:
        scores: dict[str, float] = {}
        for name, result in results.items():
            try:
                score = ranker(result)
                if not is_number(score):
                    raise InvalidTypeError(f"the ranker returned no number but {score!r}")
                scores[name] = float(score)
            except (Exception, SystemExit):
                self._note(errors, name, f"the ranker raised\n{traceback.format_exc()}")
        return scores

    def _scores_by_p_value(self, comparisons: Sequence[Comparison]) -> dict[str, float]:
        """Return the smallest adjusted p-value of each treatment that may be best, in order of their rank.

        Of equal ones the smaller p-value of the test alone stands first, and then the larger gain; NaN stands last.
        """
        import numpy as np

        if not comparisons:
            return {}
        names, _, differences, p_values, adjusted, verdicts, *_ = zip(*comparisons, strict=True)
        in_direction = {"max": np.positive, "min": np.negative, None: np.abs}[self.direction]
        gains = in_direction(np.array(differences, dtype=float))
        order = np.lexsort((-gains, p_values, adjusted)).tolist()
        if self.direction is not None:
            worse = {name for name, verdict in zip(names, verdicts, strict=True) if verdict == WORSE}
            order = [place for place in order if gains[place] > 0 and names[place] not in worse]
        scores: dict[str, float] = {}
        for place in order:
            scores.setdefault(names[place], adjusted[place])
        return scores

    def _note(self, errors: dict[str, str], treatment: str, reason: str) -> None:
        errors[treatment] = reason
        _logger.warning(
            "hypothesis %r, treatment %r: %s", self.name, treatment, reason.strip().splitlines()[-1]
        )

    def _why_missing(self, condition: ConditionMetrics) -> str:
        """Say why `condition` lacks a metric."""
        lacking = self._lacking(condition.columns)
        why = f"{condition.name!r} has not recorded {lacking}; it recorded {listed(condition.columns)}"
        if condition.errors:
            return f"{why}, and {counted(len(condition.errors), 'replicate')} failed, first {condition.errors[0]}"
        return why

    def _has_recorded(self, condition: ConditionMetrics) -> bool:
        """Tell whether a condition has recorded all that is asked for."""
        return bool(condition.columns) and self._asked <= condition.columns.keys()

    def _lacking(self, recorded: Collection[str]) -> str:
        """Return what is asked for and is not among the metrics that were recorded; empty if nothing lacks."""
        for metric in chain(*self.groups or ()):
            if metric not in recorded:
                return f"metric {metric!r}"
        return "" if recorded else "any metric"

    def _refuse(self, what: str, recorded: Iterable[str], when: str = "") -> NoReturn:
        names = list(recorded)
        lacking = self._lacking(names)
        raise MissingMetricError(
            f"{what} {lacking}{when}",
            f"hypothesis {self.name!r}",
            name_hint(lacking.removeprefix("metric "), "It recorded", names),
        )


def _direction(given: Direction | None, verifier: object) -> Direction | None:
    """Return the direction of a hypothesis, or else of its verifier, if that has one."""
    if given is not None:
        check_direction(given)
    of_verifier = verifier.settings.get("direction") if isinstance(verifier, Verifier) else None
    if of_verifier not in ("min", "max"):
        return given
    if given not in (None, of_verifier):
        raise InvalidValueError(
            f"the hypothesis has the direction {given!r}, and its verifier {of_verifier!r}",
            hint="Say it once, to the verifier",
        )
    return cast("Direction", of_verifier)


class HypothesisFactory(Factory[Hypothesis]):
    """What :func:`hypothesis` makes of a ranker: call it, without arguments, for the :class:`Hypothesis`."""

    decorator = "@hypothesis"
    product = "hypothesis"
    by_hand = ".ranker(result), with what the verifier returns"
    verifier: Callable[..., Any]
    metrics: str | Sequence[str] | Sequence[Sequence[str]] | None
    name: str
    standards: dict[str, Any]

    def make(self, fn: Callable[..., Any], arguments: dict[str, Any]) -> Hypothesis:
        """Return the hypothesis."""
        if arguments:
            raise InvalidTypeError(
                f"hypothesis {self.name} is called without arguments, got {listed(arguments)}"
            )
        return Hypothesis(self.verifier, self.metrics, fn, self.name, **self.standards)


def hypothesis(
    *,
    verifier: Callable[..., Any],
    metrics: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
    name: str | None = None,
    direction: Direction | None = None,
    smallest_effect: float | None = None,
    equivalence_margin: float | None = None,
    correction: Correction | None = None,
) -> Callable[[Callable[[Any], float]], HypothesisFactory]:
    """Turn a ranker into a factory of hypotheses.

    Parameters
    ----------
    verifier, metrics, direction, smallest_effect, equivalence_margin, correction
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
    standards = {
        "direction": direction,
        "smallest_effect": smallest_effect,
        "equivalence_margin": equivalence_margin,
        "correction": correction,
    }

    def decorate(ranker: Callable[[Any], float]) -> HypothesisFactory:
        factory = HypothesisFactory(
            ranker, verifier=verifier, metrics=metrics, name=name or name_of(ranker), standards=standards
        )
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


def _dropped(
    compared: Mapping[str, Compared], samples: Sequence[AlignedSamples]
) -> dict[str, dict[str, int]]:
    """Count the replicates that are no complete pair of a treatment, of those that lack some."""
    names = list(compared)
    lossy = {name for name, (side, own, _) in compared.items() if side.errors or own.errors}
    lossy |= {names[place] for pairs in samples for place in pairs.lossy()}
    counts = {
        name: _count_dropped(pair, chain(*groups))
        for name, (*pair, groups) in compared.items()
        if name in lossy
    }
    return {name: reasons for name, reasons in counts.items() if reasons}


def _dropped_together(compared: Mapping[str, Compared]) -> dict[str, dict[str, int]]:
    """Count for each treatment the replicates that are not complete under all conditions."""
    conditions = list(dict.fromkeys(each for *pair, _ in compared.values() for each in pair))
    metrics = list(dict.fromkeys(metric for *_, groups in compared.values() for metric in chain(*groups)))
    reasons = _count_dropped(conditions, metrics)
    return {name: dict(reasons) for name in compared} if reasons else {}


def _count_dropped(conditions: Sequence[ConditionMetrics], metrics: Iterable[str]) -> dict[str, int]:
    """Count the replicates that are not complete under these conditions, by what is the matter with them."""
    of_metrics = [[each.columns[name] for each in conditions if name in each.columns] for name in metrics]
    with_nan = {replicate for column in chain(*of_metrics) for replicate in column.replicates_with_nan()}
    of_some = {replicate for columns in of_metrics for replicate in replicates_of_some(*columns)}
    return count_dropped(conditions, with_nan, of_some)


def _shared(baseline: ConditionMetrics, treatment: ConditionMetrics) -> tuple[str, ...]:
    return tuple(metric for metric in baseline.columns if metric in treatment.columns)


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
