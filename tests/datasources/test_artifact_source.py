from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from crystallize import Artifact, ArtifactPlugin, BasePlugin, Experiment, ExperimentInput, treatment
from crystallize.datasources.artifact import ArtifactSource
from crystallize.errors import ArtifactError, ArtifactNotFoundError, InvalidNameError, ReplicateMismatchError
from crystallize.utils.context import FrozenContext


def make_producer(
    *conditions: str, plugin: ArtifactPlugin | None = None, name: str | None = "producer"
) -> Experiment:
    def produce(data: Any, ctx: Any) -> Any:
        ctx.artifacts.write("data.txt", f"{ctx['condition']} {ctx['replicate']}".encode())
        if ctx["condition"] == "broken":
            raise ValueError
        return data

    return Experiment(
        lambda: None,
        [produce],
        name=name,
        plugins=[plugin] if plugin else [],
        treatments=[treatment(condition, {}) for condition in conditions],
    )


def read(data: Path) -> tuple[Path, dict[str, str]]:
    return data, {"text": data.read_text()}


def at(replicate: int, condition: str = "baseline") -> FrozenContext:
    return FrozenContext(replicate=replicate, condition=condition)


def test_a_downstream_experiment_gets_the_path_for_its_replicate_and_condition() -> None:
    make_producer("high").run(replicates=2)
    source = make_producer("high").artifact_datasource(step="ProduceStep", name="data.txt")
    consumer = Experiment(source, [read], treatments=[treatment("high", {}), treatment("low", {})])
    result = consumer.run()
    result.raise_for_errors()
    assert result.metrics.baseline.metrics["text"] == ["baseline 0", "baseline 1"]
    assert result.metrics.treatments["high"].metrics["text"] == ["high 0", "high 1"]
    assert result.metrics.treatments["low"].metrics["text"] == ["baseline 0", "baseline 1"]


def test_another_number_of_replicates_is_refused_with_both_numbers() -> None:
    make_producer().run(replicates=2)
    source = make_producer().artifact_datasource(step="ProduceStep", name="data.txt")
    with pytest.raises(ReplicateMismatchError, match=r"3 replicates.* 2\b.*'producer'"):
        Experiment(source, [read]).run(replicates=3)
    assert Experiment(source, [read]).run(replicates=2).replicates == 2


def test_the_signature_of_the_pipeline_finds_an_experiment_without_a_name(
    run_python: Any, tmp_path: Path
) -> None:
    (tmp_path / "experiment1.py").write_text(
        "from crystallize import Experiment, Pipeline, pipeline_step\n"
        "@pipeline_step()\n"
        "def produce(data, ctx):\n"
        "    ctx.artifacts.write('data.json', b'[1]')\n"
        "    return data\n"
        "exp1 = Experiment(datasource=lambda: None, pipeline=Pipeline([produce()]))\n"
    )
    run_python("from experiment1 import exp1; exp1.run(replicates=2)")
    done = run_python(
        "from experiment1 import exp1\n"
        "from crystallize import Experiment\n"
        "source = exp1.artifact_datasource(step='ProduceStep', name='data.json', require_metadata=True)\n"
        "result = Experiment(source, [lambda data: (data, {'n': len(data.read_text())})]).run()\n"
        "result.raise_for_errors()\n"
        "print(result.metrics.baseline.metrics['n'])"
    )
    assert done.stdout == "[3, 3]\n"


def test_required_metadata_that_are_missing_are_an_error_that_names_the_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"data/producer/v0/metadata\.json.*Run it first"):
        make_producer().artifact_datasource(step="ProduceStep", name="data.txt", require_metadata=True)


def test_a_producer_may_run_after_the_consumer_was_built() -> None:
    producer = make_producer()
    source = producer.artifact_datasource(step="ProduceStep", name="data.txt")
    consumer = Experiment(source, [read])
    assert source.replicates is None
    producer.run(replicates=3)
    assert source.replicates == 3
    assert len(consumer.run().metrics.baseline.metrics["text"]) == 3


def test_an_artifact_of_a_run_that_does_not_exist_is_named_with_its_path() -> None:
    source = make_producer().artifact_datasource(step="ProduceStep", name="data.txt")
    with pytest.raises(ArtifactNotFoundError, match="run it first") as caught:
        source.fetch(at(0))
    assert str(Path("data/producer/v0/replicate_0/baseline/ProduceStep/data.txt")) in str(caught.value)


