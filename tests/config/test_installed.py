"""What other distributions install can be named in a config.yaml."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crystallize.config.build import load_experiment
from crystallize.config.errors import Problem
from crystallize.discovery import ADD_ONS, PLUGINS

MakeFolder = Callable[..., Path]
ProblemsOf = Callable[[Path], list[Problem]]

CONFIG = "datasource: numbers\nsteps: [total]\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that installs a distribution of one module."""

    def install(name: str, entry_points: str, source: str) -> None:
        site = tmp_path / f"site_{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        (site / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        names.append(name)

    names: list[str] = []
    yield install
    for name in names:
        sys.modules.pop(name, None)


def test_a_strangers_verifier_is_named_like_ours(
    make_folder: MakeFolder, install: Callable[..., None]
) -> None:
    source = (
        "from crystallize import verifier\n@verifier\ndef calm(a, b, *, level=1): return {'p_value': level}\n"
    )
    install("calm_statistics", "[crystallize.verifiers]\ncalm = calm_statistics:calm\n", source)
    config = (
        CONFIG
        + "treatments: {more: {}}\nhypotheses: [{verifier: calm, metrics: total, args: {level: 0.5}}]\n"
    )
    result = load_experiment(make_folder("study", config)).run()
    assert result.get_hypothesis("calm").get_for_treatment("more") == {"p_value": 0.5}


def test_the_folders_own_verifier_comes_before_an_installed_one(make_folder: MakeFolder) -> None:
    own = "from crystallize import verifier\n@verifier\ndef welch_t_test(a, b): return {'p_value': 0.25}\n"
    config = CONFIG + "treatments: {more: {}}\nhypotheses: [{verifier: welch_t_test, metrics: total}]\n"
    result = load_experiment(make_folder("study", config, verifiers=own)).run()
    assert result.get_hypothesis("welch_t_test").get_for_treatment("more") == {"p_value": 0.25}


def test_a_named_plugin_that_cannot_be_loaded_is_an_error(
    make_folder: MakeFolder, problems_of: ProblemsOf, install: Callable[..., None]
) -> None:
    install("broken_plugin", "[crystallize.plugins]\nbroken = broken_plugin:Plugin\n", "1 / 0\n")
    for setting in ("true", "{level: 3}"):
        folder = make_folder("study", f"{CONFIG}plugins: {{broken: {setting}}}\n")
        (problem,) = problems_of(folder)
        assert (problem.key, problem.line, problem.column) == ("plugins.broken", 3, 11)
        assert "broken_plugin 1.0" in problem.message
        assert "division by zero" in problem.message
    assert problems_of(make_folder("study", f"{CONFIG}plugins: {{broken: false}}\n")) == []


