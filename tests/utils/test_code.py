"""Which of the user's own code things reach: what changes a hash, and what does not."""

from __future__ import annotations

import ast
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crystallize.utils.code import code_of

STEPS = '''
"""Steps."""
import enum
import functools
import math
from dataclasses import dataclass

import helpers
import shapes as forms
from helpers import Base, rescale

RATE = 0.5
TABLE = {"f": helpers.in_table, "a": 1}


class Colour(enum.Enum):
    RED = 1


@dataclass(repr=False)
class Point:
    x: float = 0.0


class Model(Base):
    size = 3

    @property
    def half(self):
        return self.size / 2

    @staticmethod
    def of(x):
        return x

    def fit(self, data):
        """Fit it."""
        return data + self.half


@functools.lru_cache
def cached(x):
    return x * 2


def timed(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


@timed
def decorated(x):
    return x - 1


def make(by):
    return lambda x: x * by


scaled = make(2)


def step(data, ctx, *, lr=0.1):
    """Do it."""
    from late import last
    def inner(x):
        return x * RATE
    assert Colour.RED, Point
    model = Model()
    total = rescale(data) + forms.area(2) + math.sqrt(4.0) + cached(1) + decorated(1) + scaled(1)
    return [inner(each) for each in (model.fit(total), TABLE["a"], last())], ctx.unrelated


def other(data):
    return data


unrelated = 1
'''
HELPERS = """
class Base:
    def base(self):
        return 1


def rescale(x, by=2.0):
    return x * by * deep()


def deep():
    return 1


def in_table():
    return "table"


def unused():
    return 1
"""
SHAPES = """
SIDE = 3


def area(x):
    return x * SIDE


def volume(x):
    return x
"""
LATE = """
import later


def last():
    return later.LAST
"""
LATER = "LAST = 1\n"
MODULES = {"steps": STEPS, "helpers": HELPERS, "shapes": SHAPES, "late": LATE, "later": LATER}

Load = Callable[[dict[str, str]], Any]


def edited(module: str, old: str, new: str) -> dict[str, str]:
    assert old in MODULES[module]
    return MODULES | {module: MODULES[module].replace(old, new, 1)}


def changes(load: Load, modules: dict[str, str]) -> set[str]:
    """Return which hashes differ between the modules as they are and those that are given."""
    before, after = code_of(load(MODULES).step), code_of(load(modules).step)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_what_a_step_reaches_has_a_hash_by_its_name(load: Load) -> None:
    assert set(code_of(load(MODULES).step)) == {
        *(
            "class Base in helpers.py",
            "Base.base() in helpers.py",
            "deep() in helpers.py",
            "in_table() in helpers.py",
            "rescale() in helpers.py",
        ),
        *("late.py", "later.py"),
        *("SIDE in shapes.py", "area() in shapes.py"),
        *(
            "class Colour in steps.py",
            "class Model in steps.py",
            "Model.fit() in steps.py",
            "Model.half() in steps.py",
            "Model.of() in steps.py",
        ),
        *("class Point in steps.py", "Point.__init__() in steps.py", "Point.__eq__() in steps.py"),
        *(
            "RATE in steps.py",
            "TABLE in steps.py",
            "cached() in steps.py",
            "decorated() in steps.py",
            "make.<locals>.<lambda>() in steps.py",
        ),
        *("step() in steps.py", "timed.<locals>.wrapper() in steps.py"),
    }


CHANGES: dict[str, tuple[str, str, str, set[str]]] = {
    "its own code": ("steps", "+ cached(1)", "- cached(1)", {"step() in steps.py"}),
    "a default of its own": ("steps", "lr=0.1", "lr=0.2", {"step() in steps.py"}),
    "a function in it": ("steps", "return x * RATE", "return x / RATE", {"step() in steps.py"}),
    "a global": ("steps", "RATE = 0.5", "RATE = 0.25", {"RATE in steps.py"}),
    "a global of another module": ("shapes", "SIDE = 3", "SIDE = 4", {"SIDE in shapes.py"}),
    "a function that it imports": ("helpers", "x * by", "x + by", {"rescale() in helpers.py"}),
    "a default of a helper": ("helpers", "by=2.0", "by=3.0", {"rescale() in helpers.py"}),
    "a helper of a helper": ("helpers", "return 1\n\n\ndef in_table", "return 2\n\n\ndef in_table", {"deep() in helpers.py"}),
    "a function of a module that it imports": ("shapes", "x * SIDE", "x + SIDE", {"area() in shapes.py"}),
    "a function in a container": ("helpers", '"table"', '"chair"', {"in_table() in helpers.py"}),
    "a method": ("steps", "data + self.half", "data - self.half", {"Model.fit() in steps.py"}),
    "a property": ("steps", "self.size / 2", "self.size / 3", {"Model.half() in steps.py"}),
    "an attribute of a class": ("steps", "size = 3", "size = 4", {"class Model in steps.py"}),
    "a method of a base class": ("helpers", "return 1", "return 2", {"Base.base() in helpers.py"}),
    "a member of an enumeration": ("steps", "RED = 1", "RED = 2", {"class Colour in steps.py"}),
    "a cached function": ("steps", "x * 2", "x * 3", {"cached() in steps.py"}),
    "a decorated function": ("steps", "x - 1", "x - 2", {"decorated() in steps.py"}),
    "its decorator": ("steps", "function(*arguments)\n", "-function(*arguments)\n", {"timed.<locals>.wrapper() in steps.py"}),
    "what a function closes over": ("steps", "make(2)", "make(3)", {"make.<locals>.<lambda>() in steps.py"}),
    "what a name stands for": ("steps", "Base, rescale", "Base, deep as rescale", {"step() in steps.py", "rescale() in helpers.py"}),
    "what a library's name stands for": ("steps", "import math", "import cmath as math", {"step() in steps.py"}),
    "a module that is imported when it is called": ("late", "later.LAST", "-later.LAST", {"late.py"}),
    "what that one imports": ("later", "LAST = 1", "LAST = 2", {"later.py"}),
}  # fmt: skip


