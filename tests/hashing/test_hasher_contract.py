"""Our hashers keep the contract that we ask of everybody's."""

from __future__ import annotations

import datetime as dt
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from crystallize.discovery import HASHERS, lookup
from crystallize.hashing.lookup import load_installed
from crystallize.testing import HasherContract


def installed(name: str) -> Any:
    return load_installed(lookup(HASHERS, name, "hasher"))


TABLE = np.arange(6.0).reshape(3, 2)
RECORDS = np.array([(1, 2.5), (2, 3.5)], dtype=[("count", "i4"), ("mean", "f8")])


def in_memory_map(array: np.ndarray) -> np.memmap:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        array.tofile(file)
        file.flush()
        return np.memmap(file.name, array.dtype, "r", shape=array.shape)


def with_other_padding(array: np.ndarray) -> np.ndarray:
    """Return an equal array of long doubles, with other bytes in what their 80 bits leave free."""
    copy = array.copy()
    copy.view(np.uint8).reshape(-1, 16)[:, 10:] = 0xAB
    return copy


class TestNumpy(HasherContract):
    values = [
        *(np.float64(1), np.float32(1), np.int64(1), np.bool_(True), np.str_("1"), np.bytes_(b"1")),
        *(
            np.datetime64("2020-01-01"),
            np.datetime64("2020-01-01", "ns"),
            np.datetime64("NaT", "s"),
            np.timedelta64(1, "s"),
        ),
        *(np.array(1.0), np.array([1.0]), np.array([[1.0]]), np.zeros((0, 3)), np.zeros((3, 0))),
        *(
            np.array([1, 2]),
            np.array([2, 1]),
            np.array([1, 2], "i4"),
            np.array([1, 2], "u4"),
            np.array([1, 2], "f4"),
        ),
        *(np.array([0.0]), np.array([-0.0]), np.array([np.nan]), -np.array([np.nan]), np.array([1j])),
        *(
            np.array(["a", "b"]),
            np.array(["a", "b"], "U2"),
            np.array([b"a", b"b"]),
            np.array(["a", "b"], object),
        ),
        *(
            np.array([1, "a"], object),
            np.array(["a", "b"], np.dtypes.StringDType()),
            np.array([1], np.longdouble),
        ),
        *(RECORDS, RECORDS[["count"]], RECORDS.view(np.recarray), np.matrix([[1.0]])),
        np.array([(1, 2.5), (2, 3.5)], dtype=[("count", "i4"), ("average", "f8")]),
        *(np.ma.array([1, 2]), np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0])),
        *(np.ma.array([1, 2], fill_value=7), np.dtype("f8"), np.dtype("f4"), np.add),
        *(np.random.default_rng(1), np.random.default_rng(2), np.random.RandomState(1), np.random.PCG64(1)),
        np.random.SeedSequence(1),
    ]
    equal = [
        (TABLE, np.asfortranarray(TABLE)),
        (TABLE[::2], TABLE[::2].copy()),
        (TABLE[::-1, ::-1], TABLE[::-1, ::-1].copy()),
        (TABLE, TABLE.astype(">f8")),
        (TABLE, in_memory_map(TABLE)),
        (np.broadcast_to(np.array(1.0), (4, 500)), np.ones((4, 500))),
        (np.ones((1000, 300)).T, np.ones((300, 1000))),
        (np.ones((3, 200_000), order="F"), np.ones((3, 200_000))),
        (RECORDS, RECORDS.astype(np.dtype([("count", "i4"), ("mean", "f8")], align=True))),
        (np.ma.array([1, 2]), np.ma.array([1, 2], mask=[0, 0])),
        (np.array([1, "a"], object), np.array([[1, "a"]], object)[0]),
        (np.ones(3, np.longdouble), with_other_padding(np.ones(3, np.longdouble))),
        (np.float64(1), np.array([1.0])[0]),
    ]
    bad_values = staticmethod(lambda: [np.array([threading.Lock()], object)])

    @pytest.fixture
    def hasher(self) -> Any:
        return installed("numpy")


def frame(**options: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2], "b": [1.0, np.nan]}, **options)


def with_attributes(table: pd.DataFrame, **attributes: Any) -> pd.DataFrame:
    table.attrs.update(attributes)
    return table


DAYS = pd.date_range("2020-01-01", periods=2)
TEXTS = ["a", "b", None]


