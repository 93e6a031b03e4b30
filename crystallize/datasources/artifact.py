"""Artifacts: files that the steps of one experiment write and other experiments read."""

from __future__ import annotations

import keyword
import re
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, TextIO, TypeVar, overload

from crystallize.datasources.datasource import DataSource
from crystallize.datasources.stored_path import StoredPath
from crystallize.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    InvalidNameError,
    InvalidTypeError,
    PluginLoadError,
    StoreError,
    UnknownNameError,
)
from crystallize.loaders import get_loader, get_writer, loader_for
from crystallize.loaders.base import dump_value, from_bytes, load_file, to_bytes
from crystallize.store.extent import Extent
from crystallize.store.layout import BASELINE, RunLocation, path_in, replicate_folder, replicate_number
from crystallize.store.manifest import check_unchanged
from crystallize.store.metadata import read_metadata
from crystallize.store.reader import RunReader, replicates_of
from crystallize.utils.context import current_context
from crystallize.utils.files import is_plain
from crystallize.utils.names import check_name
from crystallize.utils.wording import name_hint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from crystallize.loaders import Loader
    from crystallize.store.layout import ArtifactEntry
    from crystallize.utils.artifact_log import ArtifactLog
    from crystallize.utils.context import FrozenContext
    from crystallize.utils.pickling import Packed

T = TypeVar("T")


