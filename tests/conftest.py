"""What every test gets, and the fixtures that several folders of tests share."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

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
    """Run one process of tests more than there are cores, for a test waits for something about a fifth of the time.

    Not two: in a fresh clone each needs twelve seconds of processor time to collect the tests.
    """
    return (yield) + 1


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
    gc.collect()
    gc.freeze()


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


SECONDS = 240
"""After so long something hangs, however busy the machine is."""

# An interpreter that has imported all of Crystallize, and forks for each line that it reads: the child has
# files and an environment of its own, runs what Python would be given, and ends as any process does. That saves
# the second that importing takes, and where worker processes are started it is saved again.
WARM = """
import atexit, gc, importlib, json, os, pathlib, pkgutil, runpy, sys, threading, types
import crystallize, importlib_metadata, numpy.random, pydantic.type_adapter, scipy.special
import rich.console, rich.table, typer.rich_utils

sys.path.append(sys.argv[2])
import early_fork_server
sys.path.pop()

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
importlib.invalidate_caches()

early_fork_server.prepare()
what, *sys.argv[:] = request["arguments"]
code, variables = None, {}
try:
    if what == "-m":
        sys.path[0] = os.getcwd()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        variables = vars(module)
        if what == "-c":
            source, sys.argv[0] = sys.argv[0], "-c"
        else:
            module.__file__, source = what, pathlib.Path(what).read_bytes()
            sys.argv[:0] = [what]
            sys.path[0] = os.path.dirname(os.path.abspath(what))
        exec(compile(source, getattr(module, "__file__", "<string>"), "exec"), variables)
except SystemExit as ended:
    code = ended.code
if code is not None and not isinstance(code, int):
    sys.exit(code)

# What Python does at its end, but for taking down, module by module, all that was imported: it shares the memory of
# that with its parent, and would copy it first, which takes most of the time of a short command.
threading._shutdown()
atexit._run_exitfuncs()
variables.clear()
gc.collect()
try:
    sys.stdout.flush()
    sys.stderr.flush()
except Exception:
    sys.exit(code)
os._exit(code or 0)
"""


class WarmInterpreter:
    """Runs Python, where warnings are errors, in forks of a process that has imported all of Crystallize.

    Parameters
    ----------
    folder : Path
        Where it notes what is printed.
    python : Path or str
        The interpreter.
    environment : dict of str
        The environment that it starts in.
    """

    def __init__(
        self,
        folder: Path,
        python: Path | str = sys.executable,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._folder = folder
        self._python = [str(python), "-W", "error"]
        self._environment = dict(environment)
        self._start()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._answers = ours
        with theirs:
            self._process = subprocess.Popen(
                [*self._python, "-c", WARM, str(theirs.fileno()), str(Path(__file__).parent)],
                # A process with threads had better not fork.
                env={**self._environment, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def _can_take(self, environment: Mapping[str, str]) -> bool:
        """Whether nothing differs that an interpreter, or a module, reads once and never again."""
        differing = {name for name, _ in self._environment.items() ^ environment.items()}
        read_late = ("COLUMNS", "NO_COLOR", "PATH", "PY_COLORS", "TERM", "CRYSTALLIZE_", "PYTEST_")
        read_late += ("COMP_", "_CRYSTALLIZE_COMPLETE", "_TYPER_COMPLETE_ARGS")  # what the shell completes
        # threadpoolctl and scikit-learn set these in each process that imports them.
        read_late += ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
        if environment.get("PYTHONWARNINGS") == "error":  # as it is here already
            differing -= {"PYTHONWARNINGS"}
        # The fork reads these itself; only a Crystallize in PYTHONPATH would come too late.
        differing -= {"PYTHONDONTWRITEBYTECODE"}
        folders = environment.get("PYTHONPATH", "").split(os.pathsep)
        if not any((Path(folder) / "crystallize").exists() for folder in filter(None, folders)):
            differing -= {"PYTHONPATH"}
        return all(name.startswith(read_late) for name in differing)

    def run(
        self,
        *arguments: object,
        cwd: Path,
        environment: Mapping[str, str] = os.environ,
        fresh: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run what Python would with these arguments, as `subprocess.run` would.

        It is run in an interpreter that starts from nothing if `fresh` is true, or if the environment asks for it.
        """
        words = [str(argument) for argument in arguments]
        if not fresh and self._can_take(environment):
            return self._run_in_a_fork(words, cwd, environment)
        return subprocess.run(
            [*self._python, *words],
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def crystallize(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command ``crystallize``; the options are those of `run`."""
        return self.run("-c", "from crystallize.cli.app import main; main()", *words, **options)

    def _run_in_a_fork(
        self, words: list[str], cwd: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        out, err = self._folder / "out", self._folder / "err"
        request = {"arguments": words, "cwd": str(cwd), "environment": dict(environment)}
        request |= {"out": str(out), "err": str(err)}
        self._answers.settimeout(SECONDS)
        self._answers.sendall(json.dumps(request).encode() + b"\n")
        try:
            code = int(self._answers.recv(32))
        except (TimeoutError, ValueError):  # the next command must not be given the late answer of this one
            self.close(at_once=True)
            self._start()
            raise
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())

    def close(self, *, at_once: bool = False) -> None:
        """End the process; with `at_once` the command that it is at, too."""
        self._answers.close()
        if at_once:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(SECONDS)


@pytest.fixture(scope="session")
def start_interpreter(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., WarmInterpreter]]:
    """Return what makes a `WarmInterpreter`, which ends with the tests."""
    with contextlib.ExitStack() as started:

        def start(**options: Any) -> WarmInterpreter:
            interpreter = WarmInterpreter(tmp_path_factory.mktemp("warm"), **options)
            started.callback(interpreter.close)
            return interpreter

        yield start


@pytest.fixture(scope="session")
def warm_interpreter(start_interpreter: Callable[..., WarmInterpreter]) -> WarmInterpreter:
    """Return an interpreter that starts at once."""
    return start_interpreter()


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
