"""How many replicates an experiment needs, planned from a pilot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingMetricError,
    StoreError,
    UnknownNameError,
)
from crystallize.results.pairs import find_pairs
from crystallize.statistics.p_values import find_tests
from crystallize.statistics.power import (
    largest_sd,
    smallest_effect,
    t_test_power,
    whole_replicates_needed,
)
from crystallize.statistics.verdicts import EQUIVALENT, NOT_WORSE
from crystallize.store.journal_reader import JournalReader, StoredOutcomes
from crystallize.store.layout import JOURNAL
from crystallize.utils.checks import check_share, check_size
from crystallize.utils.number_text import choose_decimals, format_number
from crystallize.utils.text_table import WIDTH, wrapped
from crystallize.utils.wording import first_of, listed, name_hint

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.results.pairs import Pairs
    from crystallize.results.result import Result
    from crystallize.statistics.hypothesis_result import HypothesisResult

_ALPHA = 0.05
_FOR_A_CURVE = (0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class _Aim:
    """What is planned for, as :class:`Plan` says it."""

    metric: str
    effect: float
    power: float
    assurance: float
    alpha: float
    comparisons: int
    tests: int
    paired: bool = True
    fewest: int = 2
    hypothesis: str | None = None
    claim: str = ""

    @property
    def _alpha(self) -> float:
        return self.alpha / self.tests

    def _needed(self, effect: float, *, paired: bool) -> int | None:
        """Return how many replicates find an effect, in standard deviations; None if there are not enough at all."""
        found = whole_replicates_needed(
            effect, power=self.power, alpha=self._alpha, paired=paired, claim=self.claim
        )
        return None if found is None else max(found, self.fewest)


@dataclass(frozen=True, repr=False, kw_only=True)
class Plan(_Aim):
    """How many replicates find an effect; ``print(plan)`` says it.

    Attributes
    ----------
    experiment, metric, treatment : str
        What was planned: of several treatments, the one that needs most.
    effect : float
        The difference to be found, in the metric's unit; or the margin, if the test is against one.
    power : float
        The chance that a run finds it.
    assurance : float
        The share of pilots whose plan has this power.
    alpha : float
        The level of the tests, for all of them together.
    comparisons : int
        How many treatments were planned for.
    tests : int
        How many tests share `alpha`: all of the hypothesis, of each treatment and metric; without one, one of each
        treatment that was planned for.
    paired : bool
        Whether the hypothesis compares within replicates, and not independent samples.
    fewest : int
        The fewest replicates with which the hypothesis's test finds anything: more than two if it counts exchanges.
    pilot : int
        How many pairs the pilot had.
    sd, sd_limit : float
        The standard deviation in the pilot, of the differences, or, unpaired, of one condition; and the limit that the
        true one does not exceed at this assurance, which the plan is made with.
    pairs : int
        How many replicates are needed, each of which runs all conditions.
    unpaired : int or None
        How many replicates of each condition would be needed if they had no random numbers in common. None if there
        are not enough in the world.
    unpaired_sd_limit : float
        The limit of the standard deviation of one condition.
    seconds_per_replicate : float or None
        How long a replicate of all conditions took in the pilot; None if that is not stored.
    left_out : tuple of str
        The treatments whose differences never varied in the pilot, such as a cell of a grid that is the baseline again.
    hypothesis : str or None
        The hypothesis whose tests were planned for: the first on the metric; None if there is none.
    claim : str
        What its tests say, if that is no difference: ``"equivalent"`` or ``"not worse"``. The power is then that for
        conditions that do not differ.
    notes : tuple of str
        What else to know: of other hypotheses on the metric, and what makes the pilot's spread less reliable.
    """

    experiment: str
    treatment: str
    pilot: int
    sd: float
    sd_limit: float
    pairs: int
    unpaired: int | None
    unpaired_sd_limit: float
    seconds_per_replicate: float | None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """How long the run takes, on one worker; None if that is not known."""
        return None if self.seconds_per_replicate is None else self.pairs * self.seconds_per_replicate

    def smallest_effect(self, pairs: int | None = None) -> float:
        """Return the smallest difference, in the metric's unit, that so many pairs find; by default the pilot's."""
        n = self.pilot if pairs is None else pairs
        if n < self.fewest:
            return math.inf
        found = smallest_effect(n, power=self.power, alpha=self._alpha, paired=self.paired, claim=self.claim)
        return found * self.sd_limit

    def power_of(self, pairs: int) -> float:
        """Return the chance that so many pairs find the effect."""
        if pairs < self.fewest:
            return 0.0
        effect = self.effect / self.sd_limit
        return t_test_power(effect, pairs, alpha=self._alpha, paired=self.paired, claim=self.claim)

    def curve(self, effects: Sequence[float] | None = None) -> list[tuple[float, int | None]]:
        """Return how many pairs each of several effects needs; by default from half the effect to twice."""
        wanted = [share * self.effect for share in _FOR_A_CURVE] if effects is None else effects
        return [(each, self._needed(each / self.sd_limit, paired=self.paired)) for each in wanted]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, and the curve, as plain dicts and lists."""
        return asdict(self) | {
            "seconds": self.seconds,
            "smallest_effect": self.smallest_effect(),
            "curve": [list(point) for point in self.curve()],
        }

    def lines(self, width: int = WIDTH) -> list[str]:
        """Return the lines of a text of at most `width` columns."""
        return wrapped(self._sentences(), width)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def _sentences(self) -> Sequence[str]:
        cost = "" if self.seconds is None else f", in {_duration(self.seconds)} of work"
        most = "" if self.comparisons == 1 else f"{self.treatment!r} needs most. "
        smallest = self.smallest_effect()
        seen = format_number(smallest, choose_decimals((), [smallest])) if smallest < math.inf else "nothing"
        unpaired = "more than anybody has" if self.unpaired is None else f"{self.unpaired} of each condition"
        without = f"Without pairs: {unpaired}" if self.paired else "The hypothesis compares without pairs"
        found, enough = f"a difference of {self.effect:g} in {self.metric}", "find"
        if self.claim:
            by = "within" if self.claim == EQUIVALENT else "by"
            found = f"{self.metric} {self.claim} {by} {self.effect:g}, if the conditions do not differ"
            enough = "are enough for a margin of"
        sentences = [
            f"{self.pairs} replicates find {found} ({100 * self.power:g} % power){cost}.",
            f"{most}The pilot's {self.pilot} {enough} {seen}. {without}.",
            *self.notes,
        ]
        if self.left_out:
            sentences.append(
                f"Left out, for their differences never vary: {first_of(list(map(repr, self.left_out)))}."
            )
        return sentences


