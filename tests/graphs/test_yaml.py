"""Graphs of experiment folders: the example of the specification."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from crystallize import ExperimentGraph
from crystallize.errors import CrystallizeError, GraphRunError

FILES = {
    "producer/config.yaml": """
        replicates: 3
        seed: 1
        datasource: numbers
        steps: [produce_summary]
        outputs:
          summary: {file_name: summary.json, writer: dump_json, loader: load_json}
        treatments:
          high_lr: {rate: 0.5}
    """,
    "producer/datasources.py": """
        from crystallize import data_source

        @data_source
        def numbers(ctx):
            return [1.0, 2.0]
    """,
    "producer/steps.py": """
        from crystallize import Artifact, pipeline_step

        @pipeline_step()
        def produce_summary(numbers, *, summary: Artifact, rate=0.1):
            summary.write({"total": sum(numbers), "rate": rate})
            return numbers
    """,
    "producer/outputs.py": """
        import json

        def dump_json(value):
            return json.dumps(value).encode()

        def load_json(path):
            return json.loads(path.read_text())
    """,
    "consumer/config.yaml": """
        datasource:
          producer_summary: producer#summary
        steps: [inspect_summary]
        treatments:
          high_lr: {}
    """,
    "consumer/steps.py": """
        from crystallize import pipeline_step

        @pipeline_step()
        def inspect_summary(inputs):
            return inputs, {"rate": inputs["producer_summary"]["rate"]}
    """,
}


@pytest.fixture
def consumer() -> Path:
    for name, content in FILES.items():
        path = Path("experiments", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(content))
    return Path("experiments/consumer/config.yaml")


def test_the_graph_of_a_folder_runs_what_it_reads_first(consumer: Path) -> None:
    graph = ExperimentGraph.from_yaml(consumer)
    assert graph.dependencies == {"producer": (), "consumer": ("producer",)}
    results = graph.run()
    assert list(results) == ["producer", "consumer"]
    metrics = results["consumer"].metrics
    assert metrics.baseline.metrics["rate"] == [0.1] * 3
    assert metrics.treatments["high_lr"].metrics["rate"] == [0.5] * 3
    inputs = json.loads(Path("data/consumer/v0/metadata.json").read_text())["inputs"]
    assert [(entry["experiment"], entry["artifact"]) for entry in inputs] == [("producer", "summary.json")]


def test_the_folder_will_do_and_options_reach_every_experiment(consumer: Path) -> None:
    graph = ExperimentGraph.from_yaml(consumer.parent, seed=8, max_concurrency=1)
    assert {each.master_seed for each in graph.experiments.values()} == {8}
    assert graph.max_concurrency == 1
    assert list(graph.run(treatments=[], replicates=1)) == ["producer", "consumer"]


def test_an_error_names_the_file(consumer: Path) -> None:
    steps = Path("experiments/producer/steps.py")
    steps.write_text(steps.read_text().replace("sum(numbers)", "sum(nothing)"))
    with pytest.raises(GraphRunError) as caught:
        ExperimentGraph.from_yaml(consumer).run()
    assert str(Path("experiments", "producer", "config.yaml")) in str(caught.value)
    assert caught.value.skipped == {"consumer": "producer"}


def test_folders_in_a_cycle_are_refused(consumer: Path) -> None:
    producer = Path("experiments/producer/config.yaml")
    producer.write_text(producer.read_text().replace("datasource: numbers", "datasource: {x: consumer#seen}"))
    with pytest.raises(CrystallizeError) as caught:
        ExperimentGraph.from_yaml(consumer)
    assert "producer" in str(caught.value)
    assert "consumer" in str(caught.value)


def test_the_graph_of_a_folder_is_drawn(
    consumer: Path, monkeypatch: Any, tmp_path: Path, caplog: Any
) -> None:
    lines = [
        "producer  3 replicates  baseline, high_lr",
        "consumer  3 replicates  baseline, high_lr  <- producer",
    ]
    assert ExperimentGraph.visualize_from_yaml(consumer, format="text") == "\n".join(lines)
    assert ExperimentGraph.visualize_from_yaml(consumer, "graph.mmd") == Path("graph.mmd")
    assert Path("graph.mmd").read_text().startswith("flowchart LR\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ExperimentGraph.visualize_from_yaml(consumer) == "\n".join(lines)
    assert "apt install graphviz" in caplog.text
    assert not Path("data").exists(), "drawing runs nothing"
