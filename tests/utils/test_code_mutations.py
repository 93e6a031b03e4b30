"""A thousand random edits of random programs: no result changes unseen, and hardly a hash for nothing.

``make test`` makes some of them, ``make test-mutations`` all. A program is three modules of definitions that use
each other, and what an edit does is known by running the program before and after it.
"""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from crystallize.utils.code import code_of

COUNT = 1_000 if "CRYSTALLIZE_ALL_MUTATIONS" in os.environ else 60
INPUTS = (0, 1, 7, 123)

Load = Callable[[Mapping[str, str]], Any]


def test_no_edit_changes_the_result_unseen_and_hardly_one_changes_a_hash_for_nothing(load: Load) -> None:
    random = Random(20_261_129)
    made: Counter[str] = Counter()
    needless: Counter[str] = Counter()
    changed = 0
    for number in range(COUNT):
        program = random_program(random)
        is_semantic = number % 2 == 0
        what, edited = (semantic_edit if is_semantic else other_edit)(random, program)
        (code, results), (new_code, new_results) = (seen(load, each.sources()) for each in (program, edited))
        told = f"edit {number} ({what}) of {program}"
        assert results == new_results or code != new_code, f"stale: {told}"
        assert is_semantic or results == new_results, f"the edit changes the result: {told}"
        changed += results != new_results
        made[what] += not is_semantic
        needless[what] += not is_semantic and code != new_code
    print(made, needless)
    assert changed > COUNT / 3
    assert needless.total() <= max(2, 0.02 * made.total())


def seen(load: Load, sources: Mapping[str, str]) -> tuple[dict[str, str], list[int]]:
    step = load(sources).step
    return code_of(step), [step(each) for each in INPUTS]


# -- programs and edits ------------------------------------------------------------------------------------

MODULES = ("beta", "alpha", "steps")  # each may import those before it
KINDS = (
    "constant",
    "table",
    "function",
    "closure",
    "class",
    "enum",
    "dataclass",
    "partial",
    "decorated",
    "caller",
)
STYLES = (*("import", "as", "from", "star") * 5, "late")  # a module that is imported late counts as a whole


@dataclass(frozen=True)
class Definition:
    """Something that a module defines, with what can be edited about it."""

    kind: str
    name: str
    module: str
    numbers: tuple[int, ...]
    operator: str
    uses: tuple[str, ...] = ()
    docstring: str = ""
    comment: str = ""
    gap: int = 1
    annotation: str = "int"


@dataclass(frozen=True)
class Program:
    """Definitions in the order in which they are made, and how each module imports the others."""

    definitions: tuple[Definition, ...]
    styles: dict[tuple[str, str], str] = field(default_factory=dict)
    is_reprinted: bool = False

    def reached(self) -> set[str]:
        """Return the names of what the step uses, and of what that uses."""
        by_name = {each.name: each for each in self.definitions}
        found: set[str] = set()
        waiting = ["step"]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += by_name[name].uses
        return found

    def sources(self) -> dict[str, str]:
        """Return the text of each module."""
        return {module: self._source(module) for module in MODULES}

    def _source(self, module: str) -> str:
        lines = ['"""A module."""', "import dataclasses", "import enum", "import functools"]
        for other in MODULES[: MODULES.index(module)]:
            style = self.styles[module, other]
            lines += {
                "import": [f"import {other}"],
                "as": [f"import {other} as other_{other}"],
                "star": [f"from {other} import *"],
                "late": [],
                "from": [
                    f"from {other} import {each.name}" for each in self.definitions if each.module == other
                ],
            }[style]
        for each in self.definitions:
            if each.module == module:
                lines += ["", *self._lines(each), *([""] * each.gap)]
        text = "\n".join(lines) + "\n"
        return ast.unparse(ast.parse(text)) if self.is_reprinted else text

    def _lines(self, each: Definition) -> list[str]:
        a, b, c = each.numbers
        total = " + ".join([f"x {each.operator} {a}", *(self._use(each.module, name) for name in each.uses)])
        doc = [f'    """{each.docstring}"""'] if each.docstring else []
        comment = [f"    # {each.comment}"] if each.comment else []
        late = [
            f"    import {other}"
            for other in MODULES[: MODULES.index(each.module)]
            if self.styles[each.module, other] == "late"
            and any(self._module_of(name) == other for name in each.uses)
        ]
        value = f"({total}) % 1009"
        body = [*doc, *comment, *late, f"    return {value}"]
        inner = [f"    {line}" for line in body]
        return {
            "constant": [f"{each.name} = {a}" + (f"  # {each.comment}" if each.comment else "")],
            "table": [
                f"{each.name} = {{'a': lambda x: x {each.operator} {a}, 'b': lambda x: x + {b}, 'c': [{c}]}}"
            ],
            "function": [f"def {each.name}(x: {each.annotation}, by={b}) -> {each.annotation}:", *body, ""],
            "closure": [
                f"def make_{each.name}(by):",
                "    def inner(x):",
                *inner[:-1],
                f"        return {value} + by",
                "    return inner",
                f"{each.name} = make_{each.name}({b})",
            ],
            "class": [
                f"class {each.name}_base:",
                f"    level = {b}",
                f"class {each.name}({each.name}_base):",
                *doc,
                "    def __init__(self):",
                f"        self.more = {c}",
                "    def run(self, x):",
                *inner[:-1],
                f"        return {value} + self.level + self.more",
            ],
            "enum": [f"class {each.name}(enum.Enum):", *doc, f"    A = {a}", f"    B = {b}"],
            "dataclass": [
                "@dataclasses.dataclass",
                f"class {each.name}:",
                *doc,
                f"    level: int = {b}",
                "    @property",
                "    def twice(self):",
                f"        return self.level * {c}",
                "    def run(self, x):",
                *inner[:-1],
                f"        return {value} + self.twice",
            ],
            "partial": [
                f"def full_{each.name}(x, by):",
                *body[:-1],
                f"    return {value} + by",
                f"{each.name} = functools.partial(full_{each.name}, by={b})",
            ],
            "decorated": [
                f"def times_{each.name}(by):",
                "    def decorate(function):",
                "        @functools.wraps(function)",
                "        def wrapper(x):",
                f"            return function(x) * by + {c}",
                "        return wrapper",
                "    return decorate",
                f"@times_{each.name}({b})",
                f"def {each.name}(x):",
                *body,
            ],
            "caller": [
                f"def {each.name}(x, inner=lambda x: x + {b}):",
                *doc,
                *late,
                "    try:",
                *comment,
                f"        total = {value} + inner(x)",
                "    except ZeroDivisionError:",
                f"        total = {c}",
                f"    return sum([each * {c} for each in (total, x) if each != {a}])",
            ],
        }[each.kind]

    def _module_of(self, name: str) -> str:
        return next(each.module for each in self.definitions if each.name == name)

    def _use(self, module: str, name: str) -> str:
        used = next(each for each in self.definitions if each.name == name)
        style = "star" if used.module == module else self.styles[module, used.module]
        prefix = {"import": f"{used.module}.", "late": f"{used.module}.", "as": f"other_{used.module}."}.get(
            style, ""
        )
        full = prefix + name
        return {
            "constant": full,
            "table": f"{full}['a'](x) + {full}['b'](x) * 3 + {full}['c'][0]",
            "enum": f"{full}.A.value + {full}.B.value * 5",
            "class": f"{full}().run(x)",
            "dataclass": f"{full}().run(x)",
        }.get(used.kind, f"{full}(x)")


