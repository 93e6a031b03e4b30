"""Edits of programs of a few modules: what changes the result changes a hash, and what does not changes none."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crystallize.utils.code import code_of

Load = Callable[[Mapping[str, str]], Any]

# -- twelve edits, in a process each -------------------------------------------------------------------------

STEPS = """
import helpers
from helpers import clean

RATE = 0.5


class Model:
    def fit(self, x):
        return x + 1


def make(by):
    def scaled(x):
        return x * by

    return scaled


double = make(2.0)


def shift(x):
    return x - 1


def step(data, *, offset=0.0):
    \"\"\"Do it.\"\"\"
    return double(clean(data)) * RATE + offset + shift(data) + Model().fit(data)
"""
HELPERS = """
def clean(x):
    return x + deep(x)


def deep(x):
    return x * 2
"""
PROJECT = {"steps": STEPS, "helpers": HELPERS}
SHOW = """
import json
import sys

import steps
from crystallize.utils.code import code_of

json.dump({"code": code_of(steps.step), "result": steps.step(3.0)}, sys.stdout)
"""
TWELVE: dict[str, tuple[str, str, str, set[str]]] = {
    "nothing": ("steps", "", "", set()),
    "the body": ("steps", "RATE + offset", "RATE - 1 + offset", {"step() in steps.py"}),
    "a helper in the same module": ("steps", "x - 1", "x - 2", {"shift() in steps.py"}),
    "a helper in another module": ("helpers", "x + deep", "x - deep", {"clean() in helpers.py"}),
    "a helper of a helper": ("helpers", "x * 2", "x * 3", {"deep() in helpers.py"}),
    "a constant": ("steps", "RATE = 0.5", "RATE = 0.25", {"RATE in steps.py"}),
    "a default": ("steps", "offset=0.0", "offset=1.0", {"step() in steps.py"}),
    "what is closed over": ("steps", "make(2.0)", "make(4.0)", {"make.<locals>.scaled() in steps.py"}),
    "a method": ("steps", "return x + 1", "return x + 2", {"Model.fit() in steps.py"}),
    "a comment": ("steps", "    return x - 1", "    # One less.\n    return x - 1  # so", set()),
    "a docstring": ("steps", "Do it.", "Do it all.", set()),
    "moved lines": ("steps", "import helpers\n", "\n\n\nimport helpers\n\nUNUSED = 1\n", set()),
}


def test_twelve_edits_have_twelve_right_answers(tmp_path: Path, run_python: Any) -> None:
    def shown(number: int, project: Mapping[str, str]) -> Any:
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, source in project.items():
            (folder / f"{name}.py").write_text(source)
        return json.loads(run_python(SHOW, env={"PYTHONPATH": str(folder)}).stdout)

    before = shown(0, PROJECT)
    for number, (what, (module, old, new, expected)) in enumerate(TWELVE.items(), start=1):
        assert old in PROJECT[module]
        after = shown(number, PROJECT | {module: PROJECT[module].replace(old, new, 1)})
        assert differing(before["code"], after["code"]) == expected, what
        assert (before["result"] != after["result"]) is bool(expected), what


# -- whatever else Python has --------------------------------------------------------------------------------


class Edit(NamedTuple):
    """A program, an edit of it, and which hashes it changes; none if it does not change what the step returns.

    The program is ``steps``; further modules stand below lines such as ``# helpers``.
    """

    program: str
    old: str
    new: str
    changed: set[str]


def both(program: str, old: str, new: str, *changed: str) -> Edit:
    assert old in program
    return Edit(textwrap.dedent(program), old, new, set(changed))


def modules(program: str) -> dict[str, str]:
    found = {"steps": ""}
    name = "steps"
    for line in program.splitlines(keepends=True):
        if line.startswith("# module "):
            name = line.removeprefix("# module ").strip()
            found[name] = ""
        else:
            found[name] += line
    return found


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


WRAPS = """
import functools

def times(by):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(x):
            return function(x) * by
        return wrapper
    return decorate

@times(2)
@times(by=3)
def helper(x):
    return x + 1

def step(x):
    return helper(x)
"""
DECORATOR_CLASS = """
import functools

class Scaled:
    def __init__(self, function, by=2):
        functools.update_wrapper(self, function)
        self.function = function
        self.by = by
    def __call__(self, x):
        return self.function(x) * self.by

@Scaled
def helper(x):
    "Says so."
    return x + 1

def step(x):
    return helper(x)
