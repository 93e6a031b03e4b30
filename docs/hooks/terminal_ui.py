"""Draw the screens of the terminal UI, for its page, while MkDocs builds the site.

The UI is opened on a copy of the example on real data, keys are pressed, and what is on the screen becomes
``terminal-ui-<screen>-light.svg`` and ``-dark.svg``. So the pictures are those of this checkout. MkDocs calls
:func:`on_files` (its ``hooks:`` setting).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import picture

EXPERIMENTS = Path(__file__).parents[1] / "examples" / "diabetes" / "experiments"
SIZE = (100, 30)
SCREENS: Mapping[str, Sequence[str]] = {
    "selection": ["down"],
    "edit": ["tab", "down", "down", "enter", "backspace", "backspace", "backspace", *"many", "enter"],
    "create": ["escape", "shift+tab", "n", *"shrinkage", "down", "down", "space", "down", "space"],
    "run": ["escape", "slash", *"learning_", "enter", "enter"],
    "history": ["h"],
}
"""The screens, and the keys that lead from each to the next."""


def on_files(files: Any, config: Any, **_: Any) -> None:
    """Add the pictures to the files of the site. MkDocs calls this."""
    from mkdocs.structure.files import File

    for theme in picture.THEMES:
        for name, svg in pictures(theme).items():
            path = f"how-to/terminal-ui-{name}-{theme}.svg"
            files.append(File.generated(config, path, content=svg))


@cache  # `mkdocs serve` builds the site again at each change
def pictures(theme: str) -> Mapping[str, str]:
    """Return the picture of each screen, in the colours of a light or a dark terminal."""
    from crystallize import ExperimentGraph

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copytree(EXPERIMENTS, "experiments", ignore=shutil.ignore_patterns("__pycache__"))
        ExperimentGraph.from_yaml("experiments/learning_curve/config.yaml").run()

        async def collect() -> Mapping[str, str]:
            return {name: svg async for name, svg in play(theme)}

        return asyncio.run(collect())


async def play(theme: str) -> AsyncIterator[tuple[str, str]]:
    """Open the UI, press the keys, and yield a picture of each screen."""
    from crystallize_tui.app import CrystallizeApp

    app = CrystallizeApp()
    app.theme = f"textual-{theme}"
    async with app.run_test(size=SIZE) as pilot:
        for name, keys in SCREENS.items():
            for key in ["", *keys]:
                if key:
                    await pilot.press(key)
                await pilot.pause()
                await app.workers.wait_for_complete()
                await pilot.pause()
            shown = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
            yield name, picture.draw(shown, picture.THEMES[theme], app.title, width=SIZE[0])
