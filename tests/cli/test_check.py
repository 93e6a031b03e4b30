"""``crystallize check``: all problems of all experiments, and nothing is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path("experiments")

GOOD = {
    "config.yaml": "datasource: {numbers: numbers}\nsteps:\n  - scale: {factor: 2}\n",
    "datasources.py": "from crystallize import data_source\n\n@data_source\ndef numbers():\n    return [1, 2]\n",
    "steps.py": (
        "from crystallize import pipeline_step\n\n@pipeline_step()\ndef scale(data, *, factor=1.0):\n"
        "    return data, {'total': factor * sum(data)}\n"
    ),
}


def write(name: str, root: Path = ROOT, **files: str) -> None:
    """Make an experiment that is good but for `files`, ``config`` and ``steps`` among them."""
    folder = root / name
    folder.mkdir(parents=True)
    changed = {("config.yaml" if key == "config" else f"{key}.py"): text for key, text in files.items()}
    for file, text in (GOOD | changed).items():
        (folder / file).write_text(text)


FIVE_MISTAKES = """\
replicates: many
datasource: {numbers: numbrs}
steps:
  - scale: {facto: 2}
  - sacle
execution: proces
"""


@pytest.fixture
def mistaken() -> None:
    write("mistaken", config=FIVE_MISTAKES)
    write("sound")


def test_all_mistakes_of_a_folder_are_told_with_their_places(command, mistaken):
    done = command("check", code=2)
    first, second, blank, *problems = done.stdout.splitlines()
    assert first.split() == ["mistaken", "5", "problems"]
    assert second.split() == ["sound", "ok"]
    assert blank == ""
    places = [problem.split(": ")[:2] for problem in problems]
    config = "experiments/mistaken/config.yaml"
    assert [place.rpartition(":")[0] for place, _ in places] == [
        f"{config}:{line}" for line in (1, 2, 4, 5, 6)
    ]
    assert [key for _, key in places] == [
        "replicates",
        "datasource.numbers",
        "steps[0].scale.facto",
        "steps[1]",
        "execution",
    ]
    for problem, meant in zip(problems[1:], ["numbers", "factor", "scale", "process"], strict=True):
        assert f"'{meant}'" in problem
    assert "\x1b" not in done.stdout


def test_the_same_as_json(command, mistaken):
    mistaken, sound = json.loads(command("check", "--json", code=2).stdout)
    assert sound == {
        "name": "sound",
        "config": str((ROOT / "sound/config.yaml").absolute()),
        "ok": True,
        "problems": [],
    }
    assert not mistaken["ok"]
    assert [problem["line"] for problem in mistaken["problems"]] == [1, 2, 4, 5, 6]
    assert [problem["file"] for problem in mistaken["problems"]] == [mistaken["config"]] * 5
    assert all(
        problem.keys() == {"file", "line", "column", "key", "message", "hint"}
        for problem in mistaken["problems"]
    )


def test_only_the_named_experiments_are_checked(command, mistaken):
    assert command("check", "sound").stdout.split() == ["sound", "ok"]
    assert command("check", "sound", "experiments/sound/config.yaml", ROOT / "sound").stdout.split() == [
        "sound",
        "ok",
    ]
    assert "mistaken  5 problems" in command("check", "sound", "mistaken", code=2).stdout


def test_nothing_is_run_and_nothing_is_stored(command):
    write("first", datasources=GOOD["datasources.py"].replace("return [1, 2]", "open('was-run', 'w')"))
    command("check")
    assert [path.name for path in Path().iterdir()] == ["experiments"]


def test_an_unknown_name_is_an_error_with_the_nearest(command, mistaken):
    done = command("check", "sond", code=2)
    assert (done.stdout, "Did you mean 'sound'?" in done.stderr) == ("", True)


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=str)
def test_no_experiment_at_all_is_told_and_is_no_problem(command, flags):
    done = command("check", *flags)
    assert done.stdout == ("[]\n" if flags else "")
    assert flags or "`crystallize new NAME` makes one" in done.stderr


# -- what depends on each other ----------------------------------------------------------------------------

PRODUCER = (
    GOOD["config.yaml"] + "  - keep\noutputs:\n  kept: {file_name: kept.json, loader: json}\n",
    GOOD["steps.py"].replace("import pipeline_step", "import Artifact, pipeline_step")
    + "\n@pipeline_step()\ndef keep(data, *, kept: Artifact):\n    kept.write(data)\n    return data\n",
)
LOOK = "from crystallize import pipeline_step\n\n@pipeline_step()\ndef look(data):\n    return data\n"


def test_a_graph_is_checked_with_all_that_it_depends_on(command):
    write("producer", config=PRODUCER[0], steps=PRODUCER[1])
    write("consumer", config="datasource: {kept: producer#kept}\nsteps: [look]\n", steps=LOOK)
    assert command("check").stdout.split() == ["consumer", "ok", "producer", "ok"]


def test_a_problem_upstream_is_told_once_and_counts_for_all_that_depend_on_it(command):
    write("producer", config=PRODUCER[0], steps=PRODUCER[1].replace("def keep", "def kep"))
    write("consumer", config="datasource: {kept: producer#kept}\nsteps: [look]\n", steps=LOOK)
    lines = command("check", code=2).stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines[:2]] == [
        ["consumer", "1 problem"],
        ["producer", "1 problem"],
    ]
    (problem,) = lines[3:]
    assert problem.startswith("experiments/producer/config.yaml:4:")
    assert "'kep'" in problem


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("producer#kpt", "'kept'"),
        ("prodcer#kept", "'producer'"),
        ("consumer#kept", "consumer"),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_its_place(command, reference, told):
    write("producer", config=PRODUCER[0], steps=PRODUCER[1])
    write("consumer", config=f"datasource:\n  kept: {reference}\nsteps: [look]\n", steps=LOOK)
    done = command("check", "consumer", code=2)
    problem = done.stdout.splitlines()[2]
    assert problem.startswith("experiments/consumer/config.yaml:2:")
    assert told in problem


def test_a_cycle_is_told_by_all_that_are_in_it(command):
    for name, other in (("a", "b"), ("b", "a")):
        config = PRODUCER[0].replace("datasource: {numbers: numbers}", f"datasource: {{kept: {other}#kept}}")
        write(name, config=config, steps=PRODUCER[1])
    lines = command("check", code=2).stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["a", "b"]
    assert "ok" not in " ".join(lines[:2]).split()
    assert "circle" in " ".join(lines[3:])


def test_a_problem_of_a_locked_plan_is_told_once_with_the_file_of_the_plan(command):
    write("producer", config=PRODUCER[0], steps=PRODUCER[1])
    write("consumer", config="datasource: {kept: producer#kept}\nsteps: [look]\n", steps=LOOK)
    (ROOT / "producer/preregistration.json").write_text("{")
    (problem,) = command("check", code=2).stdout.splitlines()[3:]
    assert problem.startswith("experiments/producer/preregistration.json: this is no plan")


def test_a_hypothesis_without_a_treatment_is_a_problem(command):
    write(
        "first",
        config=GOOD["config.yaml"] + "hypotheses: [{verifier: compare, metrics: total}]\n",
        verifiers="from crystallize import verifier\n\n@verifier\ndef compare(a, b):\n    return {'p_value': 1.0}\n",
    )
    done = command("check", code=2)
    assert done.stdout.startswith("first  1 problem\n\nexperiments/first/config.yaml")
    assert "treatment" in done.stdout


def test_two_experiments_of_one_name_are_a_problem_of_both(command):
    write("first")
    write("first", root=ROOT / "group")
    write("second", config="name: first\n" + GOOD["config.yaml"])
    lines = command("check", code=2).stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines[:3]] == [["first", "2 problems"]] * 3
    assert (
        "experiments/first/config.yaml: the experiment in 'experiments/group/first' is called 'first' too. Give one "
        "of them another name" in lines
    )


# -- what users' files may hold ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("steps", "def scale(:\n", "experiments/first/steps.py:1:"),
        ("steps", "import nothing_of_this_name\n", "nothing_of_this_name"),
        ("steps", "raise SystemExit(0)\n", "experiments/first/steps.py:1:"),
        ("steps", "raise ValueError('out of order')\n", "out of order"),
        ("steps", "scale = 3\n", "scale"),
        ("datasources", "", "numbers"),
        ("hooks", "from crystallize import hookimpl\n\n@hookimpl\ndef before_rum():\n    pass\n", "before_rum"),
        ("hooks", "from crystallize import hookimpl\n\n@hookimpl\ndef init_hook():\n    1 / 0\n", "first/hooks.py:5"),
        ("config", "", "experiments/first/config.yaml"),
        ("config", "- 1\n", "experiments/first/config.yaml:1:1"),
        ("config", "steps: [scale\n", "experiments/first/config.yaml:2:1"),
        ("config", "steps: !!python/object:os.system [x]\n", "experiments/first/config.yaml:1:"),
        ("config", "datasource: numbers\nsteps:\n\t- scale\n", "experiments/first/config.yaml:3:1"),
        ("config", "datasource: numbers\nsteps: [scale]\nsteps: [scale]\n", "experiments/first/config.yaml:3:1"),
    ],
)  # fmt: skip
def test_whatever_is_in_a_file_is_a_problem_with_its_place(command, file, text, told):
    write("first", **{file: text})
    done = command("check", code=2)
    assert done.stdout.startswith("first  ")
    assert told in done.stdout


def test_what_modules_print_does_not_spoil_the_answer(command):
    write("first", steps="import os\nprint('hello')\nos.system('echo shell')\n" + GOOD["steps.py"])
    done = command("check", "--json")
    assert [each["name"] for each in json.loads(done.stdout)] == ["first"]
    assert "hello" in done.stderr


def test_experiments_with_modules_of_the_same_names_do_not_meet(command):
    for name in ("first", "second"):
        write(
            name,
            config=GOOD["config.yaml"].replace("scale", name),
            steps=GOOD["steps.py"].replace("scale", name),
        )
    assert command("check").stdout.split() == ["first", "ok", "second", "ok"]
