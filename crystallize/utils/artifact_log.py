"""The artifacts that one condition of one replicate writes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from crystallize.errors import ArtifactError
from crystallize.utils.names import check_name, name_key

ArtifactSink: TypeAlias = Callable[[Any, str, bytes], Any]
"""What stores: it is given the context, the artifact's name and its content, and returns the entry to remember."""


class Writer(Protocol):
    """A context, as far as its artifacts go."""

    artifact_sink: ArtifactSink | None
    artifact_entries: dict[tuple[str | None, str], tuple[str, Any]]

    def peek(self, key: str) -> Any:
        """Return a value of the context without noting that it was read."""

    def place(self) -> str:
        """Say where this context is."""

    def note_artifact(self, name: str) -> None:
        """Note that the stage that is running writes an artifact."""


_discarded: set[str] = set()


class ArtifactLog:
    """What the steps of one context have written.

    It is a view of the context. If it held anything itself and pointed back, the two would be a cycle, and
    every context would wait for the garbage collector.
    """

    __slots__ = ("_ctx",)

    def __init__(self, ctx: Writer) -> None:
        self._ctx = ctx

    @property
    def sink(self) -> ArtifactSink | None:
        """What stores: ``sink(ctx, name, content)`` gets bytes and returns the entry to remember.

        A plugin sets it in ``before_replicate``. Without one, nothing is stored.
        """
        return self._ctx.artifact_sink

    @sink.setter
    def sink(self, sink: ArtifactSink | None) -> None:
        self._ctx.artifact_sink = sink

    @property
    def entries(self) -> list[Any]:
        """What the sink returned, in the order of writing; of an artifact that was written again, the last."""
        return [entry for _, entry in self._ctx.artifact_entries.values()]

    def write(self, name: str, content: bytes) -> Any:
        """Store ``content`` under ``name`` for the step that is running; return its entry, or None.

        Raises
        ------
        InvalidNameError
            If ``name`` cannot be a file's name.
        ArtifactError
            If ``content`` is not bytes, or the step has written an artifact whose name some systems do not tell
            from this one.
        """
        check_name("artifact", name)
        if not isinstance(content, bytes | bytearray | memoryview):
            raise ArtifactError(
                f"artifact {name!r} is bytes on disk, got {type(content).__name__}",
                self._ctx.place(),
                "Give the Artifact a writer that turns the value into bytes",
            )
        self._ctx.note_artifact(name)
        if self.sink is None:
            _warn_of_discarded(name)
            return None
        key = self._ctx.peek("step_name"), name_key(name)
        before, _ = self._ctx.artifact_entries.get(key, (name, None))
        if before != name:
            raise ArtifactError(
                f"artifact {name!r} would take the place of {before!r} on some systems",
                self._ctx.place(),
                "Give each its own name",
            )
        entry = self.sink(self._ctx, name, content)
        self._ctx.artifact_entries[key] = name, entry
        return entry

    def discard(self) -> None:
        """Remove what was written: the outcome has failed and is tried again, which may write other files."""
        remove = getattr(self.sink, "remove", None)  # a sink need only be a function
        if remove is not None:
            for entry in self.entries:
                remove(entry)
        self._ctx.artifact_entries.clear()


def _warn_of_discarded(name: str) -> None:
    """Say once for each name, not once for each write, that artifacts go nowhere."""
    if name not in _discarded:
        _discarded.add(name)
        logging.getLogger("crystallize.artifacts").warning(
            "artifact %r is discarded: no active plugin stores artifacts. Enable ArtifactPlugin to keep it",
            name,
        )
