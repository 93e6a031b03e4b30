"""``crystallize graph``: what depends on what, in every format, with and without Graphviz."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from crystallize.cli.graph import Format
from crystallize.graphs.drawing import FORMATS

NO_PROGRAMS = {"PATH": ""}


@pytest.fixture(scope="module")
def chain_folder(warm_interpreter, tmp_path_factory) -> Path:
    """Make an experiment that reads what another writes, once for all tests."""
    folder = tmp_path_factory.mktemp("chain")
    for arguments in (["new", "first", "--example"], ["new", "second", "--from", "first#summary"]):
        assert warm_interpreter.crystallize(*arguments, cwd=folder).returncode == 0
    return folder


@pytest.fixture
def chain(chain_folder) -> None:
    """Put an experiment that reads what another writes into the test's folder."""
    shutil.copytree(chain_folder, Path(), dirs_exist_ok=True)


@pytest.fixture
def stand_in(tmp_path) -> dict[str, str]:
    """Return an environment with a program in the place of Graphviz that shows what it was given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "dot"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdout.write(' '.join(sys.argv[1:]) + sys.stdin.read())\n"
    )
    program.chmod(0o755)
    return {"PATH": str(folder)}


def test_the_formats_are_those_that_a_graph_can_be_drawn_in():
    assert tuple(Format) == FORMATS


# -- text --------------------------------------------------------------------------------------------------


def test_the_text_says_what_depends_on_what(command, chain):
    done = command("graph", "second", apart=True)
    first, second = done.stdout.splitlines()
    assert first.split()[0] == "first"
    assert "baseline, median, trimmed_mean" in first
    assert second.split()[0] == "second"
    assert second.endswith("<- first")
    assert done.stderr == ""
    assert command("graph", "second", "--format", "text").stdout == done.stdout


def test_an_experiment_alone_is_a_graph_too(command, chain):
    assert len(command("graph", "first").stdout.splitlines()) == 1


@pytest.mark.parametrize("path", ["experiments/second", "experiments/second/config.yaml"])
def test_a_path_will_do_for_a_name(command, chain, path):
    assert command("graph", path).stdout == command("graph", "second").stdout


def test_nothing_is_run_and_no_file_is_written(command, chain):
    for form in ("text", "mermaid", "dot"):
        command("graph", "second", "--format", form)
    assert [path.name for path in Path().iterdir()] == ["experiments"]


@pytest.mark.parametrize(
    ("form", "start", "arrow"), [("mermaid", "flowchart", "-->"), ("dot", "digraph", "->")]
)
def test_text_for_other_programs_is_printed(command, chain, form, start, arrow):
    drawn = command("graph", "second", "--format", form, **NO_PROGRAMS).stdout
    assert drawn.startswith(start)
    assert arrow in drawn
    assert "first" in drawn
    assert "second" in drawn


def test_json_lists_the_experiments_in_running_order(command, chain):
    first, second = json.loads(command("graph", "second", "--json").stdout)
    assert first == {
        "name": "first",
        "config": str(Path("experiments/first/config.yaml").absolute()),
        "replicates": 100,
        "at_most": False,
        "treatments": ["median", "trimmed_mean"],
        "depends_on": [],
    }
    assert (second["name"], second["depends_on"]) == ("second", ["first"])


def test_json_tells_that_a_rule_may_end_it_earlier(command, chain):
    config = Path("experiments/first/config.yaml")
    config.write_text(config.read_text() + "\nstop: decided(error)\n")
    (first,) = json.loads(command("graph", "first", "--json").stdout)
    assert (first["replicates"], first["at_most"]) == (100, True)


def test_what_modules_print_does_not_spoil_the_drawing(command, chain):
    expected = command("graph", "second").stdout
    steps = Path("experiments/first/steps.py")
    steps.write_text(steps.read_text() + "print('hello')\n")
    done = command("graph", "second")
    assert done.stdout == expected
    assert "hello" in done.stderr


# -- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "form"), [("a.txt", "text"), ("a.mmd", "mermaid"), ("a.dot", "dot"), ("a.GV", "dot")]
)
def test_the_suffix_of_the_file_says_what_to_draw(command, chain, file, form):
    Path(file).write_text("old")
    assert command("graph", "second", "--output", file).stdout == f"Wrote {file}\n"
    assert Path(file).read_text() == command("graph", "second", "--format", form).stdout


def test_the_format_that_is_asked_for_goes_before_the_suffix(command, chain):
    command("graph", "second", "--output", "new/a.svg", "--format", "mermaid")
    assert Path("new/a.svg").read_text().startswith("flowchart")


@pytest.mark.parametrize("file", ["a.jpeg", "a"])
def test_a_suffix_that_says_nothing_is_wrong_use(command, chain, file):
    said = command("graph", "second", "-o", file, code=2).stderr
    assert "Use one of .svg, " in said
    assert "or name the format" in said
    assert not Path(file).exists()


def test_a_place_that_cannot_be_written_is_wrong_use(command, chain):
    done = command("graph", "second", "-o", "experiments", "--format", "text", code=2)
    assert "'experiments' cannot be written" in done.stderr


# -- pictures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["svg", "png"])
def test_pictures_are_drawn_by_graphviz(command, chain, stand_in, form):
    assert command("graph", "second", "--format", form, **stand_in).stdout == f"Wrote second.{form}\n"
    dot = command("graph", "second", "--format", "dot").stdout
    assert Path(f"second.{form}").read_text().strip() == f"-T{form}{dot}".strip()
    command("graph", "second", "--output", f"other.{form}", **stand_in)
    assert Path(f"other.{form}").read_text() == Path(f"second.{form}").read_text()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize(("form", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_graphviz_understands_what_it_is_given(command, chain, form, start):
    command("graph", "second", "--format", form)
    assert Path(f"second.{form}").read_bytes().startswith(start)


@pytest.mark.parametrize("flags", [("--format", "svg"), ("--format", "png"), ("-o", "a.svg")], ids=str)
def test_without_graphviz_the_text_is_printed_and_how_to_get_it_is_told(command, chain, flags):
    done = command("graph", "second", *flags, code=1, **NO_PROGRAMS)
    assert done.stdout == command("graph", "second").stdout
    assert len(done.stderr.splitlines()) == 1
    assert "graphviz.org" in done.stderr
    assert [path.name for path in Path().iterdir()] == ["experiments"]


def test_a_graphviz_that_fails_is_told(command, chain, stand_in):
    program = Path(stand_in["PATH"]) / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no fonts')\n")
    done = command("graph", "second", "--format", "svg", code=1, **stand_in)
    assert "no fonts" in done.stderr
    assert not Path("second.svg").exists()


# -- wrong use ---------------------------------------------------------------------------------------------


def test_an_unknown_experiment_is_wrong_use_with_the_nearest(command, chain):
    done = command("graph", "secnd", code=2)
    assert (done.stdout, "Did you mean 'second'?" in done.stderr) == ("", True)


def test_an_unknown_format_is_wrong_use_with_the_known_ones(command, chain):
    done = command("graph", "second", "--format", "pdf", code=2)
    assert all(form in done.stderr for form in FORMATS)


def test_a_broken_experiment_is_told_with_its_place(command, chain):
    Path("experiments/first/config.yaml").write_text("steps: [x]\n")
    assert "experiments/first/config.yaml:1:1" in command("graph", "second", code=2).stderr


def test_the_experiment_may_have_any_name(command):
    name = "a 'b' {c} & d"
    command("new", name)
    for form in ("text", "mermaid", "dot"):
        assert command("graph", name, "--format", form).stdout
