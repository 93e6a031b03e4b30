"""``crystallize plan``: replicates that an experiment needs, from a pilot that is stored or run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def trial() -> Path:
    """Make an experiment of one noisy metric in the test's folder."""
    files = {
        "config.yaml": """
            replicates: 3
            seed: 1
            datasource: nothing
            steps: [measure]
            treatments: {shifted: {shift: 1.0}}
            """,
        "datasources.py": "def nothing():\n    return None\n",
        "steps.py": """
from crystallize import pipeline_step

@pipeline_step()
def measure(data, ctx, *, shift=0.0):
    value = float(ctx.rng.normal(50, 5) + shift * ctx.stream("own").normal())
    return value, {"loss": value}
""",
    }
    folder = Path("experiments/trial")
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_pilot_is_run_and_stored_and_then_read(call, trial):
    ran = call("plan", "trial", "--effect", "0.5", "--pilot", "10")
    assert ran.code == 0
    first, second = ran.out.splitlines()
    assert " replicates find a difference of 0.5 in loss (80 % power), in " in first
    assert second.startswith("The pilot's 10 find ")
    for module in trial.glob("*.py"):
        module.write_text("raise RuntimeError('imported')\n")
    read = call("plan", "trial", "--effect", "0.5")
    assert (read.code, read.out, read.err) == (0, ran.out, "")
    assert "10 replicates" in call("show", "trial").out


def test_json_has_the_plan_and_its_curve(call, trial):
    call("plan", "trial", "--effect", "0.5", "--pilot", "4")
    record = json.loads(call("plan", "trial", "--effect", "1", "--power", "0.9", "--json").out)
    assert (record["effect"], record["power"], record["pilot"]) == (1, 0.9, 4)
    assert record["curve"][2] == [1, record["pairs"]]
    smaller = json.loads(call("plan", "trial", "--effect", "1", "--assurance", "0.5", "--json").out)
    assert smaller["pairs"] < record["pairs"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--effect", "0"], "effect is above 0, in the metric's unit, got 0"),
        (["--effect", "1", "--alpha", "2"], "alpha lies between 0 and 1, got 2"),
        (["--effect", "1", "--pilot", "1"], "greater than or equal to 2"),
        (["--effect", "1", "--metric", "los"], "Did you mean 'loss'"),
        (["--effect", "1", "-t", "shited"], "Did you mean 'shifted'"),
        ([], "Missing option '--effect'"),
    ],
)
def test_mistakes_are_told_with_exit_code_2(call, trial, arguments, message):
    assert call("run", "trial").code == 0
    found = call("plan", "trial", *arguments)
    assert found.code == 2
    assert message in found.err


def test_a_cell_that_is_the_baseline_again_is_left_out_of_the_plan(call, trial):
    config = trial / "config.yaml"
    config.write_text(config.read_text().replace("{shifted: {shift: 1.0}}", "{grid: {shift: [0.0, 1.0]}}"))
    done = call("plan", "trial", "--effect", "0.5", "--pilot", "10")
    assert done.code == 0
    assert "Left out, for their differences never vary: 'shift=0.0'." in " ".join(done.out.split())
    record = json.loads(call("plan", "trial", "--effect", "0.5", "--json").out)
    assert (record["treatment"], record["left_out"]) == ("shift=1.0", ["shift=0.0"])
    alone = call("plan", "trial", "--effect", "0.5", "-t", "shift=0.0")
    assert (alone.code, "are all equal in the pilot" in alone.err) == (2, True)


def test_a_treatment_that_is_not_there_is_told_before_the_pilot(call, trial):
    found = call("plan", "trial", "--effect", "1", "--pilot", "4", "-t", "shited")
    assert found.code == 2
    assert "Did you mean 'shifted'" in found.err
    assert not Path("data").exists()


def test_without_a_stored_run_it_says_what_to_run(call, trial):
    found = call("plan", "trial", "--effect", "1")
    assert found.code == 2
    assert "no complete run is stored" in found.err


def test_a_pilot_of_one_replicate_plans_nothing(call, trial):
    assert call("run", "trial", "-n", "1").code == 0
    found = call("plan", "trial", "--effect", "1")
    assert found.code == 2
    assert "the pilot has 1 complete pair of metric 'loss', and needs two at least" in found.err


def test_a_pilot_that_fails_is_exit_code_1(call, trial):
    (trial / "steps.py").write_text(
        "from crystallize import pipeline_step\n\n@pipeline_step()\n"
        "def measure(data, ctx, *, shift=0.0):\n    raise ValueError('broken')\n"
    )
    found = call("plan", "trial", "--effect", "1", "--pilot", "3")
    assert found.code == 1
    assert "broken" in found.err
