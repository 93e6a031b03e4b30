"""Edits of a config.yaml: what they change and leave, and when they are written."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crystallize_tui.config_file import ConfigFile, as_text

from crystallize.config.document import read_document, read_value
from crystallize.errors import InvalidValueError, StoreError

EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").rglob("config.yaml"))


@pytest.fixture
def config(project) -> ConfigFile:
    return ConfigFile(project / "make" / "config.yaml")


def changes(config: ConfigFile, text: str) -> list[str]:
    """Return the lines that an edit removes and adds."""
    before = config.path.read_text().splitlines()
    return [line for line in difflib.ndiff(before, text.splitlines()) if line[0] in "+-"]


# -- what an edit changes ------------------------------------------------------------------------------------


def test_another_value_changes_its_own_characters_and_a_comment_stays_in_its_column(config):
    assert changes(config, config.with_value(("replicates",), "12")) == [
        "- replicates: 3   # few",
        "+ replicates: 12  # few",
    ]
    assert changes(config, config.with_value(("treatments", "bigger", "offset"), "-1.5")) == [
        "-   bigger: {offset: 2}   # by much",
        "+   bigger: {offset: -1.5}   # by much",
    ]


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("plain words", "plain words"),
        ("a: b # c", '"a: b # c"'),
        ("true", "true"),
        ('"true"', '"true"'),
        ("it's", '"it\'s"'),
        ("", ""),
        ("[1, two]", "[1, two]"),
        ("1e-3", "1e-3"),
        ("é", "é"),
    ],
)
def test_what_is_typed_is_written_so_that_it_is_read_as_what_was_meant(config, typed, written):
    text = config.with_value(("description",), typed)
    assert f"description: {written}\n" in text
    assert repr(read_document(config.path, text).value["description"]) == repr(read_value(typed))


def test_an_entry_is_added_at_the_end_of_a_mapping_or_a_list(config):
    assert changes(config, config.with_entry(("treatments",), "huge: {offset: 9}")) == [
        "+   huge: {offset: 9}"
    ]
    assert changes(config, config.with_entry(("steps",), "scale")) == ["+   - scale"]
    assert changes(config, config.with_entry((), "retries: 2")) == ["+ retries: 2"]
    (_, added) = changes(config, config.with_entry(("treatments", "bigger"), "factor: 3"))
    assert added == "+   bigger: {offset: 2, factor: 3}   # by much"


def test_an_entry_is_removed_with_its_lines_and_nothing_else(config):
    assert changes(config, config.without(("treatments", "bigger"))) == [
        "-   bigger: {offset: 2}   # by much"
    ]
    assert changes(config, config.without(("steps", 0))) == ["-   - scale: {factor: 2.0}"]
    assert changes(config, config.without(("outputs", "total", "loader"))) == [
        "- outputs: {total: {file_name: total.json, loader: json}}",
        "+ outputs: {total: {file_name: total.json}}",
    ]
    assert "# Where it all begins." in config.without(("description",))


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from (leaf for key, inner in items for leaf in leaves(inner, (*path, key)))
    if path and not isinstance(value, dict | list):
        yield path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_value_of_every_example_can_be_edited_and_removed_alone(example):
    config = ConfigFile(example)
    for path in leaves(config.value):
        before = config.path.read_text().splitlines()
        after = config.with_value(path, "another").splitlines()
        assert (
            sum(line not in after for line in before) <= 1 + before.count("") + 3
        )  # a folded text has several
        if len(config.at(path[:-1])) > 1:
            assert read_document(example, config.without(path)).value is not None


@pytest.mark.parametrize(
    "text",
    [
        'datasource: "a"\nsteps: [b]\n',
        "datasource: 'a'\r\nsteps: [b]\r\n",
        "\ufeffdatasource: a\nsteps: [b]\n",
        "datasource:\n  a  # why\nsteps: [b]",
        "datasource: >\n  a folded\n  text\nsteps: [b]\n",
        "datasource:\nsteps: [b]\n",
        "{datasource: a, steps: [b]}",
    ],
)
def test_any_layout_can_be_edited(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_bytes(text.encode())
    config = ConfigFile(file)
    for edited in (config.with_value(("datasource",), "z"), config.with_value(("steps", 0), "z")):
        assert "z" in edited
        assert edited.startswith("\ufeff") == text.startswith("\ufeff")
        assert edited.count("\r") == text.count("\r")


def test_what_an_alias_repeats_is_not_edited_in_one_place(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("datasource: &a {x: {size: 1}}\nsteps: [b]\ntreatments: {one: *a}\n")
    with pytest.raises(InvalidValueError, match="without changing something else"):
        ConfigFile(file).with_value(("treatments", "one", "x", "size"), "2")


@pytest.mark.parametrize(
    ("path", "typed", "told"),
    [
        (("treatments",), "bigger: 1", "is there already"),
        (("treatments",), "no colon", "is no entry"),
        (("treatments",), "a: 1\nb: 2", "several keys"),
        (("steps",), "[1", "cannot be read"),
    ],
)
def test_what_is_no_entry_is_refused(config, path, typed, told):
    with pytest.raises(InvalidValueError, match=told):
        config.with_entry(path, typed)


def test_the_only_entry_is_not_removed_without_what_holds_it(config):
    with pytest.raises(InvalidValueError, match=r"Remove treatments\.bigger"):
        config.without(("treatments", "bigger", "offset"))


@pytest.mark.parametrize(
    "value", [None, True, "true", "a b", "a, b", "1:30", 1, -2.5, 1e300, "x: y", "\x1b", " x", "é"]
)
def test_a_value_as_text_is_read_as_the_same_value(value):
    for whole in (value, [value], {"key": [value]}):
        document = read_document(Path("x"), f"value: {as_text(whole)}")
        assert repr(document.value["value"]) == repr(whole)


# -- when it is written --------------------------------------------------------------------------------------


def save(config: ConfigFile, text: str) -> list[str]:
    return [str(problem) for problem in asyncio.run(config.save(text))]


def test_a_sound_edit_is_written_and_leaves_nothing_beside(config, warm_commands):
    config.path.chmod(0o640)
    files = sorted(config.path.parent.iterdir())
    text = config.with_value(("replicates",), "4")
    assert save(config, text) == []
    assert config.path.read_text() == text
    assert config.path.stat().st_mode & 0o777 == 0o640
    assert sorted(config.path.parent.iterdir()) == files


def test_what_check_finds_is_told_with_the_place_in_the_file_and_nothing_is_written(config, warm_commands):
    before = config.path.read_text()
    (told,) = save(config, config.with_value(("steps", 1), "publsh"))
    assert told.startswith("experiments/make/config.yaml:8:5: steps[1]: no step is called 'publsh'")
    assert "Did you mean 'publish'?" in told
    assert config.path.read_text() == before
    (told,) = save(config, config.with_value(("replicates",), "many"))
    assert "It is a whole number" in told


def test_of_several_mistakes_one_after_the_other_can_be_removed(project, warm_commands):
    path = project / "make" / "config.yaml"
    path.write_text(
        path.read_text().replace("replicates: 3", "replicates: many").replace("seed: 1", "seed: x")
    )
    config = ConfigFile(path)
    assert save(config, config.with_value(("replicates",), "5")) == []
    assert "replicates: 5" in path.read_text()


def test_a_config_that_was_changed_or_removed_meanwhile_is_left_as_it_is(config, warm_commands):
    text = config.with_value(("replicates",), "4")
    config.path.write_text("datasource: other\nsteps: [x]\n")
    with pytest.raises(StoreError, match="was changed by somebody else"):
        save(config, text)
    assert config.path.read_text() == "datasource: other\nsteps: [x]\n"
    config.path.unlink()
    with pytest.raises(StoreError, match="was removed by somebody else"):
        save(config, text)
    assert not config.path.exists()


def test_a_link_stays_a_link_and_the_file_behind_it_is_written(config, tmp_path, warm_commands):
    real = tmp_path / "real.yaml"
    config.path.rename(real)
    config.path.symlink_to(real)
    text = config.with_value(("replicates",), "4")
    assert save(config, text) == []
    assert config.path.is_symlink()
    assert real.read_text() == text


def test_what_the_modules_print_does_not_disturb_and_what_they_break_is_told(config, warm_commands):
    steps = config.path.with_name("steps.py")
    steps.write_text("print('[{]')\n" + steps.read_text())
    assert save(config, config.with_value(("replicates",), "4")) == []
    steps.write_text("import os; os._exit(3)\n")
    config = ConfigFile(config.path)
    with pytest.raises(StoreError, match="the check failed, and nothing was written"):
        save(config, config.with_value(("replicates",), "5"))


def test_what_lies_in_the_working_directory_is_not_imported_by_the_check(config):
    Path("yaml.py").write_text("raise SystemExit('not this one')\n")
    assert save(config, config.with_value(("replicates",), "4")) == []


def test_a_full_disk_is_told_and_the_file_stays_as_it_is(config, full_disk, warm_commands):
    before = config.path.read_text()
    files = sorted(config.path.parent.iterdir())
    with full_disk(), pytest.raises(StoreError, match=r"config.yaml cannot be written"):
        save(config, config.with_value(("replicates",), "4"))
    assert config.path.read_text() == before
    assert sorted(config.path.parent.iterdir()) == files
