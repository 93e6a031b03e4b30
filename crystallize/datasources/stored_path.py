"""Paths into stored runs, as the step cache has to see them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crystallize.utils.content import HiddenContentError

if TYPE_CHECKING:
    from os import PathLike

if sys.platform == "win32":
    from pathlib import WindowsPath as _Path
else:
    from pathlib import PosixPath as _Path


class StoredPath(_Path):
    """The path of a stored artifact: another one as soon as something else is in the file.

    Paths that are made of it, such as its parent, are of this class and say nothing of a content: who gets one has
    no cache.

    Attributes
    ----------
    digest : str
        That of the file's content; empty if that says nothing.
    """

    digest = ""

    @classmethod
    def with_digest(cls, path: str | PathLike[str], digest: str) -> StoredPath:
        """Return the path of a file whose content has this digest."""
        stored = cls(path)
        stored.digest = digest
        return stored

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredPath.with_digest, (str(self), self.digest)

    def __crystallize_fingerprint__(self) -> object:
        if not self.digest:
            raise HiddenContentError(
                f"{self} leads into one run, and another run has another file: pass on what is in the file"
            )
        return self.as_posix(), self.digest
