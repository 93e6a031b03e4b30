"""The artifacts that one condition of one replicate writes."""

from __future__ import annotations

import io
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from crystallize.errors import ArtifactError, InvalidValueError
from crystallize.utils.files import is_plain
from crystallize.utils.names import check_name, name_key

if TYPE_CHECKING:
    from crystallize.utils.digests import HashingFile, Measured

_BUFFER = 1 << 18


class Writer(Protocol):
    """A context, as far as its artifacts go."""

    artifact_sink: Sink | None
    artifact_entries: dict[str, tuple[str, str | None, Any]]
    is_over: bool

    def peek(self, key: str) -> Any:
        """Return a value of the context without noting that it was read."""

    def place(self) -> str:
        """Say where this context is."""

    @property
    def keeps_artifacts(self) -> bool:
        """Whether somebody wants to have the content of what the stage that is running writes."""

    def note_look_at_artifacts(self) -> None:
        """Note that the stage that is running looks at what was written."""

    def note_artifact(self, name: str, content: bytes | bytearray | memoryview) -> None:
        """Note that the stage that is running writes an artifact; without its content if nobody wants that."""


class Sink(ABC):
    """What stores artifacts. A plugin makes it the run's ``artifact_sink`` in ``before_run``.

    It is called in workers, and in any thread.
    """

    __slots__ = ()

    @abstractmethod
    def __call__(self, ctx: Any, name: str, content: bytes) -> Any:
        """Store `content` for the step that is running, and return the entry to remember."""

    def scratch(self, ctx: Any, name: str) -> AbstractContextManager[str]:
        """Return a new folder to write the artifact in, which is removed with all that is left in it."""
        return TemporaryDirectory(prefix="crystallize-")

    def take(self, ctx: Any, name: str, file: Path, measured: Measured | None) -> Any:
        """Store the file that was written in the scratch folder, and return the entry to remember.

        Parameters
        ----------
        measured : Measured or None
            Its size and digest, if they are known already.
        """
        return self(ctx, name, file.read_bytes())


