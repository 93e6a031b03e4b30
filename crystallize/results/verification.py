"""What the verification of a stored run came to, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.results.circumstances import Circumstances, value_text
from crystallize.utils.text_table import TextTable, wrapped
from crystallize.utils.wording import counted

if TYPE_CHECKING:
    from crystallize.results.circumstances import Change

PASS, DIFF, INCONCLUSIVE = "PASS", "DIFF", "INCONCLUSIVE"


@dataclass(frozen=True)
class Difference:
    """Something that was not measured again as it is stored.

    Attributes
    ----------
    kind : {"metric", "artifact", "error", "seed", "hypothesis"}
        What it is. An outcome that failed, or fails now, differs by its error.
    name : str
        Of the metric, artifact or hypothesis; empty for the others.
    condition, replicate : str and int, or None
        Whose outcome it is in; None for a hypothesis.
    step : str or None
        The step that recorded, wrote or raised it, if that is known.
    before : object
        What is stored.
    after : object
        What it is now: of several reruns the list of what each gave.
    lead : str
        The first thing that a step of this outcome read, drew, added or recorded in another way than before; empty if
        there is none. A cause often shows there before it reaches a metric.
    """

    kind: str
    name: str
    condition: str | None
    replicate: int | None
    step: str | None
    before: Any
    after: Any
    lead: str = ""


@dataclass(frozen=True)
class MetricCheck:
    """How close one metric of one condition came.

    Attributes
    ----------
    condition, metric : str
        Which one.
    outcomes, different : int
        In how many outcomes it was compared, and in how many it differs.
    largest, largest_relative : float
        The largest distance between a stored value and what it is now, in the metric's unit and as a fraction of the
        value; infinite if something differs that is no number.
    rtol, atol : float
        What was tolerated; 0 where every bit counts.
    """

    condition: str
    metric: str
    outcomes: int
    different: int
    largest: float
    largest_relative: float
    rtol: float
    atol: float


@dataclass(frozen=True)
class Findings:
    """What the comparison of a run with its reruns came to.

    Attributes
    ----------
    outcomes, different : int
        How many outcomes were compared, and how many of them differ.
    first : Difference or None
        The first difference: in the lowest replicate, there in the first condition, there in the earliest step.
    metrics : sequence of MetricCheck
        All metrics.
    not_compared : mapping of str to int
        Why outcomes could not be compared, and how many.
    """

    outcomes: int = 0
    different: int = 0
    first: Difference | None = None
    metrics: Sequence[MetricCheck] = ()
    not_compared: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verification:
    """Whether a stored run can be measured again; ``print(verification)`` tells it.

    Attributes
    ----------
    verdict : {"PASS", "DIFF", "INCONCLUSIVE"}
        ``PASS``: every outcome that was run again is as it is stored, whatever has changed since. ``DIFF``: something
        differs, and nothing has changed that could be why. ``INCONCLUSIVE``: something differs, or could not be run
        again, and `changes` and `reasons` say why that may be.
    run : pathlib.Path
        The stored run.
    status : str
        How it ended.
    conditions : tuple of str
        Those that were run again.
    replicates : list of int
        Those that were run again.
    reruns : int
        How often: 0 if it could not be done.
    execution : str or None
        The execution strategy of the reruns.
    findings : Findings
        What was compared, and what differs.
    changes : Circumstances
        What has changed since in settings, code and environment.
    reasons : list of str
        What stands in the way of a verdict.
    left_out : dict of str to str
        The metrics and artifacts that were not compared, and why.
    scratch : pathlib.Path or None
        The folder of the reruns, if it was kept.
    """

    verdict: str
    run: Path
    status: str
    conditions: tuple[str, ...]
    replicates: list[int]
    reruns: int = 0
    execution: str | None = None
    findings: Findings = Findings()
    changes: Circumstances = field(default_factory=Circumstances)
    reasons: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    scratch: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether the verdict is PASS."""
        return self.verdict == PASS

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts and lists."""
        plain = asdict(self)
        return plain | {key: None if plain[key] is None else str(plain[key]) for key in ("run", "scratch")}

    def __str__(self) -> str:
        return "\n".join(_text(self))


def judge(findings: Findings, changes: Circumstances, reasons: Sequence[str]) -> str:
    """Return the verdict; what was measured decides, and what has changed only where that differs."""
    if findings.first is not None:
        return INCONCLUSIVE if changes else DIFF
    return INCONCLUSIVE if reasons else PASS


# -- telling -------------------------------------------------------------------------------------------------


def _text(found: Verification) -> Iterator[str]:
    yield f"{found.verdict}: {_verdict(found)}."
    yield from (f"  {reason}" for reason in found.reasons)
    yield ""
    yield f"run:    {found.run}{'' if found.status == 'complete' else f', which is {found.status}'}"
    if found.reruns:
        times = "" if found.reruns == 1 else f", {found.reruns} times"
        several = "s" if len(found.replicates) > 1 else ""
        what = f"replicate{several} {ranges(found.replicates)} under {', '.join(found.conditions)}"
        yield f"again:  {what}; {found.execution}{times}"
    if found.scratch is not None:
        yield f"kept:   {found.scratch}"
    yield from _first(found.findings.first)
    yield from _table(found.findings.metrics)
    yield from _changes(found.changes)
    for name, reason in found.left_out.items():
        yield f"not compared: {name} ({reason})"


def _verdict(found: Verification) -> str:
    findings = found.findings
    if findings.first is None:
        if found.verdict == INCONCLUSIVE:
            return "it cannot be told whether the run can be repeated"
        is_exact = all(not (check.rtol or check.atol) for check in findings.metrics)
        how = "the same, to the last bit" if is_exact else "the same, within the tolerance"
        return f"{_are(findings.outcomes)} {how}"
    if findings.first.kind == "hypothesis":
        what = f"all metrics are the same, and hypothesis {findings.first.name} finds something else"
    else:
        verb = "differs" if findings.different == 1 else "differ"
        what = f"{findings.different} of {findings.outcomes} outcomes {verb}"
    if found.verdict == DIFF:
        return f"{what}, and nothing has changed that could be why"
    return f"{what}, which may come from what has changed"


def _are(outcomes: int) -> str:
    return f"{counted(outcomes, 'outcome')} {'is' if outcomes == 1 else 'are'}"


def _first(first: Difference | None) -> Iterator[str]:
    if first is None:
        return
    places = [
        None if first.condition is None else f"condition {first.condition!r}",
        None if first.replicate is None else f"replicate {first.replicate}",
        None if first.step is None else f"step {first.step!r}",
        f"{first.kind} {first.name!r}" if first.name else first.kind,
    ]
    yield ""
    yield f"first difference: {', '.join(filter(None, places))}"
    yield f"  stored  {value_text(first.before)}"
    yield f"  now     {value_text(first.after)}"
    if first.lead:
        yield f"  before that, in {first.lead}"


def _table(checks: Sequence[MetricCheck]) -> Iterator[str]:
    """Show the metrics that differ, were it within the tolerance."""

    def number(value: float) -> str:
        return format(value, ".3g") if value else "0"

    rows = [
        (
            check.condition,
            check.metric,
            str(check.outcomes),
            str(check.different),
            number(check.largest),
            number(check.largest_relative),
            number(check.atol),
            number(check.rtol),
        )
        for check in checks
        if check.different or check.largest
    ]
    if rows:
        header = ("condition", "metric", "outcomes", "differ", "largest", "relative", "atol", "rtol")
        yield ""
        yield from TextTable(header, rows).lines()


def _changes(changes: Circumstances) -> Iterator[str]:
    if not changes:
        return
    yield ""
    yield "changed since then:"
    for title, part in vars(changes).items():
        told = (change.name if title == "code" and _is_hash(change) else _told(change) for change in part)
        if part:
            yield f"  {title}:"
            yield from (f"    {line}" for line in wrapped(told))


def _is_hash(change: Change) -> bool:
    """Tell whether a change is of a piece of code, of which there is a hash and nothing to be read."""
    return change.name not in ("git commit", "what ran")


def _told(change: Change) -> str:
    for part, other, verb in ((change.before, change.after, "gone"), (change.after, change.before, "new")):
        if other is None and isinstance(part, Mapping):
            return f"{change.name} is {verb}"
    return f"{change.name}: {value_text(change.before)} -> {value_text(change.after)}"


def ranges(numbers: Sequence[int]) -> str:
    """Return numbers that are in order as a short text.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0 to 2, 5, 7, 8'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    told = (f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)
    return ", ".join(told)
