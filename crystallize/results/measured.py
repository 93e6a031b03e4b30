"""A stored run, outcome by outcome: for those who read it several times and hold none of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import StoreError
from crystallize.results.load import from_results
from crystallize.store.extent import Extent
from crystallize.store.journal_reader import JournalReader, StoredOutcomes, has_begun
from crystallize.store.layout import JOURNAL, ArtifactEntry
from crystallize.store.metadata import FINISHED, read_metadata
from crystallize.store.outcome import Outcome
from crystallize.store.reader import replicates_of

if TYPE_CHECKING:
    from crystallize.results.result import Result


class MeasuredRun:
    """The outcomes of a stored run that count, and what its metadata tell.

    Nothing is unpickled: a metric that is no plain data is its ``repr``. Of a run without a journal, results.json tell
    what was measured.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.
    with_journal : bool, default True
        Whether to read the journal, if there is one. Without it, tags, seeds and traces are not known, nor why an
        outcome failed.

    Attributes
    ----------
    metadata : dict
        Its metadata.
    conditions : tuple of str
        Its conditions, the baseline first.
    replicates : int or None
        How many replicates it was to have, if that is known.
    steps : sequence of str
        The names of its steps; empty if they are not known.
    has_journal : bool
        Whether it is read from its journal.

    Raises
    ------
    StoreError
        If there is no run, if it has measured nothing, or if a file is damaged.
    """

    def __init__(self, folder: Path, *, with_journal: bool = True) -> None:
        self.folder = folder
        metadata = read_metadata(folder)
        if metadata is None:
            raise StoreError("no run is stored here, for there is no metadata", str(folder))
        self.metadata = metadata
        self._extent = Extent.of(metadata)
        self.steps: Sequence[str] = ()
        self.has_journal = with_journal and has_begun(folder / JOURNAL)
        if self.has_journal:
            session = self._from_journal().sessions[-1]
            self.conditions = session.conditions
            self.replicates = self._extent.replicates or session.replicates or replicates_of(metadata)
            self.steps = [name for name, _ in session.steps]
        else:
            result = self._result()
            self.conditions, self.replicates = result.conditions, result.replicates
        experiment = re.escape(str(folder.absolute().parent))
        self._places = re.compile(rf"{experiment}[/\\][^/\\\s'\"]+")

    def __iter__(self) -> Iterator[tuple[int, Sequence[Outcome]]]:
        """Yield each replicate with its outcomes that are there by now, in the order of the conditions.

        Where an error names the run's folder, it is ``<run>``.
        """
        for replicate, outcomes in self._from_journal() if self.has_journal else self._from_results():
            yield replicate, [self._without_place(each) if each.error else each for each in outcomes]

    def count_lost(self, outcomes: int) -> int:
        """Return how many more outcomes than these a complete run has had; of one that is not complete, 0."""
        if self.metadata.get("status") != FINISHED:
            return 0
        owed = (self._extent.count_owed(each, self.conditions) for each in range(self.replicates or 0))
        return max(0, sum(owed) - outcomes)

    def _without_place(self, outcome: Outcome) -> Outcome:
        error = outcome.error
        assert error is not None
        return outcome._replace(error=error._replace(message=self._places.sub("<run>", error.message)))

    def _from_journal(self) -> StoredOutcomes:
        stored = StoredOutcomes(JournalReader(self.folder / JOURNAL), extent=self._extent)
        stored.check_run(self.metadata.get("run"))
        return stored

    def _result(self) -> Result:
        return from_results(self.folder, self.metadata)

    def _from_results(self) -> Iterator[tuple[int, Sequence[Outcome]]]:
        result = self._result()
        artifacts: dict[tuple[int, str], list[ArtifactEntry]] = {}
        for entry in result.artifacts:
            artifacts.setdefault((entry.replicate, entry.condition), []).append(entry)
        metrics: dict[tuple[int, str], dict[str, list[Any]]] = {}
        for name in self.conditions:
            for metric, column in result.condition(name).columns.items():
                for replicate, values in column.by_replicate():
                    metrics.setdefault((replicate, name), {})[metric] = values
        errors = {(error.replicate, error.condition): error for error in result.errors}
        for replicate in range(result.replicates):
            places = [(replicate, name) for name in self.conditions]
            yield (
                replicate,
                [
                    Outcome(
                        place[1],
                        None,
                        metrics.get(place, {}),
                        {},
                        artifacts.get(place, ()),
                        error=errors.get(place),
                    )
                    for place in places
                ],
            )
