"""The page on config.yaml against the schema, and every config.yaml that we show against the same schema."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from crystallize.config.schema import json_schema

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "config.md").read_text(encoding="utf-8")
TABLES = {
    "": "ExperimentConfig",
    "An output": "OutputConfig",
    "A hypothesis": "HypothesisConfig",
    "Grids": "TreatmentsConfig",
    "A design": "DesignConfig",
    "cli": "CliConfig",
}
TYPES = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "mapping",
    "array": "list",
}


def code_blocks() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "code_blocks", Path(__file__).with_name("test_code_blocks.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def tables() -> dict[str, dict[str, tuple[str, str]]]:
    """Return type and default of each key, table by table."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE):
        title = "" if section.startswith("# ") else section.partition("\n")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| .+? \|$", section, re.MULTILINE)
        if rows:
            found[title] = {key: (kind, default) for key, kind, default in rows}
    return found


@pytest.mark.parametrize("title", TABLES)
def test_the_page_has_every_key_with_its_type_and_default(title: str) -> None:
    schema = json_schema()
    model: dict[str, Any] = schema if not title else schema["$defs"][TABLES[title]]
    shown = tables()[title]
    assert list(shown) == list(model["properties"]), "the keys, in the order of the schema"
    for key, definition in model["properties"].items():
        kind, default = shown[key]
        if "type" in definition:
            assert TYPES[definition["type"]] in kind, f"{key} is {kind}"
        assert (default == "required") == (key in model.get("required", ())), f"{key}: {default}"
        if "default" in definition:
            wanted = definition["default"]
            plain = default.strip("`")
            is_group = isinstance(wanted, dict) and not wanted  # written {} on the page
            assert yaml.safe_load(plain) == wanted or is_group or key in ("cli", "treatments"), (
                f"{key}: {default}"
            )


def examples() -> dict[str, str]:
    """Return every config.yaml of the examples and of the pages, by its place."""
    found = {
        config.relative_to(ROOT).as_posix(): config.read_text(encoding="utf-8")
        for config in (ROOT / "docs" / "examples").rglob("config.yaml")
    }
    module = code_blocks()
    for page in module.PAGES:
        for block in module.blocks_of(page):
            if block.title and block.title.endswith("config.yaml"):
                found[f"{module.page_name(page)}:{block.line}"] = block.text
    return found


@pytest.mark.parametrize("place", examples())
def test_every_config_that_we_show_is_valid_for_an_independent_validator(place: str) -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    assert [error.message for error in validator.iter_errors(yaml.safe_load(examples()[place]))] == []


def test_the_schema_itself_is_valid_and_refuses_what_is_wrong() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not validator.is_valid({"datasource": "numbers"})
    assert not validator.is_valid({"datasource": "numbers", "steps": ["a"], "step": ["b"]})
    assert not validator.is_valid({"datasource": "numbers", "steps": ["a"], "replicates": "many"})