@pytest.mark.parametrize(
    ("step", "name", "hint"),
    [
        ("ProduceStep", "data.tx", r"Did you mean 'data\.txt'"),
        ("ProduceStp", "data.txt", "Did you mean 'ProduceStep'"),
        ("ProduceStep", "other", r"artifacts of that step are 'data\.txt'"),
    ],
)
def test_a_wrong_step_or_name_comes_with_those_that_exist(step: str, name: str, hint: str) -> None:
    make_producer().run()
    with pytest.raises(ArtifactNotFoundError, match=hint):
        make_producer().artifact_datasource(step=step, name=name).fetch(at(0))


def test_a_condition_that_the_run_has_not_got_comes_with_those_that_it_has() -> None:
    producer = make_producer("high")
    producer.run()
    source = producer.artifact_datasource(step="ProduceStep", name="data.txt", condition="hihg")
    with pytest.raises(ArtifactNotFoundError, match="Did you mean 'high'"):
        source.fetch(at(0))
    producer.run(treatments=[])
    source = producer.artifact_datasource(step="ProduceStep", name="data.txt", condition="high")
    with pytest.raises(ArtifactNotFoundError, match="The run's conditions are 'baseline'"):
        source.fetch(at(0))


def test_artifacts_that_retention_removed_are_explained() -> None:
    producer = make_producer(plugin=ArtifactPlugin(versioned=True, artifact_retention=1))
    for _ in range(2):
        producer.run()
    location = producer.plugins.find(ArtifactPlugin).location(producer)
    source = ArtifactSource(location, step="ProduceStep", name="data.txt", version=0)
    with pytest.raises(ArtifactNotFoundError, match="artifact_retention"):
        source.fetch(at(0))
    assert source.replicates == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda file: file.unlink(), "with 10 bytes, and is gone"),
        (lambda file: file.write_bytes(b"x"), "10 bytes then, 1 bytes now"),
        (lambda file: file.write_bytes(b"baseline 1"), "the hash of its content was xxh3_128:"),
    ],
)
def test_a_file_that_is_no_longer_what_was_written_is_told_before_its_path_is_given(
    change: Any, expected: str
) -> None:
    result = make_producer().run()
    change(file := (result.path or Path()) / result.artifacts[0].path)
    with pytest.raises(ArtifactError, match=expected) as caught:
        make_producer().artifact_datasource(step="ProduceStep", name="data.txt").fetch(at(0))
    assert str(file) in str(caught.value)


def test_one_condition_can_be_read_under_all() -> None:
    make_producer("high").run()
    source = make_producer().artifact_datasource(step="ProduceStep", name="data.txt", condition="high")
    assert {source.fetch(at(0, condition)).read_text() for condition in ("baseline", "low")} == {"high 0"}


def test_the_newest_complete_version_is_read_and_any_other_by_number() -> None:
    producer = make_producer(plugin=ArtifactPlugin("here", versioned=True))
    for replicates in (1, 2):
        producer.run(replicates=replicates)
    (Path("here/producer/v2")).mkdir()
    (Path("here/producer/v2/metadata.json")).write_text('{"status": "running", "replicates": 9}')
    location = producer.plugins.find(ArtifactPlugin).location(producer)
    assert ArtifactSource(location, step="ProduceStep", name="data.txt").replicates == 2
    assert ArtifactSource(location, step="ProduceStep", name="data.txt", version=0).replicates == 1
    assert ArtifactSource(location, step="ProduceStep", name="data.txt", version=7).replicates is None


def test_a_run_keeps_to_the_version_that_it_began_with() -> None:
    producer = make_producer(plugin=ArtifactPlugin(versioned=True))
    source = producer.artifact_datasource(step="ProduceStep", name="data.txt")
    producer.run()
    source.choose_run()
    producer.run()
    assert source.fetch(at(0)).is_relative_to(Path.cwd() / "data/producer/v0")
    source.release_run()
    source.choose_run()
    assert source.fetch(at(0)).is_relative_to(Path.cwd() / "data/producer/v1")


