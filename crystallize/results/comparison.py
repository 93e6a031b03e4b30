"""What differs between two stored runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import InvalidTypeError
from crystallize.results.circumstances import Change, changes, signature_changes, value_text
from crystallize.results.load import load_run
from crystallize.results.measured import MeasuredRun
from crystallize.statistics.moments import difference_of_means, moments, paired_differences
from crystallize.statistics.samples import per_replicate
from crystallize.utils.json_text import to_json
from crystallize.utils.text_table import TextTable, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crystallize.metrics.columns import Column
    from crystallize.metrics.condition import ConditionMetrics
    from crystallize.results.result import Result


@dataclass(frozen=True)
class MetricDifference:
    """One metric of one condition in two runs.

    Attributes
    ----------
    condition, metric : str
        Which one.
    pairs : int
        How many replicates both runs measured with the same seed. If there are any, both means are over these alone.
    before, after : float or None
        The mean in each run, in the metric's unit; None if the run did not measure it, or not as numbers.
    difference : float or None
        The second run's mean minus the first's: the mean of the paired differences where there are pairs.
    largest : float or None
        The largest paired difference, without its sign.
    same : bool
        Whether each replicate has the same values in both runs, whatever their type.
    """

    condition: str
    metric: str
    pairs: int
    before: float | None
    after: float | None
    difference: float | None
    largest: float | None
    same: bool


@dataclass(frozen=True)
class RunDifference:
    """What differs between two runs, part by part; equal parts are empty.

    Attributes
    ----------
    settings, environment, packages, plugins, seeds : list of Change
        What has changed.
    inputs : list of Change
        The artifacts of other experiments that were read of another run; none, if what each outcome read is the same.
    code : list of str
        Functions, classes and modules whose hash differs, or that only one of the runs has.
    metrics : list of MetricDifference
        Every metric of every condition, also of those that only one of the runs has.
    """

    settings: list[Change]
    code: list[str]
    inputs: list[Change]
    environment: list[Change]
    packages: list[Change]
    plugins: list[Change]
    seeds: list[Change]
    metrics: list[MetricDifference]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts and lists."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield the lines of a text that tells what differs."""
        for title in ("settings", "code", "inputs", "environment", "packages", "plugins", "seeds"):
            part = getattr(self, title)
            yield ""
            yield f"{title}: {'' if part else 'no difference'}".rstrip()
            yield from wrapped(each if title == "code" else _told(each) for each in part)
        yield ""
        yield from _table(self.metrics)


def compare_runs(before: str | Path, after: str | Path) -> RunDifference:
    """Return what differs between two stored runs, each the folder ``<root>/<experiment>/v<N>``.

    None of the user's code is imported, so runs of experiments that are gone can be compared.

    Raises
    ------
    StoreError
        If one of them is no run, or is damaged.
    """
    (result, metadata), (other, others) = load_run(before), load_run(after)
    known = ("seed", "plugins", "python")  # the metadata tell more of them
    settings, code = signature_changes(metadata, others, leaving_out=known)
    named_plugins = [{each["name"]: each for each in run.get("plugins", ())} for run in (metadata, others)]
    return RunDifference(
        settings=[
            *changes({"replicates": result.replicates}, {"replicates": other.replicates}),
            *settings,
        ],
        code=sorted({change.name for change in code}),
        inputs=_input_changes(Path(before), Path(after), metadata, others),
        environment=changes(metadata.get("environment"), others.get("environment")),
        packages=changes(metadata.get("packages"), others.get("packages")),
        plugins=changes(*named_plugins),
        seeds=changes(_seeds(result, other), _seeds(other, result)),
        metrics=compare_metrics(result, other),
    )


def compare_metrics(before: Result, after: Result) -> list[MetricDifference]:
    """Return how every metric of every condition differs between two results."""
    found = []
    for name in dict.fromkeys((*before.conditions, *after.conditions)):
        sides = [each.condition(name) if name in each.conditions else None for each in (before, after)]
        metrics = dict.fromkeys(metric for side in sides if side is not None for metric in side.columns)
        found += [_metric_difference(name, metric, *sides) for metric in metrics]
    return found


