"""Names that become files and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import Experiment
from crystallize.errors import InvalidNameError, InvalidTypeError
from crystallize.utils.names import check_experiment_name, check_name, name_key


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "model.bin",
        "ridge-0.1",
        "high_lr",
        "two words",
        "Übung",
        "日本",
        "a" * 200,
        "...a",
        ".hidden",
        "v0",
    ],
)
def test_a_name_that_stays_in_its_folder_is_returned(name: str) -> None:
    assert check_name("artifact", name) == name


BAD = {
    "": "is empty",
    "  ": "is empty",
    ".": "leads to another folder",
    "..": "leads to another folder",
    "../up": "holds '/'",
    "a/b": "holds '/'",
    "/etc": "holds '/'",
    "a\\b": r"holds '\\\\'",
    "C:": "holds ':'",
    "C:\\x": "holds ':'",
    "a\x00b": r"holds '\\x00'",
    "a\nb": r"holds '\\n'",
    "a\x7fb": r"holds '\\x7f'",
    "a\x85b": r"holds '\\x85'",
    "a*": r"holds '\*'",
    "why?": r"holds '\?'",
    'say "x"': "holds '\"'",
    "a<b": "holds '<'",
    "a|b": r"holds '\|'",
    "half\ud800": r"holds '\\ud800'",
    " a": "begins or ends with a blank",
    "a ": "begins or ends with a blank",
    "a.": "ends with a dot",
    "CON": "device on Windows",
    "nul.txt": "device on Windows",
    "com1": "device on Windows",
    "com¹": "device on Windows",
    "LPT³.log": "device on Windows",
    "CONIN$": "device on Windows",
    "conout$.txt": "device on Windows",
    "nul .txt": "device on Windows",
    "a" * 201: "longer than 200 bytes",
    "ü" * 101: "longer than 200 bytes",
}


@pytest.mark.parametrize(("name", "fault"), BAD.items(), ids=map(ascii, BAD))
def test_a_name_that_would_leave_its_folder_is_refused(name: str, fault: str) -> None:
    with pytest.raises(InvalidNameError, match=fault) as raised:
        check_name("experiment", name)
    assert isinstance(raised.value, ValueError)
    assert "the name of an experiment" in raised.value.what
    assert raised.value.hint


@pytest.mark.parametrize("name", ["a#b", "#", "a@v3", "@v0"])
def test_a_name_of_an_experiment_refers_to_nothing_else(name: str) -> None:
    with pytest.raises(InvalidNameError, match=r"cannot be the name of an experiment: it .* experiment"):
        Experiment(lambda: 0, [lambda data: data], name=name)


@pytest.mark.parametrize("name", ["a", "a@v", "a@3", "a@v3b", "v3", "a v1", "@"])
def test_other_names_are_free_for_experiments(name: str) -> None:
    assert check_experiment_name(name) == name


@pytest.mark.parametrize("name", [None, 5, b"a", Path("a"), ["a"]])
def test_a_name_is_a_str(name: Any) -> None:
    with pytest.raises(InvalidTypeError, match="the name of a step is a str"):
        check_name("step", name)


@given(st.text(max_size=30))
def test_whatever_is_let_through_is_one_file_in_its_folder(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    try:
        check_name("artifact", name)
    except InvalidNameError:
        return
    folder = tmp_path_factory.mktemp("names")
    (folder / name).write_bytes(b"x")
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A", "a"),
        ("model.txt", "Model.TXT"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("straße", "STRASSE"),
        ("Σ", "ς"),
    ],
)
def test_names_that_are_one_file_on_some_system_have_one_key(first: str, second: str) -> None:
    assert name_key(first) == name_key(second)


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("x²", "x2"), ("a.b", "a b"), ("\u0131", "i")])
def test_other_names_have_different_keys(first: str, second: str) -> None:
    assert name_key(first) != name_key(second)