class _ReadsStoredRuns(DataSource):
    """A data source that reads one stored run of another experiment, its producer."""

    name: str
    _reader: RunReader | None

    def inputs(self) -> list[dict[str, Any]]:
        """Return which run of the producer is read."""
        return [] if self._reader is None else [self._reader.describe(self.name)]

    def producers(self) -> list[RunLocation]:
        """Return where the producer stores its runs."""
        return [] if self._reader is None else [self._reader.location]

    def shared_producers(self) -> dict[str, int]:
        """Return the experiments whose artifacts the producer's replicates share."""
        return dict(self._metadata().get("shared_inputs") or {})

    def stopped_producers(self) -> list[str]:
        """Return the producer, if a stopping rule has ended its run, or one that this reads."""
        metadata = self._metadata()
        is_stopped = metadata.get("stopping") or metadata.get("stopped_inputs")
        return [each.experiment for each in self.producers()] if is_stopped else []

    def _metadata(self) -> Mapping[str, Any]:
        return {} if self._reader is None else self._reader.metadata() or {}

    def consumed(self, replicate: int, condition: str) -> tuple[str, ...]:
        """Return the digest of the file that is read for an outcome; an empty one if there is none."""
        with suppress(StoreError):  # the run is gone, as the outcome that reads it will say
            _, stored = self._stored(replicate, condition)
            return ("" if stored is None else stored.digest,)
        return ("",)

    def check_inputs(self, replicate: int, condition: str) -> None:
        """Raise if the file that is read for an outcome is not what the producer wrote."""
        folder, stored = self._stored(replicate, condition)
        if folder is not None and stored is not None:
            check_unchanged(Path(path_in(folder, *stored.path.split("/"))), stored)

    def _stored(self, replicate: int, condition: str) -> tuple[Path | None, ArtifactEntry | None]:
        """Return the run that is read, and what its manifest says of the file that is read for an outcome."""
        reader = self._reader
        folder = None if reader is None else reader.folder()
        if reader is None or folder is None:
            return None, None
        return folder, reader.manifest.find(
            folder, self.name, *self._place(reader, folder, replicate, condition)
        )

    @abstractmethod
    def _place(self, reader: RunReader, folder: Path, replicate: int, condition: str) -> tuple[str, str]:
        """Return the producer's folder of a replicate, and its condition, that an outcome of the consumer reads."""

    def choose_run(self) -> None:
        """Choose the producer's run that the consumer's coming run will read."""
        if self._reader is not None:
            self._reader.choose_run()

    def choose_run_again(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        """Choose the producer's run that an earlier run of the consumer read, or the newest if that one is gone."""
        if self._reader is not None:
            producer = self._reader.location.experiment
            read = (
                each
                for each in inputs
                if (each.get("experiment"), each.get("artifact")) == (producer, self.name)
            )
            self._reader.choose_run(next(read, None))

    def release_run(self) -> None:
        """Let the producer's run go; from now on it may be removed."""
        if self._reader is not None:
            self._reader.release_run()


class Artifact(_ReadsStoredRuns):
    """A file that a step writes, once for each outcome.

    A step calls :meth:`write`, :meth:`open` or :meth:`path`; as the data source of another experiment, it gives
    what the loader makes of the file.

    Parameters
    ----------
    name : str
        The file's name.
    loader : str, callable or Loader, optional
        How the file becomes an object: the name, or dotted path, of a loader, which also writes; ``"auto"``
        for the one that fits the file's suffix; or a function of the path. By default it is given as bytes.
    writer : str or callable, optional
        How a value becomes bytes (or text): the name of a loader, or a function of the value. By default as
        the loader does it; a loader that is a function, and none, write bytes and str only.
    alias : str, optional
        The name that steps and other experiments know it by. By default the file's name without its suffix,
        or with it where an experiment has two such, with ``_`` for what an identifier cannot have.

    Raises
    ------
    InvalidNameError
        If the file would not stay in its folder, or `alias` is no identifier.
    UnknownNameError
        If no loader has the given name, a dotted path leads nowhere, or no loader fits the suffix.
    """

    def __init__(
        self,
        name: str,
        *,
        loader: str | Callable[[Path], Any] | Loader | None = None,
        writer: str | Callable[[Any], bytes | str] | None = None,
        alias: str | None = None,
    ) -> None:
        self.name = check_name("artifact", name)
        self.alias = _as_identifier(PurePath(name).stem) if alias is None else _check_alias(alias)
        self.full_alias = _as_identifier(name) if alias is None else alias
        self._load, self._dump = _reader_and_writer(self.name, loader, writer)
        self._reader = None

    def __repr__(self) -> str:
        return f"Artifact({self.name!r}, alias={self.alias!r})"

    def __crystallize_fingerprint__(self) -> object:
        return self.name, self._load, self._dump

    # -- writing -------------------------------------------------------------------------------------------

    def write(self, value: Any) -> Path | None:
        """Write `value` for the outcome that is under way.

        Parameters
        ----------
        value : object
            What the writer or loader can turn into bytes; bytes and str without any.

        Returns
        -------
        Path or None
            The file, which stays there until the run ends and is published then; None if the experiment has
            no plugin that stores artifacts, and in a standalone context.

        Raises
        ------
        ArtifactError
            If no step is running, or `value` cannot be turned into bytes.
        StoreError
            If the file cannot be written.
        """
        artifacts = self._artifacts()
        sink = artifacts.sink
        if sink is None:
            return None
        entry = artifacts.write(self.name, dump_value(self._dump, value, self.name))
        path = getattr(entry, "path", None)  # a standalone context's has none
        return None if path is None else StoredPath(getattr(sink, "base", ""), path)

    @overload
    def open(self, mode: Literal["wb"] = "wb") -> AbstractContextManager[BinaryIO]: ...

    @overload
    def open(self, mode: Literal["w"]) -> AbstractContextManager[TextIO]: ...

    def open(self, mode: str = "wb") -> AbstractContextManager[IO[Any]]:
        r"""Open the artifact for writing part by part, for content that need not fit in memory.

        The file is there, with all that was written, once the block has ended; if it ends with an error, nothing
        is stored. Nothing goes through the artifact's writer, and its loader reads the file.

        Parameters
        ----------
        mode : {"wb", "w"}, default "wb"
            Bytes, or text: UTF-8, with line ends as they are written.

        Returns
        -------
        context manager
            Gives a file that can be written and, for bytes, gone back in.

        Raises
        ------
        ArtifactError
            If no step is running, another step has written the artifact, or the block ends after its step.
        InvalidValueError
            If the mode is another one.
        StoreError
            If the file cannot be stored.

        Examples
        --------
        >>> @pipeline_step()
        ... def write_table(rows, *, table: Artifact):
        ...     with table.open("w") as file:
        ...         for row in rows:
        ...             file.write(f"{row}\n")
        ...     return rows
        """
        return self._artifacts().open(self.name, mode)

    def path(self) -> AbstractContextManager[Path]:
        """Give a path to write the artifact to, for what wants a file's name.

        What the file is when the block ends is stored, and nothing if it ends with an error. The path has the
        artifact's name, in an empty folder that is on the store's disk, and is gone after the block.

        Returns
        -------
        context manager
            Gives the path.

        Raises
        ------
        ArtifactError
            If no step is running, another step has written the artifact, the block ends after its step, or what
            was written is not this one file: nothing, a file beside it (some writers add a suffix), or a folder.
        StoreError
            If the file cannot be stored.

        Examples
        --------
        >>> @pipeline_step()
        ... def save(model, *, weights: Artifact):
        ...     with weights.path() as path:
        ...         model.save(path)
        ...     return model
        """
        return self._artifacts().path(self.name)

    def _artifacts(self) -> ArtifactLog:
        ctx = current_context()
        if ctx is None:
            raise ArtifactError(
                f"artifact {self.name!r} was written outside of a run",
                hint="Write it in a step: only there it is known which outcome the file belongs to",
            )
        return ctx.artifacts

    # -- reading -------------------------------------------------------------------------------------------

    def bind(self, producer: RunLocation | None) -> None:
        """Remember where the experiment that writes this artifact stores its runs; None: nowhere."""
        self._reader = None if producer is None else RunReader(producer)

    @property
    def default_replicates(self) -> int | None:
        """As many as the producer's stored run has."""
        return None if self._reader is None else self._reader.replicates

    def fetch(self, ctx: FrozenContext) -> Any:
        """Return what the loader makes of the file of the context's replicate and condition.

        With more replicates than the producer has, they are read again from the first one on. A condition
        that the producer does not have reads its baseline.

        Raises
        ------
        ArtifactError
            If no experiment writes the artifact, or the file is not what was written or cannot be read.
        ArtifactNotFoundError
            If the file is not there.
        """
        if self._reader is None:
            raise ArtifactError(
                f"artifact {self.name!r} has no producer that stores it",
                hint="Pass it in outputs=[...] of an experiment with an ArtifactPlugin",
            )
        return self._reader.read(lambda reader, folder: self._read(reader, folder, ctx))

    def _read(self, reader: RunReader, folder: Path | None, ctx: FrozenContext) -> Any:
        if folder is None or not replicates_of(read_metadata(folder)):
            raise ArtifactNotFoundError(
                f"experiment {reader.location.experiment!r} has no complete run with artifact {self.name!r}",
                str(reader.metadata_path()),
                "Run it first",
            )
        replicate, condition = self._place(
            reader, folder, ctx.peek("replicate") or 0, ctx.peek("condition") or BASELINE
        )
        stored = reader.manifest.find(folder, self.name, replicate, condition)
        if stored is None:
            raise self._unwritten_error(reader, folder, replicate, condition)
        path = Path(path_in(folder, *stored.path.split("/")))
        check_unchanged(path, stored)
        return load_file(self._load, StoredPath.with_digest(path, stored.digest))

    def _place(self, reader: RunReader, folder: Path, replicate: int, condition: str) -> tuple[str, str]:
        metadata = read_metadata(folder)
        count = replicates_of(metadata) or 1
        return replicate_folder(replicate % count), reader.condition(condition, metadata)

    def _unwritten_error(
        self, reader: RunReader, run: Path, replicate: str, condition: str
    ) -> ArtifactNotFoundError:
        """Make the error for an artifact that the run's manifest does not have."""
        names = reader.manifest.names(run)
        if not Extent.of(read_metadata(run) or {}).includes(replicate_number(replicate), condition):
            hint = "The run's stopping rule had dropped that condition. Run it with a rule that drops none"
        elif self.name in names or not names:
            hint = "That outcome failed before the step that writes it, or the step did not call write"
        else:
            hint = name_hint(self.name, "The run's artifacts are", names)
        return ArtifactNotFoundError(
            f"no step wrote artifact {self.name!r} under {condition!r} in {replicate}",
            str(run / replicate / condition),
            hint,
        )

    # -- pickling ------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_load": _pickled(self._load), "_dump": _pickled(self._dump)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._load, self._dump = _unpickled(self._load), _unpickled(self._dump)


class ArtifactSource(_ReadsStoredRuns):
    """The path of another experiment's artifact, for each replicate and condition.

    Parameters
    ----------
    location : RunLocation or None
        Where the producer stores its runs; None if it does not.
    step : str
        The step that wrote the artifact.
    name : str
        The artifact's file name.
    condition : str, optional
        The producer's condition. By default the same as the consumer's, or the baseline where the producer
        has none of that name.
    require_metadata : bool, default False
        Raise at once if no run is stored.
    version : int, optional
        The producer's version to read; the newest complete one, if not given.

    Raises
    ------
    ArtifactNotFoundError
        If `require_metadata` is set and there are none.
    """

    _reader: RunReader

    def __init__(
        self,
        location: RunLocation | None,
        *,
        step: str,
        name: str,
        condition: str | None = None,
        require_metadata: bool = False,
        version: int | None = None,
    ) -> None:
        if location is None:
            raise ArtifactError(
                f"artifact {name!r} cannot be read: its experiment stores nothing",
                hint="Give it an ArtifactPlugin, and do not disable the one that is installed",
            )
        self.step = check_name("step", step)
        self.name = check_name("artifact", name)
        self.only_condition = None if condition is None else check_name("condition", condition)
        self._reader = RunReader(location, version)
        self._given: dict[tuple[str, Any], Path] = {}
        if require_metadata and self._reader.metadata() is None:
            raise ArtifactNotFoundError(
                f"experiment {location.experiment!r} has no metadata of a complete run",
                str(self._reader.metadata_path()),
                "Run it first, with an ArtifactPlugin of the same root_dir",
            )

    def __crystallize_fingerprint__(self) -> object:
        return self._reader.location.experiment, self.step, self.name, self.only_condition

    def __repr__(self) -> str:
        return f"ArtifactSource({self._reader.location.experiment!r}, step={self.step!r}, name={self.name!r})"

    @property
    def replicates(self) -> int | None:
        """The producer's number of replicates, or None as long as no run of it is stored."""
        return self._reader.replicates

    def fetch(self, ctx: FrozenContext) -> Path:
        """Return the path of the file of the context's replicate and condition.

        Raises
        ------
        ArtifactNotFoundError
            If it is not there.
        ArtifactError
            If it is not what was written, or cannot be read.
        """
        return self._reader.read(lambda reader, folder: self._find(reader, folder, ctx))

    def _find(self, reader: RunReader, run: Path | None, ctx: FrozenContext) -> Path:
        folder = run or reader.expected_folder()
        replicate, condition = self._place(
            reader, folder, ctx.peek("replicate") or 0, ctx.peek("condition") or BASELINE
        )
        path = StoredPath(path_in(folder, replicate, condition, self.step, self.name))
        stored = reader.manifest.find(folder, self.name, replicate, condition)
        if stored is not None and stored.step == self.step:
            check_unchanged(path, stored)
            path.digest = stored.digest
        elif not is_plain(path):
            raise self._missing_error(path)
        self._given[replicate, ctx.peek("condition")] = folder
        return path

    def _place(self, reader: RunReader, folder: Path, replicate: int, condition: str) -> tuple[str, str]:
        condition = self.only_condition or reader.condition(condition, read_metadata(folder))
        return replicate_folder(replicate), condition

    def recheck(self, ctx: FrozenContext) -> None:
        """Raise StoreError if another run has taken the place of the one that the path leads to.

        By then nobody knows whether the path was opened before that, or after.
        """
        reader = self._reader
        folder = self._given.pop((replicate_folder(ctx.peek("replicate") or 0), ctx.peek("condition")), None)
        if folder is not None and reader.folder() not in (folder, None):
            raise StoreError(
                f"while this outcome read artifact {self.name!r}, experiment {reader.location.experiment!r} was "
                "run again, and its new run took the place of the one that is read",
                str(folder),
                "Run this again; with versioned=True, the default, no run takes the place of another",
            )

    def _missing_error(self, path: Path) -> ArtifactNotFoundError:
        """Make the error for a file that is not there, with what is likely to help."""
        experiment, condition = self._reader.location.experiment, path.parent.parent.name
        conditions = (self._reader.metadata() or {}).get("conditions")
        if self._reader.folder() is None:
            hint = f"No complete run of experiment {experiment!r} is stored: run it first"
        elif isinstance(conditions, dict) and condition not in conditions:
            hint = name_hint(condition, "The run's conditions are", conditions)
        elif not path.parent.parent.is_dir():
            hint = (
                "That replicate has no artifacts under that condition: its outcome failed, or "
                f"they were removed. Run experiment {experiment!r} again"
            )
        else:
            wanted, folder, kind = (
                (self.name, path.parent, "artifacts of that step")
                if path.parent.is_dir()
                else (self.step, path.parent.parent, "steps that wrote artifacts")
            )
            names = [entry.name for entry in folder.iterdir()]
            hint = name_hint(wanted, f"The {kind} are", names)
        return ArtifactNotFoundError(
            f"step {self.step!r} of experiment {experiment!r} has stored no artifact {self.name!r}",
            str(path),
            hint,
        )


def _pickled(function: Callable[..., Any]) -> Callable[..., Any] | Packed:
    """Return what to pickle for `function`: itself, or its content where it has no name to be imported by."""
    import pickle

    try:
        pickle.dumps(function)
    except Exception:  # pickle raises whatever the parts of a callable object raise
        from crystallize.utils.pickling import pack

        return pack(function)
    return function


def _unpickled(pickled: Callable[..., Any] | Packed) -> Callable[..., Any]:
    if callable(pickled):
        return pickled
    from crystallize.utils.pickling import unpack

    function: Callable[..., Any] = unpack(pickled.body, pickled.buffers)
    return function


def _reader_and_writer(
    name: str, loader: Any, writer: Any
) -> tuple[Callable[[Path], Any], Callable[[Any], Any]]:
    """Return how the artifact is read, and how it is written."""
    load: Callable[[Path], Any] = from_bytes
    dump: Callable[[Any], Any] = to_bytes
    if isinstance(loader, str) or hasattr(loader, "load"):
        found = (
            _find_loader(name, loader_for, name)
            if loader == "auto"
            else _find_loader(name, get_loader, loader)
        )
        load, dump = found.load, found.dump
    elif callable(loader):
        load = loader
    elif loader is not None:
        raise InvalidTypeError(
            f"the loader of artifact {name!r} is the name of one, a Loader or a function, got {loader!r}"
        )
    if isinstance(writer, str):
        dump = _find_loader(name, get_writer, writer)
    elif callable(writer):
        dump = writer
    elif writer is not None:
        raise InvalidTypeError(
            f"the writer of artifact {name!r} is the name of a loader or a function, got {writer!r}"
        )
    return load, dump


def _find_loader(artifact: str, look_up: Callable[[Any], T], what: Any) -> T:
    try:
        return look_up(what)
    except (UnknownNameError, InvalidTypeError, PluginLoadError) as error:
        where = ", ".join(filter(None, [f"artifact {artifact!r}", error.where]))
        raise type(error)(error.what, where, error.hint) from error.__cause__


def _check_alias(alias: object) -> str:
    if not isinstance(alias, str):
        raise InvalidTypeError(f"an artifact's alias is a str, got {alias!r}")
    if not alias.isidentifier() or keyword.iskeyword(alias):
        raise InvalidNameError(
            f"{alias!r} cannot be an artifact's alias", hint="Use a name that a parameter of a step can have"
        )
    return alias


def _as_identifier(name: str) -> str:
    text = re.sub(r"\W", "_", name)
    if not text.isidentifier() or keyword.iskeyword(text):
        text = f"_{text}"
    return text