"""
LIBRARY_DECORATORS = """
import contextlib
import functools

from toolz import curry

@functools.lru_cache(maxsize=None)
def cached(x):
    return x + 1

@contextlib.contextmanager
def around(x):
    yield x * 2

@curry
def add(x, y):
    return x + y

more = add(5)

def step(x):
    with around(x) as y:
        return cached(y) + more(x)
"""
PARTIALS = """
import functools
import operator

def power(x, by, plus=0):
    return x ** by + plus

square = functools.partial(power, by=2)
first = operator.itemgetter(0)

class Model:
    def value(self, x, by):
        return x * by
    double = functools.partialmethod(value, by=2)

def step(x):
    return square(x) + Model().double(x) + first([x, 2 * x])
"""
TABLES = """
def f(x):
    return x + 1

TABLE = {"f": f, "g": lambda x: x * 2, "h": lambda x: x * 3}
ORDER = [f, TABLE["h"]]
LOOKED_UP = {"a": 1, "b": 2}
find = LOOKED_UP.get

def step(x):
    for each in ORDER:
        x = each(x)
    for each in TABLE.values():
        x = each(x) - 3
    return x + find("b")
"""
SWAPPED = """
def make(by):
    return lambda x: x * by

one, other = make(2), make(3)

def step(x):
    return one(x) - other(x)
"""
CLASSES = """
import dataclasses
import enum
import functools
from abc import ABC, abstractmethod
from typing import Protocol

class Colour(enum.Enum):
    RED = 1
    BLUE = 2
    @property
    def weight(self):
        return self.value * 2

class Meta(type):
    @property
    def level(cls):
        return 3

class Base(ABC, metaclass=type("Both", (Meta, type(ABC)), {})):
    share = 0.5
    @abstractmethod
    def run(self, x): ...

class Fits(Protocol):
    def run(self, x): ...

def start():
    return [1]

@dataclasses.dataclass(order=True)
class Model(Base):
    rate: float = 2.0
    items: list = dataclasses.field(default_factory=start)

    def run(self, x):
        "Run it."
        return x * self.share * self.rate + sum(self.items) + self.table["a"](x)

    table = {"a": lambda x: x - 1}

    @classmethod
    def named(cls):
        return cls(rate=2.5)

    @functools.cached_property
    def cached(self):
        return 7

    def __len__(self):
        return 4

MODEL = Model()

def step(x: Fits, colour=Colour.BLUE):
    model = Model.named()
    assert isinstance(model, Base)
    total = model.run(x) + colour.weight + Model.level + model.cached + len(model) + MODEL.rate
    return total + (model > Model())
"""
DISPATCH = """
import functools

@functools.singledispatch
def size(x):
    return 0

@size.register
def _(x: int):
    return x + 1

@size.register(float)
def _of_float(x):
    return x + 2

class Sizes:
    @functools.singledispatchmethod
    def of(self, x):
        return 0
    @of.register
    def _(self, x: float):
        return x * 3

def step(x):
    return size(x) + size(1) + Sizes().of(x)
"""
IMPORTS = """
try:
    from fast import helper
except ImportError:
    from slow import helper
from everything import *
import tools.inner as inside
import tools

def step(x):
    from late import last
    return helper(x) + scale(x) + WEIGHT + inside.area(x) + tools.inner.SIDE + last(x)
# module slow
def helper(x):
    return x - 1
# module everything
WEIGHT = 3
def scale(x):
    return x * 2
def unused(x):
    return x
# module late
from later import LAST
def last(x):
    from tools.later import more
    return more(x) * LAST
# module later
"Says so."
LAST = 5
# module tools/__init__
# module tools/inner
SIDE = 3
OTHER = 4
def area(x):
    return x * x
# module tools/later
from . import deepest
def more(x):
    return x + deepest.DEPTH
# module tools/deepest
DEPTH = 9
"""
PACKAGE = """
import tools.inner

def step(x):
    import tools.late
    return tools.inner.area(x) + tools.late.LAST
# module tools/__init__
# module tools/inner
def area(x):
    return x * x
# module tools/late
LAST = 1
"""
PLAIN_FOLDERS = """
def step(x):
    from tools.inner.parts import last
    return last.last(x)
# module tools/__init__
# module tools/inner/__init__
# module tools/inner/parts/last
def last(x):
    return x * x
"""
COMPILED = """
import functools, numpy as np

def shift(x):
    return x + 1

def compare(a, b):
    return a - b

