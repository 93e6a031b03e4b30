"""What each factor of a design does to a metric: main effects and two-way interactions."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import InvalidValueError, MissingMetricError, UnknownNameError
from crystallize.metrics.condition import check_recorded, recorded_metrics
from crystallize.statistics.adjustment import holm
from crystallize.statistics.moments import mean_of, moments, paired_differences, rounding_of
from crystallize.statistics.p_values import rounded
from crystallize.statistics.samples import has_finite_number, numbers_in
from crystallize.statistics.t_tests import MeanDifference
from crystallize.statistics.verdicts import sharing_notes
from crystallize.utils.checks import check_share
from crystallize.utils.levels import factors_of, level_label
from crystallize.utils.number_text import align_points, decimals_of_each, format_number
from crystallize.utils.text_table import WIDTH, TextTable, wrapped
from crystallize.utils.wording import counted, listed, name_hint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from crystallize.metrics.condition import ConditionMetrics
    from crystallize.statistics.moments import FloatArray

_MOST_ROWS = 20
_NOISE = 4  # how many times the rounding of numbers is what sums of a few of them lose


@dataclass(frozen=True)
class Effect:
    """What the change of one factor, or of two together, does to a metric.

    Attributes
    ----------
    factors : tuple of str
        One for a main effect, two for an interaction.
    changes : tuple of (str, str)
        Of each factor, the levels that are compared: from the first one to another. Numbers are in ascending order,
        other levels in that of the design.
    estimate : float
        In the metric's unit. Of one factor: the metric at its second level minus that at its first, averaged over the
        levels of all others. Of two: half of what the first one's effect differs between the levels of the second.
    interval : tuple of float or None
        Student's interval of the mean over replicates; None with one replicate.
    p_value, adjusted : float or None
        Two-sided, of no effect: by itself, and corrected by Holm's method for all effects of the table.
    """

    factors: tuple[str, ...]
    changes: tuple[tuple[str, str], ...]
    estimate: float
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    adjusted: float | None = None

    @property
    def name(self) -> str:
        """The factors: ``lr``, or ``lr x depth``."""
        return " x ".join(self.factors)


@dataclass(frozen=True, repr=False)
class Effects(Sequence[Effect]):
    """The effects of a design on one metric; ``print(effects)`` shows them as a table.

    Attributes
    ----------
    metric : str
        The metric.
    effects : tuple of Effect
        Main effects first, in the order of the factors.
    replicates : int
        How many replicates count: those with the metric in every cell.
    dropped : int
        How many do not, since a cell failed in them, gave no finite number, or was dropped by a stopping rule.
    confidence : float
        Level of the intervals.
    confounded : tuple of str
        The effects that this design does not tell from others.
    notes : tuple of str
        What else is to be known.
    was_stopped : bool
        Whether a rule has ended the run, or one that it reads, by what it saw, so that the level does not hold.
    shared_inputs : mapping of str to int
        Each experiment of which several replicates read the same artifact, with how many replicates that has: then the
        level does not hold, either.
    """

    metric: str
    effects: tuple[Effect, ...]
    replicates: int
    dropped: int
    confidence: float
    confounded: tuple[str, ...]
    notes: tuple[str, ...]
    _cells: tuple[tuple[Mapping[str, Any], float], ...]
    was_stopped: bool = False
    shared_inputs: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, place: Any) -> Any:
        return self.effects[place]

    def __len__(self) -> int:
        return len(self.effects)

    def of(self, *factors: str) -> list[Effect]:
        """Return the effects of a factor, or the interactions of two: one for each change of levels.

        Raises
        ------
        UnknownNameError
            If there is no such effect.
        """
        found = [effect for effect in self.effects if set(effect.factors) == set(factors)]
        if not found:
            names = dict.fromkeys(effect.name for effect in self.effects)
            wanted = " x ".join(factors)
            raise UnknownNameError(
                f"there is no effect of {wanted!r}", hint=name_hint(wanted, "There are those of", names)
            )
        return found

    def interaction(self, first: str, second: str) -> str:
        """Return a table of the metric's mean at each level of `first` (down) and of `second` (across)."""
        down, across, means = self._means(first, second)
        whole = max(means.values()) - min(means.values())
        *decimals, _ = decimals_of_each([*_ranges_around(means), whole], [*means.values(), None])
        shown = {
            place: format_number(mean, own)
            for (place, mean), own in zip(means.items(), decimals, strict=True)
        }
        rows = [(f"{first}={one}", *(shown.get((one, other), "") for other in across)) for one in down]
        table = TextTable((self.metric, *(f"{second}={other}" for other in across)), rows, names=1)
        return "\n".join(table.lines())

    def plot(self, first: str, second: str, *, axes: Axes | None = None) -> Axes:
        """Draw the metric's mean at each level of `first`, with a line for each level of `second`.

        Where the lines are parallel, the factors do not interact. Levels stand at equal distances.

        Parameters
        ----------
        first, second : str
            Two factors.
        axes : matplotlib.axes.Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            To change, or to save: ``effects.plot("lr", "depth").figure.savefig("interaction.png")``.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        levels, lines, means = self._means(first, second)
        if axes is None:
            try:
                from matplotlib import pyplot
            except ImportError:
                raise ImportError(
                    "Effects.plot needs matplotlib. Install it with: pip install 'crystallize-lab[plot]'"
                ) from None
            axes = pyplot.figure(layout="constrained").subplots()
        for line in lines:
            heights = [means.get((level, line), math.nan) for level in levels]
            axes.plot(range(len(levels)), heights, marker="o", label=f"{second}={line}")
        axes.set_xticks(range(len(levels)), levels)
        axes.set_xlabel(first)
        axes.set_ylabel(self.metric)
        axes.legend()
        return axes

    def _means(self, first: str, second: str) -> tuple[list[str], list[str], dict[tuple[str, str], float]]:
        """Return the labels of the levels of two factors, and the mean of the cells with each two of them."""
        levels = _levels_in_order(cell for cell, _ in self._cells)
        for factor in (first, second):
            if factor not in levels:
                hint = name_hint(factor, "The factors are", levels)
                raise UnknownNameError(f"the design has no factor {factor!r}", hint=hint)
        if first == second:
            raise InvalidValueError(f"an interaction is one of two factors, got {first!r} twice")
        cells: dict[tuple[str, str], list[float]] = {}
        for cell, mean in self._cells:
            place = level_label(first, cell[first]), level_label(second, cell[second])
            cells.setdefault(place, []).append(mean)
        down, across = (
            [level_label(factor, level) for level in levels[factor]] for factor in (first, second)
        )
        return down, across, {place: mean_of(found) for place, found in cells.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts and lists."""
        return {
            "metric": self.metric,
            "replicates": self.replicates,
            "dropped": self.dropped,
            "confidence": self.confidence,
            "effects": [asdict(effect) for effect in self.effects],
            "confounded": list(self.confounded),
            "was_stopped": self.was_stopped,
            "shared_inputs": dict(self.shared_inputs),
        }

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def lines(self, width: int = WIDTH) -> list[str]:
        """Return the lines of a text of at most `width` columns: the first effects, and how many more there are."""
        return [*self._table(_MOST_ROWS).lines(width), "", *wrapped(self._remarks(_MOST_ROWS), width)]

    def _repr_html_(self) -> str:
        notes = "<br>".join(map(html.escape, self._remarks(len(self))))
        return f"{self._table(len(self)).html()}<p>{notes}</p>"

    def _table(self, most: int) -> TextTable:
        shown = self.effects[:most]
        alpha = 1 - self.confidence
        halves = [None if each.interval is None else each.interval[1] - each.interval[0] for each in shown]
        decimals = decimals_of_each(halves, [each.estimate for each in shown])
        estimates = align_points(
            [format_number(each.estimate, own, sign="+") for each, own in zip(shown, decimals, strict=True)]
        )
        rows = [
            (
                effect.name,
                ", ".join(f"{low} to {high}" for low, high in effect.changes),
                estimate,
                ""
                if effect.interval is None
                else "[{}, {}]".format(*(format_number(end, own, sign="+") for end in effect.interval)),
                *("" if p is None else rounded(p, alpha, 3) for p in (effect.p_value, effect.adjusted)),
            )
            for effect, estimate, own in zip(shown, estimates, decimals, strict=True)
        ]
        header = ("effect", "change", self.metric, f"{100 * self.confidence:g}% interval", "p", "Holm")
        return TextTable(header, rows)

    def _remarks(self, most: int) -> Iterator[str]:
        more = len(self) - most
        if more > 0:
            yield f"And {counted(more, 'effect')} more."
        yield f"{counted(self.replicates, 'replicate')}, each a block with all cells."
        if self.dropped:
            was_dropped = ", or was dropped by the stopping rule" if self.was_stopped else ""
            yield (
                f"{counted(self.dropped, 'replicate')} left out, where a cell failed or gave no finite number"
                f"{was_dropped}."
            )
        if self.replicates > 1:
            corrected = f"; Holm: p corrected for {len(self)} effects" if len(self) > 1 else ""
            yield f"interval: Student's t over replicates{corrected}."
        else:
            yield "One replicate tells nothing of how sure an effect is."
        if self.was_stopped:
            yield (
                "A rule has ended this run, or one that it reads, by what it saw, and intervals and p-values hold for "
                "a number of replicates that was fixed beforehand."
            )
        yield from sharing_notes(self.shared_inputs, self.replicates + self.dropped)
        yield from self.notes
        if self.confounded:
            shown = ", ".join(self.confounded[:_MOST_ROWS])
            more = len(self.confounded) - _MOST_ROWS
            yield f"Not told from other effects by this design: {shown}{f' and {more} more' if more > 0 else ''}."


