"""Where the artifacts of a run go."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from crystallize.errors import ArtifactError, StoreError
from crystallize.store.layout import ArtifactEntry, replicate_folder
from crystallize.store.manifest import write_hashed
from crystallize.utils.files import is_folder

if TYPE_CHECKING:
    from crystallize.utils.context import FrozenContext


class ArtifactSink:
    """Stores what the steps of a run write; see :class:`crystallize.utils.context.ArtifactLog`.

    One sink serves all contexts of a run, in any thread.

    Parameters
    ----------
    base : str
        The absolute folder that the entries' paths count from.
    by_replicate : bool, default True
        Whether each replicate has a folder of its own.
    """

    __slots__ = ("_by_replicate", "_last_made", "base")

    def __init__(self, base: str, *, by_replicate: bool = True) -> None:
        self.base = base
        self._by_replicate = by_replicate
        self._last_made = ""

    def __call__(self, ctx: FrozenContext, name: str, content: bytes) -> ArtifactEntry:
        """Write the artifact `name` of the step that is running.

        Raises
        ------
        ArtifactError
            If no step is running.
        StoreError
            If the file cannot be written.
        """
        step, condition, replicate = ctx.peek("step_name"), ctx.peek("condition"), ctx.peek("replicate")
        if step is None:
            raise ArtifactError(
                f"artifact {name!r} was written outside of a step", ctx.place(), "Write it in a step"
            )
        parts: tuple[str, ...] = (condition, step)
        if self._by_replicate:
            parts = (replicate_folder(replicate), *parts)
        folder = "/".join(parts)
        relative = f"{folder}/{name}"
        path = f"{self.base}/{relative}"
        try:
            if folder != self._last_made:
                self._make_folders(parts)
                self._last_made = folder
            digest = write_hashed(path, content)
        except OSError as error:
            raise StoreError(
                f"artifact {name!r} cannot be written: {error.strerror or error}",
                f"{ctx.place()}, {path}",
                "Look at the folder's rights and the space on its disk",
            ) from error
        return ArtifactEntry(name, step, replicate, condition, relative, memoryview(content).nbytes, digest)

    def remove(self, entry: ArtifactEntry) -> None:
        """Remove an artifact that was written."""
        try:
            os.unlink(f"{self.base}/{entry.path}")  # noqa: PTH108
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(
                f"artifact {entry.name!r} of a failed attempt cannot be removed: {error.strerror or error}",
                f"replicate {entry.replicate}, condition {entry.condition!r}",
                "Look at the folder's rights",
            ) from error

    def _make_folders(self, parts: tuple[str, ...]) -> None:
        """Make the folders from the outside in, which takes the fewest system calls."""
        folder = self.base
        for part in parts:
            folder = f"{folder}/{part}"
            try:
                os.mkdir(folder)  # noqa: PTH102
            except FileExistsError:
                if not is_folder(folder):
                    raise
            except FileNotFoundError:
                return  # the write itself makes the base