vector = np.frompyfunc(shift, 1, 1)
KEY = functools.cmp_to_key(compare)

def step(x):
    return vector(min(x, 100.0, key=KEY))
"""
ARRAYS = """
import numpy as np

class Signal(np.ndarray):
    gain = 2
    def louder(self):
        return float(self.sum()) * self.gain

SIGNAL = np.ones(3).view(Signal)
SIGNAL.rate = 5
MASKED = np.ma.array(np.arange(1000.0), mask=np.arange(1000) % 2 == 0)

def step(x):
    return x + SIGNAL.louder() + SIGNAL.rate + float(MASKED.sum())
"""
RECURSION = """
def even(n, x):
    return x if n == 0 else odd(n - 1, x + 1)

def odd(n, x):
    return -x if n == 0 else even(n - 1, x + 2)

def down(n):
    return 1 if n == 0 else n * down(n - 1)

def step(x):
    return even(5, x) + down(3)
"""
GENERATORS = """
import asyncio

def parts(x):
    yield x
    yield from rest(x)

def rest(x):
    yield x * 2

async def fetched(x):
    return x + 1

def step(x):
    kind = {"a": x}
    match kind:
        case {"a": 0}:
            return 0
        case {"a": y}:
            text = f"{sum(parts(y)):.3f}"
    return float(text) + asyncio.run(fetched(x)) + [each + 1 for each in rest(x)][0]
"""
INSTANCES = """
class Holder:
    def __init__(self, function, level):
        self.function = function
        self.level = level
    def __call__(self, x):
        return self.function(x) * self.level

def held(x):
    return x + 1

HOLDER = Holder(held, 2)
bound = HOLDER.__call__

def default(x, function=held, *, other=lambda x: x * 5):
    return function(x) + other(x)

def counted(x):
    return x * counted.factor

counted.factor = 3

def step(x):
    return HOLDER(x) + bound(x) + default(x) + counted(x)
"""
REFLECTION = """
import helpers

def named(x):
    return x + 1

def step(x):
    return getattr(helpers, "clean")(x) + globals()["named"](x)
# module helpers
RATE = 2
def clean(x):
    return x * RATE
"""
ANNOTATIONS = """
from __future__ import annotations

def step(x: helper) -> helper:
    y: helper = x
    return y

def helper(x):
    return x
"""
NESTED = """
def step(x):
    "Do it."
    class Inner:
        "An inner class."
        factor = 2
        def run(self, x):
            "Run it."
            return x * self.factor
    def inner(y):
        try:
            return Inner().run(y)
        except ValueError:
            return 0
    return inner(x)
