"""Which stored runs the experiments of a graph read, and what is kept of that."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from crystallize import ArtifactPlugin, Experiment, ExperimentGraph
from crystallize.datasources.artifact import ArtifactSource

PATIENCE = 60


def metadata(name: str, version: str = "v0") -> Any:
    return json.loads(Path("data", name, version, "metadata.json").read_text())


def test_the_metadata_name_the_runs_that_were_read(node: Any) -> None:
    a, b = node("a"), node("b", plugins=[ArtifactPlugin(versioned=False)])
    graph = ExperimentGraph(a, b, node("c", a, b))
    graph.run()
    graph.run()
    read_a, read_b = metadata("a", "v1"), metadata("b")
    assert metadata("c", "v1")["inputs"] == [
        {
            "experiment": name,
            "artifact": "out.json",
            "version": version,
            "run": read["run"],
            "started": read["started"],
        }
        for name, version, read in (("a", "v1", read_a), ("b", "v0", read_b))
    ]


@pytest.mark.parametrize("strategy", ["rerun", "resume"])
def test_a_graph_reads_the_runs_that_it_has_made_and_no_newer_ones_of_others(
    node: Any, strategy: str
) -> None:
    a = node("a")
    b = node("b", a, before=lambda ctx: node("a", seed=2).run())
    results = ExperimentGraph(a, b, node("c", a, b)).run(strategy=strategy)
    assert [(each["experiment"], each["version"]) for each in metadata("c")["inputs"]] == [
        ("a", "v0"),
        ("b", "v0"),
    ]
    (read,) = (json.loads(path.read_text())["read"] for path in Path("data/c/v0").rglob("out.json"))
    assert read["a"] == read["b"]["read"]["a"]
    assert [read["a"]["number"]] == results["a"].metrics.baseline.metrics["number"]


def test_what_the_graph_has_made_is_no_matter_to_who_asks_for_a_version(node: Any) -> None:
    node("a").run()
    a = node("a", seed=2)
    reader = Experiment(
        ArtifactSource(a.location(), step="ProduceStep", name="out.json", version=0),
        [lambda path, ctx: (path, {"number": json.loads(path.read_text())["number"]})],
        name="reader",
    )
    results = ExperimentGraph(a, reader).run()
    assert metadata("reader")["inputs"][0]["version"] == "v0"
    assert results["reader"].metrics.baseline.metrics != results["a"].metrics.baseline.metrics


@pytest.mark.usefixtures("warm_processes")
def test_two_graphs_at_once_each_read_one_version_from_start_to_end(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from crystallize import Artifact, ArtifactPlugin, Experiment, ExperimentGraph, pipeline_step

            seed = int(sys.argv[1])

            @pipeline_step()
            def produce(data, *, out: Artifact):
                out.write({"seed": seed})
                return data

            @pipeline_step()
            def consume(data, *, seen: Artifact):
                time.sleep(0.002)
                seen.write(data)
                return data

            out, seen = Artifact("out.json", loader="json"), Artifact("seen.json", loader="json")
            versioned = lambda: [ArtifactPlugin(versioned=True)]
            producer = Experiment(
                lambda: 0, [produce(out=out)], name="producer", outputs=[out], plugins=versioned(), replicates=20
            )
            consumer = Experiment(out, [consume(seen=seen)], name="consumer", outputs=[seen], plugins=versioned())
            graph = ExperimentGraph(producer, consumer)
            for _ in range(5):
                graph.run()
            """
        )
    )
    runs = [
        subprocess.Popen(
            [sys.executable, str(script), str(seed)], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        for seed in (1, 2)
    ]
    for run in runs:
        _, said = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0, said
    stored = tmp_path / "data"
    versions = list((stored / "consumer").glob("v*"))
    assert len(versions) == 10
    for version in versions:
        (read,) = json.loads((version / "metadata.json").read_text())["inputs"]
        folder = stored / "producer" / read["version"]
        assert json.loads((folder / "metadata.json").read_text())["started"] == read["started"]
        (expected,) = {path.read_text() for path in folder.rglob("out.json")}
        assert {path.read_text() for path in version.rglob("seen.json")} == {expected}


def test_the_producers_version_is_pinned_when_the_consumers_run_starts(node: Any) -> None:
    a = node("a", plugins=[ArtifactPlugin(versioned=True)], replicates=3)
    again = node("a", plugins=[ArtifactPlugin(versioned=True)], replicates=3, seed=2)

    def run_producer_again(ctx: Any) -> None:
        if ctx["replicate"] == 0:
            again.run()

    b = node("b", a, before=run_producer_again)
    result = ExperimentGraph(a, b).run()["b"]
    assert result.path is not None
    read = [
        json.loads(path.read_text())["read"]["a"]["number"] for path in sorted(result.path.rglob("out.json"))
    ]
    first = [json.loads(path.read_text())["number"] for path in sorted(Path("data/a/v0").rglob("out.json"))]
    assert read == first
    assert metadata("b")["inputs"][0]["version"] == "v0"
    assert Path("data/a/v1").is_dir()
