"""What one step reads, draws, adds and records, noted as it happens.

The notes are complete: whatever a step can learn from its context, and whatever it leaves in it, is in its record.
Provenance shows these records, and so nothing else needs to watch a step.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from crystallize.utils.failures import safe_repr
from crystallize.utils.masking import masked, masked_text
from crystallize.utils.sharing import SCALARS, to_python

if TYPE_CHECKING:
    from crystallize.utils.randomness import Stream, StreamUse

DATA_SOURCE = -1
TREATMENT = -2
"""The stages before the first step, whose number is 0."""

_FEW_NOTES = 100
_LONGEST_TEXT = 80
_MARSHAL_BY_VALUE = 2  # the last format without references, which depend on more than the value


class StageRecord(NamedTuple):
    """The notes of one stage.

    Attributes
    ----------
    number : int
        The step's place in the pipeline, or `DATA_SOURCE` or `TREATMENT`.
    reads : tuple of (str, object)
        The context keys that it read, each with its value, or the kind and size of a large one. The values of the
        framework's own keys, which tell one outcome from another, are None.
    metrics : tuple of (str, int)
        The metrics that it recorded, each with the number of values.
    missing : tuple of str
        The keys that it asked for and that were not there.
    present : tuple of str
        The keys of which it learnt, with ``in``, that they were there.
    keys : tuple of str or None
        All keys that the context held when it iterated over them or counted them.
    streams : tuple of StreamUse
        The random streams that it took.
    added : tuple of (str, object)
        The keys that it added, each with its value as in `reads`.
    artifacts : tuple of str
        The names of the artifacts that it wrote.
    """

    number: int
    reads: tuple[tuple[str, Any], ...] = ()
    metrics: tuple[tuple[str, int], ...] = ()
    missing: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None
    streams: tuple[StreamUse, ...] = ()
    added: tuple[tuple[str, Any], ...] = ()
    artifacts: tuple[str, ...] = ()


Trace: TypeAlias = list[tuple[Any, ...]] | tuple[tuple[Any, ...], ...]
"""The record of each stage of one outcome that has left one: the first fields of a `StageRecord`, as a plain tuple."""


def trace_key(trace: Trace) -> bytes:
    """Return what two traces have in common if they are the same; equal ones need not be, as 1, 1.0 and True are.

    Raises
    ------
    ValueError
        If there is a text of a class of its own in it.
    """
    return marshal.dumps(trace, _MARSHAL_BY_VALUE)


def notes_key(noted: tuple[Any, ...]) -> bytes:
    """Return what the notes of two outcomes have in common only if :func:`trace_of` makes the same trace of them.

    Raises
    ------
    ValueError
        As in :func:`trace_key`.
    """
    # The values of a metric are counted in a trace, so that many notes have no long key.
    return marshal.dumps(noted if len(noted) <= _FEW_NOTES else tuple(trace_of(noted)), _MARSHAL_BY_VALUE)


def with_plain_names(trace: Any) -> Any:
    """Return a trace, or what becomes one, in which every text is a ``str`` and nothing more, and no enumeration's."""
    if isinstance(trace, dict):
        return {with_plain_names(key): value for key, value in trace.items()}
    if isinstance(trace, list | tuple):
        return tuple(map(with_plain_names, trace))
    return str.__str__(trace) if isinstance(trace, str) else trace


class RareNotes:
    """Notes of what few stages do; as in :class:`StageRecord`, and where each stream stood before."""

    __slots__ = ("added", "artifacts", "keys", "present", "streams")

    def __init__(self) -> None:
        self.present: dict[str, None] = {}
        self.keys: tuple[str, ...] | None = None
        self.streams: dict[Stream, tuple[float, int]] = {}
        self.added: dict[str, Any] = {}
        self.artifacts: dict[str, None] = {}

    def record(self) -> tuple[Any, ...]:
        """Return the last fields of the :class:`StageRecord`, as of now."""
        return (
            tuple(self.present),
            self.keys,
            tuple(tuple(stream.use_since(*position)) for stream, position in self.streams.items()),
            tuple(self.added.items()),
            tuple(self.artifacts),
        )


Looks: TypeAlias = dict[str | tuple[str], Any]
"""What a stage has looked up: each key with what stands for its value, and in a tuple each key that was not there."""


def reads_in(looks: Looks) -> tuple[tuple[str, Any], ...]:
    """Return the keys that were there, each with what stands for its value."""
    return tuple((key, value) for key, value in list(looks.items()) if isinstance(key, str))


def missing_in(looks: Looks) -> tuple[str, ...]:
    """Return the keys that were not there."""
    return tuple(key[0] for key in list(looks) if not isinstance(key, str))


def trace_of(noted: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return the record of each stage, made of what an outcome's context has noted, one thing after another.

    Parameters
    ----------
    noted : iterable
        The number of each stage as it begins, and None where the last one ends. Behind it the name of each metric value
        that it records, its :data:`Looks` where it begins to have any, and as it ends the record of its
        :class:`RareNotes`.
    """
    trace = []
    number: int | None = None
    names: list[str] = []
    looks: Looks = {}
    rest: tuple[Any, ...] = ()
    for each in (*noted, None):
        kind = type(each)
        if kind is str:
            names.append(each)
        elif kind is dict:
            looks = looks | each
        elif kind is tuple:
            rest = each
        else:
            if number is not None and (names or looks or rest):
                trace.append(_record(number, names, looks, rest))
            number, names, looks, rest = each, [], {}, ()
    return trace


def _record(number: int, names: list[str], looks: Looks, rest: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the fields of the :class:`StageRecord`, as far as they are not empty."""
    fields = (number, reads_in(looks), _counted(names))
    missing = missing_in(looks)
    return (*fields, missing, *rest) if missing or rest else fields


def _counted(names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return tuple(counts.items())


def describe_value(key: str, value: Any) -> Any:
    """Return what stands for the value of `key` in a record: a number or short text itself, else its kind and size.

    A text that its key calls a secret is masked: a record is stored, shown, and handed on with the run.
    """
    kind = type(value)
    if kind is str:
        value = masked_text(key, value)
    if kind in SCALARS and (kind is not str or len(value) <= _LONGEST_TEXT):
        return value
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):  # and not the parameter of a distribution
        number = to_python(value)
        if type(number) in SCALARS:
            return number
        return f"<{kind.__name__} {getattr(value, 'dtype', '')}{list(shape)}>"
    try:
        return f"<{kind.__name__} of {len(value)}>"
    except Exception:  # it has no size, or none yet, as a forest that is not fitted
        return f"<{kind.__name__}>"


def describe_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands for a step's parameters in a record: plain data, the same whether it was stored or not.

    Secrets are masked. What is neither a number, a text, a list, a tuple nor a dict is its ``repr``.
    """
    return {name: _plain(name, value) for name, value in parameters.items()}


def _plain(name: object, value: Any) -> Any:
    kind = type(value)
    if kind in SCALARS:
        return masked(name, value)
    if kind is list or kind is tuple:
        return kind(_plain(name, item) for item in value)
    if kind is dict:
        return {key: _plain(key, item) for key, item in value.items()}
    number = to_python(value)
    return safe_repr(value) if number is value else _plain(name, number)
