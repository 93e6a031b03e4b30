"""From a folder to an experiment that runs."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, ExperimentInput, LoggingPlugin, SeedPlugin, SerialExecution
from crystallize.config.build import load_experiment
from crystallize.config.errors import Problem
from crystallize.errors import UnknownNameError
from crystallize.experiments.experiment import Experiment
from crystallize.plugins.execution import ThreadExecution

MakeFolder = Callable[..., Path]

STEPS = """
from __future__ import annotations

from functools import partial

from crystallize import Artifact, PipelineStep, pipeline_step

from .util import shift

@pipeline_step()
def scale(data, *, factor=1.0):
    return [shift(x) * factor for x in data]

@pipeline_step(cacheable=True)
def publish(data, ctx, summary: Artifact):
    summary.write({"total": sum(data), "replicate": ctx["replicate"]})
    return data

class Log(PipelineStep):
    def __init__(self, depth: int = 1, *, log: Artifact):
        self.depth = depth
        self.log = log
    def __call__(self, data, ctx):
        self.log.write(str(self.depth))
        return data

def total(data):
    return data, {"total": sum(data)}

halved = partial(scale, factor=0.5)
"""
UTIL = "OFFSET = 10\ndef shift(x): return x + OFFSET\n"
OUTPUTS = """
import copy
import json
def dump_json(value): return json.dumps(value)
def load_json(path): return json.loads(path.read_text())
"""
VERIFIERS = """
from crystallize import verifier

@verifier
def higher(baseline, treatment, *, margin=0.0):
    (a,), (b,) = baseline.values(), treatment.values()
    return {"p_value": 0.0 if sum(b) > sum(a) + margin else 1.0}
"""
HOOKS = """
from crystallize.plugins.plugins import hookimpl

seen = []

@hookimpl
def before_replicate(experiment, ctx):
    ctx.add("tag", "from the hook")

@hookimpl
def after_replicate(experiment, result):
    seen.append(result)
"""
CONFIG = """
name: scaling
description: Does scaling matter?
replicates: 3
seed: 7
datasource: {numbers: {n: 3}}
steps:
  - scale
  - publish
  - Log: {depth: 4, log: journal}
  - total
outputs:
  summary: {file_name: summary.json, writer: dump_json, loader: load_json}
  journal: {file_name: log.txt, loader: text}
treatments:
  double: {factor: 2}
  baseline: {factor: 1}
hypotheses:
  - {name: more, verifier: higher, metrics: total, direction: max, args: {margin: 5.0}}
  - verifier: welch_t_test
    metrics: total
    smallest_effect: 0.5
    equivalence_margin: 0.25
    correction: benjamini-hochberg
  - {verifier: dunnett_test, metrics: total}