# -- inputs --------------------------------------------------------------------------------------------------


def _input_changes(
    before: Path, after: Path, metadata: Mapping[str, Any], others: Mapping[str, Any]
) -> list[Change]:
    """Return which artifacts were read of another run, unless each outcome has read the same bytes of it."""
    found = changes(_read_of(metadata), _read_of(others))
    if not found:
        return []
    read, its = (
        {
            (replicate, each.condition): each.consumed
            for replicate, outcomes in MeasuredRun(run)
            for each in outcomes
        }
        for run in (before, after)
    )
    both = read.keys() & its.keys()
    is_same = bool(both) and all(read[place] is not None and read[place] == its[place] for place in both)
    return [] if is_same else found


def _read_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return which run each artifact was read of."""
    return {
        f"{each['experiment']}/{each['artifact']}": f"{each['version']}, run {each['run']}"
        for each in metadata.get("inputs", ())
    }


# -- seeds ---------------------------------------------------------------------------------------------------


def _seeds(result: Result, other: Result) -> dict[str, Any]:
    """Return the seeds of a run, of the replicates that both runs have made under a condition."""
    found: dict[str, Any] = {"master_seed": result.master_seed}
    for name, seeds in result.seeds.items():
        both = zip(seeds, other.seeds.get(name, seeds), strict=False)
        found[name] = [seed for seed, its in both if None not in (seed, its)]
    return found


# -- metrics -------------------------------------------------------------------------------------------------


def _metric_difference(
    condition: str, metric: str, before: ConditionMetrics | None, after: ConditionMetrics | None
) -> MetricDifference:
    columns = [None if side is None else side.columns.get(metric) for side in (before, after)]
    rows = [{} if column is None else dict(column.by_replicate()) for column in columns]
    same = to_json(rows[0]) == to_json(rows[1])  # all of an array, and NaN equals NaN
    pairs = []
    if before is not None and after is not None:
        seeds = enumerate(zip(before.seeds, after.seeds, strict=False))
        pairs = [
            replicate
            for replicate, (seed, other) in seeds
            if seed is not None and seed == other and replicate in rows[0] and replicate in rows[1]
        ]
    numbers = [_numbers(column, metric, pairs) for column in columns]
    ours, theirs = (None if each is None else moments(each) for each in numbers)
    means = [None if each is None else each.mean for each in (ours, theirs)]
    difference = largest = None
    if ours is not None and theirs is not None:
        if pairs:
            gaps = paired_differences(*numbers)
            difference, largest = moments(gaps).mean, float(abs(gaps).max())
        else:
            difference = difference_of_means(ours, theirs)
    return MetricDifference(condition, metric, len(pairs), means[0], means[1], difference, largest, same)


def _numbers(column: Column | None, metric: str, replicates: list[int]) -> Any:
    """Return one number for each replicate, of those wanted if any are; None if they are no numbers."""
    if column is None:
        return None
    try:
        numbers = per_replicate(column, metric)
    except InvalidTypeError:
        return None
    if not replicates:
        return numbers if len(numbers) else None
    place = {replicate: i for i, (replicate, _) in enumerate(column.by_replicate())}
    return numbers[[place[replicate] for replicate in replicates]]


# -- telling -------------------------------------------------------------------------------------------------


def _told(change: Change) -> str:
    before, after = (value_text(value, quoted=True) for value in (change.before, change.after))
    return f"{change.name}: {before} -> {after}"


def _table(found: Sequence[MetricDifference]) -> list[str]:
    if not found:
        return ["metrics: none"]

    def number(value: float | None) -> str:
        return "-" if value is None else format(value, ".6g")

    rows = [
        (
            each.condition,
            each.metric,
            number(each.before),
            number(each.after),
            "same" if each.same else number(each.difference),
            str(each.pairs),
        )
        for each in found
    ]
    return TextTable(("condition", "metric", "before", "after", "difference", "pairs"), rows).lines()