class _Need(NamedTuple):
    """What one treatment needs; the names are those of :class:`Plan`."""

    treatment: str
    pilot: int
    sd: float
    sd_limit: float
    pairs: int
    unpaired: int | None
    unpaired_sd_limit: float


def power(
    pilot: Result,
    *,
    effect: float,
    metric: str | None = None,
    treatment: str | None = None,
    power: float = 0.8,
    assurance: float = 0.8,
    alpha: float | None = None,
) -> Plan:
    """Plan how many replicates an experiment needs, from a few that have run.

    The spread of a pilot of ten is known badly, and a plan that takes it as it is has the power that it promises in
    less than half of all cases. So this one takes the upper limit that the true spread does not exceed in a share
    `assurance` of pilots. The differences, which a pilot shows larger or smaller than they are, play no part. The power
    is that of a two-sided t test, of pairs or not as the first hypothesis on the metric compares. If that tests against
    a margin, the power is that of its one-sided tests, for conditions that do not differ.

    Parameters
    ----------
    pilot : Result
        The result of a run: ten replicates are a good number, two the least.
    effect : float
        The smallest difference that matters, in the metric's unit; of a test against a margin, the margin.
    metric : str, optional
        Which metric; not needed if there is one only, or one that hypotheses ask for.
    treatment : str, optional
        Which treatment is compared with the baseline; by default all are, and the one that needs most counts.
    power : float, default 0.8
        The chance that the run finds such a difference.
    assurance : float, default 0.8
        The share of pilots whose plan really has this power.
    alpha : float, optional
        The level of the tests, two-sided, for all of them together. By default that of the hypothesis on this metric;
        0.05 without one.

    Raises
    ------
    MissingMetricError, UnknownNameError
        If there is no such metric or treatment.
    InvalidTypeError
        If the pilot is no result.
    InvalidValueError
        If the pilot has less than two pairs, or its differences do not vary.

    References
    ----------
    Browne, R. H. (1995), "On the use of a pilot sample for sample size determination", Statistics in Medicine 14,
    1933-1940.

    Examples
    --------
    >>> from crystallize import Experiment, Treatment, power
    >>> def measure(data, *, shift=0.0):
    ...     return data, {"loss": data + shift * (1 + data % 3)}
    >>> shifted = Treatment("shifted", {"shift": 1.0})
    >>> experiment = Experiment(lambda ctx: ctx["replicate"] % 7, [measure], treatments=[shifted])
    >>> power(experiment.run(replicates=10), effect=0.5).pairs
    43
    """
    from crystallize.results.result import Result

    if not isinstance(pilot, Result):
        raise InvalidTypeError(
            f"power takes the result of a pilot, got {pilot!r:.60}",
            hint="Run the experiment a few times, or read a stored run with load_result or open_run",
        )
    check_size("effect", effect)
    for setting, value in (("power", power), ("assurance", assurance), ("alpha", alpha)):
        if value is not None:
            check_share(setting, value)
    name, chosen = _metric(pilot, metric), _treatments(pilot, treatment)
    on_metric = [found for found in pilot.metrics.hypotheses if found.has_metric(name)]
    asked = on_metric[0] if on_metric else None
    aim = _Aim(
        metric=name,
        effect=float(effect),
        power=power,
        assurance=assurance,
        alpha=_ALPHA if alpha is None else alpha,
        comparisons=len(chosen),
        tests=len(chosen),
    )
    if asked is not None:
        aim = _aim_of_tests(asked, aim, treatments=len(pilot.metrics.treatments), alpha=alpha)
    found = {
        each: find_pairs(name, pilot.metrics.baseline, pilot.metrics.treatments[each]) for each in chosen
    }
    left_out = _never_varying(found, paired=aim.paired)
    needs = [
        _need(aim, each, pairs, f"experiment {pilot.experiment!r}, treatment {each!r}")
        for each, pairs in found.items()
        if each not in left_out
    ]
    notes = list(_doubts(pilot))
    if asked is not None and len(on_metric) > 1:
        notes.insert(
            0, f"The plan is for hypothesis {asked.name!r}, the first of {len(on_metric)} on {name}."
        )
    return Plan(
        experiment=pilot.experiment,
        seconds_per_replicate=seconds_per_replicate(pilot.path),
        left_out=left_out,
        notes=tuple(notes),
        **vars(aim),
        **max(needs, key=lambda need: need.pairs)._asdict(),
    )


