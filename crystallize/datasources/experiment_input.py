"""Several data sources as one."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from crystallize.datasources.datasource import DataSource, as_datasource
from crystallize.errors import InvalidTypeError, ReplicateMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.store.layout import RunLocation
    from crystallize.utils.context import FrozenContext


class ExperimentInput(DataSource):
    """Gives the pipeline a dictionary of what several data sources give.

    Parameters
    ----------
    **sources : DataSource, Artifact or callable
        The sources, by the keys of the dictionary.

    Raises
    ------
    InvalidTypeError
        If there are none, or one is not a data source.
    """

    def __init__(self, /, **sources: Any) -> None:
        if not sources:
            raise InvalidTypeError("ExperimentInput needs at least one data source")
        self.sources: Mapping[str, DataSource] = {
            alias: as_datasource(source) for alias, source in sources.items()
        }

    def __repr__(self) -> str:
        return (
            f"ExperimentInput({', '.join(f'{alias}={source!r}' for alias, source in self.sources.items())})"
        )

    @property
    def replicates(self) -> int | None:
        """The number of replicates that the sources have data for; None if any number will do.

        Raises
        ------
        ReplicateMismatchError
            If the sources have different numbers.
        """
        return self._common({alias: source.replicates for alias, source in self.sources.items()})

    @property
    def default_replicates(self) -> int | None:
        """The number that `replicates` says or else the one that the sources' producers have.

        Raises
        ------
        ReplicateMismatchError
            If the sources have different numbers.
        """
        strict = self.replicates
        if strict is not None:
            return strict
        return self._common({alias: source.default_replicates for alias, source in self.sources.items()})

    def _common(self, counts: Mapping[str, int | None]) -> int | None:
        known = {repr(alias): count for alias, count in counts.items() if count is not None}
        if len(set(known.values())) > 1:
            told = ", ".join(f"{alias} has {count}" for alias, count in known.items())
            raise ReplicateMismatchError(
                f"the sources of an ExperimentInput have different numbers of replicates: {told}",
                hint=hint_of_one_for_all(known)
                or "Run the experiments that produce them with the same number of replicates",
            )
        return next(iter(known.values()), None)

    def inputs(self) -> list[dict[str, Any]]:
        """Return which stored runs the sources read."""
        return [entry for source in self.sources.values() for entry in source.inputs()]

    def producers(self) -> list[RunLocation]:
        """Return where the producers of the sources store their runs."""
        return [location for source in self.sources.values() for location in source.producers()]

    def consumed(self, replicate: int, condition: str) -> tuple[str, ...]:
        """Return the digests of the stored artifacts that the sources read for an outcome."""
        return tuple(
            digest for source in self.sources.values() for digest in source.consumed(replicate, condition)
        )

    def check_inputs(self, replicate: int, condition: str) -> None:
        """Raise if a stored artifact that the sources would read is not what its producer wrote."""
        for source in self.sources.values():
            source.check_inputs(replicate, condition)

    def leaves(self) -> Iterator[DataSource]:
        """Yield the sources of the bundle, and those of bundles in it."""
        for source in self.sources.values():
            yield from source.leaves()

    def recheck(self, ctx: FrozenContext) -> None:
        """Have each source look again at what it gave."""
        for source in self.sources.values():
            source.recheck(ctx)

    def fetch(self, ctx: FrozenContext) -> Any:
        """Return the dictionary, or an awaitable of it if a source gives an awaitable."""
        values = {alias: source.fetch(ctx) for alias, source in self.sources.items()}
        return _awaited(values) if any(map(inspect.isawaitable, values.values())) else values


def hint_of_one_for_all(counts: Mapping[str, int]) -> str:
    """Say what to do about sources of one replicate beside those with more; nothing if there are none.

    Parameters
    ----------
    counts : mapping of str to int
        How many replicates each source has, by what it is called.
    """
    single = [label for label, count in counts.items() if count == 1]
    several = [label for label, count in counts.items() if count > 1]
    if not single or len({counts[label] for label in several}) > 1:
        return ""
    one, more = " and ".join(single), " and ".join(several)
    return (
        f"One replicate serves all only where nothing else is read: give {one} {counts[several[0]]} replicates too, "
        f"or have {more} read it, and pass on what is needed"
    )


async def _awaited(values: dict[str, Any]) -> dict[str, Any]:
    return {alias: await value if inspect.isawaitable(value) else value for alias, value in values.items()}
