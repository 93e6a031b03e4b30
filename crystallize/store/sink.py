"""Where the artifacts of one condition of one replicate go."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from crystallize.errors import ArtifactError, StoreError
from crystallize.store.layout import ArtifactEntry
from crystallize.store.manifest import write_hashed
from crystallize.utils.names import check_name

if TYPE_CHECKING:
    from crystallize.utils.context import FrozenContext


class ArtifactSink:
    """Stores what the steps of one context write; see :class:`crystallize.utils.context.ArtifactLog`.

    Parameters
    ----------
    base : str
        The absolute folder that the entries' paths count from.
    parts : tuple of str
        The folders below it that belong to this context, outermost first.
    replicate : int
        The replicate.
    condition : str
        The condition.
    """

    __slots__ = ("_condition", "_made", "_parts", "_replicate", "base")

    def __init__(self, base: str, parts: tuple[str, ...], replicate: int, condition: str) -> None:
        self.base = base
        self._parts = parts
        self._replicate = replicate
        self._condition = condition
        self._made: set[str] = set()

    def __call__(self, ctx: FrozenContext, name: str, content: bytes) -> ArtifactEntry:
        """Write the artifact `name` of the step that is running.

        Raises
        ------
        ArtifactError
            If no step is running.
        StoreError
            If the file cannot be written.
        """
        check_name("artifact", name)
        step = ctx.get("step_name")
        if step is None:
            raise ArtifactError(
                f"artifact {name!r} was written outside of a step", ctx.place(), "Write it in a step"
            )
        relative = "/".join((*self._parts, step, name))
        path = f"{self.base}/{relative}"
        try:
            if step not in self._made:
                self._make_folders(step)
            digest = write_hashed(path, content)
        except OSError as error:
            raise StoreError(
                f"artifact {name!r} cannot be written: {error.strerror or error}",
                f"{ctx.place()}, {path}",
                "Look at the folder's rights and the space on its disk",
            ) from error
        size = memoryview(content).nbytes
        return ArtifactEntry(name, step, self._replicate, self._condition, relative, size, digest)

    def _make_folders(self, step: str) -> None:
        """Make this context's folders from the outside in, which takes the fewest system calls."""
        folder = self.base
        for part in (*self._parts, step):
            folder = f"{folder}/{part}"
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # the write itself makes the base
                os.mkdir(folder)  # noqa: PTH102
        self._made.add(step)
