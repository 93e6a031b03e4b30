"""What every test gets, and the fixtures that several folders of tests share."""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.warm_interpreter import WarmInterpreter

# OpenBLAS has its threads busy for a while after each thing that they do, in each process that imports NumPy.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

gc.disable()  # imports and collection make objects by the hundred thousand, and no garbage to look for

# On a busy machine anything may be slow, and no test of ours is about that.
settings.register_profile(
    "any-machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")

MANY_USE = ("hypothesis", "pytest", "scipy.special")
_set_preload = forkserver.set_forkserver_preload
# What workers import with the tests' modules, or for a filter of warnings: once in their fork server, not in each.
forkserver.set_forkserver_preload = lambda names: _set_preload([*MANY_USE, *names])

MEMORY = Path("/dev/shm")
ROOM = 2 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Have the folders of the tests in memory if there is room: on a disk, files take half of the processor's time.

    The variable is pytest's own; whoever sets it has them elsewhere.
    """
    if worker := getattr(config, "workerinput", None):
        _begin_elsewhere(config, int(worker["workerid"].removeprefix("gw")), worker["workercount"])
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and os.access(MEMORY, os.W_OK):
        there = os.statvfs(MEMORY)
        if there.f_bavail * there.f_frsize > ROOM and not there.f_flag & os.ST_NOEXEC:
            os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


def _begin_elsewhere(config: pytest.Config, number: int, count: int) -> None:
    """Have each process collect the tests from another one on, so that it finds compiled what it comes to later.

    In a fresh clone, to compile them takes longer than to collect them.
    """
    if config.args_source is config.ArgsSource.TESTPATHS:
        parts = [
            str(part)
            for each in config.args
            for part in sorted(Path(each).iterdir())
            if part.match("test_*.py") or (part.is_dir() and part.name != "__pycache__")
        ]
        start = number * len(parts) // count
        config.args[:] = parts[start:] + parts[:start]


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Run two processes of tests more than there are cores, for a test waits for something about a fifth of the time.

    With one more, two cores are idle for a twentieth of the time, also in a fresh clone, where each compiles.
    """
    return (yield) + 2


SLOWEST = (
    "plugins/crystallize-tui/tests/test_run_screen",
    "tests/template/test_projects",
    "plugins/crystallize-dask/tests/test_contract",
    "tests/docs/test_code_blocks",
    "tests/testing/test_contracts",
    "tests/plugins/execution/test_contract",
    "plugins/crystallize-dask/",
    "plugins/crystallize-tui/",
    "tests/examples/",
)
"""The files, or folders, that take longest, the slowest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest files, so that no process is left alone with one of them at the end."""

    def rank(item: pytest.Item) -> tuple[int, Path]:
        slow = (rank for rank, start in enumerate(SLOWEST) if item.nodeid.startswith(start))
        return next(slow, len(SLOWEST)), item.path

    items.sort(key=rank)


def pytest_collection_finish() -> None:
    """Let no garbage collection look through some thousand tests: many of them call for one, or for several."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def nothing_old_to_collect() -> None:
    """Let no garbage collection look through what the files before this one have imported and kept."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return names of folders for the tests of a file, in one of its own."""
    folder = tmp_path_factory.mktemp("file")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture
def tmp_path(folders: Iterator[Path]) -> Path:
    """Return an empty folder, as pytest's own does, which looks at those of all tests before for a name."""
    folder = next(folders)
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def own_folder_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder (runs write to ``data/``), without the developer's settings."""
    for name in [name for name in os.environ if name.startswith("CRYSTALLIZE_")]:
        monkeypatch.delenv(name)
    # A pytest that a test starts would look for its own folders beside ours, and remove ours.
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path))
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


@pytest.fixture(scope="session")
def start_interpreter() -> Iterator[Callable[..., WarmInterpreter]]:
    """Return what makes a `WarmInterpreter`, which ends with the tests."""
    with contextlib.ExitStack() as started:

        def start(**options: Any) -> WarmInterpreter:
            interpreter = WarmInterpreter(**options)
            started.callback(interpreter.close)
            return interpreter

        yield start


@pytest.fixture(scope="session")
def warm_interpreter(start_interpreter: Callable[..., WarmInterpreter]) -> WarmInterpreter:
    """Return an interpreter that starts at once."""
    return start_interpreter()


@pytest.fixture
def warm_processes(warm_interpreter: WarmInterpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the processes that a test starts with this Python be forks of an interpreter that has imported all."""
    monkeypatch.setattr(subprocess, "Popen", warm_interpreter.Popen)


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python(tmp_path: Path, warm_interpreter: WarmInterpreter) -> RunPython:
    """Return a function that runs Python code in a process of its own, where warnings are errors.

    ``run_python(code, *arguments, env={...}, cwd=..., check=True, fresh=False)``; with `fresh` nothing is
    imported there yet.
    """

    def run(
        code: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        fresh: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        done = warm_interpreter.run(
            *("-c", code, *arguments),
            cwd=cwd or tmp_path,
            environment={**os.environ, **(env or {})},
            fresh=fresh,
        )
        if check and done.returncode:
            raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run
