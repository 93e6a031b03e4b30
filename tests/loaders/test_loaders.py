from __future__ import annotations

import json
import logging
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystallize.datasources.artifact import Artifact
from crystallize.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    InvalidTypeError,
    PluginLoadError,
    UnknownNameError,
)
from crystallize.loaders import get_loader, get_writer, loader_for
from crystallize.loaders.base import dump_value, load_file

NAMES = ("bytes", "csv", "json", "npy", "npz", "pickle", "text", "yaml")


class UpperLoader:
    suffixes = (".up", ".x.json")

    def load(self, path: Path) -> str:
        return path.read_text().upper()

    def dump(self, value: str) -> bytes:
        return value.lower().encode()


def round_trip(name: str, value: Any, folder: Path) -> Any:
    loader = get_loader(name)
    (folder / "file").write_bytes(loader.dump(value))
    return loader.load(folder / "file")


def install(site: Path, name: str, entry_points: str, code: str) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    (site / f"{name}.py").write_text(code)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bytes", b"\x00\xff"),
        ("text", "line\r\nline\n\u00e9 \ufeff"),
        ("json", {"a": [1, 2.5, None, "\u00e9"], "b": {}}),
        ("yaml", {"b": [1, 2.5, None, "\u00e9"], "a": {}}),
        ("csv", [{"a": "1", "b": 'x, "y"\nz'}, {"a": "", "b": "\u00e9"}]),
        ("csv", [{"a": "x\ry"}, {"a": "\r"}]),
        ("csv", [{"a": "long" * 50_000}]),
        ("csv", []),
        ("pickle", {"a": {1, 2}, "b": (1j, None)}),
    ],
)
def test_what_is_dumped_is_loaded(name: str, value: Any, tmp_path: Path) -> None:
    assert round_trip(name, value, tmp_path) == value


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.array(3), np.array([], dtype="<U3")])
def test_arrays_keep_shape_and_type(array: Any, tmp_path: Path) -> None:
    loaded = round_trip("npy", array, tmp_path)
    assert loaded.dtype == array.dtype
    np.testing.assert_array_equal(loaded, array)
    loaded = round_trip("npz", {"a": array, "b": np.ones(2)}, tmp_path)
    assert list(loaded) == ["a", "b"]
    np.testing.assert_array_equal(loaded["a"], array)


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_numpys_numbers_and_arrays_are_written_as_numbers_and_lists(name: str, tmp_path: Path) -> None:
    value = {"n": np.int64(3), "a": np.arange(2), "long": np.longdouble("0.5"), "longs": np.ones(1, "g")}
    assert round_trip(name, value, tmp_path) == {"n": 3, "a": [0, 1], "long": 0.5, "longs": [1.0]}


def test_pickle_takes_lambdas(tmp_path: Path) -> None:
    assert round_trip("pickle", lambda x: x + 1, tmp_path)(1) == 2


def test_equal_arrays_are_equal_bytes() -> None:
    first, second = ({"a": np.arange(3.0), "b": np.ones(2)} for _ in range(2))
    assert get_loader("npz").dump(first) == get_loader("npz").dump(second)


def test_a_csv_row_that_lacks_a_column_has_an_empty_cell() -> None:
    assert get_loader("csv").dump([{"a": 1}, {"b": 2}]) == b"a,b\n1,\n,2\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("json", {1, 2}),
        ("json", b"x"),
        ("text", b"x"),
        ("text", 3),
        ("bytes", 3),
        ("csv", [1, 2]),
        ("csv", 3),
        ("yaml", object()),
        ("yaml", {(1, 2): 3}),
        *((name, np.array(["2020-01-01", "NaT"], "M8[ns]")) for name in ("json", "yaml")),
        *((name, np.timedelta64(5, "ns")) for name in ("json", "yaml")),
        *((name, np.clongdouble(1)) for name in ("json", "yaml")),
        ("npy", np.array([object()])),
        ("npz", {"a": np.array([object()])}),
        ("npz", np.ones(2)),
    ],
)
def test_a_value_that_a_loader_cannot_write_is_an_error_that_names_the_artifact(
    name: str, value: Any
) -> None:
    with pytest.raises(ArtifactError, match=r"out\.x"):
        dump_value(get_loader(name).dump, value, "out.x")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("json", b"{"),
        ("json", b"\xff"),
        ("yaml", b"a: [1"),
        ("yaml", b"!!python/object/apply:os.getcwd []"),
        ("text", b"\xff"),
        ("csv", b"a,b\n1\n"),
        ("csv", b"a,b\n1,2,3\n"),
        ("csv", b'a\n"x'),
        ("csv", b"a,b,a\n1,2,3\n"),
        ("npy", b"\x93NUMPY"),
        ("npy", pickle.dumps(3)),
        ("npz", b"PK"),
        ("pickle", b"no pickle"),
    ],
)
def test_bad_content_is_an_error_that_names_loader_and_file(
    name: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "bad.file"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"Loader cannot read artifact 'bad\.file'") as caught:
        load_file(get_loader(name).load, path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_an_artifact_that_was_not_found(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match=re.escape(str(tmp_path / "none"))):
        load_file(get_loader("json").load, tmp_path / "none")


@pytest.mark.parametrize("name", NAMES)
def test_every_loader_of_ours_is_found_by_name_and_can_be_pickled(name: str) -> None:
    loader = get_loader(name)
    assert type(pickle.loads(pickle.dumps(loader))) is type(loader)


def test_an_unknown_name_is_an_error_with_the_nearest_and_all_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'json'") as caught:
        get_loader("jsn")
    assert all(name in str(caught.value) for name in NAMES)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("a.json", "JsonLoader"),
        ("A.JSON", "JsonLoader"),
        ("a.yml", "YamlLoader"),
        ("a.tar.npz", "NpzLoader"),
        ("a.txt", "TextLoader"),
        ("a.bin", "BytesLoader"),
    ],
)
def test_a_suffix_leads_to_its_loader(file: str, kind: str) -> None:
    assert type(loader_for(file)).__name__ == kind
    assert type(loader_for(Path("folder") / file)).__name__ == kind


