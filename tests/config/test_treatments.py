"""Grids in config.yaml: what they mean, and where their mistakes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from crystallize import design, integers, linear, log
from crystallize.config.build import load_experiment
from crystallize.config.document import read_document
from crystallize.config.errors import Problem
from crystallize.config.reader import read_config
from crystallize.config.schema import json_schema
from crystallize.config.treatments import treatments_of

MakeFolder = Callable[..., Path]
ProblemsOf = Callable[[Path], list[Problem]]

STEPS = """
def fit(data, lr=0.1, depth=2, model="cnn", width=8):
    return data, {"loss": lr * depth}
"""
HEAD = "datasource: numbers\nsteps: [fit]\n"


def names(make_folder: MakeFolder, written: str) -> list[str]:
    folder = make_folder("study", f"{HEAD}treatments:\n{written}", steps=STEPS)
    made = [each.name for each in load_experiment(folder).treatments]
    assert made == [each.name for each in treatments_of(read_config(folder).treatments)]
    jsonschema.Draft202012Validator(json_schema()).validate(read_document(folder / "config.yaml").value)
    return made


def test_a_grid_stands_beside_treatments_with_names(make_folder: MakeFolder) -> None:
    written = "  baseline: {lr: 0.05}\n  wide: {width: 64}\n  grid:\n    lr: [0.1, 1e-2]\n    depth: [2, 4]\n"
    assert names(make_folder, written) == [
        *("baseline", "wide"),
        *("lr=0.1,depth=2", "lr=0.1,depth=4", "lr=0.01,depth=2", "lr=0.01,depth=4"),
    ]
    experiment = load_experiment(make_folder("study", f"{HEAD}treatments:\n{written}", steps=STEPS))
    assert [each.coordinates for each in experiment.treatments][1:3] == [{}, {"lr": 0.1, "depth": 2}]
    assert experiment.conditions[0] == "baseline"


def test_zip_goes_with_each_cell_of_the_grid_cases_are_added_and_excluded_cells_are_not(
    make_folder: MakeFolder,
) -> None:
    written = (
        "  grid: {lr: [0.1, 0.01]}\n  zip: {model: [cnn, mlp], width: [64, 8]}\n"
        "  cases: [{lr: 1.0}, {model: none, depth: 0}]\n"
        "  exclude: [{lr: 0.1, model: mlp}, {depth: 0}]\n"
    )
    assert names(make_folder, written) == [
        "lr=0.1,model=cnn,width=64",
        "lr=0.01,model=cnn,width=64",
        "lr=0.01,model=mlp,width=8",
        "lr=1.0",
    ]


def test_zip_and_cases_may_stand_alone(make_folder: MakeFolder) -> None:
    assert names(make_folder, "  zip: {lr: [1, 2], depth: [3, 3]}\n") == ["lr=1,depth=3", "lr=2,depth=3"]
    assert names(make_folder, "  cases: [{lr: true}, {lr: null}]\n") == ["lr=True", "lr=None"]


def test_a_design_has_ranges_or_levels_and_is_the_one_that_python_makes(make_folder: MakeFolder) -> None:
    written = (
        "  design:\n    kind: latin_hypercube\n    n: 4\n    seed: 3\n    factors:\n"
        "      lr: {log: [1e-4, 1e-1]}\n      depth: {integers: [2, 9]}\n"
        "      width: {linear: [0, 1]}\n      model: [cnn, mlp]\n"
    )
    made = design(
        "latin_hypercube",
        n=4,
        seed=3,
        lr=log(1e-4, 1e-1),
        depth=integers(2, 9),
        width=linear(0, 1),
        model=["cnn", "mlp"],
    )
    assert names(make_folder, written) == [each.name for each in made]


def test_a_design_goes_with_each_cell_of_grid_and_zip_and_its_levels_can_be_excluded(
    make_folder: MakeFolder,
) -> None:
    written = (
        "  grid: {lr: [0.1, 0.2]}\n"
        "  design: {kind: fractional, n: 4, factors: {depth: [1, 2], width: [8, 9], model: [cnn, mlp]}}\n"
        "  cases: [{lr: 7}]\n  exclude: [{lr: 0.2, depth: 1}]\n"
    )
    assert names(make_folder, written) == [
        "lr=0.1,depth=1,width=8,model=mlp",
        "lr=0.1,depth=2,width=8,model=cnn",
        "lr=0.1,depth=1,width=9,model=cnn",
        "lr=0.1,depth=2,width=9,model=mlp",
        "lr=0.2,depth=2,width=8,model=cnn",
        "lr=0.2,depth=2,width=9,model=mlp",
        "lr=7",
    ]


def test_designs_that_need_no_n_need_none_in_a_file(make_folder: MakeFolder) -> None:
    ranges = "{lr: {linear: [1, 5]}, depth: {integers: [1, 5]}}"
    composite = f"  design: {{kind: central_composite, axial: 2, factors: {ranges}}}\n"
    assert len(names(make_folder, composite)) == 9
    screening = "  design: {kind: plackett_burman, factors: {lr: [1, 2], width: {integers: [8, 9]}}}\n"
    assert len(names(make_folder, screening)) == 4


def test_true_is_not_the_level_1(make_folder: MakeFolder) -> None:
    assert names(make_folder, "  grid: {lr: [1, true]}\n  exclude: [{lr: 1}]\n") == ["lr=True"]


MISTAKES = [
    ("grid: {lr: [0.1], dept: [2]}", "grid.dept", 4, 21, "nothing reads the factor 'dept'", "mean 'depth'"),
    ("grid: {lr: [0.1, 0.1]}", "grid.lr", 4, 14, "the level 0.1 twice", "Name it once"),
    ("grid: {lr: [1, '1']}", "grid.lr", 4, 14, "would both be called '1'", "name of its own"),
    ("grid: {lr: 0.1}", "grid.lr", 4, 14, "found the number 0.1", "a list of levels, such as [1, 2]"),
    ("grid: {lr: []}", "grid.lr", 4, 14, "the list is empty", ""),
    ("grid: {}", "grid", 4, 9, "the mapping is empty", ""),
    ("grid:", "grid", 4, 8, "found nothing", ""),
    ("grid: [1]", "grid", 4, 9, "found a list", "It is a mapping"),
    ("grid: {seed_used: [1]}", "grid.seed_used", 4, 10, "is set by the framework itself", "another key"),
    (
        "grid: {lr: [!!python/name:os.sep x]}",
        "grid.lr[0]",
        4,
        15,
        "tag !!python/name:os.sep",
        "remove the tag",
    ),
    ("zip: {lr: [1, 2], depth: [1]}", "zip", 4, 3, "'lr' has 2, and 'depth' has 1", ""),
    ("grid: {lr: [1]}\n  zip: {lr: [2]}", "zip.lr", 5, 9, "the factor 'lr' is in 'grid', too", "Remove one"),
    (
        "design: {kind: sobl, n: 4, factors: {lr: [1, 2]}}",
        "design.kind",
        4,
        18,
        "no design 'sobl'",
        "Did you mean 'sobol'?",
    ),
    (
        "design: {n: 4, factors: {lr: [1, 2]}}",
        "design",
        4,
        11,
        "the key 'kind' is missing",
        "one of 'central_composite'",
    ),
    ("design: {kind: sobol, n: 4}", "design", 4, 11, "the key 'factors' is missing", "{log: [0.001, 0.1]}"),
    (
        "design: {kind: sobol, m: 4, factors: {lr: [1, 2]}}",
        "design.m",
        4,
        25,
        "unknown key 'm'",
        "'n', 'seed'",
    ),
    ("design: {kind: sobol, factors: {lr: [1, 2]}}", "design", 4, 3, "needs n", ""),
    ("design: {kind: sobol, n: 5, factors: {lr: [1, 2]}}", "design.n", 4, 25, "got n=5", "n=4 or n=8"),
    (
        "design: {kind: sobol, n: 4, axial: 2, factors: {lr: [1, 2]}}",
        "design.axial",
        4,
        31,
        "takes no axial",
        "Remove it",
    ),
    (
        "design: {kind: central_composite, axial: 0.5, factors: {lr: {log: [1, 2]}}}",
        "design.axial",
        4,
        44,
        "found the number 0.5",
        "It is a number of at least 1",
    ),
    (
        "design: {kind: central_composite, factors: {lr: [1, 2]}}",
        "design.factors.lr",
        4,
        51,
        "is a range, and 'lr' is [1, 2]",
        "linear, log or integers",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {lgo: [1, 2]}}}",
        "design.factors.lr.lgo",
        4,
        46,
        "unknown key 'lgo'",
        "Did you mean 'log'?",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {log: 3}}}",
        "design.factors.lr.log",
        4,
        51,
        "found the number 3",
        "the two ends",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {log: [1]}}}",
        "design.factors.lr",
        4,
        45,
        "a low end and a high one, got [1]",
        "{log: [low, high]}",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {log: [0, 1]}}}",
        "design.factors.lr",
        4,
        45,
        "above zero",
        "",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {linear: [2, a]}}}",
        "design.factors.lr",
        4,
        45,
        "from a number to a number",
        "",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {integers: [1, 2.5]}}}",
        "design.factors.lr",
        4,
        45,
        "got 2.5",
        "",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {log: [1, 2], linear: [1, 2]}}}",
        "design.factors.lr",
        4,
        45,
        "one scale, got 'linear', 'log'",
        "",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {}}}",
        "design.factors.lr",
        4,
        45,
        "one scale, got nothing",
        "",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: log}}",
        "design.factors.lr",
        4,
        45,
        "found the text 'log'",
        "a range such as",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: [1, 1]}}",
        "design.factors.lr",
        4,
        45,
        "the level 1 twice",
        "Name it once",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {lr: {integers: [1, 2]}}}",
        "design.n",
        4,
        25,
        "twice",
        "wider ranges",
    ),
    (
        "design: {kind: sobol, n: 4, factors: {dept: [1, 2, 3, 4]}}",
        "design.factors.dept",
        4,
        41,
        "nothing reads the factor 'dept'",
        "'depth'",
    ),
    (
        "grid: {lr: [1]}\n  design: {kind: sobol, n: 2, factors: {lr: {log: [1, 2]}}}",
        "design.factors.lr",
        5,
        41,
        "the factor 'lr' is in 'grid', too",
        "Remove one",
    ),
    ("cases: [{}]", "cases[0]", 4, 11, "the mapping is empty", ""),
    ("cases: [{lr: 1}, {lr: 1}]", "cases", 4, 3, "cases has the cell lr=1 twice", "Leave it out once"),
    ("grid: {lr: [1]}\n  cases: [{lr: 1}]", "cases", 5, 3, "the cell lr=1 twice", ""),
    ("cases: [{lr: 1, dep: 2}]", "cases[0].dep", 4, 19, "nothing reads the factor 'dep'", "mean 'depth'"),
    ("exclude: [{lr: 1}]", "exclude[0]", 4, 13, "there is nothing to exclude it from", "grid"),
    ("grid: {lr: [1]}\n  exclude: [{lr: 2}]", "exclude[0]", 5, 13, "it excludes nothing", "Correct it"),
    (
        "grid: {lr: [1]}\n  exclude: [{rl: 1}]",
        "exclude[0].rl",
        5,
        14,
        "no factor 'rl'",
        "The factors are 'lr'",
    ),
    ("grid: {lr: [1]}\n  exclude: [{lr: 1}]", "exclude[0]", 5, 13, "excludes all cells", "Correct it"),
    ("grid: {lr: [1]}\n  lr=1: {depth: 3}", "grid", 4, 3, "a treatment 'lr=1' already", "Rename it"),
    ("grid: {model: [Adam, adam]}", "grid", 4, 3, "would share a folder on some systems", "Rename one"),
    ("a/b: {lr: 1}", "a/b", 4, 3, "cannot be the name of a treatment", "Use letters"),
]


@pytest.mark.parametrize(("written", "key", "line", "column", "message", "hint"), MISTAKES)
def test_a_mistake_has_its_place(
    make_folder: MakeFolder,
    problems_of: ProblemsOf,
    written: str,
    key: str,
    line: int,
    column: int,
    message: str,
    hint: str,
) -> None:
    folder = make_folder("study", f"{HEAD}treatments:\n  {written}\n", steps=STEPS)
    (problem,) = problems_of(folder)
    assert (problem.key, problem.line, problem.column) == (f"treatments.{key}", line, column)
    assert message in problem.message
    assert hint in problem.hint


def test_a_factor_that_nothing_reads_is_told_once_for_all_cells(
    make_folder: MakeFolder, problems_of: ProblemsOf
) -> None:
    written = "  grid: {lr: [1, 2, 3], dpth: [1, 2, 3]}\n  more: {dpth: 1}\n"
    folder = make_folder("study", f"{HEAD}treatments:\n{written}", steps=STEPS)
    assert [each.key for each in problems_of(folder)] == ["treatments.grid.dpth", "treatments.more.dpth"]


def test_one_mistake_does_not_make_others(make_folder: MakeFolder, problems_of: ProblemsOf) -> None:
    written = (
        "treatments:\n  grid: {lr: 1, depth: [1, 2]}\n  exclude: [{lr: 1}]\n"
        "hypotheses: [{verifier: welch_t_test, metrics: loss}]\n"
    )
    folder = make_folder("study", HEAD + written, steps=STEPS)
    assert [each.key for each in problems_of(folder)] == ["treatments.grid.lr"]