def find_effects(
    conditions: Sequence[ConditionMetrics],
    metric: str,
    replicates: int,
    *,
    interactions: bool,
    confidence: float,
) -> Effects:
    """Return the effects of the factors on `metric`; see :meth:`crystallize.Result.effects`."""
    import numpy as np

    check_share("confidence", confidence)
    cells = _cells_of(conditions, metric)
    columns = [cell.columns[metric] for cell in cells]
    end = max(column.end for column in columns)
    common = np.logical_and.reduce([has_finite_number(column, metric, end) for column in columns])
    if not common.any():
        raise InvalidValueError(
            f"no replicate has a finite {metric!r} in all {len(cells)} cells, so that no effect can be computed"
        )
    design = _Design([cell.coordinates for cell in cells])
    design.check(len(cells))
    contrasts, confounded, notes = design.contrasts(interactions)
    table = numbers_in(columns, metric, common)
    # All contrasts are of differences: those to the first cell have the digits that large numbers would take from them.
    values = paired_differences(table[:1], table)
    noise = _NOISE * rounding_of(table, values)
    found = [_effect(design, each, each.weights @ values, noise, confidence) for each in contrasts]
    corrected = holm([math.nan if each.p_value is None else each.p_value for each in found])
    effects = tuple(
        Effect(
            each.factors,
            each.changes,
            each.estimate,
            each.interval,
            each.p_value,
            None if each.p_value is None else p,
        )
        for each, p in zip(found, corrected, strict=True)
    )
    means = zip((cell.coordinates for cell in cells), moments(table).mean.tolist(), strict=True)
    names = tuple(dict.fromkeys(" x ".join(contrast.factors) for contrast in confounded))
    n = table.shape[1]
    return Effects(metric, effects, n, replicates - n, float(confidence), names, notes, tuple(means))


