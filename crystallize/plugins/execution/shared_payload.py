"""The packed experiment on its way to worker processes of this machine, which share one copy of it."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.utils.pickling import unpack

if TYPE_CHECKING:
    from crystallize.utils.pickling import Packed

_ALIGNMENT = 64
_SHARED_MEMORY = "/dev/shm"


class SharedPayload:
    """A packed object in a file without a name, which every worker maps into its memory.

    A page is copied only when a worker writes to it, and only for that worker. Nothing has to be cleaned up:
    the file is gone with the last process that has it open.

    Parameters
    ----------
    packed : Packed
        The object.
    """

    def __init__(self, packed: Packed) -> None:
        contents = [memoryview(packed.body), *packed.buffers]
        self._places: list[tuple[int, int]] = []
        self._size = 0
        for content in contents:
            start = -(-self._size // _ALIGNMENT) * _ALIGNMENT
            self._places.append((start, content.nbytes))
            self._size = start + content.nbytes
        self._file = _open_file(self._size)
        try:
            for (start, _), content in zip(self._places, contents, strict=True):
                self._file.seek(start)
                self._file.write(content)
            self._file.flush()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file. Workers that have opened the payload keep what they have."""
        self._file.close()
        if sys.platform == "win32":
            with suppress(OSError):
                Path(self._file.name).unlink()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a process that is just being started can open the file with."""
        handle: Any
        if sys.platform == "win32":
            handle = self._file.name
        else:
            from multiprocessing.reduction import DupFd

            handle = DupFd(self._file.fileno())
        return {"_handle": handle, "_size": self._size, "_places": self._places}

    def open(self) -> Any:
        """Return the object. Its arrays can be written to and share memory with the other workers until then.

        Only for the copy of the payload that a worker has received.
        """
        handle = vars(self)["_handle"]
        if sys.platform == "win32":
            with Path(handle).open("rb") as file:
                memory = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_COPY)
        else:
            descriptor = handle.detach()
            memory = mmap.mmap(descriptor, self._size, access=mmap.ACCESS_COPY)
            os.close(descriptor)
        whole = memoryview(memory)
        body, *buffers = [whole[start : start + size] for start, size in self._places]
        return unpack(body, buffers)


def _open_file(size: int) -> Any:
    """Open a new file, in memory if there is room for two of it."""
    if sys.platform == "win32":
        return tempfile.NamedTemporaryFile(prefix="crystallize-", delete=False)
    folder = None
    with suppress(OSError, AttributeError):
        state = os.statvfs(_SHARED_MEMORY)
        if state.f_bavail * state.f_frsize > 2 * size and os.access(_SHARED_MEMORY, os.W_OK):
            folder = _SHARED_MEMORY
    return tempfile.TemporaryFile(prefix="crystallize-", dir=folder)
