"""The immutable mapping that one condition of one replicate runs in."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import ContextKeyError, ContextMutationError, PluginError
from crystallize.utils.artifact_log import ArtifactLog, Sink
from crystallize.utils.metrics import MetricLog
from crystallize.utils.randomness import Stream, draw_master_seed, generator, stream_key
from crystallize.utils.sharing import protect
from crystallize.utils.stage import (
    DATA_SOURCE,
    TREATMENT,
    RareNotes,
    describe_value,
    trace_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

    from crystallize.utils.stage import Looks

RESERVED_KEYS = frozenset({"replicate", "condition", "seed_used", "step_name"})
"""Keys that the framework sets; a treatment or an initial context must not use them."""

_ATOMIC = frozenset({int, float, bool, str, bytes, complex, type(None), frozenset})
_EMPTY: Mapping[str, Any] = {}
_RNG_KEYS = {
    DATA_SOURCE: stream_key("crystallize.data source"),
    TREATMENT: stream_key("crystallize.treatment"),
}

_beginning = threading.Lock()  # of notes: two threads of a step may be the first at once
_current: ContextVar[FrozenContext] = ContextVar("crystallize_context")
_in_force: set[int] = set()  # identities of the contexts that are in force in any thread or task
_undisturbed: set[int] = set()  # of those that no other one has joined since they began to watch
_watching: dict[int, Callable[[], None]] = {}  # by identity of who watches: called before another one joins


class Resource(ABC):
    """A value of the context that each worker makes for itself; see :func:`crystallize.resource_factory`."""

    @abstractmethod
    def resolve(self, key: str, ctx: FrozenContext) -> Any:
        """Return this worker's object for the context entry ``key``."""


class Mark(NamedTuple):
    """Where a context stands: how much there is of what grows while stages run."""

    metrics: dict[str, int]
    tagged: frozenset[str]
    artifacts: int
    noted: int
    streams: frozenset[int]


class Caching:
    """What the step cache keeps in a context.

    Attributes
    ----------
    notes : list of CacheNote
        What it did.
    known_content : tuple of (object, str, int) or None
        The output of a cached step, the hash of its content, and the step's place.
    watch : callable or None
        Called with key and value before the stage gets a value that it could change.
    written : list of (str, bytes) or None
        Name and content of each artifact that the stage writes, if somebody wants to have them.
    saw_artifacts : bool
        Whether somebody has looked at what was written.
    """

    __slots__ = ("known_content", "notes", "saw_artifacts", "watch", "written")

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.known_content: tuple[Any, str, int] | None = None
        self.watch: Callable[[str, Any], None] | None = None
        self.written: list[tuple[str, bytes]] | None = None
        self.saw_artifacts = False


