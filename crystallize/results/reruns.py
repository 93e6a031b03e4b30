"""Comparing a stored run with reruns of it: outcome by outcome, to the last bit or within a tolerance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.results.circumstances import differing, value_text
from crystallize.results.closeness import INCOMPARABLE, SAME, Distance, Tolerance, distance, leaves, spread
from crystallize.results.provenance import STAGE_NAMES, describe_stage
from crystallize.results.verification import Difference, Findings, MetricCheck
from crystallize.utils import exact_json
from crystallize.utils.failures import comparable_text
from crystallize.utils.stage import StageRecord

if TYPE_CHECKING:
    from crystallize.store.outcome import Outcome, OutcomeError

Outcomes = Iterable[tuple[int, Sequence["Outcome"]]]
"""What a run measured: each replicate with its outcomes."""


EXACT = Tolerance()
MARGIN = 2
"""How many times the largest difference between two reruns a stored value may lie outside of what they span.

Of runs that are exactly as noisy in one metric as the reruns, five reruns take at most 3 in 100 for different ones,
three reruns 7 and two reruns 21, under normal and heavy-tailed noise, in one outcome or a thousand; without the margin
16, 26 and 43. Each metric with a noise of its own adds its chance.
"""

_NO_STAGE = 1 << 30  # what belongs to no step comes last
_BEFORE_ALL = -_NO_STAGE
_MACHINES_FAULT = frozenset({"timeout", "worker-lost"})

# -- tolerances from reruns ----------------------------------------------------------------------------------


class Calibration(NamedTuple):
    """What reruns of one run tell of the noise in it.

    Attributes
    ----------
    tolerances : dict of str to Tolerance
        For each metric; exact for one that never differs.
    unsteady : dict of str to str
        Metrics and artifacts that differ between reruns, and have no distance.
    """

    tolerances: dict[str, Tolerance]
    unsteady: dict[str, str]


def find_tolerances(reruns: Sequence[Outcomes]) -> Calibration:
    """Find the tolerance of each metric from the spread of reruns.

    It is `MARGIN` times the largest difference that any two reruns have in one outcome, over all outcomes: in the
    metric's unit, and as a fraction of the larger value. A stored value has to keep to both, counted from the nearest
    end of what the reruns span in its outcome.

    Parameters
    ----------
    reruns : sequence of Outcomes
        What each measured, at least two.
    """
    found: dict[str, Distance] = {}
    unsteady: dict[str, str] = {}
    for _, _, outcomes in _together(reruns):
        for name in dict.fromkeys(name for each in outcomes for name in each.metrics):
            values = [_recorded(each, name) for each in outcomes if each.error is None]
            found[name] = found.get(name, SAME).or_farther(_spread_of(values))
        files = [_files(each) for each in outcomes if each.error is None]
        for key in dict.fromkeys(key for each in files for key in each):
            if len({each.get(key) for each in files}) > 1:
                unsteady[key[1]] = "its content differs between the reruns"
    for name, widest in found.items():
        if widest.absolute == INCOMPARABLE.absolute:
            unsteady[name] = "it differs between the reruns, and has no distance"
    return Calibration(
        {
            name: Tolerance(MARGIN * widest.relative, MARGIN * widest.absolute, needs_both=True)
            for name, widest in found.items()
            if name not in unsteady
        },
        unsteady,
    )


def _spread_of(values: Sequence[Any]) -> Distance:
    """Return the largest difference between two of several values, part by part."""
    parts = [leaves(value) for value in values]
    if any([place for place, _ in each] != [place for place, _ in parts[0]] for each in parts[1:]):
        return INCOMPARABLE
    widest = SAME
    for same_place in zip(*parts, strict=True):
        widest = widest.or_farther(spread([leaf for _, leaf in same_place]))
    return widest


# -- comparing -----------------------------------------------------------------------------------------------


def compare(
    stored: Outcomes,
    reruns: Sequence[Outcomes],
    *,
    steps: Sequence[str] = (),
    has_same_steps: bool = True,
    tolerances: Mapping[str, Tolerance] | None = None,
    otherwise: Tolerance = EXACT,
    leaving_out: Collection[str] = (),
) -> Findings:
    """Compare the outcomes of a stored run with those of reruns.

    An outcome agrees if each of its values is close to those of the reruns that ended as it did. One that a time limit
    or a dead worker has ended, then or now, is not compared: that depends on the machine.

    Parameters
    ----------
    stored : Outcomes
        What the run measured.
    reruns : sequence of Outcomes
        What each rerun measured of it; what is in the reruns alone does not count.
    steps : sequence of str, optional
        The names of the run's steps.
    has_same_steps : bool, default True
        Whether those of the reruns are the same, so that what they did can be compared one by one.
    tolerances : mapping of str to Tolerance, optional
        By metric.
    otherwise : Tolerance, optional
        For metrics that have none of their own; by default every bit counts.
    leaving_out : collection of str, optional
        Metrics and artifacts that are not compared.
    """
    comparison = _Comparison(steps, has_same_steps, tolerances or {}, otherwise, leaving_out)
    for replicate, place, (before, *now) in _together([stored, *reruns], needs_first=True):
        comparison.add(replicate, place, before, now)
    return comparison.findings()


def _together(
    runs: Sequence[Outcomes], *, needs_first: bool = False
) -> Iterator[tuple[int, int, list[Outcome]]]:
    """Yield what several runs gave for each outcome: its replicate, its condition's place, and each run's.

    Runs come in nearly the same order, so that few outcomes wait for the others.

    Parameters
    ----------
    runs : sequence of Outcomes
        The runs.
    needs_first : bool, default False
        Leave out what the first of the runs has not got.
    """
    waiting: dict[int, dict[int, Sequence[Outcome]]] = {}

    def matched(replicate: int) -> Iterator[tuple[int, int, list[Outcome]]]:
        of_run = waiting.pop(replicate)
        by_condition: dict[str, dict[int, Outcome]] = {}
        for number in range(len(runs)):
            for outcome in of_run.get(number, ()):
                by_condition.setdefault(outcome.condition, {})[number] = outcome
        for place, found in enumerate(by_condition.values()):
            if 0 in found or not needs_first:
                yield replicate, place, [found[number] for number in sorted(found)]

    for several in zip_longest(*runs):
        for number, item in enumerate(several):
            if item is None:
                continue
            replicate, outcomes = item
            arrived = waiting.setdefault(replicate, {})
            arrived[number] = outcomes
            if len(arrived) == len(runs):
                yield from matched(replicate)
    for replicate in sorted(waiting):
        yield from matched(replicate)


class _Seen:
    """What has been seen of one metric of one condition."""

    def __init__(self) -> None:
        self.outcomes = 0
        self.different = 0
        self.widest = SAME


class _First(NamedTuple):
    """The first difference by now: where it comes in the order of all, and the outcome as it was and as it is."""

    key: tuple[int, int, int]
    difference: Difference
    before: Outcome
    now: Outcome


class _Comparison:
    """Compares outcome by outcome, and keeps the first difference."""

    def __init__(
        self,
        steps: Sequence[str],
        has_same_steps: bool,
        tolerances: Mapping[str, Tolerance],
        otherwise: Tolerance,
        leaving_out: Collection[str],
    ) -> None:
        self._steps = steps
        self._has_same_steps = has_same_steps
        self._tolerances = tolerances
        self._otherwise = otherwise
        self._leaving_out = frozenset(leaving_out)
        self._outcomes = self._different = 0
        self._first: _First | None = None
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._not_compared: Counter[str] = Counter()

    def add(self, replicate: int, place: int, before: Outcome, now: Sequence[Outcome]) -> None:
        """Compare an outcome; `place` is that of its condition."""
        usable = [each for each in now if each.status not in _MACHINES_FAULT]
        if before.status in _MACHINES_FAULT:
            self._not_compared[f"ended by {_cause(before)} then"] += 1
        elif not usable:
            self._not_compared[f"ended by {_cause(now[0])} now" if now else "not run again"] += 1
        elif self._is_left_out(before):
            self._not_compared["all that it gave is left out"] += 1
        else:
            self._outcomes += 1
            found = list(self._differences(replicate, before, usable))
            self._different += bool(found)
            for stage, difference in found:
                key = (replicate, place, stage)
                if self._first is None or key < self._first.key:
                    self._first = _First(key, difference, before, now[0])

    def _is_left_out(self, outcome: Outcome) -> bool:
        names = {*outcome.metrics, *(entry.name for entry in outcome.artifacts)}
        return outcome.error is None and bool(names) and names <= self._leaving_out

    def findings(self) -> Findings:
        """Return what was found."""
        checks = [
            MetricCheck(
                condition,
                metric,
                seen.outcomes,
                seen.different,
                seen.widest.absolute,
                seen.widest.relative,
                self._tolerance(metric).rtol,
                self._tolerance(metric).atol,
            )
            for (condition, metric), seen in self._seen.items()
        ]
        first = None
        if self._first is not None:
            first = replace(self._first.difference, lead=self._lead(self._first.before, self._first.now))
        return Findings(self._outcomes, self._different, first, checks, dict(self._not_compared))

    def _tolerance(self, metric: str) -> Tolerance:
        return self._tolerances.get(metric, self._otherwise)

    def _differences(
        self, replicate: int, before: Outcome, now: Sequence[Outcome]
    ) -> Iterator[tuple[int, Difference]]:
        """Yield what differs in an outcome, each with the stage that it belongs to."""

        def difference(
            kind: str, name: str, step: str | None, old: Any, new: Sequence[Any]
        ) -> tuple[int, Difference]:
            after = new[0] if len(new) == 1 else list(new)
            place = _BEFORE_ALL if kind == "seed" else self._stage_of(step)
            return place, Difference(kind, name, before.condition, replicate, step, old, after)

        ended_so = [each for each in now if _failure(each.error) == _failure(before.error)]
        if not ended_so:
            error = before.error or now[0].error
            step = None if error is None else error.step
            yield difference(
                "error", "", step, _failure(before.error), [_failure(each.error) for each in now]
            )
            return
        if before.error is not None:
            return
        seeds = [each.seed for each in ended_so]
        if before.seed is not None and before.seed not in seeds:
            yield difference("seed", "", None, before.seed, seeds)
        yield from (difference("metric", *each) for each in self._metrics(before, ended_so))
        yield from (difference("artifact", *each) for each in self._artifacts(before, ended_so))

    def _metrics(
        self, before: Outcome, now: Sequence[Outcome]
    ) -> Iterator[tuple[str, str | None, Any, Sequence[Any]]]:
        for name in dict.fromkeys((*before.metrics, *(name for each in now for name in each.metrics))):
            if name in self._leaving_out:
                continue
            seen = self._seen.setdefault((before.condition, name), _Seen())
            seen.outcomes += 1
            old, new = _recorded(before, name), [_recorded(each, name) for each in now]
            widest, place = _compare_values(old, new, self._tolerance(name))
            seen.widest = seen.widest.or_farther(widest)
            if place is not None:
                seen.different += 1
                step = self._name_of(_stage_of_value(before.trace or now[0].trace, name, place))
                values = [each.metrics.get(name, []) for each in (before, *now)]
                if _compare_values(values[0], values[1:], self._tolerance(name))[1] is None:
                    values = [old, *new]  # it is the tags that differ
                if all(place < len(each) for each in values):
                    values = [each[place] for each in values]
                yield name, step, values[0], values[1:]

    def _artifacts(
        self, before: Outcome, now: Sequence[Outcome]
    ) -> Iterator[tuple[str, str | None, Any, Sequence[Any]]]:
        old, new = _files(before), [_files(each) for each in now]
        for key in dict.fromkeys((*old, *(key for each in new for key in each))):
            step, name = key
            digests = [each.get(key) for each in new]
            if name not in self._leaving_out and old.get(key) not in digests:
                yield name, step, old.get(key), digests

    def _stage_of(self, step: str | None) -> int:
        known = {name: stage for stage, name in (*STAGE_NAMES.items(), *enumerate(self._steps))}
        return known.get(step or "", _NO_STAGE)

    def _name_of(self, stage: int) -> str | None:
        if 0 <= stage < len(self._steps):
            return self._steps[stage]
        return STAGE_NAMES.get(stage)

    def _lead(self, before: Outcome, now: Outcome) -> str:
        """Describe the first thing in which the records of the steps differ."""
        if not (before.trace and self._has_same_steps):
            return ""
        traces = [{raw[0]: StageRecord(*raw) for raw in each.trace} for each in (before, now)]
        for stage in sorted({*traces[0], *traces[1]}):
            old, new = (describe_stage(each.get(stage), {}) for each in traces)
            for path, *values in differing(old, new):
                was, is_now = map(value_text, values)
                if was != is_now:  # NaN is not equal to itself
                    return f"{self._name_of(stage)}: {'.'.join(path)} {was} -> {is_now}"
        return ""


def _cause(outcome: Outcome) -> str:
    return "its time limit" if outcome.status == "timeout" else "the loss of its worker"


def _failure(error: OutcomeError | None) -> str | None:
    """Return what of an error has to come again; None if there was none.

    The module of its class does not count: that of a script is ``__main__``, or its file if it is imported.
    """
    return None if error is None else comparable_text(f"{error.kind.rpartition('.')[2]}: {error.message}")


def _recorded(outcome: Outcome, metric: str) -> list[Any]:
    """Return the values of a metric, each with its tags if it has any."""
    values, tags = outcome.metrics.get(metric, []), outcome.tags.get(metric)
    return values if tags is None else list(zip(values, map(_plain_tags, tags), strict=False))


def _plain_tags(tags: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if tags is None else dict(tags)


def _files(outcome: Outcome) -> dict[tuple[str, str], str]:
    """Return the digest of each artifact, by step and name."""
    return {(entry.step, entry.name): entry.digest for entry in outcome.artifacts}


def _compare_values(
    before: Sequence[Any], now: Sequence[Sequence[Any]], tolerance: Tolerance
) -> tuple[Distance, int | None]:
    """Return how far values are from those of the reruns, and the place of the first that is too far."""
    text = _exact_text(before)
    if any(_exact_text(each) == text for each in now):
        return SAME, None  # as nearly all are
    own = leaves(list(before))
    places = [place for place, _ in own]
    others = [each for each in (leaves(list(each)) for each in now) if [place for place, _ in each] == places]
    if not others:
        return INCOMPARABLE, _first_unlike(before, now[0])
    widest, first = SAME, None
    for (place, leaf), *rest in zip(own, *others, strict=True):
        found = distance(leaf, [other for _, other in rest])
        if found is not None:
            widest = widest.or_farther(found)
            if first is None and not tolerance.allows(found):
                first = place
    return widest, None if first is None else int(first[1:].partition("]")[0])


def _exact_text(values: Sequence[Any]) -> bytes:
    return exact_json.dump(exact_json.pack(list(values)))


def _first_unlike(before: Sequence[Any], now: Sequence[Any]) -> int:
    """Return the place of the first value that is made of other parts, or is not there at all."""
    for place, (old, new) in enumerate(zip(before, now, strict=False)):
        if [each for each, _ in leaves(old)] != [each for each, _ in leaves(new)]:
            return place
    return min(len(before), len(now))


def _stage_of_value(trace: Iterable[Sequence[Any]], metric: str, place: int) -> int:
    """Return the stage that recorded a metric's value at this place."""
    for raw in trace:
        record = StageRecord(*raw)
        place -= dict(record.metrics).get(metric, 0)
        if place < 0:
            return record.number
    return _NO_STAGE
