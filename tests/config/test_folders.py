"""Which experiments there are, and which one a name means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crystallize.config.errors import ConfigError
from crystallize.config.folders import experiments_root, find_folders, resolve
from crystallize.errors import UnknownNameError

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def in_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_experiments_are_looked_for_in_the_folder_of_that_name(tmp_path: Path) -> None:
    assert experiments_root() == tmp_path / "experiments"


def test_the_nearest_pyproject_may_name_another_root(tmp_path: Path) -> None:
    text = '[tool.crystallize]\nroot = "studies/all"\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8-sig")
    inner = tmp_path / "src" / "deep"
    inner.mkdir(parents=True)
    assert experiments_root() == tmp_path / "studies" / "all"
    assert experiments_root(inner) == tmp_path / "studies" / "all"
    (tmp_path / "src" / "pyproject.toml").write_text("[project]\n")
    assert experiments_root(inner) == inner / "experiments"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("[tool.crystallize]\nroot = 3\n", "tool.crystallize.root", "found 3"),
        ("[tool.crystallize]\nroot = ''\n", "tool.crystallize.root", "found ''"),
        ('[tool.crystallize]\nroot = "a\\u0000b"\n', "tool.crystallize.root", "found 'a\\x00b'"),
        (
            "[project]\nname = 'x'\n\n[tool.crystallize]\nrot = 'x'\n",
            "tool.crystallize.rot",
            "unknown key 'rot'",
        ),
        ("[tool]\ncrystallize = 3\n", "tool.crystallize", "found 3"),
        ("[tool.crystallize\n", "", "at line 1"),
        (f"a = {'[' * 20_000}", "", "cannot be read"),
        ("#" * (1 << 20) + "\n", "", "at most 1048576 are read"),
    ],
)
def test_a_pyproject_with_a_mistake_is_named(tmp_path: Path, text: str, key: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        experiments_root()
    (problem,) = caught.value.problems
    assert problem.file == tmp_path / "pyproject.toml"
    assert problem.key == key
    assert message in problem.message
    assert problem.hint


def test_all_folders_are_found_in_order_and_broken_ones_have_their_folders_name(
    make_folder: MakeFolder,
) -> None:
    make_folder("b", "name: beta\ndatasource: x\nsteps: [y]\n")
    make_folder("a/inner")
    make_folder("c", "a: [1\n")
    make_folder("d", "name: [3]\n")
    make_folder(".hidden/e")
    make_folder("__pycache__/f")
    found = find_folders()
    assert [folder.name for folder in found] == ["inner", "beta", "c", "d"]
    assert all(folder.config == folder.path / "config.yaml" for folder in found)
    assert all(folder.path.is_absolute() for folder in found)


def test_where_there_is_no_root_there_are_no_experiments(tmp_path: Path) -> None:
    assert find_folders() == []
    assert find_folders(tmp_path / "nowhere") == []


def test_a_name_a_folder_and_a_file_mean_the_same(make_folder: MakeFolder) -> None:
    folder = make_folder("study", "name: scaling\ndatasource: x\nsteps: [y]\n")
    for given in ("scaling", "study", str(folder), "experiments/study", "experiments/study/config.yaml"):
        assert resolve(given) == ("scaling", folder, folder / "config.yaml")


def test_a_name_counts_more_than_a_folder_of_that_name(make_folder: MakeFolder) -> None:
    make_folder("one", "name: two\ndatasource: x\nsteps: [y]\n")
    make_folder("two", "name: three\ndatasource: x\nsteps: [y]\n")
    assert resolve("two").path.name == "one"


def test_an_unknown_name_comes_with_the_nearest_one(make_folder: MakeFolder) -> None:
    make_folder("prepare")
    make_folder("compare")
    with pytest.raises(UnknownNameError, match=r"'prepar'.*Did you mean 'prepare'\?.*'compare', 'prepare'"):
        resolve("prepar")


def test_with_no_experiments_at_all_the_place_is_named() -> None:
    with pytest.raises(UnknownNameError, match="There are none in experiments"):
        resolve("x")


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownNameError, match=r"the folder 'empty' has no config\.yaml"):
        resolve("empty")


def test_a_name_that_two_have_is_an_error_that_names_both(make_folder: MakeFolder) -> None:
    one = make_folder("x/one", "name: same\ndatasource: x\nsteps: [y]\n")
    two = make_folder("y/two", "datasource: x\nname: same\nsteps: [y]\n")
    with pytest.raises(ConfigError) as caught:
        resolve("same")
    first, second = caught.value.problems
    assert (first.file, first.line) == (one / "config.yaml", 1)
    assert (second.file, second.line) == (two / "config.yaml", 2)
    assert resolve(str(one)).path == one
