from __future__ import annotations

import csv

import pytest
from crystallize import Result
from crystallize.testing import RunExperiment

from {{ cookiecutter.__module }} import {{ cookiecutter.__class }}


@pytest.mark.parametrize("execution", ["serial", "thread", "process"])
def test_it_counts_the_same_under_every_strategy(run_experiment: RunExperiment, execution: str) -> None:
    plugin = {{ cookiecutter.__class }}()
    run_experiment(plugin, replicates=3, execution=execution)
    assert plugin.calls == {"ScaleStep": 6, "TotalStep": 6}  # the baseline and one treatment
    assert set(plugin.seconds) == {"ScaleStep", "TotalStep"}


def test_the_sums_are_written_beside_the_results(run_experiment: RunExperiment) -> None:
    header, *rows = written(run_experiment({{ cookiecutter.__class }}("times.csv")), "times.csv")
    assert header == ["step", "calls", "seconds"]
    assert sorted(row[:2] for row in rows) == [["ScaleStep", "4"], ["TotalStep", "4"]]
    assert all(float(row[2]) >= 0 for row in rows)


def test_a_second_run_counts_anew(run_experiment: RunExperiment) -> None:
    plugin = {{ cookiecutter.__class }}()
    for _ in range(2):
        run_experiment(plugin, replicates=1)
    assert plugin.calls == {"ScaleStep": 2, "TotalStep": 2}


def test_installed_it_takes_part_in_every_experiment(run_experiment: RunExperiment) -> None:
    result = run_experiment(installed="{{ cookiecutter.__entry }}")
    assert len(written(result, "step_times.csv")) == 3


def written(result: Result, file_name: str) -> list[list[str]]:
    assert result.path is not None
    with (result.path / file_name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))