def random_program(random: Random) -> Program:
    """Return a program whose last definition is the function ``step``."""
    definitions: list[Definition] = []
    for module in MODULES:
        for _ in range(random.randint(2, 5)):
            definitions.append(
                _definition(random, random.choice(KINDS), f"{module}_{len(definitions)}", module, definitions)
            )
    definitions.append(_definition(random, "function", "step", "steps", definitions, most=5))
    styles = {
        (module, other): random.choice(STYLES)
        for module in MODULES
        for other in MODULES[: MODULES.index(module)]
    }
    return Program(tuple(definitions), styles)


def _definition(
    random: Random, kind: str, name: str, module: str, before: list[Definition], most: int = 3
) -> Definition:
    is_value = kind in ("constant", "table", "enum")
    uses = (
        ()
        if is_value
        else tuple(random.sample([each.name for each in before], min(len(before), random.randint(0, most))))
    )
    numbers = tuple(random.sample(range(2, 900), 3))
    return Definition(kind, name, module, numbers, random.choice("*+-"), uses, random.choice(["", "Say so."]))


def semantic_edit(random: Random, program: Program) -> tuple[str, Program]:
    """Return what was edited of something that the step reaches, most often so that the result changes."""
    reached = program.reached()
    at = random.choice([n for n, each in enumerate(program.definitions) if each.name in reached])
    old = program.definitions[at]
    what = random.choice(["number", "operator", "uses", "swap"])
    if what == "operator":
        return what, _with(
            program, at, operator=random.choice([each for each in "*+-" if each != old.operator])
        )
    if what == "uses" and old.uses:
        return what, _with(program, at, uses=old.uses[1:])
    if what == "swap":
        return what, _with(program, at, numbers=(old.numbers[1], old.numbers[0], old.numbers[2]))
    place = random.randrange(3)
    numbers = tuple(each + 1 if n == place else each for n, each in enumerate(old.numbers))
    return "number", _with(program, at, numbers=numbers)


def other_edit(random: Random, program: Program) -> tuple[str, Program]:
    """Return what was edited, with no effect on what the step computes."""
    at = random.randrange(len(program.definitions))
    old = program.definitions[at]
    what = random.choice(["comment", "docstring", "gap", "annotation", "unused", "rename", "order", "layout"])
    unused = [n for n, each in enumerate(program.definitions) if each.name not in program.reached()]
    if what in ("unused", "rename") and unused:
        at = random.choice(unused)
        old = program.definitions[at]
        used = {name for each in program.definitions for name in each.uses}
        if what == "rename" and old.name not in used:
            return what, _with(program, at, name=f"{old.name}_renamed")
        return "unused", _with(program, at, numbers=tuple(each + 1 for each in old.numbers))
    if what == "order":
        return what, _reordered(random, program)
    if what == "layout":
        return what, replace(program, is_reprinted=True)
    change: dict[str, Any] = {
        "comment": {"comment": f"Number {random.random()}."},
        "docstring": {"docstring": "" if old.docstring else "Say another thing."},
        "annotation": {"annotation": random.choice(["float", "str | None", "list[int]"])},
    }.get(what, {"gap": random.randint(2, 9)})
    return what, _with(program, at, **change)


def _with(program: Program, at: int, **change: Any) -> Program:
    definitions = list(program.definitions)
    definitions[at] = replace(definitions[at], **change)
    return replace(program, definitions=tuple(definitions))


def _reordered(random: Random, program: Program) -> Program:
    """Return the program with its definitions shuffled; none needs another before anything is called."""
    definitions = list(program.definitions)
    random.shuffle(definitions)
    return replace(program, definitions=tuple(definitions))
