"""The loaders that come with Crystallize."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from crystallize.loaders.base import from_bytes, to_bytes
from crystallize.utils.arrays import to_plain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class BytesLoader:
    """The bytes themselves; text is written as UTF-8."""

    suffixes: ClassVar[tuple[str, ...]] = (".bin",)

    def load(self, path: Path) -> bytes:
        """Return the file's content."""
        return from_bytes(path)

    def dump(self, value: Any) -> bytes:
        """Return bytes as they are."""
        return to_bytes(value)


class TextLoader:
    """Text in UTF-8, with the line ends that were written."""

    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".md")

    def load(self, path: Path) -> str:
        """Return the file's text."""
        return path.read_bytes().decode()

    def dump(self, value: Any) -> bytes:
        """Return a str as UTF-8."""
        if not isinstance(value, str):
            raise TypeError(f"text is a str, got {type(value).__name__}")
        return value.encode()


class JsonLoader:
    """JSON; NumPy's numbers and arrays are written as numbers and lists."""

    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    def load(self, path: Path) -> Any:
        """Return the object in the file."""
        return json.loads(path.read_bytes())

    def dump(self, value: Any) -> bytes:
        """Return `value` as JSON; raise TypeError for what JSON lacks."""
        return json.dumps(value, default=_numbers).encode()


class YamlLoader:
    """YAML 1.2, as in config.yaml, without tags of Python; NumPy's numbers and arrays become numbers and lists."""

    suffixes: ClassVar[tuple[str, ...]] = (".yaml", ".yml")

    def load(self, path: Path) -> Any:
        """Return the object in the file."""
        from crystallize.utils.yaml12 import load_yaml

        return load_yaml(path.read_bytes())

    def dump(self, value: Any) -> bytes:
        """Return `value` as YAML, mappings in their own order."""
        from crystallize.utils.yaml12 import dump_yaml

        return dump_yaml(value)


class CsvLoader:
    """A list of dictionaries, one for each row, as CSV in UTF-8 with a header.

    What is read are texts: CSV knows no numbers.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    def load(self, path: Path) -> list[dict[str, str]]:
        """Return the rows; raise ValueError for one that does not fit the header, or if that names a column twice."""
        import csv

        text = path.read_bytes().decode("utf-8-sig")
        csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # what could be written can be read
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = reader.fieldnames or ()
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the header names the column {twice!r} twice")
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"the row that ends in line {reader.line_num} does not fit the header")
            rows.append(row)
        return rows

    def dump(self, value: Any) -> bytes:
        """Return the rows as CSV; a key that a row lacks is an empty cell."""
        import csv

        rows = list(value)
        if not all(isinstance(row, Mapping) for row in rows):
            raise TypeError("CSV is written from a list of dictionaries, one for each row")
        text = _csv_of(rows, csv.QUOTE_MINIMAL)
        # The writer leaves a carriage return without quotes, and the reader takes it for the end of a row.
        return (_csv_of(rows, csv.QUOTE_ALL) if "\r" in text else text).encode()


def _csv_of(rows: Sequence[Mapping[str, Any]], quoting: int) -> str:
    import csv

    text = io.StringIO(newline="")
    if rows:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n", quoting=quoting)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


class NpyLoader:
    """One NumPy array; never pickled objects."""

    suffixes: ClassVar[tuple[str, ...]] = (".npy",)

    def load(self, path: Path) -> NDArray[Any]:
        """Return the array, with the shape and type that it was written with."""
        import numpy as np

        array: NDArray[Any] = np.load(path, allow_pickle=False)
        return array

    def dump(self, value: Any) -> bytes:
        """Return the array, or what NumPy makes an array of, in NumPy's format; raise TypeError for a mask."""
        import numpy as np

        file = io.BytesIO()
        np.save(file, _unmasked(value), allow_pickle=False)
        return file.getvalue()


class NpzLoader:
    """Several NumPy arrays by name; never pickled objects."""

    suffixes: ClassVar[tuple[str, ...]] = (".npz",)

    def load(self, path: Path) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        import numpy as np

        # NumPy leaves a file that it opened itself open if it is no whole zip file.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)

    def dump(self, value: Any) -> bytes:
        """Return a mapping of arrays in NumPy's zipped format, uncompressed; raise TypeError for a mask."""
        import zipfile

        import numpy as np

        file = io.BytesIO()
        # As numpy.savez, which takes names as keywords and so refuses an array called "file".
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in value.items():
                if not isinstance(name, str):
                    raise TypeError(f"the names of arrays are texts, got {name!r}")
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, _unmasked(array), allow_pickle=False)
        return file.getvalue()


class PickleLoader:
    """Any Python object, by pickle. Chosen by name only: reading a pickle runs what is in it."""

    suffixes: ClassVar[tuple[str, ...]] = ()

    def load(self, path: Path) -> Any:
        """Return the object in the file."""
        import pickle

        with path.open("rb") as file:
            return pickle.load(file)

    def dump(self, value: Any) -> bytes:
        """Return the pickled object; functions of scripts and lambdas too."""
        import cloudpickle

        content: bytes = cloudpickle.dumps(value)
        return content


def _unmasked(value: Any) -> NDArray[Any]:
    """Return `value` as an array; what stands below a mask must not come back as a number."""
    import numpy as np

    parts = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise TypeError(
            "NumPy's files have no masks: write array.filled(...), or array.data and array.mask as two arrays of an npz"
        )
    return np.asanyarray(value)


def _numbers(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return to_plain(value)
    raise TypeError(f"JSON has no form for a {type(value).__name__}")