class _Scratch:
    """A file that is being written, and will be an artifact."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hashed: HashingFile | None = None


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
    def sink(self) -> Sink | None:
        """What stores. Without one, nothing is stored."""
        return self._ctx.artifact_sink

    @sink.setter
    def sink(self, sink: Sink | None) -> None:
        self._ctx.artifact_sink = sink

    @property
    def entries(self) -> list[Any]:
        """What the sink returned, in the order of writing; of an artifact that was written again, the last."""
        self._ctx.note_look_at_artifacts()
        return [entry for _, _, entry in self._ctx.artifact_entries.values()]

    def write(self, name: str, content: bytes) -> Any:
        """Store ``content`` under ``name`` for the step that is running; return its entry, or None.

        Raises
        ------
        InvalidNameError
            If ``name`` cannot be a file's name.
        ArtifactError
            If ``content`` is not bytes, another step has written the artifact, or this one has written an
            artifact whose name some systems do not tell from this one.
        """
        if not isinstance(content, bytes | bytearray | memoryview):
            raise ArtifactError(
                f"artifact {name!r} is bytes on disk, got {type(content).__name__}",
                self._ctx.place(),
                "Give the Artifact a writer that turns the value into bytes",
            )
        sink = self._admit(name)
        entry = None
        if sink is not None:
            entry = sink(self._ctx, name, content)
            self._remember(name, entry)
        self._ctx.note_artifact(name, content)
        return entry

    def open(self, name: str, mode: str = "wb") -> AbstractContextManager[IO[Any]]:
        """Open the artifact ``name`` for writing, part by part; see :meth:`crystallize.Artifact.open`."""
        if mode not in ("wb", "w"):
            raise InvalidValueError(
                f"an artifact is opened with 'wb', or 'w' for text, got {mode!r}",
                self._ctx.place(),
                "path() gives a file's path, for what wants to read it too",
            )
        return self._open(name, mode)

    @contextmanager
    def path(self, name: str) -> Iterator[Path]:
        """Give a path to write the artifact ``name`` to; see :meth:`crystallize.Artifact.path`."""
        with self._scratch(name) as scratch:
            yield scratch.path

    @contextmanager
    def _open(self, name: str, mode: str) -> Iterator[IO[Any]]:
        from crystallize.utils.digests import HashingFile

        with self._scratch(name) as scratch:
            raw = scratch.hashed = HashingFile(scratch.path)
            file: IO[Any] = io.BufferedWriter(raw, _BUFFER)
            if mode == "w":
                file = io.TextIOWrapper(cast("io.BufferedWriter", file), "utf-8", newline="")
            with file:
                yield file

    @contextmanager
    def _scratch(self, name: str) -> Iterator[_Scratch]:
        """Give a file to write, and store it if the block ends without an error."""
        ctx, sink, step = self._ctx, self._admit(name), self._ctx.peek("step_name")
        with TemporaryDirectory() if sink is None else sink.scratch(ctx, name) as folder:
            scratch = _Scratch(Path(folder, name))
            yield scratch
            if ctx.peek("step_name") != step or ctx.is_over:
                raise ArtifactError(
                    f"artifact {name!r} was still being written when step {step!r} had ended",
                    ctx.place(),
                    "End the with block in the step that begins it",
                )
            self._check_written(scratch.path)
            kept = scratch.path.read_bytes() if ctx.keeps_artifacts else b""
            if sink is not None:
                measured = None if scratch.hashed is None else scratch.hashed.measured()
                self._remember(name, sink.take(ctx, name, scratch.path, measured))
            ctx.note_artifact(name, kept)

    def _admit(self, name: str) -> Sink | None:
        """Return the sink, if the step that is running may write an artifact of this name."""
        check_name("artifact", name)
        sink = self._ctx.artifact_sink
        if sink is None:
            _warn_of_discarded(name)
            return None
        before = self._ctx.artifact_entries.get(name_key(name))
        if before is not None:
            self._check_again(name, *before[:2])
        return sink

    def _check_again(self, name: str, before: str, step: str | None) -> None:
        """Raise an error unless it is the step that wrote the artifact `before` that writes the same one again."""
        now = self._ctx.peek("step_name")
        if step != now:
            raise ArtifactError(
                f"artifact {name!r} is written by two steps: {step!r} has written "
                f"{'it' if before == name else repr(before)}, and {now!r} writes it again",
                self._ctx.place(),
                "Give each step an artifact of its own",
            )
        if before != name:
            raise ArtifactError(
                f"artifact {name!r} would take the place of {before!r} on some systems",
                self._ctx.place(),
                "Give each its own name",
            )

    def _remember(self, name: str, entry: Any) -> None:
        self._ctx.artifact_entries[name_key(name)] = name, self._ctx.peek("step_name"), entry

    def _check_written(self, path: Path) -> None:
        """Raise an error unless there is a plain file at `path`, and nothing beside it."""
        found = os.listdir(path.parent)  # noqa: PTH208
        if len(found) == 1 and is_plain(path):
            return
        beside = sorted(name for name in found if name != path.name)
        if not os.path.lexists(path):
            what = f"nothing was written to the path of artifact {path.name!r}"
        elif beside:
            what = f"artifact {path.name!r} is one file, and more were written beside it"
        else:
            what = f"artifact {path.name!r} is one plain file, and a folder or link was written"
        if beside:
            what += f": {', '.join(map(repr, beside))}"
        raise ArtifactError(
            what,
            self._ctx.place(),
            "Write exactly this file, with the suffix that the writer wants; a folder can be packed into an archive",
        )

    def discard(self, since: int = 0) -> None:
        """Remove what was written after the first `since` artifacts: the steps run again, and may write other files."""
        remove = getattr(self.sink, "remove", None)  # a sink need only be a function
        for key in list(self._ctx.artifact_entries)[since:]:
            _, _, entry = self._ctx.artifact_entries.pop(key)
            if remove is not None:
                remove(entry)


def _warn_of_discarded(name: str) -> None:
    """Say once for each name, not once for each write, that artifacts go nowhere."""
    if name not in _discarded:
        _discarded.add(name)
        logging.getLogger("crystallize.artifacts").warning(
            "artifact %r is discarded: no active plugin stores artifacts. Enable ArtifactPlugin to keep it",
            name,
        )
