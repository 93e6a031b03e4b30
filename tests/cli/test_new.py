"""``crystallize new``: folders that run as they are, made whole or not at all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crystallize.config.scaffold import MODULES, NewExperiment, texts_of
from crystallize.errors import CrystallizeError
from crystallize.utils.writing import make_folder

ROOT = Path("experiments")
LEAST = {"config.yaml", "datasources.py", "steps.py"}
FULL = LEAST | {"outputs.py", "verifiers.py"}
ALL = ",".join(MODULES)

ALONE = [
    ((), LEAST, {"error"}, ["baseline", "median"]),
    (("--example",), FULL, {"error"}, ["baseline", "median", "trimmed_mean"]),
    (("--files", "steps"), LEAST, {"error"}, ["baseline", "median"]),
    (("--files", "outputs.py"), LEAST | {"outputs.py"}, {"error"}, ["baseline", "median"]),
    (("--files", "verifiers"), LEAST | {"verifiers.py"}, {"error"}, ["baseline", "median"]),
    (
        ("--files", "hooks"),
        LEAST | {"hooks.py"},
        {"error", "EstimateStep.seconds"},
        ["baseline", "median"],
    ),
    (
        ("--example", "--files", ALL),
        FULL | {"hooks.py"},
        {"error", "ContaminateStep.seconds", "EstimateStep.seconds"},
        ["baseline", "median", "trimmed_mean"],
    ),
]

SUMMARY = "first_summary.centre"
READING = [
    ((), {"config.yaml", "steps.py"}, {SUMMARY}, ["baseline"]),
    (("--example",), FULL - {"datasources.py"}, {SUMMARY, "total"}, ["baseline", "doubled"]),
    (
        ("--files", "datasources"),
        {"config.yaml", "steps.py", "datasources.py"},
        {SUMMARY, "sample.length"},
        ["baseline"],
    ),
    (
        ("--files", "outputs", "--files", "verifiers, datasources"),
        FULL,
        {SUMMARY, "sample.length", "total"},
        ["baseline", "doubled"],
    ),
]


def to_id(each: object) -> str:
    """Name a parameter; a set in order, as all processes that run tests have to agree."""
    return str(sorted(each) if isinstance(each, set) else each)[:40]


def everything_in(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def result_of(command, name: str, *arguments: str) -> dict:
    return json.loads(command("run", name, "--json", *arguments).stdout)


def make_example(command, name: str, *flags: str) -> None:
    """Make an experiment that another one can read, which has fewer replicates than a new one has."""
    command("new", name, "--example", *flags)
    config = ROOT / name / "config.yaml"
    text, number = re.subn(r"^replicates: 100\b", "replicates: 6", config.read_text(), flags=re.MULTILINE)
    assert number == 1
    config.write_text(text)


# -- what is made runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "files", "metrics", "conditions"), ALONE, ids=to_id)
def test_a_new_experiment_runs_as_it_is(command, flags, files, metrics, conditions):
    made = command("new", "first", *flags)
    assert {path.name for path in (ROOT / "first").iterdir()} == files
    assert made.stderr == ""
    for file in files:
        assert f"\n  {file} " in made.stdout
    assert made.stdout.endswith("Run it with: crystallize run first\n")
    assert command("check", "first").stdout.split() == ["first", "ok"]
    result = result_of(command, "first", "--replicates", "8")["first"]
    assert list(result["conditions"]) == conditions
    for outcome in result["conditions"].values():
        assert not outcome["errors"]
        assert outcome["metrics"].keys() == metrics
        assert all(len(values) == 8 for values in outcome["metrics"].values())
    assert bool(result["hypotheses"]) == ("verifiers.py" in files)
    assert bool(result["artifacts"]) == ("outputs.py" in files)


@pytest.mark.parametrize(("flags", "files", "metrics", "conditions"), READING, ids=to_id)
def test_a_new_experiment_that_reads_another_runs_after_it(command, flags, files, metrics, conditions):
    make_example(command, "first")
    command("new", "second", "--from", "first#summary", *flags)
    assert {path.name for path in (ROOT / "second").iterdir()} == files
    assert command("check").stdout.split() == ["first", "ok", "second", "ok"]
    results = result_of(command, "second")
    assert list(results) == ["first", "second"]
    second = results["second"]
    assert second["replicates"] == results["first"]["replicates"]
    assert list(second["conditions"]) == conditions
    for outcome in second["conditions"].values():
        assert not outcome["errors"]
        assert metrics <= outcome["metrics"].keys()
    assert bool(second["hypotheses"]) == ("verifiers.py" in files)


def test_what_arrives_is_what_the_other_experiment_wrote(command):
    make_example(command, "first")
    command("new", "second", "--from", "first#summary")
    results = result_of(command, "second", "--replicates", "5")
    arrived = results["second"]["conditions"]["baseline"]["metrics"]["first_summary.centre"]
    errors = results["first"]["conditions"]["baseline"]["metrics"]["error"]
    assert [abs(centre) for centre in arrived] == errors[:5]


def test_the_table_of_a_new_experiment_says_something(command):
    command("new", "first")
    table = command("run", "first").stdout
    rows = [line.split() for line in table.splitlines() if line.startswith("error ")]
    assert [row[1:3] for row in rows] == [["baseline", "100"], ["median", "100"]]
    (difference,) = rows[1][5:6]
    assert float(difference) < 0, "the median should be closer to the centre"


def test_several_artifacts_of_several_experiments_arrive_by_alias(command):
    make_example(command, "first")
    make_example(command, "1st-try")
    sources = ["first#summary", "1st-try#summary", "first#summary"]
    command("new", "third", *(word for source in sources for word in ("--from", source)))
    config = (ROOT / "third" / "config.yaml").read_text()
    assert "  first_summary: first#summary\n  from_1st_try_summary: 1st-try#summary\n\n" in config
    results = result_of(command, "third")
    assert results["third"]["conditions"]["baseline"]["metrics"].keys() >= {
        "first_summary.centre",
        "from_1st_try_summary.centre",
    }


def test_references_whose_aliases_would_be_equal_get_their_own(command):
    for name in ("a-b", "a_b"):
        command("new", name, "--files", "outputs")
    command("new", "both", "--from", "a-b#summary", "--from", "a_b#summary")
    assert (
        "  a_b_summary: a-b#summary\n  a_b_summary_2: a_b#summary\n"
        in (ROOT / "both" / "config.yaml").read_text()
    )
    command("check", "both")


@pytest.mark.parametrize(
    "name", ["with space", "süß", "3", "true", "it's {odd}", "a.b", "$HOME", "ünder-score"]
)
def test_an_odd_name_is_no_hindrance(command, name):
    make_example(command, name, "--files", "hooks")
    command("new", "reader", "--from", f"{name}#summary")
    command("run", "reader", "--replicates", "2")


@pytest.mark.parametrize("example", [False, True])
@pytest.mark.parametrize("inputs", [{}, {"a_b": "a#b"}], ids=["alone", "reading"])
@pytest.mark.parametrize("asked", [(), ("outputs",), ("datasources", "verifiers"), tuple(MODULES)], ids=str)
def test_the_code_is_in_good_style(example, inputs, asked, tmp_path):
    new_experiment = NewExperiment(
        "name", "name", example=example, inputs=inputs, requested_modules=frozenset(asked)
    )
    for file, text in texts_of(new_experiment).items():
        (tmp_path / file).write_text(text)
    ruff = Path(sys.executable).parent / "ruff"
    rules = ["--isolated", "--no-cache", "--line-length=88", "--target-version=py311"]
    for task in (
        ["check", "--select=E,F,W,I,B,UP,SIM,RUF,C4,RET,PT,PL,D3,D4", "--ignore=D407"],
        ["format", "--diff"],
    ):
        done = subprocess.run(
            [ruff, *task, *rules, "."], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


# -- where -------------------------------------------------------------------------------------------------


def test_the_folder_is_made_below_the_root_that_pyproject_names(command):
    Path("pyproject.toml").write_text('[tool.crystallize]\nroot = "lab/trials"\n')
    Path("deep/er").mkdir(parents=True)
    made = command("new", "first", cwd=Path("deep/er"))
    assert Path("lab/trials/first/config.yaml").is_file()
    assert "crystallize run first" in made.stdout
    command("run", "first", "--replicates", "2", cwd=Path("deep/er"))


def test_another_root_can_be_chosen_and_the_command_to_run_it_is_given(command):
    made = command("new", "first", "--root", "else where")
    assert "Run it with: crystallize run 'else where/first'" in made.stdout
    command("run", "else where/first", "--replicates", "2")
    assert "crystallize check 'else where/first'" in Path("else where/first/config.yaml").read_text()


def test_artifacts_are_looked_for_below_the_chosen_root(command):
    command("new", "first", "--example", "--root", "elsewhere")
    assert "no experiment 'first'" in command("new", "second", "--from", "first#summary", code=2).stderr
    command("new", "second", "--from", "first#summary", "--root", "elsewhere")
    command("run", "elsewhere/second", "--replicates", "2")


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "../x", "a/b", "/abs", "a\\b", "a:b", "a*", "a\nb", "a\u2028b", "con", " x", "x.", "x" * 300,
     ".hidden", "-x", "a#b"],
)  # fmt: skip
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_made(command, name):
    done = command("new", "--", name, code=2)
    assert "cannot be the name of an experiment" in done.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "dead link"])
def test_what_exists_is_named_and_left_as_it_is(command, kind):
    ROOT.mkdir()
    target = ROOT / "first"
    if kind == "file":
        target.write_text("mine")
    elif kind == "dead link":
        target.symlink_to("nowhere")
    else:
        target.mkdir()
    if kind == "folder":
        (target / "steps.py").write_text("mine")
    before = everything_in(ROOT)
    done = command("new", "first", "--example", code=2)
    assert "experiments/first' exists already" in done.stderr
    assert everything_in(ROOT) == before
    assert os.path.lexists(target)


def test_the_name_of_an_experiment_elsewhere_below_the_root_is_refused(command):
    command("new", "first", "--root", "experiments/group")
    done = command("new", "first", code=2)
    assert "already, in 'experiments/group/first'" in done.stderr
    assert not (ROOT / "first").exists()


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("frist#summary", "there is no experiment 'frist' (experiments). Did you mean 'first'? "
                          "There are 'first', 'plain'"),
        ("first#sumary", "has no output 'sumary' (experiments/first/config.yaml). "
                         "Did you mean 'summary'? Its outputs are 'summary'"),
        ("plain#summary", "experiment 'plain' has no output 'summary' (experiments/plain/config.yaml)"),
        ("first", "Write it like this: 'prepare#summary'"),
        ("#summary", "Write it like this"),
        ("first#", "Write it like this"),
        ("first#summary#x", "has no output 'summary#x'"),
    ],
)  # fmt: skip
def test_an_artifact_that_is_not_there_is_refused_with_the_nearest(command, reference, told):
    command("new", "first", "--example")
    command("new", "plain")
    done = command("new", "second", "--from", "first#summary", "--from", reference, code=2)
    assert told in done.stderr
    assert not (ROOT / "second").exists()


def test_an_artifact_of_a_broken_experiment_is_refused_with_what_is_wrong_there(command):
    (ROOT / "first").mkdir(parents=True)
    (ROOT / "first" / "config.yaml").write_text("datasource: x\nstesp: [y]\n")
    done = command("new", "second", "--from", "first#summary", code=2)
    assert "experiments/first/config.yaml:2:1" in done.stderr
    assert not (ROOT / "second").exists()


@pytest.mark.parametrize("files", ["step", "steps,hook", "", "steps,,hooks", "config"])
def test_an_unknown_module_is_refused_with_the_known_ones(command, files):
    done = command("new", "first", "--files", files, code=2)
    assert "There are 'datasources', 'hooks', 'outputs', 'steps', 'verifiers'" in done.stderr
    assert not ROOT.exists()


def test_a_missing_name_is_wrong_use(command):
    assert "Missing argument" in command("new", code=2).stderr


# -- whole or not at all -----------------------------------------------------------------------------------


def test_a_root_that_is_a_file_is_an_error_and_stays(command):
    Path("lab").write_text("mine")
    done = command("new", "first", "--root", "lab/inner", code=2)
    assert "lab/inner/first' cannot be made" in done.stderr
    assert everything_in(Path()) == {"lab": b"mine"}


def test_a_folder_that_cannot_be_written_completely_leaves_nothing_behind():
    contents = {"a.py": b"", "b.py": b"", "a.py/c.py": b""}  # a.py cannot be a file and a folder
    with pytest.raises(CrystallizeError, match="cannot be made"):
        make_folder(Path("deep/er/folder").absolute(), contents)
    assert list(Path().iterdir()) == []


def test_of_many_at_the_same_time_one_makes_the_folder(command):
    with ThreadPoolExecutor(4) as pool:
        flags = [("--example",), ("--files", "hooks")] * 2
        done = list(pool.map(lambda flag: command("new", "first", *flag, code=None, apart=True), flags))
    assert sorted(each.returncode for each in done) == [0, 2, 2, 2]
    (made,) = [each.stdout for each in done if each.returncode == 0]
    assert [path.name for path in ROOT.iterdir()] == ["first"]
    assert all(f"  {path.name} " in made for path in (ROOT / "first").iterdir())
    command("check")


def test_the_shell_completes_the_outputs_of_other_experiments(command, complete):
    command("new", "first", "--example")
    command("new", "plain")
    Path("experiments/broken").mkdir()
    Path("experiments/broken/config.yaml").write_text("steps: [")
    assert complete("crystallize new second --from f") == ["first#summary"]
