"""An interpreter that has imported all of Crystallize, and forks for each program that a test runs."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECONDS = 240
"""After so long something hangs, however busy the machine is."""

# An interpreter that has imported all of Crystallize, and forks for each request: the child has files and an
# environment of its own, runs what Python would be given, and ends as any process does. That saves the second that
# importing takes, and where worker processes are started it is saved again. What takes the time of a fork is its
# memory, page by page, so that the pages are made huge. Its parent is that of this process, who asked for it.
WARM = """
import atexit, ctypes, gc, importlib.util, json, os, pathlib, pkgutil, runpy, socket, sys, threading, types
import crystallize, importlib_metadata, numpy.random, pydantic.type_adapter, scipy.special
import _pytest.assertion, _pytest.config, rich.console, rich.table, typer.rich_utils

for name in _pytest.config.default_plugins:
    importlib.import_module(f"_pytest.{name}")
if importlib.util.find_spec("hypothesis"):  # whose plugin imports it in each run, with its assertions rewritten
    rewriting = _pytest.assertion.install_importhook(_pytest.config.get_config())
    rewriting.mark_rewrite("hypothesis", "_hypothesis_globals")
    import hypothesis.core
    sys.meta_path.remove(rewriting)

sys.path.append(sys.argv[2])
import early_fork_server
sys.path.pop()

for module in pkgutil.walk_packages(crystallize.__path__, "crystallize."):
    if not module.name.startswith(("crystallize.testing", "crystallize.__main__")):
        importlib.import_module(module.name)

importlib.invalidate_caches()
gc.freeze()
libc, MADV_COLLAPSE, HUGE = ctypes.CDLL(None), 25, 1 << 21
for line in pathlib.Path("/proc/self/maps").read_text().splitlines() if sys.platform == "linux" else ():
    extent, access, _, _, file = line.split()[:5]
    start, end = (int(place, 16) for place in extent.split("-"))
    start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
    if start < end and (access, file) == ("rw-p", "0"):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_COLLAPSE)

CLONE, CLONE_PARENT, call = int(sys.argv[3]), 0x8000, ctypes.pythonapi.syscall
call.argtypes = [ctypes.c_long] * 6
requests = socket.socket(fileno=int(sys.argv[1]))
while True:
    request, files, _, _ = socket.recv_fds(requests, 1 << 20, 3)
    if not request:
        sys.exit()
    ctypes.pythonapi.PyOS_BeforeFork()
    process = call(CLONE, CLONE_PARENT, 0, 0, 0, 0)
    if not process:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        break
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if process < 0:
        sys.exit("the system cannot make another process")
    requests.send(b"%d" % process)
    for file in files:
        os.close(file)
requests.close()

request = json.loads(request)
if request["is_session"]:
    os.setsid()
for number, file in enumerate(files):
    os.dup2(file, number)
    os.close(file)
sys.stdout.reconfigure(line_buffering=os.isatty(1))
os.environ.clear()
os.environ.update(request["environment"])
sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
os.chdir(request["cwd"])

early_fork_server.prepare()
what, *sys.argv[:] = request["arguments"]
code, variables = None, {}
try:
    if what == "-m":
        if not sys.flags.safe_path:
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


_CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine, 0) if sys.platform == "linux" else 0
"""The number of the system call that can fork a brother."""

_GIVEN = list(inspect.signature(subprocess.Popen._execute_child).parameters)  # type: ignore[attr-defined]


class WarmInterpreter:
    """Runs Python in forks of a process that has imported all of Crystallize.

    Parameters
    ----------
    python : Path or str
        The interpreter.
    environment : dict of str
        The environment that it starts in.
    options : sequence of str
        What it is started with; by default, warnings are errors.

    Attributes
    ----------
    Popen : type
        It is to this interpreter what `subprocess.Popen` is to others, which it starts, too.
    """

    def __init__(
        self,
        python: Path | str = sys.executable,
        environment: Mapping[str, str] = os.environ,
        options: Sequence[str] = ("-W", "error"),
    ) -> None:
        self._python = [str(python), *options]
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*self._python, "-c", WARM, str(theirs.fileno()), str(Path(__file__).parent), str(_CLONE)],
                # A process with threads had better not fork.
                env={**self._environment, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

        class Popen(subprocess.Popen[Any]):
            def _execute_child(popen, *values: Any) -> None:
                given = dict(zip(_GIVEN, (popen, *values), strict=True))
                request = self._request(given)
                if request is None:
                    super()._execute_child(*values)
                    return
                files = enumerate(given[name] for name in ("p2cread", "c2pwrite", "errwrite"))
                popen.pid = self._fork(request, [ours if file == -1 else file for ours, file in files])
                popen._child_created = True
                popen._close_pipe_fds(*(given[name] for name in _GIVEN if name[:3] in ("p2c", "c2p", "err")))

        self.Popen = Popen

    def _request(self, given: dict[str, Any]) -> dict[str, Any] | None:
        """Return what a fork needs to know of what `subprocess.Popen` is given; nothing if it cannot be a fork."""
        python, *words = map(str, given["args"])
        options = self._python[1:]
        if words[: len(options)] == options:
            del words[: len(options)]
        environment = dict(os.environ if given["env"] is None else given["env"])
        cwd = Path(given["cwd"] or ".").absolute()
        can_be_one = (
            python == self._python[0]
            and (words[0] in ("-c", "-m") or words[0][0] != "-")
            and not (given["pass_fds"] or given["preexec_fn"])
            and _CLONE
            and self._can_take(environment)
            and cwd.is_dir()
        )
        what = {"arguments": words, "environment": environment, "cwd": str(cwd)}
        return what | {"is_session": given["start_new_session"]} if can_be_one else None

    def _fork(self, request: dict[str, Any], files: list[int]) -> int:
        """Start a process that is a child of this one; return its id."""
        with self._lock:
            socket.send_fds(self._requests, [json.dumps(request).encode()], files)
            return int(self._requests.recv(32))

    def _can_take(self, environment: Mapping[str, str]) -> bool:
        """Whether nothing differs that an interpreter, or a module, reads once and never again."""
        # To Python, what is empty is not set.
        differing = {name for name, value in self._environment.items() ^ environment.items() if value}
        read_late = ("COLUMNS", "LINES", "NO_COLOR", "PATH", "PY_COLORS", "TERM", "TMPDIR")
        read_late += ("CRYSTALLIZE_", "PYTEST_", "TEST_")
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
        start = subprocess.Popen if fresh else self.Popen
        with start(
            [*self._python, *map(str, arguments)],
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                printed = process.communicate(timeout=SECONDS)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, *printed)

    def crystallize(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command ``crystallize``; the options are those of `run`."""
        return self.run("-c", "from crystallize.cli.app import main; main()", *words, **options)

    def close(self) -> None:
        """End the process."""
        self._requests.close()
        self._process.wait(SECONDS)
