"""``crystallize apply``: the pipeline once, for its result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def write_step(project: Path, body: str) -> None:
    (project / "make" / "steps.py").write_text(
        "from crystallize import pipeline_step, Artifact\n\n"
        "@pipeline_step()\n"
        f"def publish(data, ctx, *, factor=1, total: Artifact):\n    total.write(1)\n    {body}\n"
    )


def test_it_prints_what_the_last_step_returns_and_nothing_else_on_stdout(call, project):
    done = call("apply", "make", "--treatment", "bigger")
    assert (done.code, done.out) == (0, "12\n")
    assert "said by a step" in done.err


def test_stored_runs_stay_and_are_what_other_experiments_read(call, project):
    assert call("run", "make").code == 0
    before = Path("data/make/v0/metadata.json").read_bytes()
    assert call("apply", "make", "-t", "bigger").out == "12\n"
    assert Path("data/make/v0/metadata.json").read_bytes() == before
    assert json.loads(call("apply", "use").out) == {"total": 6}


@pytest.mark.parametrize(
    ("name", "content", "result"),
    [
        ("d.json", b"[10, 20]", 30),
        ("d.yaml", b"[1, 0x10]", 17),
        ("d.txt", b"ab", None),
    ],
)
def test_data_is_read_as_its_suffix_says(call, project, name, content, result):
    Path(name).write_bytes(content)
    write_step(project, "return data if isinstance(data, str) else sum(data)")
    done = call("apply", "make", "--data", name)
    assert done.code == 0, done.err
    assert json.loads(done.out) == ("ab" if result is None else result)


def test_the_seed_repeats_the_random_numbers(call, project):
    write_step(project, "return float(ctx.rng.random())")
    first, again, other = (call("apply", "make", "--seed", seed).out for seed in (5, 5, 6))
    assert first == again != other


def test_what_json_lacks_is_printed_as_python_shows_it_unless_json_is_asked_for(call, project):
    write_step(project, "return {1, 2}")
    assert call("apply", "make").out == "{1, 2}\n"
    assert json.loads(call("apply", "make", "--json").out) == [1, 2]
    write_step(project, "return {'loss': [0.5, float('nan')], 1: {2}}")
    assert call("apply", "make").out == "{'loss': [0.5, nan], 1: {2}}\n"
    write_step(project, "import numpy; return numpy.array([1.0, float('nan')])")
    assert json.loads(call("apply", "make", "--json").out) == [1.0, None]


def test_a_step_that_raises_is_shown_with_the_traceback_of_the_users_code(call, project):
    write_step(project, "raise KeyError('gone')")
    done = call("apply", "make", "-t", "bigger")
    assert (done.code, done.out) == (1, "")
    lines = done.err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[1].strip().startswith(f'File "{project.absolute() / "make" / "steps.py"}"')
    assert lines[-1] == "Error: experiment 'make' failed under 'bigger'"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["make", "-t", "biger"], "Did you mean 'bigger'?"),
        (["mke"], "Did you mean 'make'?"),
        (["make", "--data", "nothing.json"], "there is no file"),
        (["make", "--data", "data.unknown"], "no loader fits"),
        (["make", "--data", "broken.json"], "cannot read the file"),
        (["use"], "make"),
    ],
)
def test_wrong_use_is_a_message_and_exit_code_2(call, project, arguments, told):
    Path("data.unknown").touch()
    Path("broken.json").write_text("{")
    done = call("apply", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err
