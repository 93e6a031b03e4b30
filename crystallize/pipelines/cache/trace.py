"""What a step leaves behind besides its output: taken down while it runs, and done again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from crystallize.utils.global_random import GLOBAL_GENERATORS
from crystallize.utils.sharing import SCALARS
from crystallize.utils.stage import missing_in, reads_in

if TYPE_CHECKING:
    from crystallize.utils.context import FrozenContext


class StepTrace(NamedTuple):
    """All that a step has left behind, besides its output.

    Attributes
    ----------
    metrics : tuple of (str, object, mapping or None)
        Name, value and tags of what it recorded, in order.
    added : dict of str to object
        The keys that it added to the context.
    artifacts : tuple of (str, bytes)
        Name and content of what it wrote.
    handed_back : tuple of (str, bytes)
        What it sent to plugins.
    reads, missing, present, keys
        Its notes, as in :class:`crystallize.utils.stage.StageRecord`.
    streams : tuple of (str or None, dict, int)
        The random streams that it took: name, state afterwards, and how many generators were spawned from it.
    global_states : dict of str to object
        The state afterwards of each generator of the whole process that it drew from.
    """

    metrics: tuple[tuple[str, Any, Mapping[str, Any] | None], ...]
    added: Mapping[str, Any]
    artifacts: tuple[tuple[str, bytes], ...]
    handed_back: tuple[tuple[str, bytes], ...]
    reads: tuple[tuple[str, Any], ...]
    missing: tuple[str, ...]
    present: tuple[str, ...]
    keys: tuple[str, ...] | None
    streams: tuple[tuple[str | None, Any, int], ...]
    global_states: Mapping[str, Any]

    @property
    def is_apart(self) -> bool:
        """Whether none of it can be an object that is in the output, too."""
        return not self.added and all(type(value) in SCALARS for _, value, _ in self.metrics)

    def can_be_undone(self, ctx: FrozenContext) -> bool:
        """Tell whether ``ctx.rewind`` will undo all of it once it is done to `ctx`."""
        return not (
            self.added
            or self.handed_back
            or self.global_states
            or any(ctx.has_stream(name) for name, _, _ in self.streams)
        )

    def repeat(self, ctx: FrozenContext, ignored: frozenset[str]) -> None:
        """Do to a context what the step did; it reads the keys in `ignored` anew."""
        looks = ctx.looked_up()
        for key, described in self.reads:
            if key in ignored:
                ctx.get(key)
            else:
                looks[key] = described
        for key in self.missing:
            looks[key,] = None
        if self.present:
            ctx.rare.present.update(dict.fromkeys(self.present))
        if self.keys is not None:
            ctx.rare.keys = self.keys
        for name, state, spawned in self.streams:
            bits = (ctx.rng if name is None else ctx.stream(name)).bit_generator
            bits.seed_seq.spawn(spawned)  # type: ignore[attr-defined]
            bits.state = state
        for key, value in self.added.items():
            ctx.add(key, value)
        for metric, value, tags in self.metrics:
            ctx.metrics.add(metric, value, tags)
        for name, content in self.artifacts:
            ctx.artifacts.write(name, content)
        if self.handed_back and not ctx.is_over:
            ctx.handed_back.extend(self.handed_back)
        for name, state in self.global_states.items():
            GLOBAL_GENERATORS[name].restore(state)


class TraceRecorder:
    """Takes down what a step does to its context: to be used as a context manager around the step.

    Parameters
    ----------
    ctx : FrozenContext
        The context.
    """

    def __init__(self, ctx: FrozenContext) -> None:
        self._ctx = ctx
        self._caching = ctx.start_caching()
        self._handed_back = len(ctx.handed_back)
        self._metrics = ctx.metrics.counts()
        self._noted = len(ctx.metrics.noted)

    def __enter__(self) -> Self:
        self._caching.written = []
        return self

    def __exit__(self, *error: object) -> None:
        self._artifacts, self._caching.written = self._caching.written, None

    def trace(self, global_states: Mapping[str, Any]) -> StepTrace:
        """Return what the step has done.

        Parameters
        ----------
        global_states : mapping of str to object
            The state of each generator of the whole process that it drew from.
        """
        ctx, looks, rare = self._ctx, self._ctx.looks_of_stage(), self._ctx.rest
        return StepTrace(
            metrics=tuple(self._recorded()),
            added={} if rare is None else {key: ctx.peek(key) for key in rare.added},
            artifacts=tuple(self._artifacts or ()),
            handed_back=tuple(ctx.handed_back[self._handed_back :]),
            reads=reads_in(looks),
            missing=missing_in(looks),
            present=() if rare is None else tuple(rare.present),
            keys=None if rare is None else rare.keys,
            streams=()
            if rare is None
            else tuple(
                (stream.name, stream.generator.bit_generator.state, stream.position()[1] - spawned)
                for stream, (_, spawned) in rare.streams.items()
            ),
            global_states=global_states,
        )

    def _recorded(self) -> list[tuple[str, Any, Mapping[str, Any] | None]]:
        log = self._ctx.metrics
        at = dict(self._metrics)
        recorded = []
        for name in log.noted[self._noted :]:
            if type(name) is not str:
                continue
            place = at.get(name, 0)
            at[name] = place + 1
            tags = log.tags[name][place] if name in log.tags else None
            recorded.append((name, log.values_by_name[name][place], tags))
        return recorded