class TestPandas(HasherContract):
    values = [
        *(frame(), frame()[["b", "a"]], frame(index=[1, 2]), frame(index=["x", "y"]), frame().astype("f8")),
        *(
            pd.DataFrame(),
            pd.DataFrame(index=[1]),
            pd.DataFrame(columns=["a"]),
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
        ),
        *(
            frame().rename_axis("row"),
            frame().rename_axis(columns="column"),
            with_attributes(frame(), unit="m"),
        ),
        frame().set_flags(allows_duplicate_labels=False),
        *(pd.Series([1, 2]), pd.Series([1, 2], name="a"), pd.Series([1, 2], dtype="i4"), pd.Series([1, "a"])),
        *(
            pd.Series([1, 2], dtype="Int64"),
            pd.Series([1, None], dtype="Int64"),
            pd.Series([1, 0], dtype="Int64"),
        ),
        *(pd.Series([1, None], dtype="Float64"), pd.Series([True, None], dtype="boolean")),
        *(pd.Series(TEXTS, dtype=object), pd.Series(TEXTS, dtype=pd.StringDtype("python"))),
        *(pd.Series(TEXTS, dtype=pd.StringDtype("pyarrow")), pd.Series([1, 2], dtype="int64[pyarrow]")),
        *(pd.Series(["a", "b"], dtype="category"), pd.Series(pd.Categorical(["a", "b"], ["b", "a"]))),
        *(
            pd.Series(pd.Categorical(["a", "b"], ordered=True)),
            pd.Series(pd.Categorical(["a", "b"], ["a", "b", "c"])),
        ),
        *(pd.Series(DAYS), pd.Series(DAYS.tz_localize("UTC")), pd.Series(DAYS.tz_localize("Europe/Berlin"))),
        *(pd.Series(DAYS.as_unit("s")), pd.Series(pd.to_timedelta([1, 2])), pd.Series(DAYS.to_period("D"))),
        *(pd.Series(pd.interval_range(0, 2)), pd.Series(pd.interval_range(0, 2, closed="left"))),
        *(
            pd.Series(pd.arrays.SparseArray([0, 0, 1])),
            pd.Series(pd.arrays.SparseArray([0, 0, 1], kind="block")),
        ),
        *(pd.Index([1, 2]), pd.Index([1, 2], name="a"), pd.RangeIndex(1, 3), pd.CategoricalIndex(["a", "b"])),
        *(
            DAYS,
            pd.DatetimeIndex(list(DAYS)),
            DAYS.to_period("D"),
            pd.to_timedelta([1, 2]),
            pd.interval_range(0, 2),
        ),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["x", "y"]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "c")]),
        *(
            pd.Timestamp("2020"),
            pd.Timestamp("2020", tz="UTC"),
            pd.Timedelta(1),
            pd.Period("2020"),
            pd.Interval(1, 2),
        ),
        *(
            pd.NaT,
            pd.NA,
            pd.CategoricalDtype(["a"]),
            pd.CategoricalDtype(["b"]),
            pd.offsets.Day(1),
            pd.offsets.Day(2),
        ),
    ]
    equal = [
        (
            pd.DataFrame(TABLE, columns=["a", "b"]),
            pd.DataFrame({"a": TABLE[:, 0].copy(), "b": TABLE[:, 1].copy()}),
        ),
        (pd.DataFrame(np.asfortranarray(TABLE)), pd.DataFrame(TABLE)),
        (frame(), pd.concat([frame()[["a"]], frame()[["b"]]], axis=1)),
        (pd.array([1, 3], "Int64") + pd.array([1, None], "Int64"), pd.array([2, None], "Int64")),
        (pd.array(TEXTS, pd.StringDtype("python"))[1:], pd.array(TEXTS[1:], pd.StringDtype("python"))),
        (pd.array(TEXTS, pd.StringDtype("pyarrow"))[1:], pd.array(TEXTS[1:], pd.StringDtype("pyarrow"))),
    ]
    bad_values = staticmethod(lambda: [pd.Series([threading.Lock()]), pd.DataFrame({"a": [iter([])]})])

    @pytest.fixture
    def hasher(self) -> Any:
        return installed("pandas")


CATEGORIES = pa.array(["a", "b", "a"]).dictionary_encode()
NESTED = pa.array([[1], [2, 3], None, []])


