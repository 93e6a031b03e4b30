"""The artifacts that one condition of one replicate writes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from crystallize.errors import ArtifactError

ArtifactSink: TypeAlias = Callable[[Any, str, bytes], Any]
"""What stores: it is given the context, the artifact's name and its content, and returns the entry to remember."""


class Writer(Protocol):
    """A context, as far as its artifacts go."""

    artifact_sink: ArtifactSink | None
    artifact_entries: list[Any]

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
        """What the sink returned, in the order of writing."""
        return self._ctx.artifact_entries

    def write(self, name: str, content: bytes) -> Any:
        """Store ``content`` under ``name`` for the step that is running; return its entry, or None.

        Raises
        ------
        ArtifactError
            If ``content`` is not bytes.
        """
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
        entry = self.sink(self._ctx, name, content)
        self.entries.append(entry)
        return entry


def _warn_of_discarded(name: str) -> None:
    """Say once for each name, not once for each write, that artifacts go nowhere."""
    if name not in _discarded:
        _discarded.add(name)
        logging.getLogger("crystallize.artifacts").warning(
            "artifact %r is discarded: no active plugin stores artifacts. Enable ArtifactPlugin to keep it",
            name,
        )
