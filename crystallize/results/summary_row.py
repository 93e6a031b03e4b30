"""A row of the summary: one metric under one condition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crystallize.results.detail import Detail


@dataclass(frozen=True)
class SummaryRow:
    """One metric under one condition.

    Attributes
    ----------
    metric, condition : str
        Which.
    n : int
        In how many replicates it was recorded. Several values of one replicate count as their mean.
    mean, sd : float or None
        Mean and standard deviation over replicates (``n - 1`` in the denominator); None if not numeric, and
        without enough values.
    difference : float or None
        Mean of treatment minus baseline over the replicates that recorded both; None for the baseline, and if
        there are none.
    interval : tuple of float or None
        Both ends of the confidence interval of `difference`; None for less than two pairs. It is Student's, of the
        paired differences; that of Agresti and Min, if the metric is true or false; Welch's, if its hypothesis compares
        without pairs; Student's on clusters, if the summary has some.
    pairs : int
        How many replicates recorded both.
    failed : int
        How many replicates failed under this condition.
    numeric : bool
        Whether all values are numbers.
    dropped : dict of str to int
        How many replicates are not among the pairs, by the reason: they failed, timed out or were lost under one of the
        two conditions, recorded NaN, or recorded the metric under one of them only.
    method : str or None
        How the interval was found: ``"student"``, ``"bootstrap-t"``, ``"welch"``, ``"shares"`` or ``"clusters"``.
    correlation : float or None
        Of the pairs; None if it has no meaning.
    detail : Detail or None
        More of the comparison, if it was asked for.
    """

    metric: str
    condition: str
    n: int
    mean: float | None = None
    sd: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    pairs: int = 0
    failed: int = 0
    numeric: bool = True
    dropped: dict[str, int] = field(default_factory=dict)
    method: str | None = None
    correlation: float | None = None
    detail: Detail | None = None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.interval is None else (self.interval[1] - self.interval[0]) / 2
