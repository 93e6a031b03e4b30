"""The command as a whole: help, start-up, exit codes, and how errors are shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crystallize.cli.commands import BUILT_IN, built_in
from crystallize.discovery import ADD_ONS, COMMANDS

CODE = "from crystallize.cli.app import main; main()"


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_summary_of_a_command_is_the_first_line_of_its_help(name):
    command = built_in(name)
    assert command.name == name
    assert command.help.splitlines()[0] == BUILT_IN[name].summary


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_command_has_a_help_that_explains_each_option(call, name):
    done = call(name, "--help")
    assert (done.code, done.err) == (0, "")
    for parameter in getattr(built_in(name), "params", ()):
        assert parameter.help, f"{name}: {parameter.name}"


def test_help_lists_every_command_in_order_and_imports_none():
    code = (
        "import sys\n"
        "from crystallize.cli.app import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in sys.modules if name.startswith('crystallize.cli.')], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    rows = [line.strip("│ ").split(" ")[0] for line in done.stdout.splitlines() if line.startswith("│")]
    assert [row for row in rows if row in BUILT_IN] == list(BUILT_IN)
    imported = {f"crystallize.cli.{name}" for name in ("app", "commands", "errors", "screen")}
    assert {name.strip("'[], \n") for name in done.stderr.split(", ")} == imported


def test_what_needs_no_numbers_does_not_import_numpy(project, run_python):
    run_python(
        """
import sys
from crystallize.cli.app import app
for arguments in (["--help"], ["list"], ["run", "--help"], ["plugins", "list"]):
    try:
        app(arguments)
    except SystemExit:
        pass
    assert "numpy" not in sys.modules, arguments