def test_paths_lead_to_the_run_that_was_chosen_also_if_another_takes_its_place() -> None:
    plugin = ArtifactPlugin(versioned=False)
    make_producer("high", plugin=plugin).run(replicates=3)
    source = make_producer(plugin=plugin).artifact_datasource(step="ProduceStep", name="data.txt")

    class RunsAgain(BasePlugin):
        def after_replicate(self, experiment: Any, result: Any) -> None:
            if result.replicate == 0:
                make_producer(plugin=plugin).run(replicates=3)

    consumer = Experiment(source, [read], treatments=[treatment("high", {})], plugins=[RunsAgain()])
    result = consumer.run()
    result.raise_for_errors()
    assert result.metrics.treatments["high"].metrics["text"] == ["high 0", "high 1", "high 2"]


def test_an_outcome_whose_path_was_given_before_another_run_took_the_place_is_an_error() -> None:
    plugin = ArtifactPlugin(versioned=False)
    make_producer(plugin=plugin).run(replicates=3)
    source = make_producer(plugin=plugin).artifact_datasource(step="ProduceStep", name="data.txt")

    def read_late(data: Path, ctx: Any) -> tuple[Path, dict[str, str]]:
        if ctx["replicate"] == 1:
            make_producer(plugin=plugin).run(replicates=3)
        return read(data)

    for given in (source, ExperimentInput(data=source)):
        step = read_late if given is source else lambda data, ctx: read_late(data["data"], ctx)
        result = Experiment(given, [step]).run()
        assert [error.replicate for error in result.errors] == [1]
        assert "'producer' was run again" in result.errors[0].message
        assert result.metrics.baseline.metrics["text"] == ["baseline 0", "baseline 2"]


def test_an_artifact_that_nobody_wrote_is_told_without_the_engines_own_frames() -> None:
    producer = make_producer()
    producer.run(replicates=1)
    (error,) = (
        Experiment(producer.artifact_datasource(step="ProduceStep", name="other.txt"), [read]).run().errors
    )
    assert "other.txt" in error.message
    assert error.traceback == ""


def test_an_outcome_that_failed_since_another_run_took_the_place_says_so() -> None:
    producer = make_producer(plugin=ArtifactPlugin(versioned=False))
    producer.run(replicates=3)
    source = producer.artifact_datasource(step="ProduceStep", name="data.txt")

    def fail(data: Path, ctx: Any) -> Path:
        if ctx["replicate"] == 1:
            producer.run(replicates=3)
        raise ValueError("of its own")

    errors = Experiment(source, [fail]).run().errors
    assert [error.kind.rpartition(".")[2] for error in errors] == ["ValueError", "StoreError", "ValueError"]
    assert "'producer' was run again" in errors[1].message
    assert "ValueError: of its own" in errors[1].traceback
    assert not source._given  # nothing is kept for outcomes that are over


def test_files_without_metadata_can_be_read() -> None:
    file = Path("data/producer/v0/replicate_0/baseline/ProduceStep/data.txt")
    file.parent.mkdir(parents=True)
    file.write_text("by hand")
    source = make_producer().artifact_datasource(step="ProduceStep", name="data.txt")
    assert source.replicates is None
    assert source.fetch(at(0)).read_text() == "by hand"


def test_a_pickled_source_holds_no_experiment_and_leads_to_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_producer().run()
    sent = pickle.dumps(make_producer().artifact_datasource(step="ProduceStep", name="data.txt"))
    assert len(sent) < 1000
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(sent).fetch(at(0)).read_text() == "baseline 0"


@pytest.mark.parametrize("wrong", [{"step": "../x"}, {"name": "../x"}, {"condition": "../x"}])
def test_names_that_would_leave_the_folder_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidNameError):
        make_producer().artifact_datasource(**{"step": "ProduceStep", "name": "data.txt", **wrong})


def test_an_output_may_be_called_like_the_files_of_the_store() -> None:
    out = Artifact("results.json")

    def write(data: Any) -> Any:
        out.write(b"mine")
        return data

    result = Experiment(lambda: None, [write], name="producer", outputs=[out]).run()
    assert result.path is not None
    assert (result.path / "baseline" / "results.json").read_bytes() != b"mine"
    assert out.fetch(at(0)) == b"mine"
