"""What an earlier part of a run has measured, and what of it still counts."""

from __future__ import annotations

import logging
import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from crystallize.errors import ValidationError
from crystallize.results.results_file import read_columns
from crystallize.store.changes import changed_conditions
from crystallize.store.extent import Extent, takes_part
from crystallize.store.journal import Again
from crystallize.store.journal_reader import JournalReader, StoredOutcomes, has_begun
from crystallize.store.layout import (
    COMPLETE,
    JOURNAL,
    RESULTS,
    path_in,
    replicate_number,
    replicates_in,
)
from crystallize.store.manifest import read_manifest
from crystallize.store.metadata import FINISHED, read_metadata
from crystallize.store.outcome import Outcome, ReplicateResult
from crystallize.utils.files import is_folder, is_plain, is_temporary, remove_folder
from crystallize.utils.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from crystallize.store.layout import ArtifactEntry

Consumed: TypeAlias = "Callable[[int, str], tuple[str, ...]]"

_OTHER_INPUTS = "what it reads of other experiments has changed"
_UNKNOWN_INPUTS = "without a journal it is not known what it has read of other experiments"
_BEYOND = "fewer replicates are asked for, and what it reads of other experiments has changed"
_log = logging.getLogger("crystallize.store")


class EarlierPart:
    """The part of a run that is there already.

    Parameters
    ----------
    folder : pathlib.Path
        The run's folder.
    experiment : str
        The experiment's name, or its id.
    conditions : sequence of str
        Those of the run that goes on.
    consumed : callable, optional
        ``consumed(replicate, condition)`` returns the digests of the stored artifacts that an outcome would read now;
        None if no data source reads any.

    Attributes
    ----------
    metadata : dict
        Of the stored run; empty if it has none.
    reader : JournalReader or None
        Who has read the journal, once the outcomes have been taken; None if there is none.
    again : tuple of Again
        What does not count any more.
    failed : dict of int to dict of str to Outcome
        What failed, by replicate and condition; its artifacts are removed before it is run again.
    without : dict
        The signature of each condition that is stored and that the run that goes on does not have.
    is_all_changed : bool
        Whether nothing of what is there counts any more.
    unwritten : list of ReplicateResult
        What counts and is in no journal.

    Raises
    ------
    StoreError
        If the metadata or the journal cannot be read, or are those of another run.
    """

    def __init__(
        self,
        folder: Path,
        experiment: str,
        conditions: Sequence[str],
        *,
        consumed: Consumed | None,
    ) -> None:
        self.folder = folder
        self.metadata = read_metadata(folder) or {}
        self.again: tuple[Again, ...] = ()
        self.failed: dict[int, dict[str, Outcome]] = {}
        self.without: dict[str, Any] = {}
        self.is_all_changed = False
        self.unwritten: list[ReplicateResult] = []
        self.reader: JournalReader | None = None
        self._experiment = experiment
        self._conditions = conditions
        self._consumed = consumed
        self._extent = Extent.of(self.metadata)
        self._removed: dict[str, list[int]] = {}  # what a rule left out, by condition: its artifacts are gone
        self._changed: dict[str, str] = {}
        self._complete: set[int] = set()
        self._partial: dict[int, frozenset[str]] = {}
        self._limit: int | None = None  # from here on, what is stored has no part in the run that goes on
        self._dropped: dict[tuple[str, str], list[int]] = {}  # condition and reason: replicates
        self._stored: StoredOutcomes | None = None
        if has_begun(folder / JOURNAL):
            self.reader = JournalReader(folder / JOURNAL, may_unpickle=True)
            self._stored = StoredOutcomes(self.reader, conditions)
            self._stored.check_run(self.metadata.get("run"))
            if self._stored.sessions[-1].experiment != experiment:
                raise self._stored.foreign()

    def compare(self, signature: Mapping[str, Any]) -> None:
        """Find out which conditions have changed.

        Parameters
        ----------
        signature : mapping
            That of the run that goes on; see :mod:`crystallize.store.changes`.
        """
        before = self.metadata.get("signature")
        if not isinstance(before, dict):
            return
        stored = self.metadata.get("other_conditions", {}) | before.get("conditions", {})
        self._changed = changed_conditions(before | {"conditions": stored}, signature)
        self.is_all_changed = bool(self._changed) and all(
            name in self._changed for name in self._conditions if name in stored
        )
        self.without = {name: part for name, part in stored.items() if name not in self._conditions}

    @property
    def replicates(self) -> int | None:
        """How many replicates the stored run was to have."""
        if self._stored is not None and self._stored.sessions[-1].replicates is not None:
            return self._stored.sessions[-1].replicates
        if self._stored is not None:  # a rule decided it, if it came to that
            return self._extent.replicates
        known = self.metadata.get("replicates")
        return known if type(known) is int and known > 0 else None

    def settle_replicates(self, asked: int) -> int:
        """Return how many replicates the run has that goes on, if `asked` are asked for now: never fewer.

        Those that are stored beyond stay. But what reads artifacts of others is not run again, or for the first time,
        beyond the number that is asked for now: with a producer of fewer replicates it would read from the first
        one on, and give copies. There the run ends before the first that would read something else now, and with the
        last that is stored.
        """
        before = self.replicates or 0
        if before <= asked or self._consumed is None or self._stored is None:
            return max(before, asked)
        consumed = self._consumed
        reads_the_same: dict[int, bool] = {}
        for replicate, outcomes in StoredOutcomes(JournalReader(self.folder / JOURNAL), self._conditions):
            if asked <= replicate < before:
                reads_the_same[replicate] = all(
                    each.consumed == consumed(replicate, each.condition) for each in outcomes
                )
        end = min((number for number, same in reads_the_same.items() if not same), default=before)
        limit = 1 + max((number for number in reads_the_same if number < end), default=asked - 1)
        if limit < before:
            self._limit = limit
        return limit

    @property
    def has_voided(self) -> bool:
        """Whether something that was measured does not count any more."""
        return bool(self._changed or self._dropped or self._limit is not None)

    def outcomes(self) -> Iterator[ReplicateResult]:
        """Yield what still counts; of a replicate that is there in part, those conditions."""
        stored = self._complete_conditions() if self._stored is None else iter(self._stored)
        for replicate, outcomes in stored:
            if self._limit is not None and replicate >= self._limit:
                continue
            kept = tuple([outcome for outcome in outcomes if self._still_counts(replicate, outcome)])
            if not kept:
                continue
            if len(kept) >= self._extent.count_owed(replicate, self._conditions):
                self._complete.add(replicate)
            else:
                self._partial[replicate] = frozenset(outcome.condition for outcome in kept)
            result = ReplicateResult(replicate, kept)
            if self._stored is None:
                self.unwritten.append(result)
            yield result
        self.again = (
            *(Again(condition, None, reason) for condition, reason in self._changed.items()),
            *(
                Again(condition, tuple(replicates), reason)
                for (condition, reason), replicates in self._dropped.items()
            ),
            *(
                Again(condition, tuple(replicates), "a stopping rule had left it out")
                for condition, replicates in self._removed.items()
            ),
            *(Again(condition, self._beyond(), _BEYOND) for condition in self._conditions if self._beyond()),
        )

    def _beyond(self) -> tuple[int, ...]:
        """Return the replicates that are stored, or were to be, and have no part in the run that goes on."""
        return () if self._limit is None else tuple(range(self._limit, self.replicates or 0))

    def _complete_conditions(self) -> Iterator[tuple[int, Sequence[Outcome]]]:
        """Yield the replicates of a run without a journal, under the conditions that are marked as complete."""
        found: dict[int, list[Outcome]] = {}
        artifacts: dict[tuple[int, str], list[ArtifactEntry]] = {}
        for entry in read_manifest(self.folder):
            artifacts.setdefault((entry.replicate, entry.condition), []).append(entry)
        for condition in self._conditions:
            if not all(is_plain(self.folder / condition / name) for name in (COMPLETE, RESULTS)):
                continue
            metrics: dict[int, dict[str, list[Any]]] = {}
            for name, column in read_columns(self.folder, condition, self.replicates).items():
                for replicate, values in column.by_replicate():
                    metrics.setdefault(replicate, {})[name] = values
            for replicate in range(self.replicates or len(metrics)):
                written = artifacts.get((replicate, condition), ())
                outcome = Outcome(condition, None, metrics.get(replicate, {}), {}, written)
                found.setdefault(replicate, []).append(outcome)
        yield from sorted(found.items())

    def _still_counts(self, replicate: int, outcome: Outcome) -> bool:
        condition = outcome.condition
        if condition in self._changed:
            return False
        if outcome.error is not None:
            self.failed.setdefault(replicate, {})[condition] = outcome._replace(artifacts=())
            return False
        if outcome.artifacts and not self._extent.includes(replicate, condition):
            self._removed.setdefault(condition, []).append(replicate)
            return False
        if outcome.artifacts or outcome.consumed is not None or self._consumed is not None:
            reason = self._changed_files(replicate, outcome)
            if reason:
                self._dropped.setdefault((condition, reason), []).append(replicate)
                return False
        return True

    def _changed_files(self, replicate: int, outcome: Outcome) -> str:
        """Say what of the files of an outcome is not as it was: those that it wrote, and those that it read."""
        for entry in outcome.artifacts:
            try:
                size = os.lstat(path_in(self.folder, *entry.path.split("/"))).st_size
            except OSError:
                return f"artifact {entry.name!r} is gone"
            if size != entry.size:
                return f"artifact {entry.name!r} has another size"
        now = None if self._consumed is None else self._consumed(replicate, outcome.condition)
        if outcome.consumed != now:
            return _OTHER_INPUTS if self._stored is not None else _UNKNOWN_INPUTS
        return ""

    def is_all_there(
        self, replicates: int | None, dropped: Mapping[str, int], left_out: Collection[str]
    ) -> bool:
        """Tell whether the run is complete as it is stored, and nothing is owed.

        Parameters
        ----------
        replicates : int or None
            How many replicates the run that goes on has.
        dropped : mapping of str to int
            The conditions that a rule has dropped from it, each with the first replicate that it has no part in.
        left_out : collection of str
            The conditions of the experiment that the run that goes on leaves out; they may be there.
        """
        there = [name for name in self.metadata.get("conditions", ()) if name not in left_out]
        return (
            replicates is not None
            and replicates == self.metadata.get("replicates")
            and self._complete.issuperset(range(replicates))
            and dropped == self._extent.dropped
            and there == list(self._conditions)
            and self.metadata.get("status") == FINISHED
            and self._stored is not None
            and self.replicates == replicates
        )

    def check_left_out(self, rule: object, end: int, dropped: Mapping[str, int], *, most: int) -> None:
        """Refuse a rule that would leave out what was measured, and was not in flight when that rule ended the run.

        Parameters
        ----------
        rule : StoppingRule
            The rule that has looked at what is there.
        end : int
            How many replicates the run has by the rule: `most`, if it has not decided.
        dropped : mapping of str to int
            The conditions that the rule has dropped, each with the first replicate that it has no part in.
        most : int
            How many it was to have at most.

        Raises
        ------
        ValidationError
            If it would.
        """
        stopping = self.metadata.get("stopping")
        if isinstance(stopping, dict) and stopping.get("rule") == str(rule):
            if end < most:
                return  # it leaves out what was in flight, as it would have done then
            dropped = {}
        else:
            # It has not seen what comes after the first replicate that is owed, and may end the run there.
            end = min(end, next(number for number in count() if number not in self._complete))
        lost = 0
        for number in {*self._complete, *self._partial}:
            is_left_out = number > end or (number == end and number in self._complete)
            lost += sum(
                self._extent.includes(number, name) and (is_left_out or not takes_part(name, number, dropped))
                for name in self._partial.get(number, self._conditions)
            )
        if lost:
            raise ValidationError(
                f"the rule {rule} may end the stored run after {counted(end, 'replicate')}, and leave out "
                f"{counted(lost, 'outcome')} that were measured without it, or when more replicates were asked for",
                str(self.folder),
                "Run without --resume (or strategy='resume') for a new version, which the rule watches from the start, "
                "or go on with this one without the rule",
            )

    def report(self) -> None:
        """Log what is there, and what is run again for which reason."""
        there = counted(len(self._complete), "replicate")
        partly = f", and {counted(len(self._partial), 'replicate')} in part" if self._partial else ""
        _log.info("%s is resumed: %s there%s", self.folder, there, partly)
        if self._limit is not None:
            _log.warning(
                "%s has %d of its %s now: what the others read of other experiments is not there any more. Run those "
                "with more replicates first, or say how many this one is to have",
                self.folder,
                self._limit,
                counted(self.replicates or 0, "replicate"),
            )
        again = [(f"condition {name} runs again", reason) for name, reason in self._changed.items()]
        for (name, reason), replicates in self._dropped.items():
            again.append((f"condition {name} runs again in {_numbered(replicates)}", reason))
        for what, reason in again:
            _log.warning("experiment %r: %s: %s", self._experiment, what, reason)
        if self.reader is not None:
            self.reader.warn_of_damage()

    def remove_leftovers(self) -> None:
        """Remove what the outcomes have written that are owed now, and files that were cut off."""
        for parent in (self.folder, *(self.folder / condition for condition in self._conditions)):
            for name in os.listdir(parent) if is_folder(parent) else ():  # noqa: PTH208
                if is_temporary(name):
                    (parent / name).unlink(missing_ok=True)
        for folder in replicates_in(self.folder):
            replicate = replicate_number(folder.name)
            if replicate in self._complete:
                continue
            if self._limit is not None and replicate >= self._limit:
                remove_folder(folder)
                continue
            kept = self._partial.get(replicate, frozenset())
            for condition in self._conditions:
                if condition not in kept and is_folder(folder / condition):
                    remove_folder(folder / condition)


def _numbered(replicates: Sequence[int]) -> str:
    shown = ", ".join(map(str, sorted(replicates)[:5]))
    return f"replicate {shown}" + (f" and {len(replicates) - 5} more" if len(replicates) > 5 else "")
