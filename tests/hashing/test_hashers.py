"""Which hasher is asked: that of the nearest class, found as an entry point, ours as well as a stranger's."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from crystallize.errors import UnhashableContentError
from crystallize.hashing import Chunks, StandsFor, content_hash
from crystallize.hashing.content import hash_with

MESH = """
    import threading

    class Mesh:
        def __init__(self, *points):
            self.points, self.lock = list(points), threading.Lock()

    class Surface(Mesh):
        pass

    class Cloud:
        def __init__(self, points):
            self.points = points

    class Known(Mesh):
        def __crystallize_fingerprint__(self):
            return "known"

    def content_of(mesh):
        return {"points": mesh.points}

    def content_of_any(thing):
        return sorted(thing.points) if isinstance(thing, Mesh) else NotImplemented

    def raises(mesh):
        raise OSError("the card is gone")

    NUMBER = 7
"""


@pytest.fixture
def mesh(tmp_plugin: Any) -> Any:
    """Return a function that installs the module with an entry of the group, and returns the module."""

    def install(**entries: str) -> Any:
        entries = {name.replace("__", "."): f"acme_mesh:{value}" for name, value in entries.items()}
        tmp_plugin(
            "acme-mesh", {"acme_mesh.py": MESH}, groups={"crystallize.hashers": entries}, version="1.2"
        )
        return import_module("acme_mesh")

    return install


def test_an_entry_point_called_after_a_class_says_what_its_objects_consist_of(mesh: Any) -> None:
    module = mesh(acme_mesh__Mesh="content_of")
    assert content_hash(module.Mesh(1, 2)) == content_hash(module.Mesh(1, 2))
    assert content_hash(module.Mesh(1, 2)) != content_hash(module.Mesh(2, 1))


def test_without_it_the_objects_are_refused(mesh: Any) -> None:
    with pytest.raises(UnhashableContentError, match=r"value\.lock"):
        content_hash(mesh().Mesh(1))


def test_it_is_asked_for_derived_classes_which_count_themselves(mesh: Any) -> None:
    module = mesh(acme_mesh__Mesh="content_of")
    assert content_hash(module.Surface(1)) == content_hash(module.Surface(1))
    assert content_hash(module.Surface(1)) != content_hash(module.Mesh(1))


def test_a_nearer_one_comes_first(mesh: Any) -> None:
    module = mesh(acme_mesh="content_of_any", acme_mesh__Surface="content_of")
    assert content_hash(module.Mesh(1, 2)) == content_hash(module.Mesh(2, 1))
    assert content_hash(module.Surface(1, 2)) != content_hash(module.Surface(2, 1))


def test_one_of_a_package_leaves_what_it_does_not_know_to_pickle(mesh: Any) -> None:
    module = mesh(acme_mesh="content_of_any")
    assert content_hash(module.Cloud([1, 2])) != content_hash(module.Cloud([2, 1]))


def test_the_method_of_the_class_comes_before_any_hasher(mesh: Any) -> None:
    module = mesh(acme_mesh__Mesh="content_of")
    assert content_hash(module.Known(1)) == content_hash(module.Known(2))


def test_a_part_that_hides_its_content_is_told_by_its_key(mesh: Any) -> None:
    module = mesh(acme_mesh__Mesh="content_of")
    with pytest.raises(UnhashableContentError, match=r"^data\.points\[1\]: a _thread\.lock"):
        content_hash(module.Mesh(0, module.Mesh().lock), "data")


def test_one_that_raises_makes_the_value_unhashable_and_says_why(mesh: Any) -> None:
    module = mesh(acme_mesh__Mesh="raises")
    with pytest.raises(UnhashableContentError, match=r"acme_mesh\.Mesh: OSError: the card is gone"):
        content_hash([module.Mesh(1)])


@pytest.mark.parametrize("broken", ["NUMBER", "missing", "Mesh"])
def test_a_broken_one_is_warned_about_once_and_hinders_nothing(
    mesh: Any, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    module = mesh(acme_mesh__Surface=broken, acme_mesh__Mesh="content_of")
    with caplog.at_level(logging.WARNING, "crystallize.plugins"):
        for _ in range(3):
            assert content_hash(module.Surface(1)) != content_hash(module.Surface(2))
    (record,) = caplog.records
    assert "entry point 'acme_mesh.Surface' of acme-mesh 1.2" in record.getMessage()


def test_the_names_of_ours_stay_ours(tmp_plugin: Any) -> None:
    before = content_hash(np.arange(3))
    files = {"acme_thief.py": "def content_of(value):\n    return 0\n"}
    tmp_plugin("acme-thief", files, groups={"crystallize.hashers": {"numpy": "acme_thief:content_of"}})
    assert content_hash(np.arange(3)) == before
    assert "acme_thief" not in sys.modules


def test_a_hasher_is_not_imported_before_a_value_of_its_type_is_hashed(mesh: Any) -> None:
    mesh(acme_mesh__Mesh="content_of")
    del sys.modules["acme_mesh"]
    content_hash([1, {"a": np.arange(3)}])
    assert "acme_mesh" not in sys.modules


def test_without_our_entry_points_arrays_count_by_what_pickle_would_store() -> None:
    def nothing(kind: type) -> None:
        return None

    array = np.arange(6).reshape(2, 3)
    assert hash_with(nothing, array) == hash_with(nothing, array.copy())
    assert hash_with(nothing, array) != hash_with(nothing, np.asfortranarray(array)), (
        "the hasher of arrays was found"
    )


class Text:
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces


def test_chunks_count_as_if_they_were_joined() -> None:
    def hash_of(text: Text) -> str:
        return hash_with(lambda kind: (lambda value: Chunks(value.pieces)) if kind is Text else None, text)

    assert hash_of(Text(b"ab", b"", b"c")) == hash_of(Text(b"a", b"bc"))
    assert hash_of(Text(b"ab")) != hash_of(Text(b"a"))


def test_chunks_that_raise_while_they_are_read_make_the_value_unhashable() -> None:
    def torn(value: Any) -> Any:
        return Chunks(bytes(piece) for piece in [b"a", "no bytes"])

    with pytest.raises(UnhashableContentError, match="data: TypeError: "):
        hash_with(lambda kind: torn if kind is Text else None, Text(), "data")


def test_what_stands_for_another_value_has_its_hash() -> None:
    def hasher_for(kind: type) -> Any:
        return (lambda value: StandsFor(list(value.pieces))) if kind is Text else None

    assert hash_with(hasher_for, Text(b"a")) == content_hash([b"a"])
