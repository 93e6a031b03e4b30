"""What all stopping rules have in common, and rules that are made of others."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, TypeAlias

from crystallize.errors import InvalidTypeError, InvalidValueError, MissingMetricError, ValidationError
from crystallize.statistics.moments import mean_of
from crystallize.statistics.stopping.report import Finding, Look, RuleReport, Stopping, ends
from crystallize.statistics.stopping.running import Losses, RunningMoments
from crystallize.statistics.verdicts import WITHHELD
from crystallize.store.layout import BASELINE
from crystallize.utils.checks import check_count
from crystallize.utils.wording import counted, listed, name_hint

Row: TypeAlias = "Mapping[str, Mapping[str, Sequence[Any]]]"
"""What one replicate recorded: values by metric, by condition; of a condition that failed, nothing."""

_ALL_LOOKS_UP_TO = 20
_GROWTH = 1.05
_MOST_BITS = 1023  # of integers whose difference is a float


class StoppingRule(ABC):
    """Says when a run has seen enough: ``experiment.run(stop_when=rule)``.

    It looks at complete replicates in the order of their numbers, whatever the order in which they arrive. So it
    decides alike under every execution strategy, and when an interrupted run goes on. ``a & b`` ends a run when both
    have come to their end, ``a | b`` when one has.
    """

    @property
    @abstractmethod
    def limit(self) -> int | None:
        """How many replicates a run has at most; None if the rule does not say."""

    @property
    @abstractmethod
    def drops(self) -> bool:
        """Whether it may have a treatment run no further before it comes to its end."""

    @abstractmethod
    def begin(self, conditions: Sequence[str]) -> Watch:
        """Return what watches a run for the rule.

        Parameters
        ----------
        conditions : sequence of str
            The conditions of the run; the baseline is the first.

        Raises
        ------
        ValidationError
            If the rule compares treatments and the run has none.
        """

    def unused_looks(self, most: int) -> str:
        """Say which looks a run of at most `most` replicates never comes to; an empty text if there are none."""
        return ""

    def __and__(self, other: StoppingRule) -> StoppingRule:
        return AllOf((self, other)) if isinstance(other, StoppingRule) else NotImplemented

    def __or__(self, other: StoppingRule) -> StoppingRule:
        return AnyOf((self, other)) if isinstance(other, StoppingRule) else NotImplemented


class Watch(ABC):
    """What a rule has seen of one run.

    Attributes
    ----------
    is_over : bool
        Whether the rule has come to its end.
    is_decided : bool
        Whether it has decided what it was asked.
    reason : str
        Why it is over.
    dropped : collection of str
        The treatments that it has no more use for.
    """

    is_over: bool
    is_decided: bool
    reason: str
    dropped: Collection[str]

    @abstractmethod
    def see(self, row: Row) -> None:
        """Look at the next replicate.

        Raises
        ------
        MissingMetricError
            If the first one that recorded anything did not record the metric.
        InvalidTypeError
            If a value is not a number.
        """

    @abstractmethod
    def reports(self) -> list[RuleReport]:
        """Return what each rule in it saw."""


@dataclass(frozen=True, repr=False)
class SingleRule(StoppingRule):
    """A rule that looks at one metric.

    Parameters
    ----------
    metric : str, optional
        The metric; the only one that is recorded, if not given.
    """

    metric: str | None = None

    compares: ClassVar[bool] = True
    """Whether it needs a treatment."""

    def __post_init__(self) -> None:
        if self.metric is not None and (not isinstance(self.metric, str) or not self.metric.strip()):
            raise self.refuse(InvalidTypeError, f"metric is the name of a metric, got {self.metric!r}")

    @property
    def limit(self) -> int | None:
        """How many replicates a run has at most."""
        limit: int | None = getattr(self, "max", None)
        return limit

    @property
    def drops(self) -> bool:
        """Whether it may have a treatment run no further before it comes to its end."""
        return bool(getattr(self, "drop", False))

    def refuse(
        self, kind: type[InvalidTypeError | InvalidValueError], what: str, hint: str = ""
    ) -> Exception:
        """Return an error about an argument."""
        return kind(what, f"stopping rule {type(self).__name__}", hint)

    def check_number(self, name: str, *, below: float = math.inf) -> None:
        """Check that an argument is a number between 0 and `below`, without the two."""
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(InvalidTypeError, f"{name} is a number, got {value!r}")
        if not 0 < value < below:
            between = "is positive" if below == math.inf else f"lies between 0 and {below:g}"
            raise self.refuse(InvalidValueError, f"{name} {between}, got {value!r}")

    def check_limit(self, first_look: int) -> None:
        """Check that `max` allows for the first look."""
        limit = self.limit
        if limit is not None and check_count("max", limit) < first_look:
            raise self.refuse(
                InvalidValueError,
                f"it looks first at {counted(first_look, 'replicate')}, and max is {limit}",
                f"Give it max={first_look} or more",
            )

    def check_conditions(self, conditions: Sequence[str]) -> None:
        """Refuse a run without treatments, if there is nothing to compare then."""
        if self.compares and len(conditions) < 2:
            raise ValidationError(
                f"the rule {self} has nothing to compare with the baseline",
                "stop_when",
                "Give the experiment a treatment, or stop when the baseline's mean is precise(...)",
            )

    def __repr__(self) -> str:
        shown = []
        for place, each in enumerate(fields(self)):
            value = getattr(self, each.name)
            if each.default is MISSING or value != each.default:
                shown.append(repr(value) if place == 0 else f"{each.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class SingleWatch(Watch):
    """Watches one metric for a single rule; what is special to a rule is in its methods with an underscore.

    Parameters
    ----------
    rule : SingleRule
        The rule.
    conditions : sequence of str
        The conditions of the run.
    """

    interval = ""
    """What the intervals of its reports are."""

    def __init__(self, rule: SingleRule, conditions: Sequence[str]) -> None:
        rule.check_conditions(conditions)
        self.rule = rule
        self.conditions = conditions
        self.metric = rule.metric
        self.replicates = 0
        self.is_over = self.is_decided = False
        self.reason = ""
        self.dropped: set[str] = set()
        self.looks: list[Look] = []
        self._is_metric_known = False
        self._next_kept = 1
        self._limit = math.inf if rule.limit is None else rule.limit

    def see(self, row: Row) -> None:
        """Look at the next replicate; see :meth:`Watch.see`."""
        self.replicates += 1
        if not self._is_metric_known:
            self._find_metric(row)
        self._take(row)
        self._look()
        if self.replicates >= self._next_kept or self.is_over:
            self._keep_look()
        if self.replicates >= self._limit and not self.is_over:
            self.is_over = True
            self.reason = f"undecided when its largest number of replicates, {self._limit}, was reached"

    def _find_metric(self, row: Row) -> None:
        recorded = dict.fromkeys(metric for metrics in row.values() for metric in metrics)
        if not recorded:  # all have failed: the next replicate may tell
            return
        if self.metric is None and len(recorded) == 1:
            (self.metric,) = recorded
        if self.metric is None:
            raise MissingMetricError(
                f"the rule {self.rule} does not say which metric it is about",
                "stop_when",
                f"Give it one as its first argument. Recorded are {listed(recorded)}",
            )
        if self.metric not in recorded:
            raise MissingMetricError(
                f"no condition recorded the metric {self.metric!r} of the rule {self.rule} in the first replicate",
                "stop_when",
                name_hint(self.metric, "Recorded are", recorded),
            )
        self._is_metric_known = True

    def number(self, row: Row, condition: str) -> float:
        """Return what a condition recorded: a number, or the mean of several; NaN if it recorded none.

        One integer stays one, so that differences of large ones are exact.
        """
        metrics = row.get(condition)
        values = () if metrics is None or self.metric is None else metrics.get(self.metric, ())
        if len(values) == 1:
            value = values[0]
            if type(value) is float or (type(value) is int and value.bit_length() < _MOST_BITS):
                return value
        if not all(isinstance(value, int | float) for value in values):
            raise InvalidTypeError(
                f"the metric {self.metric!r} of the rule {self.rule} is not numeric, for example {values!r:.60}",
                f"condition {condition!r}, replicate {self.replicates - 1}",
            )
        return mean_of(values) if values else math.nan

    def end(self, reason: str) -> None:
        """Note that the rule has decided."""
        self.is_over = self.is_decided = True
        self.reason = reason

    def _keep_look(self) -> None:
        """Keep what there is to be seen now: at the first looks, then at each 5 % later, and at the last."""
        self.looks += self._seen()
        is_early = self.replicates < _ALL_LOOKS_UP_TO
        self._next_kept = self.replicates + 1 if is_early else math.ceil(self.replicates * _GROWTH)

    @abstractmethod
    def _take(self, row: Row) -> None:
        """Take in the numbers of a replicate."""

    @abstractmethod
    def _look(self) -> None:
        """Look at what there is, and decide."""

    @abstractmethod
    def _seen(self) -> list[Look]:
        """Return what there is to be seen now."""

    @abstractmethod
    def _findings(self) -> list[Any]:
        """Return what there is to say of each condition."""

    def reports(self) -> list[RuleReport]:
        """Return what it saw."""
        if self.replicates and (not self.looks or self.looks[-1].replicates < self.replicates):
            self._keep_look()
        return [
            RuleReport(
                str(self.rule),
                self.metric or "",
                self.is_decided,
                self.reason,
                self.interval,
                tuple(self._findings()),
                tuple(self.looks),
            )
        ]


class DifferencesWatch(SingleWatch):
    """Watches the differences to the baseline, replicate by replicate, of each treatment.

    A replicate that lacks one of the two values is counted as missing, and has no part in anything.
    """

    def __init__(self, rule: SingleRule, conditions: Sequence[str]) -> None:
        super().__init__(rule, conditions)
        self.pairs = {name: RunningMoments() for name in conditions if name != BASELINE}
        self.open = dict(self.pairs)  # those without a verdict
        self.verdicts: dict[str, tuple[str, int]] = {}  # with the number of replicates that there were then
        self.losses = {name: Losses() for name in self.pairs}
        self.each_difference = "the difference" if len(self.pairs) == 1 else "each difference by itself"

    def _take(self, row: Row) -> None:
        self._take_pairs(row, self.number(row, BASELINE))

    def _take_pairs(self, row: Row, baseline: float) -> None:
        for name, moments in self.pairs.items():
            if name not in self.dropped:
                value = self.number(row, name)
                difference = value - baseline
                moments.add(difference, abs(value))
                if not math.isfinite(difference):
                    self.losses[name].add(value, baseline)

    def settle(self, name: str, verdict: str, *, drop: bool) -> None:
        """Note what has become of a treatment."""
        del self.open[name]
        self._next_kept = self.replicates  # this look is kept
        self.verdicts[name] = verdict, self.replicates
        if drop:
            self.dropped.add(name)

    def finding(self, name: str, low: float | None, high: float | None, alpha: float) -> Finding:
        """Return what there is to say of a treatment; `low` and `high` are the interval that is right for the rule."""
        moments = self.pairs[name]
        losses = self.losses[name]
        verdict, at = self.verdicts.get(name, ("undecided", None))
        if at is not None and losses.is_lopsided:
            verdict = WITHHELD
        if at is None and moments.sd == 0:
            verdict = "undecided, for its differences do not vary"
        naive = ends(moments.mean, moments.half_width(alpha))
        mean = moments.mean if moments.n else None
        found = Finding(name, verdict, at, moments.n, moments.missing, mean, low, high, *naive)
        return found._replace(infinite=losses.infinite, of_baseline=losses.baseline)


@dataclass(frozen=True, repr=False)
class _Combined(StoppingRule):
    rules: tuple[StoppingRule, ...]

    sign: ClassVar[str]

    @property
    def drops(self) -> bool:
        """Whether it may have a treatment run no further before it comes to its end."""
        return any(rule.drops for rule in self.rules)

    def unused_looks(self, most: int) -> str:
        """Say which looks a run of at most `most` replicates never comes to; an empty text if there are none."""
        return "; ".join(filter(None, (rule.unused_looks(most) for rule in self.rules)))

    def __repr__(self) -> str:
        inner = (f"({rule})" if isinstance(rule, _Combined) else str(rule) for rule in self.rules)
        return f" {self.sign} ".join(inner)


class AllOf(_Combined):
    """Ends a run when all of its rules have come to their end: ``a & b``."""

    sign = "&"

    @property
    def limit(self) -> int | None:
        """The largest of its rules' limits; None if one has none."""
        limits = [rule.limit for rule in self.rules]
        return None if None in limits else max(limit for limit in limits if limit is not None)

    def begin(self, conditions: Sequence[str]) -> Watch:
        """Return what watches a run; see :meth:`StoppingRule.begin`."""
        return _CombinedWatch([rule.begin(conditions) for rule in self.rules], all)


