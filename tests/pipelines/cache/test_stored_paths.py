"""Cached steps and the paths of artifacts: a path stays the same when another file comes there."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from crystallize import Artifact, ArtifactPlugin, Experiment, ExperimentInput, pipeline_step, treatment
from crystallize.errors import UnhashableContentError
from crystallize.hashing import content_hash
from crystallize.utils.context import FrozenContext


@pipeline_step(cacheable=True)
def read(data: Any) -> Any:
    path = data["rate"] if isinstance(data, dict) else data
    return data, {"rate": float(path.read_text())}


def make_producer(rate: float, **options: Any) -> Experiment:
    def write(data: Any, ctx: Any, *, out: Artifact, factor: float = 1.0) -> Any:
        out.write(str(rate * factor))
        return data

    out = Artifact("rate.txt", alias="out", loader=lambda path: path)
    return Experiment(
        lambda: None, [pipeline_step()(write)], name="producer", outputs=[out], seed=1, **options
    )


def as_path(producer: Experiment) -> Any:
    return producer.artifact_datasource(step="WriteStep", name="rate.txt")


def as_part(producer: Experiment) -> Any:
    return ExperimentInput(rate=as_path(producer))


def by_loader(producer: Experiment) -> Any:
    return producer.outputs["out"]


@pytest.mark.parametrize("source", [as_path, as_part, by_loader])
def test_another_file_in_the_same_place_is_another_input(source: Any, run: Any) -> None:
    seen, hits = [], []
    for rate in (0.1, 0.2, 0.2):
        producer = make_producer(rate, plugins=[ArtifactPlugin(versioned=False)])
        producer.run(replicates=1)
        result = run(read, data=source(producer).fetch)
        seen += result.metrics.baseline.metrics["rate"]
        hits.append("1 output from the cache" in str(result.explain_cache()))
    assert seen == [0.1, 0.2, 0.2]
    assert hits == [False, False, True]


def test_what_a_resumed_producer_has_written_anew_is_read() -> None:
    for factor in (2.0, 3.0):
        producer = make_producer(0.5, treatments=[treatment("more", {"factor": factor})])
        producer.run(replicates=1, strategy="resume")
        consumer = Experiment(as_path(producer), [read], name="consumer", treatments=[treatment("more", {})])
        result = consumer.run(strategy="resume")
        assert result.metrics.treatments["more"].metrics["rate"] == [0.5 * factor]
    assert [each.name for each in sorted(Path("data/producer").iterdir())] == ["v0"]


def test_the_path_of_what_a_step_wrote_is_that_of_its_own_run(warnings: Any) -> None:
    @pipeline_step(cacheable=True)
    def write(data: Any, *, out: Artifact) -> Any:
        return out.write("0.5")

    @pipeline_step()
    def look(path: Path) -> Any:
        return path, {"path": path.as_posix()}

    experiment = Experiment(lambda: None, [write, look], name="writer", outputs=[Artifact("out.txt")], seed=1)
    for version in ("v0", "v1"):
        result = experiment.run(replicates=2)
        result.raise_for_errors()
        for replicate, path in enumerate(result.metrics.baseline.metrics["path"]):
            assert path.endswith(f"writer/{version}/replicate_{replicate}/baseline/WriteStep/out.txt")
        (warning,) = warnings()
        assert "'WriteStep' is not cached" in warning
        assert "pass on what is in the file" in warning


def test_a_path_that_is_made_of_another_one_says_nothing_of_a_content() -> None:
    producer = make_producer(0.1)
    producer.run(replicates=1)
    path = as_path(producer).fetch(FrozenContext(replicate=0, condition="baseline"))
    assert path == Path(path)
    assert content_hash(path) == content_hash(pickle.loads(pickle.dumps(path))) != content_hash(Path(path))
    with pytest.raises(UnhashableContentError, match="leads into one run"):
        content_hash(path.parent)
