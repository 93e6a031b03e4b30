"""What a graph is made of, in which order it runs, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crystallize import Artifact, ArtifactPlugin, Experiment, ExperimentGraph, ExperimentInput, treatment
from crystallize.errors import (
    GraphError,
    InvalidTypeError,
    InvalidValueError,
    ReplicateMismatchError,
    UnknownNameError,
    ValidationError,
)


def test_the_order_follows_the_artifacts_whatever_the_order_of_adding(node: Any) -> None:
    a = node("a")
    b, c = node("b", a), node("c", a)
    d = node("d", b, c)
    graph = ExperimentGraph(d, c, b, a)
    assert graph.dependencies == {"d": ("b", "c"), "c": ("a",), "b": ("a",), "a": ()}
    assert graph.order() == ["a", "c", "b", "d"], (
        "independent ones stay in the order in which they were added"
    )
    assert list(graph.experiments) == ["d", "c", "b", "a"]


def test_a_graph_grows_and_sees_a_data_source_that_is_replaced(node: Any) -> None:
    a, b = node("a"), node("b")
    graph = ExperimentGraph.from_experiments([b])
    graph.add_experiment(a)
    assert graph.order() == ["b", "a"]
    b.datasource = ExperimentInput(a=a.artifact_datasource(step="ProduceStep", name="out.json"))
    assert graph.order() == ["a", "b"]
    assert graph.dependencies["b"] == ("a",)


def test_the_data_source_of_a_treatment_makes_a_dependency(node: Any) -> None:
    a = node("a")
    b = node("b", treatments=[treatment("other", datasource=a.outputs["out"])])
    assert ExperimentGraph(b, a).dependencies == {"b": ("a",), "a": ()}


def test_a_dependency_can_be_declared_by_experiment_or_name(node: Any) -> None:
    a, b, c = node("a"), node("b"), node("c")
    graph = ExperimentGraph(c, b, a)
    graph.add_dependency(c, "b")
    graph.add_dependency("b", a)
    graph.add_dependency("b", a)
    assert graph.order() == ["a", "b", "c"]
    assert list(graph.run()) == ["a", "b", "c"]


def test_a_dependency_on_what_is_not_there_is_refused_with_the_nearest_name(node: Any) -> None:
    graph = ExperimentGraph(node("prepare"), node("compare"))
    with pytest.raises(UnknownNameError, match=r"no experiment 'prepaer'.*Did you mean 'prepare'"):
        graph.add_dependency("compare", "prepaer")
    with pytest.raises(UnknownNameError, match="is not in the graph"):
        graph.add_dependency("compare", node("prepare"))
    with pytest.raises(InvalidTypeError):
        graph.add_dependency("compare", 3)  # type: ignore[arg-type]


def test_a_cycle_is_spelled_out_with_its_files(node: Any) -> None:
    a, b, c, d = node("a"), node("b"), node("c"), node("d")
    a.source, b.source = Path("experiments/a/config.yaml"), Path("experiments/b/config.yaml")
    graph = ExperimentGraph(d, b, a, c)
    graph.add_dependency("a", "b")
    graph.add_dependency("d", "a")
    graph.add_dependency("c", "a")
    with pytest.raises(GraphError) as caught:
        graph.add_dependency("b", "c")
    assert "in a cycle: 'b' -> 'a' -> 'c' -> 'b'" in str(caught.value)
    assert f"'a' in {Path('experiments/a/config.yaml')}" in str(caught.value)
    assert "'d'" not in str(caught.value), "it depends on the cycle and is not part of it"
    assert graph.order() == ["b", "a", "d", "c"], "the graph is as it was"


def test_experiments_that_read_each_other_are_a_cycle(node: Any) -> None:
    a, b = node("a"), node("b")
    a.datasource, b.datasource = b.outputs["out"], a.outputs["out"]
    with pytest.raises(GraphError, match="in a cycle: 'a' -> 'b' -> 'a'"):
        ExperimentGraph(a, b)


def test_an_experiment_that_reads_itself_is_refused(node: Any) -> None:
    a = node("a")
    a.datasource = a.outputs["out"]
    with pytest.raises(GraphError, match="'a' reads its own artifacts"):
        ExperimentGraph(a)
    b = node("b")
    with pytest.raises(GraphError, match="'b' cannot depend on itself"):
        ExperimentGraph(b).add_dependency(b, b)


def test_two_experiments_of_one_name_are_refused_with_their_files(node: Any) -> None:
    one, two = node("same"), node("same")
    one.source, two.source = Path("x/config.yaml"), Path("y/config.yaml")
    with pytest.raises(GraphError, match="two experiments of the graph are called 'same'") as caught:
        ExperimentGraph(one, two)
    assert str(one.source) in str(caught.value)
    assert str(two.source) in str(caught.value)
    ExperimentGraph(one, one)  # it is one experiment


def test_two_unnamed_experiments_with_one_pipeline_have_one_name() -> None:
    def nothing(data: Any) -> Any:
        return data

    with pytest.raises(GraphError, match="Give one of them another name="):
        ExperimentGraph(Experiment(lambda: 1, [nothing]), Experiment(lambda: 2, [nothing]))


def test_two_experiments_that_store_in_one_folder_are_refused(node: Any, tmp_path: Path) -> None:
    graph = ExperimentGraph(node("same"))
    with pytest.raises(GraphError, match="'same' and 'SAME' store their runs in one folder"):
        graph.add_experiment(node("SAME"))
    assert list(graph.experiments) == ["same"], "the graph is as it was"
    graph.add_experiment(node("SAME", plugins=[ArtifactPlugin(str(tmp_path / "elsewhere"))]))


def test_a_producer_is_found_through_a_link_and_by_a_relative_path(node: Any, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    producer = node("producer", plugins=[ArtifactPlugin(tmp_path / "real")])
    twin = node("producer", plugins=[ArtifactPlugin(tmp_path / "link")])
    assert ExperimentGraph(node("reader", twin), producer).dependencies["reader"] == ("producer",)


def test_reading_an_experiment_that_stores_nothing_is_refused(node: Any) -> None:
    silent = node("silent", disable_plugins=["artifact"])
    with pytest.raises(
        GraphError, match=r"'reader' reads the artifact 'out.json' of experiment 'silent', which s"
    ):
        ExperimentGraph(node("reader", silent), silent)
    with pytest.raises(GraphError, match="which no experiment stores"):
        ExperimentGraph(Experiment(Artifact("loose.json"), [lambda data: data], name="reader"))


def test_an_artifact_that_two_experiments_write_is_refused_where_it_is_read() -> None:
    shared = Artifact("shared.bin")

    def build(name: str, source: Any = lambda: 1, outputs: Any = ()) -> Experiment:
        return Experiment(source, [lambda data: data], name=name, outputs=outputs)

    one, two = build("one", outputs=[shared]), build("two", outputs=[shared])
    with pytest.raises(GraphError, match=r"'shared.bin', which is an output of 'one', 'two'"):
        ExperimentGraph(build("reader", shared), one, two)
    ExperimentGraph(one, two)  # nobody reads it


def test_a_step_that_the_producer_lacks_is_refused_before_anything_runs(node: Any) -> None:
    producer = node("producer")
    reader = node("reader")
    reader.datasource = producer.artifact_datasource(step="ProducedStep", name="out.json")
    with pytest.raises(GraphError, match=r"no such step.*Did you mean 'ProduceStep'"):
        ExperimentGraph(producer, reader)


def test_a_condition_that_the_producer_lacks_is_refused_before_anything_runs(node: Any) -> None:
    producer = node("producer", treatments=[treatment("high", {"factor": 2})])
    reader = node("reader")
    reader.datasource = producer.artifact_datasource(step="ProduceStep", name="out.json", condition="hihg")
    with pytest.raises(GraphError, match=r"of condition 'hihg'.*no such condition.*Did you mean 'high'"):
        ExperimentGraph(producer, reader)


def test_a_producer_outside_of_the_graph_needs_a_stored_run(node: Any) -> None:
    producer, ran = node("producer"), []
    graph = ExperimentGraph(node("reader", producer), node("other", before=ran.append))
    with pytest.raises(
        GraphError, match=r"'producer', which is not in the graph and has no stored run in .*data"
    ):
        graph.run()
    assert not ran, "it was known before anything ran"
    producer.run()
    assert set(graph.run()) == {"reader", "other"}


@pytest.mark.parametrize("wrong", [0, -1])
def test_max_concurrency_is_positive(wrong: int) -> None:
    with pytest.raises(InvalidValueError, match="max_concurrency is at least 1"):
        ExperimentGraph(max_concurrency=wrong)


@pytest.mark.parametrize("wrong", [1.5, "2", True])
def test_max_concurrency_is_an_int(wrong: Any) -> None:
    with pytest.raises(InvalidTypeError, match="max_concurrency is an int"):
        ExperimentGraph(max_concurrency=wrong)


def test_a_graph_consists_of_experiments(node: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"ExperimentGraph\(\*experiments\)"):
        ExperimentGraph([node("a")])  # type: ignore[arg-type]


def test_an_empty_graph_runs_nothing() -> None:
    assert ExperimentGraph().run() == {}


def test_what_to_do_about_earlier_runs_is_checked_as_for_an_experiment(node: Any) -> None:
    a = node("a")
    with pytest.raises(InvalidValueError) as of_experiment:
        a.run(strategy="again")
    with pytest.raises(InvalidValueError) as of_graph:
        ExperimentGraph(a).run(strategy="again")
    assert str(of_graph.value) == str(of_experiment.value)


@pytest.mark.parametrize("wrong", [0, "3", 1.0])
def test_a_wrong_number_of_replicates_is_refused_before_anything_runs(node: Any, wrong: Any) -> None:
    ran: list[Any] = []
    with pytest.raises((InvalidTypeError, InvalidValueError), match="replicates"):
        ExperimentGraph(node("a", before=ran.append)).run(replicates=wrong)
    assert not ran


def test_an_experiment_that_cannot_run_as_defined_is_known_before_anything_runs(node: Any) -> None:
    ran: list[Any] = []

    def needs(data: Any, *, never_given: int) -> Any:
        return data

    first = node("first", before=ran.append)
    graph = ExperimentGraph(first, Experiment(lambda: 1, [needs], name="second"))
    with pytest.raises(ValidationError, match="never_given"):
        graph.run()
    assert not ran


# -- replicates --------------------------------------------------------------------------------------------


def test_producers_with_different_numbers_of_replicates_are_refused_before_anything_runs(node: Any) -> None:
    ran: list[Any] = []
    a, b = node("a", replicates=3, before=ran.append), node("b", replicates=5)
    reader = node("reader", a, b)
    reader.source = Path("experiments/reader/config.yaml")
    graph = ExperimentGraph(reader, a, b)
    with pytest.raises(ReplicateMismatchError) as caught:
        graph.run()
    assert "experiment 'a' has 3, experiment 'b' has 5" in str(caught.value)
    assert str(reader.source) in str(caught.value)
    assert not ran
    assert {result.replicates for result in graph.run(replicates=2).values()} == {2}


def test_what_to_do_about_a_producer_of_one_replicate_beside_one_of_more_is_told(node: Any) -> None:
    a, b = node("a", replicates=1), node("b", replicates=5)
    told = "give experiment 'a' 5 replicates too, or have experiment 'b' read it"
    with pytest.raises(ReplicateMismatchError, match=told):
        ExperimentGraph(node("reader", a, b), a, b).run()
    chained = node("b", a, replicates=5)
    results = ExperimentGraph(a, chained, node("reader", chained)).run()
    assert [result.replicates for result in results.values()] == [1, 5, 5]


def test_paths_of_artifacts_insist_on_the_producers_number(node: Any) -> None:
    producer = node("producer", replicates=3)
    reader = node("reader", replicates=4)
    reader.datasource = producer.artifact_datasource(step="ProduceStep", name="out.json")
    graph = ExperimentGraph(producer, reader)
    with pytest.raises(
        ReplicateMismatchError, match="'reader' will have 4 replicates, and experiment 'producer'"
    ):
        graph.run()
    assert not Path("data").exists()
    assert graph.run(replicates=2)["reader"].replicates == 2


def test_an_old_run_with_another_number_does_not_count(node: Any) -> None:
    producer = node("producer", replicates=3)
    reader = node("reader")
    reader.datasource = producer.artifact_datasource(step="ProduceStep", name="out.json")
    producer.run(replicates=7)
    results = ExperimentGraph(producer, reader).run()
    assert {name: result.replicates for name, result in results.items()} == {"producer": 3, "reader": 3}


def test_each_experiment_has_its_own_number_and_a_consumer_its_producers(node: Any) -> None:
    a = node("a", replicates=4)
    b = node("b", a)
    c = node("c", b, replicates=2)
    results = ExperimentGraph(a, b, c).run()
    assert {name: result.replicates for name, result in results.items()} == {"a": 4, "b": 4, "c": 2}