"""

EDITS: dict[str, Edit] = {
    # Decorators
    "a decorated function": both(WRAPS, "x + 1", "x + 2", "helper() in steps.py"),
    "the wrapper": both(WRAPS, "function(x) * by", "function(x) / by", *(
        f"times.<locals>.decorate.<locals>.wrapper() in steps.py{number}" for number in ("", " (2)"))),
    "an argument of the outer decorator": both(
        WRAPS, "@times(2)", "@times(4)", "times.<locals>.decorate.<locals>.wrapper() in steps.py"),
    "an argument of the inner decorator": both(
        WRAPS, "by=3", "by=4", "times.<locals>.decorate.<locals>.wrapper() in steps.py (2)"),
    "a class that decorates": both(DECORATOR_CLASS, "* self.by", "/ self.by", "Scaled.__call__() in steps.py"),
    "what a class decorates": both(DECORATOR_CLASS, "x + 1", "x + 2", "helper() in steps.py"),
    "the docstring of what a class decorates": both(DECORATOR_CLASS, "Says so.", "Says another thing."),
    "what is cached": both(LIBRARY_DECORATORS, "x + 1", "x + 2", "cached() in steps.py"),
    "the size of a cache": both(LIBRARY_DECORATORS, "maxsize=None", "maxsize=10"),
    "a context manager": both(LIBRARY_DECORATORS, "yield x * 2", "yield x * 3", "around() in steps.py"),
    "a curried function": both(LIBRARY_DECORATORS, "x + y", "x - y", "add() in steps.py"),
    "what it was given": both(LIBRARY_DECORATORS, "add(5)", "add(6)", "more in steps.py"),
    # Callables that are objects
    "the function of a partial": both(PARTIALS, "+ plus", "- plus - 1", "power() in steps.py"),
    "an argument of a partial": both(PARTIALS, "power, by=2", "power, by=3", "square in steps.py"),
    "a partial method": both(PARTIALS, "value, by=2", "value, by=3", "class Model in steps.py"),
    "an itemgetter": both(PARTIALS, "itemgetter(0)", "itemgetter(1)", "first in steps.py"),
    "a function in a table": both(TABLES, "x + 1", "x + 2", "f() in steps.py"),
    "lambdas in a table": both(
        TABLES, '"g": lambda x: x * 2, "h": lambda x: x * 3', '"g": lambda x: x * 3, "h": lambda x: x * 2',
        "<lambda>() in steps.py", "<lambda>() in steps.py (2)"),
    "the order of a table": both(
        TABLES, '{"f": f, "g": lambda x: x * 2, ', '{"g": lambda x: x * 2, "f": f, ', "TABLE in steps.py"),
    "the order of a list": both(TABLES, '[f, TABLE["h"]]', '[TABLE["h"], f]', "ORDER in steps.py"),
    "what a bound method is bound to": both(TABLES, '"b": 2', '"b": 3', "find in steps.py"),
    "closures that change places": both(
        SWAPPED, "make(2), make(3)", "make(3), make(2)",
        "make.<locals>.<lambda>() in steps.py", "make.<locals>.<lambda>() in steps.py (2)"),
    "what an instance calls": both(
        INSTANCES, "held(x):\n    return x + 1", "held(x):\n    return x + 2", "held() in steps.py"),
    "an attribute of an instance": both(
        INSTANCES, "Holder(held, 2)", "Holder(held, 3)", "HOLDER in steps.py", "bound in steps.py"),
    "a default that is a lambda": both(INSTANCES, "x * 5", "x * 6", "<lambda>() in steps.py"),
    "an attribute of a function": both(INSTANCES, "factor = 3", "factor = 4", "counted() in steps.py"),
    # Classes
    "a member of an enumeration": both(CLASSES, "BLUE = 2", "BLUE = 3", "class Colour in steps.py"),
    "a property of an enumeration": both(CLASSES, "self.value * 2", "self.value * 3", "Colour.weight() in steps.py"),
    "a metaclass": both(CLASSES, "return 3", "return 5", "Meta.level() in steps.py"),
    "an attribute of a base": both(CLASSES, "share = 0.5", "share = 0.25", "class Base in steps.py"),
    "a default of a field": both(
        CLASSES, "rate: float = 2.0", "rate: float = 4.0",
        "class Model in steps.py", "Model.__init__() in steps.py", "MODEL in steps.py"),
    "a factory of a field": both(CLASSES, "return [1]", "return [2]", "start() in steps.py", "MODEL in steps.py"),
    "a method of a dataclass": both(CLASSES, "x * self.share", "x / self.share", "Model.run() in steps.py"),
    "a lambda in a class": both(CLASSES, "x - 1", "x - 2", "Model.<lambda>() in steps.py"),
    "a class method": both(CLASSES, "cls(rate=2.5)", "cls(rate=3.5)", "Model.named() in steps.py"),
    "a cached property": both(CLASSES, "return 7", "return 8", "Model.cached() in steps.py"),
    "a special method": both(CLASSES, "return 4", "return 5", "Model.__len__() in steps.py"),
    "a docstring in a class": both(CLASSES, "Run it.", "Run that."),
    "the order in a class": both(
        CLASSES, "    rate: float = 2.0\n    items: list = dataclasses.field(default_factory=start)\n\n    def run",
        "    cached = functools.cached_property(lambda self: 7)\n    rate: float = 2.0\n"
        "    items: list = dataclasses.field(default_factory=start)\n\n    def run"),
    "a protocol in an annotation": both(CLASSES, "class Fits(Protocol):\n", "class Fits(Protocol):\n    also: int\n"),
    "a registered function": both(DISPATCH, "x + 2", "x + 3", "_of_float() in steps.py"),
    "a registered function by annotation": both(DISPATCH, "x + 1", "x + 3", "_() in steps.py"),
    "a registered method": both(DISPATCH, "x * 3", "x * 4", "Sizes._() in steps.py"),
    "what is registered": both(DISPATCH, "register(float)", "register(str)", "size in steps.py"),
    # Arrays
    "a class derived from that of arrays": both(ARRAYS, "gain = 2", "gain = 3", "class Signal in steps.py"),
    "an attribute of an array": both(ARRAYS, "rate = 5", "rate = 6", "SIGNAL in steps.py"),
    "elements of such an array": both(ARRAYS, "np.ones(3)", "np.ones(4)", "SIGNAL in steps.py"),
    "a mask": both(ARRAYS, "% 2", "% 3", "MASKED in steps.py"),
    # Compiled objects
    "what a ufunc calls": both(COMPILED, "x + 1", "x + 2", "shift() in steps.py"),
    "what an order is made of": both(COMPILED, "a - b", "b - a", "compare() in steps.py"),
    # Modules
    "what an import falls back on": both(IMPORTS, "x - 1", "x - 2", "helper() in slow.py"),
    "a function that a star imports": both(IMPORTS, "x * 2", "x * 3", "scale() in everything.py"),
    "a constant that a star imports": both(IMPORTS, "WEIGHT = 3", "WEIGHT = 4", "WEIGHT in steps.py"),
    "what no one uses of a star": both(IMPORTS, "unused(x):\n    return x", "unused(x):\n    return -x"),
    "a function of a module of a package": both(IMPORTS, "x * x", "x + x + x", "area() in inner.py"),
    "a constant by its full name": both(IMPORTS, "SIDE = 3", "SIDE = 4", "SIDE in inner.py"),
    "another constant there": both(IMPORTS, "OTHER = 4", "OTHER = 5"),
    "a module that is imported late": both(IMPORTS, "more(x) * LAST", "more(x) / LAST", "late.py"),
    "what that one imports": both(IMPORTS, "LAST = 5", "LAST = 6", "later.py"),
    "the docstring of what that one imports": both(IMPORTS, "Says so.", "Says that."),
    "a relative import of what is imported late": both(IMPORTS, "DEPTH = 9", "DEPTH = 8", "deepest.py"),
    "what a late import makes reachable": both(PACKAGE, "x * x", "x + x + x", "inner.py"),
    "a module in a folder without __init__.py": both(PLAIN_FOLDERS, "x * x", "x + x + x", "last.py"),
    "a module that appears": both(
        IMPORTS, "# module slow", "# module fast\ndef helper(x):\n    return x\n# module slow",
        "helper() in slow.py", "helper() in fast.py", "step() in steps.py"),
    "what is found by name": both(REFLECTION, "x * RATE", "x / RATE", "clean() in helpers.py"),
    "what that names": both(REFLECTION, "RATE = 2", "RATE = 3", "RATE in helpers.py"),
    "what is found among the globals": both(REFLECTION, "x + 1", "x + 2", "named() in steps.py"),
    # Functions
    "one of two that call each other": both(RECURSION, "x + 2", "x + 3", "odd() in steps.py"),
    "the other": both(RECURSION, "x + 1", "x + 3", "even() in steps.py"),
    "one that calls itself": both(RECURSION, "n * down", "n + down", "down() in steps.py"),
    "what a generator yields from": both(GENERATORS, "yield x * 2", "yield x * 3", "rest() in steps.py"),
    "an async function": both(GENERATORS, "return x + 1", "return x + 2", "fetched() in steps.py"),
    "a format": both(GENERATORS, ":.3f", ":.0f", "step() in steps.py"),
    "a case": both(GENERATORS, '{"a": 0}', '{"a": 3.25}', "step() in steps.py"),
    "what only annotations name": both(ANNOTATIONS, "helper(x):\n    return x", "helper(x):\n    return -x"),
    "annotations": both(ANNOTATIONS, "x: helper) -> helper", "x: int) -> float"),
    "a class in a function": both(NESTED, "factor = 2", "factor = 3", "step() in steps.py"),
    "docstrings in a function": both(NESTED, '        "An inner class."\n', ""),
    "another docstring in a function": both(NESTED, '            "Run it."\n', ""),
    "its own docstring": both(NESTED, '    "Do it."\n', ""),
    "moved lines of a class in a function": both(NESTED, "    class Inner:", "\n\n    # Moved.\n    class Inner:"),
    "what is tried": both(
        NESTED, "        try:\n            return Inner().run(y)\n        except ValueError:\n            return 0",
        "        return Inner().run(y) + 1", "step() in steps.py"),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_changes_the_hash_of_what_was_edited_if_it_changes_the_result(load: Load, edit: Edit) -> None:
    before = load(modules(edit.program))
    found, result = code_of(before.step), before.step(3.25)
    after = load(modules(edit.program.replace(edit.old, edit.new, 1)))
    assert differing(found, code_of(after.step)) == edit.changed
    assert (after.step(3.25) != result) is bool(edit.changed)
