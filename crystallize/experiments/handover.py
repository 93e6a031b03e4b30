"""What hooks in the workers hand back to their plugins in the coordinator."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import PluginError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.store.outcome import ReplicateResult


class HandedBack(NamedTuple):
    """A value that a hook gave to ``ctx.hand_back``.

    Attributes
    ----------
    replicate : int
        Index of the replicate that the hook was called in.
    condition : str
        ``"baseline"`` or the treatment's name.
    value : object
        The value.
    """

    replicate: int
    condition: str
    value: Any


class _Parcel(NamedTuple):
    replicate: int
    condition: str
    plugin: str
    payload: bytes


class Handover:
    """Puts into replicate order what arrives in any order, so that plugins merge alike under every strategy.

    What belongs to a replicate becomes due when it and all before it have arrived.

    Parameters
    ----------
    has_arrived : callable
        Tells of a replicate's number whether it has arrived.
    counts : callable
        Tells of a replicate that has, and a condition, whether the condition has a part in it.
    """

    def __init__(
        self,
        has_arrived: Callable[[int], bool],
        counts: Callable[[int, str], bool] = lambda replicate, condition: True,
    ) -> None:
        self._has_arrived = has_arrived
        self._counts = counts
        self._next = 0
        self._early: dict[int, list[_Parcel]] = {}
        self._due: list[_Parcel] | None = None

    def arrive(self, result: ReplicateResult) -> None:
        """Take in what a replicate brought, and let everything that is due now be fetched."""
        for outcome in result.outcomes:
            if outcome.handed_back:
                self._early.setdefault(result.replicate, []).extend(
                    _Parcel(result.replicate, outcome.condition, *parcel) for parcel in outcome.handed_back
                )
        due: list[_Parcel] = []
        while self._early and self._has_arrived(self._next):
            due += self._early.pop(self._next, ())
            self._next += 1
        self._due = [each for each in due if self._counts(each.replicate, each.condition)] if due else due

    def close(self) -> None:
        """Forget what was due."""
        self._due = None

    def due(self, plugin: str) -> list[HandedBack]:
        """Return what is due to the plugin of this name, in the order of replicates, conditions and calls.

        Raises
        ------
        PluginError
            If nothing is being handed over: outside of ``after_replicate``.
        SerializationError
            If a value cannot be loaded.
        """
        if self._due is None:
            raise PluginError(
                f"plugin {plugin!r} asks for what was handed back outside of after_replicate",
                hint="Ask for it in after_replicate, each time",
            )
        return [
            HandedBack(parcel.replicate, parcel.condition, _loaded(parcel))
            for parcel in self._due
            if parcel.plugin == plugin
        ]


def _loaded(parcel: _Parcel) -> Any:
    try:
        return pickle.loads(parcel.payload)
    except Exception as error:  # a foreign class's __setstate__ may raise anything
        raise SerializationError(
            f"what was handed back to plugin {parcel.plugin!r} cannot be loaded: {type(error).__name__}: {error}",
            f"condition {parcel.condition!r}, replicate {parcel.replicate}",
            "Hand back plain data",
        ) from error
