"""``crystallize verify``: whether a stored run can be measured again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from crystallize.cli.errors import INCONCLUSIVE

PASS, DIFF = 0, 1


@pytest.fixture(autouse=True)
def own_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have scratch folders made in a folder of the test's own, and return that."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def files_of(folder: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture
def stored(call, project: Path) -> Path:
    """Store a run of ``use``, and of ``make``, which it reads; return the project."""
    assert call("run", "use").code == 0
    return project


# -- the verdict ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["use", "use@v0", "data/use/v0", "experiments/use"])
def test_a_run_that_is_measured_again_passes(call, stored, own_scratch, run):
    before = files_of(".")
    done = call("verify", run)
    assert done.code == PASS
    assert done.out.splitlines() == [
        "PASS: 9 outcomes are the same, to the last bit.",
        "",
        "run:    data/use/v0",
        "again:  replicates 0 to 2 under baseline, shifted, bigger; serial",
    ]
    assert files_of(".") == before
    assert list(own_scratch.iterdir()) == []


def test_what_differs_with_nothing_changed_is_a_diff(call, project):
    steps = project / "make" / "steps.py"
    edit(
        steps,
        "value = sum(data) * factor",
        "value = sum(data) * factor + float(__import__('pathlib').Path('offset').read_text())",
    )
    Path("offset").write_text("0")
    assert call("run", "make").code == 0
    Path("offset").write_text("0.5")
    done = call("verify", "make")
    assert done.code == DIFF
    assert done.out.splitlines()[0] == (
        "DIFF: 6 of 6 outcomes differ, and nothing has changed that could be why."
    )
    told = "first difference: condition 'baseline', replicate 0, step 'PublishStep', metric 'total'"
    assert done.out.splitlines()[5:8] == [told, "  stored  6.0", "  now     6.5"]
    assert done.out.endswith(
        "look at it: crystallize run make --replicate 0 --condition baseline --debug --seed 1\n"
    )
    assert call("verify", "make", "--atol", "0.5", "--ignore", "total.json").code == PASS
    assert call("verify", "make", "--rtol", "1e-3", "--ignore", "total.json").code == DIFF


def test_what_differs_where_code_has_changed_is_inconclusive(call, stored):
    edit(stored / "use" / "steps.py", 'data["total"] + shift', 'data["total"] + 2 * shift')
    done = call("verify", "use")
    assert done.code == INCONCLUSIVE
    assert done.out.startswith(
        "INCONCLUSIVE: 6 of 9 outcomes differ, which may come from what has changed.\n"
    )
    assert "changed since then:\n  code:\n    look() in steps.py\n" in done.out
    assert max(map(len, done.out.splitlines())) <= 100


def test_code_that_has_changed_without_effect_is_told_with_the_pass(call, stored):
    edit(stored / "use" / "steps.py", 'data["total"] + shift', 'shift + data["total"]')
    done = call("verify", "use")
    assert done.code == PASS
    assert "  code:\n    look() in steps.py" in done.out


def test_more_replicates_than_there_are_cannot_be_verified(call, stored):
    done = call("verify", "use", "-n", "99")
    assert (done.code, done.out) == (2, "")
    assert "the run has not measured 99 replicates" in done.err
    assert "It has 0 to 2" in done.err
    assert call("verify", "use", "-n", "3").code == PASS


def test_json_is_one_object_whatever_steps_print(call, stored):
    done = call("verify", "make", "--json", "-n", "1")
    found = json.loads(done.out)
    assert (done.code, found["verdict"], found["replicates"]) == (PASS, "PASS", [0])
    assert found["findings"]["outcomes"] == 2
    assert found["changes"] == {"settings": [], "code": [], "environment": [], "packages": []}
    assert "said by a step" in done.err


def test_a_tolerance_is_found_from_reruns(call, project):
    steps = project / "make" / "steps.py"
    count = "calls = Path('calls').open('ab+'); noise = calls.tell() % 5 * 1e-13; calls.write(b'.'); calls.close()"
    edit(steps, "value = sum(data) * factor", f"{count}; value = sum(data) * factor * (1 + noise)")
    edit(steps, "from crystallize import", "from pathlib import Path; from crystallize import")
    edit(steps, "total.write(value)", "total.write(1)")
    assert call("run", "make").code == 0
    assert call("verify", "make").code == DIFF
    done = call("verify", "make", "--calibrate", "4", "--keep", "--json")
    found = json.loads(done.out)
    assert (done.code, found["reruns"]) == (PASS, 4)
    assert 0 < found["findings"]["metrics"][0]["rtol"] < 1e-11
    assert len(list(Path(found["scratch"]).iterdir())) == 4
    Path("calls").unlink()
    edit(steps, "(1 + noise)", "(1 + noise + 1e-11)")
    assert call("verify", "make", "--calibrate", "4").code == INCONCLUSIVE


# -- as it was -----------------------------------------------------------------------------------------------


def test_the_run_is_made_again_with_the_settings_that_it_had(call, project):
    made = ("--set", "factor=4", "-t", "bigger", "-n", "2", "--seed", "8", "-p", "no:logging")
    assert call("run", "make", *made, "--execution", "thread", "--workers", "2").code == 0
    found = json.loads(call("verify", "make", "--json").out)
    assert (found["verdict"], found["replicates"], found["execution"]) == ("PASS", [0, 1], "thread")
    assert not any(found["changes"].values())


def test_a_secret_has_to_be_given_again(call, project):
    edit(project / "make" / "steps.py", "factor=1.0,", 'factor=1.0, api_key="",')
    edit(project / "make" / "steps.py", '{"total": value}', '{"total": value + len(api_key)}')
    assert call("run", "make", "--set", "api_key=abc").code == 0
    done = call("verify", "make")
    assert (done.code, done.out) == (2, "")
    assert (
        "the run was given 'api_key', and what exactly is not stored. Give it again: --set api_key="
        in done.err
    )
    assert call("verify", "make", "--set", "api_key=abc").code == PASS


def test_another_strategy_gives_the_same(call, stored):
    done = call("verify", "use", "--execution", "async", "--replicate", "2", "--replicate", "0")
    assert done.code == PASS
    assert "again:  replicates 0, 2 under baseline, shifted, bigger; async" in done.out


def test_the_inputs_are_those_that_the_run_had(call, stored):
    edit(stored / "make" / "steps.py", "sum(data) * factor", "sum(data) * factor + 1")
    assert call("run", "make").code == 0
    assert call("verify", "use").code == PASS
    shutil.rmtree("data/make/v0")
    done = call("verify", "use")
    assert done.code == INCONCLUSIVE
    assert "what it read is not there as it was" in done.out
    assert "again:" not in done.out


def test_failures_have_to_come_again(call, stored):
    assert call("run", "use", "--set", "fail_at=1", "--set", "text=fail").code == 1
    done = call("verify", "use")
    assert done.code == PASS
    assert "Traceback" not in done.err
    edit(stored / "use" / "steps.py", "told to", "asked to")
    done = call("verify", "use", "-n", "1")
    assert done.code == INCONCLUSIVE
    assert "condition 'shifted', replicate 0, step 'LookStep', error\n" in done.out
    assert "  stored  ValueError: told to fail\n  now     ValueError: asked to fail\n" in done.out
    assert "look at it" not in done.out  # the settings that it was given are not in that command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("warm_processes")
def test_an_interrupted_verification_leaves_nothing_behind(call, project, tmp_path, number):
    edit(project / "make" / "steps.py", 'print("said by a step")', "__import__('time').sleep(0.05)")
    assert call("run", "make").code == 0
    edit(project / "make" / "steps.py", "sleep(0.05)", "sleep(30)")
    scratch = tmp_path / "s"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "crystallize", "verify", "make"],
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(scratch.glob("crystallize-verify-*/rerun_0/make/v0/journal.jsonl")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert (out, err.splitlines()[-1]) == ("", "Interrupted. The stored run is as it was.")
    assert list(scratch.iterdir()) == []


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no experiment is called 'nowhere'"),
        (["use@v7"], "version 7 is not stored of experiment 'use'"),
        (["use", "--replicate", "3"], "the run has not measured replicate 3"),
        (["use", "--replicate", "1", "-n", "1"], "it goes without --replicate"),
        (["use", "--ignore", "sen"], "Did you mean 'seen'?"),
        (["use", "--calibrate", "1"], "--calibrate"),
        (["use", "--calibrate", "2", "--rtol", "1"], "a tolerance is given, and is to be found"),
        (["use", "--rtol", "-1"], "--rtol"),
        (["use", "--rtol", "inf"], "rtol is a number of 0 or more"),
        (["use", "--execution", "slow"], "no execution strategy is called 'slow'"),
        (["use", "--set", "shift"], "'shift' is not of the form KEY=VALUE"),
    ],
)
def test_a_mistake_is_told_with_exit_code_2_and_nothing_runs(call, stored, arguments, told):
    done = call("verify", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "Traceback" not in done.err
    assert "replicates under" not in done.err


def test_the_run_of_a_newer_crystallize_is_told(call, stored):
    edit(Path("data/use/v0/metadata.json"), '"schema_version": 1', '"schema_version": 99')
    done = call("verify", "data/use/v0")
    assert done.code == 2
    assert "schema version 99" in done.err


def test_a_deleted_run_is_told(call, stored):
    assert call("runs", "delete", "use", "--version", "0", "--yes").code == 0
    done = call("verify", "use@v0")
    assert done.code == 2
    assert "is deleted and has no results" in done.err


@pytest.mark.parametrize("run", ["use", "data/use/v0"])
def test_a_run_whose_folder_is_gone_is_told_with_the_way_out(call, stored, run):
    (stored / "use").rename(stored / "other")
    done = call("verify", run)
    assert done.code == 2
    assert "the run is there, and the experiment is not" in done.err
    assert "crystallize.verify(experiment)" in done.err


def test_a_definition_that_cannot_be_built_any_more_is_told(call, stored):
    edit(stored / "use" / "steps.py", "def look", "def see")
    done = call("verify", "use")
    assert (done.code, done.out) == (2, "")
    assert "look" in done.err


def test_a_step_and_a_condition_that_are_gone_are_told(call, stored):
    edit(stored / "use" / "config.yaml", "treatments: {shifted: {shift: 1}, bigger: {shift: 0.5}}", "")
    edit(stored / "use" / "config.yaml", "hypotheses: [{verifier: never_equal, direction: max}]", "")
    done = call("verify", "use")
    assert done.code == INCONCLUSIVE
    assert "condition 'shifted' is not defined any more\n" in done.out
    edit(stored / "use" / "steps.py", "def look", "def see")
    edit(stored / "use" / "config.yaml", "steps: [look]", "steps: [see]")
    done = call("verify", "use")
    assert "steps.LookStep is gone\n" in done.out
    assert "steps.SeeStep is new\n" in done.out
