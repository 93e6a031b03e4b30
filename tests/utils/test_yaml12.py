"""YAML 1.2: what is written comes back, and means the same to readers of either version."""

from __future__ import annotations

import datetime
import enum
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize.utils.yaml12 import dump_yaml, load_yaml

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    # What one version or the other takes for something else than text.
    st.from_regex(r"[-+.0-9eExo_:]{1,8}", fullmatch=True),
    st.sampled_from(
        ["on", "No", "y", "~", "null", "<<", "=", "1:30", "0o17", "1e-3", "2020-01-01", ".inf", "1_0"]
    ),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text("abon", min_size=1), inner)
)


@settings(max_examples=50)
@given(values)
def test_what_is_written_comes_back_by_readers_of_both_versions(value: Any) -> None:
    content = dump_yaml(value)
    assert load_yaml(content) == value
    assert yaml.safe_load(content) == value


def test_scalars_are_those_of_version_1_2() -> None:
    text = b"[on, 1:30, 1e-3, 010, 0o17, 0x1F, 1_000, 2020-01-01, .inf, ~, TRUE, '1', !!float 3, !!str 4]"
    assert load_yaml(text) == [
        "on", "1:30", 0.001, 10, 15, 31, "1_000", "2020-01-01", float("inf"), None, True, "1", 3.0, "4",
    ]  # fmt: skip
    assert load_yaml(b"a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}


def test_numbers_of_numpy_and_subclasses_of_pythons_types_are_written_as_what_they_stand_for() -> None:
    class Level(enum.IntEnum):
        HIGH = 3

    value = {
        "float": np.float64(1.5),
        "int": np.int32(3),
        "bool": np.bool_(True),
        "array": np.arange(2),
        "text": np.str_("on"),
        "dict": OrderedDict(a=1),
        "enum": Level.HIGH,
        "tuple": (1, 2),
    }
    assert load_yaml(dump_yaml(value)) == {
        "float": 1.5,
        "int": 3,
        "bool": True,
        "array": [0, 1],
        "text": "on",
        "dict": {"a": 1},
        "enum": 3,
        "tuple": [1, 2],
    }


def test_dates_and_sets_keep_their_kind() -> None:
    value = {"day": datetime.date(2020, 1, 2), "bytes": b"\xff", "set": {1, 2}}
    assert load_yaml(dump_yaml(value)) == value


@pytest.mark.parametrize("content", [b"!!python/object/apply:os.getcwd []", b"!own 1", b"a: [", b"\xff"])
def test_what_is_not_plain_yaml_is_refused(content: bytes) -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml(content)


def test_an_object_that_yaml_has_no_form_for_is_refused() -> None:
    with pytest.raises(yaml.YAMLError):
        dump_yaml({"a": object()})