@pytest.mark.parametrize("file", ["a.pkl", "a.pickle", "a.unknown", "json"])
def test_an_unknown_suffix_and_pickles_are_never_guessed(file: str) -> None:
    with pytest.raises(UnknownNameError, match="no loader fits"):
        loader_for(file)


@pytest.mark.parametrize("file", ["a.pkl", "A.PICKLE"])
def test_whoever_wants_a_pickle_is_told_how_to_say_so(file: str) -> None:
    with pytest.raises(UnknownNameError, match=r"never chosen by a suffix.* say loader='pickle'"):
        loader_for(file)
    assert all(suffix not in (".pkl", ".pickle") for name in NAMES for suffix in get_loader(name).suffixes)
    assert get_loader("pickle").suffixes == ()


def test_a_loader_of_others_may_claim_the_suffix_of_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "class Safe:\n    suffixes = ('.pkl',)\n"
        "    def load(self, path): return 'safe'\n    def dump(self, value): return b''\n"
    )
    install(tmp_path, "safe", "[crystallize.loaders]\nsafe = safe:Safe\n", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(loader_for("a.pkl")).__name__ == "Safe"


@pytest.mark.parametrize(
    "suffixes",
    ["'.json'", "('json',)", "('',)", "('.',)", "(3,)", "{'.json'}", "None", "property(lambda self: 1 / 0)"],
)
def test_a_loader_with_impossible_suffixes_is_named_and_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, suffixes: str
) -> None:
    code = (
        f"class Odd:\n    suffixes = {suffixes}\n"
        "    def load(self, path): ...\n    def dump(self, value): ...\n"
    )
    name = f"odd{abs(hash(suffixes))}"
    install(tmp_path, name, f"[crystallize.loaders]\nodd = {name}:Odd\n", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnknownNameError):
        loader_for("a.unknown")
    (warning,) = [each.getMessage() for each in caplog.records]
    assert f"entry point 'odd' of {name} 1.0 could not be loaded: " in warning
    with pytest.raises(PluginLoadError, match="entry point 'odd'"):
        get_loader("odd")


