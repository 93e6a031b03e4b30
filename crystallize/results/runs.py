"""The stored runs of experiments: light records, found and chosen without reading what they measured."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from crystallize.errors import CrystallizeError, NewerSchemaError, StoreError, UnknownNameError
from crystallize.results.filters import Means, MetricFilter, mean_over_replicates, parse_filter
from crystallize.results.frame import make_frame
from crystallize.results.load import load_result
from crystallize.store.finding import locate, stored_experiments
from crystallize.store.folders import folder_of, is_pinned, versions
from crystallize.store.layout import ROOT, RunLocation, version_number
from crystallize.store.metadata import (
    DELETED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    read_metadata,
    status_of,
    time_in,
)
from crystallize.store.retention import artifact_size, pruned_of
from crystallize.utils.wording import name_hint

if TYPE_CHECKING:
    from os import PathLike

    from pandas import DataFrame

    from crystallize.results.result import Result

DAMAGED = "damaged"
NEWER = "newer"
UNKNOWN = "unknown"
STATUSES = (FINISHED, FAILED, INTERRUPTED, RUNNING, DELETED, DAMAGED, NEWER, UNKNOWN)
"""What a stored run may be: `damaged` if its metadata cannot be read, `newer` if a newer Crystallize has written them,
`unknown` if it has none."""

_log = logging.getLogger("crystallize.store")


@dataclass(frozen=True)
class StoredRun:
    """A stored run, as its metadata tell of it.

    Attributes
    ----------
    experiment : str
        Name of the experiment's folder.
    version : int
        Its number.
    path : pathlib.Path
        Its folder.
    status : str
        ``complete``, ``failed``, ``interrupted``, ``running``, ``deleted``; ``damaged`` if the metadata cannot be read,
        ``newer`` if a newer Crystallize has written them, ``unknown`` if there are none. A run whose process was killed
        is ``interrupted``.
    started, finished : datetime or None
        When, in UTC; None where it is not known.
    duration : float or None
        How many seconds its last session took: of a run that was resumed, that is not the time from `started` to
        `finished`. None if it did not come to its end.
    replicates : int or None
        How many it was to have.
    conditions : tuple of str
        The baseline first.
    failed_outcomes : int or None
        How many outcomes failed; None if the run did not come to its end.
    pinned : bool
        Whether it is kept, whatever happens.
    size : int
        Bytes of its artifacts that are there, as far as they can be seen.
    problem : str
        Why the metadata cannot be read; empty if they can.
    """

    experiment: str
    version: int
    path: Path
    status: str
    started: datetime | None
    finished: datetime | None
    duration: float | None
    replicates: int | None
    conditions: tuple[str, ...]
    failed_outcomes: int | None
    pinned: bool
    size: int
    problem: str = ""

    @property
    def when(self) -> datetime | None:
        """When it ended; if that is not known, when it started."""
        return self.finished or self.started

    @property
    def took(self) -> timedelta | None:
        """How long it took; None if that is not known, as for a run that was resumed."""
        if self.started is None or self.finished is None or self.duration is None:
            return None
        span = self.finished - self.started
        return span if span.total_seconds() - self.duration < _SECONDS_OF_ONE_SESSION else None

    @property
    def full_status(self) -> str:
        """Its status, and whether it is pinned: ``complete, pinned``."""
        return f"{self.status}, pinned" if self.pinned else self.status

    @property
    def name(self) -> str:
        """The name of its folder: ``v3``."""
        return f"v{self.version}"

    def result(self) -> Result:
        """Return what the run measured; see :func:`crystallize.open_run`."""
        return load_result(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values."""
        times = {key: None if (at := getattr(self, key)) is None else at.isoformat() for key in _TIMES}
        return asdict(self) | {"path": str(self.path), "conditions": list(self.conditions)} | times


_TIMES = ("started", "finished")
_SECONDS_OF_ONE_SESSION = 1.0  # so much may lie between its time by the clock and the one that was counted


class Runs(Sequence[StoredRun]):
    """Stored runs, the newest of each experiment last.

    Parameters
    ----------
    found : iterable of StoredRun
        The runs.
    """

    def __init__(self, found: Iterable[StoredRun]) -> None:
        self._runs = tuple(found)

    @overload
    def __getitem__(self, place: int) -> StoredRun: ...
    @overload
    def __getitem__(self, place: slice) -> Runs: ...
    def __getitem__(self, place: int | slice) -> StoredRun | Runs:
        return Runs(self._runs[place]) if isinstance(place, slice) else self._runs[place]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[StoredRun]:
        return iter(self._runs)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {run.experiment} {run.name}: {run.status}, {run.when}" for run in self)
        return f"<{len(self)} stored runs>{lines}"

    def select(
        self,
        *,
        status: str | Collection[str] = (),
        older_than: timedelta | None = None,
        newer_than: timedelta | None = None,
        larger_than: int | None = None,
        where: str | Iterable[str] = (),
    ) -> Runs:
        """Return those for which all holds that is given.

        Parameters
        ----------
        status : str or collection of str, optional
            One of these; any, if not given.
        older_than, newer_than : datetime.timedelta, optional
            They ended longer ago than that, or not so long ago.
        larger_than : int, optional
            Their artifacts have more bytes.
        where : str or iterable of str, optional
            Comparisons of a metric's mean over replicates with a number: ``"rmse < 60"`` holds if it does for any
            condition, ``"ridge.rmse < 60"`` if it does for this one. A run that is not complete is left out.

        Raises
        ------
        InvalidValueError
            If a comparison cannot be read.
        UnknownNameError
            If there is no such status, or none of the runs has such a metric.
        """
        statuses = {status} if isinstance(status, str) else set(status)
        for each in statuses.difference(STATUSES):
            raise UnknownNameError(
                f"no run is ever {each!r}", hint=name_hint(each, "A run is one of", STATUSES)
            )
        filters = [parse_filter(text) for text in ([where] if isinstance(where, str) else where)]
        now = datetime.now(UTC)
        found = [
            run
            for run in self
            if (not statuses or run.status in statuses)
            and (older_than is None or (run.when is not None and now - run.when > older_than))
            and (newer_than is None or (run.when is not None and now - run.when < newer_than))
            and (larger_than is None or run.size > larger_than)
        ]
        return Runs(_accepted(found, filters) if filters else found)

    def to_frame(self) -> DataFrame:
        """Return all values of the complete runs as a tidy frame, to compare them.

        Its columns are run, replicate, condition, one for each factor of a grid, metric, value, and one for each tag.
        ``run`` is the name ``v<N>``, or ``experiment/v<N>`` if the runs are of several experiments; a tag or a factor
        of that name is in ``tag:run`` or ``factor:run``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        StoreError
            If the results of a run cannot be read.
        """
        several = len({run.experiment for run in self}) > 1
        labelled = (
            ({"run": f"{run.experiment}/{run.name}" if several else run.name}, run.result())
            for run in self
            if run.status == FINISHED
        )
        conditions = (
            (label, condition) for label, result in labelled for condition in result.metrics.conditions
        )
        return make_frame(conditions, ["run"], "The frame of several runs")


