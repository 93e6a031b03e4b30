"""What the template makes: a distribution that builds, passes its own tests and checks, and works when installed."""

from __future__ import annotations

import ast
import gzip
import json
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from hatchling.build import build_wheel

KINDS = ("plugin", "strategy", "loader", "verifier", "command")
NAMES = {kind: f"crystallize-my-{kind}" for kind in KINDS}
ENTRIES = {kind: f"my-{kind}" for kind in KINDS} | {"verifier": "my_verifier"}
SHORTEST, LONGEST = "x", "crystallize-" + "x" * 28

HOSTILE = 'Ünï \\ "quoted" \'it\'\'s\' {a} }} %} #} $x `y` \\n \\u00zz <b>&amp; 😀 👩‍🔬 """'


@pytest.fixture(scope="module")
def baked(bake, tmp_path_factory):
    """Return a project of each kind."""
    folder = tmp_path_factory.mktemp("baked")
    return {kind: bake(folder, distribution=NAMES[kind], kind=kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


# -- as it is written ----------------------------------------------------------------------------------------


def test_it_has_what_a_distribution_needs_and_nothing_of_the_other_kinds(baked, kind):
    project, module = baked[kind], NAMES[kind].replace("-", "_")
    files = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    assert files == {
        ".github/workflows/publish.yml",
        ".github/workflows/test.yml",
        ".gitignore",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        f"src/{module}/__init__.py",
        f"src/{module}/py.typed",
        f"tests/test_my_{kind}.py",
    }


def test_nothing_of_the_template_is_left_in_it(baked, kind):
    for path in baked[kind].rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"(?<!\$)\{\{|\{%|\{#|cookiecutter", text), path
            assert text == text.rstrip() + "\n" or path.name == "py.typed", (
                f"{path} does not end with one line end"
            )


def test_its_workflows_are_valid_and_test_on_every_python_that_we_support(baked, kind):
    folder = baked[kind] / ".github" / "workflows"
    (job,) = yaml.safe_load((folder / "test.yml").read_text())["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert {"ruff check", "ruff format --check", "mypy", "pytest"} <= set(commands)
    (publishing,) = yaml.safe_load((folder / "publish.yml").read_text())["jobs"].values()
    assert publishing["permissions"] == {"id-token": "write"}


def test_it_needs_the_crystallize_that_it_was_made_with_or_newer(baked, kind):
    ours = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    project = tomllib.loads((baked[kind] / "pyproject.toml").read_text())["project"]
    (needed,) = (each for each in project["dependencies"] if each.startswith("crystallize-lab"))
    assert ours.startswith(needed.removeprefix("crystallize-lab>="))


@pytest.mark.parametrize("distribution", [SHORTEST, LONGEST], ids=["shortest name", "longest name"])
def test_ruff_is_content_whatever_the_name(bake, run, tmp_path, distribution):
    folder = tmp_path / "projects"
    for kind in KINDS:
        bake(folder / kind, distribution=distribution, kind=kind)
    for command in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        run(sys.executable, "-m", "ruff", *command, cwd=folder)


def test_any_text_may_be_in_description_and_author(bake, tmp_path, monkeypatch, kind):
    # Through the interface, cookiecutter renders what it is given, as it does not with what is typed.
    text = "{% raw %}" + HOSTILE + "{% endraw %}"
    project = bake(tmp_path, kind=kind, description=f"{text}\n and\t more ", author=text)
    described = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert described["description"] == f"{HOSTILE} and more"
    assert described["authors"] == [{"name": HOSTILE}]
    assert f"{HOSTILE} and more" in (project / "README.md").read_text()
    assert HOSTILE in (project / "LICENSE").read_text()
    for file in project.rglob("*.py"):
        ast.parse(file.read_text())
    monkeypatch.chdir(project)
    build_wheel("dist")


@pytest.mark.parametrize("license", ["MIT", "BSD-3-Clause", "Apache-2.0"])
def test_each_licence_comes_with_its_text(bake, tmp_path, license):
    project = bake(tmp_path, license=license)
    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["license"] == license
    first = (project / "LICENSE").read_text().split()[:3]
    assert first[0] == license.partition("-")[0]
    assert "License" in first


# -- as it is used -------------------------------------------------------------------------------------------


def listed(environment, folder):
    """Return what the command lists, by distribution, of the projects made here."""
    found = json.loads(environment.script("plugins", "list", "--json", cwd=folder))
    return {each["distribution"]: each for each in found if each["distribution"] in NAMES.values()}


@pytest.fixture(scope="module")
def installed(baked, environment, tmp_path_factory):
    """Build and install us and the projects of all kinds, give what is then listed, and remove those again."""
    folder = tmp_path_factory.mktemp("installed")
    environment.build_and_install(*baked.values())
    environment.pip("check")
    yield listed(environment, folder)
    environment.pip("uninstall", "--yes", *NAMES.values())
    assert listed(environment, folder) == {}, "a project is seen although it was removed"


def test_it_is_seen_once_it_is_installed(installed, environment, kind):
    assert (environment.packages / NAMES[kind].replace("-", "_") / "py.typed").is_file()
    entry = installed[NAMES[kind]]
    assert entry["name"] == ENTRIES[kind]
    assert (entry["kind"], entry["status"], entry["version"]) == (kind, "active", "0.1.0")
    assert entry["hooks"] == {
        "plugin": ["before_run", "before_step", "after_step", "after_replicate", "after_run"],
        "strategy": ["run_experiment_loop"],
    }.get(kind, [])
    assert entry["summary"]


def test_mypy_is_content(installed, baked, environment, run):
    # One call for all, with the settings of each: they are the same.
    settings = {str(mypy_settings(project)) for project in baked.values()}
    assert len(settings) == 1
    sources = [project / name for project in baked.values() for name in mypy_settings(project)["files"]]
    (folder,) = {project.parent for project in baked.values()}
    # What mypy has found of numpy and of ours holds wherever they are installed, as long as they are the same.
    cache = Path(__file__).parents[2] / ".mypy_cache" / "template"
    config = ("--config-file", baked["plugin"] / "pyproject.toml", "--cache-dir", cache)
    run(
        *(sys.executable, "-m", "mypy", "--python-executable", environment.python, *config, *sources),
        cwd=folder,
    )


def mypy_settings(project):
    return tomllib.loads((project / "pyproject.toml").read_text())["tool"]["mypy"]


@pytest.mark.usefixtures("installed")
def test_its_own_tests_pass(baked, environment, kind):
    assert " passed" in environment.pytest(baked[kind])


@pytest.mark.usefixtures("installed")
def test_it_does_what_its_readme_says(baked, kind, environment, run, tmp_path):
    do_as_the_readme_says(environment, run, baked[kind], tmp_path)
    USES[kind](environment, tmp_path)


def do_as_the_readme_says(environment, run, project, folder):
    use = (project / "README.md").read_text().partition("## Use\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", use, re.DOTALL | re.MULTILINE)
    assert blocks
    environment.crystallize("new", "trial", cwd=folder)
    for language, text in blocks:
        if language == "sh":
            for line in text.splitlines():
                words = shlex.split(line)
                if words[0] != "crystallize":
                    run(*words, cwd=folder)
                elif words[1:] != ["new", "trial"]:
                    environment.crystallize(*words[1:], cwd=folder)
        elif language == "python":
            run(environment.python, "-c", text, cwd=folder)
        else:
            assert language == "yaml"
            assert isinstance(yaml.safe_load(text), dict)


def use_plugin(environment, folder):
    written = folder / "data" / "trial" / "v1" / "step_times.csv"  # what the README ran is v0
    environment.crystallize("run", "trial", "--replicates", 3, "--execution", "process", cwd=folder)
    lines = [line.split(",")[:2] for line in written.read_text().splitlines()]
    assert lines == [["step", "calls"], ["EstimateStep", "6"]]
    environment.crystallize("run", "trial", "--replicates", 3, "-p", "no:my-plugin", cwd=folder)
    assert not written.with_name("v2").joinpath(written.name).exists()


def use_strategy(environment, folder):
    run = ("run", "trial", "--replicates", 5, "--json")
    own = json.loads(environment.crystallize(*run, "--execution", "my-strategy", "--workers", 2, cwd=folder))
    drove = json.loads(Path(own["trial"].pop("path"), "metadata.json").read_text())["plugins"]
    (settings,) = (plugin["settings"] for plugin in drove if plugin["name"] == "my-strategy")
    assert settings == {"max_workers": 2, "progress": False}
    serial = json.loads(environment.crystallize(*run, cwd=folder))
    del serial["trial"]["path"]
    assert own == serial


def use_loader(environment, folder):
    files = {
        "make/config.yaml": "datasource: nothing\nsteps: [write]\n"
        "outputs: {table: {file_name: table.json.gz, loader: my-loader}}\n",
        "make/datasources.py": "def nothing(): return None\n",
        "make/steps.py": "from crystallize import Artifact\n"
        "def write(data, table: Artifact):\n    table.write([1, 2])\n",
        "use/config.yaml": "datasource: {table: make#table}\nsteps: [add_up]\n",
        "use/steps.py": "def add_up(data): return None, {'sum': sum(data['table'])}\n",
    }
    for name, text in files.items():
        (folder / "experiments" / name).parent.mkdir(exist_ok=True)
        (folder / "experiments" / name).write_text(text)
    results = json.loads(environment.crystallize("run", "use", "--json", cwd=folder))
    assert results["use"]["conditions"]["baseline"]["metrics"] == {"sum": [3]}
    (table,) = folder.rglob("table.json.gz")
    assert json.loads(gzip.decompress(table.read_bytes())) == [1, 2]


def use_verifier(environment, folder):
    config = folder / "experiments" / "trial" / "config.yaml"
    with config.open("a") as file:
        file.write("hypotheses: [{verifier: my_verifier, metrics: error, args: {alpha: 0.01}}]\n")
    (result,) = json.loads(environment.crystallize("run", "trial", "--json", cwd=folder)).values()
    (hypothesis,) = result["hypotheses"]
    found = hypothesis["results"]["median"]
    assert found["larger"] + found["smaller"] == 100
    assert 0 < found["p_value"] < 1


def use_command(environment, folder):
    environment.crystallize("run", "trial", "--replicates", 3, cwd=folder)
    (run,) = json.loads(environment.crystallize("my-command", "--json", cwd=folder))
    assert (run["path"], run["status"], run["replicates"]) == ("data/trial/v0", "complete", 3)
    assert "my-command" in environment.crystallize("--help", cwd=folder)


USES = {
    "plugin": use_plugin,
    "strategy": use_strategy,
    "loader": use_loader,
    "verifier": use_verifier,
    "command": use_command,
}
