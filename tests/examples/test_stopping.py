"""The example whose run a rule ends."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture(scope="module")
def crystallize(warm_interpreter, tmp_path_factory):
    """Return a function that calls a command in a copy of the example, and returns what it prints."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES / "stopping", folder / "stopping")
    prepare = Path("diabetes", "experiments", "prepare")
    shutil.copytree(EXAMPLES / prepare, folder / prepare)

    def call(*words):
        done = warm_interpreter.crystallize(*words, cwd=folder / "stopping", environment={**os.environ})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def shown(command: str) -> list[str]:
    """Return the lines that the README shows of a command's output, without the dots, and without times."""
    text = (EXAMPLES / "stopping" / "README.md").read_text()
    block = text[text.index(f"$ {command}") :].partition("```")[0]
    return [line for line in block.splitlines()[1:] if line != "..." and not line.startswith("methods:")]


@pytest.mark.parametrize("execution", ["serial", "process"])
def test_three_questions_are_decided_after_twenty_replicates(crystallize, execution):
    printed = crystallize("run", "methods", "--execution", execution).splitlines()
    expected = shown("crystallize run methods\n")
    assert [line for line in printed if line in expected] == expected


def test_the_best_takes_longer(crystallize):
    rule = "best(error, delta=0.5, direction=min, max=400)"
    printed = crystallize("run", "methods", "--stop-when", rule).splitlines()
    expected = shown(f"crystallize run methods --stop-when '{rule}'")
    assert [line for line in printed if line in expected] == expected