def seconds_per_replicate(run: Path | None) -> float | None:
    """Return how long a replicate of all conditions took in a stored run; None if that is not known."""
    if run is None:
        return None
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    try:
        for _, outcomes in StoredOutcomes(JournalReader(run / JOURNAL)):
            for outcome in outcomes:
                seconds[outcome.condition] = seconds.get(outcome.condition, 0.0) + outcome.seconds
                counts[outcome.condition] = counts.get(outcome.condition, 0) + 1
    except (OSError, StoreError):
        return None
    return sum(seconds[name] / counts[name] for name in seconds) if seconds else None


def _metric(pilot: Result, asked: str | None) -> str:
    """Return the metric to plan for: the one that is asked for, that hypotheses ask for, or the only one."""
    baseline = pilot.metrics.baseline
    numeric = [name for name, column in baseline.columns.items() if column.is_numeric]
    if asked is not None:
        if asked not in numeric:
            raise MissingMetricError(
                f"the pilot has no numbers of metric {asked!r}",
                f"experiment {pilot.experiment!r}",
                name_hint(asked, "It has those of", numeric),
            )
        return asked
    tested = {each.metric for found in pilot.metrics.hypotheses for each in found.comparisons}
    choice = [name for name in numeric if name in tested] or numeric
    if len(choice) != 1:
        raise MissingMetricError(
            "the plan is for one metric" if choice else "the pilot has recorded no numbers",
            f"experiment {pilot.experiment!r}",
            f"Name one of {listed(choice)}" if choice else "",
        )
    return choice[0]


def _treatments(pilot: Result, asked: str | None) -> list[str]:
    known = list(pilot.metrics.treatments)
    if not known:
        raise InvalidValueError(
            "the pilot has no treatment to compare with the baseline",
            f"experiment {pilot.experiment!r}",
            "Give the experiment one",
        )
    if asked is not None and asked not in known:
        raise UnknownNameError(
            f"the pilot has no treatment {asked!r}",
            f"experiment {pilot.experiment!r}",
            name_hint(asked, "It has", known),
        )
    return known if asked is None else [asked]


