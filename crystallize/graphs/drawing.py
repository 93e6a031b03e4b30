"""Drawings of a graph: as text, for Mermaid, and for Graphviz."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from crystallize.errors import GraphError, InvalidTypeError, InvalidValueError
from crystallize.store.layout import BASELINE
from crystallize.utils.files import atomic_write_bytes
from crystallize.utils.text_table import columns_of, padded
from crystallize.utils.wording import counted, did_you_mean, first_of

if TYPE_CHECKING:
    from os import PathLike

FORMATS = ("text", "mermaid", "dot", "svg", "png")
"""What a graph can be drawn as."""

SUFFIXES = {
    ".svg": "svg",
    ".png": "png",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".txt": "text",
}
"""Which format a file's suffix stands for."""

HOW_TO_GET_GRAPHVIZ = (
    "Pictures are drawn by the program 'dot' of Graphviz, which was not found: install it with "
    "'apt install graphviz', 'brew install graphviz', 'winget install graphviz' or from https://graphviz.org"
)

_PICTURES = frozenset({"svg", "png"})
_SECONDS_TO_DRAW = 120
_MOST_NAMES = 8
_logger = logging.getLogger("crystallize.graph")


class GraphvizError(GraphError):
    """Graphviz is not installed, or could not draw."""


class Node(NamedTuple):
    """An experiment in a drawing.

    Attributes
    ----------
    name : str
        Its name.
    replicates : int or None
        How many it will have, or has at most, if that is known.
    treatments : tuple of str
        Its treatments.
    upstream : tuple of str
        The experiments of the graph that it depends on, in topological order.
    outside : tuple of str
        Experiments that are not in the graph, whose stored runs it reads.
    is_exact : bool
        Whether it will have so many replicates, and not fewer: a stopping rule may end it.
    """

    name: str
    replicates: int | None
    treatments: tuple[str, ...]
    upstream: tuple[str, ...]
    outside: tuple[str, ...]
    is_exact: bool = True

    @property
    def how_many(self) -> str:
        """How many replicates it will have, in words; empty if that is not known."""
        if self.replicates is None:
            return ""
        return f"{'' if self.is_exact else 'at most '}{counted(self.replicates, 'replicate')}"

    @property
    def details(self) -> list[str]:
        """What is shown below its name."""
        conditions = first_of((BASELINE, *self.treatments), _MOST_NAMES)
        return [self.how_many, conditions] if self.how_many else [conditions]


class Picture(NamedTuple):
    """What a drawing shows: the experiments in topological order."""

    nodes: tuple[Node, ...]

    @property
    def outside(self) -> list[str]:
        """The experiments that are read and not in the graph."""
        return sorted({name for node in self.nodes for name in node.outside})


def draw(picture: Picture, format: str) -> str | bytes:
    """Draw `picture`; see :meth:`crystallize.graphs.graph.ExperimentGraph.draw`."""
    if not isinstance(format, str):
        raise InvalidTypeError(f"format is one of {', '.join(FORMATS)}, got {format!r}")
    if format in _PICTURES:
        return render(as_dot(picture), format)
    drawers = {"text": as_text, "mermaid": as_mermaid, "dot": as_dot}
    if format not in drawers:
        raise InvalidValueError(
            f"a graph cannot be drawn as {format!r}, only as {', '.join(FORMATS)}",
            hint=did_you_mean(format, FORMATS),
        )
    return drawers[format](picture)


def visualize(
    picture: Picture, name: str, output: str | PathLike[str] | None, format: str | None
) -> Path | str:
    """Draw `picture` into a file, or return it.

    Parameters
    ----------
    picture : Picture
        What to draw.
    name : str
        Names the file of a picture without an `output`.
    output : str or Path, optional
        The file.
    format : str, optional
        By default what the suffix of `output` says, or else ``"svg"``.

    Returns
    -------
    Path or str
        The file, or the drawing if none was written.
    """
    path = None if output is None else Path(output)
    chosen = format or ("svg" if path is None else format_of(path))
    try:
        drawing = draw(picture, chosen)
    except GraphvizError as error:
        _logger.warning("%s. The graph is given as text", error)
        return as_text(picture)
    if path is None:
        if isinstance(drawing, str):
            return drawing
        path = Path(f"{name}.{chosen}")
    atomic_write_bytes(path, f"{drawing}\n".encode() if isinstance(drawing, str) else drawing)
    return path


