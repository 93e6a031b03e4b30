"""What reaches a screen, a file or a pipe: nothing that steers a terminal, whatever the stream is like."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import crystallize.cli
from crystallize import Experiment

STEERING = "\x1b]0;owned\x07"  # sets a terminal's title
SPELLED = r"\x1b]0;owned\x07"
MARKUP = "[red]x [-]"


@pytest.fixture
def odd() -> Path:
    """Make the experiment ``odd``, all of whose texts hold what steers terminals, markup of rich, or Greek."""
    folder = Path("experiments", "odd")
    folder.mkdir(parents=True)
    text = json.dumps(f"{STEERING} {MARKUP} \u03bb")
    (folder / "config.yaml").write_text(
        f"description: {text}\nreplicates: 3\nseed: 1\ndatasource: numbers\nsteps: [look]\n"
        f'treatments: {{"{MARKUP}": {{size: 1}}}}\nhypotheses: [{{verifier: odd_one, name: {text}}}]\n'
        f"cli: {{group: {text}, icon: {text}, color: {text}}}\n"
    )
    (folder / "datasources.py").write_text("def numbers(): return 1\n")
    (folder / "steps.py").write_text(
        dedent(
            f"""
            import logging
            from crystallize import pipeline_step

            @pipeline_step()
            def look(data, ctx, *, size=0, fail=False):
                print("said \u03bb")
                logging.getLogger("crystallize.mine").warning("{STEERING}")
                if fail and size:
                    raise ValueError("{STEERING} {MARKUP}")
                return data, {{"\u03bb": size + ctx["replicate"], "{STEERING}": 1.0}}
            """
        )
    )
    (folder / "verifiers.py").write_text(
        "from crystallize import verifier\n\n@verifier\ndef odd_one(baseline, treatment):\n"
        f"    return {{'p_value': 0.01, 'significant': True, {STEERING!r}: {STEERING!r}}}\n"
    )
    return folder


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own, with streams as `options` say."""
    environment = {**os.environ, **options.pop("env", {})}
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.run(
        [sys.executable, "-m", "crystallize", *arguments],
        env=environment,
        timeout=120,
        check=False,
        **options,
    )


# -- texts ---------------------------------------------------------------------------------------------------


def test_all_that_the_commands_print_goes_through_one_module():
    for file in Path(crystallize.cli.__file__).parent.glob("*.py"):
        if file.name == "screen.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
            assert text not in ("typer.echo", "typer.secho", "typer.style", "print", "sys.stderr.write"), file


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["check"],
        ["run", "odd", "--set", "fail=true"],
        ["show", "odd"],
        ["graph", "odd"],
        ["graph", "odd", "--format", "dot"],
        ["apply", "odd"],
        ["run", STEERING],
        ["run", "odd", "--execution", STEERING],
        ["run", "odd", STEERING],
        ["plugins", "show", STEERING],
        [STEERING],
        ["new", STEERING],
    ],
    ids=lambda arguments: " ".join(arguments).replace(STEERING, "odd text"),
)
def test_nothing_that_steers_a_terminal_is_printed_and_markup_is_text(call, odd, arguments):
    if arguments[0] == "show":
        assert call("run", "odd").code == 0
    done = call(*arguments)
    told = done.out + done.err
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "a bug" not in told
    if arguments[0] in ("list", "run", "show"):
        assert SPELLED in told
    if arguments == ["list"] or arguments[:2] == ["show", "odd"]:
        assert MARKUP in told


def test_json_says_it_all_in_ascii(call, odd):
    done = call("run", "odd", "--json")
    assert done.out.isascii()
    (result,) = json.loads(done.out).values()
    assert list(result["conditions"]["baseline"]["metrics"]) == ["\u03bb", STEERING]
    (listed,) = json.loads(call("list", "--json").out)
    assert listed["group"] == f"{STEERING} {MARKUP} \u03bb"


def test_a_terminal_is_not_steered_either(odd, in_a_terminal):
    code, shown = in_a_terminal("run", "odd", "--set", "fail=true", columns=200)
    assert code == 1
    assert STEERING.encode() not in shown
    assert b"\x07" not in shown
    for told in (SPELLED, f"odd  {MARKUP}", "\u03bb"):  # the log, a bar, a metric
        assert told.encode() in shown