def test_a_strangers_plugin_takes_its_arguments_and_takes_its_own_place(
    make_folder: MakeFolder,
    problems_of: ProblemsOf,
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = """
from crystallize.plugins.plugins import BasePlugin

class Marker(BasePlugin):
    def __init__(self, mark="x"):
        self.mark = mark
    def before_replicate(self, experiment, ctx):
        ctx.add("mark", self.mark)
"""
    install("marker", "[crystallize.plugins]\nmarker = marker:Marker\n", source)
    steps = "def total(data, *, mark): return data, {'mark': mark}\n"

    def marks(setting: str) -> object:
        experiment = load_experiment(
            make_folder("study", f"{CONFIG}plugins: {{marker: {setting}}}\n", steps=steps)
        )
        return experiment.run().metrics.baseline.metrics["mark"]

    assert marks("{mark: y}") == ["y"]
    assert marks("true") == ["x"]
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert marks("true") == ["x"]  # what is named is wanted
    (problem,) = problems_of(make_folder("study", f"{CONFIG}plugins: {{marker: {{mrk: y}}}}\n", steps=steps))
    assert "Did you mean 'mark'?" in problem.hint


# -- names ----------------------------------------------------------------------------------------------------


DRIVERS = """
from crystallize import BasePlugin

class Mine(BasePlugin):
    def __init__(self, size=1, label="x"):
        if size < 1:
            raise ValueError("size is at least 1")
        self.size = size
    def run_experiment_loop(self, experiment, replicate_fn):
        return [replicate_fn(number) for number in range(experiment.replicates)]

class Needy(Mine):
    def __init__(self, address):
        pass

class Shout:
    suffixes = (".shout",)
    def load(self, path):
        return path.read_text().lower()
    def dump(self, value):
        return str(value).upper().encode()

class Wide(Shout):
    suffixes = ".shout"

made = Mine(7)
number = 3
"""


@pytest.mark.parametrize(
    ("execution", "size"),
    [
        ("drivers:Mine", 1),
        ("{strategy: drivers:Mine, size: 5}", 5),
        ("drivers:made", 7),
        ("my_mine", 1),
        ("{strategy: My-Mine, size: 5}", 5),
    ],
)
def test_a_strategy_is_named_by_its_name_or_by_its_dotted_path(
    make_folder: MakeFolder, install: Callable[..., None], execution: str, size: int
) -> None:
    install("drivers", "[crystallize.execution]\nmy-mine = drivers:Mine\n", DRIVERS)
    experiment = load_experiment(make_folder("study", f"{CONFIG}execution: {execution}\n"))
    strategy = experiment.plugins.strategy
    assert strategy is not None
    assert (type(strategy.plugin).__name__, strategy.plugin.size) == ("Mine", size)
    assert experiment.run(replicates=2).metrics.baseline.metrics["total"] == [3, 3]


@pytest.mark.parametrize(
    ("execution", "column", "message"),
    [
        ("drivers:Mien", 12, "Did you mean 'Mine'?"),
        ("no_such_module:Mine", 12, "No module named 'no_such_module'"),
        ("needy:Mine", 12, "needy.py:2)"),
        ("'drivers:'", 12, "it is not of the form 'package.module:Name'"),
        ("drivers:number", 12, "is no execution strategy: 3 has no run_experiment_loop"),
        ("drivers:Needy", 12, "strategy 'drivers:Needy' needs the parameter 'address'"),
        ("gone", 12, "entry point 'gone' of drivers 1.0 could not be loaded"),
        ("{strategy: drivers:Mien}", 23, "Did you mean 'Mine'?"),
        ("{strategy: drivers:Mine, sise: 1}", 37, "has no parameter 'sise'"),
        ("{strategy: drivers:Mine, size: 0}", 43, "ValueError: size is at least 1"),
        ("{strategy: drivers:made, size: 0}", 37, "has no parameter 'size'"),
    ],
)
def test_a_strategy_that_cannot_be_used_is_named_with_its_line_and_column(
    make_folder: MakeFolder,
    problems_of: ProblemsOf,
    install: Callable[..., None],
    execution: str,
    column: int,
    message: str,
) -> None:
    install("drivers", "[crystallize.execution]\ngone = drivers:Gone\n", DRIVERS)
    install("needy", "", "x = 1\nimport no_such_module_either\n")
    (problem,) = problems_of(make_folder("study", f"{CONFIG}execution: {execution}\n"))
    assert message in str(problem)
    assert (problem.line, problem.column) == (3, column)


WRITING = """
from crystallize import Artifact

def total(data, *, out: Artifact):
    out.write("Text")
    return data
"""


@pytest.mark.parametrize("role", ["loader", "writer"])
@pytest.mark.parametrize("name", ["drivers:Shout", "my_shout", "My-Shout"])
def test_a_loader_is_named_by_its_name_or_by_its_dotted_path(
    make_folder: MakeFolder, install: Callable[..., None], role: str, name: str
) -> None:
    install("drivers", "[crystallize.loaders]\nmy-shout = drivers:Shout\n", DRIVERS)
    config = f"{CONFIG}outputs: {{out: {{file_name: a.txt, {role}: '{name}'}}}}\n"
    result = load_experiment(make_folder("study", config, steps=WRITING)).run(replicates=1)
    (file,) = result.path.rglob("a.txt")
    assert file.read_text() == "TEXT"


@pytest.mark.parametrize("role", ["loader", "writer"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("drivers:Shuot", "Did you mean 'Shout'?"),
        ("no_such_module:Shout", "No module named 'no_such_module'"),
        ("needy:Shout", "needy.py:2)"),
        ("drivers:", "it is not of the form 'package.module:Name'"),
        (
            "drivers:number",
            "'drivers:number' is no loader: a loader has load(path), dump(value) and suffixes",
        ),
        ("drivers:Wide", "a loader's suffixes are a tuple like ('.json',), not '.shout'"),
        ("gone", "entry point 'gone' of drivers 1.0 could not be loaded"),
        ("jsn", "Did you mean 'json'?"),
    ],
)
def test_a_loader_that_cannot_be_used_is_named_with_its_line_and_column(
    make_folder: MakeFolder,
    problems_of: ProblemsOf,
    install: Callable[..., None],
    role: str,
    name: str,
    message: str,
) -> None:
    install("drivers", "[crystallize.loaders]\ngone = drivers:Gone\n", DRIVERS)
    install("needy", "", "x = 1\nimport no_such_module_either\n")
    config = f"{CONFIG}outputs: {{out: {{file_name: a.txt, {role}: '{name}'}}}}\n"
    (problem,) = problems_of(make_folder("study", config, steps=WRITING))
    assert message in str(problem)
    assert (problem.line, problem.column, problem.key) == (3, 43, f"outputs.out.{role}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("calm_statistics:calm", ""),
        ("Calm", ""),
        ("calm_statistics:clam", "Did you mean 'calm'?"),
        ("odd", "entry point 'odd' of calm_statistics 1.0 cannot be used: "),
        ("gone", "entry point 'gone' of calm_statistics 1.0 could not be loaded"),
        ("clam", "no verifier is called 'clam' among the installed ones. Did you mean 'calm'?"),
    ],
)
def test_a_verifier_is_named_by_its_name_or_by_its_dotted_path(
    make_folder: MakeFolder, problems_of: ProblemsOf, install: Callable[..., None], name: str, message: str
) -> None:
    source = "from crystallize import verifier\n@verifier\ndef calm(a, b): return {'p_value': 1}\nodd = 3\n"
    entries = "calm = calm_statistics:calm\nodd = calm_statistics:odd\ngone = calm_statistics:gone\n"
    install("calm_statistics", f"[crystallize.verifiers]\n{entries}", source)
    config = f"{CONFIG}treatments: {{more: {{}}}}\nhypotheses: [{{verifier: '{name}', metrics: total}}]\n"
    problems = problems_of(make_folder("study", config))
    assert len(problems) == bool(message)
    for problem in problems:
        assert message in str(problem)
        assert (problem.line, problem.key) == (4, "hypotheses[0].verifier")