class FrozenContext(Mapping[str, Any]):
    """Immutable mapping with metrics, random streams and artifacts of one condition of one replicate.

    What is read cannot be changed for others: lists, dicts, sets and data frames come as copies, NumPy arrays as
    read-only views without a copy, anything else by reference. While a stage is open (a step, the data source or a
    treatment runs), all that is read, drawn, added and recorded is noted, which the `trace` is made of.

    Parameters
    ----------
    initial : mapping of str to object, optional
        The first entries. The mapping is not copied: whoever makes the context does not change it later.
    settings : mapping of str to object, optional
        Entries that take precedence over `initial`.
    master_seed : int, optional
        What ``rng`` and ``stream`` derive from. Drawn when it is needed, if not given.
    rng_key : int, optional
        Which stream ``rng`` is outside of all stages; the first step's, if not given.
    plugin_name : callable, optional
        Returns the name under which a plugin takes part in the run.
    artifact_sink : Sink, optional
        What stores the artifacts; without it, nothing does.
    condition, replicate : optional
        Where the context belongs.

    Attributes
    ----------
    metrics : MetricLog
        What was recorded.
    noted : list
        What stages have done, as :func:`crystallize.utils.stage.trace_of` takes it.
    looks : Looks or None
        Where the stage that is running notes what it looks up, once it has.
    rest : RareNotes or None
        What the stage that is running has done and few do, if it has.
    caching : Caching or None
        What the step cache keeps, if a step is cached.
    artifact_entries : dict
        What was written, by the key of its name: name, step and what the sink returned.
    handed_back : list of (str, bytes)
        What hooks send to their plugins in the coordinator: name and pickled value.
    is_enclosed : bool
        Whether the pipeline that is running is inside of a step of another one.
    is_over : bool
        Whether the outcome is complete, so that nobody would get what comes later.
    """

    __slots__ = (
        "_base",
        "_enclosing",
        "_inner",
        "_master_seed",
        "_outer_rng_key",
        "_own",
        "_settings",
        "_stage",
        "_streams",
        "artifact_entries",
        "artifact_sink",
        "caching",
        "handed_back",
        "is_enclosed",
        "is_over",
        "looks",
        "metrics",
        "noted",
        "plugin_name",
        "rest",
    )

    def __init__(  # noqa: PLR0917 - with keywords it takes half as long again, and there is one for each outcome
        self,
        initial: Mapping[str, Any] = _EMPTY,
        settings: Mapping[str, Any] = _EMPTY,
        condition: str | None = None,
        master_seed: int | None = None,
        rng_key: int = 0,
        plugin_name: Callable[[object], str] | None = None,
        artifact_sink: Sink | None = None,
        replicate: int | None = None,
    ) -> None:
        self._base = initial
        self._settings = settings
        self._own: dict[str, Any] = {"replicate": replicate, "condition": condition}
        if replicate is None:
            del self._own["replicate"]
        if condition is None:
            del self._own["condition"]
        self._master_seed = master_seed
        self._outer_rng_key = rng_key
        self.is_enclosed = False
        # The places, below the stage, of the step that a pipeline runs inside of, and of the step of that pipeline.
        self._enclosing = self._inner = ""
        self._stage: int | None = None  # None while none runs: what plugins do is noted nowhere
        self.noted: list[Any] = []
        self.metrics = MetricLog(self.noted)
        self.looks: Looks | None = None
        self.rest: RareNotes | None = None
        self.caching: Caching | None = None
        self.artifact_sink = artifact_sink
        self.artifact_entries: dict[str, tuple[str, str | None, Any]] = {}
        self.handed_back: list[tuple[str, bytes]] = []
        self._streams: dict[int, Stream] = {}
        self.plugin_name = plugin_name
        self.is_over = False

    @property
    def artifacts(self) -> ArtifactLog:
        """What the steps of this context have written."""
        return ArtifactLog(self)

    # -- the mapping ---------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        value = self._find(key)
        if value is _MISSING:
            self.looked_up()[key,] = None
            held = ", ".join(sorted(map(repr, self.keys_held()))) or "nothing"
            raise ContextKeyError(f"the context has no {key!r}", self.place(), f"It holds {held}")
        return self._hand_out(key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default` if the context does not have it."""
        value = self._find(key)
        if value is _MISSING:
            self.looked_up()[key,] = None
            return default
        return self._hand_out(key, value)

    def add(self, key: str, value: Any) -> None:
        """Add a new key.

        Raises
        ------
        ContextMutationError
            If the context has the key already.
        """
        if not isinstance(key, str):
            raise ContextMutationError(f"a context key is a str, got {key!r}", self.place())
        if key in self._own or key in self._settings or key in self._base:
            raise ContextMutationError(
                f"the context has {key!r} already and is immutable", self.place(), "Add a new key instead"
            )
        self._own[key] = value
        if self._stage is not None:
            self.rare.added[key] = describe_value(key, value)

    def __contains__(self, key: object) -> bool:
        found = self._find(key) is not _MISSING
        if self._stage is not None and isinstance(key, str):
            if found:
                self.rare.present[key] = None
            else:
                self.looked_up()[key,] = None
        return found

    def __iter__(self) -> Iterator[str]:
        held = self.keys_held()
        if self._stage is not None and self.rare.keys is None:
            self.rare.keys = held
        return iter(held)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __setitem__(self, key: str, value: Any) -> None:
        raise ContextMutationError(
            f"the context is immutable, so {key!r} cannot be set", self.place(), "Use ctx.add for a new key"
        )

    def __delitem__(self, key: str) -> None:
        raise ContextMutationError(f"the context is immutable, so {key!r} cannot be removed", self.place())

    def __repr__(self) -> str:
        return f"FrozenContext({{{', '.join(f'{key!r}: {self._find(key)!r}' for key in self.keys_held())}}})"

    def _find(self, key: Any) -> Any:
        # Not a loop over the layers: this runs several times in every step.
        if key in self._own:
            return self._own[key]
        if key in self._settings:
            return self._settings[key]
        return self._base.get(key, _MISSING)

    def _hand_out(self, key: str, value: Any) -> Any:
        kind = type(value)
        looks = self.looked_up() if self.looks is None else self.looks
        if kind in _ATOMIC:
            if key in RESERVED_KEYS:
                looks[key] = None  # they differ from outcome to outcome, whose own they are
            else:
                looks[key] = value if kind is float or kind is int else describe_value(key, value)
            return value
        if self.caching is not None and self.caching.watch is not None:
            self.caching.watch(key, value)
        if isinstance(value, Resource):
            looks[key] = "<resource>"
            return value.resolve(key, self)
        looks[key] = describe_value(key, value)
        return protect(value)

    # -- what a step records -------------------------------------------------------------------------------

    def record(self, name: str, value: Any, tags: Mapping[str, Any] | None = None) -> None:
        """Record a metric value, with tags that tell it from others of the same name.

        Parameters
        ----------
        name : str
            Name of the metric.
        value : object
            The value, kept as it is now; a NumPy scalar becomes Python's.
        tags : mapping of str to object, optional
            For example ``{"epoch": 3}``; they become columns of ``Result.to_frame``.
        """
        self.metrics.add(name, value, tags)

    def hand_back(self, plugin: object, value: Any) -> None:
        """Send a value to a plugin's own instance in the coordinator; for hooks, which may run in a copy.

        The plugin gets it in ``after_replicate``, from ``experiment.handed_back(self)``.

        Parameters
        ----------
        plugin : object
            The plugin: ``self`` in a method, or its name.
        value : object
            Anything that can be pickled, as it is now: what happens to it later makes no difference.

        Raises
        ------
        PluginError
            If there is no such plugin.
        SerializationError
            If `value` cannot be pickled.
        """
        from crystallize.utils.pickling import dump_handed_back

        name = type(plugin).__name__ if self.plugin_name is None else self.plugin_name(plugin)
        parcel = (name, dump_handed_back(name, value))
        if self.is_over:
            raise PluginError(
                f"plugin {name!r} hands a value back when its outcome is over, so that nobody would get it",
                self.place(),
                "Wait for threads before the hook or step returns",
            )
        self.handed_back.append(parcel)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that names experiment, condition, replicate and step in each message."""
        return _PlacedLogger(logging.getLogger("crystallize.step"), {"place": self.place()})

    def place(self) -> str:
        """Say where this context is: condition, replicate and step, as far as they are known."""
        own = self._own
        parts = [
            f"{word} {own[key]!r}" if key != "replicate" else f"replicate {own[key]}"
            for key, word in (("condition", "condition"), ("replicate", "replicate"), ("step_name", "step"))
            if key in own
        ]
        return ", ".join(parts)

    # -- randomness ----------------------------------------------------------------------------------------

    @property
    def rng(self) -> Generator:
        """The random generator of this replicate and step, the same under every condition."""
        own = self._generator(self._rng_key)
        if not self._inner:
            return own
        # What is taken of the enclosing step above tells the cache which step that is.
        return self.stream(f"rng of step {self._stage}{self._inner}")

    @property
    def _rng_key(self) -> int:
        if self._stage is None:
            return self._outer_rng_key
        return self._stage if self._stage >= 0 else _RNG_KEYS[self._stage]

    def stream(self, name: str) -> Generator:
        """Return the random generator of this replicate and `name`, whichever step asks for it."""
        return self._generator(stream_key(name), name)

    def _generator(self, key: int, name: str | None = None) -> Generator:
        stream = self._streams.get(key)
        if stream is None:
            if self._master_seed is None:
                self._master_seed = draw_master_seed()
            made = generator(self._master_seed, self._own.get("replicate", 0), key)
            stream = self._streams.setdefault(key, Stream(made, key, name))
        if self._stage is not None and stream not in self.rare.streams:
            self.rare.streams[stream] = stream.position()
        return stream.generator

    def stream_place(self, name: str | None, position: tuple[float, int] | None = None) -> tuple[Any, ...]:
        """Return what the next numbers of a stream depend on; of ``rng``, if it has no name.

        Parameters
        ----------
        name : str or None
            The stream.
        position : tuple of (float, int), optional
            As :meth:`Stream.position` returns it; by default where the stream stands.
        """
        key = self._rng_key if name is None else stream_key(name)
        if self._master_seed is None:
            self._master_seed = draw_master_seed()
        if position is None:
            stream = self._streams.get(key)
            position = (0, 0) if stream is None else stream.position()
        return self._master_seed, self._own.get("replicate", 0), key, *position

    # -- for the engine ------------------------------------------------------------------------------------

    @property
    def trace(self) -> list[tuple[Any, ...]]:
        """The record of each stage that has ended and had anything to tell."""
        return trace_of(self.noted)

    def looked_up(self) -> Looks:
        """Where to note what is looked up; it is forgotten while no stage runs."""
        looks = self.looks
        if looks is None:
            looks = {}  # two threads that are the first at once note one each
            if self._stage is not None:
                self.noted.append(looks)
            self.looks = looks
        return looks

    def looks_of_stage(self) -> Looks:
        """Return what the stage that is running has looked up so far."""
        looks: Looks = {}
        for each in reversed(self.noted):
            if type(each) is int:
                break
            if type(each) is dict:
                looks = each | looks
        return looks

    @property
    def rare(self) -> RareNotes:
        """Where to note what few stages do."""
        rest = self.rest
        if rest is None:
            with _beginning:
                rest = self.rest = self.rest or RareNotes()
        return rest

    def start_caching(self) -> Caching:
        """Return what the step cache keeps here, which from now on it does."""
        self.caching = self.caching or Caching()
        return self.caching

    def set_step_name(self, step_name: str) -> None:
        """Let ``ctx["step_name"]`` be that of the stage to come, whose hooks are called before it begins."""
        self._own["step_name"] = step_name

    def begin_stage(self, number: int, step_name: str) -> None:
        """Begin to take notes of a stage, after the one that is running, if one is.

        What is read and recorded, and `rng`, are the stage's until the next one or :meth:`end_stage`.
        """
        if self.rest is not None:
            self._end_rare()
        self.looks = None
        self.noted.append(number)
        self._stage = number
        self._own["step_name"] = step_name

    def begin_inner_stage(self, number: int, step_name: str) -> None:
        """Begin a stage of a pipeline inside of a stage, whose notes go on; but `rng` is its own."""
        self._inner = f"{self._enclosing}.{number}"
        self._own["step_name"] = step_name

    def end_stage(self) -> None:
        """Take no more notes."""
        if self._stage is not None and not self.is_enclosed:
            if self.rest is not None:
                self._end_rare()
            self.looks = self._stage = None
            self.noted.append(None)

    def _end_rare(self) -> None:
        assert self.rest is not None
        self.noted.append(self.rest.record())
        self.rest = None

    @property
    def keeps_artifacts(self) -> bool:
        """Whether somebody wants to have the content of what the stage that is running writes."""
        return self._stage is not None and self.caching is not None and self.caching.written is not None

    def note_look_at_artifacts(self) -> None:
        """Note that the stage that is running looks at what was written."""
        if self.caching is not None:
            self.caching.saw_artifacts = True

    def note_artifact(self, name: str, content: bytes | bytearray | memoryview) -> None:
        """Note that the stage that is running writes an artifact; without its content if nobody wants that."""
        if self._stage is not None:
            self.rare.artifacts[name] = None
            if self.caching is not None and self.caching.written is not None:
                self.caching.written.append((name, bytes(content)))

    def has_stream(self, name: str | None) -> bool:
        """Tell whether somebody has taken the stream of this name already, or `rng` if it has none."""
        key = self._rng_key if name is None else stream_key(name)
        return key in self._streams

    def mark(self) -> Mark:
        """Return where it stands, at the beginning of a stage."""
        log, streams = self.metrics, frozenset(self._streams)
        return Mark(log.counts(), frozenset(log.tags), len(self.artifact_entries), len(self.noted), streams)

    def rewind(self, mark: Mark) -> None:
        """Undo what stages have done since then: metrics, artifacts, streams that are new; they must not do more.

        The first of them is to begin once more.
        """
        self.metrics.shorten(mark.metrics, mark.tagged)
        self.artifacts.discard(mark.artifacts)
        del self.noted[mark.noted :]
        self.looks = None
        self._streams = {key: each for key, each in self._streams.items() if key in mark.streams}

    def peek(self, key: str) -> Any:
        """Return the value of `key`, or None, without a copy and without a trace of it."""
        if key in self._own:
            return self._own[key]
        value = self._find(key)
        return None if value is _MISSING else value

    def holds(self, key: str) -> bool:
        """Tell whether it has `key`, without a trace of it."""
        return self._find(key) is not _MISSING

    def keys_held(self) -> tuple[str, ...]:
        """Return all keys, without a trace of it."""
        return tuple({**self._own, **self._settings, **self._base})

    def enter(self) -> Token[FrozenContext]:
        """Make this the context that :func:`current_context` finds, until :meth:`leave`."""
        _in_force.add(id(self))  # before the look at who watches, who looks the other way round
        if _watching and _current.get(None) is not self:
            _undisturbed.clear()
            for look in tuple(_watching.values()):
                look()
        return _current.set(self)

    def leave(self, token: Token[FrozenContext]) -> None:
        """Have :func:`current_context` find again what it found before."""
        _current.reset(token)
        if token.old_value is not self:
            _in_force.discard(id(self))

    @contextmanager
    def watching(self, look: Callable[[], None]) -> Iterator[None]:
        """Watch whether other contexts are in force in this process while the block runs; see :meth:`is_alone`.

        Parameters
        ----------
        look : callable
            Called whenever another one joins, before anything is done in it.
        """
        _watching[id(self)] = look
        _undisturbed.add(id(self))
        if not _in_force <= {id(self)}:
            _undisturbed.discard(id(self))
        try:
            yield
        finally:
            _undisturbed.discard(id(self))
            del _watching[id(self)]

    @property
    def is_alone(self) -> bool:
        """Whether no other context has been in force since this one began :meth:`watching`."""
        return id(self) in _undisturbed

    @contextmanager
    def in_force(self) -> Iterator[FrozenContext]:
        """Make this the context that :func:`current_context` finds."""
        token = self.enter()
        try:
            yield self
        finally:
            self.leave(token)

    @contextmanager
    def within_stage(self) -> Iterator[None]:
        """Note what a pipeline's steps do as the present stage's: for a pipeline that a step runs inside of itself."""
        if self._stage is None:
            yield
            return
        before = self._inner, self._enclosing, self.is_enclosed, self._own["step_name"]
        self._enclosing, self.is_enclosed = self._inner, True
        try:
            yield
        finally:
            self._inner, self._enclosing, self.is_enclosed, self._own["step_name"] = before


def current_context() -> FrozenContext | None:
    """Return the context in force where this is called, or None outside of a run."""
    return _current.get(None)


class _Missing:
    pass


_MISSING = _Missing()


class _PlacedLogger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"{msg} ({self.extra['place']})" if self.extra and self.extra["place"] else msg, kwargs