def runs(experiment: str | PathLike[str] | None = None, *, root_dir: str | Path = ROOT) -> Runs:
    """Return the stored runs of an experiment, the newest last; deleted ones are left out.

    What they measured is not read: that is what ``runs("centre")[-1].result()`` does.

    Parameters
    ----------
    experiment : str or path, optional
        Its name, or its folder below the root; every experiment, if not given.
    root_dir : str or path, optional
        The ``root_dir`` of the plugin that stored them.

    Raises
    ------
    UnknownNameError
        If there is no such experiment, with the nearest name.
    """
    if experiment is None:
        return read_runs(stored_experiments(root_dir))
    location, version = locate(experiment, root_dir)
    return Runs(run for run in read_runs([location]) if version is None or run.version == version)


def read_runs(locations: Iterable[RunLocation], *, with_deleted: bool = False) -> Runs:
    """Return the runs of some experiments, each experiment's newest last.

    Of several experiments, one whose folder cannot be looked into is passed over, with a warning.
    """
    places = list(locations)
    return Runs(
        run
        for location in places
        for folder in _folders(location, may_fail=len(places) == 1)
        if (run := read_run(location.experiment, folder)).status != DELETED or with_deleted
    )


def _folders(location: RunLocation, *, may_fail: bool) -> list[Path]:
    try:
        return versions(folder_of(location))[::-1]
    except StoreError as error:
        if may_fail:
            raise
        _log.warning("the runs of %r are passed over: %s", location.experiment, error)
        return []


def read_run(experiment: str, folder: Path, *, sized: bool = True) -> StoredRun:
    """Return the record of one run: its metadata, and two names that are looked for, are all that is read.

    Its size is looked for where the metadata do not have it, as while the run goes on; unless it need not be `sized`.
    """
    problem = ""
    try:
        metadata = read_metadata(folder) or {"status": UNKNOWN}
    except StoreError as error:
        metadata = {"status": NEWER if isinstance(error, NewerSchemaError) else DAMAGED}
        problem = str(error)
    status = status_of(folder, metadata)
    conditions = metadata.get("conditions")
    replicates, failed = (metadata.get(key) for key in ("replicates", "failed_outcomes"))
    return StoredRun(
        experiment,
        version_number(folder.name) or 0,
        folder,
        status if status in STATUSES else UNKNOWN,
        time_in(metadata, "started"),
        time_in(metadata, "finished"),
        metadata.get("duration"),
        replicates if type(replicates) is int else None,
        tuple(conditions) if isinstance(conditions, dict) else (),
        failed if type(failed) is int else None,
        is_pinned(folder),
        _size(folder, metadata.get("artifact_bytes")) if sized and status != DELETED else 0,
        problem,
    )


def _size(folder: Path, written: Any) -> int:
    """Return how many bytes of artifacts are there: what the run wrote without what was pruned, or what is found."""
    if type(written) is int:
        return max(0, written - pruned_of(folder).size)
    return artifact_size(folder)


def _accepted(found: Iterable[StoredRun], filters: Sequence[MetricFilter]) -> list[StoredRun]:
    """Return the runs that all filters accept."""
    measured = [(run, means) for run in found if (means := _means(run))]
    for each in filters:
        if measured and not any(each.values(means) for _, means in measured):
            known = {
                name
                for _, means in measured
                for condition, of_metric in means.items()
                for metric in of_metric
                for name in (metric, f"{condition}.{metric}")
            }
            plain = [
                name for name in known if any(name in of for _, means in measured for of in means.values())
            ]
            raise UnknownNameError(
                f"none of the runs has a metric {each.name!r}",
                hint=name_hint(each.name, "Their metrics are", known if "." in each.name else plain),
            )
    return [run for run, means in measured if all(each.accepts(means) for each in filters)]


def _means(run: StoredRun) -> Means | None:
    """Return what a run measured, as far as it can be compared; None if it has no results."""
    if run.status != FINISHED:
        return None
    try:
        result = run.result()
    except CrystallizeError as error:
        _log.warning("a stored run is passed over: %s", error)
        return None
    return {
        each.name: {
            metric: mean
            for metric, column in each.columns.items()
            if (mean := mean_over_replicates(column)) is not None
        }
        for each in result.metrics.conditions
    }
