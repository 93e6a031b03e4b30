"""A law: the results of a graph depend on neither the order of adding nor how many run at a time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystallize import Experiment, ExperimentGraph, treatment


@st.composite
def shapes(draw: Any) -> dict[str, tuple[list[str], bool]]:
    """Draw what each experiment reads, and whether it has the treatment."""
    names: list[str] = []
    shape: dict[str, tuple[list[str], bool]] = {}
    for number in range(draw(st.integers(1, 6))):
        upstream = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []
        name = f"n{number}"
        shape[name] = upstream, draw(st.booleans())
        names.append(name)
    return shape


def run(
    node: Any, shape: dict[str, Any], order: list[str], most: int | None
) -> tuple[dict[str, str], list[str]]:
    """Run the graph in a folder of its own; return the results as JSON and the order in which steps began."""
    began: list[str] = []
    nodes: dict[str, Experiment] = {}
    for name, (upstream, has_treatment) in shape.items():
        nodes[name] = node(
            name,
            *(nodes[each] for each in upstream),
            before=lambda ctx, name=name: began.append(name),
            treatments=[treatment("hot", {"factor": 2})] if has_treatment else [],
        )
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            graph = ExperimentGraph(*(nodes[name] for name in order), max_concurrency=most)
            results = graph.run(replicates=2)
            assert list(results) == graph.order()
            files = {path.relative_to(folder): path for path in Path(folder, "data").rglob("out.json")}
            contents = {str(relative): path.read_text() for relative, path in files.items()}
        finally:
            os.chdir(before)
    return {name: result.to_json() for name, result in results.items()} | contents, began


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=shapes(), data=st.data())
def test_any_order_and_any_concurrency_give_the_same(node: Any, shape: dict[str, Any], data: Any) -> None:
    expected, began = run(node, shape, list(shape), 1)
    order = data.draw(st.permutations(list(shape)))
    most = data.draw(st.sampled_from([None, 2, 3]))
    found, began_too = run(node, shape, order, most)
    assert found == expected
    for sequence in (began, began_too):
        ended = {name: len(sequence) - 1 - sequence[::-1].index(name) for name in shape}
        for name, (upstream, _) in shape.items():
            assert all(ended[each] < sequence.index(name) for each in upstream), "a producer is through first"
