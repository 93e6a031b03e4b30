"""The git repository around the code: what is checked out, and what has changed since."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crystallize.store.git import Changes, find_checkout

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def commit_of(folder: Path) -> str | None:
    checkout = find_checkout(folder)
    return None if checkout is None else checkout.commit


def repository(folder: Path) -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return folder


def test_the_commit_of_a_branch_is_found_from_an_inner_folder(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "refs" / "heads").mkdir(parents=True)
    (top / ".git" / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    (top / "inner").mkdir()
    assert commit_of(top / "inner") == COMMIT


def test_the_commit_of_a_packed_branch_is_found(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "packed-refs").write_text(
        f"# pack-refs\n{'f' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n"
    )
    assert commit_of(top) == COMMIT


def test_a_detached_head_is_its_own_commit(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "HEAD").write_text(f"{COMMIT}\n")
    assert commit_of(top) == COMMIT


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
    assert commit_of(tree) == COMMIT


def test_a_branch_without_commits_has_none(tmp_path: Path) -> None:
    assert commit_of(repository(tmp_path / "top")) is None


@pytest.mark.parametrize("odd", [b"\xff\xfe", b"ref: refs/heads/\xff", b"ref: a\0b", b"ref: /", b""])
@pytest.mark.parametrize("file", ["HEAD", "commondir", "packed-refs", "refs/heads/main"])
def test_what_is_no_text_in_a_repository_names_no_commit_and_raises_nothing(
    tmp_path: Path, file: str, odd: bytes
) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "refs" / "heads").mkdir(parents=True)
    (top / ".git" / file).write_bytes(odd)
    assert commit_of(top) in (None, odd.decode(errors="replace"))


@pytest.mark.parametrize("reference", ["../secret", "refs/../../secret", "/etc/hostname", "refs/heads/\0"])
def test_a_reference_that_leads_elsewhere_is_not_followed(tmp_path: Path, reference: str) -> None:
    top = repository(tmp_path / "top")
    (top / "secret").write_text(f"{COMMIT}\n")
    (top / ".git" / "HEAD").write_text(f"ref: {reference}\n")
    assert commit_of(top) is None


def test_nothing_but_a_commit_gets_out_of_gits_files(tmp_path: Path) -> None:
    top = repository(tmp_path / "top")
    (top / "secret").write_text("password")
    (top / ".git" / "refs" / "heads").mkdir(parents=True)
    (top / ".git" / "refs" / "heads" / "main").symlink_to(top / "secret")
    (top / ".git" / "packed-refs").write_text("password refs/heads/main\n")
    assert commit_of(top) is None
    (top / ".git" / "HEAD").write_text("password\n")
    assert commit_of(top) is None


@pytest.mark.parametrize(
    "file", [".git", ".git/HEAD", ".git/refs/heads/main", ".git/packed-refs", ".git/commondir"]
)
def test_a_pipe_among_gits_files_does_not_hang(tmp_path: Path, file: str) -> None:
    top = repository(tmp_path / "top")
    (top / ".git" / "refs" / "heads").mkdir(parents=True)
    if file in (".git", ".git/HEAD"):
        shutil.rmtree(top / ".git")
        (top / file).parent.mkdir(exist_ok=True)
    os.mkfifo(top / file)
    assert commit_of(top) is None


# -- changes ----------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a working tree with one commit and nothing changed."""
    top = tmp_path / "project"
    (top / "data").mkdir(parents=True)
    (top / "steps.py").write_text("RATE = 1\n")
    (top / "data" / "table.csv").write_text("1,2\n")
    (top / ".gitignore").write_text("ignored.py\n")
    git(top, "init", "--quiet")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "--message", "Begin")
    return top


def git(top: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(
        ["git", *who, *arguments], cwd=top, check=True, stdin=subprocess.DEVNULL, capture_output=True
    )


def changes(top: Path) -> str | None:
    return Changes(str(top)).digest()


def test_a_working_tree_as_it_was_committed_has_no_changes(project: Path) -> None:
    assert changes(project) == ""


def _edit(top: Path) -> None:
    (top / "steps.py").write_text("RATE = 2\n")


def _edit_once_more(top: Path) -> None:
    (top / "steps.py").write_text("RATE = 3\n")


def _edit_data(top: Path) -> None:
    (top / "data" / "table.csv").write_text("3,4\n")


def _remove(top: Path) -> None:
    (top / "steps.py").unlink()


def _rename(top: Path) -> None:
    git(top, "mv", "steps.py", "parts.py")


def _add_source(top: Path) -> None:
    (top / "data" / "helpers.py").write_text("1\n")


def _add_other_source(top: Path) -> None:
    (top / "data" / "helpers.py").write_text("2\n")


EDITS = (_edit, _edit_once_more, _edit_data, _remove, _rename, _add_source, _add_other_source)


def test_each_change_of_what_git_tracks_and_each_new_source_file_has_another_hash(project: Path) -> None:
    found = set()
    for edit in EDITS:
        edit(project)
        found.add(changes(project))
        git(project, "reset", "--quiet", "--hard")
        git(project, "clean", "--quiet", "--force")
    assert len(found) == len(EDITS)
    assert found.isdisjoint({"", None})


def _add_ignored(top: Path) -> None:
    (top / "ignored.py").write_text("1\n")


def _add_data(top: Path) -> None:
    (top / "data" / "more.csv").write_text("1\n")


def _add_library(top: Path) -> None:
    (top / ".venv" / "lib" / "site-packages" / "lib").mkdir(parents=True)
    (top / ".venv" / "lib" / "site-packages" / "lib" / "module.py").write_text("1\n")


def _touch(top: Path) -> None:
    os.utime(top / "steps.py", (1, 1))


@pytest.mark.parametrize("edit", [_add_ignored, _add_data, _add_library, _touch])
def test_what_is_no_source_is_no_change(project: Path, edit: Callable[[Path], None]) -> None:
    edit(project)
    assert changes(project) == ""


def test_what_is_staged_is_no_other_change(project: Path) -> None:
    _edit(project)
    _add_source(project)
    before = changes(project)
    git(project, "add", ".")
    assert changes(project) == before


def test_the_same_changes_have_the_same_hash_in_another_clone(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(project), "clone")
    for top in (project, tmp_path / "clone"):
        _edit(top)
        _add_source(top)
    assert changes(project) == changes(tmp_path / "clone")


def test_looking_leaves_the_repository_as_it_is(project: Path) -> None:
    _touch(project)
    before = (project / ".git" / "index").read_bytes()
    changes(project)
    assert (project / ".git" / "index").read_bytes() == before


def test_without_git_and_in_a_damaged_repository_nothing_is_known(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".git" / "index").write_bytes(b"no index")
    assert changes(project) is None
    monkeypatch.setenv("PATH", "")
    assert changes(project) is None


def test_looks_that_follow_each_other_at_once_are_one(project: Path) -> None:
    look = Changes.since_commit(str(project))
    assert Changes.since_commit(str(project)) is look
    assert Changes.since_commit(str(project.parent)) is not look