def _aim_of_tests(asked: HypothesisResult, aim: _Aim, *, treatments: int, alpha: float | None) -> _Aim:
    """Return the aim of a run that is tested as the pilot was, at its level or at `alpha`."""
    alpha = asked.alpha if alpha is None else alpha
    tests = 1 if asked.correction == "none" else treatments * len(asked.metrics)
    return replace(
        aim,
        alpha=alpha,
        tests=tests,
        paired=all(each.paired for each in asked.comparisons if each.metric == aim.metric),
        fewest=_fewest(alpha / tests) if _counts_exchanges(asked) else 2,
        hypothesis=asked.name,
        claim=_claim(asked),
    )


def _claim(asked: HypothesisResult) -> str:
    """Return what the tests of a hypothesis say, if they are against a margin."""
    claims = {test.get("claim") for found in asked.results.values() for _, test, _ in find_tests(found)}
    return next((claim for claim in (EQUIVALENT, NOT_WORSE) if claim in claims), "")


def _doubts(pilot: Result) -> Iterator[str]:
    """Say what makes the spread of a pilot less reliable."""
    has_ended = pilot.stopping is not None and (pilot.stopping.is_decided or pilot.stopping.dropped)
    stopped = [pilot.experiment] if has_ended else []
    if stopped := stopped + pilot.stopped_inputs:
        yield (
            f"A stopping rule of {listed(stopped)} has said how many replicates the pilot has: it may have stopped "
            "where the spread looked small, and the plan then has too few."
        )
    for producer, count in pilot.shared_inputs.items():
        if count < pilot.arrived:
            yield (
                f"The pilot's replicates are not independent: they share those of {producer!r}, which has {count}. "
                "So the plan has too few, and needs as many of that experiment too."
            )


def _counts_exchanges(asked: HypothesisResult) -> bool:
    """Tell whether the test of a hypothesis, such as the sign-flip test, has a smallest p-value."""
    return any(
        test.get("least_p_value") for found in asked.results.values() for _, test, _ in find_tests(found)
    )


def _fewest(level: float) -> int:
    """Return how many pairs have so many exchanges, each with its opposite, that one has a share of `level`."""
    return max(2, 1 + math.ceil(-math.log2(level)))


def _sd(pairs: Pairs, *, paired: bool) -> float:
    """Return the standard deviation of the differences, or, unpaired, of one condition."""
    baseline, treatment, differences = (each.sd for each in pairs.sides)
    return float(differences if paired else math.hypot(baseline, treatment) / math.sqrt(2))


def _never_varying(found: dict[str, Pairs | None], *, paired: bool) -> tuple[str, ...]:
    """Return the treatments that cannot be planned for, unless that is all of them, which is an error."""
    names = [
        name
        for name, pairs in found.items()
        if pairs is not None and len(pairs.differences) >= 2 and _sd(pairs, paired=paired) == 0
    ]
    return () if len(names) == len(found) else tuple(names)


def _need(aim: _Aim, treatment: str, pairs: Pairs | None, place: str) -> _Need:
    n = 0 if pairs is None else len(pairs.differences)
    if pairs is None or n < 2:
        raise InvalidValueError(
            f"the pilot has {n} complete pair{'' if n == 1 else 's'} of metric {aim.metric!r}, and needs two at least",
            place,
            "Run a pilot of ten replicates",
        )
    sd, pooled = _sd(pairs, paired=aim.paired), _sd(pairs, paired=False)
    if not sd > 0:
        raise InvalidValueError(
            f"the {'differences' if aim.paired else 'values'} of metric {aim.metric!r} are "
            f"{'all equal' if sd == 0 else 'not all finite'} in the pilot, so nothing can be planned",
            place,
            "If they never vary, one replicate says all; else run a larger pilot" if sd == 0 else "",
        )
    unpaired_limit = largest_sd(pooled, 2 * (n - 1), aim.assurance)
    limit = largest_sd(sd, n - 1, aim.assurance) if aim.paired else unpaired_limit
    needed = aim._needed(aim.effect / limit, paired=aim.paired)
    if needed is None:
        raise InvalidValueError(
            f"no number of replicates finds a difference of {aim.effect:g} in {aim.metric!r}, which varies by "
            f"{limit:.3g}",
            place,
            "Ask for a larger effect",
        )
    unpaired = aim._needed(aim.effect / unpaired_limit, paired=False) if pooled > 0 else None
    return _Need(treatment, n, sd, limit, needed, unpaired, unpaired_limit)


def _duration(seconds: float) -> str:
    """Return a time with its unit: ``12 min``."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"
