"""Every name in a folder is checked before anything runs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from crystallize.config.build import load_experiment, load_nodes
from crystallize.config.errors import ConfigError, ConfigGraphError, Problem
from crystallize.errors import CrystallizeError, GraphError
from crystallize.experiments.experiment import Experiment

MakeFolder = Callable[..., Path]
ProblemsOf = Callable[[Path], list[Problem]]

WRITING = """
from __future__ import annotations
from crystallize import Artifact, PipelineStep, pipeline_step

@pipeline_step()
def publish(data, summary: Artifact, *, factor=1.0):
    summary.write(str(sum(data)))
    return data

@pipeline_step()
def maybe(data, summary: Artifact | None = None):
    return data

class Model(PipelineStep):
    def __init__(self, depth: int, *, log: Artifact | None = None):
        self.depth = depth
        self.log = log
    def __call__(self, data, ctx):
        return data

class Unfinished(PipelineStep):
    pass

class NoStep:
    pass

def plain(data): return data
def needs(data, *, rate): return data
def no_data(): return 1
ready = publish
limit = 3
"""
VERIFIERS = """
from crystallize import verifier

def check(**settings):
    if settings["margin"] < 0:
        raise ValueError("margin is negative")

@verifier(check=check)
def differs(baseline, treatment, *, margin=0.0): return {"p_value": 0.5}

@verifier
def strict(baseline, treatment, *, level): return {"p_value": 0.5}

def one(samples): return {}
"""
OUTPUTS = """
import json
def dump_json(value): return json.dumps(value)
def load_json(path): return json.loads(path.read_text())
def two(path, mode): return path
limit = 3
"""
SOURCES = """
from crystallize import data_source, DataSource

@data_source
def numbers(ctx, *, n=3): return list(range(n))

@data_source
def table(ctx, *, path): return path

class Rows(DataSource):
    def __init__(self, count): self.count = count
    def fetch(self, ctx): return [1] * self.count

