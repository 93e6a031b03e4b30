"""The metrics that one condition of one replicate records."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.utils.sharing import SCALARS, snapshot

_COLUMNS = frozenset({"replicate", "condition", "metric", "value"})


_NO_TAGS: dict[str, list[Mapping[str, Any] | None]] = {}
# Never changed: tags are rare, and a dict for each outcome is work for the garbage collector when many are alive.


class MetricLog(Mapping[str, list[Any]]):
    """Metric values by name, in the order of recording.

    ``log.add(name, value)`` records one more value; ``log[name]`` is the list of all values of that name.

    Attributes
    ----------
    noted : list
        Gets the name of each value as it is recorded.
    tags : dict of str to list
        For each metric that was recorded with tags: one mapping, or None, for each value.
    was_read : bool
        Whether somebody has looked at what is in it.
    """

    __slots__ = ("noted", "tags", "values_by_name", "was_read")

    def __init__(self, noted: list[Any] | None = None) -> None:
        self.values_by_name: dict[str, list[Any]] = {}
        self.noted = [] if noted is None else noted
        self.tags = _NO_TAGS
        self.was_read = False

    def add(self, name: str, value: Any, tags: Mapping[str, Any] | None = None) -> None:
        """Record a value of the metric `name`.

        Parameters
        ----------
        name : str
            Name of the metric.
        value : object
            The value, kept as it is now: arrays and containers are copied, a NumPy scalar becomes Python's,
            also as the key of a dict.
        tags : mapping of str to object, optional
            What tells this value from others of the same name.

        Raises
        ------
        InvalidTypeError
            If `name` is not a str, or `tags` not a mapping with str keys.
        InvalidValueError
            If a tag is called like a column that every value has: replicate, condition, metric or value.
        """
        if type(name) is not str:
            if not isinstance(name, str):
                raise InvalidTypeError(f"a metric's name is a str, got {name!r}")
            name = str.__str__(name)  # a member of an enumeration, say
        if tags is not None:
            _check_tags(name, tags)
        if type(value) not in SCALARS:
            value = snapshot(value)
        values = self.values_by_name.setdefault(name, [])
        if tags is not None or self.tags:
            self._tag(name, len(values), tags)
        values.append(value)
        self.noted.append(name)

    def _tag(self, name: str, position: int, tags: Mapping[str, Any] | None) -> None:
        if tags is None and name not in self.tags:
            return
        if self.tags is _NO_TAGS:
            self.tags = {}
        kept = self.tags.setdefault(name, [None] * position)
        kept.append(None if tags is None else snapshot(dict(tags)))

    def counts(self) -> dict[str, int]:
        """Return how many values there are of each name; nothing of them is read by that."""
        return {name: len(values) for name, values in self.values_by_name.items()}

    def shorten(self, counts: Mapping[str, int], tagged: Collection[str]) -> None:
        """Forget what was recorded since :meth:`counts` and `tags` were these."""
        for name in self.values_by_name.keys() - counts.keys():
            del self.values_by_name[name]
        for name in self.tags.keys() - tagged:
            del self.tags[name]
        for name, values in (*self.values_by_name.items(), *self.tags.items()):
            del values[counts[name] :]

    def __getitem__(self, name: str) -> list[Any]:
        self.was_read = True
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        self.was_read = True
        return iter(self.values_by_name)

    def __len__(self) -> int:
        self.was_read = True
        return len(self.values_by_name)

    def __repr__(self) -> str:
        return f"MetricLog({self.values_by_name!r})"


def _check_tags(name: str, tags: Any) -> None:
    if not isinstance(tags, Mapping) or not all(isinstance(key, str) for key in tags):
        raise InvalidTypeError(f"the tags of metric {name!r} are a mapping with str keys, got {tags!r}")
    for key in tags:
        if key in _COLUMNS:
            raise InvalidValueError(
                f"a tag of metric {name!r} is called {key!r}, as a column of Result.to_frame is already",
                hint="Choose another name",
            )
