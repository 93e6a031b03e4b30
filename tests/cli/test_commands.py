"""Commands of third parties: added, listed, and never in the way of ours."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

MODULE = '''
from typing import Annotated

import typer

def greet(name: str = "you", loud: bool = False) -> None:
    """Greet somebody."""
    print(f"hello {name}{'!' if loud else ''}")

many = typer.Typer(help="Several commands.")

@many.command()
def one() -> None:
    """The first."""
    print("one of many")

@many.command()
def two() -> None:
    print("two of many")

single = typer.Typer()

@single.command()
def lone(times: int = 1) -> None:
    """All alone."""
    print("lone " * times)

def strange(argument: Annotated[str, typer.Argument(), typer.Option()]) -> None:
    pass

async def later(name: str = "you") -> None:
    """Greet somebody, in a while."""
    import asyncio
    await asyncio.sleep(0)
    print(f"at last, {name}")

awaiting = typer.Typer()

@awaiting.callback()
async def before() -> None:
    print("before")

@awaiting.command()
async def inner() -> None:
    print("inner")
    raise typer.Exit(3)

def failing(interrupted: bool = False) -> None:
    raise KeyboardInterrupt if interrupted else RuntimeError("out of order")

number = 7
'''
ENTRIES = """[crystallize.commands]
greet = their_commands:greet
many = their_commands:many
single = their_commands:single
later = their_commands:later
awaiting = their_commands:awaiting
strange = their_commands:strange
failing = their_commands:failing
number = their_commands:number
missing = their_commands:nothing
gone = no_such_module:app
exits = exiting:app
run = their_commands:greet
"""


@pytest.fixture
def site(tmp_path) -> Path:
    """Return a folder with an installed distribution that has good commands and broken ones."""
    info = tmp_path / "site" / "their_dist-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-dist\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (info.parent / "their_commands.py").write_text(MODULE)
    (info.parent / "exiting.py").write_text("import sys; sys.exit(3)\n")
    return info.parent


@pytest.fixture
def crystallize(site, warm_interpreter) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs ``crystallize`` where that distribution is installed."""
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "160"}
    return partial(warm_interpreter.crystallize, cwd=Path.cwd(), environment=environment)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["greet", "--name", "world", "--loud"], "hello world!\n"),
        (["many", "one"], "one of many\n"),
        (["many", "two"], "two of many\n"),
        (["single", "--times", "2"], "lone lone \n"),
    ],
)
def test_functions_and_typer_apps_become_commands_under_the_entrys_name(crystallize, arguments, printed):
    done = crystallize(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")


def test_what_is_defined_with_async_def_is_awaited(crystallize):
    done = crystallize("later", "--name", "world")
    assert (done.returncode, done.stdout, done.stderr) == (0, "at last, world\n", "")
    done = crystallize("awaiting", "inner")
    assert (done.returncode, done.stdout, done.stderr) == (3, "before\ninner\n", "")


def test_one_that_is_interrupted_ends_with_130(crystallize):
    done = crystallize("failing", "--interrupted")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_each_has_its_help_under_its_own_name(crystallize):
    done = crystallize("single", "--help")
    assert done.returncode == 0
    assert " single [OPTIONS]" in done.stdout
    assert "All alone." in done.stdout


def test_our_help_names_them_and_imports_none(crystallize, site):
    for module in site.glob("*.py"):
        module.write_text("raise RuntimeError('imported')\n")
    done = crystallize("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("greet", "many", "single", "gone", "exits"):
        assert any(line.strip("│ ").startswith(f"{name} ") for line in done.stdout.splitlines())
    assert "From their-dist 0.3." in done.stdout
    assert "imported" not in done.stdout


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "No module named 'no_such_module'"),
        ("missing", "has no attribute 'nothing'"),
        ("number", "neither a Typer app nor a function"),
        ("exits", "SystemExit: 3"),
        ("strange", "Typer cannot use it"),
    ],
)
def test_a_broken_one_is_a_command_that_prints_its_error(crystallize, name, reason):
    for arguments in ([], ["--option", "argument"]):
        done = crystallize(name, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Traceback" not in done.stderr
        assert f"entry point '{name}' of their-dist 0.3" in done.stderr
        assert reason in done.stderr
    assert crystallize(name, "--help").returncode == 0


def test_our_own_names_cannot_be_taken(crystallize):
    done = crystallize("run", "--help")
    assert "Run an experiment" in done.stdout


def test_one_that_raises_is_its_authors_bug(crystallize):
    done = crystallize("failing")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "RuntimeError: out of order. This is a bug in their-dist 0.3" in last


def test_the_list_of_plugins_tells_which_of_them_work(crystallize):
    done = crystallize("plugins", "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    status = {
        each["name"]: (each["status"], each["error"])
        for each in json.loads(done.stdout)
        if each["group"] == "crystallize.commands" and each["distribution"] == "their-dist"
    }
    assert {name for name, (state, _) in status.items() if state == "active"} == {
        *("greet", "many", "single", "later", "awaiting", "failing")
    }
    assert "'run' is a command of Crystallize's own" in status["run"][1]
    assert all(error for state, error in status.values() if state == "failed")


def test_the_list_of_plugins_tells_which_verifiers_work(crystallize, site):
    entries = site / "their_dist-0.3.dist-info" / "entry_points.txt"
    entries.write_text("[crystallize.verifiers]\ngood = their_commands:greet\nbad = their_commands:number\n")
    done = crystallize("plugins", "list", "--json")
    status = {
        each["name"]: each["status"]
        for each in json.loads(done.stdout)
        if each["group"] == "crystallize.verifiers"
    }
    assert (status["good"], status["bad"]) == ("active", "failed")
