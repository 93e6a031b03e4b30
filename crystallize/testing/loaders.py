"""What every loader owes, as tests."""

from __future__ import annotations

import gzip
import io
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import pytest

from crystallize.datasources.artifact import Artifact
from crystallize.errors import ArtifactError, ArtifactNotFoundError
from crystallize.experiments.experiment import Experiment
from crystallize.loaders.base import dump_value, load_file
from crystallize.plugins.artifact import ArtifactPlugin
from crystallize.testing.leftovers import open_files

_LATER = 1e9
"""Some moment: what a clock says that a loader should not look at."""


class LoaderContract:
    """Tests of a loader: subclass it and give it the fixture ``loader`` and the attribute `values`.

    Give the subclass a name that pytest collects.

    Attributes
    ----------
    values : sequence, or method that returns one
        Objects that are the same after they were written and read; containers rather than single numbers, for
        half of a file must not look like the whole.
    bad_bytes : sequence of bytes
        What a file may contain that it has to refuse; none if every content is a good one.
    bad_values : sequence
        Objects that it has to refuse to write.
    runs_what_it_reads : bool
        Whether reading a file runs code that is in it, as pickle does. Such a loader is chosen by its name only:
        it has no suffixes.

    Examples
    --------
    >>> class TestJson(LoaderContract):
    ...     values = [{"a": 1}, {"b": {"c": [1, 2]}}]
    ...     bad_bytes = [b"{"]
    ...     bad_values = [object()]
    ...
    ...     @pytest.fixture
    ...     def loader(self):
    ...         return MyJsonLoader()
    """

    values: ClassVar[Sequence[Any] | Callable[..., Sequence[Any]]] = ()
    bad_bytes: ClassVar[Sequence[bytes]] = ()
    bad_values: ClassVar[Sequence[Any]] = ()
    runs_what_it_reads: ClassVar[bool] = False

    def same(self, first: Any, second: Any) -> bool:
        """Tell whether two objects are the same; override it for types that compare in their own way.

        Arrays are the same if shape, type and content are; NaN is the same as NaN; data frames have ``equals``.
        """
        return same(first, second)

    @pytest.fixture(autouse=True)
    def _nothing_else_takes_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.delenv("CRYSTALLIZE_DISABLE_PLUGINS", raising=False)

    # -- round trip ----------------------------------------------------------------------------------------

    def test_what_is_dumped_is_loaded(self, loader: Any, tmp_path: Path) -> None:
        """``load`` gives what ``dump`` was given."""
        for value in self._all_values():
            path = self._file(loader, tmp_path)
            path.write_bytes(loader.dump(value))
            found = loader.load(path)
            assert self.same(found, value), f"{value!r} has become {found!r}"

    def test_what_a_step_writes_another_experiment_reads(self, loader: Any, tmp_path: Path) -> None:
        """The same by way of an Artifact, whose files are hashed, moved and read by another experiment."""
        values = self._all_values()
        output = Artifact(self._name(loader), loader=loader, alias="output")
        found = []

        def write(data: int, output: Artifact) -> None:
            output.write(values[data])

        def read(data: Any) -> None:
            found.append(data)

        self._experiment(tmp_path, [write], len(values), output).run().raise_for_errors()
        consumer = Experiment(output, [read], disable_plugins=["artifact"], replicates=len(values))
        consumer.run().raise_for_errors()
        for value, read_back in zip(values, found, strict=True):
            assert self.same(read_back, value), f"{value!r} has become {read_back!r}"

    def test_dump_gives_bytes(self, loader: Any) -> None:
        """Text has an encoding, which the loader has to choose."""
        for value in self._all_values():
            assert isinstance(loader.dump(value), bytes | bytearray | memoryview)

    def test_the_same_value_gives_the_same_bytes(self, loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Artifacts are the same bits whenever they are written: no time, no count of calls gets into them."""
        for value in self._all_values():
            first = bytes(loader.dump(value))
            with monkeypatch.context() as later:
                later.setattr(time, "time", lambda: _LATER)
                assert bytes(loader.dump(value)) == first, f"{value!r} gives other bytes at another time"

    def test_dump_leaves_its_argument_as_it_is(self, loader: Any) -> None:
        """The step goes on with it."""
        for value in self._all_values():
            before = deepcopy(value)
            loader.dump(value)
            assert self.same(value, before), f"{before!r} was changed into {value!r}"

    def test_load_leaves_the_file_as_it_is(self, loader: Any, tmp_path: Path) -> None:
        """Its content is recorded with a hash; and nothing is written beside it."""
        for value in self._all_values():
            path = self._file(loader, tmp_path)
            path.write_bytes(loader.dump(value))
            before = path.read_bytes()
            loader.load(path)
            assert path.read_bytes() == before, "load has changed the file"
            assert list(path.parent.iterdir()) == [path], "load has written another file"

    def test_load_closes_the_file(self, loader: Any, tmp_path: Path) -> None:
        """An experiment reads thousands of them, and a system may refuse to remove one that is open."""
        paths = []
        for value in self._all_values():
            paths.append(self._file(loader, tmp_path))
            paths[-1].write_bytes(loader.dump(value))
        loader.load(paths[0])  # what is imported may open what it keeps open
        before = open_files()
        found = [loader.load(path) for path in paths]
        assert open_files() <= before, f"load keeps the file open: {len(found)} were read"

    def test_what_was_loaded_outlives_its_file(self, loader: Any, tmp_path: Path) -> None:
        """Old artifacts are removed; what was read before has to be whole."""
        for value in self._all_values():
            path = self._file(loader, tmp_path)
            path.write_bytes(loader.dump(value))
            found = loader.load(path)
            path.unlink()
            assert self.same(found, value), f"{value!r} has become {found!r}"

    def test_a_copy_in_a_worker_does_the_same(self, loader: Any, tmp_path: Path) -> None:
        """A loader travels with its experiment: it can be pickled, in the way that steps are."""
        copy = pickle.loads(cloudpickle.dumps(loader))
        for value in self._all_values():
            path = self._file(loader, tmp_path)
            path.write_bytes(copy.dump(value))
            assert self.same(loader.load(path), value)
            assert tuple(copy.suffixes) == tuple(loader.suffixes)

    def test_threads_share_it(self, loader: Any, tmp_path: Path) -> None:
        """It keeps no state between calls."""
        values = [(number, value) for number, value in enumerate(self._all_values())] * 8

        def there_and_back(numbered: tuple[int, Any]) -> bool:
            path = self._file(loader, tmp_path)
            path.write_bytes(loader.dump(numbered[1]))
            return self.same(loader.load(path), numbered[1])

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(there_and_back, values))

    def test_suffixes_are_lower_case_with_a_dot(self, loader: Any) -> None:
        """By them a loader is chosen, whatever the case of the file's name."""
        assert not isinstance(loader.suffixes, str), "suffixes is a tuple of str, not a str"
        for suffix in loader.suffixes:
            assert suffix.startswith("."), suffix
            assert len(suffix) > 1
            assert suffix == suffix.lower()

    # -- bad input -----------------------------------------------------------------------------------------

    def test_bad_bytes_are_an_error_that_names_the_file(self, loader: Any, tmp_path: Path) -> None:
        """What the loader raises becomes an ArtifactError; nothing is made up."""
        for content in self.bad_bytes:
            path = self._file(loader, tmp_path)
            path.write_bytes(content)
            with pytest.raises(ArtifactError) as caught:
                pytest.fail(f"{content!r} was read as {load_file(loader.load, path)!r}")
            assert str(path) in str(caught.value)

    def test_part_of_a_file_is_never_taken_for_the_whole(self, loader: Any, tmp_path: Path) -> None:
        """A file that was cut off, or is empty, is an error, or at least not the same object."""
        for value in self._all_values():
            whole = bytes(loader.dump(value))
            for part in (b"", whole[: len(whole) // 2]):
                path = self._file(loader, tmp_path)
                path.write_bytes(part)
                with suppress(ArtifactError):
                    found = load_file(loader.load, path)
                    assert part == whole or not self.same(found, value), f"{part!r} was read as {found!r}"

    def test_a_file_that_is_not_there_is_an_error(self, loader: Any, tmp_path: Path) -> None:
        """There is no value that stands for a missing file."""
        path = self._file(loader, tmp_path)
        with pytest.raises(ArtifactNotFoundError) as caught:
            load_file(loader.load, path)
        assert str(path) in str(caught.value)

    def test_bad_values_are_an_error_that_names_the_artifact(self, loader: Any) -> None:
        """A value that it cannot write is refused, not written as something else."""
        for value in self.bad_values:
            with pytest.raises(ArtifactError, match=r"out\.put"):
                pytest.fail(f"{value!r} was written as {dump_value(loader.dump, value, 'out.put')!r}")

    def test_a_pickle_in_the_file_is_not_run(self, loader: Any, tmp_path: Path) -> None:
        """Files may come from others; a loader that runs what it reads is chosen by name only."""
        if self.runs_what_it_reads:
            assert not loader.suffixes, "it runs what it reads, and would be chosen by a file's suffix"
            return
        trap = tmp_path / "sprung"
        for content in _traps(trap):
            path = self._file(loader, tmp_path)
            path.write_bytes(content)
            with suppress(Exception):
                loader.load(path)
            assert not trap.exists(), f"reading {content[:40]!r}... has run what is in it"

    # -- atomicity -----------------------------------------------------------------------------------------

    def test_a_dump_that_fails_leaves_what_was_there(self, loader: Any, tmp_path: Path) -> None:
        """The artifact that was written before under the same name stays whole, and no other file is left."""
        value = self._all_values()[0]
        bad_values = self.bad_values

        class BreakingOff:
            suffixes = loader.suffixes

            def load(self, path: Path) -> Any:
                return loader.load(path)

            def dump(self, value: Any) -> bytes:
                content: bytes = loader.dump(value)
                if written:
                    raise OSError("broken off")
                return content

        written: list[Path] = []

        def write(data: int, output: Artifact) -> None:
            path = output.write(value)
            assert path is not None
            written.append(path)
            before = path.read_bytes()
            for each in (value, *bad_values):
                with pytest.raises(ArtifactError):
                    output.write(each)
            assert path.read_bytes() == before
            assert [each.name for each in path.parent.iterdir()] == [path.name]

        output = Artifact(self._name(loader), loader=BreakingOff(), alias="output")
        result = self._experiment(tmp_path, [write], 1, output).run()
        result.raise_for_errors()
        (entry,) = result.artifacts
        assert result.path is not None
        assert self.same(loader.load(result.path / entry.path), value)

    def test_dump_writes_no_file(self, loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It returns bytes; where they go, and that they go there as a whole, is not its business."""
        value = self._all_values()[0]
        path = self._file(loader, tmp_path)
        path.write_bytes(loader.dump(value))
        before = path.read_bytes()
        loader.load(path)
        monkeypatch.chdir(path.parent)
        for each in self._all_values():
            loader.dump(each)
        assert path.read_bytes() == before, "dump has written into a file that was read before"
        assert list(path.parent.iterdir()) == [path], "dump has written a file"

    # -- the means -----------------------------------------------------------------------------------------

    def _all_values(self) -> list[Any]:
        values = list(self.values() if callable(self.values) else self.values)
        assert values, f"{type(self).__name__}.values is empty: there is nothing to check"
        return values

    @staticmethod
    def _name(loader: Any) -> str:
        return f"value{next(iter(loader.suffixes), '')}"

    def _file(self, loader: Any, folder: Path) -> Path:
        """Return the path of a new file in a folder of its own, with the suffix that the loader expects."""
        return Path(mkdtemp(dir=folder)) / self._name(loader)

    @staticmethod
    def _experiment(root: Path, steps: list[Any], replicates: int, output: Artifact) -> Experiment:
        return Experiment(
            lambda ctx: ctx["replicate"],
            steps,
            name="producer",
            outputs={"output": output},
            plugins=[ArtifactPlugin(root_dir=root / "data")],
            replicates=replicates,
        )


def same(first: Any, second: Any) -> bool:
    """Tell whether two objects are of the same type and content, down to the last bit of an array."""
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray | np.generic):
        return (
            first.dtype == second.dtype
            and first.shape == second.shape
            and (first.tobytes() == second.tobytes() or np.array_equal(first, second))
        )
    if isinstance(first, Mapping):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if callable(getattr(first, "equals", None)):  # data frames, whose == is a frame
        return bool(first.equals(second))
    return bool(first == second) or (first != first and second != second)  # noqa: PLR0124 - NaN


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        from os import mkdir

        return mkdir, (self.path,)


def _traps(path: Path) -> list[bytes]:
    """Return contents of files that make the folder `path` if they are run when they are read."""
    trap = _Trap(path)
    array = np.array([trap, None], dtype=object)
    one, many = io.BytesIO(), io.BytesIO()
    np.save(one, array, allow_pickle=True)
    np.savez(many, array=array)
    pickled = [pickle.dumps(trap, protocol) for protocol in (0, pickle.HIGHEST_PROTOCOL)]
    return [
        *pickled,
        gzip.compress(pickled[-1]),
        one.getvalue(),
        many.getvalue(),
        f"!!python/object/apply:os.mkdir [{str(path)!r}]".encode(),
    ]
