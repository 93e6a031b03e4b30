"""The immutable mapping that one condition of one replicate runs in."""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from copy import deepcopy
from itertools import islice
from typing import TYPE_CHECKING, Any

from crystallize.errors import ContextKeyError, ContextMutationError, PluginError
from crystallize.utils.artifact_log import ArtifactLog, ArtifactSink
from crystallize.utils.metrics import MetricLog, to_python
from crystallize.utils.randomness import draw_master_seed, generator, stream_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator

RESERVED_KEYS = frozenset({"replicate", "condition", "seed_used", "step_name"})
"""Keys that the framework sets; a treatment or an initial context must not use them."""

_ATOMIC = frozenset({int, float, bool, str, bytes, complex, type(None), frozenset})
_SCALARS = frozenset({int, float, bool, str, type(None)})
_LONGEST_RECORDED_TEXT = 80
_NO_STAGE = -3  # before the first one; what is read there, by plugins, is nobody's in the provenance
_EMPTY: Mapping[str, Any] = {}

_current: ContextVar[FrozenContext] = ContextVar("crystallize_context")


class Resource(ABC):
    """A value of the context that each worker makes for itself; see :func:`crystallize.resource_factory`."""

    @abstractmethod
    def resolve(self, key: str, ctx: FrozenContext) -> Any:
        """Return this worker's object for the context entry ``key``."""