@pytest.mark.parametrize("name", ["JSON", "My_Loader", "my.loader"])
def test_a_loader_s_name_is_found_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install(
        tmp_path, "folded", "[crystallize.loaders]\nmy-loader = crystallize.loaders.builtin:JsonLoader\n", ""
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(get_loader(name)).__name__ == "JsonLoader"


def test_an_array_may_have_any_name(tmp_path: Path) -> None:
    arrays = {name: np.arange(3) for name in ("file", "allow_pickle", "a b", "x.npy", "\u00e9")}
    assert list(round_trip("npz", arrays, tmp_path)) == list(arrays)
    with pytest.raises(TypeError, match="the names of arrays are texts, got 1"):
        get_loader("npz").dump({1: np.arange(3)})


def test_a_loader_of_another_distribution_is_found_by_name_and_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path,
        "shout",
        "[crystallize.loaders]\nshout = shout:Shout\n",
        "class Shout:\n"
        "    suffixes = ('.shout', '.json')\n"
        "    def load(self, path): return path.read_text().upper()\n"
        "    def dump(self, value): return value.encode()\n",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(get_loader("shout")).__name__ == "Shout"
    assert type(loader_for("a.shout")).__name__ == "Shout"
    assert type(loader_for("a.json")).__name__ == "JsonLoader"


def test_a_suffix_that_two_others_claim_belongs_to_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "class Frame:\n    suffixes = ('.parquet',)\n"
        "    def load(self, path): ...\n    def dump(self, value): ...\n"
    )
    install(
        tmp_path,
        "feathers",
        "[crystallize.loaders]\nfeather = feathers:Frame\nparquet = feathers:Frame\n",
        code,
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(loader_for("a.parquet")).__module__ == "feathers"  # under two names it is still one loader
    install(tmp_path, "bears", "[crystallize.loaders]\nbears = bears:Frame\n", code)
    with pytest.raises(UnknownNameError, match=r"several .* 'a\.parquet': 'bears' of bears and 'feather' of"):
        loader_for("a.parquet")
    assert type(get_loader("bears")).__module__ == "bears"


def test_a_broken_loader_does_not_hinder_the_search_by_suffix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(
        tmp_path, "torn", "[crystallize.loaders]\ntorn = torn:Loader\n", "raise RuntimeError('torn apart')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    caplog.set_level(logging.WARNING, "crystallize")
    assert type(loader_for("a.json")).__name__ == "JsonLoader"
    with pytest.raises(UnknownNameError):
        loader_for("a.none")
    assert "torn apart" in caplog.text


def test_a_dotted_path_leads_to_a_class_or_an_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_loaders.py").write_text(
        "class Mine:\n    suffixes = ()\n    def load(self, path): ...\n    def dump(self, value): ...\nmine = Mine()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert type(get_loader("my_loaders:Mine")).__name__ == "Mine"
    assert get_loader("my_loaders:mine") is sys.modules["my_loaders"].mine
    for wrong in ("my_loaders:Yours", "no_such_module:Mine", "my_loaders:", ":Mine"):
        with pytest.raises(UnknownNameError, match=re.escape(wrong)):
            get_loader(wrong)


def test_a_plain_function_of_one_path_is_a_loader_that_only_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path,
        "plain",
        "[crystallize.loaders]\nshout = plain:shout\nmade = plain:make\n",
        "from crystallize.loaders.builtin import JsonLoader\n"
        "def shout(path): return path.read_text().upper()\n"
        "def make(): return JsonLoader()\n",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "a.txt").write_text("hello")
    for name in ("shout", "plain:shout"):
        loader = pickle.loads(pickle.dumps(get_loader(name)))
        assert loader.load(tmp_path / "a.txt") == "HELLO"
        assert loader.dump("text") == b"text"
        with pytest.raises(ArtifactError, match="nothing says how a dict becomes"):
            loader.dump({})
        with pytest.raises(InvalidTypeError, match="a function that loads, and writes nothing"):
            Artifact("x.txt", writer=name)
        assert Artifact("x.txt", loader=name)
    assert type(get_loader("made")).__name__ == "JsonLoader"
    assert get_writer("made")([1]) == b"[1]"
    with pytest.raises(ArtifactError, match="the loader shout cannot read"):
        load_file(get_loader("shout").load, tmp_path)


def test_a_loader_itself_is_taken_as_it_is() -> None:
    loader = UpperLoader()
    assert get_loader(loader) is loader
    assert isinstance(get_loader(UpperLoader), UpperLoader)


@pytest.mark.parametrize("wrong", [3, None, object(), divmod])
def test_what_is_no_loader_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidTypeError, match="a loader has load"):
        get_loader(wrong)


@pytest.mark.parametrize("result", [None, 3, ["x"]])
def test_a_writer_that_returns_no_bytes_is_an_error(result: object) -> None:
    with pytest.raises(ArtifactError, match="returned a"):
        dump_value(lambda value: result, 1, "out")


def test_a_writer_may_return_text() -> None:
    assert dump_value(lambda value: f"\u00e9{value}", 1, "out") == "\u00e91".encode()


def test_looking_up_loaders_imports_neither_numpy_nor_yaml(run_python: Any) -> None:
    run_python(
        "import sys\n"
        "from crystallize.loaders import get_loader, loader_for\n"
        "get_loader('npy'), loader_for('a.json')\n"
        "assert not {'numpy', 'yaml'} & set(sys.modules)",
        fresh=True,
    )


@pytest.mark.parametrize("masked", [np.ma.array([1.0, 2.0], mask=[0, 1]), [np.ma.array([1], mask=[1])]])
def test_a_mask_is_not_lost_without_a_word(masked: object) -> None:
    for name, value in (("npy", masked), ("npz", {"a": masked})):
        with pytest.raises(ArtifactError, match=r"have no masks: write array\.filled"):
            dump_value(get_loader(name).dump, value, "out")
    assert json.loads(get_loader("json").dump(np.ma.array([1.0, 2.0], mask=[0, 1]))) == [1.0, None]