cli: {group: Basics}
"""


@pytest.fixture
def study(make_folder: MakeFolder) -> Path:
    return make_folder("study", CONFIG, steps=STEPS, util=UTIL, outputs=OUTPUTS, verifiers=VERIFIERS)


def test_a_folder_is_an_experiment(study: Path) -> None:
    experiment = Experiment.from_yaml(study)
    assert experiment.source == study / "config.yaml"
    assert experiment.name == "scaling"
    assert experiment.description == "Does scaling matter?"
    assert experiment.master_seed == 7
    result = experiment.run()
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["total"] == [33, 33, 33]
    assert result.metrics.treatments["double"].metrics["total"] == [66, 66, 66]
    assert result.get_hypothesis("more").get_for_treatment("double") == {"p_value": 0.0}
    assert result.get_hypothesis("more").ranking["best"] == "double"
    found = result.get_hypothesis("welch_t_test")
    assert found.ranking["best"] is None
    standards = (found.smallest_effect, found.equivalence_margin, found.correction)
    assert standards == (0.5, 0.25, "benjamini-hochberg")
    stored = Path("data/scaling/v0/replicate_2/double/PublishStep/summary.json")
    assert json.loads(stored.read_text()) == {"total": 66, "replicate": 2}
    assert (stored.parents[1] / "Log" / "log.txt").read_text() == "4"


@pytest.mark.parametrize("execution", ["process", "thread", "async", "serial"])
def test_every_strategy_runs_it_and_gives_the_same(study: Path, execution: str) -> None:
    experiment = load_experiment(study, execution=execution)
    result = experiment.run()
    result.raise_for_errors()
    assert result.metrics.treatments["double"].metrics["total"] == [66, 66, 66]


def test_workers_that_inherit_nothing_run_it_too(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALLIZE_START_METHOD", "spawn")
    result = load_experiment(study, execution="process").run()
    result.raise_for_errors()
    assert result.metrics.treatments["double"].metrics["total"] == [66, 66, 66]


def test_the_file_and_the_folder_mean_the_same_and_the_folder_names_what_has_no_name(
    make_folder: MakeFolder,
) -> None:
    folder = make_folder("plain_one")
    assert load_experiment(folder).name == load_experiment(folder / "config.yaml").name == "plain_one"
    assert load_experiment(str(folder)).run().metrics.baseline.metrics == {"total": [3.0]}


def test_what_the_caller_says_counts_more_than_the_file(study: Path, tmp_path: Path) -> None:
    experiment = load_experiment(
        study,
        seed=99,
        execution={"strategy": "thread", "max_workers": 2},
        context={"factor": 1},
        disable_plugins=["logging"],
        plugins=[ArtifactPlugin(root_dir=tmp_path / "elsewhere")],
    )
    assert experiment.master_seed == 99
    assert experiment.plugins.find(ThreadExecution) is not None
    assert experiment.initial_ctx == {"factor": 1}
    assert experiment.plugins.find(LoggingPlugin) is None
    assert experiment.run().path == tmp_path / "elsewhere" / "scaling" / "v0"


def test_a_seed_plugin_of_the_caller_takes_the_place_of_the_files_seed(study: Path) -> None:
    assert load_experiment(study, plugins=[SeedPlugin(seed=5)]).master_seed == 5


def test_plugins_are_configured_and_switched_off(make_folder: MakeFolder) -> None:
    folder = make_folder(
        "study",
        """
        datasource: numbers
        steps: [total]
        seed: 4
        plugins:
          seed: {auto_seed: false}
          artifact: {versioned: true}
          logging: false
        execution: {strategy: thread, max_workers: 1}
        """,
    )
    experiment = load_experiment(folder)
    seeding, storing = experiment.plugins.find(SeedPlugin), experiment.plugins.find(ArtifactPlugin)
    assert seeding is not None
    assert seeding.auto_seed is False
    assert experiment.master_seed == 4
    assert storing is not None
    assert storing.versioned is True
    assert experiment.plugins.find(LoggingPlugin) is None
    assert sum(isinstance(record.plugin, SeedPlugin) for record in experiment.plugins.records) == 1
    assert load_experiment(folder, seed=6).master_seed == 6
    assert load_experiment(folder, disable_plugins=["artifact"]).plugins.find(ArtifactPlugin) is None
    other = load_experiment(folder, plugins=[ArtifactPlugin(versioned=False)])
    kinds = [record.plugin for record in other.plugins.records if isinstance(record.plugin, ArtifactPlugin)]
    assert [kind.versioned for kind in kinds] == [False]


def test_the_callers_own_mistakes_are_no_config_errors(make_folder: MakeFolder) -> None:
    with pytest.raises(UnknownNameError, match="proces"):
        load_experiment(make_folder(), execution="proces")


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_hooks_beside_the_file_are_a_plugin_in_every_process(make_folder: MakeFolder, execution: str) -> None:
    steps = "def look(data, *, tag): return data, {'tag': len(tag)}\n"
    folder = make_folder(
        "study", "replicates: 3\ndatasource: numbers\nsteps: [look]\n", steps=steps, hooks=HOOKS
    )
    experiment = load_experiment(folder, execution=execution)
    result = experiment.run()
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["tag"] == [13, 13, 13]
    (record,) = [each for each in experiment.plugins.records if each.name == "hooks"]
    assert record.distribution is None
    assert len(record.plugin.after_replicate.__globals__["seen"]) == 3


def test_one_data_source_gives_its_value_and_several_a_dictionary(make_folder: MakeFolder) -> None:
    sources = """
    from crystallize import DataSource, data_source

    @data_source
    def numbers(ctx, *, n=3): return list(range(n))

    def letters(): return ["a"]

    def at(path): return [path]

    class Rows(DataSource):
        def __init__(self, count=1): self.count = count
        def fetch(self, ctx): return [7] * self.count

    ready = Rows(4)
    """
    steps = "def show(data): return data, {'seen': str(data)}\n"

    def seen(datasource: str) -> str:
        folder = make_folder(
            "study", f"datasource: {datasource}\nsteps: [show]\n", datasources=sources, steps=steps
        )
        result = load_experiment(folder).run()
        result.raise_for_errors()
        (text,) = result.metrics.baseline.metrics["seen"]
        return str(text)

    assert seen("numbers") == "[0, 1, 2]"
    assert seen("{x: numbers}") == "[0, 1, 2]"
    assert seen("{numbers: {n: 2}}") == "[0, 1]"
    assert seen("{x: {numbers: {n: 2}}}") == "[0, 1]"
    assert seen("{numbers: }") == "[0, 1, 2]"
    assert seen("[x: {Rows: {count: 2}}]") == "[7, 7]"
    assert seen("ready") == "[7, 7, 7, 7]"
    assert seen("{at: {path: x.csv}}") == "['x.csv']"
    assert seen("{x: numbers, y: letters}") == "{'x': [0, 1, 2], 'y': ['a']}"
    assert seen("[x: letters, y: {numbers: {n: 1}}]") == "{'x': ['a'], 'y': [0]}"


def test_a_mapping_in_a_mapping_means_whatever_the_module_has(make_folder: MakeFolder) -> None:
    sources = "def fetched(*, options): return [len(options)]\ndef load(*, path): return [path]\n"
    folder = make_folder(
        "a", "datasource: {fetched: {options: {x: 1, y: 2}}}\nsteps: [total]\n", datasources=sources
    )
    assert load_experiment(folder).run().metrics.baseline.metrics == {"total": [2]}
    folder = make_folder(
        "b", "datasource: {fetched: {load: {path: 5}}}\nsteps: [total]\n", datasources=sources
    )
    assert load_experiment(folder).run().metrics.baseline.metrics == {"total": [5]}


def test_steps_are_factories_functions_partials_and_classes(make_folder: MakeFolder) -> None:
    config = "datasource: numbers\nsteps: [halved, {scale: {factor: 4}}, scale, total]\n"
    folder = make_folder("study", config, steps=STEPS, util=UTIL.replace("10", "0"))
    experiment = load_experiment(folder)
    assert experiment.pipeline.names == ("ScaleStep", "ScaleStep-2", "ScaleStep-3", "TotalStep")
    assert experiment.run().metrics.baseline.metrics == {"total": [6.0]}


CACHED = """
from crystallize import PipelineStep, pipeline_step

