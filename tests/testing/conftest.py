"""A pytest of a third party: of a folder of its own, in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.warm_interpreter import WarmInterpreter

RunPytest = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def run_pytest(tmp_path: Path, warm_interpreter: WarmInterpreter) -> RunPytest:
    """Return a function that runs pytest: ``run_pytest(*arguments, files={"test_it.py": source}, fresh=False)``.

    With `fresh` nothing is imported in its process yet.
    """

    def run(*arguments: str, files: dict[str, str], fresh: bool = False) -> CompletedProcess[str]:
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        for name, source in files.items():
            (folder / name).write_text(dedent(source))
        # The interpreter has made errors of warnings.
        options = ("-W", "default", "-p", "no:cacheprovider")
        return warm_interpreter.run("-m", "pytest", *options, *arguments, cwd=folder, fresh=fresh)

    return run