class FrozenContext(Mapping[str, Any]):
    """Immutable mapping with metrics, random streams and artifacts of one condition of one replicate.

    What is read cannot be changed for others: lists, dicts and sets come as copies, NumPy arrays as
    read-only views without a copy, anything else by reference.

    Parameters
    ----------
    initial : mapping of str to object, optional
        The first entries. The mapping is not copied: whoever makes the context does not change it later.
    settings : mapping of str to object, optional
        Entries that take precedence over `initial`.
    replicate, condition : optional
        Where the context belongs.
    master_seed : int, optional
        What ``rng`` and ``stream`` derive from. Drawn when it is needed, if not given.
    rng_key : int, optional
        Which stream ``rng`` is until the first stage; the first step's, if not given.
    """

    __slots__ = (
        "_base",
        "_known_metrics",
        "_master_seed",
        "_own",
        "_reads",
        "_rng_key",
        "_rngs",
        "_settings",
        "_stage",
        "artifact_entries",
        "artifact_sink",
        "handed_back",
        "metrics",
        "plugin_name",
        "trace",
    )

    def __init__(
        self,
        initial: Mapping[str, Any] = _EMPTY,
        settings: Mapping[str, Any] = _EMPTY,
        *,
        replicate: int | None = None,
        condition: str | None = None,
        master_seed: int | None = None,
        rng_key: int = 0,
    ) -> None:
        self._base = initial
        self._settings = settings
        self._own: dict[str, Any] = {}
        if replicate is not None:
            self._own["replicate"] = replicate
        if condition is not None:
            self._own["condition"] = condition
        self._master_seed = master_seed
        self._stage = _NO_STAGE
        self._rng_key = rng_key
        self._rngs: dict[int, Generator] | None = None
        self._reads: dict[str, Any] = {}
        self._known_metrics = 0
        self.metrics = MetricLog()
        self.artifact_sink: ArtifactSink | None = None
        self.artifact_entries: list[Any] = []
        self.plugin_name: Callable[[object], str] | None = None
        self.handed_back: list[tuple[str, bytes]] | None = []
        """What hooks send to their plugins in the coordinator: name and pickled value. None when it is too late."""
        self.trace: tuple[tuple[int, tuple[tuple[str, Any], ...], tuple[str, ...]], ...] = ()
        """For each stage that read or recorded anything: its number, what it read, and new metrics' names."""

    @property
    def artifacts(self) -> ArtifactLog:
        """What the steps of this context have written."""
        return ArtifactLog(self)

    # -- the mapping ---------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        value = self._find(key)
        if value is _MISSING:
            held = ", ".join(sorted(map(repr, self))) or "nothing"
            raise ContextKeyError(f"the context has no {key!r}", self.place(), f"It holds {held}")
        return self._hand_out(key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default` if the context does not have it."""
        value = self._find(key)
        return default if value is _MISSING else self._hand_out(key, value)

    def add(self, key: str, value: Any) -> None:
        """Add a new key.

        Raises
        ------
        ContextMutationError
            If the context has the key already.
        """
        if not isinstance(key, str):
            raise ContextMutationError(f"a context key is a str, got {key!r}", self.place())
        if self._find(key) is not _MISSING:
            raise ContextMutationError(
                f"the context has {key!r} already and is immutable", self.place(), "Add a new key instead"
            )
        self._own[key] = value

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not _MISSING

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (key for key in self._settings if key not in self._own)
        yield from (key for key in self._base if key not in self._own and key not in self._settings)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __setitem__(self, key: str, value: Any) -> None:
        raise ContextMutationError(
            f"the context is immutable, so {key!r} cannot be set", self.place(), "Use ctx.add for a new key"
        )

    def __delitem__(self, key: str) -> None:
        raise ContextMutationError(f"the context is immutable, so {key!r} cannot be removed", self.place())

    def __repr__(self) -> str:
        return f"FrozenContext({{{', '.join(f'{key!r}: {self._find(key)!r}' for key in self)}}})"

    def _find(self, key: Any) -> Any:
        # Not a loop over the layers: this runs several times in every step.
        if key in self._own:
            return self._own[key]
        if key in self._settings:
            return self._settings[key]
        return self._base.get(key, _MISSING)

    def _hand_out(self, key: str, value: Any) -> Any:
        kind = type(value)
        if kind in _ATOMIC:
            if key not in RESERVED_KEYS:
                small = kind in _SCALARS and (kind is not str or len(value) <= _LONGEST_RECORDED_TEXT)
                self._reads[key] = value if small else _describe(value)
            return value
        if isinstance(value, Resource):
            self._reads[key] = "<resource>"
            return value.resolve(key, self)
        self._reads[key] = _describe(value)
        return protect(value)

    # -- what a step records -------------------------------------------------------------------------------

    def record(self, name: str, value: Any, tags: Mapping[str, Any] | None = None) -> None:
        """Record a metric value, with tags that tell it from others of the same name.

        Parameters
        ----------
        name : str
            Name of the metric.
        value : object
            The value; a NumPy scalar becomes Python's.
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
        if self.handed_back is None:
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
        return self._generator(self._rng_key)

    def stream(self, name: str) -> Generator:
        """Return the random generator of this replicate and `name`, whichever step asks for it."""
        return self._generator(stream_key(name))

    def _generator(self, key: int) -> Generator:
        if self._rngs is None:
            self._rngs = {}
        found = self._rngs.get(key)
        if found is None:
            if self._master_seed is None:
                self._master_seed = draw_master_seed()
            found = generator(self._master_seed, self._own.get("replicate", 0), key)
            self._rngs[key] = found
        return found

    # -- for the engine ------------------------------------------------------------------------------------

    def enter_stage(self, stage: int, rng_key: int, step_name: str) -> None:
        """Move on to the next step: `rng`, the trace and ``ctx["step_name"]`` are that step's from now on."""
        if self._reads or len(self.metrics.values_by_name) != self._known_metrics:
            self.leave_stage()
        self._stage = stage
        self._rng_key = rng_key
        self._own["step_name"] = step_name

    def leave_stage(self) -> None:
        """Write what the stage has read and recorded so far into the trace."""
        recorded = self.metrics.values_by_name
        if self._reads or len(recorded) != self._known_metrics:
            new = (
                tuple(islice(recorded, self._known_metrics, None))
                if len(recorded) > self._known_metrics
                else ()
            )
            self.trace = (*self.trace, (self._stage, tuple(self._reads.items()), new))
            self._reads.clear()
            self._known_metrics = len(recorded)

    def enter_hook(self, rng_key: int) -> tuple[dict[str, Any], int]:
        """Keep hooks apart from the stage: what they read is not its, and `rng` is theirs, until :meth:`leave_hook`."""
        state = self._reads, self._rng_key
        self._reads, self._rng_key = {}, rng_key
        return state

    def leave_hook(self, state: tuple[dict[str, Any], int]) -> None:
        """Go on with what :meth:`enter_hook` returned."""
        self._reads, self._rng_key = state

    def peek(self, key: str) -> Any:
        """Return the value of `key`, or None, without a copy and without a trace of it."""
        value = self._find(key)
        return None if value is _MISSING else value

    def enter(self) -> Token[FrozenContext]:
        """Make this the context that :func:`current_context` finds, until :meth:`leave`."""
        return _current.set(self)

    def leave(self, token: Token[FrozenContext]) -> None:
        """Have :func:`current_context` find again what it found before."""
        _current.reset(token)

    @contextmanager
    def in_force(self) -> Iterator[FrozenContext]:
        """Make this the context that :func:`current_context` finds."""
        token = self.enter()
        try:
            yield self
        finally:
            self.leave(token)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Come back to the present stage afterwards: for a pipeline that a step runs inside of itself."""
        stage, rng_key, step_name = self._stage, self._rng_key, self._own.get("step_name")
        try:
            yield
        finally:
            if step_name is not None:
                self.enter_stage(stage, rng_key, step_name)


def current_context() -> FrozenContext | None:
    """Return the context in force where this is called, or None outside of a run."""
    return _current.get(None)


def protect(value: Any) -> Any:
    """Return `value` in a form whose change nobody else sees; see :class:`FrozenContext`."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    numpy = sys.modules.get("numpy")  # an array can only be here if somebody has imported NumPy
    if numpy is not None and isinstance(value, numpy.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    if kind is list:
        return [protect(item) for item in value]
    if kind is dict:
        return {key: protect(item) for key, item in value.items()}
    if kind is tuple:
        return tuple(protect(item) for item in value)
    if isinstance(value, tuple) and hasattr(kind, "_make"):  # a named tuple
        return kind._make(map(protect, value))
    if isinstance(value, list | dict | set | bytearray | deque):
        return deepcopy(value)
    return value


def _describe(value: Any) -> Any:
    """Return what stands for a value in the provenance: a number itself, of anything large its kind and size."""
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if shape == () and type(number := to_python(value)) in _SCALARS:
        return number
    if shape is not None:
        return f"<{kind} {getattr(value, 'dtype', '')}{list(shape)}>"
    try:
        return f"<{kind} of {len(value)}>"
    except TypeError:
        return f"<{kind}>"


class _Missing:
    pass


_MISSING = _Missing()


class _PlacedLogger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        return f"{msg} ({self.extra['place']})" if self.extra and self.extra["place"] else msg, kwargs
