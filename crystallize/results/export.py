"""A stored run as an RO-Crate: a folder, or a zip file, which other tools can read and repositories take."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

from crystallize.errors import ArtifactNotFoundError, CrystallizeError, InvalidValueError, StoreError
from crystallize.results.crate import (
    CrateContent,
    CrateFile,
    about_artifact,
    describe_crate,
    time_of,
)
from crystallize.results.load import load_run
from crystallize.store.layout import (
    CRATE,
    HYPOTHESES,
    JOURNAL,
    MANIFEST,
    METADATA,
    PRUNED,
    RESULTS,
    path_in,
    version_number,
)
from crystallize.store.manifest import check_unchanged
from crystallize.store.metadata import RUNNING, status_of
from crystallize.store.reader import lock_run
from crystallize.utils.failures import store_errors
from crystallize.utils.files import (
    is_folder,
    is_plain,
    open_plain,
    remove_folder,
    unique_suffix,
    written_beside,
)
from crystallize.utils.json_text import to_json

if TYPE_CHECKING:
    from datetime import datetime

    from crystallize.results.result import Result
    from crystallize.store.layout import ArtifactEntry

_ZIP = ".zip"
_YEARS_OF_ZIP = range(1980, 2108)
_CHUNK = 1 << 20

_FILES = {
    METADATA: "What ran, when, where, with which code, packages, plugins and seeds, and how it ended.",
    JOURNAL: "Every outcome as it arrived, a line each: seed, metrics, artifacts, error, and what each step read.",
    MANIFEST: "Every artifact: its step, and size and hash of each file.",
    HYPOTHESES: "What each hypothesis found.",
    PRUNED: "How many artifacts were removed, and their bytes.",
}

_Create: TypeAlias = Callable[[str, int], IO[bytes]]
"""Makes a file of the crate, of its path and its size."""


class Exported(NamedTuple):
    """What was exported.

    Attributes
    ----------
    path : pathlib.Path
        The crate.
    files : int
        How many files of the run it has.
    size : int
        Their bytes.
    gone : int
        How many artifacts it describes and does not have, since they are no longer stored.
    """

    path: Path
    files: int
    size: int
    gone: int


def export_run(
    run: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    license: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a stored run as a Process Run Crate: its files, and an RO-Crate document that describes them.

    The crate depends on the run alone: exported again, it has the same bytes.

    Parameters
    ----------
    run : str or path
        The folder ``<root>/<experiment>/v<N>``, which is ``result.path``.
    output : str or path, optional
        A folder that is empty or not there, or a file whose name ends in ``.zip``. By default
        ``<experiment>-v<N>-ro-crate.zip`` in the working directory.
    license : str, optional
        Under which license the crate may be used: an address such as ``https://spdx.org/licenses/CC-BY-4.0``, or a
        text.
    force : bool, default False
        Whether to put the crate in the place of one that is there already.

    Raises
    ------
    StoreError
        If there is no run, if it is still being made or is damaged, or if the crate cannot be written.
    ArtifactError
        If an artifact is not what the run has written.
    InvalidValueError
        If there is something at `output`.
    """
    lock = lock_run(Path(run))
    if lock is None:
        raise StoreError("no run is stored here, for there is no metadata", os.fspath(run))
    folder = lock.path.parent
    try:
        result, metadata = load_run(folder)
        status = _status(folder, metadata)
        title = result.experiment
        if version_number(Path(run).name) is not None:
            title += f" {Path(run).name}"
        target = Path(output or f"{title.replace(' ', '-')}-ro-crate{_ZIP}").absolute()
        with _in_the_place_of(target, force=force) as beside:
            with _zip_file(beside, time_of(metadata)) if _is_zip(target) else _folder(beside) as create:
                files, gone = _copy_all(folder, result, create)
                content = CrateContent(f"Run {title}", result, metadata, status, files, gone, license)
                _write(create, CRATE, f"{to_json(describe_crate(content), indent=2)}\n".encode())
            if not lock.is_in_place():
                raise StoreError(
                    "another run took the place of this one while it was exported",
                    os.fspath(run),
                    "Try again",
                )
    finally:
        lock.release()
    return Exported(target, len(files), sum(file.size for file in files), len(gone))


def _status(folder: Path, metadata: Mapping[str, Any]) -> str:
    """Return how the run ended."""
    status = str(status_of(folder, metadata))
    if status == RUNNING:
        raise StoreError("the run is still being made", str(folder), "Export it when it is over")
    return status


# -- the run's files -----------------------------------------------------------------------------------------


def _copy_all(folder: Path, result: Result, create: _Create) -> tuple[list[CrateFile], list[ArtifactEntry]]:
    """Copy the files of a run, in the order of their paths, and return them, and the artifacts that are gone."""
    files, gone = [], []
    for path, (about, entry) in sorted(_parts(folder, result).items()):
        source = Path(path_in(folder, *path.split("/")))
        if entry is not None:
            try:
                check_unchanged(source, entry)
            except ArtifactNotFoundError:
                gone.append(entry)
                continue
        files.append(_copy(source, path, about, create))
    return files, gone


