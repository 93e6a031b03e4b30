"""The diabetes example: its data, its models, its graph, and the run as a user starts it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from crystallize import Experiment, ExperimentGraph, standalone_context

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "diabetes"
EXPERIMENTS = EXAMPLE / "experiments"
CONDITIONS = ["baseline", "ridge_1", "ridge_3", "ridge_10", "ridge_30", "ridge_100"]


@pytest.fixture(scope="module")
def table():
    return np.loadtxt(EXPERIMENTS / "prepare" / "diabetes.csv", delimiter=",", skiprows=1)


@pytest.fixture(scope="module")
def run(warm_interpreter):
    """Return a function that runs an experiment: ``run(folder, name, *options) -> the ended process``."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

    def call(folder, name, *options):
        return warm_interpreter.crystallize(
            "run", EXPERIMENTS / name, *options, cwd=folder, environment=environment
        )

    return call


@pytest.fixture(scope="module")
def first_run(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    done = run(folder, "penalties", "--replicates", "8")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


def version(folder, experiment):
    return folder / "data" / experiment / "v0"


def prepared(folder):
    """Return what `prepare` has published."""
    stored = version(folder, "prepare") / "replicate_0" / "baseline" / "StandardizeStep"
    return np.load(stored / "patients.npy"), json.loads((stored / "units.json").read_text())


def fit(patients, units, penalty):
    """Return intercept and slopes that the example's step finds, in the units of the raw data."""
    experiment = Experiment.from_yaml(EXPERIMENTS / "penalties")
    step = experiment.pipeline.bind(experiment.outputs).steps[1]
    ctx = standalone_context({"penalty": penalty})
    ctx.artifacts.sink = None  # nothing is stored
    with ctx.in_force():
        intercept, slopes, _ = step((patients, patients, units), ctx)
    slopes = slopes / units["deviation"]
    return np.append(intercept - slopes @ units["mean"], slopes)


def test_data_are_the_442_patients_of_efron_and_others(table):
    header = (EXPERIMENTS / "prepare" / "diabetes.csv").read_text().splitlines()[0]
    assert header == "AGE,SEX,BMI,BP,S1,S2,S3,S4,S5,S6,Y"
    assert table.shape == (442, 11)
    # Means and extremes as published with the data.
    assert table.mean(axis=0) == pytest.approx(
        [48.5181, 1.4683, 26.3758, 94.6470, 189.1403, 115.4391, 49.7885, 4.0702, 4.6414, 91.2602, 152.1335],
        abs=5e-5,
    )
    assert table.min(axis=0) == pytest.approx([19, 1, 18, 62, 97, 41.6, 22, 2, 3.2581, 58, 25])
    assert table.max(axis=0) == pytest.approx([79, 2, 42.2, 133, 301, 242.4, 99, 9.09, 6.107, 124, 346])


def test_what_prepare_publishes_is_standardised_and_can_be_turned_back(first_run, table):
    patients, units = prepared(first_run[0])
    measured = patients[:, :-1]
    assert measured.mean(axis=0) == pytest.approx(np.zeros(10), abs=1e-12)
    assert measured.std(axis=0) == pytest.approx(np.ones(10))
    assert units["columns"] == ["AGE", "SEX", "BMI", "BP", "S1", "S2", "S3", "S4", "S5", "S6"]
    assert measured * units["deviation"] + units["mean"] == pytest.approx(table[:, :-1])
    assert (patients[:, -1] == table[:, -1]).all()


def test_without_penalty_the_model_is_the_published_least_squares_fit(first_run, table):
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
    model = fit(*prepared(first_run[0]), 0.0)
    assert model == pytest.approx(published, abs=6e-4)
    design = np.column_stack([np.ones(442), table[:, :-1]])
    assert model == pytest.approx(np.linalg.lstsq(design, table[:, -1], rcond=None)[0], rel=1e-8)


def test_penalised_model_solves_the_augmented_least_squares_problem(first_run, table):
    # Ridge regression is least squares with sqrt(penalty) rows added (Hoerl and Kennard 1970).
    penalty = 10.0
    model = fit(*prepared(first_run[0]), penalty)
    x, y = table[:, :-1], table[:, -1]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    rows = np.vstack([z, np.sqrt(penalty) * np.eye(10)])
    target = np.concatenate([y - y.mean(), np.zeros(10)])
    assert model[1:] * x.std(axis=0) == pytest.approx(np.linalg.lstsq(rows, target, rcond=None)[0], rel=1e-8)
    assert model[0] + x.mean(axis=0) @ model[1:] == pytest.approx(y.mean())


def test_run_shows_what_is_done_every_condition_the_verdict_and_where_the_results_are(first_run):
    _, done = first_run
    assert "penalties: 8 replicates under baseline, ridge_1, ridge_3" in done.stderr
    table, _, verdict = done.stdout.partition("\npenalties\n")[2].partition("\nhypothesis ")
    assert [line.split()[1] for line in table.splitlines() if line.startswith("rmse")] == CONDITIONS
    assert verdict.startswith("'ridge_changes_the_error', smaller is better\n")
    assert [line.split()[1] for line in verdict.splitlines() if line.startswith("rmse")] == CONDITIONS[1:]
    assert "No treatment is known to be better than the baseline." in verdict  # from 8 replicates
    assert verdict.rstrip().endswith("data/penalties/v0")


def test_results_and_artifacts_are_those_of_the_splits_that_the_seed_gives(first_run, table):
    folder, _ = first_run
    patients, units = prepared(folder)
    split = Experiment.from_yaml(EXPERIMENTS / "penalties").pipeline.steps[0]
    stored = version(folder, "penalties")
    assert len(list(stored.glob("replicate_*/*/FitStep/coefficients.npy"))) == 8 * 6
    for condition, penalty in (("baseline", 0.0), ("ridge_10", 10.0)):
        errors = json.loads((stored / condition / "results.json").read_text())["metrics"]["rmse"]
        assert len(errors) == 8
        for replicate, stated in enumerate(errors):
            ctx = standalone_context(replicate=replicate, seed=2004)
            train, test, _ = split({"patients": patients, "units": units}, ctx)
            assert (len(train), len(test)) == (40, 402)
            model = np.load(stored / f"replicate_{replicate}" / condition / "FitStep" / "coefficients.npy")
            assert model == pytest.approx(fit(train, units, penalty), rel=1e-9)
            # The coefficients are in the units of the raw data: with them, the raw data give the same errors.
            raw = test[:, :-1] * units["deviation"] + units["mean"]
            residuals = test[:, -1] - model[0] - raw @ model[1:]
            assert stated == pytest.approx(np.sqrt(np.mean(residuals**2)), rel=1e-9)


def test_second_run_gives_the_same_bytes(run, first_run, tmp_path):
    folder, _ = first_run
    assert run(tmp_path, "penalties", "--replicates", "8").returncode == 0
    compared = 0
    for experiment in ("prepare", "penalties"):
        for path in version(folder, experiment).glob("**/*"):
            if path.name in {"results.json", "coefficients.npy", "patients.npy", "units.json"}:
                assert (tmp_path / path.relative_to(folder)).read_bytes() == path.read_bytes()
                compared += 1
    assert compared >= 6 + 6 * 8 + 1 + 2


def test_metadata_name_the_run_of_prepare_that_was_read(first_run):
    metadata = json.loads((version(first_run[0], "penalties") / "metadata.json").read_text())
    assert [(entry["experiment"], entry["artifact"]) for entry in metadata["inputs"]] == [
        ("prepare", "patients.npy"),
        ("prepare", "units.json"),
    ]


def test_the_folders_make_a_graph_in_which_both_consumers_read_what_prepare_publishes():
    folders = [EXPERIMENTS / name for name in ("penalties", "learning_curve", "prepare")]
    graph = ExperimentGraph.from_experiments(Experiment.from_yaml(folder) for folder in folders)
    assert graph.dependencies == {"penalties": ("prepare",), "learning_curve": ("prepare",), "prepare": ()}
    results = graph.run(replicates=4)
    assert list(results) == ["prepare", "penalties", "learning_curve"]
    for result in results.values():
        result.raise_for_errors()


def test_the_more_patients_there_are_the_smaller_is_the_error(run, tmp_path):
    done = run(tmp_path, "learning_curve", "--replicates", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    stored = version(tmp_path, "learning_curve")
    sizes = ["baseline", *(f"learn_from_{size}" for size in (40, 80, 160, 320))]
    for model in ("least_squares", "ridge"):
        errors = [
            json.loads((stored / size / "results.json").read_text())["metrics"][model] for size in sizes
        ]
        means = np.mean(errors, axis=1)
        assert (np.diff(means) < 0).all()
        # No model of these columns predicts better than the one that has seen all patients: 53.5.
        assert means[-1] > 53


@pytest.mark.parametrize("experiment", ["penalties", "learning_curve"])
def test_the_readme_shows_the_table_of_a_full_run(run, tmp_path, experiment):
    done = run(tmp_path, experiment)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.partition(f"\n{experiment}\n")[2].partition("\n\n")[0]
    assert table.startswith("metric")
    readme = [line.rstrip() for line in (EXAMPLE / "README.md").read_text().splitlines()]
    assert "\n".join(line.rstrip() for line in table.splitlines()) in "\n".join(readme)


def test_the_list_shows_what_each_experiment_is_for(warm_interpreter):
    done = warm_interpreter.crystallize("list", cwd=EXAMPLE)
    assert done.returncode == 0, done.stderr
    heading, *lines = done.stdout.splitlines()
    assert heading == "Diabetes"
    assert [line.split()[0] for line in lines] == ["prepare", "penalties", "learning_curve"]
    assert "\N{BROOM}" in lines[0]
    assert all("\N{CHART WITH UPWARDS TREND}" in line and "prepare" in line for line in lines[1:])


def test_wrong_arguments_are_told_before_any_work(run, tmp_path):
    done = run(tmp_path, "penalties", "--replicates", "0")
    assert done.returncode == 2
    assert "replicates" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_penalty_can_be_tried_without_a_treatment_of_its_own(run, tmp_path):
    # What --set gives is in the context of every condition that does not set it itself.
    done = run(tmp_path, "penalties", "--replicates", "2", "--set", "penalty=10")
    assert done.returncode == 0, done.stdout + done.stderr
    stored = version(tmp_path, "penalties")
    baseline, ridge = (
        json.loads((stored / condition / "results.json").read_text())
        for condition in ("baseline", "ridge_10")
    )
    assert baseline == ridge
