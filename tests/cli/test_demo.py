"""``crystallize demo``: the diabetes example, copied and run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import crystallize

REPOSITORY = Path(crystallize.__file__).parent.parent
EXAMPLE = REPOSITORY / "docs" / "examples" / "diabetes"
LEFT_BY_RUNS = {"__pycache__", "data", ".cache"}


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not LEFT_BY_RUNS.intersection(path.relative_to(folder).parts)
    }


def test_the_example_is_copied_and_run_in_a_new_folder(command):
    done = command("demo")
    folder = Path("crystallize-demo")
    assert [path.name for path in Path().iterdir()] == [folder.name]
    assert files_in(folder) == files_in(EXAMPLE)
    summary, _, verdicts = done.stdout.partition("hypothesis ")
    rows = [line.split() for line in summary.splitlines() if line.startswith("rmse ")]
    assert [row[1] for row in rows] == ["baseline", *(f"ridge_{penalty}" for penalty in (1, 3, 10, 30, 100))]
    assert float(rows[3][3]) < float(rows[0][3]), "ridge regression should predict better"
    assert "best is 'ridge_10'." in verdicts
    assert {path.name for path in (folder / "data").iterdir()} >= {"prepare", "penalties"}


def test_it_runs_in_the_middle_of_a_project_with_its_own_root_and_what_it_says_to_do_next_works(command):
    Path("pyproject.toml").write_text('[tool.crystallize]\nroot = "lab"\n')
    told = command("demo", "my demo").stdout
    assert Path("my demo/data/penalties").is_dir()
    assert "cd 'my demo'" in told
    proposals = [line.split()[1:] for line in told.splitlines() if line.startswith("  crystallize ")]
    assert [proposal[0] for proposal in proposals] == ["list", "graph", "run"]
    for proposal in proposals:
        extra = ("--replicates", "2") if proposal[0] == "run" else ()
        command(*proposal, *extra, cwd=Path("my demo"))


def test_it_can_be_copied_only(command):
    done = command("demo", "deep/er", "--no-run")
    assert files_in(Path("deep/er")) == files_in(EXAMPLE)
    assert not Path("deep/er/data").exists()
    assert done.stdout == "Copied the diabetes example to deep/er\n"
    command("check", *(path.parent for path in Path("deep/er").rglob("config.yaml")))


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file"])
def test_what_exists_is_left_as_it_is(command, kind):
    target = Path("mine")
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
    if kind == "folder":
        (target / "config.yaml").write_text("mine")
    before = files_in(Path())
    assert "mine' exists already" in command("demo", "mine", code=2).stderr
    assert files_in(Path()) == before


def test_an_installed_package_carries_the_example(command, tmp_path):
    site = tmp_path / "site"
    shutil.copytree(
        REPOSITORY / "crystallize",
        site / "crystallize",
        ignore=shutil.ignore_patterns("__pycache__", "examples"),
    )
    shutil.copytree(EXAMPLE, site / "crystallize" / "examples" / "diabetes")
    (site / "crystallize" / "examples" / "diabetes" / "installed.txt").write_text("yes")
    command("demo", "copy", "--no-run", PYTHONPATH=os.fspath(site))
    assert Path("copy/installed.txt").is_file()


def test_a_run_that_cannot_start_is_told_and_the_copy_stays(command):
    done = command("demo", code=2, CRYSTALLIZE_DISABLE_PLUGINS="artifact")
    assert "stores nothing" in done.stderr
    assert "Go on with" not in done.stdout
    assert files_in(Path("crystallize-demo")) == files_in(EXAMPLE)