class TestArrow(HasherContract):
    values = [
        *(
            pa.table({"a": [1, 2]}),
            pa.table({"b": [1, 2]}),
            pa.table({"a": [1, 2]}).replace_schema_metadata({"k": "v"}),
        ),
        *(
            pa.record_batch({"a": [1, 2]}),
            pa.array([1, 2]),
            pa.array([1, 2], pa.int32()),
            pa.array([1, None]),
        ),
        *(
            pa.array([1, 0]),
            pa.array([1.0, 2.0]),
            pa.array([True, False]),
            pa.array([True, None]),
            pa.nulls(2),
        ),
        *(
            pa.array(["a", "b"]),
            pa.array(["ab", ""]),
            pa.array(["ab", None]),
            pa.array(["a", "b"], pa.large_string()),
        ),
        *(
            pa.array(["a", "b"], pa.string_view()),
            pa.array([b"a", b"b"]),
            pa.array([b"a", b"b"], pa.binary(1)),
        ),
        *(
            CATEGORIES,
            CATEGORIES.slice(1),
            NESTED,
            pa.array([[1, 2], [3], None, []]),
            pa.array([[1], [2, 3], [], None]),
        ),
        *(
            pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
            pa.array([{"a": 1}]),
            pa.array([{"a": 1}, None]),
        ),
        *(pa.array([{"a": 1}, {"a": None}]), pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))),
        *(
            pa.array([dt.datetime(2020, 1, 1)]),
            pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("us", "UTC")),
        ),
        *(
            pa.array([Decimal("1.0")]),
            pa.array([dt.date(2020, 1, 1)]),
            pa.array([1], pa.float16()),
            pa.array([], pa.int8()),
        ),
        *(pa.chunked_array([[1, 2]]), pa.chunked_array([], pa.struct({"a": pa.int8()}))),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16], pa.binary(16))),
        *(
            pa.scalar(1),
            pa.scalar(2),
            pa.scalar("a"),
            pa.int64(),
            pa.field("a", pa.int64()),
            pa.schema({"a": pa.int64()}),
        ),
    ]
    equal = [
        (pa.chunked_array([[1], [2, None]]), pa.chunked_array([[1, 2], [None]])),
        (pa.chunked_array([["a"], ["b", None]]), pa.chunked_array([["a", "b"], [None]])),
        (pa.chunked_array([[True], [False, None]]), pa.chunked_array([[True, False, None]])),
        (pa.chunked_array([NESTED.slice(0, 1), NESTED.slice(1)]), pa.chunked_array([NESTED])),
        (
            pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()]),
            pa.chunked_array([pa.array(["a", "b"]).dictionary_encode()]),
        ),
        (pa.array([1, 2, None]).slice(1), pa.array([2, None])),
        (pa.array(["a", "b", None]).slice(1), pa.array(["b", None])),
        (pa.array([{"a": 1}, {"a": 2}]).slice(1), pa.array([{"a": 2}])),
        (
            pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, 9]))]),
            pa.array([1, None]),
        ),
    ]

    @pytest.fixture
    def hasher(self) -> Any:
        return installed("pyarrow")


PARTS = [
    pl.DataFrame({"a": [1, None], "s": ["x", None], "l": [[1], None]}),
    pl.DataFrame({"a": [3], "s": ["y"], "l": [[2]]}),
]


class TestPolars(HasherContract):
    values = [
        *(pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"b": [1, 2]}), pl.DataFrame()),
        *(pl.Series([1, 2]), pl.Series("x", [1, 2]), pl.Series([1, 2], dtype=pl.Int32), pl.Series([1, None])),
        *(
            pl.Series([1, 0]),
            pl.Series([1.0]),
            pl.Series([True, False]),
            pl.Series([True, None]),
            pl.Series([None, None]),
        ),
        *(pl.Series(["a", "b"]), pl.Series(["ab", ""]), pl.Series(["ab", None]), pl.Series([b"a"])),
        *(pl.Series(["a", "b"], dtype=pl.Categorical), pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"]))),
        *(
            pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
            pl.Series([[1], [2, 3]]),
            pl.Series([[1, 2], [3]]),
        ),
        *(
            pl.Series([[1], []]),
            pl.Series([[1], None]),
            pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
        ),
        *(pl.Series([{"a": 1}]), pl.Series([{"a": 1}, None]), pl.Series([{"a": 1}, {"a": None}])),
        *(
            pl.Series([dt.datetime(2020, 1, 1)]),
            pl.Series([dt.date(2020, 1, 1)]),
            pl.Series([dt.timedelta(1)]),
        ),
        pl.Series([dt.datetime(2020, 1, 1)]).dt.replace_time_zone("UTC"),
        *(pl.Series([dt.time(1)]), pl.Series([Decimal("1.0")]), pl.Series([1], dtype=pl.Int128)),
        *(
            pl.Int64,
            pl.Datetime("us"),
            pl.Datetime("ns"),
            pl.col("a"),
            pl.col("b"),
            pl.DataFrame({"a": [1]}).lazy(),
        ),
    ]
    equal = [
        (pl.concat(PARTS, rechunk=False), pl.concat(PARTS, rechunk=True)),
        (pl.Series(["x", "a"]).cast(pl.Categorical)[1:], pl.Series(["a"]).cast(pl.Categorical)),
    ]

    @pytest.fixture
    def hasher(self) -> Any:
        return installed("polars")


DENSE = np.array([[0, 1.0], [2, 0]])
FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")


def with_known_order() -> Any:
    matrix = sparse.csr_array(DENSE)
    assert matrix.has_sorted_indices  # which it remembers
    return matrix


class TestSparse(HasherContract):
    values = [
        *(getattr(sparse, f"{form}_{kind}")(DENSE) for form in FORMATS for kind in ("array", "matrix")),
        *(sparse.csr_array(DENSE.T), sparse.csr_array(DENSE, dtype="f4"), sparse.csr_array((3, 4))),
    ]
    equal = [(sparse.csr_array(DENSE), with_known_order())]

    @pytest.fixture
    def hasher(self) -> Any:
        return installed("scipy.sparse")