def _parts(folder: Path, result: Result) -> dict[str, tuple[str, ArtifactEntry | None]]:
    """Return the files of a run by their paths, with what they are: those that we have written, and no others."""
    results = {
        f"{name}/{RESULTS}": f"What was measured under condition {name!r}." for name in result.conditions
    }
    ours = {path: (about, None) for path, about in (_FILES | results).items() if is_plain(folder / path)}
    return ours | {entry.path: (about_artifact(entry), entry) for entry in result.artifacts}


def _copy(source: Path, path: str, about: str, create: _Create) -> CrateFile:
    with store_errors(f"{path!r} cannot be read", source):
        descriptor = open_plain(source, follow_links=False)
    hasher = hashlib.sha256()
    size = 0
    with (
        os.fdopen(descriptor, "rb", buffering=0) as file,
        create(path, os.fstat(descriptor).st_size) as copy,
    ):
        while part := file.read(_CHUNK):
            hasher.update(part)
            copy.write(part)
            size += len(part)
    return CrateFile(path, about, size, hasher.hexdigest())


def _write(create: _Create, path: str, content: bytes) -> None:
    with create(path, len(content)) as file:
        file.write(content)


# -- where they go -------------------------------------------------------------------------------------------


def _is_zip(target: Path) -> bool:
    return target.suffix.lower() == _ZIP


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[_Create]:
    def create(inner: str, _size: int) -> IO[bytes]:
        file = path / inner
        file.parent.mkdir(parents=True, exist_ok=True)
        return file.open("xb")

    yield create


@contextlib.contextmanager
def _zip_file(path: Path, when: datetime) -> Iterator[_Create]:
    """Make a zip file of the same bytes on every machine: not compressed, for each version of zlib does it its way."""
    from zipfile import ZipFile, ZipInfo

    moment = when.timetuple()[:6] if when.year in _YEARS_OF_ZIP else (1980, 1, 1, 0, 0, 0)
    with ZipFile(path, "x") as archive:

        def create(inner: str, size: int) -> IO[bytes]:
            entry = ZipInfo(inner, moment)
            entry.create_system = 3  # Unix, wherever this is
            entry.external_attr = 0o100644 << 16
            entry.file_size = size
            return archive.open(entry, "w")

        yield create


@contextlib.contextmanager
def _in_the_place_of(target: Path, *, force: bool) -> Iterator[Path]:
    """Give the block a path for the crate, which then is put at `target`; nothing is left if that goes wrong."""
    _check_place(target, force=force)
    aside = target.parent / f".{target.name[:100]}.{unique_suffix()}.old"
    try:
        with written_beside(target) as beside:
            yield beside
            if is_folder(target):
                _put_aside(target, aside, force=force)
    except BaseException as error:
        if os.path.lexists(aside) and not os.path.lexists(target):
            aside.rename(target)
        if isinstance(error, OSError) and not isinstance(error, CrystallizeError):
            raise StoreError(
                f"the crate {str(target)!r} cannot be written: {error.strerror or error}",
                hint="Look at the folder's rights and the space on its disk",
            ) from error
        raise
    remove_folder(aside)


def _check_place(target: Path, *, force: bool) -> None:
    """Raise InvalidValueError if there is something that a crate must not take the place of."""
    if target == Path.cwd():
        raise InvalidValueError(
            "a crate cannot take the place of the working directory",
            hint="Name a folder in it that is not there yet",
        )
    if not os.path.lexists(target):
        return
    if not _is_zip(target) and is_folder(target) and not any(target.iterdir()):
        return
    if target.is_symlink() or not (_is_zipped_crate if _is_zip(target) else _is_crate)(target):
        raise InvalidValueError(
            f"{str(target)!r} exists already and is no crate, so that it is left as it is",
            hint="Choose another name",
        )
    if not force:
        raise InvalidValueError(
            f"{str(target)!r} exists already",
            hint="Choose another name, or replace it with --force (in Python, force=True)",
        )


def _is_crate(folder: Path) -> bool:
    return is_plain(folder / CRATE)


def _is_zipped_crate(path: Path) -> bool:
    from zipfile import BadZipFile, ZipFile

    if not is_plain(path):
        return False
    try:
        with ZipFile(path) as archive:
            return CRATE in archive.namelist()
    except (BadZipFile, OSError):
        return False


def _put_aside(target: Path, aside: Path, *, force: bool) -> None:
    """Make room where a folder is: one that is empty, or with `force` an older crate."""
    try:
        target.rmdir()
    except OSError:
        if not force:
            raise
        target.rename(aside)
