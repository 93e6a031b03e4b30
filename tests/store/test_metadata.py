from __future__ import annotations

import json
from pathlib import Path

import pytest

from crystallize.errors import StoreError
from crystallize.store.layout import METADATA
from crystallize.store.metadata import (
    FINISHED,
    RUNNING,
    git_commit,
    is_complete,
    read_metadata,
    write_metadata,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_folder_without_metadata_has_none(tmp_path: Path) -> None:
    assert read_metadata(tmp_path / "missing") is None
    assert not is_complete(tmp_path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_metadata(tmp_path, {"name": "exp", "odd": {1, 2} and Path("x")}, RUNNING)
    assert read_metadata(tmp_path) == {"name": "exp", "odd": repr(Path("x")), "status": RUNNING}


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


def test_each_entry_has_a_line_of_its_own(tmp_path: Path) -> None:
    write_metadata(tmp_path, {"a": [1, 2], "b": {"c": 1}}, RUNNING)
    assert (tmp_path / METADATA).read_text().splitlines()[1] == '  "a": [1, 2],'
    assert json.loads((tmp_path / METADATA).read_text())["b"] == {"c": 1}


def repository(folder: Path) -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return folder


def test_the_commit_of_a_branch_is_found_from_an_inner_folder(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "refs" / "heads").mkdir(parents=True)
    (top / ".git" / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    (top / "inner").mkdir()
    assert git_commit(top / "inner") == COMMIT


def test_the_commit_of_a_packed_branch_is_found(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "packed-refs").write_text(
        f"# pack-refs\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n"
    )
    assert git_commit(top) == COMMIT


def test_a_detached_head_is_its_own_commit(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "HEAD").write_text(f"{COMMIT}\n")
    assert git_commit(top) == COMMIT


def test_the_commit_of_a_linked_working_tree_is_found(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    linked = top / ".git" / "worktrees" / "linked"
    linked.mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/side\n")
    (linked / "commondir").write_text("../..\n")
    (top / ".git" / "refs" / "heads").mkdir(parents=True)
    (top / ".git" / "refs" / "heads" / "side").write_text(f"{COMMIT}\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {linked}\n")
    assert git_commit(tree) == COMMIT


def test_a_branch_without_commits_has_none(tmp_path: Path) -> None:
    assert git_commit(repository(tmp_path / "top")) is None


@pytest.mark.parametrize("odd", [b"\xff\xfe", b"ref: refs/heads/\xff", b"ref: a\0b", b"ref: /", b""])
@pytest.mark.parametrize("file", ["HEAD", "commondir", "packed-refs", "refs/heads/main"])
def test_what_is_no_text_in_a_repository_names_no_commit_and_raises_nothing(
    tmp_path: Path, file: str, odd: bytes
) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "refs" / "heads").mkdir(parents=True)
    (top / ".git" / file).write_bytes(odd)
    assert git_commit(top) in (None, odd.decode(errors="replace"))
