"""What a loader is, and the one that everything falls back to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from crystallize.errors import ArtifactError, ArtifactNotFoundError, CrystallizeError
from crystallize.utils.signatures import name_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Loader(Protocol):
    """A pair: bytes on disk <-> Python object.

    A loader keeps no state between calls and can be pickled. It may raise any exception for content or values
    that it cannot handle; the caller names the file.
    """

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The file suffixes that it is chosen by, in lower case with their dot; none if only by name."""

    def load(self, path: Path) -> Any:
        """Return the object that the file at `path` holds."""

    def dump(self, value: Any) -> bytes:
        """Return the bytes that :meth:`load` would make `value` of."""


class FunctionLoader:
    """A plain function of one path as a loader: it loads, and what is written is bytes or str.

    Parameters
    ----------
    function : callable
        Makes an object of the file at the path that it is given.
    """

    suffixes = ()

    def __init__(self, function: Callable[[Path], Any]) -> None:
        self.function = function

    def load(self, path: Path) -> Any:
        """Return what the function makes of the file at `path`."""
        return self.function(path)

    def dump(self, value: Any) -> bytes:
        """Return bytes as they are, and text as UTF-8."""
        return to_bytes(value)


def from_bytes(path: Path) -> bytes:
    """Return the file's content: how a file is read if nobody says how."""
    return path.read_bytes()


def to_bytes(value: Any) -> bytes:
    """Return bytes as they are, not copied, and text as UTF-8: how a value is written if nobody says how.

    Raises
    ------
    ArtifactError
        If `value` is anything else.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return value  # type: ignore[return-value]
    raise ArtifactError(
        f"nothing says how a {type(value).__name__} becomes a file's bytes",
        hint="Write bytes or str, or name a loader (Artifact('x.json', loader='json')) or a writer for it",
    )


def load_file(load: Callable[[Path], Any], path: Path) -> Any:
    """Return what `load` makes of the file at `path`.

    Raises
    ------
    ArtifactNotFoundError
        If there is no such file.
    ArtifactError
        If `load` cannot read it.
    """
    try:
        return load(path)
    except CrystallizeError:
        raise
    except Exception as error:
        if not path.exists():
            raise ArtifactNotFoundError(f"the artifact {path.name!r} is not there", str(path)) from error
        raise ArtifactError(
            f"the loader {_name(load)} cannot read artifact {path.name!r}: {type(error).__name__}: {error}",
            str(path),
            "Name the loader that fits what was written, or run the producing experiment again",
        ) from error


def dump_value(dump: Callable[[Any], Any], value: Any, name: str) -> bytes:
    """Return the bytes that `dump` makes of `value` for the artifact `name`; text becomes UTF-8.

    Raises
    ------
    ArtifactError
        If `dump` cannot, or returns something else.
    """
    try:
        content = dump(value)
    except CrystallizeError as error:
        raise ArtifactError(f"artifact {name!r}: {error.what}", error.where, error.hint) from error
    except Exception as error:
        raise ArtifactError(
            f"the writer {_name(dump)} of artifact {name!r} cannot write a {type(value).__name__}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytes | bytearray | memoryview):
        return content  # type: ignore[return-value]
    raise ArtifactError(
        f"the writer {_name(dump)} of artifact {name!r} returned a {type(content).__name__}",
        hint="A writer returns bytes, or text",
    )


def _name(function: Callable[..., Any]) -> str:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, FunctionLoader):
        return name_of(owner.function)
    return type(owner).__name__ if owner is not None else name_of(function)
