"""``crystallize graph``: an experiment and what it depends on, as a picture or as text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystallize.cli import options  # noqa: TC001 - Typer looks at it
from crystallize.cli.errors import FAILED, fail
from crystallize.cli.screen import echo, print_json, stdout_kept_clean

if TYPE_CHECKING:
    from crystallize.graphs.drawing import Node
    from crystallize.graphs.graph import ExperimentGraph


class Format(StrEnum):
    """What a graph can be drawn as."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    PNG = "png"


def graph(
    name: options.ExperimentName,
    drawn_as: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="What to draw it as. By default what the suffix of --output says, or else text.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, in place of what it held. By default text, mermaid and dot are printed, "
            "and svg and png become NAME.svg and NAME.png here.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a JSON list of the experiments and what each depends on, in running order."
        ),
    ] = False,
) -> None:
    """Draw an experiment and all that it depends on.

    An arrow leads from an experiment to each one that reads its artifacts. Nothing is run.

    The formats svg and png are made by Graphviz, a program of its own: get it
    with `apt install graphviz`, `brew install graphviz`, or from
    https://graphviz.org. Where it is missing, the graph is printed as text,
    and the exit code is 1, because the picture was not made.

    The exit code is 2 if the experiment cannot be loaded.
    """
    from crystallize.config.folders import resolve
    from crystallize.graphs.drawing import GraphvizError, as_text, draw, format_of
    from crystallize.graphs.graph import ExperimentGraph
    from crystallize.utils.writing import write_file

    chosen = drawn_as or (Format.TEXT if output is None else Format(format_of(output)))
    folder = resolve(name)
    with stdout_kept_clean():
        loaded = ExperimentGraph.from_yaml(folder.config)
        picture = loaded.picture()
    if as_json:
        print_json([_as_json(node, loaded) for node in picture.nodes])
        return
    try:
        drawn = draw(picture, chosen.value)
    except GraphvizError as error:
        echo(as_text(picture))
        fail(error, FAILED)
    if isinstance(drawn, str):
        if output is None:
            echo(drawn)
            return
        drawn = f"{drawn}\n".encode()
    target = output or Path(f"{folder.name}.{chosen}")
    write_file(target, drawn)
    echo(f"Wrote {target}")


def _as_json(node: Node, loaded: ExperimentGraph) -> dict[str, Any]:
    source = loaded.experiments[node.name].source
    return {
        "name": node.name,
        "config": None if source is None else str(source),
        "replicates": node.replicates,
        "at_most": not node.is_exact,
        "treatments": list(node.treatments),
        "depends_on": list(node.upstream),
    }
