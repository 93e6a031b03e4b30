"""The code examples of the five pages of the specification, run, and what the pages promise of them.

Each example stands here as on its page, with the line breaks put back; names that a page leaves to the reader
(``my_source``, ``step_one``, ``load_heavy_model``) are filled in.
"""

from __future__ import annotations

import functools
import gc
import json
import logging
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crystallize import (
    Artifact,
    ArtifactPlugin,
    AsyncExecution,
    BasePlugin,
    Experiment,
    ExperimentInput,
    FrozenContext,
    LoggingPlugin,
    ParallelExecution,
    Pipeline,
    PipelineStep,
    SeedPlugin,
    SerialExecution,
    data_source,
    pipeline_step,
    resource_factory,
    standalone_context,
    treatment,
)
from crystallize.errors import ReplicateMismatchError


@data_source
def my_source(ctx: FrozenContext) -> list[int]:
    return [1, 2, 3]


@pipeline_step()
def step_one(data: list[int]) -> Any:
    return data, {"python": random.random(), "numpy": float(np.random.random())}


@pipeline_step()
def step_two(data: list[int], ctx: FrozenContext) -> Any:
    return data, {"seed": ctx["seed_used"], "rng": float(ctx.rng.random())}


# -- Customizing Experiments ------------------------------------------------------------------------------------------


def test_customizing_1_an_experiment_has_the_three_default_plugins_with_these_settings() -> None:
    for experiment in (
        Experiment(datasource=my_source(), pipeline=Pipeline([step_one()])),
        Experiment.builder().datasource(my_source()).pipeline(Pipeline([step_one()])).build(),
    ):
        artifact, seed, log = map(experiment.plugins.find, (ArtifactPlugin, SeedPlugin, LoggingPlugin))
        assert artifact.root_dir == "data"
        assert seed.auto_seed is True
        assert log.verbose is False


def test_customizing_1_a_list_of_ones_own_replaces_the_defaults_of_the_same_class(
    caplog: pytest.LogCaptureFixture,
) -> None:
    experiment = Experiment(
        datasource=my_source(),
        pipeline=Pipeline([step_one(), step_two()]),
        plugins=[
            SeedPlugin(seed=1234, auto_seed=True),
            ParallelExecution(max_workers=4, executor_type="process"),
            LoggingPlugin(verbose=True, log_level="DEBUG"),
        ],
    )
    kinds = [type(record.plugin) for record in experiment.plugins.records]
    assert [kinds.count(kind) for kind in (ArtifactPlugin, SeedPlugin, LoggingPlugin)] == [1, 1, 1]
    assert experiment.plugins.find(LoggingPlugin).verbose is True
    result = experiment.run(replicates=3)
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["seed"] == [1234, 1234 + 31337, 1234 + 2 * 31337]


def seeds_of(*plugins: Any, replicates: int = 4) -> list[Any]:
    return (
        Experiment(my_source(), [step_one], plugins=list(plugins))
        .run(replicates=replicates)
        .seeds["baseline"]
    )


@pytest.mark.parametrize("seed", [0, 123, 2**32 - 1, 2**40])
def test_customizing_2_replicate_r_gets_the_seed_of_the_formula(seed: int) -> None:
    assert seeds_of(SeedPlugin(seed=seed)) == [(seed + r * 31337) % 2**32 for r in range(4)]


def test_customizing_2_without_auto_seed_every_replicate_reuses_the_master_seed() -> None:
    assert seeds_of(SeedPlugin(seed=5, auto_seed=False)) == [5, 5, 5, 5]


def test_customizing_2_a_seed_fn_is_called_with_the_computed_seed() -> None:
    def seed_all(seed: int) -> None:
        import random

        random.seed(seed)
        np.random.seed(seed % (2**32 - 1))

    seeded = SeedPlugin(seed=123, seed_fn=seed_all)
    metrics = Experiment(my_source(), [step_one], plugins=[seeded]).run(replicates=2).metrics.baseline.metrics
    for r in range(2):
        seed_all(123 + r * 31337)
        assert metrics["python"][r] == random.random()
        assert metrics["numpy"][r] == np.random.random()