class Odd: pass
limit = 3
"""
HEAD = "datasource: numbers\nsteps: [plain]\n"
TREATED = "treatments: {more: {factor: 2}}\n"

# What the file holds; key, line and column; what is said; what is advised.
MISTAKES: list[tuple[str, str, int, int, str, str]] = [
    (
        "datasource: nubers\nsteps: [plain]",
        "datasource",
        1,
        13,
        "no data source is called 'nubers' in datasources.py",
        "Did you mean 'numbers'?",
    ),
    (
        "datasource: {a: {numbers: {m: 1}}}\nsteps: [plain]",
        "datasource.a.numbers.m",
        1,
        28,
        "has no parameter 'm'",
        "It takes 'n'",
    ),
    (
        "datasource: {numbers: {m: 1}}\nsteps: [plain]",
        "datasource.numbers.m",
        1,
        24,
        "has no parameter 'm'",
        "It takes 'n'",
    ),
    ("datasource: table\nsteps: [plain]", "datasource", 1, 13, "needs the parameter 'path'", ""),
    (
        "datasource: {t: {table: {pth: a}}}\nsteps: [plain]",
        "datasource.t.table.pth",
        1,
        26,
        "no parameter 'pth'",
        "Did you mean 'path'?",
    ),
    ("datasource: {Rows: {}}\nsteps: [plain]", "datasource.Rows", 1, 20, "needs the parameter 'count'", ""),
    (
        "datasource: Odd\nsteps: [plain]",
        "datasource",
        1,
        13,
        "is the class Odd, and no data source",
        "fetch(ctx)",
    ),
    ("datasource: limit\nsteps: [plain]", "datasource", 1, 13, "is a int, and no data source", "fetch(ctx)"),
    (
        "datasource: numbers\nsteps:\n  - plain\n  - publsh",
        "steps[1]",
        4,
        5,
        "no step is called 'publsh' in steps.py",
        "Did you mean 'publish'?",
    ),
    ("datasource: numbers\nsteps: [NoStep]", "steps[0]", 2, 9, "is the class NoStep", "PipelineStep"),
    ("datasource: numbers\nsteps: [limit]", "steps[0]", 2, 9, "is a int, not a step", "steps.py has"),
    ("datasource: numbers\nsteps: [no_data]", "steps[0]", 2, 9, "does not take data", "def step(data"),
    ("datasource: numbers\nsteps: [Unfinished]", "steps[0]", 2, 9, "has no method '__call__'", "Define it"),
    ("datasource: numbers\nsteps: [Model]", "steps[0]", 2, 9, "needs the parameter 'depth'", "depth: value"),
    (
        "datasource: numbers\nsteps:\n  - Model: {depht: 3}",
        "steps[0].Model.depht",
        3,
        13,
        "no parameter 'depht'",
        "Did you mean 'depth'?",
    ),
    (
        "datasource: numbers\nsteps:\n  - Model: {depth: 3, log: logs}",
        "steps[0].Model.log",
        3,
        28,
        "writes the output 'logs'",
        "The outputs are nothing",
    ),
    (
        "datasource: numbers\nsteps:\n  - Model: {depth: 3, log: 4}",
        "steps[0].Model.log",
        3,
        28,
        "found the number 4",
        "the alias of an output",
    ),
    (
        "datasource: numbers\nsteps: [publish]",
        "steps[0]",
        2,
        9,
        "writes the output 'summary', and there is none",
        "The outputs are nothing",
    ),
    (
        "datasource: numbers\nsteps: [publish]\noutputs: {sumary: {file_name: a}}",
        "steps[0]",
        2,
        9,
        "writes the output 'summary'",
        "Did you mean 'sumary'?",
    ),
    (
        "datasource: {Rows: {count: 1}}\nsteps:\n  - plain: {x: 1}",
        "steps[0].plain.x",
        3,
        13,
        "step 'plain' has no parameter 'x'",
        "It takes nothing",
    ),
    (
        HEAD + "outputs:\n  log: {file_name: log.txt}",
        "outputs.log",
        4,
        3,
        "no step uses the output 'log'",
        "log: Artifact",
    ),
    (
        "datasource: numbers\nsteps: [publish]\noutputs: {summary: {file_name: a/b}}",
        "outputs.summary.file_name",
        3,
        32,
        "holds '/'",
        "",
    ),
    (
        "datasource: numbers\nsteps: [publish]\noutputs: {summary: {file_name: a.b, loader: auto}}",
        "outputs.summary.loader",
        3,
        45,
        "no loader fits",
        "Name one",
    ),
    (
        "datasource: numbers\nsteps: [publish]\noutputs: {summary: {file_name: a, writer: dump_jsn}}",
        "outputs.summary.writer",
        3,
        43,
        "no writer is called 'dump_jsn'",
        "Did you mean 'dump_json'?",
    ),
    (
        "datasource: numbers\nsteps: [publish]\noutputs: {summary: {file_name: a, loader: jsn}}",
        "outputs.summary.loader",
        3,
        43,
        "no loader is called 'jsn'",
        "Did you mean 'json'?",
    ),
    (
        "datasource: numbers\nsteps: [publish]\noutputs: {summary: {file_name: a, loader: two}}",
        "outputs.summary.loader",
        3,
        43,
        "'two' cannot be",
        "",
    ),
    (
        "datasource: numbers\nsteps: [publish]\noutputs: {summary: {file_name: a, loader: limit}}",
        "outputs.summary.loader",
        3,
        43,
        "is a int",
        "is a function",
    ),
    (
        HEAD + "hypotheses: [{verifier: differs}]",
        "hypotheses",
        3,
        1,
        "nothing to compare with the baseline",
        "Add 'treatments'",
    ),
    (
        HEAD + TREATED + "hypotheses: [{verifier: difers}]",
        "hypotheses[0].verifier",
        4,
        25,
        "no verifier is called 'difers'",
        "Did you mean 'differs'?",
    ),
    (
        HEAD + TREATED + "hypotheses: [{verifier: welch_test}]",
        "hypotheses[0].verifier",
        4,
        25,
        "among the installed ones",
        "Did you mean 'welch_t_test'?",
    ),
    (
        HEAD + TREATED + "hypotheses: [{verifier: dunnett_test, correction: holm}]",
        "hypotheses[0].verifier",
        4,
        25,
        "corrects p-values for their number by itself, so there is no 'holm'",
        "Leave out correction",
    ),
    (
        HEAD + TREATED + "hypotheses: [{verifier: differs, args: {magin: 1}}]",
        "hypotheses[0].args.magin",
        4,
        41,
        "no parameter 'magin'",
        "Did you mean 'margin'?",
    ),
    (
        HEAD + TREATED + "hypotheses: [{verifier: differs, args: {margin: -1}}]",
        "hypotheses[0].args.margin",
        4,
        49,
        "margin is negative",
        "",
    ),
    (
        HEAD + TREATED + "hypotheses: [{verifier: strict}]",
        "hypotheses[0].verifier",
        4,
        25,
        "needs the parameter 'level'",
        "",
    ),
    (
        HEAD + TREATED + "hypotheses: [{verifier: one}]",
        "hypotheses[0].verifier",
        4,
        25,
        "a verifier is called with two samples",
        "",
    ),
    (
        HEAD + TREATED + "hypotheses:\n- {verifier: differs}\n- {verifier: differs}",
        "hypotheses[1]",
        6,
        3,
        "two hypotheses are called 'differs'; the first is in line 5",
        "'name'",
    ),
    (
        HEAD + "plugins: {loging: true}",
        "plugins.loging",
        3,
        11,
        "no plugin is called 'loging'",
        "Did you mean 'logging'?",
    ),
    (
        HEAD + "plugins: {logging: {verbos: true}}",
        "plugins.logging.verbos",
        3,
        21,
        "no parameter 'verbos'",
        "Did you mean 'verbose'?",
    ),
    (
        HEAD + "plugins: {logging: {verbose: yes}}",
        "plugins.logging.verbose",
        3,
        30,
        "verbose is True or False",
        "",
    ),
    (
        HEAD + "seed: 1\nplugins: {seed: {seed: 2}}",
        "plugins.seed.seed",
        4,
        18,
        "the seed is given here and in line 3",
        "Remove one",
    ),
    (
        HEAD + "execution: proces",
        "execution",
        3,
        12,
        "no execution strategy is called 'proces'",
        "Did you mean 'process'?",
    ),
    (
        HEAD + "execution: {strategy: tread}",
        "execution.strategy",
        3,
        23,
        "no execution strategy is called 'tread'",
        "Did you mean 'thread'?",
    ),
    (
        HEAD + "execution: {strategy: thread, workers: 2}",
        "execution.workers",
        3,
        31,
        "no parameter 'workers'",
        "Did you mean 'max_workers'?",
    ),
    (
        HEAD + "execution: {strategy: thread, max_workers: 0}",
        "execution.max_workers",
        3,
        44,
        "at least 1",
        "",
    ),
]


@pytest.mark.parametrize(
    ("config", "key", "line", "column", "message", "hint"),
    MISTAKES,
    ids=[m[4] + " " + m[1] for m in MISTAKES],
)
def test_a_mistake_is_named_with_its_place_and_the_nearest_name(
    make_folder: MakeFolder,
    problems_of: ProblemsOf,
    config: str,
    key: str,
    line: int,
    column: int,
    message: str,
    hint: str,
) -> None:
    folder = make_folder(
        "study", config + "\n", steps=WRITING, verifiers=VERIFIERS, outputs=OUTPUTS, datasources=SOURCES
    )
    found = [
        problem
        for problem in problems_of(folder)
        if "no step uses the output 'sumary'" not in problem.message
    ]
    (problem,) = found
    assert problem.file == folder / "config.yaml"
    assert (problem.key, problem.line, problem.column) == (key, line, column)
    assert message in problem.message
    assert hint in problem.hint


def test_two_outputs_cannot_share_a_file(make_folder: MakeFolder, problems_of: ProblemsOf) -> None:
    config = (
        "datasource: numbers\nsteps: [publish]\noutputs:\n"
        "  summary: {file_name: a.txt}\n  other: {file_name: A.txt}\n"
    )
    (problem,) = problems_of(
        make_folder("study", config, steps=WRITING.replace("data, summary", "data, other: Artifact, summary"))
    )
    assert (problem.line, problem.column, problem.key) == (5, 22, "outputs.other.file_name")
    assert "'summary' and 'other' have the same file name" in problem.message


def test_an_alias_is_what_a_parameter_can_be_called(make_folder: MakeFolder, problems_of: ProblemsOf) -> None:
    config = (
        "datasource: numbers\nsteps: [{publish: {summary: my-log}}]\noutputs:\n  my-log: {file_name: a.txt}\n"
    )
    (problem,) = problems_of(make_folder("study", config, steps=WRITING))
    assert (problem.line, problem.column, problem.key) == (4, 3, "outputs.my-log")
    assert "cannot be an artifact's alias" in problem.message


def test_five_mistakes_are_five_problems_in_the_order_of_the_lines(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    folder = make_folder(
        "study",
        """
        replicats: 3
        datasource: {numbers: {m: 3}}
        steps:
          - scale: {fctor: 2}
          - totl
        execution: fast
        """,
    )
    found = problems_of(folder)
    assert [(problem.line, problem.key) for problem in found] == [
        (1, "replicats"),
        (2, "datasource.numbers.m"),
        (4, "steps[0].scale.fctor"),
        (5, "steps[1]"),
        (6, "execution"),
    ]
    with pytest.raises(ConfigError) as caught:
        load_experiment(folder)
    first, *_ = lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert first.startswith(
        f"{folder / 'config.yaml'}:1:1: replicats: unknown key 'replicats'. Did you mean 'replicates'?"
    )


def test_a_parameter_that_nothing_provides_is_known_before_the_run(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    source = "def numbers(): return [1]\n"

    def found(treatments: str) -> list[Problem]:
        config = f"datasource: numbers\nsteps: [needs]\ntreatments: {treatments}\n"
        return problems_of(make_folder("study", config, steps=WRITING, datasources=source))

    (problem,) = found("{fast: {rate: 2}}")
    assert "step 'needs' needs the parameter 'rate'" in problem.message
    assert (problem.line, problem.column) == (2, 9)
    assert found("{fast: {rate: 2}, baseline: {rate: 1}}") == []
    load_experiment(
        make_folder("study", "datasource: numbers\nsteps: [needs]\n", steps=WRITING, datasources=source),
        context={"rate": 1},
    )


def test_a_parameter_that_an_earlier_step_may_add_is_no_mistake(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    steps = "def add(data, ctx):\n    ctx.add('rate', 1)\n    return data\ndef needs(data, *, rate): return data\n"
    folder = make_folder(
        "study",
        "datasource: numbers\nsteps: [add, needs]\n",
        steps=steps,
        datasources="def numbers(): return 1\n",
    )
    assert problems_of(folder) == []


@pytest.mark.parametrize(
    ("module", "source", "line", "message", "hint"),
    [
        (
            "steps",
            "import json\nimport nonsense_that_is_not_there\n",
            2,
            "No module named 'nonsense_that_is_not_there'",
            "Install",
        ),
        (
            "steps",
            "def total(data):\n    return (data\n",
            2,
            "this is not Python: '(' was never closed",
            "syntax",
        ),
        ("steps", "from .helper import total\n", 1, "No module named", ""),
        ("steps", "import datasources\n", 1, "No module named 'datasources'", "from .datasources import"),
        ("datasources", "x = 1\n\nraise RuntimeError('no database')\n", 3, "RuntimeError: no database", ""),
        ("datasources", "import sys\nsys.exit(3)\n", 2, "SystemExit: 3", ""),
        ("verifiers", "1 / 0\n", 1, "ZeroDivisionError: division by zero", ""),
        ("outputs", "undefined\n", 1, "name 'undefined' is not defined", ""),
        ("hooks", "undefined\n", 1, "name 'undefined' is not defined", ""),
    ],
)
def test_a_module_that_cannot_be_loaded_is_one_problem_at_the_line_of_its_fault(
    make_folder: MakeFolder,
    problems_of: ProblemsOf,
    module: str,
    source: str,
    line: int,
    message: str,
    hint: str,
) -> None:
    config = (
        HEAD.replace("plain", "total")
        + TREATED
        + "hypotheses: [{verifier: mine}]\noutputs: {a: {file_name: a, writer: w}}\n"
    )
    if module not in ("verifiers", "outputs"):
        config = "datasource: numbers\nsteps: [total]\n"
    if module == "verifiers":
        config = config.partition("outputs")[0]
    if module == "outputs":
        config = (
            "datasource: numbers\nsteps: [{publish: {summary: a}}]\noutputs: {a: {file_name: a, writer: w}}\n"
        )
    modules = {"steps": WRITING} if module == "outputs" else {}
    folder = make_folder("study", config, **{**modules, module: source})
    (problem,) = problems_of(folder)
    assert problem.file == folder / f"{module}.py"
    assert problem.line == line
    assert message in problem.message
    assert hint in problem.hint


def test_a_fault_deeper_in_the_folder_is_named_where_it_is(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    folder = make_folder(steps="from .util import total, scale\n", util="# one\n# two\nx = 1 / 0\n")
    (problem,) = problems_of(folder)
    assert (problem.file, problem.line) == (folder / "util.py", 3)


def test_modules_that_are_not_needed_need_not_be_there(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    folder = make_folder()
    assert problems_of(folder) == []
    (folder / "steps.py").unlink()
    first, second = problems_of(folder)
    assert first.message == "no step is called 'scale'"
    assert first.hint == "There is no steps.py beside it"
    assert second.message == "no step is called 'total'"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def before_run(experiment): pass\n", "'before_run' bears the name of a hook and is not marked"),
        ("x = 1\n", "the module has no hook"),
        (
            "from crystallize.plugins.plugins import hookimpl\n@hookimpl\ndef befor_run(experiment): pass\n",
            "there is no hook 'befor_run'",
        ),
        (
            "from crystallize.plugins.plugins import hookimpl\n@hookimpl\ndef before_run(exp): pass\n",
            "has an argument 'exp'",
        ),
    ],
)
def test_hooks_that_nobody_would_call_are_a_mistake(
    make_folder: MakeFolder, problems_of: ProblemsOf, source: str, message: str
) -> None:
    folder = make_folder(hooks=source)
    (problem,) = problems_of(folder)
    assert problem.file == folder / "hooks.py"
    assert message in problem.message


def test_what_a_factory_raises_is_a_problem_at_its_line(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    steps = """
    from crystallize import PipelineStep

    class Broken(PipelineStep):
        def __init__(self, size):
            raise ValueError(f"no model of size {size}")
        def __call__(self, data, ctx):
            return data
    """
    folder = make_folder("study", "datasource: numbers\nsteps: [{Broken: {size: 3}}]\n", steps=steps)
    (problem,) = problems_of(folder)
    assert (problem.file, problem.line) == (folder / "steps.py", 5)
    assert problem.message == "ValueError: no model of size 3"


def test_nothing_of_the_users_is_made_while_there_are_mistakes(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    steps = """
    from pathlib import Path
    from crystallize import PipelineStep

    class Costly(PipelineStep):
        def __init__(self):
            Path(__file__).with_name("made").touch()
        def __call__(self, data, ctx):
            return data
    """
    folder = make_folder("study", "datasource: numbers\nsteps: [Costly]\nfoo: 1\n", steps=steps)
    assert len(problems_of(folder)) == 1
    assert not (folder / "made").exists()


@pytest.mark.parametrize("name", ["nowhere", "nowhere/config.yaml"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, problems_of: ProblemsOf, name: str) -> None:
    (problem,) = problems_of(tmp_path / name)
    assert problem.file == tmp_path / "nowhere" / "config.yaml"
    assert problem.message == "there is no such folder"


def test_a_folder_called_like_the_file_is_named(tmp_path: Path, problems_of: ProblemsOf) -> None:
    (tmp_path / "config.yaml").mkdir()
    (problem,) = problems_of(tmp_path)
    assert problem.message == "this is a folder, not a file"


def test_yaml_that_is_none_and_yaml_that_is_too_much_are_one_problem_each(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    assert [p.message for p in problems_of(make_folder("a", ""))] == ["the file is empty"]
    assert "bytes" in problems_of(make_folder("b", "x: " + "y" * (10 << 20)))[0].message
    assert (
        "tag"
        in problems_of(make_folder("c", "datasource: !!python/object:os.system {}\nsteps: [total]\n"))[
            0
        ].message
    )


def test_the_error_is_of_every_kind_that_is_expected_and_travels(make_folder: MakeFolder) -> None:
    folder = make_folder("study", "steps: [1]\n")
    with pytest.raises(ConfigError) as caught:
        Experiment.from_yaml(folder)
    error = caught.value
    assert isinstance(error, CrystallizeError)
    assert isinstance(error, ValueError)
    assert not isinstance(error, GraphError)
    copied = pickle.loads(pickle.dumps(error))
    assert copied.problems == error.problems
    assert str(copied) == str(error)
    graph_error = ConfigGraphError(error.problems)
    assert isinstance(graph_error, GraphError)
    assert type(pickle.loads(pickle.dumps(graph_error))) is ConfigGraphError


def test_paths_below_the_current_folder_are_shown_short(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder("study", "steps: [1]\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^experiments/study/config.yaml:1:1: the key 'datasource' is missing"
    ):
        load_nodes("experiments/study")
