"""What every test gets, and the fixtures that several folders of tests share."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine anything may be slow, and no test of ours is about that.
settings.register_profile(
    "any-machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")

SLOWEST = (
    "tests/template/test_projects",
    "plugins/crystallize-dask/tests/test_contract",
    "tests/docs/test_code_blocks",
    "tests/testing/test_contracts",
    "plugins/crystallize-dask/",
    "tests/examples/",
)
"""The files, or folders, that take longest, the slowest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest files, so that no process is left alone with one of them at the end."""

    def rank(item: pytest.Item) -> int:
        slow = (rank for rank, start in enumerate(SLOWEST) if item.nodeid.startswith(start))
        return next(slow, len(SLOWEST))

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def own_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder (runs write to ``data/``), without the developer's settings."""
    for name in [name for name in os.environ if name.startswith("CRYSTALLIZE_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)


def _hook_of_the_site(name: str) -> ModuleType:
    """Import a module of ``docs/hooks`` as MkDocs does: with its folder on the path."""
    folder = str(Path(__file__).resolve().parent.parent / "docs" / "hooks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="session")
def api() -> ModuleType:
    """Return the module that fills the reference pages of the documentation."""
    return _hook_of_the_site("api")


@pytest.fixture(scope="session")
def names() -> ModuleType:
    """Return the module that links the names in the documentation to the reference."""
    return _hook_of_the_site("names")


@pytest.fixture(scope="session")
def picture() -> ModuleType:
    """Return the module that draws the picture on the first page of the documentation."""
    return _hook_of_the_site("picture")


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Return a function that runs Python code in a fresh interpreter, where warnings are errors.

    ``run_python(code, *arguments, env={...}, cwd=..., check=True, timeout=120)``
    """

    def run(
        code: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            env={**os.environ, **(env or {})},
            cwd=cwd or tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run
