from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import typer
from crystallize.testing import RunExperiment
from typer.testing import CliRunner

from {{ cookiecutter.__module }} import {{ cookiecutter.__function }}


def called(*arguments: object) -> str:
    app = typer.Typer()
    app.command()({{ cookiecutter.__function }})
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_stored_run_is_listed(run_experiment: RunExperiment) -> None:
    path = run_experiment(replicates=3).path
    assert path is not None
    (line,) = called("--root", path.parent.parent).splitlines()
    assert line.startswith(str(path))
    assert line.endswith("complete     3 replicates")


def test_programs_get_json_with_the_newest_run_first(run_experiment: RunExperiment) -> None:
    paths = [str(run_experiment(name=name).path) for name in ("first", "second")]
    runs = json.loads(called("--root", Path(paths[0]).parent.parent, "--json"))
    assert [run["path"] for run in runs] == paths[::-1]
    assert {(run["status"], run["replicates"]) for run in runs} == {("complete", 2)}


def test_a_run_with_damaged_metadata_is_listed_as_such(tmp_path: Path) -> None:
    folder = tmp_path / "broken" / "v0"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"status": "comp')
    assert "damaged" in called("--root", tmp_path)


def test_where_nothing_is_stored_it_says_so(tmp_path: Path) -> None:
    assert called("--root", tmp_path) == f"No run is stored in {tmp_path}.\n"


def test_crystallize_finds_it_by_its_name() -> None:
    (entry,) = entry_points(group="{{ cookiecutter.__group }}", name="{{ cookiecutter.__entry }}")
    assert entry.load() is {{ cookiecutter.__function }}
