"""What one step reads, draws, adds and records, noted as it happens.

The notes are complete: whatever a step can learn from its context, and whatever it leaves in it, is in its record.
Provenance shows these records, and so nothing else needs to watch a step.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from crystallize.utils.failures import safe_repr
from crystallize.utils.masking import masked, masked_text
from crystallize.utils.sharing import SCALARS, to_python

if TYPE_CHECKING:
    from crystallize.utils.randomness import Stream, StreamUse

DATA_SOURCE = -1
TREATMENT = -2
"""The stages before the first step, whose number is 0."""

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
    """Return what two traces have in common if they are the same; equal ones need not be, as 1, 1.0 and True are."""
    return marshal.dumps(trace, _MARSHAL_BY_VALUE)


def with_plain_names(trace: Any) -> Any:
    """Return a trace in which every text is a ``str`` and nothing more, and no member of an enumeration, say."""
    if isinstance(trace, list | tuple):
        return tuple(map(with_plain_names, trace))
    return str.__str__(trace) if isinstance(trace, str) else trace


class Stage:
    """The notes of the stage that is running; one object serves all stages of a context in turn.

    Attributes
    ----------
    number : int
        As in :class:`StageRecord`.
    reads, missing : dict
        What it read, and what it looked for in vain; as in :class:`StageRecord`.
    rest : RareNotes or None
        What few steps do.
    watch : callable or None
        Called with key and value before the stage gets a value that it could change.
    written : list of (str, bytes) or None
        Name and content of each artifact that it writes, if somebody wants to have them.
    """

    __slots__ = ("missing", "number", "reads", "rest", "watch", "written")

    def __init__(self) -> None:
        self.number = 0
        self.reads: dict[str, Any] = {}
        self.missing: dict[str, None] = {}
        self.rest: RareNotes | None = None
        self.watch: Callable[[str, Any], None] | None = None
        self.written: list[tuple[str, bytes]] | None = None

    def note_read(self, key: str, value: Any, described: Any) -> None:
        """Note that the stage is about to get `value`, which it could change."""
        if self.watch is not None:
            self.watch(key, value)
        self.reads[key] = described

    @property
    def rare(self) -> RareNotes:
        """Where to note what few steps do."""
        if self.rest is None:
            self.rest = RareNotes()
        return self.rest

    def record(self, recorded: list[str]) -> tuple[Any, ...]:
        """Return the fields of the :class:`StageRecord`, as far as they are not empty, and go on with empty notes.

        Parameters
        ----------
        recorded : list of str
            The name of each metric value that the stage has recorded; it is emptied.
        """
        counted: tuple[tuple[str, int], ...] = ()
        if recorded:
            counted = ((recorded[0], 1),) if len(recorded) == 1 else _counted(recorded)
            recorded.clear()
        reads: tuple[tuple[str, Any], ...] = ()
        if self.reads:
            reads = tuple(self.reads.items())
            self.reads = {}
        missing: tuple[str, ...] = ()
        if self.missing:
            missing = tuple(self.missing)
            self.missing = {}
        rest = self.rest
        if rest is None:
            return (self.number, reads, counted, missing) if missing else (self.number, reads, counted)
        self.rest = None
        return (
            self.number,
            reads,
            counted,
            missing,
            tuple(rest.present),
            rest.keys,
            tuple(tuple(stream.use_since(*position)) for stream, position in rest.streams.items()),
            tuple(rest.added.items()),
            tuple(rest.artifacts),
        )


class RareNotes:
    """Notes of what few steps do; as in :class:`StageRecord`, and where each stream stood before."""

    __slots__ = ("added", "artifacts", "keys", "present", "streams")

    def __init__(self) -> None:
        self.present: dict[str, None] = {}
        self.keys: tuple[str, ...] | None = None
        self.streams: dict[Stream, tuple[float, int]] = {}
        self.added: dict[str, Any] = {}
        self.artifacts: dict[str, None] = {}


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
    if shape == () and type(number := to_python(value)) in SCALARS:
        return number
    if shape is not None:
        return f"<{kind.__name__} {getattr(value, 'dtype', '')}{list(shape)}>"
    try:
        return f"<{kind.__name__} of {len(value)}>"
    except TypeError:
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
