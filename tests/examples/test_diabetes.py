"""The diabetes example: its data, its model, and the run as a user starts it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crystallize import Artifact, standalone_context

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "diabetes"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("diabetes_example", FOLDER / "diabetes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table():
    return np.loadtxt(FOLDER / "diabetes.csv", delimiter=",", skiprows=1)


def run(folder, replicates):
    return subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / "diabetes.py"), "--replicates", str(replicates)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parents[2])},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    return folder, run(folder, 8)


def fit(example, table, penalty):
    step = example.fit(coefficients=Artifact("coefficients.npy", loader="npy"), penalty=penalty)
    ctx = standalone_context()
    ctx.artifacts.sink = None  # nothing is stored
    with ctx.in_force():
        return step((table, table), ctx)[0]


def test_data_are_the_442_patients_of_efron_and_others(table):
    header = (FOLDER / "diabetes.csv").read_text().splitlines()[0]
    assert header == "AGE,SEX,BMI,BP,S1,S2,S3,S4,S5,S6,Y"
    assert table.shape == (442, 11)
    # Means and extremes as published with the data.
    assert table.mean(axis=0) == pytest.approx(
        [48.5181, 1.4683, 26.3758, 94.6470, 189.1403, 115.4391, 49.7885, 4.0702, 4.6414, 91.2602, 152.1335],
        abs=5e-5,
    )
    assert table.min(axis=0) == pytest.approx([19, 1, 18, 62, 97, 41.6, 22, 2, 3.2581, 58, 25])
    assert table.max(axis=0) == pytest.approx([79, 2, 42.2, 133, 301, 242.4, 99, 9.09, 6.107, 124, 346])


def test_without_penalty_the_model_is_the_published_least_squares_fit(example, table):
    # Coefficients of lm(Y ~ ., diabetes) in R.
    published = [
        -334.567,
        -0.0364,
        -22.8596,
        5.6030,
        1.1168,
        -1.0900,
        0.7465,
        0.3720,
        6.5338,
        68.4831,
        0.2801,
    ]
    model = fit(example, table, 0.0)
    assert model == pytest.approx(published, abs=6e-4)
    design = np.column_stack([np.ones(442), table[:, :-1]])
    assert model == pytest.approx(np.linalg.lstsq(design, table[:, -1], rcond=None)[0], rel=1e-8)


def test_penalised_model_solves_the_augmented_least_squares_problem(example, table):
    # Ridge regression is least squares with sqrt(penalty) rows added (Hoerl and Kennard 1970).
    penalty = 10.0
    model = fit(example, table, penalty)
    x, y = table[:, :-1], table[:, -1]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    rows = np.vstack([z, np.sqrt(penalty) * np.eye(10)])
    target = np.concatenate([y - y.mean(), np.zeros(10)])
    assert model[1:] * x.std(axis=0) == pytest.approx(np.linalg.lstsq(rows, target, rcond=None)[0], rel=1e-8)
    assert model[0] + x.mean(axis=0) @ model[1:] == pytest.approx(y.mean())


def test_run_tells_what_it_does_and_what_came_out(first_run):
    _, out = first_run
    lines = out.splitlines()
    assert lines[0].startswith(
        "Least squares against 5 penalties of ridge regression, on 442 diabetes patients"
    )
    assert lines[1].startswith("8 times, learn from 40 drawn at random")
    assert [line.split()[1] for line in lines if line.startswith("rmse ")] == [
        "baseline",
        "ridge_1",
        "ridge_3",
        "ridge_10",
        "ridge_30",
        "ridge_100",
    ]
    assert "after Holm's correction for all penalties." in lines[-2]
    assert lines[-1].startswith("Results and fitted coefficients: ")
    assert Path(lines[-1].partition(": ")[2]).is_dir()


def test_results_and_artifacts_are_those_of_the_splits_that_the_seed_gives(first_run, example, table):
    version = first_run[0] / "data" / "diabetes" / "v0"
    assert len(list(version.glob("replicate_*/*/FitStep/coefficients.npy"))) == 8 * 6
    for condition, penalty in (("baseline", 0.0), ("ridge_10", 10.0)):
        errors = json.loads((version / condition / "results.json").read_text())["metrics"]["rmse"]
        assert len(errors) == 8
        for replicate, stated in enumerate(errors):
            ctx = standalone_context(replicate=replicate, seed=2004)
            train, test = example.split()(table, ctx)
            assert (len(train), len(test)) == (40, 402)
            model = np.load(version / f"replicate_{replicate}" / condition / "FitStep" / "coefficients.npy")
            assert model == pytest.approx(fit(example, train, penalty), rel=1e-9)
            design = np.column_stack([np.ones(402), test[:, :-1]])
            assert stated == pytest.approx(np.sqrt(np.mean((test[:, -1] - design @ model) ** 2)), rel=1e-12)


def test_second_run_gives_the_same_bytes(first_run, tmp_path):
    folder, _ = first_run
    run(tmp_path, 8)
    compared = 0
    for path in (folder / "data" / "diabetes" / "v0").glob("**/*"):
        if path.name in {"results.json", "coefficients.npy"}:
            assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()
            compared += 1
    assert compared == 6 + 6 * 8


def test_wrong_arguments_are_told_before_any_work(tmp_path):
    done = subprocess.run(
        [sys.executable, str(FOLDER / "diabetes.py"), "--replicates", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "replicates" in done.stderr
    assert not (tmp_path / "data").exists()
