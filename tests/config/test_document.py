"""YAML that traps nobody: what scalars mean, and what is refused."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize.config.document import (
    LARGEST,
    MOST_VALUES,
    Document,
    read_document,
    read_value,
)
from crystallize.errors import InvalidValueError

Read = Callable[[str | bytes], Document]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(content: str | bytes) -> Document:
        file = tmp_path / "config.yaml"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_document(file)

    return read


TRAPS: list[tuple[str, Any]] = [
    ("true", True),
    ("True", True),
    ("false", False),
    ("on", "on"),
    ("off", "off"),
    ("yes", "yes"),
    ("No", "No"),
    ("y", "y"),
    ("~", None),
    ("null", None),
    ("", None),
    ("none", "none"),
    ("1e-3", 1e-3),
    ("1E5", 1e5),
    ("1.5e+3", 1500.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("-.inf", -math.inf),
    ("010", 10),
    ("0o7", 7),
    ("0o9", "0o9"),
    ("0x1F", 31),
    ("+12", 12),
    ("1_000", "1_000"),
    ("0b11", "0b11"),
    ("1:30", "1:30"),
    ("2024-01-31", "2024-01-31"),
    ("2024-01-31 10:00:00", "2024-01-31 10:00:00"),
    ("'3'", "3"),
    ('"true"', "true"),
    ("=", "="),
    ("1.2.3", "1.2.3"),
    ("NaN", "NaN"),
]


@pytest.mark.parametrize(("text", "value"), TRAPS, ids=[text or "nothing" for text, _ in TRAPS])
def test_a_scalar_is_what_the_core_schema_says(read: Read, text: str, value: Any) -> None:
    document = read(f"key: {text}\n")
    assert not document.problems
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)


def test_not_a_number_is_a_number(read: Read) -> None:
    assert math.isnan(read("key: .nan").value["key"])


def test_an_alias_repeats_a_value_and_shares_nothing(read: Read) -> None:
    value = read("a: &x {k: [1]}\nb: *x\n").value
    assert value == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert value["a"]["k"] is not value["b"]["k"]


BAD: list[tuple[str, str | bytes, int, int, str]] = [
    ("duplicate key", "a: 1\nb: 2\na: 3\n", 3, 1, "'a' is here a second time; the first is in line 1"),
    ("inner duplicate", "a:\n  b: 1\n  b: 2\n", 3, 3, "'b' is here a second time; the first is in line 2"),
    ("tab", "a:\n\tb: 1\n", 2, 1, "indented with a tab"),
    ("tab after blanks", "a:\n  b: 1\n  \tc: 2\n", 3, 3, "indented with a tab"),
    ("tab in a text", "a: b\n\tc\n", 2, 1, "indented with a tab"),
    ("object", "a: !!python/object:os.system x\n", 1, 4, "tag !!python/object:os.system is not supported"),
    ("apply", "a: !!python/object/apply:os.system ['id']\n", 1, 4, "not supported"),
    ("own tag", "a: !mine x\n", 1, 4, "tag !mine is not supported"),
    ("harmless tag", "a: !!str 3\n", 1, 4, "tag !!str is not supported"),
    ("merge", "a: &x {k: 1}\nb:\n  <<: *x\n", 3, 3, "merge key '<<' is not supported"),
    ("latin-1", b"a: 1\nb: caf\xe9\n", 2, 7, "not UTF-8"),
    ("utf-16", "a: 1".encode("utf-16"), 1, 1, "not UTF-8"),
    ("two documents", "a: 1\n---\nb: 2\n", 2, 1, "a second document"),
    ("empty", "", 1, 1, "the file is empty"),
    ("comment only", "# nothing\n", 1, 1, "the file is empty"),
    ("list", "- a\n- b\n", 1, 1, "holds a list, not a mapping"),
    ("text", "just text\n", 1, 1, "holds the text 'just text', not a mapping"),
    ("null", "~\n", 1, 1, "holds nothing, not a mapping"),
    ("number key", "a:\n  1: x\n", 2, 3, "the key is the number 1, and keys are text"),
    ("null key", "~: x\n", 1, 1, "the key is nothing"),
    ("true key", "true: x\n", 1, 1, "the key is true"),
    ("list key", "? [a]\n: x\n", 1, 3, "the key is a list"),
    ("control character", "a: x\x07y\n", 1, 5, "control character '\\x07'"),
    ("null byte", b"a: \x00\n", 1, 4, "control character"),
    ("nesting", "a: " + "[" * 100 + "]" * 100, 1, 44, "stand inside each other"),
    ("unclosed", "a: [1, 2\nb: 3\n", 2, 2, "this is not YAML"),
    ("colon", "a: b: c\n", 1, 5, "this is not YAML"),
    ("indentation", "a:\n  b: 1\n c: 2\n", 3, 2, "this is not YAML"),
    ("unknown alias", "a: [*nowhere, 1]\n", 1, 5, "no anchor &nowhere comes before"),
    ("anchor twice", "a: &x 1\nb: &x 2\n", 2, 4, "anchor"),
    ("endless alias", "a: &x [1, *x]\n", 1, 4, "part of what it stands for"),
    ("huge number", "a: " + "9" * 5000 + "\n", 1, 4, "5000 digits"),
]


@pytest.mark.parametrize(
    ("content", "line", "column", "message"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD]
)
def test_what_could_surprise_is_refused_with_its_place(
    read: Read, content: str | bytes, line: int, column: int, message: str
) -> None:
    (problem,) = read(content).problems
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_a_byte_order_mark_is_no_harm(read: Read) -> None:
    assert read(b"\xef\xbb\xbfa: 1\n").value == {"a": 1}


def test_tabs_that_do_not_indent_are_no_harm(read: Read) -> None:
    document = read('a:\t1\nb: |\n  code\n  \tindented\nc: "\\t"\n')
    assert not document.problems
    assert document.value == {"a": 1, "b": "code\n\tindented\n", "c": "\t"}


def test_aliases_do_not_explode(read: Read) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    document = read("\n".join(lines))
    (problem,) = document.problems
    assert f"more than {MOST_VALUES} values" in problem.message
    assert document.value is None


def test_a_large_file_is_not_even_read_to_its_end(read: Read) -> None:
    (problem,) = read(b"a: " + b"x" * (10 << 20)).problems
    assert f"more than {LARGEST} bytes" in problem.message


def test_a_folder_and_missing_things_are_named(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        (problem,) = read_document(path).problems
        assert problem.file == path
        return problem.message

    assert message(tmp_path) == "this is a folder, not a file"
    assert message(tmp_path / "config.yaml") == "there is no such file"
    assert message(tmp_path / "nowhere" / "config.yaml") == "there is no such folder"


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.symlink_to(tmp_path / "config.yaml")  # unlike a mode, this keeps root out too
    (problem,) = read_document(file).problems
    assert problem.message.startswith("the file cannot be read: ")


def test_several_mistakes_are_found_at_once(read: Read) -> None:
    document = read("a: 1\na: 2\nb: !x 1\n3: c\n")
    assert [problem.line for problem in document.problems] == [2, 3, 4]


def test_every_value_has_its_place(read: Read) -> None:
    document = read("steps:\n  - scale: {factor: 2}\n  - total\n")
    assert document.at(("steps", 1)) == (3, 5)
    assert document.at(("steps", 0, "scale", "factor")) == (2, 21)
    assert document.at(("steps", 0, "scale", "factor"), key=True) == (2, 13)
    assert document.at(("steps", 7)) == (2, 3)  # nothing there: the nearest
    assert document.at(()) == (1, 1)


class _Quoting(yaml.SafeDumper):
    """Writes every text in quotes, as YAML 1.1 and 1.2 disagree about what needs them."""


_Quoting.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)
_Quoting.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(TEXT, VALUES, max_size=5), st.booleans())
def test_any_mapping_that_is_dumped_and_read_is_itself(mapping: dict[str, Any], is_flow: bool) -> None:
    text = yaml.dump(mapping, Dumper=_Quoting, default_flow_style=is_flow)
    document = read_document(Path("config.yaml"), text)
    assert not document.problems
    assert document.value == mapping


@settings(deadline=None)
@given(TEXT)
def test_any_text_is_read_or_refused_and_nothing_else_happens(text: str) -> None:
    document = read_document(Path("config.yaml"), text)
    assert document.problems or isinstance(document.value, dict)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("a: b", "a: b"), ("[1, x]", [1, "x"]), ("{a: on}", {"a": "on"}), ("'1'", "1")],
)
def test_a_single_value_needs_no_quotes_unless_it_is_a_list_or_mapping(text: str, value: Any) -> None:
    assert read_value(text) == value


@pytest.mark.parametrize("text", ["[1, ", "{a: 1, a: 2}", "9" * 5000])
def test_a_single_value_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(InvalidValueError, match="cannot be read"):
        read_value(text)


def test_a_pipe_is_not_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    (problem,) = read_document(tmp_path / "config.yaml").problems
    assert problem.message == "the file cannot be read: it is a pipe, not a plain file"
