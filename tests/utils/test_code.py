"""Which of the user's own code things reach: what changes a hash, and what does not."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crystallize.discovery.imported import distributions_of
from crystallize.utils.code import changes_of_code, code_of, name_of_code, reached_code

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
    "a helper of a helper": ("helpers", "deep():\n    return 1", "deep():\n    return 2", {"deep() in helpers.py"}),
    "a function of a module that it imports": ("shapes", "x * SIDE", "x + SIDE", {"area() in shapes.py"}),
    "a function in a container": ("helpers", '"table"', '"chair"', {"in_table() in helpers.py"}),
    "a method": ("steps", "data + self.half", "data - self.half", {"Model.fit() in steps.py"}),
    "a property": ("steps", "self.size / 2", "self.size / 3", {"Model.half() in steps.py"}),
    "an attribute of a class": ("steps", "size = 3", "size = 4", {"class Model in steps.py"}),
    "a method of a base class": ("helpers", "return 1", "return 2", {"Base.base() in helpers.py"}),
    "a member of an enumeration": ("steps", "RED = 1", "RED = 2", {"class Colour in steps.py"}),
    "a cached function": ("steps", "x * 2", "x * 3", {"cached() in steps.py"}),
    "a decorated function": ("steps", "x - 1", "x - 2", {"decorated() in steps.py"}),
    "its decorator": (
        "steps", "function(*arguments)\n", "-function(*arguments)\n", {"timed.<locals>.wrapper() in steps.py"}),
    "what a function closes over": ("steps", "make(2)", "make(3)", {"make.<locals>.<lambda>() in steps.py"}),
    "what a name stands for": (
        "steps", "Base, rescale", "Base, deep as rescale", {"step() in steps.py", "rescale() in helpers.py"}),
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


def test_nor_is_one_of_a_module_that_was_imported_when_a_function_was_called(load: Load) -> None:
    steps = load(MODULES)
    before = code_of(steps.step)
    late = importlib.import_module("late")
    assert code_of(steps.step) == before
    Path(str(late.__file__)).write_text(LATE.replace("later.LAST", "-later.LAST"))
    found = code_of(steps.step)
    assert found["last() in late.py"]  # as it is in memory
    assert found["late.py"] != code_of(load(edited("late", "later.LAST", "-later.LAST")).step)["late.py"]


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
from crystallize.discovery.imported import distributions_of
from crystallize.utils.code import changes_of_code, code_of, reached_code

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


def globals_after(source: str, name: str = "__main__") -> dict[str, Any]:
    """Run a notebook's cell: there is no file, and the names stay for the next one."""
    scope: dict[str, Any] = {"__name__": name}
    run_cell(source, scope)
    return scope


def run_cell(source: str, scope: dict[str, Any], number: int = 1) -> None:
    exec(compile(source, f"/tmp/ipykernel_{number}/{number}.py", "exec"), scope)


CELL = "RATE = 2\ndef helper(x):\n    return x * RATE\n"
USE = "def step(x):\n    return helper(x)\n"


def test_a_cell_that_is_run_again_counts_if_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    scope = globals_after(CELL)
    run_cell(USE, scope, 2)
    before = code_of(scope["step"])
    run_cell(CELL, scope, 3)
    assert code_of(scope["step"]) == before
    run_cell(USE, scope, 4)
    assert code_of(scope["step"]) == before
    run_cell(CELL.replace("x * RATE", "x + RATE"), scope, 5)
    changed = [name for name, each in code_of(scope["step"]).items() if each != before[name]]
    assert [name.partition(" in ")[0] for name in changed] == ["helper()"]


def test_of_two_equal_definitions_it_makes_no_difference_which_is_used() -> None:
    scope = globals_after(CELL)
    run_cell("def step(x, by=helper):\n    return helper(x) + by(x)\n", scope)
    before = code_of(scope["step"])
    run_cell(CELL, scope)  # the default is the helper as it was
    assert code_of(scope["step"]) == before
    run_cell(CELL.replace("x * RATE", "x + RATE"), scope)
    assert len(code_of(scope["step"])) == len(before) + 1


def test_what_takes_the_place_of_a_global_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = globals_after("import math\n" + CELL + "def step(x):\n    return helper(math.sqrt(x))\n")
    before = code_of(scope["step"])
    scope["helper"] = lambda x: x
    assert code_of(scope["step"]) != before
    run_cell(CELL, scope)
    assert code_of(scope["step"]) == before
    monkeypatch.setattr("math.sqrt", lambda x: x)
    assert code_of(scope["step"]) != before


