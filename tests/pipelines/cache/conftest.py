"""What the tests of the step cache share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from crystallize import Experiment
from crystallize.results.result import Result

Run = Callable[..., Result]

collect_ignore = [] if find_spec("torch") else ["test_torch.py"]


@pytest.fixture
def run() -> Run:
    """Return a function that runs an experiment of some steps, by default with one replicate of the data 3."""

    def run_experiment(*steps: Any, data: Any = 3, replicates: int = 1, **options: Any) -> Result:
        source = data if callable(data) else lambda: data
        result = Experiment(source, steps, name="cached", seed=1, **options).run(replicates=replicates)
        result.raise_for_errors()
        return result

    return run_experiment


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that returns what the cache has warned of since the last time."""
    caplog.set_level(logging.WARNING, "crystallize.cache")

    def told() -> list[str]:
        texts = [record.getMessage() for record in caplog.records if record.name == "crystallize.cache"]
        caplog.clear()
        return texts

    return told


@pytest.fixture
def entries() -> Callable[[], list[Path]]:
    """Return a function that returns the entries in the cache of the working directory."""
    return lambda: sorted(Path(".cache").rglob("*.pkl"))
