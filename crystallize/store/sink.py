"""Where the artifacts of a run go."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.errors import ArtifactError, StoreError
from crystallize.store.layout import ArtifactEntry, replicate_folder
from crystallize.utils.artifact_log import Sink
from crystallize.utils.digests import measure_file, write_hashed
from crystallize.utils.files import is_folder, remove_temporary_of_others, unique_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.utils.context import FrozenContext
    from crystallize.utils.digests import Measured


class ArtifactSink(Sink):
    """Stores what the steps of a run write; see :class:`crystallize.utils.artifact_log.ArtifactLog`.

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
        step, replicate, condition, folder = self._place(ctx, name)
        path = f"{self.base}/{folder}/{name}"
        try:
            if folder != self._last_made:
                self._make(folder)
            digest = write_hashed(path, content)
        except OSError as error:
            raise _unwritable(ctx, name, path, error) from error
        size = memoryview(content).nbytes
        return ArtifactEntry(name, step, replicate, condition, f"{folder}/{name}", size, digest)

    @contextmanager
    def scratch(self, ctx: FrozenContext, name: str) -> Iterator[str]:
        """Give a folder beside the artifact's place, so that the file gets there without a copy.

        Raises
        ------
        ArtifactError
            If no step is running.
        StoreError
            If the folder cannot be made.
        """
        folder = self._place(ctx, name)[-1]
        path = f"{self.base}/{folder}/.{unique_suffix()}.tmp"
        try:
            self._make(folder)
            os.makedirs(path)  # noqa: PTH103
        except OSError as error:
            raise _unwritable(ctx, name, path, error) from error
        try:
            yield path
        finally:
            try:
                os.rmdir(path)  # noqa: PTH106  # what was written has been taken; this needs no free descriptor
            except OSError:
                shutil.rmtree(path, ignore_errors=True)

    def take(self, ctx: FrozenContext, name: str, file: Path, measured: Measured | None) -> ArtifactEntry:
        """Put the file that was written in the scratch folder in its place.

        Raises
        ------
        StoreError
            If it cannot be read or moved.
        """
        step, replicate, condition, folder = self._place(ctx, name)
        path = f"{self.base}/{folder}/{name}"
        try:
            measured = measured or measure_file(file)
            os.replace(file, path)  # noqa: PTH105
        except OSError as error:
            raise _unwritable(ctx, name, path, error) from error
        return ArtifactEntry(name, step, replicate, condition, f"{folder}/{name}", *measured)

    def _place(self, ctx: FrozenContext, name: str) -> tuple[str, int, str, str]:
        """Return the step that is running, replicate and condition, and the folder of the step's artifacts."""
        step, condition, replicate = ctx.peek("step_name"), ctx.peek("condition"), ctx.peek("replicate")
        if step is None:
            raise ArtifactError(
                f"artifact {name!r} was written outside of a step", ctx.place(), "Write it in a step"
            )
        folder = f"{condition}/{step}"
        if self._by_replicate:
            folder = f"{replicate_folder(replicate)}/{folder}"
        return step, replicate, condition, folder

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

    def _make(self, folder: str) -> None:
        """Make a folder from the outside in, which takes the fewest system calls; through no link."""
        path = self.base
        for part in folder.split("/"):
            path = f"{path}/{part}"
            try:
                os.mkdir(path)  # noqa: PTH102
            except FileExistsError:
                if not is_folder(path):
                    raise
            except FileNotFoundError:
                return  # the write itself makes the base
            else:
                continue
            if self._by_replicate and path == f"{self.base}/{folder}":
                remove_temporary_of_others(Path(path))  # a worker was killed, and this is the second attempt
        self._last_made = folder


def _unwritable(ctx: FrozenContext, name: str, path: str, error: OSError) -> StoreError:
    return StoreError(
        f"artifact {name!r} cannot be written: {error.strerror or error}",
        f"{ctx.place()}, {path}",
        "Look at the folder's rights and the space on its disk",
    )
