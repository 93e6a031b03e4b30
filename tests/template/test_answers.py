"""What the template asks, and which answers it refuses."""

from __future__ import annotations

import ast
import builtins
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from crystallize import discovery
from crystallize.cli.commands import BUILT_IN

KINDS = ("plugin", "strategy", "loader", "verifier", "command")


def names_in_hook(template: Path, variable: str) -> set[str]:
    """Read a set of names from the hook, which cannot be imported: it is a template itself."""
    tree = ast.parse((template / "hooks" / "pre_gen_project.py").read_text())
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == variable
    )
    return eval(compile(ast.Expression(value), "hook", "eval"))


@pytest.fixture
def call(template, cookiecutter_config):
    """Return a function that calls the command ``cookiecutter``, and types the answers."""

    def run(*arguments: object, typed: str = "") -> subprocess.CompletedProcess[str]:
        options = [argument for argument in arguments if "=" not in str(argument)]
        answers = [argument for argument in arguments if "=" in str(argument)]
        command = (sys.executable, "-m", "cookiecutter", "--config-file", cookiecutter_config)
        return subprocess.run(
            [str(part) for part in (*command, *options, template, *answers)],
            input=f"{typed}\n",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


# -- questions -----------------------------------------------------------------------------------------------


def test_it_asks_at_most_six_questions_each_in_words(template):
    answers = json.loads((template / "cookiecutter.json").read_text())
    questions = [name for name in answers if not name.startswith("_")]
    assert len(questions) <= 6
    assert set(questions) == set(answers["__prompts__"])
    assert set(answers["__prompts__"]["kind"]) == {"__prompt__", *answers["kind"]}
    assert tuple(answers["kind"]) == KINDS


def test_someone_who_types_the_answers_gets_a_project(call, tmp_path):
    answers = [
        "crystallize-tiny",
        "3",
        "Says {{ 6 * 7 }} and {% raw %}",
        "Ada",
        "https://example.org/tiny",
        "2",
    ]
    done = call("-o", tmp_path, typed="\n".join(answers))
    assert done.returncode == 0, done.stderr
    assert re.findall(r"\[(\d)/(\d)\]", done.stdout) == [(str(number), "6") for number in range(1, 7)]
    project = tomllib.loads((tmp_path / "crystallize-tiny" / "pyproject.toml").read_text())["project"]
    assert project["description"] == "Says {{ 6 * 7 }} and {% raw %}"
    assert project["license"] == "BSD-3-Clause"
    assert project["entry-points"] == {"crystallize.loaders": {"tiny": "crystallize_tiny:TinyLoader"}}


@pytest.mark.parametrize("kind", KINDS)
def test_enter_is_a_good_answer_to_everything_but_the_kind(bake, tmp_path, kind):
    project = tomllib.loads((bake(tmp_path, kind=kind) / "pyproject.toml").read_text())["project"]
    assert project["name"] == "crystallize-step-timer"
    assert project["description"].endswith("for Crystallize")


@pytest.mark.parametrize(
    ("distribution", "kind", "folder", "entry", "value"),
    [
        ("crystallize-gz", "loader", "crystallize-gz", "gz", "crystallize_gz:GzLoader"),
        (
            "Crystallize_Gz.Loader",
            "loader",
            "crystallize-gz-loader",
            "gz-loader",
            "crystallize_gz_loader:GzLoader",
        ),
        ("acme-pool", "strategy", "acme-pool", "acme-pool", "acme_pool:AcmePoolExecution"),
        (
            "crystallize-sign-test",
            "verifier",
            "crystallize-sign-test",
            "sign_test",
            "crystallize_sign_test:sign_test",
        ),
        (
            "crystallize-old-runs",
            "command",
            "crystallize-old-runs",
            "old-runs",
            "crystallize_old_runs:old_runs",
        ),
        ("crystallize-plugin", "plugin", "crystallize-plugin", "plugin", "crystallize_plugin:Plugin"),
    ],
)
def test_all_names_follow_from_the_distributions(bake, tmp_path, distribution, kind, folder, entry, value):
    made = bake(tmp_path, distribution=distribution, kind=kind)
    assert made.name == folder
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    assert project["name"] == distribution
    (entries,) = project["entry-points"].values()
    assert entries == {entry: value}
    assert (made / "src" / value.partition(":")[0] / "py.typed").is_file()


# -- bad answers ---------------------------------------------------------------------------------------------

REFUSED = [
    ({"distribution": ""}, "no name for a distribution"),
    ({"distribution": "---"}, "no name for a distribution"),
    ({"distribution": "two words"}, "no name for a distribution"),
    ({"distribution": "crystallize-"}, "no name for a distribution"),
    ({"distribution": "../elsewhere"}, "no name for a distribution"),
    ({"distribution": "crystallize-zähler"}, "no name for a distribution"),
    ({"distribution": "it's"}, "no name for a distribution"),
    ({"distribution": 'a"b'}, "no name for a distribution"),
    ({"distribution": "a\nb"}, "no name for a distribution"),
    ({"distribution": "crystallize-" + "x" * 29}, "longer than 40 characters"),
    ({"distribution": "crystallize"}, "Crystallize itself"),
    ({"distribution": "Crystallize_Lab"}, "Crystallize itself"),
    (
        {"distribution": "crystallize-seed"},
        "'seed', which is 'crystallize-seed' without 'crystallize-', is a part",
    ),
    ({"distribution": "crystallize-json", "kind": "loader"}, "is a part of Crystallize"),
    ({"distribution": "crystallize.thread", "kind": "strategy"}, "is a part of Crystallize"),
    ({"distribution": "crystallize-run", "kind": "command"}, "is a part of Crystallize"),
    ({"distribution": "crystallize-Paired_T.test", "kind": "verifier"}, "is a part of Crystallize"),
    ({"distribution": "crystallize-dask"}, "is a part of Crystallize"),
    ({"distribution": "2fast"}, "begins with a digit"),
    ({"distribution": "crystallize-2fast"}, "begins with a digit"),
    ({"distribution": "crystallize-lambda"}, "keyword"),
    ({"distribution": "class"}, "keyword"),
    ({"distribution": "statistics"}, "'statistics' is a module that Python has already"),
    ({"distribution": "tests"}, "module that Python has already"),
    ({"distribution": "crystallize-base"}, "'BasePlugin' would hide"),
    ({"distribution": "crystallize-base-plugin"}, "'BasePlugin' would hide"),
    ({"distribution": "crystallize-sum", "kind": "verifier"}, "'sum' would hide"),
    ({"distribution": "crystallize-typer", "kind": "command"}, "'typer' would hide"),
    ({"distribution": "crystallize-test-everything"}, "begins with 'test'"),
    ({"description": ""}, "the description is empty"),
    ({"description": " \n\t"}, "the description is empty"),
    ({"description": "a\x00b"}, "the description has control characters"),
    ({"description": "a\x1b[1mb"}, "the description has control characters"),
    ({"description": "x" * 513}, "longer than 512 characters"),
    ({"author": ""}, "the author is empty"),
    ({"author": "a\x07b"}, "the author has control characters"),
    ({"repository": ""}, "is no address"),
    ({"repository": "github.com/me/timer"}, "is no address"),
    ({"repository": "git@github.com:me/timer.git"}, "is no address"),
    ({"repository": "https://"}, "is no address"),
    ({"repository": "https:///timer"}, "is no address"),
    ({"repository": "http://[::1/timer"}, "is no address"),
    ({"repository": 'https://example.org/"timer'}, "is no address"),
    ({"repository": "https://example.org/a timer"}, "is no address"),
    ({"repository": "javascript:alert(1)"}, "is no address"),
]


@pytest.mark.parametrize(("answers", "reason"), REFUSED, ids=[ascii(answers)[:60] for answers, _ in REFUSED])
def test_a_bad_answer_is_refused_with_its_reason_and_leaves_nothing_behind(
    bake, tmp_path, capfd, answers, reason
):
    from cookiecutter.exceptions import FailedHookException

    with pytest.raises(FailedHookException):
        bake(tmp_path / "made", **answers)
    (told,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("Error:"))
    assert reason in told
    assert list((tmp_path / "made").iterdir()) == []


def test_all_bad_answers_are_told_at_once(bake, tmp_path, capfd):
    from cookiecutter.exceptions import FailedHookException

    with pytest.raises(FailedHookException):
        bake(tmp_path, distribution="crystallize-seed", description="", author="", repository="here")
    assert capfd.readouterr().err.count("Error: ") == 4


def test_the_command_ends_with_an_error(call, tmp_path):
    done = call("--no-input", "-o", tmp_path / "made", "distribution=two words")
    assert done.returncode != 0
    assert "Error: 'two words'" in done.stderr
    assert list((tmp_path / "made").iterdir()) == []


def test_the_names_of_all_our_parts_are_taken(template):
    parts = {
        discovery.normalise(found.name)
        for group in discovery.GROUPS
        for found in discovery.find(group)
        if discovery.normalise(found.distribution) == discovery.CORE
    }
    assert names_in_hook(template, "TAKEN") == parts | set(BUILT_IN) | {name for _, name in discovery.ADD_ONS}


@pytest.mark.parametrize("kind", KINDS)
def test_no_name_that_is_accepted_hides_what_the_project_uses(bake, template, tmp_path, kind):
    made = bake(tmp_path, kind=kind)
    used = set()
    for file in made.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                used |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                used.add(node.name)
                names = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
                if any(each.id == "step_timer" for each in names):  # a local variable would hide it
                    used |= {each.id for each in names if isinstance(each.ctx, ast.Store)}
                    used |= {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    suffix = {"plugin": "Plugin", "strategy": "Execution", "loader": "Loader"}.get(kind)
    possible = re.compile(rf"[A-Z]\w*{suffix}" if suffix else "[a-z][a-z0-9_]*")
    own = {f"StepTimer{suffix}", "step_timer"}
    refused = names_in_hook(template, "TAKEN") | names_in_hook(template, "USED") | set(dir(builtins))
    found = {name for name in used if possible.fullmatch(name) and not name.startswith("test_")}
    assert found - own <= refused
