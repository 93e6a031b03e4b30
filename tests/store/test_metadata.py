from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from crystallize import Experiment
from crystallize.errors import NewerSchemaError, StoreError
from crystallize.store.layout import METADATA
from crystallize.store.metadata import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    RUNNING,
    SCHEMA_VERSION,
    is_complete,
    mark_interrupted,
    read_metadata,
    write_metadata,
)


def test_a_folder_without_metadata_has_none(tmp_path: Path) -> None:
    assert read_metadata(tmp_path / "missing") is None
    assert not is_complete(tmp_path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_metadata(tmp_path, {"name": "exp", "odd": {1, 2} and Path("x")}, RUNNING)
    assert read_metadata(tmp_path) == {
        "schema_version": SCHEMA_VERSION,
        "name": "exp",
        "odd": repr(Path("x")),
        "status": RUNNING,
    }


def test_a_change_of_the_file_is_seen(tmp_path: Path) -> None:
    metadata: dict[str, object] = {}
    write_metadata(tmp_path, metadata, RUNNING)
    assert not is_complete(tmp_path)
    write_metadata(tmp_path, metadata, FINISHED)
    assert is_complete(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]"])
def test_damaged_metadata_are_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / METADATA).write_bytes(content)
    with pytest.raises(StoreError, match=METADATA):
        read_metadata(tmp_path)
    assert not is_complete(tmp_path)


NO_METADATA = [
    "{}",
    '{"name": "exp"}',
    '{"schema_version": "1"}',
    '{"schema_version": true}',
    '{"schema_version": 0}',
    "[1]",
]


@pytest.mark.parametrize("content", NO_METADATA)
def test_json_of_somebody_else_is_told_as_such(tmp_path: Path, content: str) -> None:
    (tmp_path / METADATA).write_text(content)
    with pytest.raises(
        StoreError, match="not the metadata of a run: it is no JSON object with a schema_version"
    ) as caught:
        read_metadata(tmp_path)
    assert caught.value.where == str(tmp_path / METADATA)


WRONG = {
    "status": ["a"],
    "conditions": {"baseline": 5},
    "replicates": -3,
    "failed_outcomes": "x",
    "artifact_bytes": True,
    "duration": "long",
    "master_seed": 1.5,
    "plugins": [{"name": 7}],
    "code": [],
    "environment": None,
    "execution": {"settings": 3},
    "signature": {"steps": 3},
    "pipeline": "p",
    "command": [1],
}


@pytest.mark.parametrize("key", WRONG)
def test_an_entry_that_is_not_what_it_should_be_is_told(tmp_path: Path, key: str) -> None:
    path = Experiment(lambda: 0, [lambda data: data], name="exp").run(replicates=1).path
    assert path is not None
    metadata = read_metadata(path) or {}
    assert metadata.keys() >= WRONG.keys(), "all that a run writes is as it should be"
    (path / METADATA).write_text(json.dumps(metadata | {key: WRONG[key]}))
    with pytest.raises(
        StoreError, match=f"the metadata of a run are damaged: '{key}[a-z.]*' is not a"
    ) as caught:
        read_metadata(path)
    assert caught.value.where == str(path / METADATA)


def test_metadata_of_a_newer_schema_are_refused_with_file_versions_and_what_to_do(tmp_path: Path) -> None:
    write_metadata(tmp_path, {"name": "exp"}, FINISHED)
    text = (tmp_path / METADATA).read_text()
    (tmp_path / METADATA).write_text(text.replace(f": {SCHEMA_VERSION},", f": {SCHEMA_VERSION + 1},"))
    with pytest.raises(NewerSchemaError) as caught:
        read_metadata(tmp_path)
    message = str(caught.value)
    assert f"schema version {SCHEMA_VERSION + 1}, and this Crystallize reads {SCHEMA_VERSION}" in message
    assert str(tmp_path / METADATA) in message
    assert "pip install --upgrade crystallize-lab" in message


def test_each_entry_has_a_line_of_its_own(tmp_path: Path) -> None:
    write_metadata(tmp_path, {"a": [1, 2], "b": {"c": 1}}, RUNNING)
    assert (tmp_path / METADATA).read_text().splitlines()[2] == '  "a": [1, 2],'
    assert json.loads((tmp_path / METADATA).read_text())["b"] == {"c": 1}


# -- what is no plain file --------------------------------------------------------------------------------------


def test_metadata_that_are_no_plain_file_are_an_error_that_says_so(tmp_path: Path) -> None:
    write_metadata(tmp_path / "outside", {"secret": 1}, FINISHED)
    for number, (make, kind) in enumerate(
        {
            os.mkfifo: "a pipe",
            os.mkdir: "a folder",
            lambda path: path.symlink_to(tmp_path / "outside" / METADATA): "a link",
        }.items()
    ):
        run = tmp_path / str(number)
        run.mkdir()
        make(run / METADATA)
        with pytest.raises(StoreError, match=f"it is {kind}, not a plain file"):
            read_metadata(run)


def test_metadata_larger_than_any_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / METADATA).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match="1099511627776 bytes"):
        read_metadata(tmp_path)


def test_nested_metadata_are_an_error(tmp_path: Path) -> None:
    (tmp_path / METADATA).write_text('{"a": ' + "[" * 200_000)
    with pytest.raises(StoreError, match="nested too deep"):
        read_metadata(tmp_path)


def test_only_a_run_that_claims_to_be_running_is_marked_as_interrupted(tmp_path: Path) -> None:
    for status in (RUNNING, FAILED, FINISHED):
        write_metadata(tmp_path, {"status": status, "finished": None}, status)
        mark_interrupted(tmp_path)
        metadata = read_metadata(tmp_path)
        assert metadata is not None
        assert metadata["status"] == (INTERRUPTED if status == RUNNING else status)
        assert (metadata["finished"] is None) == (status == RUNNING)
