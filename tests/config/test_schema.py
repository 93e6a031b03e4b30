"""What a config.yaml may hold; the JSON Schema and the models agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize.config.document import read_document
from crystallize.config.errors import ConfigError, Problem
from crystallize.config.reader import read_config
from crystallize.config.schema import Call, ExperimentConfig, Reference, json_schema

BASE = "datasource: numbers\nsteps: [total]\n"
FULL = """
name: scaling
description: Does scaling matter?
replicates: 10
seed: 3
datasource:
  numbers: {n: 3}
  others: numbers
  summary: producer#summary
steps:
  - scale: {factor: 2}
  - total
  - look:
  - draw: {size: 3}
    cache: false
outputs:
  table: {file_name: table.csv, writer: csv, loader: auto}
  raw:
    file_name: raw.bin
treatments:
  double: {factor: 2}
  control: {}
hypotheses:
  - {name: differs, verifier: welch_t_test, metrics: total, direction: min, args: {alpha: 0.01}}
  - {verifier: paired, metrics: [[a], [b, c]]}
execution: {strategy: process, max_workers: 2}
plugins:
  logging: {verbose: true}
  artifact: true
  seed: false
cache: false
cli: {group: Basics, priority: 1, icon: "*", color: green, hidden: false}
"""

# Each of them: what stands in the file besides a datasource and steps; key; what is said; where.
WRONG: list[tuple[str, str, str, tuple[int, int]]] = [
    ("name: 3", "name", "found the number 3", (3, 7)),
    ("name: ''", "name", "is empty", (3, 7)),
    ("name: a/b", "name", "holds '/'", (3, 7)),
    ("name: ..", "name", "leads to another folder", (3, 7)),
    ("name:", "name", "found nothing", (3, 6)),
    ("description: [a]", "description", "found a list", (3, 14)),
    ("replicates: '3'", "replicates", "found the text '3'", (3, 13)),
    ("replicates: true", "replicates", "found true", (3, 13)),
    ("replicates: 0", "replicates", "found the number 0", (3, 13)),
    ("timeout: soon", "timeout", "found the text 'soon'", (3, 10)),
    ("timeout: .inf", "timeout", "found the number inf", (3, 10)),
    ("replicates: 2.0", "replicates", "found the number 2.0", (3, 13)),
    ("replicates: on", "replicates", "found the text 'on'", (3, 13)),
    ("seed: -1", "seed", "found the number -1", (3, 7)),
    ("seed: 1e3", "seed", "found the number 1000.0", (3, 7)),
    ("outputs: [a]", "outputs", "found a list", (3, 10)),
    ("outputs: {a: b}", "outputs.a", "found the text 'b'", (3, 14)),
    ("outputs: {a: {file_name: 3}}", "outputs.a.file_name", "found the number 3", (3, 26)),
    ("outputs: {a: {filename: x}}", "outputs.a.filename", "unknown key 'filename'", (3, 15)),
    ("outputs: {a: {file_name: x, loader: [json]}}", "outputs.a.loader", "found a list", (3, 37)),
    ("treatments: [a]", "treatments", "found a list", (3, 13)),
    ("treatments: {a: 3}", "treatments.a", "found the number 3", (3, 17)),
    ("treatments: {a: {condition: 1}}", "treatments.a.condition", "set by the framework itself", (3, 18)),
    ("treatments: {replicate_1: {}}", "treatments.replicate_1", "the store keeps that name", (3, 14)),
    ("treatments: {a: {}, A: {}}", "treatments.A", "would share a folder", (3, 21)),
    ("hypotheses: {verifier: x}", "hypotheses", "found a mapping", (3, 13)),
    ("hypotheses: [x]", "hypotheses[0]", "found the text 'x'", (3, 14)),
    ("hypotheses: [{metrics: x}]", "hypotheses[0]", "the key 'verifier' is missing", (3, 14)),
    ("hypotheses: [{verifier: x, metrics: 3}]", "hypotheses[0].metrics", "found the number 3", (3, 37)),
    ("hypotheses: [{verifier: x, metrics: []}]", "hypotheses[0].metrics", "the list is empty", (3, 37)),
    ("hypotheses: [{verifier: x, metrics: [a, a]}]", "hypotheses[0].metrics", "named twice", (3, 37)),
    (
        "hypotheses: [{verifier: x, smallest_effect: 0}]",
        "hypotheses[0].smallest_effect",
        "found the number 0",
        (3, 45),
    ),
    (
        "hypotheses: [{verifier: x, correction: holms}]",
        "hypotheses[0].correction",
        "found the text 'holms'",
        (3, 40),
    ),
    ("hypotheses: [{verifier: x, direction: up}]", "hypotheses[0].direction", "found the text 'up'", (3, 39)),
    ("hypotheses: [{verifier: x, args: [a]}]", "hypotheses[0].args", "found a list", (3, 34)),
    ("execution: 3", "execution", "found the number 3", (3, 12)),
    ("execution: {max_workers: 3}", "execution", "the key 'strategy' is missing", (3, 12)),
    ("execution: {strategy: 3}", "execution.strategy", "found the number 3", (3, 23)),
    ("cache: refresh", "cache", "found the text 'refresh'", (3, 8)),
    ("plugins: [seed]", "plugins", "found a list", (3, 10)),
    ("plugins: {seed: off}", "plugins.seed", "found the text 'off'", (3, 17)),
    ("cli: main", "cli", "found the text 'main'", (3, 6)),
    ("cli: {hidden: yes}", "cli.hidden", "found the text 'yes'", (3, 15)),
    ("cli: {priority: high}", "cli.priority", "found the text 'high'", (3, 17)),
    ("cli: {icon: 3}", "cli.icon", "found the number 3", (3, 13)),
    ("cli: {colour: red}", "cli.colour", "unknown key 'colour'", (3, 7)),
    ("treatment: {}", "treatment", "unknown key 'treatment'", (3, 1)),
]


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        return file

    return write


def problems(file: Path) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    return caught.value.problems


def accepts(file: Path) -> bool:
    """Ask an independent validator what it makes of our JSON Schema and the file."""
    document = read_document(file)
    return jsonschema.Draft202012Validator(json_schema()).is_valid(document.value)


def test_everything_that_can_be_said_is_understood(config: Callable[[str], Path]) -> None:
    file = config(FULL)
    read = read_config(file)
    assert read.name == "scaling"
    assert read.replicates == 10
    assert read.seed == 3
    assert [source.alias for source in read.sources()] == ["numbers", "others", "summary"]
    assert read.references() == (Reference("producer", "summary"),)
    assert [Call.of(step).name for step in read.steps] == ["scale", "total", "look", "draw"]
    assert Call.of(read.steps[0]).arguments == {"factor": 2}
    assert Call.of(read.steps[3]) == Call("draw", {"size": 3}, ("draw",), cache=False)
    assert read.cache is False
    assert read.outputs["table"].loader == "auto"
    assert read.treatments.named == {"double": {"factor": 2}, "control": {}}
    assert read.hypotheses[1].metrics == [["a"], ["b", "c"]]
    assert [each.direction for each in read.hypotheses] == ["min", None]
    assert dict(read.execution or ()) == {"strategy": "process", "max_workers": 2}
    assert read.plugins == {"logging": {"verbose": True}, "artifact": True, "seed": False}
    assert read.cli.group == "Basics"
    assert accepts(file)


def test_little_needs_to_be_said(config: Callable[[str], Path]) -> None:
    read = read_config(config(BASE))
    assert read.name is None
    assert read.replicates is None
    assert read.cli.hidden is False
    assert read_config(config(BASE).parent) == read


@pytest.mark.parametrize(
    "datasource", ["numbers", "{numbers: numbers}", "[a: numbers, b: numbers]", "p#x", "{a: p#x}"]
)
def test_a_data_source_is_written_in_many_ways(config: Callable[[str], Path], datasource: str) -> None:
    file = config(f"datasource: {datasource}\nsteps: [a]\n")
    assert read_config(file).datasource
    assert accepts(file)


def test_one_mapping_within_another_leaves_open_which_is_the_factory(config: Callable[[str], Path]) -> None:
    (source,) = read_config(config("datasource: {a: {b: {c: 1}}}\nsteps: [x]\n")).sources()
    assert source.calls == (Call("b", {"c": 1}, ("b",)), Call("a", {"b": {"c": 1}}))


@pytest.mark.parametrize(("text", "key", "message", "place"), WRONG, ids=[wrong[0] for wrong in WRONG])
def test_a_wrong_type_is_named_with_its_key_and_place(
    config: Callable[[str], Path], text: str, key: str, message: str, place: tuple[int, int]
) -> None:
    file = config(BASE + text + "\n")
    (problem,) = problems(file)
    assert problem.key == key
    assert message in problem.message
    assert problem.hint
    assert "Input should" not in problem.hint  # pydantic's own words
    assert (problem.line, problem.column) == place
    # JSON Schema has no words for infinity and what a file may be called, and no difference between 2 and 2.0.
    unspoken = ("holds '/'", "leads to", "the store keeps", "would share", "named twice", "2.0", "1000.0")
    assert accepts(file) == any(part in message for part in (*unspoken, "number inf"))


@pytest.mark.parametrize(
    ("text", "key", "message", "place"),
    [
        ("datasource: 3\nsteps: [a]", "datasource", "found the number 3", (1, 13)),
        ("datasource: {}\nsteps: [a]", "datasource", "is empty", (1, 13)),
        ("datasource: []\nsteps: [a]", "datasource", "is empty", (1, 13)),
        ("datasource: [3]\nsteps: [a]", "datasource[0]", "found the number 3", (1, 14)),
        ("datasource: {a: 3}\nsteps: [a]", "datasource.a", "found the number 3", (1, 17)),
        ("datasource: {a: '#x'}\nsteps: [a]", "datasource.a", "'#x' is no reference", (1, 17)),
        (
            "datasource: [a: x, a: y]\nsteps: [a]",
            "datasource[1].a",
            "two data sources have the alias",
            (1, 20),
        ),
        ("datasource: a\nsteps: total", "steps", "found the text 'total'", (2, 8)),
        ("datasource: a\nsteps: []", "steps", "the list is empty", (2, 8)),
        ("datasource: a\nsteps:", "steps", "found nothing", (2, 7)),
        ("datasource: a\nsteps: [3]", "steps[0]", "found the number 3", (2, 9)),
        ("datasource: a\nsteps: [{a: 3}]", "steps[0].a", "found the number 3", (2, 13)),
        ("datasource: a\nsteps:\n  - a:\n    b: 1", "steps[0]", "a mapping with the keys 'a', 'b'", (3, 5)),
        ("datasource: a\nsteps:\n  - a:\n    cache: 1", "steps[0].cache", "found the number 1", (4, 12)),
        ("datasource: a\nsteps:\n  - a:\n    cache:", "steps[0].cache", "found nothing", (4, 11)),
        ("datasource: a\nsteps:\n  - a: 1\n    cache: true", "steps[0].a", "found the number 1", (3, 8)),
        ("datasource: a\nsteps: [{cache: false}]", "steps[0].cache", "found false", (2, 17)),
        ("datasource: a\nsteps: [{a: , b: , cache: true}]", "steps[0]", "keys 'a', 'b', 'cache'", (2, 9)),
        ("datasource: a", "", "the key 'steps' is missing", (1, 1)),
        ("steps: [a]", "", "the key 'datasource' is missing", (1, 1)),
    ],
)
def test_data_source_and_steps_are_needed_and_have_a_form(
    config: Callable[[str], Path], text: str, key: str, message: str, place: tuple[int, int]
) -> None:
    (problem,) = problems(config(text + "\n"))
    assert (problem.key, problem.line, problem.column) == (key, *place)
    assert message in problem.message


def test_a_step_may_be_called_cache(config: Callable[[str], Path]) -> None:
    file = config("datasource: a\nsteps: [cache, cache: {size: 3}]\n")
    calls = [Call.of(step) for step in read_config(file).steps]
    assert calls == [Call("cache", {}), Call("cache", {"size": 3}, ("cache",))]
    assert accepts(file)


def test_a_misspelt_key_beside_a_steps_name_is_recognised(config: Callable[[str], Path]) -> None:
    (problem,) = problems(config("datasource: a\nsteps:\n  - fit: {lr: 0.1}\n    cach: false\n"))
    assert (problem.key, problem.line) == ("steps[0]", 3)
    assert problem.hint.startswith("Is 'cach' 'cache'?")
    (problem,) = problems(config("datasource: a\nsteps:\n  - fit:\n    cache: false\n    lr: 0.1\n"))
    assert problem.hint.startswith("It is a name, or {name: {argument: value}}")


@pytest.mark.parametrize(
    ("given", "meant"), [("replicats", "replicates"), ("Name", "name"), ("output", "outputs")]
)
def test_an_unknown_key_comes_with_the_nearest_one(
    config: Callable[[str], Path], given: str, meant: str
) -> None:
    (problem,) = problems(config(f"{BASE}{given}: 1\n"))
    assert f"Did you mean '{meant}'?" in problem.hint
    assert "'treatments'" in problem.hint  # and all that are allowed


def test_a_misspelt_key_is_one_mistake_and_not_also_a_missing_one(config: Callable[[str], Path]) -> None:
    (problem,) = problems(config("datasorce: numbers\nsteps: [a]\n"))
    assert "Did you mean 'datasource'?" in problem.hint


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines(config: Callable[[str], Path]) -> None:
    file = config(
        "replicates: x\nseed: y\ndatasource: 3\nsteps: [1, a, 2]\ncli: {hidden: 1}\nseed: 2\nfoo: 1\n"
    )
    found = problems(file)
    assert [problem.line for problem in found] == [1, 2, 3, 4, 4, 5, 6, 7]
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert len(str(caught.value).splitlines()) == len(found)


def test_thousands_of_mistakes_are_told_each_with_its_line(config: Callable[[str], Path]) -> None:
    count = 10_000
    wrong = "".join(f"  t{number}: 3\n" for number in range(count)) + "  good: {x: 1}\n"
    found = problems(config(f"{BASE}treatments:\n{wrong}"))
    assert [problem.line for problem in found] == list(range(4, count + 4))
    found = problems(config("datasource: a\nsteps:\n" + "- 3\n" * count))
    assert [problem.key for problem in found] == [f"steps[{number}]" for number in range(count)]


def test_a_key_like_the_name_of_a_type_is_a_key(config: Callable[[str], Path]) -> None:
    (problem,) = problems(config("datasource: {'<dict>': numbers, b: 3}\nsteps: [a]\n"))
    assert problem.key == "datasource.b"
    (source,) = read_config(config("datasource: {'<dict>': numbers}\nsteps: [a]\n")).sources()
    assert source.alias == "<dict>"


def test_a_misspelt_key_of_a_strategy_is_recognised(config: Callable[[str], Path]) -> None:
    (problem,) = problems(config(f"{BASE}execution: {{stratgy: thread}}\n"))
    assert problem.message == "the key 'strategy' is missing"
    assert problem.hint == "Is it 'stratgy'?"


def test_names_that_clash_are_told_beside_other_mistakes(config: Callable[[str], Path]) -> None:
    found = problems(config(f"{BASE}treatments: {{a: {{}}, A: {{}}, b: 3}}\n"))
    assert [problem.key for problem in found] == ["treatments.A", "treatments.b"]


def test_a_folder_whose_name_cannot_name_results_needs_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "what?"
    folder.mkdir()
    file = folder / "config.yaml"
    file.write_text(BASE)
    (problem,) = problems(file)
    assert "Give the experiment a 'name'" in problem.hint
    file.write_text(f"{BASE}name: what\n")
    assert read_config(folder).name == "what"


def test_the_schema_is_valid_and_tells_an_editor_everything() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["datasource", "steps"]
    for model in (schema, *schema["$defs"].values()):
        assert model["additionalProperties"] is (model["title"] == "StrategyConfig") or model["title"] in (
            "StepConfig",
            "TreatmentsConfig",
        )
        assert model["description"]
        for name, entry in model["properties"].items():
            assert entry.get("description"), name
    assert set(schema["properties"]) == set(ExperimentConfig.model_fields)


EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "docs" / "examples").glob("**/config.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=[file.parent.name for file in EXAMPLES])
def test_our_examples_fit_the_schema(file: Path) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(read_document(file).value)
    read_config(file)


@pytest.mark.parametrize("key", ["steps", "outputs", "treatments", "hypotheses", "cli", "datasource"])
def test_what_is_left_out_can_stay_out_and_what_is_there_is_checked(
    config: Callable[[str], Path], key: str
) -> None:
    values: dict[str, Any] = {"datasource": "a", "steps": ["a"], key: "a"}
    file = config(json.dumps(values))
    assert accepts(file) == (key == "datasource")


KEYS = st.sampled_from(
    [*ExperimentConfig.model_fields, "cache", "file_name", "loader", "verifier", "args", "strategy", "a"]
)
WORDS = st.sampled_from(["", "a", "a#b", "#", "baseline", "replicate", "../x", "json", "serial"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(0, 1) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | WORDS, inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(KEYS, VALUES, max_size=5), VALUES, VALUES)
def test_any_values_are_understood_or_refused_and_what_we_understand_the_schema_allows(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], datasource: Any, step: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "config.yaml"
    file.write_text(json.dumps({**values, "datasource": datasource, "steps": [step]}), encoding="utf-8")
    found: tuple[Problem, ...] = ()
    try:
        read_config(file)
    except ConfigError as error:
        found = error.problems
    assert all(problem.line == 1 and problem.message for problem in found)
    assert found or accepts(file)
