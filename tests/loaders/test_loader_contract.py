"""Our loaders keep the contract that we ask of everybody's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from crystallize.loaders import get_loader
from crystallize.testing import LoaderContract

ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.array([1, np.nan, -0.0, np.inf]),
    np.array(["a", "bcd"]),
    np.array(3),
    np.zeros((0, 4), dtype=np.int8),
    np.array([True, False]),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.array([(1, 2.5)], dtype=[("count", "i4"), ("mean", "f8")]),
]


class TestBytes(LoaderContract):
    values = [b"\x00\xff\r\n", b""]
    bad_values = [3, None, ["x"]]

    @pytest.fixture
    def loader(self) -> Any:
        return get_loader("bytes")


class TestText(LoaderContract):
    values = ["line\r\nline\n\u00e9 \ufeff", "", "\x00"]
    bad_bytes = [b"\xff", b"caf\xe9"]
    bad_values = [b"x", 3]

    @pytest.fixture
    def loader(self) -> Any:
        return get_loader("text")


class TestJson(LoaderContract):
    values = [{"a": [1, 2.5, None, "\u00e9"], "b": {}}, [], [float("nan"), float("inf")], 2**70]
    bad_bytes = [b"", b"{", b"\xff", b"[1] 2", b"{'a': 1}"]
    bad_values = [{1, 2}, b"x", object()]

    @pytest.fixture
    def loader(self) -> Any:
        return get_loader("json")


class TestYaml(LoaderContract):
    values = [{"b": [1, 2.5, None, "\u00e9"], "a": {}}, [], ["no", "1", "null", "a: b", "2020-01-01"]]
    bad_bytes = [b"a: [1", b"!!python/object/apply:os.getcwd []", b"a: 1\n- b", b"\xff\xff"]
    bad_values = [object()]

    @pytest.fixture
    def loader(self) -> Any:
        return get_loader("yaml")


class TestCsv(LoaderContract):
    values = [
        [{"a": "1", "b": 'x, "y"\nz'}, {"a": "", "b": "\u00e9"}],
        [{"a": "\r\n", "b": " "}],
        [{"only": ""}, {"only": "x"}],
        [],
    ]
    bad_bytes = [b"a,b\n1\n", b"a,b\n1,2,3\n", b'a\n"x', b"\xff"]
    bad_values = [[1, 2], 3]

    @pytest.fixture
    def loader(self) -> Any:
        return get_loader("csv")


class TestNpy(LoaderContract):
    values = ARRAYS
    bad_bytes = [b"", b"\x93NUMPY", b"no array", b"\x80\x04K\x03."]
    bad_values = [np.array([object()])]

    @pytest.fixture
    def loader(self) -> Any:
        return get_loader("npy")


class TestNpz(LoaderContract):
    values = [{f"array {number}": array for number, array in enumerate(ARRAYS)}, {}, {"file": np.ones(2)}]
    bad_bytes = [b"", b"PK", b"no archive"]
    bad_values = [{"a": np.array([object()])}, np.ones(2), 3]

    @pytest.fixture
    def loader(self) -> Any:
        return get_loader("npz")


class TestPickle(LoaderContract):
    values = [{"a": {1, 2}, "b": (1j, None)}, ARRAYS]
    bad_bytes = [b"", b"no pickle"]
    bad_values = [(each for each in ())]
    runs_what_it_reads = True

    @pytest.fixture
    def loader(self) -> Any:
        return get_loader("pickle")