def test_customizing_2_by_default_random_and_numpy_are_seeded_with_the_computed_seed() -> None:
    result = Experiment(
        my_source(), [step_one, step_two], plugins=[SeedPlugin(seed=123)], treatments=[treatment("t", {})]
    ).run(replicates=2)
    for r in range(2):
        random.seed(123 + r * 31337)
        np.random.seed(123 + r * 31337)
        expected = (random.random(), float(np.random.random()))
        for condition in result.conditions:
            metrics = result.condition(condition).metrics
            assert (metrics["python"][r], metrics["numpy"][r]) == expected


def test_customizing_2_the_seed_is_in_the_context_and_in_the_provenance(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = Experiment(my_source(), [step_two], plugins=[SeedPlugin(seed=123)]).run(replicates=2)
    assert result.metrics.baseline.metrics["seed"] == [123, 31460]
    result.print_tree()
    tree = capsys.readouterr().out
    assert "seed_used = 123" in tree
    assert "seed_used = 31460" in tree


def test_customizing_2_threads_with_a_seed_plugin_get_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def warnings(*plugins: Any, **options: Any) -> list[str]:
        caplog.clear()
        Experiment(my_source(), [step_two], plugins=list(plugins), **options).run(replicates=2)
        return [
            record.getMessage()
            for record in caplog.records
            if record.levelno == logging.WARNING and "random state" in record.getMessage()
        ]

    (warning,) = warnings(SeedPlugin(seed=1), ParallelExecution(executor_type="thread"))
    assert "ctx.rng" in warning
    assert "process" in warning
    assert warnings(SeedPlugin(seed=1), SerialExecution()) == []
    assert warnings(ParallelExecution(executor_type="thread"), disable_plugins=["seed"]) == []


@pytest.fixture
def unclosed_connections() -> Iterator[None]:
    """Collect what the page's example leaves open, and Python 3.13 warns of, before the next test."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
@pytest.mark.usefixtures("unclosed_connections")
@pytest.mark.parametrize(
    "execution",
    [SerialExecution(), ParallelExecution(2), ParallelExecution(2, "process"), AsyncExecution()],
    ids=["serial", "thread", "process", "async"],
)
def test_customizing_3_a_resource_is_made_once_for_each_worker(execution: Any) -> None:
    def connect(ctx: FrozenContext) -> Any:
        import sqlite3

        return sqlite3.connect(":memory:")

    @pipeline_step()
    def use(data: Any, ctx: FrozenContext) -> Any:
        db = ctx["db"]
        db.execute("create table if not exists uses (n)")
        db.execute("insert into uses values (1)")
        import os
        import threading

        worker = f"{os.getpid()} {threading.get_ident()}"
        return data, {"worker": worker, "uses": db.execute("select count(*) from uses").fetchone()[0]}

    experiment = Experiment(
        datasource=my_source(),
        pipeline=Pipeline([use, use]),
        initial_ctx={"db": resource_factory(connect)},
        plugins=[execution],
    )
    result = experiment.run(replicates=4)
    result.raise_for_errors()
    metrics = result.metrics.baseline.metrics
    by_worker: dict[str, list[int]] = {}
    for worker, uses in zip(metrics["worker"], metrics["uses"], strict=True):
        by_worker.setdefault(worker, []).append(uses)
    assert all(sorted(uses) == list(range(1, len(uses) + 1)) for uses in by_worker.values())


@pytest.mark.parametrize(
    "execution",
    [ParallelExecution(max_workers=8, executor_type="process"), AsyncExecution(), SerialExecution()],
    ids=lambda execution: type(execution).__name__,
)
def test_customizing_4_each_strategy_gives_the_same_result(execution: Any) -> None:
    result = Experiment(my_source(), [step_two], plugins=[SeedPlugin(seed=1), execution]).run(replicates=4)
    expected = Experiment(my_source(), [step_two], plugins=[SeedPlugin(seed=1)]).run(replicates=4)
    assert result.metrics.baseline.metrics == expected.metrics.baseline.metrics


class Recorder(BasePlugin):
    """Notes each hook."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_run(self, experiment: Experiment) -> None:
        self.calls.append(f"before_run {experiment.run_kind}")

    def before_replicate(self, ctx: FrozenContext) -> None:
        self.calls.append(f"before_replicate {ctx['condition']}")

    def before_step(self, step: PipelineStep) -> None:
        self.calls.append(f"before_step {step.name}")

    def after_step(self, step: PipelineStep) -> None:
        self.calls.append(f"after_step {step.name}")

    def after_replicate(self, result: Any) -> None:
        self.calls.append("after_replicate")

    def after_run(self, result: Any) -> None:
        self.calls.append("after_run")


@pipeline_step()
async def total(data: Any, *, factor: int = 1) -> Any:
    return {"total": sum(data["numbers"] if isinstance(data, dict) else data) * factor}, {"noted": 1}


def test_customizing_5_apply_reuses_the_experiment_with_the_winning_treatment() -> None:
    seeds: list[int] = []
    fetched: list[str] = []
    recorder = Recorder()

    def numbers(ctx: FrozenContext) -> list[int]:
        fetched.append(ctx["condition"])
        return [1, 2, 3]

    best = treatment("best", {"factor": 10})
    experiment = Experiment(
        datasource=numbers,
        pipeline=Pipeline([total]),
        plugins=[SeedPlugin(seed=1, seed_fn=seeds.append), recorder],
    )
    result = experiment.run(treatments=[best], replicates=40)
    assert result.conditions == ("baseline", "best")
    assert result.replicates == 40
    stored = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
    recorder.calls.clear()
    fetched.clear()
    seeds.clear()

    single_output = experiment.apply(
        treatment=best,
        data={"numbers": [10, 20, 30]},  # optional override for the datasource output
        seed=999,  # optional override seed forwarded to SeedPlugin
    )
    assert single_output == {"total": 600}
    assert fetched == []
    assert seeds == [999]
    assert recorder.calls == [
        "before_run apply",
        "before_replicate best",
        "before_step TotalStep",
        "after_step TotalStep",
        "after_replicate",
        "after_run",
    ]
    assert {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()} == stored

    assert experiment.apply(best) == {"total": 60}
    assert fetched == ["best"]
    assert experiment.apply() == {"total": 6}
    assert experiment.master_seed == 1


def test_customizing_6_validate_checks_that_data_source_and_pipeline_exist() -> None:
    Experiment(datasource=my_source(), pipeline=Pipeline([step_one()])).validate()
    with pytest.raises(TypeError, match="data source"):
        Experiment(datasource=None, pipeline=Pipeline([step_one()])).validate()
    with pytest.raises(TypeError, match="pipeline"):
        Experiment(datasource=my_source(), pipeline=None).validate()


# -- Execution -----------------------------------------------------------------------------------------------------


def test_execution_names_and_signatures_are_those_of_the_page() -> None:
    import inspect

    from crystallize.experiments.aggregation import ResultAggregator
    from crystallize.plugins import execution

    assert {"thread", "process"} == set(execution.VALID_EXECUTOR_TYPES)
    assert execution.TYPE_CHECKING is False
    assert callable(ResultAggregator)

    def defaults(kind: type) -> list[tuple[str, Any]]:
        return [(name, parameter.default) for name, parameter in inspect.signature(kind).parameters.items()]

    assert defaults(execution.SerialExecution) == [("progress", False)]
    assert defaults(execution.ParallelExecution) == [
        ("max_workers", None),
        ("executor_type", "thread"),
        ("progress", False),
    ]
    assert defaults(execution.AsyncExecution)[0] == ("progress", False)
    for kind in (execution.SerialExecution, execution.ParallelExecution, execution.AsyncExecution):
        assert list(inspect.signature(kind.run_experiment_loop).parameters) == [
            "self",
            "experiment",
            "replicate_fn",
        ]


def test_execution_a_plugin_that_drives_the_replicate_loop_can_be_swapped_in() -> None:
    class Backwards(BasePlugin):
        def run_experiment_loop(self, experiment: Any, replicate_fn: Any) -> list[Any]:
            return [replicate_fn(i) for i in reversed(range(experiment.replicates))][::-1]

    expected = Experiment(my_source(), [step_two], seed=1).run(replicates=3)
    found = Experiment(my_source(), [step_two], seed=1, plugins=[Backwards()]).run(replicates=3)
    assert found.to_dict() == expected.to_dict()


# -- Creating Custom Pipeline Steps ----------------------------------------------------------------------------------


@pipeline_step(cacheable=True)
def scale_data(data: list, ctx: FrozenContext, *, factor: float = 1.0) -> list:  # type: ignore[type-arg]
    """Multiply incoming numeric data by ``factor``.

    The ``factor`` parameter is automatically populated from the context if it
    exists, otherwise its default is used.
    """
    return [x * factor for x in data]


@pipeline_step()
def normalize(data: list, ctx: FrozenContext) -> list:  # type: ignore[type-arg]
    scale = ctx.get("scale_factor", 1.0)
    return [x / scale for x in data]


@pipeline_step()
def compute_sum(data):  # type: ignore[no-untyped-def]
    total = sum(data)
    return data, {"sum": total}


def test_steps_1_calling_the_factory_returns_a_step() -> None:
    scaler = scale_data(factor=2.0)  # explicit instantiation
    # or later:
    steps = [functools.partial(scale_data, factor=2.0), normalize]
    assert isinstance(scaler, PipelineStep)
    assert isinstance(scale_data(), PipelineStep)
    assert scaler.cacheable is True
    ctx = standalone_context({"scale_factor": 4.0})
    assert Pipeline([scaler, normalize]).run([2], ctx) == Pipeline(steps).run([2], ctx) == [1.0]


def test_steps_2_a_parameter_is_pulled_from_the_context_if_it_was_not_given() -> None:
    assert scale_data()([1, 2], standalone_context({"factor": 3.0})) == [3.0, 6.0]
    assert scale_data()([1, 2], standalone_context()) == [1.0, 2.0]


def test_steps_3_and_4_the_context_tells_the_replicate_and_takes_metrics_from_any_step() -> None:
    @pipeline_step()
    def note(data: Any, ctx: FrozenContext) -> Any:
        ctx.metrics.add("replicate", ctx.get("replicate"))
        return data

    result = Experiment(my_source(), [note, compute_sum]).run(replicates=3)
    assert result.metrics.baseline.metrics == {"replicate": [0, 1, 2], "sum": [6, 6, 6]}


def test_steps_5_a_cacheable_step_is_loaded_when_the_same_input_and_parameters_are_seen_again() -> None:
    def complex_operation(data: Any, method: str) -> Any:
        return data, method

    @pipeline_step(cacheable=True)
    def heavy_transform(data, ctx: FrozenContext, method: str = "a"):  # type: ignore[no-untyped-def]
        # expensive work
        return complex_operation(data, method)

    for _ in range(2):
        assert Experiment(my_source(), [heavy_transform]).apply() == ([1, 2, 3], "a")
    (entry,) = Path(".cache").glob("*/*.pkl")  # .cache/<step_hash>/<input_hash>.pkl
    before = entry.stat().st_ino
    assert Experiment(my_source(), [heavy_transform]).apply() == ([1, 2, 3], "a")
    assert entry.stat().st_ino == before
    Experiment(my_source(), [heavy_transform(method="b")]).apply()
    assert len(list(Path(".cache").glob("*/*.pkl"))) == 2


LOADED = []


def load_heavy_model() -> Any:
    LOADED.append(1)

    class HeavyModel:
        def predict(self, data: Any) -> Any:
            return sum(data)

    return HeavyModel()


class ModelStepOfPage2(PipelineStep):
    cacheable = False  # set to True if outputs can be reused safely

    def __init__(self):  # type: ignore[no-untyped-def]
        self.model = load_heavy_model()  # Loaded once when the step is constructed

    def __call__(self, data, ctx):  # type: ignore[no-untyped-def]
        return self.model.predict(data)  # Reused across replicates in the same process

    @property
    def params(self):  # type: ignore[no-untyped-def]
        return {}


@functools.lru_cache
def shared_model() -> Any:
    return load_heavy_model()


class SharedModelStep(PipelineStep):
    """Shares its model with its other instances."""

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        return shared_model().predict(data)


def test_steps_6_a_class_based_step_initialises_once_for_all_replicates() -> None:
    LOADED.clear()
    experiment = Experiment(my_source(), Pipeline([ModelStepOfPage2(), lambda data: (data, {"p": data})]))
    assert experiment.run(replicates=5).metrics.baseline.metrics == {"p": [6] * 5}
    assert len(LOADED) == 1


def test_steps_6_with_processes_each_worker_has_its_own_model() -> None:
    for step in (ModelStepOfPage2(), SharedModelStep()):
        result = Experiment(my_source(), [step], plugins=[ParallelExecution(2, "process")]).run(replicates=4)
        result.raise_for_errors()


def test_steps_7_asynchronous_steps_are_awaited() -> None:
    import asyncio

    @pipeline_step()
    async def fetch_remote(data: str, ctx: FrozenContext) -> str:
        await asyncio.sleep(0.1)
        return data + "!"

    assert Pipeline([fetch_remote()]).run("hello", standalone_context()) == "hello!"
    note = pipeline_step()(lambda data: (data, {"data": data}))
    experiment = Experiment(lambda: "hello", Pipeline([fetch_remote(), note]), plugins=[AsyncExecution()])
    assert experiment.run(replicates=20).metrics.baseline.metrics["data"] == ["hello!"] * 20
    assert asyncio.run(experiment.arun(replicates=2)).metrics.baseline.metrics["data"] == ["hello!"] * 2


def test_steps_putting_it_together(capsys: pytest.CaptureFixture[str]) -> None:
    from functools import partial

    # Step definitions from above
    exp = Experiment(
        datasource=lambda ctx: [1, 2, 3],
        pipeline=Pipeline(
            [
                partial(scale_data, factor=1.5),
                normalize(),
                compute_sum(),
            ]
        ),
        plugins=[ParallelExecution()],
    )
    exp.validate()  # optional
    result = exp.run(replicates=3)
    print(result.metrics.baseline.metrics)
    assert capsys.readouterr().out == "{'sum': [9.0, 9.0, 9.0]}\n"


def test_steps_faq_the_context_is_immutable_and_takes_new_keys() -> None:
    @pipeline_step()
    def modify(data: Any, ctx: FrozenContext) -> Any:
        ctx.add("new", 1)
        with pytest.raises(TypeError):
            ctx["new"] = 2  # type: ignore[index]
        return data, {"new": ctx["new"]}

    assert Experiment(my_source(), [modify]).run().metrics.baseline.metrics == {"new": [1]}


# -- Chaining Experiments, section 6 ----------------------------------------------------------------------------------


@pipeline_step()
def produce_summary(data: Any, ctx: FrozenContext, summary: Artifact) -> Any:
    summary.write(json.dumps({"replicate": ctx["replicate"]}))
    return data


class WriteMetricsStep(PipelineStep):
    def __init__(self, out: Artifact) -> None:
        self.out = out

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        self.out.write(f"replicate\n{ctx['replicate']}\n")
        return data


def consumer_step(data: dict[str, Path]) -> Any:
    summary = json.loads(data["summary"].read_text())["replicate"]
    return data, {"summary": summary, "metrics": int(data["metrics"].read_text().split()[1])}


def test_chaining_6_an_experiment_input_bundles_several_outputs_by_alias() -> None:
    producer = Experiment(my_source(), [produce_summary], name="producer", outputs=[Artifact("summary.json")])
    out = Artifact("metrics.csv")
    analytics = Experiment(my_source(), [WriteMetricsStep(out)], name="analytics", outputs=[out])
    consumer_experiment = Experiment(my_source(), [consumer_step], name="consumer")
    producer.run(replicates=3)
    analytics.run(replicates=3)

    ds = ExperimentInput(
        summary=producer.artifact_datasource(step="Produce_SummaryStep", name="summary.json"),
        metrics=analytics.artifact_datasource(step="WriteMetricsStep", name="metrics.csv"),
    )
    consumer_experiment.datasource = ds
    result = consumer_experiment.run()
    result.raise_for_errors()
    assert result.metrics.baseline.metrics == {"summary": [0, 1, 2], "metrics": [0, 1, 2]}

    analytics.run(replicates=2)
    with pytest.raises(ReplicateMismatchError, match="'summary' has 3, 'metrics' has 2"):
        consumer_experiment.run()


# -- Saving Artifacts -------------------------------------------------------------------------------------------------


class ModelStep(PipelineStep):
    def __init__(self, out: Artifact):
        self.out = out

    def __call__(self, data, ctx):  # type: ignore[no-untyped-def]
        self.out.write(b"binary data")
        return data

    @property
    def params(self):  # type: ignore[no-untyped-def]
        return {}


def saving(name: str | None = None, **options: Any) -> Experiment:
    from crystallize import Artifact, Experiment, Pipeline
    from crystallize.plugins.plugins import ArtifactPlugin

    out = Artifact("model.bin")
    exp = Experiment(
        datasource=my_source(),
        pipeline=Pipeline([ModelStep(out)]),
        plugins=[ArtifactPlugin(root_dir="artifacts", versioned=True)],
        outputs=[out],
        name=name,
        **options,
    )
    exp.validate()  # optional
    return exp


def test_artifacts_the_import_paths_of_the_page() -> None:
    from crystallize.pipelines.pipeline import Pipeline as FromItsModule
    from crystallize.pipelines.pipeline_step import PipelineStep as StepFromItsModule
    from crystallize.plugins.plugins import ArtifactPlugin as FromTheFace
    from crystallize.utils.context import FrozenContext as ContextFromItsModule

    assert FromItsModule is Pipeline
    assert StepFromItsModule is PipelineStep
    assert FromTheFace is ArtifactPlugin
    assert ContextFromItsModule is FrozenContext


@pytest.mark.parametrize("name", [None, "named"])
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_artifacts_are_stored_under_the_path_of_the_page(name: str | None, executor: str) -> None:
    exp = saving(name, treatments=[treatment("t", {})], execution=executor)
    for version in range(2):
        exp.run(replicates=2)
        run = Path("artifacts") / (name or exp.id) / f"v{version}"
        for replicate in range(2):
            for condition in ("baseline", "t"):
                path = run / f"replicate_{replicate}" / condition / "ModelStep" / "model.bin"
                assert path.read_bytes() == b"binary data"


def test_artifacts_a_lambda_can_be_a_loader_in_process_execution() -> None:
    out = Artifact("model.bin", loader=lambda path: path.read_bytes().decode())
    producer = Experiment(my_source(), [ModelStep(out)], outputs=[out])
    producer.run(replicates=2)
    consumer = Experiment(out, [lambda data: (data, {"text": data})], execution="process")
    assert consumer.run(replicates=2).metrics.baseline.metrics == {"text": ["binary data"] * 2}


EXPERIMENT_1 = """
from crystallize import Artifact, Experiment, Pipeline
from crystallize.pipelines.pipeline_step import PipelineStep

class ModelStep(PipelineStep):
    def __init__(self, out, table):
        self.out, self.table = out, table

    def __call__(self, data, ctx):
        self.out.write('{"replicate": %d}' % ctx["replicate"])
        self.table.write("a,b\\n%d,2\\n" % ctx["replicate"])
        return data

    @property
    def params(self):
        return {}

out, table = Artifact("data.json"), Artifact("data.csv")
exp1 = Experiment(datasource=lambda: None, pipeline=Pipeline([ModelStep(out, table)]), outputs=[out, table])

if __name__ == "__main__":
    exp1.run(replicates=2)
"""

EXPERIMENT_2 = """
from collections.abc import Iterator
from pathlib import Path

# experiment2.py
from experiment1 import exp1

from crystallize import Experiment, pipeline_step
from crystallize.pipelines.pipeline import Pipeline

@pipeline_step()
def load_json(data, ctx):
    import json

    assert isinstance(data, Path)
    return json.loads(data.read_text())

@pipeline_step()
def note(data):
    return data, data

exp2 = Experiment(
    datasource=exp1.artifact_datasource(step="ModelStep", name="data.json"),
    pipeline=Pipeline([load_json(), note()]),
)
exp2.validate()
result = exp2.run()  # replicates set from metadata
print(result.replicates, result.metrics.baseline.metrics)
"""


@pytest.mark.usefixtures("warm_processes")
def test_artifacts_an_experiment_is_imported_in_another_file_and_its_artifacts_are_there() -> None:
    Path("experiment1.py").write_text(EXPERIMENT_1)
    Path("experiment2.py").write_text(EXPERIMENT_2)

    def python(script: str) -> str:
        return subprocess.run([sys.executable, script], check=True, capture_output=True, text=True).stdout

    python("experiment1.py")
    assert python("experiment2.py") == "2 {'replicate': [0, 1]}\n"


def test_artifacts_any_format_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {"__name__": "experiment1"}
    exec(EXPERIMENT_1, namespace)
    exp1 = namespace["exp1"]
    exp1.run(replicates=2)

    @pipeline_step()
    def load_csv(data, ctx):  # type: ignore[no-untyped-def]
        import pandas as pd

        return pd.read_csv(data)

    exp_csv = Experiment(
        datasource=exp1.artifact_datasource(step="ModelStep", name="data.csv"),
        pipeline=Pipeline([load_csv(), lambda frame: (frame, {"a": frame["a"][0]})]),
    )
    assert exp_csv.run().metrics.baseline.metrics == {"a": [0, 1]}


@pytest.mark.parametrize("where", ["constructor", "run"])
def test_artifacts_another_number_of_replicates_is_an_error(where: str) -> None:
    exp1 = saving("producer")
    exp1.run(replicates=2)
    source = exp1.artifact_datasource(step="ModelStep", name="model.bin")
    exp2 = Experiment(
        source, [lambda data: data], name="consumer", replicates=3 if where == "constructor" else None
    )
    with pytest.raises(ReplicateMismatchError, match=r"3 replicates.*has 2") as raised:
        exp2.run(replicates=3 if where == "run" else None)
    assert isinstance(raised.value, ValueError)
    assert not Path("data/consumer").exists()


def test_artifacts_require_metadata_raises_if_there_is_none() -> None:
    exp1 = saving("producer")
    exp1.artifact_datasource(step="ModelStep", name="model.bin")
    with pytest.raises(FileNotFoundError, match=r"metadata\.json"):
        exp1.artifact_datasource(step="ModelStep", name="model.bin", require_metadata=True)
    exp1.run()
    exp1.artifact_datasource(step="ModelStep", name="model.bin", require_metadata=True)


def test_artifacts_resume_skips_what_is_complete_and_loads_its_metrics() -> None:
    first = saving("long").run(replicates=2)
    again = saving("long").run(strategy="resume", replicates=2)
    assert again.path == first.path
    assert again.metrics.baseline.metrics == first.metrics.baseline.metrics
    assert [path.name for path in Path("artifacts/long").iterdir()] == ["v0"]