@pipeline_step(cacheable=True, version="2", ignore=["verbose"])
def fit(data, *, lr=0.1, verbose=False):
    return lr

@pipeline_step()
def plain(data):
    return data

class Score(PipelineStep):
    cacheable = True
    version = "3"
    def __init__(self, depth=1):
        self.depth = depth
    def __call__(self, data, ctx):
        return data, {"score": data * self.depth}

ready = fit(lr=0.25)
"""


def test_what_a_step_says_of_the_cache_is_the_same_in_a_folder(make_folder: MakeFolder) -> None:
    config = "datasource: numbers\nsteps: [fit, {fit: {lr: 1}}, ready, plain, Score]\n"
    experiment = load_experiment(make_folder("study", config, steps=CACHED))
    steps = experiment.pipeline.steps
    assert [step.cacheable for step in steps] == [True, True, True, False, True]
    assert [step.version for step in steps] == ["2", "2", "2", None, "3"]
    assert [step.ignore for step in steps[:3]] == [["verbose"]] * 3
    assert experiment.cache is True


@pytest.mark.parametrize("execution", ["serial", "process"])
@pytest.mark.parametrize("cache", [True, False])
def test_a_step_is_cached_as_the_file_says(make_folder: MakeFolder, cache: bool, execution: str) -> None:
    names = ("fit: {lr: 2}", "ready:", "plain:", "Score: {depth: 3}", "Score:")
    entries = [f"  - {name}\n    cache: {str(cache).lower()}\n" for name in names]
    config = f"datasource: numbers\nsteps:\n{''.join(entries)}"
    folder = make_folder("study", config, steps=CACHED)
    hits = [
        load_experiment(folder, execution=execution).run(replicates=2).explain_cache().count("hit")
        for _ in range(2)
    ]
    assert hits[1] == 10 * cache
    result = load_experiment(folder, execution=execution).run()
    assert result.metrics.baseline.metrics == {"score": [0.75, 0.25]}


def test_whether_it_is_cached_is_no_reason_to_run_anything_again(make_folder: MakeFolder) -> None:
    config = "datasource: numbers\nsteps: [{fit: , cache: %s}, {Score: , cache: %s}]\n"
    first = load_experiment(make_folder("study", config % ("true", "true"), steps=CACHED)).run()
    experiment = load_experiment(make_folder("study", config % ("false", "false"), steps=CACHED))
    result = experiment.run(strategy="resume")
    assert (result.path, result.explain_cache().count("miss")) == (first.path, 2)


def test_an_experiment_does_without_the_cache(make_folder: MakeFolder) -> None:
    config = "datasource: numbers\nsteps: [fit]\ncache: false\n"
    experiment = load_experiment(make_folder("study", config, steps=CACHED))
    assert experiment.cache is False
    experiment.run()
    assert not Path(".cache").exists()


def test_cache_among_the_arguments_is_told_where_it_belongs(
    make_folder: MakeFolder, problems_of: Callable[[Path], list[Problem]]
) -> None:
    config = "datasource: numbers\nsteps: [{fit: {lr: 0.1, cache: false}}]\n"
    (problem,) = problems_of(make_folder("study", config, steps=CACHED))
    assert (problem.key, problem.line, problem.column) == ("steps[0].fit.cache", 2, 25)
    assert problem.hint.endswith("Whether a step is cached stands beside its name, not below it")


def test_text_that_names_an_output_is_text_unless_the_parameter_is_an_artifact(
    make_folder: MakeFolder,
) -> None:
    steps = """
    from crystallize import Artifact
    def write(data, *, label, target: Artifact):
        target.write(label)
        return data, {"n": 1}
    """
    config = "datasource: numbers\nsteps: [{write: {label: out, target: out}}]\noutputs: {out: {file_name: out.txt}}\n"
    result = load_experiment(make_folder("study", config, steps=steps)).run()
    result.raise_for_errors()
    assert Path("data/study/v0/replicate_0/baseline/WriteStep/out.txt").read_text() == "out"


def test_a_function_that_decorates_itself_stays_decorated(make_folder: MakeFolder) -> None:
    sources = """
    import functools
    def twice(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs): return fn(*args, **kwargs) * 2
        return wrapper
    @twice
    def numbers(): return [1]
    """
    folder = make_folder("study", "datasource: numbers\nsteps: [total]\n", datasources=sources)
    assert load_experiment(folder).run().metrics.baseline.metrics == {"total": [2]}


def test_a_serial_strategy_can_be_asked_for(
    make_folder: MakeFolder, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_folder("study", "datasource: numbers\nsteps: [total]\nexecution: serial\n")
    with caplog.at_level(logging.WARNING, "crystallize"):
        experiment = load_experiment(folder)
    assert experiment.plugins.find(SerialExecution) is not None
    assert not caplog.records


def test_two_data_sources_are_an_experiment_input(make_folder: MakeFolder) -> None:
    folder = make_folder(
        "study",
        "datasource: {a: numbers, b: numbers}\nsteps: [show]\n",
        steps="def show(data): return data\n",
    )
    assert isinstance(load_experiment(folder).datasource, ExperimentInput)


def test_the_environments_switch_counts_more_than_the_file(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(
        "study", "datasource: numbers\nsteps: [total]\nplugins: {logging: {verbose: true}}\n"
    )
    assert load_experiment(folder).plugins.find(LoggingPlugin) is not None
    monkeypatch.setenv("CRYSTALLIZE_DISABLE_PLUGINS", "seed, logging")
    assert load_experiment(folder).plugins.find(LoggingPlugin) is None


def test_an_alias_may_be_any_key(make_folder: MakeFolder) -> None:
    folder = make_folder(
        "study",
        "datasource: {self: numbers, two words: numbers}\nsteps: [show]\n",
        steps="def show(data): return data\n",
    )
    assert load_experiment(folder).apply() == {"self": [0, 1, 2], "two words": [0, 1, 2]}


def test_an_experiment_of_a_folder_can_be_copied(study: Path) -> None:
    copied = copy.deepcopy(load_experiment(study))
    assert copied.run().metrics.baseline.metrics["total"] == [33, 33, 33]


def test_an_output_without_a_file_name_is_called_after_its_alias_and_loader(make_folder: MakeFolder) -> None:
    aliases = {
        "table": "{loader: csv}",
        "plain": "{}",
        "own": "{loader: own_way}",
        "named": "{file_name: x.y}",
    }
    outputs = "".join(f"  {alias}: {text}\n" for alias, text in aliases.items())
    steps = (
        "from crystallize import Artifact, pipeline_step\n\n@pipeline_step()\n"
        f"def write(data, *, {', '.join(f'{alias}: Artifact' for alias in aliases)}):\n    return data\n"
    )
    config = f"datasource: numbers\nsteps: [write]\noutputs:\n{outputs}"
    folder = make_folder("study", config, steps=steps, outputs="def own_way(path): ...\n")
    experiment = load_experiment(folder)
    assert {alias: artifact.name for alias, artifact in experiment.outputs.items()} == {
        "table": "table.csv",
        "plain": "plain",
        "own": "own",
        "named": "x.y",
    }


def test_two_outputs_that_would_be_called_alike_are_a_mistake(
    make_folder: MakeFolder, problems_of: Callable[[Path], list[Problem]]
) -> None:
    steps = (
        "from crystallize import Artifact, pipeline_step\n\n@pipeline_step()\n"
        "def write(data, *, a: Artifact, b: Artifact):\n    return data\n"
    )
    config = "datasource: numbers\nsteps: [write]\noutputs:\n  a: {loader: json}\n  b: {file_name: A.json}\n"
    (problem,) = problems_of(make_folder("study", config, steps=steps))
    assert "the outputs 'a' and 'b' have the same file name 'A.json'" in problem.message


def test_a_module_that_is_imported_hides_no_name(make_folder: MakeFolder) -> None:
    folder = make_folder(
        "study",
        """
        datasource: {numbers: {copy: {n: 2}}}
        steps: [write]
        outputs:
          a: {file_name: a.json, loader: json, writer: json}
          b: {file_name: b.yaml, loader: yaml}
        treatments: {more: {factor: 2}}
        hypotheses: [{verifier: welch_t_test, metrics: total}]
        """,
        datasources="import copy\n\ndef numbers(*, copy): return list(range(copy['n']))\n",
        steps="""
        from crystallize import Artifact

        def write(data, *, a: Artifact, b: Artifact, factor=1):
            a.write(data)
            b.write(data)
            return data, {"total": factor * sum(data)}
        """,
        outputs="import json\nimport json as yaml\n",
        verifiers="import statistics as welch_t_test\n",
    )
    result = load_experiment(folder).run(replicates=1)
    assert result.metrics.treatments["more"].metrics["total"] == [2]
    assert [entry.name for entry in result.artifacts[:2]] == ["a.json", "b.yaml"]
    assert "welch_t_test" in [found.name for found in result.metrics.hypotheses]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("datasource: json\nsteps: [total]", "no data source is called 'json' in datasources.py"),
        ("datasource: numbers\nsteps: [json]", "no step is called 'json' in steps.py"),
        (
            "datasource: numbers\nsteps: [total]\noutputs: {a: {file_name: a, loader: copy}}",
            "no loader is called 'copy' in outputs.py or among the installed ones",
        ),
    ],
)
def test_a_module_that_is_imported_is_no_part(
    config: str, told: str, make_folder: MakeFolder, problems_of: Callable[[Path], list[Problem]]
) -> None:
    imports = "import copy\nimport json\n"
    parts = {
        "datasources": "def numbers(): return [1]\n",
        "steps": "def total(data): return data\n",
        "outputs": "",
    }
    folder = make_folder("study", config, **{name: imports + source for name, source in parts.items()})
    assert told in [problem.message for problem in problems_of(folder)]
