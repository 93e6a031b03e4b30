"""``crystallize lock``: a plan written down before the run, and runs that say where they depart from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crystallize import Experiment, Result
from crystallize.errors import RunFailedError

PLAN = Path("experiments/use/preregistration.json")


@pytest.fixture
def locked(call, project):
    """Lock the experiment ``use``, whose upstream has run."""
    assert call("run", "make").code == 0
    done = call("lock", "use")
    assert done.code == 0
    return done


def departures(call, *options):
    """Run ``use`` and return where the run says that it departs, which the summary shows line by line."""
    done = call("run", "use", "--only", *options)
    found = Result.load("use").preregistration
    assert found is not None
    for each in found.departures:
        assert f"  - {each}" in done.out.splitlines()
    return found.departures


def edit(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_the_plan_is_a_file_beside_the_config_with_all_that_decides_the_answer(locked):
    held = json.loads(PLAN.read_text())
    assert list(held) == ["schema_version", "digest", "experiment", "locked", "plan"]
    plan = held["plan"]
    assert (held["experiment"], plan["replicates"], plan["seed"]) == ("use", 3, 1)
    assert list(plan["conditions"]) == ["baseline", "shifted", "bigger"]
    assert plan["hypotheses"]["never_equal"]["direction"] == "max"
    assert "look() in steps.py" in plan["steps"]["LookStep"]["code"]
    assert locked.out.splitlines() == [
        "Wrote experiments/use/preregistration.json.",
        "3 replicates of baseline, shifted, bigger, with the seed 1",
        "Hypothesis never_equal, of all metrics: more is better",
        f"Hash: {held['digest']}",
    ]


def test_a_rule_that_may_end_the_run_earlier_is_told(call, project):
    with Path("experiments/use/config.yaml").open("a") as config:
        config.write("stop: decided(seen, max=9)\n")
    assert call("run", "make").code == 0
    lines = call("lock", "use").out.splitlines()
    assert lines[1].startswith("at most ")
    assert lines[1].endswith(" replicates of baseline, shifted, bigger, with the seed 1")
    assert lines[2] == "Stopping rule decided('seen', max=9)"


def test_a_run_that_keeps_to_the_plan_says_so_now_and_from_disk(call, locked):
    assert departures(call) == ()
    digest = json.loads(PLAN.read_text())["digest"]
    found = Result.load("use").preregistration
    assert found.digest == digest
    line = f"Preregistered: plan {digest.removeprefix('sha256:')[:16]}, locked {found.locked[:10]}"
    assert line in call("show", "use").out.splitlines()
    assert json.loads(call("show", "use", "--json").out)["summary"]["preregistration"]["departures"] == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--replicates", 3), ()),
        (("--seed", 5), ("seed was 1, is 5",)),
        (("--treatment", "bigger"), ("conditions.shifted is gone",)),
        (("--set", "text=x"), ("initial_ctx.settings.text is new",)),
        (("--timeout", 60), ("failure_policy.timeout is new",)),
    ],
)
def test_what_the_command_line_changes_is_a_departure(call, locked, options, expected):
    assert departures(call, *options) == expected


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        ("config.yaml", "shift: 0.5", "shift: 0.25", "conditions.bigger.settings.shift was 0.5, is 0.25"),
        (
            "config.yaml",
            "{verifier: never_equal",
            "{name: never_equal, verifier: welch_t_test",
            "hypotheses.never_equal.verifier was 'never_equal', is 'welch_t_test'",
        ),
        ("config.yaml", "max", "min", "hypotheses.never_equal.direction was 'max', is 'min'"),
        ("config.yaml", "bigger:", "larger:", "conditions.bigger is gone"),
        ("steps.py", "+ shift}", "- shift}", "look() in steps.py changed"),
        ("verifiers.py", "0.01", "0.02", "never_equal() in verifiers.py changed"),
    ],
)
def test_what_is_edited_afterwards_is_a_departure(call, locked, file, before, after, expected):
    edit(PLAN.parent / file, before, after)
    checked = call("lock", "use", "--check")
    assert checked.code == 1
    assert f"  - {expected}" in checked.out.splitlines()
    assert expected in departures(call)


def test_another_number_of_replicates_is_a_departure(call, project):
    assert call("lock", "make").code == 0
    assert call("run", "make", "--replicates", 2).code == 0
    assert Result.load("make").preregistration.departures == ("replicates was 3, is 2",)
    assert call("run", "make", "--replicates", 5).code == 0
    assert call("run", "make", "--resume").code == 0  # keeps the five that are there
    assert Result.load("make").preregistration.departures == ("replicates was 3, is 5",)


def test_the_number_of_replicates_that_comes_from_what_is_read_is_locked_before_that_has_run(call, project):
    edit(PLAN.parent / "config.yaml", "replicates: 3\n", "")
    assert "3 replicates of baseline, shifted, bigger" in call("lock", "use").out
    assert call("lock", "use", "--check").code == 0
    assert call("run", "use").code == 0
    assert Result.load("use").preregistration.departures == ()
    edit(project / "make" / "config.yaml", "replicates: 3\n", "replicates: 4\n")
    done = call("lock", "use", "--check")
    assert (done.code, "  - replicates was 3, is 4" in done.out.splitlines()) == (1, True)


def test_a_number_of_replicates_that_another_ones_rule_decides_is_not_locked(call, project):
    edit(PLAN.parent / "config.yaml", "replicates: 3\n", "")
    edit(project / "make" / "config.yaml", "replicates: 3\n", "stop: decided(total, max=9)\n")
    done = call("lock", "use")
    assert (done.code, PLAN.exists()) == (2, False)
    assert (
        "how many replicates experiment 'use' has is decided by the stopping rule of what it reads"
        in done.err
    )
    with (PLAN.parent / "config.yaml").open("a") as config:
        config.write("replicates: 9\n")
    assert "9 replicates of baseline" in call("lock", "use").out


def test_the_result_of_a_run_that_is_broken_off_knows_the_plan_as_the_stored_one_does(call, project):
    assert call("lock", "make").code == 0
    edit(project / "make" / "steps.py", 'print("said by a step")', "raise ValueError")
    experiment = Experiment.from_yaml(project / "make")
    experiment.failure_policy = experiment.failure_policy.changed(on_error="stop")
    with pytest.raises(RunFailedError) as caught:
        experiment.run()
    assert "publish() in steps.py changed" in caught.value.result.preregistration.departures
    assert caught.value.result.preregistration == Result.load("make", 0).preregistration


def test_comments_and_moved_lines_are_no_departure(call, locked):
    edit(PLAN.parent / "steps.py", "@pipeline_step()", "# measured twice\n\n@pipeline_step()")
    assert call("lock", "use", "--check").code == 0


def test_outcomes_from_before_the_lock_are_told_when_a_run_is_resumed(call, project):
    assert call("run", "make", "--replicates", 2).code == 0
    assert call("lock", "make").code == 0
    assert call("run", "make", "--resume").code == 0
    assert Result.load("make").preregistration.departures == ("it began before the plan was locked",)


def test_without_a_seed_of_its_own_the_experiment_takes_that_of_the_plan(call, project):
    edit(Path("experiments/make/config.yaml"), "seed: 1\n", "")
    assert call("lock", "make").code == 0
    seed = json.loads(Path("experiments/make/preregistration.json").read_text())["plan"]["seed"]
    assert call("run", "make").code == 0
    result = Result.load("make")
    assert (result.master_seed, result.preregistration.departures) == (seed, ())


def test_a_loaded_experiment_is_compared_too(call, project):
    assert call("lock", "make").code == 0
    experiment = Experiment.from_yaml("experiments/make")
    assert experiment.run().preregistration.departures == ()
    result = experiment.run(replicates=1)
    assert result.preregistration.departures == ("replicates was 3, is 1",)
    assert result.to_dict()["preregistration"]["departures"] == ("replicates was 3, is 1",)
    assert "Departs from its plan" in str(result.summary())
    assert "replicates was 3, is 1" in result.summary()._repr_html_()


def test_a_plan_is_replaced_with_force_only(call, locked):
    before = PLAN.read_bytes()
    done = call("lock", "use")
    assert (done.code, done.out) == (2, "")
    assert "has a plan already" in done.err
    assert "--force" in done.err
    assert PLAN.read_bytes() == before
    assert call("lock", "use", "--force").code == 0
    assert PLAN.read_bytes() != before


def test_an_edited_plan_is_refused_by_whatever_would_compare_with_it(call, locked):
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    held = json.loads(PLAN.read_text())
    PLAN.write_text(json.dumps(held | {"locked": later}))
    for words in (["run", "use"], ["lock", "use", "--check"], ["lock", "use", "--force"]):
        done = call(*words)
        assert done.code == 2
        assert "the plan was edited" in done.err
        assert "preregistration.json" in done.err


def test_another_layout_of_the_file_is_the_same_plan(call, locked):
    PLAN.write_text(json.dumps(json.loads(PLAN.read_text())))
    assert call("lock", "use", "--check").code == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 1', "\udcff"])
def test_a_damaged_plan_is_told_with_its_path(call, locked, content):
    PLAN.write_bytes(content.encode(errors="surrogateescape"))
    done = call("run", "use")
    assert done.code == 2
    assert "this is no plan of an experiment" in done.err
    assert "preregistration.json" in done.err


def test_a_plan_of_a_newer_crystallize_is_not_misread(call, locked):
    edit(PLAN, '"schema_version": 1', '"schema_version": 2')
    done = call("run", "use")
    assert done.code == 2
    assert "schema version 2" in done.err


def test_check_without_a_plan_says_how_to_write_one(call, project):
    done = call("lock", "make", "--check")
    assert done.code == 2
    assert "crystallize lock NAME" in done.err


def test_what_is_only_checked_is_not_replaced(call, locked):
    before = PLAN.read_bytes()
    done = call("lock", "use", "--check", "--force")
    assert done.code == 2
    assert "--force" in done.err
    assert PLAN.read_bytes() == before


def test_an_experiment_that_cannot_run_is_not_locked(call, project):
    edit(Path("experiments/make/config.yaml"), "factor: 2", "factr: 2")
    done = call("lock", "make")
    assert done.code == 2
    assert "factr" in done.err
    assert not Path("experiments/make/preregistration.json").exists()


def test_a_debugging_run_is_none_of_the_plans(call, locked):
    done = call("run", "use", "--debug")
    assert done.code == 0
    assert "seen" in done.out
    assert "its plan" not in done.out + done.err


def test_runs_without_a_plan_say_nothing_of_one(call, project):
    done = call("run", "make")
    assert "plan" not in done.out
    assert Result.load("make").preregistration is None
