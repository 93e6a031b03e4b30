"""What a hypothesis found: its comparisons, its verdicts, and the ranking of the treatments."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any, NamedTuple

from crystallize.errors import RunFailedError, UnknownNameError
from crystallize.metrics.condition import NAN, NOT_BOTH
from crystallize.statistics.adjustment import TITLES
from crystallize.statistics.p_values import find_tests, rounded, smaller
from crystallize.statistics.verdicts import (
    BETTER,
    DIFFERENT,
    EQUIVALENT,
    LARGER,
    SMALLER,
    TOO_SMALL,
    WHY_WITHHELD,
    WITHHELD,
    WORSE,
    Direction,
)
from crystallize.utils.number_text import align_points, choose_decimals, decimals_of_each, format_number
from crystallize.utils.text_table import WIDTH, TextTable, wrapped
from crystallize.utils.wording import counted, did_you_mean, first_of, listed

_MOST_EXPLAINED = 3
_MOST_SHOWN = 10

_OF_TESTS = frozenset(
    (
        *("p_value", "p", "adjusted_p_value", "significant", "difference", "statistic"),
        *("degrees_of_freedom", "standard_error", "interval", "n", "claim", "least_p_value"),
    )
)


class Comparison(NamedTuple):
    """One test of one treatment against the baseline.

    Attributes
    ----------
    treatment, metric : str
        What was compared; several metrics that were tested together stand in one text.
    difference : float or None
        Treatment minus baseline; None if it is not known.
    p_value : float
        Of this test alone.
    adjusted_p_value : float
        Corrected for all tests of the hypothesis; see :attr:`HypothesisResult.adjusted_p_values`.
    verdict : str
        ``"better"`` or ``"worse"`` if the hypothesis says in which direction better lies, else ``"larger"`` or
        ``"smaller"``; ``"different"`` if the sign is not known; ``"equivalent"`` and ``"too small to matter"`` if the
        difference is known to be within the hypothesis's equivalence margin or smallest effect; the claim of a test
        that makes one; ``"withheld"`` if more replicates were lost under one condition than under the other; else
        ``"undecided"``.
    paired : bool
        Whether the test was of differences within replicates.
    more : int or None
        Of an undecided one: about how many replicates more would find the smallest effect, in 80 % of cases.
    visible : float or None
        Of an undecided one: the smallest difference, in the metric's unit, that so many replicates find in 80 % of
        cases. Infinite if the test's p-value cannot be small enough, whatever they measure. Both are None if the test
        does not tell its standard error.
    """

    treatment: str
    metric: str
    difference: float | None
    p_value: float
    adjusted_p_value: float
    verdict: str
    paired: bool = True
    more: int | None = None
    visible: float | None = None


@dataclass(frozen=True, repr=False)
class HypothesisResult:
    """What a hypothesis found; ``print(found)`` shows its comparisons as a table.

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
        What the ranker gave each treatment. Small is good. Without a ranker, the smallest adjusted p-value: of
        the treatments that are better than the baseline, if the hypothesis has a direction, else of all.
    comparisons : sequence of Comparison
        All tests that gave a p-value, with their verdicts.
    direction : {"min", "max"} or None
        Where better lies.
    alpha : float
        The level of the verdicts: the verifier's ``alpha``, 0.05 if it has none.
    has_ranker : bool
        Whether the hypothesis was given a ranker.
    correction : str
        How p-values are corrected for the number of tests: a name of
        :data:`~crystallize.statistics.adjustment.CORRECTIONS`, or ``"own"`` if the verifier does it.
    smallest_effect, equivalence_margin : float or None
        What the hypothesis says is the smallest difference that matters, and within what differences count as none.
    dropped : dict of str to dict of str to int
        For each treatment that lacks pairs with the baseline: how many replicates were left out, by the reason:
        ``"failed"``, ``"timeout"``, ``"worker-lost"``, ``"NaN"`` or ``"not recorded by both"``.
    ranking : dict
        ``"ranked"``: the names of all treatments with a score, the best first, NaN last. Without a ranker, those that
        are known to be better stand before the others. Equal ones stand in the order of the treatments; without a
        ranker, the smaller p-value and then the larger difference comes first, also among those of NaN.
        ``"best"``: the first of them. It is None if no score is a number; without a ranker also if there is no
        direction, or none is known to be better.
    """

    name: str
    results: dict[str, Any]
    errors: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()
    direction: Direction | None = None
    alpha: float = 0.05
    has_ranker: bool = False
    correction: str = "holm"
    smallest_effect: float | None = None
    equivalence_margin: float | None = None
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def ranking(self) -> dict[str, Any]:
        """The treatments in order; see the class."""
        scores = self.scores
        known = set() if self.has_ranker else self._better()
        ranked = sorted(scores, key=lambda name: (math.isnan(scores[name]), name not in known, scores[name]))
        best = ranked[0] if ranked and not math.isnan(scores[ranked[0]]) else None
        return {"best": best if self.has_ranker or best in known else None, "ranked": ranked}

    def is_better(self, treatment: str) -> bool:
        """Tell whether `treatment` is better than the baseline in one comparison at least, and worse in none."""
        return treatment in self._better()

    def _better(self) -> set[str]:
        """Return the treatments of which :meth:`is_better` holds."""
        better, worse = (
            {each.treatment for each in self.comparisons if each.verdict == verdict}
            for verdict in (BETTER, WORSE)
        )
        return better - worse

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

        By the hypothesis's `correction`; without another one, by the step-down method of Holm, S. (1979), "A simple
        sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 65-70. If the treatments
        with a value of at most alpha are said to differ from the baseline, the probability of even one false claim is
        at most alpha, however the tests depend on each other. ``p_value`` itself bounds it only for one comparison
        chosen beforehand.

        All p-values of all treatments are one family. A treatment with several (from several metrics) gets
        the smallest of its corrected ones. Tests that gave NaN are not counted; results without a p-value are
        left out.
        """
        adjusted: dict[str, float] = {}
        for each in self.comparisons:
            value = each.adjusted_p_value
            adjusted[each.treatment] = smaller(adjusted.get(each.treatment, value), value)
        return adjusted

    @property
    def metrics(self) -> tuple[str, ...]:
        """What was tested, in the order of the comparisons."""
        return tuple(dict.fromkeys(each.metric for each in self.comparisons))

    @property
    def is_of_differences(self) -> bool:
        """Whether a small p-value says that there is a difference, and not another claim, such as equivalence."""
        return not any(
            test.get("claim") for result in self.results.values() for _, test, _ in find_tests(result)
        )

    def has_metric(self, metric: str) -> bool:
        """Tell whether there is a test of `metric` alone."""
        return any(each.metric == metric for each in self.comparisons)

    # -- handing on ----------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts and lists, for JSON."""
        return {
            "name": self.name,
            "results": self.results,
            "comparisons": [each._asdict() for each in self.comparisons],
            "adjusted_p_values": self.adjusted_p_values,
            "ranking": self.ranking,
            "scores": self.scores,
            "errors": self.errors,
            "direction": self.direction,
            "alpha": self.alpha,
            "has_ranker": self.has_ranker,
            "correction": self.correction,
            "smallest_effect": self.smallest_effect,
            "equivalence_margin": self.equivalence_margin,
            "dropped": self.dropped,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> HypothesisResult:
        """Return what :meth:`to_dict` was called on.

        Raises
        ------
        KeyError, TypeError
            If something is missing.
        """
        given = {each.name: stored[each.name] for each in fields(cls)}
        return cls(**given | {"comparisons": tuple(Comparison(**each) for each in given["comparisons"])})

    # -- showing -------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def lines(self, width: int = WIDTH, *, cluster: str | None = None) -> list[str]:
        """Return the lines of a text of at most `width` columns, below a table that counts the clusters of a tag."""
        table = self._table().lines(width) if self.comparisons else []
        return [*wrapped([self._title()], width), *table, *wrapped(self._notes(cluster), width)]

    def _repr_html_(self, cluster: str | None = None) -> str:
        table = self._table().html() if self.comparisons else ""
        notes = "<br>".join(map(html.escape, self._notes(cluster)))
        return f"<p>{html.escape(self._title())}</p>{table}<p>{notes}</p>"

    def _title(self) -> str:
        wanted = {None: "", "min": ", smaller is better", "max": ", larger is better"}[self.direction]
        return f"hypothesis {self.name!r}{wanted}"

    def _table(self) -> TextTable:
        differences: list[str] = []
        shown = list(self._shown())
        for _, comparisons in groupby(shown, lambda each: each.metric):
            values = [each.difference for each in comparisons]
            decimals = decimals_of_each([None] * len(values), values)
            differences += [
                format_number(value, own, sign="+") for value, own in zip(values, decimals, strict=True)
            ]
        rows = [
            (
                each.metric,
                each.treatment,
                difference,
                rounded(each.p_value, self.alpha),
                rounded(each.adjusted_p_value, self.alpha),
                each.verdict,
            )
            for each, difference in zip(shown, align_points(differences), strict=True)
        ]
        return TextTable(("metric", "condition", "difference", "p", "adjusted p", "verdict"), rows)

    def _shown(self) -> Iterator[Comparison]:
        """Yield the comparisons of each metric: all, or of very many the best."""
        by_metric: dict[str, list[Comparison]] = {}
        for each in self.comparisons:
            by_metric.setdefault(each.metric, []).append(each)
        places = {name: place for place, name in enumerate(self.ranking["ranked"])}
        for comparisons in by_metric.values():
            if len(comparisons) > _MOST_SHOWN:
                comparisons.sort(key=lambda each: places.get(each.treatment, len(places)))
            yield from comparisons[:_MOST_SHOWN]

    def _notes(self, cluster: str | None = None) -> Iterator[str]:
        tested = {each.treatment for each in self.comparisons}
        for treatment, found in self.results.items():
            more = _others(found) or ("" if treatment in tested else repr(found))
            if more:
                yield f"{treatment}: {more}"
        compared = "replicates that all conditions have" if self.correction == "own" else "complete pairs"
        alike: dict[tuple[str, str], list[str]] = {}
        for treatment, reasons in self.dropped.items():
            left_out = counted(sum(reasons.values()), "replicate")
            why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            alike.setdefault((left_out, why), []).append(treatment)
        for (left_out, why), treatments in alike.items():
            each = " each" if len(treatments) > 1 else ""
            yield f"{first_of(treatments)}: {left_out}{each} dropped, for only {compared} are compared: {why}."
        yield from self._left_out()
        if self.comparisons:
            yield self._rule()
            yield from self._undecided()
        withheld = {each.treatment for each in self.comparisons if each.verdict == WITHHELD}
        if withheld:
            causes = {reason for treatment in withheld for reason in self.dropped.get(treatment, ())}
            # What has not failed, and has recorded no number, would not be run again.
            yield WHY_WITHHELD + (" Resume the run to try them again." if causes - {NAN, NOT_BOTH} else "")
        if cluster is None:
            yield from self._conclusion()
        else:
            where = "Those that do are in summary(detail=True); on the command line, --detail."
            yield (
                f"These p-values and verdicts take each replicate as one, and do not count clusters of {cluster!r}."
                + (f" {where}" if self.is_of_differences else "")
            )
        for treatment, reason in self.errors.items():
            what = "not ranked" if treatment in self.results else "not compared"
            yield f"{treatment} was {what}: {reason.strip().splitlines()[-1]}"

    def _left_out(self) -> Iterator[str]:
        """Count the verdicts that the table has no line of."""
        shown = set(self._shown())
        rest = Counter(each.verdict for each in self.comparisons if each not in shown)
        if rest:
            verdicts = ", ".join(f"{count} {word}" for word, count in rest.items())
            yield f"{counted(rest.total(), 'more comparison')}: {verdicts}."

    def _rule(self) -> str:
        """Name the family of tests, and what is done for their number."""
        tests = sum(not math.isnan(each.p_value) for each in self.comparisons)
        if not tests:
            return "no p-value is known: there are too few pairs, or a number is not finite."
        if tests == 1:
            which = "of this one test"
        elif self.correction == "none":
            which = f"of each of {tests} tests alone"
        else:
            which = f"adjusted for all {tests} tests ({TITLES[self.correction]})"
        return f"verdict: of the p-value {which}, at {self.alpha:g}."

    def _undecided(self) -> Iterator[str]:
        """Say of undecided comparisons what the run can see, and how many replicates would see the smallest effect."""
        undecided = [each for each in self._shown() if each.visible is not None]
        for each in undecided[:_MOST_EXPLAINED]:
            yield f"{each.treatment} on {each.metric}: {self.outlook(each)}."
        if len(undecided) > _MOST_EXPLAINED:
            more = len(undecided) - _MOST_EXPLAINED
            are = "is" if more == 1 else "are"
            yield f"{more} more {are} undecided: summary(detail=True), or --detail, says what is needed."

    def outlook(self, undecided: Comparison) -> str:
        """Return what a run of this size finds, and how many replicates more would find the smallest effect."""
        if undecided.visible is None:
            return ""
        if math.isinf(undecided.visible):
            return (
                "this test cannot find a difference here, however large: its p-value cannot get small enough"
            )
        seen = format_number(undecided.visible, choose_decimals((), [undecided.visible]))
        found = f"4 of 5 such runs find a difference of {seen}"
        if undecided.more is None:
            return found
        more = counted(undecided.more, "more replicate")
        return f"about {more} needed to find {self.smallest_effect:g}; {found}"

    def _conclusion(self) -> Iterator[str]:
        best = self.ranking["best"]
        if best is not None:
            yield f"best is {best!r}" + (", by its ranker." if self.has_ranker else ".")
        elif self.has_ranker:
            yield "The ranker gave no treatment a number, so none is called best."
        elif not self.is_of_differences:
            return  # who is better, or differs, it has not tested
        elif self.direction is not None:
            mixed = list(self._mixed())
            yield from mixed[:_MOST_EXPLAINED]
            if not mixed:
                yield f"No treatment is known to be better than the baseline{self._by_enough()}."
        elif self.comparisons:
            signs = {LARGER: "+", SMALLER: "-", DIFFERENT: "?"}
            found = [
                f"{each.treatment!r} ({signs[each.verdict]})"
                for each in self.comparisons
                if each.verdict in signs
            ]
            if found:
                yield f"differ from the baseline: {', '.join(dict.fromkeys(found))}."
            else:
                yield f"No treatment is known to differ from the baseline{self._by_enough()}."

    def _by_enough(self) -> str:
        """Return what to add where a difference that is known to be small may be known to be there, too."""
        small = any(each.verdict in (EQUIVALENT, TOO_SMALL) for each in self.comparisons)
        return " by enough to matter" if small else ""

    def _mixed(self) -> Iterator[str]:
        """Say of each treatment that is better in one metric and worse in another that it is not called best."""
        by_treatment: dict[str, dict[str, list[str]]] = {}
        for each in self.comparisons:
            by_treatment.setdefault(each.treatment, {}).setdefault(each.verdict, []).append(each.metric)
        for treatment, metrics in by_treatment.items():
            if BETTER in metrics and WORSE in metrics:
                better, worse = (", ".join(metrics[verdict]) for verdict in (BETTER, WORSE))
                yield f"{treatment!r} is better on {better} and worse on {worse}, so it is not called best."


def _others(found: Any) -> str:
    """Return what a verifier gave that the table does not show, in a line."""
    if not isinstance(found, Mapping):
        return ""
    return ", ".join(
        f"{key} = {value:.3g}" if isinstance(value, float) else f"{key} = {value}"
        for key, value in found.items()
        if key not in _OF_TESTS and isinstance(value, int | float | str)
    )