""",
        cwd=project.parent,
        fresh=True,
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'?"),
        (["run", "--treatmnt", "x"], "No such option"),
        (["--tracebak", "list"], "No such option"),
    ],
)
def test_wrong_use_names_what_was_meant_and_looks_like_any_error(call, arguments, told):
    done = call(*arguments)
    assert done.code == 2
    first, second = done.err.splitlines()
    assert first.startswith("Error: ")
    assert told in first
    assert second.startswith("Try '")
    assert second.endswith(" --help' for help.")


def test_a_command_that_an_add_on_brings_comes_with_its_distribution(call, monkeypatch):
    monkeypatch.setitem(ADD_ONS, (COMMANDS, "board"), "crystallize-board")
    done = call("board")
    assert done.code == 2
    assert "It comes with crystallize-board: pip install crystallize-board." in done.err


@pytest.mark.parametrize("command", ["run", "show", "apply", "graph"])
def test_a_missing_experiment_is_told_with_those_that_there_are(call, project, command):
    assert "There are no experiments in experiments." not in call(command).err
    first, _ = call(command).err.splitlines()
    assert first == "Error: Missing argument 'NAME|PATH'. The experiments in experiments are 'make', 'use'."
    assert call(command).code == 2


def test_without_a_command_the_help_is_shown(call):
    done = call()
    assert "Replicated, reproducible experiments" in done.out + done.err


def test_a_users_mistake_has_a_traceback_only_if_it_is_asked_for(call):
    plain = call("run", "nothing")
    assert plain.code == 2
    assert plain.err.startswith("Error: no experiment is called 'nothing'")
    full = call("--traceback", "run", "nothing")
    assert full.code == 2
    assert full.err.startswith("Traceback (most recent call last)")
    assert full.err.endswith(plain.err)


@pytest.mark.parametrize("arguments", [["-h"], ["run", "-h"], ["plugins", "list", "-h"]])
def test_help_has_a_short_name_everywhere(call, arguments):
    done = call(*arguments)
    assert (done.code, done.err) == (0, "")
    assert "Usage: " in done.out


@pytest.mark.usefixtures("warm_processes")
def test_python_runs_the_package_as_the_command_with_workers_too(project):
    done = subprocess.run(
        [sys.executable, "-m", "crystallize", "run", "make", "-n", "2", "--execution", "process", "--json"],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["make"]["replicates"] == 2


# -- what the operating system refuses -----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "show", "check", "apply", "graph", "verify", "export"])
@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000, "a\0b"])
def test_a_name_that_no_file_can_have_is_that_of_no_experiment(call, project, command, name):
    done = call(command, name)
    assert done.code == 2
    assert done.err.startswith("Error: no experiment is called ")


def test_a_working_folder_that_is_gone_is_told(call, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for arguments in (["list"], ["run", "x"], ["check"], ["new", "x"]):
        done = call(*arguments)
        assert done.code == 2
        assert done.err == (
            "Error: the working folder is gone, removed or moved away. Change into one that is there\n"
        )


def test_links_that_lead_to_themselves_are_told(call, project):
    config = project / "use" / "config.yaml"
    config.unlink()
    config.symlink_to("config.yaml")
    for arguments in (["check"], ["run", "use"], ["list"]):
        done = call(*arguments)
        assert "Too many levels of symbolic links" in done.out + done.err
        assert "a bug" not in done.err
    Path("loop").symlink_to("loop")
    Path("pyproject.toml").write_text('[tool.crystallize]\nroot = "loop"\n')
    assert call("list").err == f"Error: Too many levels of symbolic links: '{Path('loop').absolute()}'\n"


def test_a_place_that_takes_no_files_is_told_with_its_path_and_no_plugin_is_blamed(call, project):
    Path("data").write_text("a file where the runs would be stored")
    done = call("run", "make")
    assert done.code == 2
    (told,) = [line for line in done.err.splitlines() if "is a file" in line]
    assert "plugin" not in told.lower()
    assert f"'data' is a file ({Path('data').absolute()}). root_dir must be a folder" in told
    assert "rights" not in told


def test_several_problems_stand_on_a_line_each(call, project):
    (project / "use" / "config.yaml").write_text("datasorce: x\nstep: [y]\n")
    done = call("run", "use")
    assert done.code == 2
    first, *lines = done.err.splitlines()
    assert first == f"Error: {len(lines)} problems"
    assert len(lines) > 1
    assert all(line.startswith("  experiments/use/config.yaml") for line in lines)


def test_an_error_of_an_unexpected_kind_is_a_bug_that_asks_to_be_reported(call, monkeypatch):
    import crystallize.config.folders

    def broken(start=None):
        raise ZeroDivisionError("cannot be")

    monkeypatch.setattr(crystallize.config.folders, "experiments_root", broken)
    done = call("list")
    assert done.code == 1
    assert done.err.startswith("Traceback (most recent call last)")
    assert "ZeroDivisionError: cannot be. This is a bug in Crystallize" in done.err.splitlines()[-1]
    assert "Report it" in done.err


@pytest.mark.usefixtures("warm_processes")
def test_a_reader_that_leaves_early_is_no_error(project):
    for number in range(200):
        folder = Path("experiments", f"more_{number}")
        folder.mkdir()
        (folder / "config.yaml").write_text(f"description: {'x' * 2000}\ndatasource: one\nsteps: [two]\n")
    with subprocess.Popen(
        [sys.executable, "-c", CODE, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(10)
        process.stdout.close()
        told = process.stderr.read()
    assert b"Traceback" not in told


@pytest.mark.usefixtures("warm_processes")
def test_ctrl_c_before_anything_ran_ends_it_with_130(project):
    (project / "make" / "datasources.py").write_text(
        "import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "run", "use"],
        env=dict(os.environ),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not Path("loading").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told == "Interrupted before anything ran.\n"


def test_ctrl_c_while_the_command_line_is_imported_ends_it_with_130(tmp_path):
    (tmp_path / "typer.py").write_text(
        "raise KeyboardInterrupt\n"
    )  # what a signal does in the middle of an import
    done = subprocess.run(
        [sys.executable, "-m", "crystallize", "list"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
