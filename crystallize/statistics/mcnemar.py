"""McNemar's test of pairs that are true or false."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crystallize.errors import InvalidValueError
from crystallize.statistics.p_values import above_zero

if TYPE_CHECKING:
    from crystallize.statistics.moments import NumberArray


class Changes(NamedTuple):
    """How two conditions that are true or false compare.

    Attributes
    ----------
    n : int
        How many pairs there are.
    lost, gained : int
        In how many the baseline alone is true, and in how many the treatment alone.
    """

    n: int
    lost: int
    gained: int

    @property
    def p_value(self) -> float:
        """Of no difference, two-sided and exact: whether `lost` and `gained` could be tosses of a fair coin.

        References
        ----------
        McNemar, Q. (1947), "Note on the sampling error of the difference between correlated proportions or
        percentages", Psychometrika 12, 153-157.
        """
        from scipy.special import bdtr

        changed = self.lost + self.gained
        return min(1.0, 2 * float(above_zero(bdtr(min(self.lost, self.gained), changed, 0.5))))

    @property
    def difference(self) -> float:
        """The share of the treatment minus that of the baseline."""
        return (self.gained - self.lost) / self.n


def count_changes(baseline: NumberArray, treatment: NumberArray, metric: str) -> Changes:
    """Return how the pairs compare.

    Raises
    ------
    InvalidValueError
        If a value is neither true nor false, 1 nor 0.
    """
    for values in (baseline, treatment):
        odd = values[(values != 0) & (values != 1)]
        if len(odd):
            raise InvalidValueError(
                f"metric {metric!r} is neither true nor false, for example {odd.item(0)!r}",
                hint="Record True or False, or compare it with paired_t_test",
            )
    lost = int(((baseline == 1) & (treatment == 0)).sum())
    gained = int(((baseline == 0) & (treatment == 1)).sum())
    return Changes(len(baseline), lost, gained)
