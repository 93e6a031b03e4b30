"""The example that reads a table and writes a report."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "report"
STEP = Path("data", "sleep", "v0", "replicate_0")


@pytest.fixture(scope="module")
def run(warm_interpreter):
    """Return a function that runs the example in a folder."""

    def call(folder):
        done = warm_interpreter.crystallize(
            *("run", EXAMPLE / "experiments" / "sleep"),
            cwd=folder,
            environment={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return call


@pytest.fixture(scope="module")
def finished(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    run(folder)
    return folder


def report(folder, condition):
    return (folder / STEP / condition / "Write_ReportStep" / "report.md").read_text()


def results(folder, condition):
    path = folder / "data" / "sleep" / "v0" / condition / "results.json"
    return json.loads(path.read_text())["metrics"]


def test_data_are_those_of_student():
    table = np.loadtxt(EXAMPLE / "experiments" / "sleep" / "sleep.csv", delimiter=",", skiprows=1)
    first, second = table[:, 1], table[:, 2]
    # As Student (1908) gives them: means 0.75 and 2.33; mean 1.58 and standard deviation 1.17 of the differences.
    assert (first.mean(), second.mean()) == pytest.approx((0.75, 2.33))
    assert (second - first).mean() == pytest.approx(1.58)
    assert (second - first).std() == pytest.approx(1.17, abs=0.005)


def test_the_report_says_what_was_found(finished):
    page = report(finished, "baseline")
    assert page.startswith(
        "# Does the second drug give more sleep?\n\nYes: the mean of the differences is 1.58 hours,"
    )
    assert page.count("\n| ") == 1 + 10
    assert "| 9 | +4.6 |" in page
    assert "the median of the differences is 1.30 hours" in report(finished, "median")


def test_the_interval_is_that_of_the_bootstrap(finished):
    metrics = results(finished, "baseline")
    (estimate,), (low,), (high,) = metrics["estimate"], metrics["low"], metrics["high"]
    assert estimate == pytest.approx(1.58)
    # A percentile interval of a mean is close to the normal one with the bootstrap's standard error sd / sqrt(n).
    error = 1.1668 / np.sqrt(10)
    assert (low, high) == pytest.approx((1.58 - 1.96 * error, 1.58 + 1.96 * error), abs=0.15)


def test_a_second_run_writes_the_same_bytes(run, finished, tmp_path):
    run(tmp_path)
    for condition in ("baseline", "median"):
        assert report(tmp_path, condition) == report(finished, condition)


def test_the_readme_shows_the_report(finished):
    readme = (EXAMPLE / "README.md").read_text()
    beginning = report(finished, "baseline").partition("| 2 |")[0]
    assert beginning in readme