def test_settings_of_a_plugin_that_is_not_installed_are_an_error_and_a_switch_is_none(
    make_folder: MakeFolder, problems_of: ProblemsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ADD_ONS, (PLUGINS, "progress-bar"), "crystallize-progress")
    for setting in ("true", "{color: red}"):
        (problem,) = problems_of(make_folder("study", f"{CONFIG}plugins: {{progress_bar: {setting}}}\n"))
        assert (problem.line, problem.column, problem.key) == (3, 11, "plugins.progress_bar")
        assert "pip install crystallize-progress" in problem.hint
    assert problems_of(make_folder("study", f"{CONFIG}plugins: {{progress_bar: false}}\n")) == []


@pytest.mark.parametrize(
    ("plugins", "message"),
    [
        ("{logging: {}, Logging: true}", "'Logging' names the plugin of line 3 again"),
        ("{crystallize-lab: {}}", "the distribution 'crystallize-lab' has several plugins"),
    ],
)
def test_settings_that_contradict_each_other_are_an_error(
    make_folder: MakeFolder, problems_of: ProblemsOf, plugins: str, message: str
) -> None:
    (problem,) = problems_of(make_folder("study", f"{CONFIG}plugins: {plugins}\n"))
    assert message in problem.message
    assert problem.line == 3


@pytest.mark.parametrize("in_file", ["", "plugins: {seed: false}\n", "plugins: {crystallize-lab: false}\n"])
@pytest.mark.parametrize("seed", [None, 5])
def test_without_the_plugin_that_seeds_the_seed_is_that_of_the_context_alone(
    make_folder: MakeFolder, in_file: str, seed: int | None
) -> None:
    folder = make_folder("study", f"{CONFIG}seed: 3\n{in_file}")
    experiment = load_experiment(folder, seed=seed, disable_plugins=[] if in_file else ["seed"])
    assert "seed" not in [record.name for record in experiment.plugins.records]
    assert experiment.master_seed == (seed or 3)
    assert not experiment.is_seed_drawn


def test_settings_reach_the_core_s_plugin_whoever_claims_its_name(
    make_folder: MakeFolder, install: Callable[..., None]
) -> None:
    install("zzz_thief", "[crystallize.plugins]\nseed = zzz_thief:x\n", "x = 1\n")
    experiment = load_experiment(make_folder("study", f"{CONFIG}plugins: {{seed: {{seed: 11}}}}\n"))
    assert experiment.master_seed == 11


PLUGIN_CLASS = (
    "from crystallize import BasePlugin, hookimpl\nclass Watch(BasePlugin):\n    def before_run(self): pass\n"
)


def test_a_class_in_hooks_py_is_told_to_be_of_no_use_there(
    make_folder: MakeFolder, problems_of: ProblemsOf, caplog: pytest.LogCaptureFixture
) -> None:
    (problem,) = problems_of(make_folder("alone", CONFIG, hooks=PLUGIN_CLASS))
    assert problem.message == "the class 'Watch' is not used: hooks are functions here"
    function = "@hookimpl\ndef after_run(result): pass\n"
    folder = make_folder("beside", CONFIG, hooks=PLUGIN_CLASS + function)
    load_experiment(folder)
    assert (
        f"{folder / 'hooks.py'}: the class 'Watch' is not used: hooks are functions here" in caplog.messages
    )


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_a_marked_function_that_hooks_py_imports_is_a_hook(make_folder: MakeFolder, execution: str) -> None:
    helpers = "from crystallize import hookimpl\n@hookimpl\ndef before_step(ctx): ctx.add('seen', 1)\n"
    steps = "def total(data, ctx): return data, {'total': ctx['seen']}\n"
    folder = make_folder(
        "study", CONFIG, helpers=helpers, steps=steps, hooks="from .helpers import before_step\n"
    )
    experiment = load_experiment(folder, execution=execution)
    assert experiment.run(replicates=2).metrics.baseline.metrics["total"] == [1, 1]


def test_a_hook_that_is_no_function_is_named(make_folder: MakeFolder, problems_of: ProblemsOf) -> None:
    hooks = "from functools import partial\nfrom crystallize import hookimpl\nbefore_run = hookimpl(partial(print))\n"
    (problem,) = problems_of(make_folder("study", CONFIG, hooks=hooks))
    assert problem.message == "before_run is a partial, and hooks are functions or methods"
