"""What the shell completes."""

from __future__ import annotations

import pytest


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
def test_names_are_completed(complete, project, line, completed):
    assert complete(line) == completed


def test_a_broken_experiment_completes_nothing_and_says_nothing(complete, project):
    (project / "use" / "config.yaml").write_text(": :")
    assert complete("crystallize run use -t ") == []
    assert complete("crystallize run no_such_thing -t ") == []


def test_our_own_commands_and_those_of_plugins_are_completed(complete):
    assert complete("crystallize ") == [
        *(
            "list",
            "run",
            "show",
            "plan",
            "runs",
            "cache",
            "diff",
            "export",
            "verify",
            "lock",
            "apply",
            "new",
            "graph",
            "check",
            "config",
            "plugins",
            "demo",
            "tui",
        )
    ]
