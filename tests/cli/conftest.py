"""What the tests of the command line share."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]

SECONDS = 120
MAIN = "from crystallize.cli.app import main; main()"

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
        read_late = ("COLUMNS", "PATH", "CRYSTALLIZE_", "PYTEST_")
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


@pytest.fixture
def command(warm_interpreter: WarmInterpreter) -> Command:
    """Return a function that runs ``crystallize`` in a process of its own, in the test's folder.

    ``command(*arguments, code=0, cwd=None, fresh=False, **environment)``; any exit code will do if `code` is
    None. Warnings are errors, and a traceback is one whatever the code. With `fresh` the process starts from
    nothing, as a user's does; it does so too where the environment asks for it.
    """

    def run(
        *arguments: object,
        code: int | None = 0,
        cwd: Path | None = None,
        fresh: bool = False,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        variables = {**os.environ, "COLUMNS": "100", **environment}
        if fresh or not warm_interpreter.can_take(variables):
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", MAIN, *words],
                env=variables,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        else:
            done = warm_interpreter.run(words, Path.cwd() / (cwd or ""), variables)
        told = f"{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, f"exit code {done.returncode}\n{told}"
        assert "Traceback" not in told
        return done

    return run


class Done(NamedTuple):
    """What a command in this process came to."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Return a function that runs ``crystallize`` in this process: ``call(*arguments) -> (code, out, err)``."""
    from crystallize.cli.app import main

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["crystallize", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


@pytest.fixture
def project() -> Path:
    """Make the experiments ``make`` and ``use``, which reads what ``make`` publishes, in the test's folder."""
    files = {
        "make/config.yaml": """
            description: Make numbers
            replicates: 3
            seed: 1
            datasource: numbers
            steps: [publish]
            outputs: {total: {file_name: total.json, loader: json}}
            treatments: {bigger: {factor: 2}}
            cli: {group: Basics, priority: 1}
            """,
        "make/datasources.py": """
            def numbers():
                return [1, 2, 3]
            """,
        "make/steps.py": """
            from crystallize import Artifact, pipeline_step

            @pipeline_step()
            def publish(data, *, factor=1.0, total: Artifact):
                print("said by a step")
                value = sum(data) * factor
                total.write(value)
                return value, {"total": value}
            """,
        "use/config.yaml": """
            description: Use numbers
            replicates: 3
            seed: 1
            datasource: {total: make#total}
            steps: [look]
            treatments: {shifted: {shift: 1}, bigger: {shift: 0.5}}
            hypotheses: [{verifier: never_equal, direction: max}]
            cli: {group: Basics, priority: 2}
            """,
        "use/steps.py": """
            from crystallize import pipeline_step

            @pipeline_step()
            def look(data, *, shift=0.0, fail_at=None, text=""):
                if shift == fail_at:
                    raise ValueError(f"told to {text}")
                return data, {"seen": data["total"] + shift}
            """,
        "use/verifiers.py": """
            from crystallize import verifier

            @verifier
            def never_equal(baseline, treatment):
                return {"p_value": 0.01, "significant": True}
            """,
    }
    root = Path("experiments")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text))
    return root
