"""What the shell completes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = "import sys; sys.argv = ['crystallize']; from crystallize.cli.app import main; main()"


def complete(line: str) -> list[str]:
    """Return what bash would be told for a command line; the last word is the one to complete."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE],
        env={
            **os.environ,
            "_CRYSTALLIZE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("crystallize r", ["run", "runs"]),
        ("crystallize runs show u", ["use"]),
        ("crystallize runs list --status dam", ["damaged"]),
        ("crystallize run ", ["make", "use"]),
        ("crystallize run m", ["make"]),
        ("crystallize show u", ["use"]),
        ("crystallize apply u", ["use"]),
        ("crystallize run use --treatment ", ["bigger", "shifted"]),
        ("crystallize run use -t s", ["shifted"]),
        ("crystallize run make -t ", ["bigger"]),
        ("crystallize apply use --treatment b", ["bigger"]),
        ("crystallize run use -p no:l", ["no:logging"]),
        ("crystallize run use --execution ", ["async", "dask", "process", "serial", "thread"]),
        ("crystallize run use --repl", ["--replicates", "--replicate"]),
    ],
)
def test_names_are_completed(project, line, completed):
    assert complete(line) == completed


def test_a_broken_experiment_completes_nothing_and_says_nothing(project):
    (project / "use" / "config.yaml").write_text(": :")
    assert complete("crystallize run use -t ") == []
    assert complete("crystallize run no_such_thing -t ") == []


def test_our_own_commands_and_those_of_plugins_are_completed():
    assert complete("crystallize ") == [
        *(
            "list",
            "run",
            "show",
            "runs",
            "cache",
            "diff",
            "export",
            "verify",
            "apply",
            "new",
            "graph",
            "check",
            "config",
            "plugins",
            "demo",
        )
    ]
