"""The example of a plugin, installed as a distribution."""

from __future__ import annotations

import csv
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "plugin"
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]

EXPERIMENT = """
from crystallize import Experiment, Pipeline, Treatment, pipeline_step

@pipeline_step()
def divide(data, ctx, *, by=2):
    value = 12 / (by + ctx["replicate"])
    return value, {"value": value}

experiment = Experiment(
    name="division",
    datasource=lambda: None,
    pipeline=Pipeline([divide()]),
    treatments=[Treatment("minus", {"by": -1})],
    execution=sys.argv[1],
)
"""


@pytest.fixture
def installed(tmp_path):
    """Return a folder for PYTHONPATH with the distribution in it, as pip would leave it."""
    site = tmp_path / "site"
    info = site / f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"
    )
    (info / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in PROJECT["entry-points"].items()
        )
    )
    shutil.copy(FOLDER / "crystallize_csvlog.py", site)
    return {"PYTHONPATH": str(site)}


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_installed_it_writes_each_value_of_any_experiment(run_python, installed, tmp_path, execution):
    run_python(f"import sys\n{EXPERIMENT}\nexperiment.run(replicates=3)", execution, env=installed)
    heading, *rows = rows_of(tmp_path / "outcomes.csv")
    assert heading == ["experiment", "replicate", "condition", "metric", "value"]
    assert sorted(rows) == [
        ["division", "0", "baseline", "value", "6.0"],
        ["division", "0", "minus", "value", "-12.0"],
        ["division", "1", "baseline", "value", "4.0"],
        ["division", "1", "minus", "error", "division by zero"],
        ["division", "2", "baseline", "value", "3.0"],
        ["division", "2", "minus", "value", "12.0"],
    ]


def test_a_second_run_begins_the_file_anew(run_python, installed, tmp_path):
    twice = f"import sys\n{EXPERIMENT}\nfor _ in range(2): experiment.run(replicates=1)"
    run_python(twice, "serial", env=installed)
    assert len(rows_of(tmp_path / "outcomes.csv")) == 3


def test_a_passed_instance_replaces_the_installed_one(run_python, installed, tmp_path):
    code = f"""
import sys
from crystallize_csvlog import CsvLog
{EXPERIMENT.replace("execution=", "plugins=[CsvLog('mine.csv')], execution=")}
experiment.run(replicates=1)
"""
    run_python(code, "serial", env=installed)
    assert (tmp_path / "mine.csv").is_file()
    assert not (tmp_path / "outcomes.csv").exists()


def test_the_command_line_lists_it(run_python, installed):
    command = Path(sys.executable).with_name("crystallize")
    code = f"import subprocess; subprocess.run([{str(command)!r}, 'plugins', 'list'], check=True)"
    listed = run_python(code, env={**installed, "COLUMNS": "200"}).stdout
    (line,) = (line for line in listed.splitlines() if line.startswith("csvlog"))
    assert line.split()[:5] == ["csvlog", "plugin", "active", "crystallize-csvlog", "1.0"]
    assert "before_run after_replicate" in line


@pytest.mark.parametrize(
    ("setting", "files"), [("{path: mine.csv}", {"mine.csv"}), ("false", set()), ("true", {"outcomes.csv"})]
)
def test_config_yaml_configures_it_or_switches_it_off(run_python, installed, tmp_path, setting, files):
    folder = tmp_path / "experiments" / "one"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"datasource: one\nsteps: [keep]\nplugins: {{csvlog: {setting}}}\n")
    (folder / "datasources.py").write_text(
        "from crystallize import data_source\n@data_source\ndef one():\n    return 1\n"
    )
    (folder / "steps.py").write_text(
        "from crystallize import pipeline_step\n"
        "@pipeline_step()\ndef keep(data):\n    return data, {'value': data}\n"
    )
    run_python(
        "from crystallize import Experiment; Experiment.from_yaml('experiments/one').run()", env=installed
    )
    assert {path.name for path in tmp_path.glob("*.csv")} == files