def _ranges_around(means: Mapping[tuple[str, str], float]) -> list[float]:
    """Return how much the means of each cell's row differ, or those of its column, if that is less and not nothing."""
    lines: dict[tuple[int, str], list[float]] = {}
    for place, mean in means.items():
        for line in enumerate(place):
            lines.setdefault(line, []).append(mean)
    ranges = {line: max(found) - min(found) for line, found in lines.items()}
    return [min(filter(None, map(ranges.__getitem__, enumerate(place))), default=0.0) for place in means]


def _levels_in_order(cells: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the levels of each factor: numbers in ascending order, others as they come."""
    return {
        factor: sorted(levels) if all(type(level) in (int, float) for level in levels) else levels
        for factor, levels in factors_of(cells).items()
    }


def _cells_of(conditions: Sequence[ConditionMetrics], metric: str) -> list[ConditionMetrics]:
    cells = [condition for condition in conditions if condition.coordinates]
    if not cells:
        raise InvalidValueError(
            "the run has no design, so that there are no factors",
            hint="Make its treatments with grid(...), zipped(...), cases(...) or design(...)",
        )
    check_recorded(metric, recorded_metrics(conditions))
    factors = factors_of(cell.coordinates for cell in cells)
    for cell in cells:
        lacking = factors.keys() - cell.coordinates.keys()
        if lacking:
            raise InvalidValueError(
                f"the cell {cell.name!r} has no {listed(lacking)}, and effects compare cells that have all factors"
            )
        if metric not in cell.columns:
            raise MissingMetricError(f"the cell {cell.name!r} recorded no {metric!r}")
    return cells


class _Contrast(NamedTuple):
    """A change of one factor or two: their places, and the places of the levels that are compared with the first."""

    places: tuple[int, ...]
    levels: tuple[int, ...]
    factors: tuple[str, ...]
    weights: Any = None


class _Design:
    """The cells of a design as numbers: of each, the place of its level of each factor that has several."""

    def __init__(self, cells: Sequence[Mapping[str, Any]]) -> None:
        import numpy as np

        found = {name: levels for name, levels in _levels_in_order(cells).items() if len(levels) > 1}
        self.labels = {name: [level_label(name, each) for each in levels] for name, levels in found.items()}
        self.names = list(found)
        places = {name: {label: place for place, label in enumerate(self.labels[name])} for name in found}
        self.codes = np.array(
            [[places[name][level_label(name, cell[name])] for name in found] for cell in cells], dtype=np.intp
        ).reshape(len(cells), len(found))
        self.sizes = [len(levels) for levels in found.values()]
        self.is_full = len(cells) == math.prod(self.sizes)

    def check(self, cells: int) -> None:
        """Refuse designs whose cells have few levels in common."""
        if not self.names:
            raise InvalidValueError("no factor has more than one level, so that there is nothing to compare")
        for name, size in zip(self.names, self.sizes, strict=True):
            if not self.is_full and size > 2 and 2 * cells < 3 * size:
                raise InvalidValueError(
                    f"the factor {name!r} has {size} levels in {cells} cells, and effects compare levels that several "
                    "cells share",
                    hint="Fit a curve to result.to_frame() instead",
                )

    def contrasts(self, interactions: bool) -> tuple[list[_Contrast], list[_Contrast], tuple[str, ...]]:
        """Return the contrasts with the weights of the cells, those that are confounded, and what is to be known."""
        mains = [
            _Contrast((place,), (level,), (self.names[place],))
            for place, size in enumerate(self.sizes)
            for level in range(1, size)
        ]
        pairs = [
            _Contrast(one.places + other.places, one.levels + other.levels, one.factors + other.factors)
            for one, other in itertools.combinations(mains if interactions else (), 2)
            if one.places != other.places
        ]
        if self.is_full:
            return [each._replace(weights=self._exact(each)) for each in (*mains, *pairs)], [], ()
        notes: tuple[str, ...] = (
            "The cells are no full grid: the effects are those of least squares in each replicate.",
        )
        found, confounded = self._fitted(mains, pairs)
        if pairs and any(each in confounded for each in mains):
            found, confounded = self._fitted(mains, [])
            confounded += pairs
            notes += ("Interactions are taken to be nothing: the cells do not tell them from main effects.",)
        return found, confounded, notes

    def _exact(self, contrast: _Contrast) -> FloatArray:
        """Return the weights of a full grid: plain differences of averages."""
        import numpy as np

        weights = np.ones(len(self.codes))
        for place, level in zip(contrast.places, contrast.levels, strict=True):
            codes = self.codes[:, place]
            weights *= (codes == level) * 1.0 - (codes == 0)
        cells_at_levels = len(self.codes) // math.prod(self.sizes[place] for place in contrast.places)
        return weights / (cells_at_levels * len(contrast.places))

    def _fitted(
        self, mains: Sequence[_Contrast], pairs: Sequence[_Contrast]
    ) -> tuple[list[_Contrast], list[_Contrast]]:
        """Return the contrasts that a least squares fit can estimate, with its weights, and those that it cannot."""
        import numpy as np

        codings = [_sum_to_zero(size) for size in self.sizes]
        crossed = list(dict.fromkeys(each.places for each in pairs))
        blocks = [np.ones((len(self.codes), 1))]
        coded = [coding[self.codes[:, place]] for place, coding in enumerate(codings)]
        blocks += coded
        blocks += [_row_products(coded[one], coded[other]) for one, other in crossed]
        starts = dict(
            zip(
                [(), *((place,) for place in range(len(codings))), *crossed],
                itertools.accumulate((block.shape[1] for block in blocks), initial=0),
                strict=False,
            )
        )
        matrix = np.concatenate(blocks, axis=1)
        inverse = np.linalg.pinv(matrix)
        known = inverse @ matrix
        found: list[_Contrast] = []
        confounded: list[_Contrast] = []
        for each in (*mains, *pairs):
            changes = [
                codings[place][level] - codings[place][0]
                for place, level in zip(each.places, each.levels, strict=True)
            ]
            change = changes[0] if len(changes) == 1 else np.kron(*changes) / 2
            wanted = np.zeros(matrix.shape[1])
            start = starts[each.places]
            wanted[start : start + len(change)] = change
            if np.allclose(wanted @ known, wanted, atol=1e-8):
                found.append(each._replace(weights=wanted @ inverse))
            else:
                confounded.append(each)
        return found, confounded

    def changes(self, contrast: _Contrast) -> tuple[tuple[str, str], ...]:
        """Return the labels of the levels that a contrast compares."""
        return tuple(
            (self.labels[name][0], self.labels[name][level])
            for name, level in zip(contrast.factors, contrast.levels, strict=True)
        )


def _sum_to_zero(size: int) -> FloatArray:
    """Return the coding of a factor whose effects add up to zero: levels x (levels - 1)."""
    import numpy as np

    return np.vstack([np.eye(size - 1), -np.ones(size - 1)])


def _row_products(one: FloatArray, other: FloatArray) -> FloatArray:
    products: FloatArray = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
    return products


def _effect(
    design: _Design, contrast: _Contrast, found: FloatArray, noise: float, confidence: float
) -> Effect:
    import numpy as np

    if np.ptp(found) <= noise:  # the same in each replicate but for what its sum has lost
        mean = float(found.mean())
        found = np.full(len(found), mean if abs(mean) > noise else 0.0)
    difference = MeanDifference.of_pairs(moments(found))
    is_known = len(found) > 1 and not math.isnan(difference.error)
    return Effect(
        contrast.factors,
        design.changes(contrast),
        difference.difference,
        difference.interval(confidence) if is_known else None,
        difference.p_value if is_known else None,
    )
