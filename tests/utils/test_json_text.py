from __future__ import annotations

import json
import math
from typing import Any

import pytest

from crystallize.utils.json_text import parse_json, to_json


def test_floats_are_written_with_all_their_digits_and_come_back() -> None:
    values = [0.1 + 0.2, 1e-323, math.pi, math.inf, -math.inf, -0.0]
    assert parse_json(to_json(values)) == values
    assert math.copysign(1, parse_json(to_json(-0.0))) == -1
    assert math.isnan(parse_json(to_json(math.nan)))


@pytest.mark.parametrize("extra", [None, 10**6000], ids=["plain", "odd"])
def test_for_any_reader_numbers_that_json_lacks_become_null(extra: Any) -> None:
    value = {"a": [math.nan, 1.5], "b": -math.inf, "c": extra}
    text = to_json(value, strict=True)
    written = json.loads(text, parse_constant=pytest.fail)
    assert written == {"a": [None, 1.5], "b": None, "c": extra and hex(extra)}


def test_text_is_ascii_and_can_be_indented() -> None:
    assert to_json({"é": "\ud800"}) == r'{"\u00e9": "\ud800"}'
    assert to_json({"a": [1]}, indent=2) == '{\n  "a": [\n    1\n  ]\n}'
    assert to_json({"a": [math.nan]}, indent=1, strict=True) == '{\n "a": [\n  null\n ]\n}'


def test_what_json_lacks_is_written_as_its_repr() -> None:
    assert json.loads(to_json({"a": 1 + 2j, "b": b"x", "c": {3, 1, 2}})) == {
        "a": "(1+2j)",
        "b": "b'x'",
        "c": [1, 2, 3],
    }


def test_numpy_values_are_written_as_numbers_and_lists() -> None:
    import numpy as np

    assert json.loads(to_json([np.int64(3), np.float32(0.5), np.arange(3)])) == [3, 0.5, [0, 1, 2]]


def test_keys_become_text_in_one_way_whatever_else_is_odd() -> None:
    import numpy as np

    plain = {1: "a", 2.5: "b", False: "c", None: "d", math.nan: "e"}
    expected = {"1": "a", "2.5": "b", "false": "c", "null": "d", "NaN": "e"}
    assert json.loads(to_json(plain)) == expected
    odd = {np.int64(7): "f", (1, 2): "g"}
    assert json.loads(to_json(plain | odd)) == expected | {"7": "f", "(1, 2)": "g"}


def test_odd_keys_cycles_and_endless_numbers_do_not_stop_the_writer() -> None:
    cycle: list[object] = [1]
    cycle.append(cycle)
    written = json.loads(to_json({(1, 2): "tuple", "cycle": cycle, "long": 10**6000, "set": {1}}))
    assert written == {"(1, 2)": "tuple", "cycle": [1, "..."], "long": hex(10**6000), "set": [1]}


def test_an_object_whose_repr_raises_is_named_by_its_class() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    assert json.loads(to_json([Odd()])) == ["<Odd, whose __repr__ raised RuntimeError>"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 200_000, b"1" * 5_000, b"\0" * 8])
def test_what_is_no_json_is_one_kind_of_error(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is json's own
        parse_json(content)