@pytest.mark.parametrize(("module", "old", "new", "changed"), CHANGES.values(), ids=CHANGES)
def test_an_edit_changes_the_hash_of_what_was_edited(
    load: Load, module: str, old: str, new: str, changed: set[str]
) -> None:
    assert changes(load, edited(module, old, new)) == changed


SAME: dict[str, tuple[str, str, str]] = {
    "comments": ("steps", "    model = Model()", "    # the model\n    model = Model()"),
    "docstrings": ("steps", '"""Do it."""', '"""Do something else."""'),
    "a docstring of a method": ("steps", '"""Fit it."""', '"""Fit the model."""'),
    "the layout": ("steps", "rescale(data) + ", "(\n        rescale(data)\n    ) + "),
    "what is not reached": ("helpers", "def unused():\n    return 1", "def unused():\n    return 2"),
    "another function of a module": ("shapes", "return x\n", "return -x\n"),
    "another step": ("steps", "    return data\n\n\nunrelated", "    return -data\n\n\nunrelated"),
    "a global with the name of an attribute": ("steps", "unrelated = 1", "unrelated = 2"),
    "the order in the file": ("helpers", "def unused():\n    return 1\n", ""),
}


@pytest.mark.parametrize(("module", "old", "new"), SAME.values(), ids=SAME)
def test_an_edit_of_anything_else_changes_nothing(load: Load, module: str, old: str, new: str) -> None:
    assert changes(load, edited(module, old, new)) == set()


def test_an_edit_after_the_import_is_not_taken_for_what_was_loaded(load: Load) -> None:
    steps = load(MODULES)
    before = code_of(steps.step)
    Path(steps.__file__).write_text(STEPS.replace("+ cached(1)", "- cached(1)"))
    assert code_of(steps.step) == before


def test_the_defaults_of_a_function_can_be_left_to_who_asks(load: Load) -> None:
    one, other = load(MODULES).step, load(edited("steps", "lr=0.1", "lr=0.2")).step
    assert code_of(one, without_defaults_of=one) == code_of(other, without_defaults_of=other)


def test_libraries_are_not_followed() -> None:
    assert code_of(json.dumps, pytest.fixture, functools.partial(json.dumps, indent=2), code_of) == {}


class Ring:
    def __init__(self) -> None:
        self.itself = [self]

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RuntimeError("no")


def calls_itself(x: int) -> int:
    return calls_itself(x - 1) if x else 0


def test_what_reaches_itself_and_what_cannot_be_looked_at_has_hashes() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert {"class Ring in test_code.py", "calls_itself() in test_code.py"} <= set(
        code_of(Ring(), calls_itself, nested)
    )


SCRIPT = """
import sys
from crystallize.utils.code import code_of

NAMES = {"alpha", "beta", "gamma", frozenset({"y", "z"})}

class Held:
    def __init__(self):
        self.names = set(NAMES)

held = Held()

def step(data):
    return held, NAMES, data in {"one", "two", "three"}

if __name__ == "__main__" or "again" in sys.argv:
    print(code_of(step))
"""


def test_the_hashes_are_the_same_in_every_process_and_folder_and_in_a_script_that_is_imported(
    tmp_path: Path, run_python: Any
) -> None:
    found = set()
    for number, seed in enumerate(("0", "1", "2")):
        script = tmp_path / str(number) / "study.py"
        script.parent.mkdir()
        script.write_text(SCRIPT)
        env = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(script.parent)}
        found.add(run_python("import study", "again", env=env).stdout)
        found.add(
            subprocess.run(
                [sys.executable, script], env=os.environ | env, capture_output=True, text=True
            ).stdout
        )
    (only,) = found
    names = {
        "class Held in study.py",
        "Held.__init__() in study.py",
        "NAMES in study.py",
        "held in study.py",
        "step() in study.py",
    }
    assert set(ast.literal_eval(only)) == names
