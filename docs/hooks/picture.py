"""Draw what a run found, for the first page, while MkDocs builds the site.

The example on real data is run, and its summary becomes ``result-light.svg`` and ``result-dark.svg``. So the picture
is what the code of this checkout prints. MkDocs calls :func:`on_files` (its ``hooks:`` setting).
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme

EXPERIMENT = Path(__file__).parents[1] / "examples" / "diabetes" / "experiments" / "penalties"
WIDTH = 80  # characters: the longest line of a summary
THEMES: Mapping[str, TerminalTheme] = {"light": DEFAULT_TERMINAL_THEME, "dark": SVG_EXPORT_THEME}
# Rich's own format fetches a font from a server. Each text has a length, so any monospaced font fits.
FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px
}}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 18px }}
{styles}
</style>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
<defs>{lines}</defs>
</svg>
"""


def on_files(files: Any, config: Any, **_: Any) -> None:
    """Add the pictures to the files of the site. MkDocs calls this."""
    from mkdocs.structure.files import File

    for name, theme in THEMES.items():
        picture = draw(summary(), theme, title=EXPERIMENT.name)
        files.append(File.generated(config, f"result-{name}.svg", content=picture))


@cache  # `mkdocs serve` builds the site again at each change
def summary() -> RenderableType:
    """Run the example, with what it depends on, and return the summary of its results."""
    from crystallize import ExperimentGraph

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return ExperimentGraph.from_yaml(EXPERIMENT).run()[EXPERIMENT.name].summary()


def draw(shown: RenderableType, theme: TerminalTheme, title: str, *, width: int = WIDTH) -> str:
    """Return an SVG of a terminal of some width in which `shown` was printed."""
    console = Console(
        record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(shown)
    return console.export_svg(title=title, theme=theme, code_format=FORMAT)
