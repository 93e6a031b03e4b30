"""References between folders: ``experiment#artifact``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin
from crystallize.config.build import load_experiment, load_nodes
from crystallize.config.errors import ConfigGraphError, Problem
from crystallize.datasources.artifact import Artifact

MakeFolder = Callable[..., Path]
ProblemsOf = Callable[[Path], list[Problem]]

STEPS = """
from crystallize import Artifact

def publish(data, summary: Artifact):
    summary.write({"total": sum(data)})
    return data

def take(data, plus=1): return [part["total"] + plus for part in data.values()]

def total(data): return data, {"total": sum(data)}
"""
OUT = "outputs: {summary: {file_name: summary.json, loader: json}}\n"
PRODUCER = "datasource: numbers\nsteps: [publish, total]\nreplicates: 2\n" + OUT


def middle(*references: str) -> str:
    listed = "".join(f"  in{number}: {reference}\n" for number, reference in enumerate(references))
    return f"datasource:\n{listed}steps: [take, publish, total]\n{OUT}"


@pytest.fixture
def node(make_folder: MakeFolder) -> Callable[..., Path]:
    return lambda name, config=PRODUCER: make_folder(name, config, steps=STEPS)


def test_the_specs_consumer_gets_a_dictionary_of_what_the_loader_makes(node: Callable[..., Path]) -> None:
    node("producer")
    consumer = node("consumer", "datasource:\n  producer_summary: producer#summary\nsteps: [take, total]\n")
    producer, experiment = load_nodes(consumer)
    assert [producer.name, experiment.name] == ["producer", "consumer"]
    producer.run()
    result = experiment.run()
    result.raise_for_errors()
    assert result.metrics.baseline.metrics == {"total": [4, 4]}
    assert experiment.datasource.producers() == [producer.location()]


def test_a_bare_reference_is_known_by_the_outputs_alias(node: Callable[..., Path]) -> None:
    node("producer")
    steps = "datasource: producer#summary\nsteps: [take, total]\n"
    *_, experiment = load_nodes(node("consumer", steps))
    assert list(experiment.datasource.sources) == ["summary"]  # type: ignore[attr-defined]


def test_every_upstream_comes_once_and_before_those_that_read_it(node: Callable[..., Path]) -> None:
    node("a")
    node("b", middle("a#summary"))
    node("c", middle("a#summary"))
    nodes = load_nodes(node("d", middle("c#summary", "b#summary", "a#summary")))
    assert [each.name for each in nodes] == ["a", "c", "b", "d"]
    for each in nodes:
        each.run().raise_for_errors()
    locations = [each.location() for each in nodes]
    assert nodes[3].datasource.producers() == [locations[1], locations[2], locations[0]]


def test_an_upstream_is_found_by_its_name_or_its_folder_beside_or_below_the_root(
    node: Callable[..., Path], tmp_path: Path
) -> None:
    node("first/producer")
    node("folder_only", "name: renamed\n" + PRODUCER)
    deep = node("second/deeper/consumer", middle("producer#summary", "renamed#summary"))
    assert [each.name for each in load_nodes(deep)] == ["producer", "renamed", "consumer"]
    by_folder = node("second/by_folder", middle("folder_only#summary"))
    assert [each.name for each in load_nodes(by_folder)] == ["renamed", "by_folder"]


def test_the_nearest_experiment_of_a_name_is_meant(node: Callable[..., Path]) -> None:
    node("producer")
    beside = node("group/producer")
    consumer = node("group/consumer", middle("producer#summary"))
    producer, _ = load_nodes(consumer)
    assert producer.source == beside / "config.yaml"


def test_what_the_caller_says_holds_for_all_that_can_read_it(
    node: Callable[..., Path], tmp_path: Path
) -> None:
    node("producer")
    store = ArtifactPlugin(root_dir=tmp_path / "store")
    nodes = load_nodes(
        node("consumer", middle("producer#summary")), seed=5, plugins=[store], context={"plus": 2}
    )
    assert [each.master_seed for each in nodes] == [5, 5]
    assert nodes[1].datasource.producers()[0].root == str(tmp_path / "store")
    assert [each.initial_ctx for each in nodes] == [{}, {"plus": 2}]
    assert load_nodes(node("last", middle("consumer#summary")), context={"plus": 3})[1].initial_ctx == {
        "plus": 3
    }


def test_each_consumer_settles_on_a_run_by_itself(node: Callable[..., Path]) -> None:
    node("producer")
    consumer = load_experiment(node("consumer", middle("producer#summary")))
    (artifact,) = consumer.datasource.sources.values()  # type: ignore[attr-defined]
    assert isinstance(artifact, Artifact)


# -- mistakes ------------------------------------------------------------------------------------------------


def graph_problem(folder: Path) -> Problem:
    with pytest.raises(ConfigGraphError) as caught:
        load_nodes(folder)
    (problem,) = caught.value.problems
    return problem


def test_an_unknown_upstream_comes_with_the_nearest_name(node: Callable[..., Path]) -> None:
    node("producer")
    folder = node("consumer", middle("producr#summary"))
    problem = graph_problem(folder)
    assert (problem.file, problem.line, problem.column) == (folder / "config.yaml", 2, 8)
    assert problem.key == "datasource.in0"
    assert problem.message == "there is no experiment 'producr'"
    assert "Did you mean 'producer'?" in problem.hint


def test_an_unknown_artifact_comes_with_the_nearest_name(
    node: Callable[..., Path], problems_of: ProblemsOf
) -> None:
    node("producer")
    (problem,) = problems_of(node("consumer", middle("producer#sumary")))
    assert problem.message == "experiment 'producer' has no output 'sumary'"
    assert "Did you mean 'summary'?" in problem.hint
    assert (problem.line, problem.column) == (2, 8)
    (problem,) = problems_of(node("consumer", middle("producer#summary.json")))
    assert "Did you mean 'summary'?" in problem.hint


def test_an_experiment_cannot_refer_to_itself(node: Callable[..., Path]) -> None:
    problem = graph_problem(node("loop", middle("loop#summary")))
    assert problem.message == "the experiment 'loop' refers to itself"
    assert problem.line == 2


def test_a_circle_is_told_with_all_files_in_it(node: Callable[..., Path]) -> None:
    a = node("a", middle("c#summary"))
    b = node("b", middle("a#summary"))
    c = node("c", middle("b#summary"))
    problem = graph_problem(node("outside", middle("a#summary")))
    assert problem.message.startswith("the experiments refer to each other in a circle: 'a' (")
    assert problem.message.endswith("-> 'a'")
    for folder in (a, b, c):
        assert f"{folder / 'config.yaml'}:2" in problem.message
    assert "outside" not in problem.message


def test_a_name_that_two_experiments_have_is_told_with_both(node: Callable[..., Path]) -> None:
    one, two = node("x/producer"), node("y/producer")
    problem = graph_problem(node("z/consumer", middle("producer#summary")))
    assert str(one) in problem.message
    assert str(two) in problem.message


def test_two_experiments_of_a_graph_cannot_share_a_folder_of_results(node: Callable[..., Path]) -> None:
    node("a", "name: same\n" + PRODUCER)
    folder = node("b", "name: SAME\n" + middle("same#summary"))
    problem = graph_problem(folder)
    assert "are both called 'SAME'" in problem.message


def test_mistakes_of_all_files_are_told_at_once_the_own_ones_first(
    node: Callable[..., Path], problems_of: ProblemsOf
) -> None:
    upstream = node("producer", PRODUCER + "foo: 1\n")
    folder = node("consumer", middle("producer#summry") + "bar: 1\n")
    found = problems_of(folder)
    assert [(problem.file.parent, problem.key) for problem in found] == [
        (folder, "datasource.in0"),
        (folder, "bar"),
        (upstream, "foo"),
    ]


def test_an_output_with_a_mistake_is_not_also_a_missing_one(
    node: Callable[..., Path], problems_of: ProblemsOf
) -> None:
    node("producer", PRODUCER.replace("loader", "lodr"))
    (problem,) = problems_of(node("consumer", middle("producer#summary")))
    assert "unknown key 'lodr'" in problem.message


def test_a_producer_that_stores_nothing_is_told(node: Callable[..., Path], problems_of: ProblemsOf) -> None:
    node("producer", PRODUCER + "plugins: {artifact: false}\n")
    (problem,) = problems_of(node("consumer", middle("producer#summary")))
    assert "stores nothing" in problem.message