# -- streams -------------------------------------------------------------------------------------------------


def test_what_an_encoding_lacks_is_replaced_also_where_steps_print(odd):
    (odd.parent / "next").mkdir()
    (odd.parent / "next" / "config.yaml").write_text("datasource: odd#out\nsteps: [look]\n")
    narrow = {"PYTHONIOENCODING": "latin-1"}
    listed = run("list", env=narrow)
    assert listed.returncode == 0
    assert "(graph)" in listed.stdout.decode("latin-1")
    done = run("run", "odd", "--execution", "process", env=narrow)
    assert done.returncode == 0, done.stderr
    assert rb"said \u03bb" in done.stdout
    assert b"\n\\u03bb" in done.stdout


def test_a_closed_output_is_no_error_and_what_is_stored_is_whole(odd):
    done = run("run", "odd", preexec_fn=lambda: os.close(1), stdout=None)
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("data/odd/v0/metadata.json").read_text())["status"] == "complete"


def test_json_stays_one_document_where_standard_error_is_closed(odd):
    done = run("run", "odd", "--json", preexec_fn=lambda: os.close(2), stderr=None)
    assert done.returncode == 0
    assert list(json.loads(done.stdout)) == ["odd"]


@pytest.mark.usefixtures("warm_processes")
def test_a_full_disk_behind_the_output_is_told_and_the_run_is_stored(odd):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = run("run", "odd", stdout=full, env={"PYTHONUNBUFFERED": ""})
    assert done.returncode == 1
    assert done.stderr.endswith(b"Error: standard output could not be written: No space left on device\n")
    assert b"failed" not in done.stderr
    assert json.loads(Path("data/odd/v0/metadata.json").read_text())["failed_outcomes"] == 0


def test_a_run_whose_reader_left_goes_on_to_its_end_in_workers_too(odd):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as abandoned:
        done = run("run", "odd", "--execution", "process", stdout=abandoned, env={"PYTHONUNBUFFERED": "1"})
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("data/odd/v0/metadata.json").read_text())["failed_outcomes"] == 0


def test_a_standard_error_that_is_no_file_gets_plain_lines(call, odd, monkeypatch):
    class Plain:
        def __init__(self):
            self.told = ""

        def write(self, text):
            self.told += text

        def flush(self):
            pass

    plain = Plain()
    monkeypatch.setattr(sys, "stderr", plain)
    assert call("run", "odd").code == 0
    assert "odd: 3/3 replicates" in plain.told


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    from crystallize.cli.progress import PlainLines, make_display

    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_display(), PlainLines)


def test_the_time_left_of_a_resumed_run_is_by_the_pace_of_what_it_runs_itself(capsys):
    from crystallize.cli.progress import PlainLines, ProgressPlugin

    class AnHourAgo(PlainLines):
        def begin(self, run):
            pass

        def advance(self, run):
            if run.done - run.reused == 1:
                run.works_since -= 3600
            super().advance(run)

    def step(data, ctx):
        if ctx["replicate"] >= 50 and not Path("mended").exists():
            raise ValueError("not yet")
        return data, {"value": 1}

    runs = []
    for strategy in ("rerun", "resume"):
        told = ProgressPlugin(AnHourAgo(), tells_failures=False)
        Experiment(lambda: 0, [step], name="study", replicates=100, seed=1, plugins=[told]).run(
            strategy=strategy
        )
        runs += told.runs
        Path("mended").touch()
    assert [(run.done, run.reused) for run in runs] == [(100, 0), (100, 50)]
    assert "study: 51/100 replicates, about 49 h 0 min left\n" in capsys.readouterr().err


def test_the_time_that_workers_take_to_start_is_no_part_of_the_pace(capsys):
    from crystallize.cli.progress import PlainLines, ProgressPlugin

    class AnHourAgo(PlainLines):
        def begin(self, run):
            run.began -= 3600

    told = ProgressPlugin(AnHourAgo())
    Experiment(lambda: 0, [lambda data: (data, {"value": 1})], replicates=100, plugins=[told]).run()
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.endswith(" left"))
    assert ": 1/100 replicates, about " in line
    assert " h " not in line