def as_text(picture: Picture) -> str:
    """Return a line for each experiment, with arrows from those that it depends on."""
    rows = [
        (
            node.name,
            node.how_many,
            first_of((BASELINE, *node.treatments), _MOST_NAMES),
            ", ".join((*node.upstream, *(f"{name} (stored)" for name in node.outside))),
        )
        for node in picture.nodes
    ]
    widths = [max((columns_of(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [
        "  ".join(
            (
                padded(name, widths[0]),
                count.rjust(widths[1]),
                padded(conditions, widths[2]),
                f"<- {upstream}" if upstream else "",
            )
        ).rstrip()
        for name, count, conditions, upstream in rows
    ]
    return "\n".join(lines)


def as_mermaid(picture: Picture) -> str:
    """Return a Mermaid flowchart."""
    lines = ["flowchart LR"]
    for index, node in enumerate(picture.nodes):
        label = "<br>".join(map(_escaped_for_mermaid, (node.name, *node.details)))
        lines.append(f'    n{index}["{label}"]')
    for index, name in enumerate(picture.outside):
        lines.append(f'    s{index}[("{_escaped_for_mermaid(name)}<br>stored")]')
    lines += [f"    {start} --> {end}" for start, end in _edges(picture)]
    return "\n".join(lines)


def as_dot(picture: Picture) -> str:
    """Return the graph in the language of Graphviz."""
    lines = ["digraph experiments {", "    rankdir=LR;", "    node [shape=box, style=rounded];"]
    for index, node in enumerate(picture.nodes):
        label = "\\n".join(map(_escaped_for_dot, (node.name, *node.details)))
        lines.append(f'    n{index} [label="{label}"];')
    for index, name in enumerate(picture.outside):
        lines.append(f'    s{index} [label="{_escaped_for_dot(name)}\\nstored", style=dashed];')
    lines += [f"    {start} -> {end};" for start, end in _edges(picture)]
    return "\n".join([*lines, "}"])


def render(dot: str, format: str) -> bytes:
    """Have Graphviz draw.

    Parameters
    ----------
    dot : str
        The graph in the language of Graphviz; it reaches the program through its standard input.
    format : {"svg", "png"}
        What to draw.

    Raises
    ------
    GraphvizError
        If the program is not there, or fails.
    """
    program = shutil.which("dot")
    if program is None:
        raise GraphvizError(HOW_TO_GET_GRAPHVIZ)
    try:
        done = subprocess.run(
            [program, f"-T{format}"],
            input=dot.encode(),
            capture_output=True,
            timeout=_SECONDS_TO_DRAW,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GraphvizError("Graphviz could not draw the graph", program, str(error)) from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip()
        raise GraphvizError(
            "Graphviz could not draw the graph", f"{program} ended with {done.returncode}", said
        )
    return done.stdout


def format_of(path: Path) -> str:
    """Return what the suffix of a file says to draw.

    Raises
    ------
    InvalidValueError
        If it says nothing.
    """
    format = SUFFIXES.get(path.suffix.lower())
    if format is None:
        raise InvalidValueError(
            f"the suffix of {str(path)!r} does not say what to draw",
            hint=f"Use one of {', '.join(SUFFIXES)}, or name the format",
        )
    return format


def _edges(picture: Picture) -> list[tuple[str, str]]:
    """Return the arrows, by what the nodes are called for other programs.

    What users call them is in the labels only: ``n0``, ... are the experiments, ``s0``, ... the stored ones.
    """
    own = {node.name: f"n{index}" for index, node in enumerate(picture.nodes)}
    stored = {name: f"s{index}" for index, name in enumerate(picture.outside)}
    return [
        (upstream, own[node.name])
        for node in picture.nodes
        for upstream in (*(own[name] for name in node.upstream), *(stored[name] for name in node.outside))
    ]


def _escaped_for_mermaid(text: str) -> str:
    """Write as numbers what Mermaid takes for markup: of HTML, of its own, and a list's first mark."""
    return re.sub(r"[^\w ,.()-]|^-|(?<=\d)\.(?= )", lambda found: f"#{ord(found[0])};", text)


def _escaped_for_dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
