"""``crystallize config schema``: what editors are given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path("experiments")


def test_the_schema_is_a_valid_one(command):
    done = command("config", "schema")
    schema = json.loads(done.stdout)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "flags",
    [(), ("--example",), ("--example", "--files", "hooks"), ("--from", "given#summary", "--example")],
    ids=str,
)
def test_it_accepts_what_new_makes(command, flags):
    validator = Draft202012Validator(json.loads(command("config", "schema").stdout))
    command("new", "given", "--example")
    command("new", "made", *flags)
    validator.validate(yaml.safe_load((ROOT / "made" / "config.yaml").read_text()))


@pytest.mark.parametrize(
    "text",
    ["steps: [x]", "datasource: x", "datasource: x\nsteps: [x]\nstep: [x]", "datasource: x\nsteps: x",
     "datasource: x\nsteps: [x]\nreplicates: 0", "datasource: x\nsteps: [x]\noutputs: {a: {file: x}}", "[]"],
)  # fmt: skip
def test_it_refuses_what_check_refuses(command, text):
    validator = Draft202012Validator(json.loads(command("config", "schema").stdout))
    assert not validator.is_valid(yaml.safe_load(text))
    (ROOT / "first").mkdir(parents=True)
    (ROOT / "first" / "config.yaml").write_text(text)
    command("check", code=2)


def test_it_is_written_to_a_file_in_place_of_the_old_one(command):
    Path("schema.json").write_text("old")
    assert command("config", "schema", "--output", "schema.json").stdout == "Wrote schema.json\n"
    assert json.loads(Path("schema.json").read_text()) == json.loads(command("config", "schema").stdout)
    command("config", "schema", "-o", "new/folder/schema.json")
    assert Path("new/folder/schema.json").is_file()


@pytest.mark.parametrize("output", ["folder", "file/schema.json"])
def test_a_place_that_cannot_be_written_is_wrong_use(command, output):
    Path("folder").mkdir()
    Path("file").write_text("mine")
    assert f"{output}' cannot be written" in command("config", "schema", "--output", output, code=2).stderr
    assert Path("file").read_text() == "mine"
    assert sorted(path.name for path in Path().rglob("*")) == ["file", "folder"]


def test_the_help_says_how_an_editor_is_told(command):
    told = command("config", "schema", "--help").stdout
    assert "# yaml-language-server: $schema=" in told
    assert "crystallize config schema --output schema.json" in told
    assert "schema" in command("config", "--help").stdout


def test_the_line_for_editors_that_new_describes_works(command):
    command("config", "schema", "--output", "schema.json")
    command("new", "first")
    config = ROOT / "first" / "config.yaml"
    assert "# yaml-language-server: $schema=schema.json" in config.read_text()
    config.write_text("# yaml-language-server: $schema=../../schema.json\n" + config.read_text())
    command("check")