KEPT = """
import functools, logging, re, sqlite3, struct, threading
import numpy as np

LOG = logging.getLogger("study")
PATTERN = re.compile("a+", re.I)
HEADER = struct.Struct("<ih")
LOCK = threading.Lock()
LOCAL = threading.local()
BASE = sqlite3.connect(":memory:")
FILE = open("/dev/null")
LINES = (each for each in "abc")
ARRAY = np.arange(5)[::2]
MISSING = object()
TYPES = {int: "i", type(None): "n", list[int]: "l"}

class Settings:
    def __init__(self):
        self.itself, self.lock, self.names = self, threading.Lock(), {"b", "a", ("c", 1)}
    @functools.cached_property
    def slow(self):
        return 3

SETTINGS = Settings()

@functools.lru_cache
def cached(x):
    return x

def step(x):
    LOG.debug("x"); LOCAL.x = x
    with LOCK:
        return cached(x) + SETTINGS.slow, PATTERN, HEADER, BASE, FILE, LINES, ARRAY, MISSING, TYPES
"""


def test_what_a_module_keeps_has_equal_hashes_when_it_is_made_anew_and_after_use() -> None:
    one, other = globals_after(KEPT, "kept"), globals_after(KEPT, "kept")
    before = code_of(one["step"])
    assert code_of(other["step"]) == before
    one["step"](1)
    one["LOG"].setLevel("DEBUG")
    assert code_of(one["step"]) == before
    assert code_of(globals_after(KEPT.replace("a+", "b+"), "kept")["step"]) != before
    assert code_of(globals_after(KEPT.replace("<ih", "<hi"), "kept")["step"]) != before
    assert code_of(globals_after(KEPT.replace("arange(5)", "arange(7)"), "kept")["step"]) != before
    for scope in (one, other):
        scope["BASE"].close()
        scope["FILE"].close()


def test_content_that_changes_while_steps_run_counts_as_it_is() -> None:
    scope = globals_after("CACHE = {}\ndef step(x):\n    return CACHE.setdefault(x, x)\n", "steps")
    before = code_of(scope["step"])
    scope["step"](1)
    assert changes_of_code(before, code_of(scope["step"])) == ["CACHE in steps.py changed"]


MODEL = """
import pydantic

class Inner(pydantic.BaseModel):
    share: float = 0.5

class Model(pydantic.BaseModel):
    inner: Inner = Inner()
    level: int = 3

    @pydantic.field_validator("level")
    @classmethod
    def check(cls, value):
        return value + 1

def step(x):
    return Model(level=x)
"""


def test_models_of_pydantic_count_by_what_they_define(load: Load) -> None:
    before = code_of(load({"steps": MODEL}).step)
    assert code_of(load({"steps": MODEL}).step) == before
    for old, new in (
        ("0.5", "0.25"),
        ("level: int", "level: float"),
        ("value + 1", "value + 2"),
        ("= 3", "= 4"),
    ):
        assert code_of(load({"steps": MODEL.replace(old, new)}).step) != before, old


def test_the_libraries_that_code_uses_are_known_wherever_it_names_them() -> None:
    source = """
import json, numpy as np, pandas
from toolz import curry
HELD = np.arange(3)
class Frame(pandas.Series): ...
def helper(x):
    import yaml.nodes
    return curry(x)
def step(x):
    return helper(x), HELD, Frame, json
"""
    found = reached_code(globals_after(source, "steps")["step"]).libraries
    assert {name.partition(".")[0] for name in found} == {"numpy", "pandas", "toolz", "yaml"}
    assert distributions_of(found).keys() == {"numpy", "pandas", "toolz", "PyYAML"}


def test_changes_are_told_in_words() -> None:
    before = {"a() in x.py": "1", "B in x.py": "2", "c() in x.py": "3"}
    now = {"new() in x.py": "1", "a() in x.py": "4", "c() in x.py": "3"}
    assert changes_of_code(before, now) == [
        "a() in x.py changed",
        "new() in x.py is new",
        "B in x.py is gone",
    ]


def test_a_class_is_the_same_after_one_of_its_objects_was_pickled() -> None:
    class Mesh:
        points = 3

    before = code_of(Mesh)
    pickle_of_the_state = Mesh().__reduce_ex__(4)
    assert pickle_of_the_state
    assert "__slotnames__" in vars(Mesh)  # which Python adds then
    assert code_of(Mesh) == before


def test_what_is_installed_is_called_by_the_whole_name_of_its_module_and_the_users_own_by_the_last_part():
    assert name_of_code(json.JSONDecoder.decode) == "json.decoder.JSONDecoder.decode"
    assert name_of_code(name_of_code) == "crystallize.utils.code.name_of_code"
    own: dict[str, Any] = {"__name__": "project.steps"}
    exec("def fit(): ...", own)
    assert name_of_code(own["fit"]) == "steps.fit"
