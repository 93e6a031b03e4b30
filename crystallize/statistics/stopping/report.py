"""What a rule has seen of a run, and why the run ended: plain data, in the result and in metadata.json."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crystallize.statistics.verdicts import WHY_WITHHELD, WITHHELD
from crystallize.utils.number_text import choose_decimals, format_number
from crystallize.utils.text_table import wrapped
from crystallize.utils.wording import counted

_MOST_LISTED = 4


class Look(NamedTuple):
    """What a rule saw of one condition when it looked; what is not known yet is None.

    Attributes
    ----------
    replicates : int
        How many replicates there were.
    condition : str
        The condition.
    n : int
        How many of them could be used: in pairs with the baseline, where the rule compares.
    estimate : float or None
        The mean, or the mean difference to the baseline.
    statistic : float or None
        What the rule decides by: the e-value of ``decided``, t of ``looks``, the half width of ``precise``.
    low, high : float or None
        The interval that is right for the rule.
    """

    replicates: int
    condition: str
    n: int
    estimate: float | None
    statistic: float | None = None
    low: float | None = None
    high: float | None = None


class Finding(NamedTuple):
    """What a rule says of one condition at the end; what is not known is None.

    Attributes
    ----------
    condition : str
        The condition.
    verdict : str
        ``"higher"`` or ``"lower"`` than the baseline, ``"too small to matter"``, ``"precise"``, ``"best"``,
        ``"eliminated"`` or ``"undecided"``; ``"withheld"`` in place of a claim, if more replicates were lost under one
        condition than under the other.
    at : int or None
        After how many replicates that was known.
    n, missing : int
        How many replicates were used, and how many could not be: they failed, or recorded no finite number. Of
        ``best``, which takes replicates in which no condition failed: how many this condition spoilt.
    estimate : float or None
        The mean, or the mean difference to the baseline.
    low, high : float or None
        The interval that is right for the rule; ``RuleReport.interval`` says what it is.
    naive_low, naive_high : float or None
        Student's interval of the same numbers, which holds only where their number was fixed beforehand.
    infinite : int
        How many of those that could not be used were infinite.
    of_baseline : int
        Of a comparison with the baseline: in how many of them the baseline had no finite number.
    """

    condition: str
    verdict: str
    at: int | None
    n: int
    missing: int
    estimate: float | None
    low: float | None = None
    high: float | None = None
    naive_low: float | None = None
    naive_high: float | None = None
    infinite: int = 0
    of_baseline: int = 0


@dataclass(frozen=True)
class RuleReport:
    """What one rule saw, and where it ended.

    Attributes
    ----------
    rule : str
        The rule, as it is written.
    metric : str
        What it looked at.
    is_decided : bool
        Whether it has decided; if not, what is undecided is honestly so.
    reason : str
        Why it ended.
    interval : str
        What `low` and `high` are, such as "95% confidence sequence of the difference"; empty if there are none.
    findings : tuple of Finding
        What it says of each condition.
    looks : tuple of Look
        What it saw: of many looks the first ones, and then each that had 5 % more replicates than the last.
    """

    rule: str
    metric: str
    is_decided: bool
    reason: str
    interval: str
    findings: tuple[Finding, ...] = ()
    looks: tuple[Look, ...] = field(default=(), repr=False)

    def sentences(self) -> Iterator[str]:
        """Yield what it found, in words."""
        by_verdict: dict[str, list[Finding]] = {}
        for each in self.findings:
            by_verdict.setdefault(each.verdict, []).append(each)
        for verdict, found in by_verdict.items():
            shown = ", ".join(map(_described, found[:_MOST_LISTED]))
            more = f", and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
            yield f"{self.metric} {verdict}: {shown}{more}."
        if self.interval and any(each.low is not None for each in self.findings):
            yield f"in brackets: {self.interval}."
        if WITHHELD in by_verdict:
            yield WHY_WITHHELD
        of_baseline = {each.condition: each.of_baseline for each in self.findings if not each.infinite}
        yield from _left_out(
            "failed or without a number",
            {each.condition: each.missing - each.infinite for each in self.findings},
            {name: f" ({count} under the baseline)" for name, count in of_baseline.items() if count},
        )
        yield from _left_out("infinite", {each.condition: each.infinite for each in self.findings}, {})


@dataclass(frozen=True)
class Stopping:
    """Why a run that a rule watched has ended, and with what; ``print(result.stopping)`` says it in a few lines.

    Attributes
    ----------
    rule : str
        The rule, as it is written.
    replicates : int
        How many replicates it took.
    is_decided : bool
        Whether the rule has decided; if not, what is undecided is honestly so.
    reason : str
        Why the run ended.
    dropped : dict of str to int
        For each condition that was dropped on the way, the first replicate that it was not owed any more.
    parts : tuple of RuleReport
        What each rule saw: one, or several where rules are combined by ``&`` and ``|``.
    """

    rule: str
    replicates: int
    is_decided: bool
    reason: str
    dropped: dict[str, int]
    parts: tuple[RuleReport, ...]

    def sentences(self) -> Iterator[str]:
        """Yield what there is to say."""
        yield f"stopped after {counted(self.replicates, 'replicate')} by {self.rule}: {self.reason}."
        for part in self.parts:
            of_which = f"{part.rule}: " if len(self.parts) > 1 else ""
            yield from (f"{of_which}{sentence}" for sentence in part.sentences())
        yield "other intervals and p-values hold for a number of replicates that was fixed beforehand."

    def __str__(self) -> str:
        return "\n".join(wrapped(self.sentences()))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain dicts and lists; each look is a list, in the order of the fields of Look."""
        parts = [
            vars(part)
            | {
                "findings": [each._asdict() for each in part.findings],
                "looks": [list(each) for each in part.looks],
            }
            for part in self.parts
        ]
        return vars(self) | {"dropped": dict(self.dropped), "parts": parts}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Stopping:
        """Return what :meth:`to_dict` was called on.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing, or of another kind.
        """
        parts = tuple(
            RuleReport(
                **part
                | {
                    "findings": tuple(Finding(**each) for each in part["findings"]),
                    "looks": tuple(Look(*each) for each in part["looks"]),
                }
            )
            for part in stored["parts"]
        )
        return cls(**{**stored, "parts": parts})


def known(value: float) -> float | None:
    """Return a finite number as it is, and None in place of any other."""
    return value if math.isfinite(value) else None


def ends(middle: float, half_width: float) -> tuple[float, float] | tuple[None, None]:
    """Return the ends of an interval; None and None if it is infinite."""
    return (middle - half_width, middle + half_width) if math.isfinite(half_width) else (None, None)


def _left_out(why: str, counts: Mapping[str, int], remarks: Mapping[str, str]) -> Iterator[str]:
    lost = [f"{count} of {name!r}{remarks.get(name, '')}" for name, count in counts.items() if count]
    if lost:
        more = f", and of {len(lost) - _MOST_LISTED} more" if len(lost) > _MOST_LISTED else ""
        yield f"left out, {why}: {', '.join(lost[:_MOST_LISTED])}{more}."


def _described(found: Finding) -> str:
    text = repr(found.condition)
    if found.low is not None and found.high is not None:
        numbers = (found.estimate, found.low, found.high)
        decimals = choose_decimals([(found.high - found.low) / 2], [found.estimate])
        text += " {} [{}, {}]".format(*(format_number(each, decimals) for each in numbers))
    elif found.estimate is not None:
        text += f" {found.estimate:.4g}"
    return f"{text} (n={found.n})"
