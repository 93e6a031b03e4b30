"""``crystallize list``: what there is, without running or importing any of it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest


def write(name: str, text: str) -> Path:
    folder = Path("experiments", name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)
    return folder


LEAST = "datasource: one\nsteps: [two]\n"


def names(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines() if line.startswith("  ")]


def test_without_experiments_one_sentence_says_what_to_do(call):
    done = call("list")
    assert done == (
        0,
        "There are no experiments in experiments: make one with 'crystallize new NAME', "
        "or look at an example with 'crystallize demo'.\n",
        "",
    )
    assert json.loads(call("list", "--json").out) == []


def test_an_experiment_that_reads_others_has_the_sign_and_names_them(call, project):
    done = call("list")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "Basics",
        "  make  no complete run  Make numbers",
        "  use   no complete run  \N{CHART WITH UPWARDS TREND}  depends on make. Use numbers",
    ]


def test_groups_and_what_is_in_them_stand_in_the_order_of_priority_then_name(call):
    write("a", LEAST)
    write("b", LEAST + "cli: {priority: 5}\n")
    write("c", LEAST + "cli: {group: Late, priority: 200}\n")
    write("d", LEAST + "cli: {group: Early, priority: 1, icon: '@'}\n")
    write("e", LEAST + "cli: {group: Early, priority: 1}\n")
    done = call("list")
    assert names(done.out) == ["d", "e", "b", "a", "c"]
    headings = [line for line in done.out.splitlines() if line and not line.startswith(" ")]
    assert headings == ["Early", "Experiments", "Late"]
    assert "  d  no complete run  @" in done.out


def test_hidden_experiments_are_listed_only_if_all_are_asked_for(call):
    write("secret", LEAST + "cli: {hidden: true}\n")
    assert "crystallize list --all" in call("list").out
    assert names(call("list", "--all").out) == ["secret"]


@pytest.mark.parametrize(
    "text", ["", "steps: [two]\n", "\tdatasource: x\n", "datasource: one\nstep: [two]\n"]
)
def test_a_broken_experiment_is_listed_last_with_its_first_problem(call, project, text):
    (write("wrong", text) / "steps.py").write_text("raise SystemExit('nobody imports this')\n")
    done = call("list")
    assert (done.code, done.err) == (0, "")
    assert names(done.out) == ["make", "use", "wrong"]
    last = done.out.splitlines()[-1]
    assert "experiments/wrong/config.yaml" in last
    listed = json.loads(call("list", "--json").out)
    assert [bool(each["error"]) for each in listed] == [False, False, True]


def test_json_tells_all_there_is_to_know(call, project):
    listed = json.loads(call("list", "--json").out)
    assert listed[1] == {
        "name": "use",
        "description": "Use numbers",
        "path": str((project / "use").absolute()),
        "group": "Basics",
        "priority": 2,
        "icon": "",
        "color": "",
        "hidden": False,
        "treatments": ["shifted", "bigger"],
        "depends_on": ["make"],
        "last_run": None,
        "error": "",
    }


def test_the_settings_of_the_baseline_are_no_treatment(call):
    write("study", LEAST + "treatments: {baseline: {size: 1}, large: {size: 9}}\n")
    (listed,) = json.loads(call("list", "--json").out)
    assert listed["treatments"] == ["large"]


def test_the_root_of_pyproject_toml_is_looked_through(call, project):
    project.rename("studies")
    Path("pyproject.toml").write_text('[tool.crystallize]\nroot = "studies"\n')
    assert names(call("list").out) == ["make", "use"]


def test_listing_imports_neither_numpy_nor_a_users_module(project):
    for module in project.rglob("*.py"):
        module.write_text("raise RuntimeError('imported')\n")
    code = (
        "import sys\n"
        "from crystallize.cli.app import app\n"
        "app(['list'], standalone_mode=False)\n"
        "sys.exit('numpy' in sys.modules or 'rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("refused", ["", "1"])
@pytest.mark.usefixtures("warm_processes")
def test_colours_are_for_terminals_whose_owner_wants_them(project, refused):
    config = project / "make" / "config.yaml"
    config.write_text(config.read_text().replace("priority: 1", "priority: 1, color: green"))
    reader, writer = pty.openpty()
    code = "from crystallize.cli.app import main; main()"
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": refused}
    with subprocess.Popen([sys.executable, "-c", code, "list"], stdout=writer, env=environment) as process:
        assert process.wait(timeout=60) == 0
    os.close(writer)
    shown = os.read(reader, 65536).decode()
    os.close(reader)
    assert ("\x1b[32mmake" in shown) is (not refused)
    assert ("\x1b" in shown) is (not refused)


def test_the_last_run_is_told_with_its_end_and_failures_and_without_the_users_code(call, project):
    assert call("run", "use", "--set", "fail_at=1").code == 1
    for module in project.glob("*/*.py"):
        module.write_text("raise RuntimeError('this is not to be imported')\n")
    make, use = call("list").out.splitlines()[1:]
    now = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}"
    assert re.match(rf"  make  {now} {{10}}  Make numbers$", make)
    assert re.match(rf"  use   {now}, 3 failed  ", use)
    listed = json.loads(call("list", "--json").out)
    assert [each["last_run"]["failed_outcomes"] for each in listed] == [0, 3]
    assert [each["last_run"]["path"] for each in listed] == [
        str(Path(f"data/{name}/v0").absolute()) for name in ("make", "use")
    ]
    assert (
        listed[0]["last_run"]["finished"]
        == json.loads(Path("data/make/v0/metadata.json").read_text())["finished"]
    )


def test_a_run_of_a_newer_version_is_told_with_what_to_do(call, project):
    folder = Path("data/make/v0")
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"schema_version": 99, "status": "complete"}')
    done = call("list")
    assert done.code == 0
    problem = "the metadata of a run have schema version 99, and this Crystallize reads 1"
    assert re.search(rf"  make  unreadable +{problem} .*pip install --upgrade", done.out)
    assert json.loads(call("list", "--json").out)[0]["last_run"]["problem"].startswith(problem)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ('{"schema_version": 1, "status": "complete", "finished": "soon"}', "date unknown"),
        ('{"schema_version": 1, "status": "complete", "finished": 3}', "no complete run"),
        ('{"schema_version": 1, "status": "running"}', "no complete run"),
        *((damaged, "no complete run") for damaged in ("[]", "{", "")),
    ],
)
def test_a_run_that_has_no_date_or_is_not_complete_is_told_as_such(call, project, metadata, said):
    folder = Path("data/make/v0")
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(metadata)
    done = call("list")
    assert done.code == 0
    assert re.search(rf"  make  {said} +Make numbers", done.out)
