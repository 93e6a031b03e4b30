"""What the suite has found: each fault again, at just the place where it was."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from crystallize import ArtifactPlugin, Experiment

PLAN = {"conditions": 2, "replicates": 3, "seed": 5, "versioned": True}


def write(data: Any, ctx: Any) -> Any:
    ctx.artifacts.write("model.txt", b"model")
    return data


def fault(only: str, what: str = "SIGKILL", **options: Any) -> dict[str, Any]:
    """Strike the first call whose name and path match."""
    return {"only": only, "call": 0, "what": what, **options}


def check(worlds: Any, plan: dict[str, Any], only: str, what: str = "SIGKILL", **options: Any) -> None:
    world = worlds.new(plan)
    world.run("serial", fault=fault(only, what, log=str(world.folder / "log"), **options))
    assert (world.folder / "log").read_text(), "no such call was made"
    world.resume_and_compare("serial", worlds.end_of(plan))


@pytest.mark.parametrize("half", [False, True])
def test_a_journal_whose_first_line_was_cut_off_is_begun_anew(worlds: Any, half: bool) -> None:
    check(worlds, PLAN, "^open .*journal.jsonl", half=half)
    check(worlds, PLAN, "^write", half=half)


@pytest.mark.parametrize("file", ["metadata.json", "results.json", "hypotheses.json", "_manifest.json"])
def test_what_a_killed_write_has_left_is_removed(worlds: Any, file: str) -> None:
    check(worlds, PLAN, f"^replace .*{file}")


@pytest.mark.parametrize("what", ["SIGINT", "SIGTERM"])
def test_a_file_that_an_interruption_found_just_opened_is_removed(worlds: Any, what: str) -> None:
    # The run is complete with the fourth; then its record of the interruption is interrupted.
    check(worlds, PLAN, "^(open|replace) .*metadata.json", what, call=3, half=True, lasting=True)


@pytest.mark.parametrize("call", ["rename .*v0", "^rmdir [^/]*$", "unlink .*metadata.json$"])
@pytest.mark.parametrize("what", ["SIGINT", "SIGKILL"])
@pytest.mark.parametrize("half", [False, True])
def test_what_was_complete_when_its_publication_was_cut_off_does_not_run_again(
    worlds: Any, call: str, what: str, half: bool
) -> None:
    plan = {**PLAN, "versioned": False}
    world = worlds.new(plan)
    world.store_older_run()
    world.run("serial", fault=fault(call, what, half=half, log=str(world.folder / "log")))
    assert (world.folder / "log").read_text(), "no such call was made"
    world.resume_and_compare("serial", worlds.end_of(plan))
    assert not world.executed(world.phase)


@pytest.mark.parametrize("call", ["^replace .*model.txt", "^replace .*table.txt", "^mkdir .*tmp$"])
def test_nothing_is_left_of_what_a_killed_worker_was_writing(worlds: Any, call: str) -> None:
    world = worlds.new(PLAN)
    report = world.run(
        "process", in_workers=fault(call, once=str(world.folder / "once"), log=str(world.folder / "log"))
    )
    assert (world.folder / "log").read_text(), "no such call was made"
    assert report["json"] == worlds.end_of(PLAN).report["json"]
    world.resume_and_compare("serial", worlds.end_of(PLAN))
    assert not world.executed(world.phase)


def test_what_another_process_is_writing_in_the_folder_of_apply_stays() -> None:
    experiment = Experiment(lambda: 0, [write], name="demo", plugins=[ArtifactPlugin()])
    experiment.apply()
    (folder,) = {path.parent for path in Path("data/demo/apply").rglob("model.txt")}
    (folder / ".model.txt.1-00000000-0.tmp").touch()
    Experiment(lambda: 0, [write], name="demo", plugins=[ArtifactPlugin()]).apply()
    assert (folder / ".model.txt.1-00000000-0.tmp").exists()


def test_a_scratch_folder_goes_without_a_free_descriptor(worlds: Any) -> None:
    world = worlds.new(PLAN)
    report = world.run("serial", fault=fault(r"^read .*\.tmp$", "EMFILE", lasting=True))
    assert report["failed"] == 0
    world.resume_and_compare("serial", worlds.end_of(PLAN))


def test_a_journal_that_cannot_be_opened_for_a_resume_is_named(worlds: Any) -> None:
    world = worlds.new(PLAN)
    world.run("serial", fault=fault("^replace .*results.json"))
    for number in range(4):
        broken = fault("^read .*journal.jsonl", "EMFILE") | {"call": number}
        report = world.run("serial", resume=True, fault=broken)
        if "json" in report:
            break
        assert "StoreError" in (report["error"], report["cause"]), report
        assert "Too many open files" in report["message"]
        assert "journal.jsonl" in report["message"]
    world.resume_and_compare("serial", worlds.end_of(PLAN))


CONFIG = """
name: demo
replicates: 3
seed: 1
datasource: numbers
steps: [measure]
treatments: {shifted: {shift: 1}}
"""
STEPS = """
from crystallize import pipeline_step

@pipeline_step()
def measure(data, *, shift=0.0):
    return data, {"value": data + shift}
"""


@pytest.mark.parametrize("what", ["ENOSPC", "EMFILE"])
@pytest.mark.parametrize("call", ["^open .*metadata", "^open .*journal", "^open .*results", "^open .*lock"])
def test_the_command_says_what_could_not_be_stored_and_ends_with_2_if_nothing_was_run(
    worlds: Any, what: str, call: str
) -> None:
    world = worlds.new(PLAN)
    folder = world.folder / "experiments" / "demo"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "steps.py").write_text(dedent(STEPS))
    (folder / "datasources.py").write_text("def numbers(ctx):\n    return 1.0\n")
    code, output = world.command("run", "demo", fault=fault(call, what, lasting=True))
    assert code == (1 if "results" in call else 2), output
    assert "Traceback" not in output
    reason = {"ENOSPC": "No space left on device", "EMFILE": "Too many open files"}[what]
    assert reason in output
    assert str(world.root) in output.replace("\n", "")
    code, output = world.command("run", "demo", "--resume")
    assert code == 0, output
    assert (Path(world.demo) / "v0/shifted/results.json").is_file()
