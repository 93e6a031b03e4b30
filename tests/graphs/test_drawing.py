"""Drawings of a graph: as text, for Mermaid and for Graphviz, with and without the program."""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from crystallize import ExperimentGraph, decided, treatment
from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.graphs.drawing import (
    HOW_TO_GET_GRAPHVIZ,
    GraphvizError,
    Node,
    Picture,
    as_dot,
    as_mermaid,
    as_text,
    visualize,
)

ODD_NAMES = [
    "a&amp;b",
    "1. first",
    "- dash",
    "semi;colon",
    "brackets](x)",
    "50%%{init}",
    "it's `code` $(rm -r) #1",
    "ünï 📈",
    "end",
    "<b>&lt;",
    'say "no"',
    "back\\slash\\N",
]


@pytest.fixture
def graph(node: Any) -> ExperimentGraph:
    a = node("prepare", replicates=30)
    b = node("compare", a, treatments=[treatment("lasso", {}), treatment("ridge", {})])
    c = node("by_size", a, treatments=[treatment("small", {})])
    return ExperimentGraph(node("report", b, c, replicates=1), c, b, a)


@pytest.fixture
def picture(graph: ExperimentGraph) -> Picture:
    return graph.picture()


@pytest.fixture
def no_graphviz(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def own_dot(monkeypatch: Any, tmp_path: Path) -> Path:
    """Put a program `dot` on the path that notes how it is called; return the folder of its notes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "dot"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "from pathlib import Path\n"
        "notes = Path(__file__).parent\n"
        "(notes / 'arguments').write_text(repr(sys.argv[1:]))\n"
        "(notes / 'input').write_bytes(sys.stdin.buffer.read())\n"
        "if os.environ.get('DOT_FAILS'):\n"
        "    sys.exit('syntax error in line 1')\n"
        "print('<svg/>')\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_text_has_a_line_for_each_experiment_with_arrows_from_what_it_reads(
    graph: ExperimentGraph,
) -> None:
    assert graph.draw() == (
        "prepare  30 replicates  baseline\n"
        "by_size  30 replicates  baseline, small         <- prepare\n"
        "compare  30 replicates  baseline, lasso, ridge  <- prepare\n"
        "report     1 replicate  baseline                <- by_size, compare"
    )


def test_of_what_a_rule_may_end_the_number_is_the_most(node: Any) -> None:
    a = node("a", replicates=300, stop_when=decided("number"))
    open_end = node("open_end", stop_when=decided("number"))
    graph = ExperimentGraph(a, node("b", a), open_end)
    assert graph.draw() == (
        "a         at most 300 replicates  baseline\n"
        "b         at most 300 replicates  baseline  <- a\n"
        "open_end                          baseline"
    )
    assert "a<br>at most 300 replicates<br>baseline" in graph.draw("mermaid")


def test_the_mermaid_chart(graph: ExperimentGraph) -> None:
    assert graph.draw("mermaid") == (
        "flowchart LR\n"
        '    n0["prepare<br>30 replicates<br>baseline"]\n'
        '    n1["by_size<br>30 replicates<br>baseline, small"]\n'
        '    n2["compare<br>30 replicates<br>baseline, lasso, ridge"]\n'
        '    n3["report<br>1 replicate<br>baseline"]\n'
        "    n0 --> n1\n"
        "    n0 --> n2\n"
        "    n1 --> n3\n"
        "    n2 --> n3"
    )


def test_the_language_of_graphviz(graph: ExperimentGraph) -> None:
    assert graph.draw("dot") == (
        "digraph experiments {\n"
        "    rankdir=LR;\n"
        "    node [shape=box, style=rounded];\n"
        '    n0 [label="prepare\\n30 replicates\\nbaseline"];\n'
        '    n1 [label="by_size\\n30 replicates\\nbaseline, small"];\n'
        '    n2 [label="compare\\n30 replicates\\nbaseline, lasso, ridge"];\n'
        '    n3 [label="report\\n1 replicate\\nbaseline"];\n'
        "    n0 -> n1;\n"
        "    n0 -> n2;\n"
        "    n1 -> n3;\n"
        "    n2 -> n3;\n"
        "}"
    )


def test_what_is_read_from_outside_is_shown_as_stored(node: Any) -> None:
    a = node("a")
    graph = ExperimentGraph(node("b", a))
    a.run()
    assert graph.draw() == "b  1 replicate  baseline  <- a (stored)"
    assert 's0[("a<br>stored")]' in graph.draw("mermaid")
    assert "s0 --> n0" in graph.draw("mermaid")
    assert 's0 [label="a\\nstored", style=dashed];' in graph.draw("dot")
    assert "s0 -> n0;" in graph.draw("dot")


def test_an_empty_graph_is_drawn_as_nothing() -> None:
    graph = ExperimentGraph()
    assert graph.draw() == ""
    assert graph.draw("mermaid") == "flowchart LR"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_mermaid_gets_no_markup_from_a_name(name: str) -> None:
    label = as_mermaid(Picture((Node(name, 1, (), (), ()),))).splitlines()[1]
    inner = label[len('    n0["') : -len('<br>1 replicate<br>baseline"]')]
    assert label == f'    n0["{inner}<br>1 replicate<br>baseline"]'
    assert not set('"<>&`%{}[]\\$;#') & set(_without_numbers(inner))
    assert not inner.startswith(("- ", "1. "))
    assert _decoded(inner) == name


def _without_numbers(text: str) -> str:
    return re.sub(r"#\d+;", "", text)


def _decoded(text: str) -> str:
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), text)


def test_a_format_or_suffix_that_is_not_there_is_refused(graph: ExperimentGraph, picture: Picture) -> None:
    with pytest.raises(InvalidValueError, match=r"only as text, mermaid.*Did you mean 'mermaid'"):
        graph.draw("mermade")
    with pytest.raises(InvalidTypeError):
        graph.draw(3)  # type: ignore[call-overload]
    with pytest.raises(InvalidValueError, match=r"suffix of 'x.jpeg'.*\.svg"):
        visualize(picture, "x", "x.jpeg", None)


@pytest.mark.parametrize(
    ("output", "format", "written"),
    [
        ("x.dot", None, as_dot),
        ("x.GV", None, as_dot),
        ("deep/x.mmd", None, as_mermaid),
        ("x.txt", None, as_text),
        ("x.anything", "text", as_text),
    ],
)
def test_the_suffix_says_what_to_write(picture: Picture, output: str, format: Any, written: Any) -> None:
    assert visualize(picture, "x", output, format) == Path(output)
    assert Path(output).read_text() == written(picture) + "\n"


@pytest.mark.parametrize(("format", "drawn"), [("text", as_text), ("mermaid", as_mermaid), ("dot", as_dot)])
def test_text_without_a_file_is_returned(picture: Picture, format: str, drawn: Any) -> None:
    assert visualize(picture, "x", None, format) == drawn(picture)
    assert not list(Path().iterdir())


# -- Graphviz ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_graphviz")
def test_without_graphviz_there_is_the_text_and_one_sentence(
    graph: ExperimentGraph, picture: Picture, caplog: Any
) -> None:
    with pytest.raises(GraphvizError, match="apt install graphviz"):
        graph.draw("svg")
    assert visualize(picture, "report", None, None) == as_text(picture)
    assert visualize(picture, "report", "report.png", None) == as_text(picture)
    assert not list(Path().iterdir()), "nothing is written under the name of a picture"
    told = [record for record in caplog.records if record.name == "crystallize.graph"]
    assert [record.levelno for record in told] == [logging.WARNING] * 2
    assert HOW_TO_GET_GRAPHVIZ in told[0].getMessage()


@pytest.mark.usefixtures("no_graphviz")
def test_what_needs_no_program_is_drawn_without_it(graph: ExperimentGraph) -> None:
    assert graph.draw("dot").startswith("digraph")


def test_names_reach_the_program_through_its_input_only(own_dot: Path, node: Any) -> None:
    graph = ExperimentGraph(node("$(touch here); `touch here`"))
    assert graph.draw("svg") == b"<svg/>\n"
    assert (own_dot / "arguments").read_text() == "['-Tsvg']"
    assert (own_dot / "input").read_text() == graph.draw("dot")
    assert not Path("here").exists()


def test_a_picture_is_named_by_its_experiment(own_dot: Path, picture: Picture) -> None:
    assert visualize(picture, "report", None, None) == Path("report.svg")
    assert Path("report.svg").read_bytes() == b"<svg/>\n"
    assert visualize(picture, "report", None, "png") == Path("report.png")
    assert (own_dot / "arguments").read_text() == "['-Tpng']"


def test_what_the_program_complains_of_is_passed_on(
    own_dot: Path, graph: ExperimentGraph, monkeypatch: Any
) -> None:
    monkeypatch.setenv("DOT_FAILS", "1")
    with pytest.raises(GraphvizError, match=r"ended with 1.*syntax error in line 1"):
        graph.draw("svg")


real_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@real_dot
def test_graphviz_draws_every_experiment_and_arrow(graph: ExperimentGraph) -> None:
    svg = ElementTree.fromstring(graph.draw("svg"))
    texts = [element.text for element in svg.iter() if element.tag.endswith("}text")]
    assert {"prepare", "compare", "by_size", "report", "baseline, lasso, ridge", "1 replicate"} <= set(texts)
    kinds = [element.get("class") for element in svg.iter()]
    assert (kinds.count("node"), kinds.count("edge")) == (4, 4)
    assert graph.draw("png").startswith(b"\x89PNG")


@real_dot
@pytest.mark.parametrize("name", ODD_NAMES)
def test_graphviz_shows_a_name_as_it_is(name: str) -> None:
    dot = as_dot(Picture((Node(name, None, (name,), (), (name,)),)))
    done = subprocess.run(
        ["dot", "-Tsvg"],
        input=dot.encode(),
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    texts = [
        element.text
        for element in ElementTree.fromstring(done.stdout).iter()
        if element.tag.endswith("}text")
    ]
    assert [text for text in texts if text != "stored"] == [name, f"baseline, {name}", name]
