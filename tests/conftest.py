"""What every test gets, and the fixtures that several folders of tests share."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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


SECONDS = 120

# An interpreter that has imported all of Crystallize, and forks for each line that it reads: the child has
# files and an environment of its own and ends as any process does, and saves the second that importing takes.
WARM = """
import gc, importlib, json, os, pkgutil, sys
import crystallize, importlib_metadata, numpy.random, pydantic.type_adapter, rich.table, scipy.stats
from crystallize.cli.app import main

for module in pkgutil.walk_packages(crystallize.__path__, "crystallize."):
    if not module.name.startswith("crystallize.testing"):
        importlib.import_module(module.name)

gc.freeze()
child = os.getpid()
requests = os.fdopen(int(sys.argv[1]), "r")
answers = os.fdopen(os.dup(requests.fileno()), "w")
for request in map(json.loads, iter(requests.readline, "")):
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)
requests.close()
answers.close()
if child:
    sys.exit()

os.environ.clear()
os.environ.update(request["environment"])
sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
os.chdir(request["cwd"])
for file, number in ((request["out"], 1), (request["err"], 2)):
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
sys.argv[1:] = request["arguments"]
del request, requests, answers, child
main()
"""


class WarmInterpreter:
    """Runs ``crystallize`` in forks of a process that has imported it already."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = dict(os.environ)
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._answers = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", WARM, str(theirs.fileno())],
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # a process with threads had better not fork
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def can_take(self, environment: Mapping[str, str]) -> bool:
        """Whether nothing differs that an interpreter, or a module, reads once and never again."""
        differing = {name for name, _ in self._environment.items() ^ environment.items()}
        read_late = ("COLUMNS", "NO_COLOR", "PATH", "TERM", "CRYSTALLIZE_", "PYTEST_")
        if environment.get("PYTHONWARNINGS") == "error":  # as it is here already
            differing -= {"PYTHONWARNINGS"}
        # The fork reads these itself; only a Crystallize in PYTHONPATH would come too late.
        differing -= {"PYTHONDONTWRITEBYTECODE"}
        folders = environment.get("PYTHONPATH", "").split(os.pathsep)
        if not any((Path(folder) / "crystallize").exists() for folder in filter(None, folders)):
            differing -= {"PYTHONPATH"}
        return all(name.startswith(read_late) for name in differing)

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as `subprocess.run` would."""
        out, err = self._folder / "out", self._folder / "err"
        request = {"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}
        request |= {"out": str(out), "err": str(err)}
        self._answers.settimeout(SECONDS)
        self._answers.sendall(json.dumps(request).encode() + b"\n")
        try:
            code = int(self._answers.recv(32))
        except (TimeoutError, ValueError):  # the next command must not be given the late answer of this one
            self.close(at_once=True)
            self._start()
            raise
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())

    def close(self, *, at_once: bool = False) -> None:
        """End the process; with `at_once` the command that it is at, too."""
        self._answers.close()
        if at_once:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)


@pytest.fixture(scope="session")
def warm_interpreter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmInterpreter]:
    """Return an interpreter that starts commands at once."""
    interpreter = WarmInterpreter(tmp_path_factory.mktemp("warm"))
    yield interpreter
    interpreter.close()


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
