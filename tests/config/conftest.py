"""What the tests of folders share: a way to write one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from crystallize.config.build import load_nodes
from crystallize.config.errors import ConfigError, Problem

MakeFolder = Callable[..., Path]

DATASOURCES = """
from crystallize import data_source

@data_source
def numbers(ctx, *, n=3):
    return list(range(n))
"""
STEPS = """
from crystallize import pipeline_step

@pipeline_step()
def scale(data, *, factor=1.0):
    return [x * factor for x in data]

@pipeline_step()
def total(data):
    return data, {"total": sum(data)}
"""
CONFIG = """
datasource: numbers
steps: [scale, total]
"""


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Return a function that writes an experiment's folder.

    ``make_folder("name", config, steps=..., outputs=...)``; data sources and steps have a default.
    """

    def make(name: str = "study", config: str = CONFIG, /, **modules: str) -> Path:
        folder = tmp_path / "experiments" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(dedent(config).lstrip("\n"), encoding="utf-8")
        for module, source in {"datasources": DATASOURCES, "steps": STEPS, **modules}.items():
            (folder / f"{module}.py").write_text(dedent(source).lstrip("\n"), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def problems_of() -> Callable[[Path], list[Problem]]:
    """Return a function that loads a folder and returns the problems that it has."""

    def problems(folder: Path) -> list[Problem]:
        try:
            load_nodes(folder)
        except ConfigError as error:
            return list(error.problems)
        return []

    return problems