class AnyOf(_Combined):
    """Ends a run when one of its rules has come to its end: ``a | b``."""

    sign = "|"

    @property
    def limit(self) -> int | None:
        """The smallest of its rules' limits; None if none has one."""
        return min((rule.limit for rule in self.rules if rule.limit is not None), default=None)

    def begin(self, conditions: Sequence[str]) -> Watch:
        """Return what watches a run; see :meth:`StoppingRule.begin`."""
        return _CombinedWatch([rule.begin(conditions) for rule in self.rules], any)


class _CombinedWatch(Watch):
    def __init__(self, parts: list[Watch], needed: Any) -> None:
        self._parts = parts
        self._needed = needed

    def see(self, row: Row) -> None:
        for part in self._parts:
            if not part.is_over:  # what it has decided stands
                part.see(row)

    @property
    def is_over(self) -> bool:  # type: ignore[override]
        return bool(self._needed(part.is_over for part in self._parts))

    @property
    def is_decided(self) -> bool:  # type: ignore[override]
        return bool(self._needed(part.is_decided for part in self._parts))

    @property
    def reason(self) -> str:  # type: ignore[override]
        return "; ".join(
            part.reason for part in self._parts if part.is_over and part.is_decided is self.is_decided
        )

    @property
    def dropped(self) -> Collection[str]:  # type: ignore[override]
        """What no part has a use for: a part that is over needs nothing."""
        asking = [part.dropped for part in self._parts if not part.is_over]
        return set.intersection(*map(set, asking)) if asking else set()

    def reports(self) -> list[RuleReport]:
        return [report for part in self._parts for report in part.reports()]


def stopping_of(rule: StoppingRule, watch: Watch, replicates: int, dropped: Mapping[str, int]) -> Stopping:
    """Return what a run that `rule` watched tells of it at its end."""
    reason = f"undecided when the run's largest number of replicates, {replicates}, was reached"
    if watch.is_over:
        reason = watch.reason
    return Stopping(str(rule), replicates, watch.is_decided, reason, dict(dropped), tuple(watch.reports()))
