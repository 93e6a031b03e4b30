"""The hashes of code are the same in the process that coordinates a run and in its workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

STEPS = """
import enum
import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from crystallize import data_source, pipeline_step
from crystallize.utils.code import reached_code

NAMES = {"alpha", "beta", ("gamma", 1)}
TABLE = {"half": lambda x: x / 2, "third": lambda x: x / 3}
ARRAY = np.arange(3)


class Level(enum.Enum):
    LOW = 1


class Plain:
    share = 0.5


@dataclass
class Model:
    rate: float = 1.0

    def run(self, x):
        return helper(x) * self.rate


MODEL = Model()


@functools.lru_cache
def cached(x):
    return x + 1


def helper(x, level=Level.LOW):
    return cached(x) * Plain.share + len(NAMES)


def make(by):
    return lambda x: x * by


double, triple = make(2), make(3)


@pipeline_step()
def studied(data, ctx, *, by=2.0):
    return double(data) + triple(data) + TABLE["half"](MODEL.run(data)) + ARRAY.sum()


@pipeline_step()
def asks(data, ctx):
    found = reached_code(studied, asks)
    text = json.dumps([found.parts, sorted(found.libraries)])
    Path(f"{os.getpid()}.json").write_text(text)
    return data


@data_source
def numbers(ctx):
    return 1.0
"""
SCRIPT = (
    STEPS
    + """
import sys
from crystallize import Experiment, Pipeline

for execution in ("serial", {"strategy": "process", "max_workers": 1}):
    Experiment(numbers, Pipeline([asks, studied]), replicates=4, execution=execution, plugins=[]).run()
"""
)
FOLDER = """
from crystallize import Experiment

for execution in ("serial", {"strategy": "process", "max_workers": 1}):
    Experiment.from_yaml("study/config.yaml", execution=execution).run()
"""
CONFIG = """
name: study
replicates: 4
datasource: {numbers: numbers}
steps: [asks, studied]
"""


@pytest.mark.parametrize("start", ["forkserver", "spawn"])
@pytest.mark.parametrize("kind", ["script", "folder"])
def test_workers_find_the_same_as_the_coordinator(
    tmp_path: Path, run_python: Any, kind: str, start: str
) -> None:
    environment = {"CRYSTALLIZE_START_METHOD": start, "PYTHONHASHSEED": "random"}
    if kind == "script":
        (tmp_path / "study.py").write_text(SCRIPT)
        run_python(
            "import runpy; runpy.run_path('study.py', run_name='__main__')", env=environment, cwd=tmp_path
        )
    else:
        (tmp_path / "study").mkdir()
        (tmp_path / "study" / "config.yaml").write_text(CONFIG)
        (tmp_path / "study" / "steps.py").write_text(STEPS)
        (tmp_path / "study" / "datasources.py").write_text("from .steps import numbers\n")
        run_python(FOLDER, env=environment, cwd=tmp_path)
    found = [json.loads(file.read_text()) for file in tmp_path.glob("*.json")]
    assert len(found) == 2
    assert all(each == found[0] for each in found)
    parts, libraries = found[0]
    place = "study.py" if kind == "script" else "steps.py"
    assert {f"studied() in {place}", f"class Level in {place}", f"class Plain in {place}"} < parts.keys()
    assert "numpy" in {each.partition(".")[0] for each in libraries}
