"""What the tests of the command line share."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.warm_interpreter import WarmInterpreter

Command = Callable[..., "subprocess.CompletedProcess[str]"]
COMPLETE = "import sys; sys.argv = ['crystallize']; from crystallize.cli.app import main; main()"


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

    def run(*arguments: object, columns: int = 200) -> Done:
        monkeypatch.setattr(sys, "argv", ["crystallize", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


@pytest.fixture
def command(call: Call, monkeypatch: pytest.MonkeyPatch, warm_interpreter: WarmInterpreter) -> Command:
    """Return a function that runs ``crystallize`` in the test's folder, in this process.

    ``command(*arguments, code=0, cwd=None, apart=False, **environment)``; any exit code will do if `code` is
    None. Warnings are errors, and a traceback is one whatever the code. It has a process of its own with `apart`, or
    where the environment names folders to import from.
    """

    def run(
        *arguments: object,
        code: int | None = 0,
        cwd: Path | None = None,
        apart: bool = False,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        columns = environment.pop("COLUMNS", "100")
        folder = Path.cwd() / (cwd or "")
        if apart or "PYTHONPATH" in environment:
            environment = {**os.environ, **environment, "COLUMNS": columns}
            done = warm_interpreter.crystallize(*arguments, cwd=folder, environment=environment)
        else:
            with monkeypatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                patch.chdir(folder)
                ended = call(*arguments, columns=int(columns))
            done = subprocess.CompletedProcess(arguments, *ended)
        told = f"{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, f"exit code {done.returncode}\n{told}"
        assert "Traceback" not in told
        return done

    return run


@pytest.fixture
def complete(warm_interpreter: WarmInterpreter) -> Callable[[str], list[str]]:
    """Return a function that gives what bash is told for a command line, whose last word is to be completed."""

    def run(line: str) -> list[str]:
        asked = {"_CRYSTALLIZE_COMPLETE": "complete_bash", "COMP_WORDS": line}
        asked["COMP_CWORD"] = str(len(line.split(" ")) - 1)
        done = warm_interpreter.run("-c", COMPLETE, cwd=Path.cwd(), environment={**os.environ, **asked})
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return run


@pytest.fixture
def in_a_terminal(warm_interpreter: WarmInterpreter) -> Callable[..., tuple[int, bytes]]:
    """Return a function that runs ``crystallize`` in a terminal: ``in_a_terminal(*words, columns) -> code, output``."""

    def run(*words: str, columns: int) -> tuple[int, bytes]:
        reader, terminal = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
        with warm_interpreter.Popen(
            [sys.executable, "-m", "crystallize", *words],
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        ) as process:
            os.close(terminal)
            shown = b""
            with suppress(OSError):  # how Linux tells that the other side is closed
                while part := os.read(reader, 65536):
                    shown += part
        os.close(reader)
        return process.returncode, shown

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
