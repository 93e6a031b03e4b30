"""Fill the reference pages from the docstrings while MkDocs builds the site.

A line ``::: crystallize.Experiment`` in a page becomes the documentation of that object;
``::: crystallize.Pipeline: run, arun`` that of a class with these of its members alone, where the others are for the
engine; ``::: crystallize.errors`` that of every public object which the module defines. Each gets its dotted path
as the anchor that ``names.py`` links to. The line ``::: table-of-hooks`` becomes a table of all lifecycle hooks. MkDocs
calls :func:`on_page_markdown` (its ``hooks:`` setting).
"""

from __future__ import annotations

import importlib
import inspect
import re
from abc import ABC
from itertools import takewhile
from types import ModuleType
from typing import Any, ForwardRef

DIRECTIVE = re.compile(r"^::: ([\w.]+)(?:: (.+))?$", re.MULTILINE)
TABLE_OF_HOOKS = re.compile(r"^::: table-of-hooks$", re.MULTILINE)
_LISTED = {"Parameters", "Attributes", "Returns", "Yields", "Raises", "Other Parameters"}
_LONGEST_SIGNATURE = 70  # what a page shows without a scroll bar


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each directive of a page. MkDocs calls this."""
    return DIRECTIVE.sub(lambda found: render(found[1], found[2]), with_table_of_hooks(markdown))


def with_table_of_hooks(markdown: str) -> str:
    """Replace the line ``::: table-of-hooks`` by the table, which is made of the specifications."""
    return TABLE_OF_HOOKS.sub(lambda _: _table_of_hooks(), markdown)


def _table_of_hooks() -> str:
    from crystallize.cli.plugins_details import hooks_of

    rows = ["| hook | runs in | what it is for |", "|---|---|---|"]
    for hook in hooks_of([]):
        called = " (`firstresult`)" if hook["firstresult"] else ""
        signature = f"{hook['name']}({', '.join(hook['arguments'])})"
        rows.append(f"| `{signature}` | {hook['runs_in']} | {to_markdown(hook['summary'])}{called} |")
    return "\n".join(rows)


def render(path: str, members: str | None = None) -> str:
    """Return the documentation of the object at `path` as Markdown, with all of its members or those that are named."""
    found = resolve(path)
    if isinstance(found, ModuleType):
        return "\n\n".join(_render_object(f"{path}.{name}", member) for name, member in public_members(found))
    return _render_object(path, found, members and members.split(", "))


def resolve(path: str) -> Any:
    """Return the module, or the member of a module, that a dotted path names."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        parent, _, name = path.rpartition(".")
        if not parent or error.name not in {path, parent}:
            raise
        return getattr(resolve(parent), name)


def public_members(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the public classes and functions that `module` itself defines, in the order of its source."""
    return [
        (name, member)
        for name, member in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(member) or inspect.isfunction(member))
        and member.__module__ == module.__name__
    ]


def _render_object(path: str, found: Any, wanted: list[str] | None = None) -> str:
    name = path.rpartition(".")[2]
    parts = [f"## {name} {{ #{path} }}"]
    if inspect.isclass(found):
        if not getattr(found, "_is_protocol", False):
            parts.append(_signature(name, found, is_class=True))
        bases = [base.__name__ for base in found.__bases__ if base not in {object, tuple, ABC}]
        if bases:
            parts.append("Base: " + ", ".join(f"`{base}`" for base in bases))
        parts.append(to_markdown(inspect.getdoc(found) or ""))
        own = dict(_own_members(found))
        members = [(each, own[each]) for each in wanted or own]
        parts.extend(_render_member(path, *member) for member in members if not _is_test(member[0]))
        parts.append(_list_of_tests([member for each, member in members if _is_test(each)]))
    elif callable(found):
        parts.append(_signature(name, found))
        parts.append(to_markdown(inspect.getdoc(found) or ""))
    return "\n\n".join(part for part in parts if part)


def _own_members(cls: type) -> list[tuple[str, Any]]:
    kinds = (staticmethod, classmethod, property)
    return [
        (name, member)
        for name, member in vars(cls).items()
        if (name == "__call__" or not name.startswith("_"))
        and (inspect.isfunction(member) or isinstance(member, kinds))
        and inspect.getdoc(getattr(cls, name))
    ]


def _is_test(name: str) -> bool:
    return name.startswith("test_")


def _list_of_tests(tests: list[Any]) -> str:
    """Return what the tests of a contract say, for they are inherited and not called."""
    lines = [f"* `{test.__name__}`: {to_markdown(inspect.getdoc(test) or '')}" for test in tests]
    return "\n".join(["**Tests**", "", *(line.replace("\n", "\n    ") for line in lines)]) if lines else ""


def _render_member(path: str, name: str, member: Any) -> str:
    owner = path.rpartition(".")[2]
    heading = f"### {owner}.{name}".replace("__", r"\_\_")  # which would be bold
    heading += f" {{ #{path}.{name.strip('_')} }}"
    if isinstance(member, property):
        return f"{heading}\n\nProperty. {to_markdown(inspect.getdoc(member) or '')}"
    function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
    doc = to_markdown(inspect.getdoc(function) or "")
    return f"{heading}\n\n{_signature(name, function, method=not isinstance(member, staticmethod))}\n\n{doc}"


def _signature(name: str, found: Any, *, is_class: bool = False, method: bool = False) -> str:
    try:
        signature = inspect.signature(found)
    except ValueError:
        return ""
    parameters = list(signature.parameters.values())[1 if method else 0 :]
    written = [_written(parameter) for parameter in parameters]
    for kind, marker in ((inspect.Parameter.KEYWORD_ONLY, "*"), (inspect.Parameter.POSITIONAL_ONLY, "/")):
        places = [place for place, parameter in enumerate(parameters) if parameter.kind is kind]
        if kind is inspect.Parameter.POSITIONAL_ONLY and places:
            written.insert(places[-1] + 1, marker)
        elif places and not any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
            written.insert(places[0], marker)
    returns = "" if is_class else _annotation(signature.return_annotation, " -> ")
    prefix = "async " if inspect.iscoroutinefunction(found) else ""
    line = f"{prefix}{name}({', '.join(written)}){returns}"
    if len(line) > _LONGEST_SIGNATURE:
        inner = "".join(f"    {part},\n" for part in written)
        line = f"{prefix}{name}(\n{inner}){returns}"
    return f"```python\n{line}\n```"


def _written(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(
        parameter.kind, ""
    )
    text = stars + parameter.name + _annotation(parameter.annotation, ": ")
    if parameter.default is inspect.Parameter.empty:
        return text
    equals = "=" if parameter.annotation is inspect.Parameter.empty else " = "
    return f"{text}{equals}{_written_default(parameter.default)}"


def _written_default(default: Any) -> str:
    if inspect.isclass(default):
        return default.__name__
    if type(default) is object or repr(default) == "<factory>":  # not given; or made anew, in a dataclass
        return "..."
    return re.sub(r" at 0x[0-9a-f]+", "", repr(default))


def _annotation(annotation: Any, prefix: str) -> str:
    if annotation in {inspect.Parameter.empty, inspect.Signature.empty}:
        return ""
    if isinstance(annotation, ForwardRef):  # of a field of a NamedTuple
        annotation = annotation.__forward_arg__
    return prefix + (annotation if isinstance(annotation, str) else inspect.formatannotation(annotation))


def to_markdown(doc: str) -> str:
    """Turn a docstring in NumPy style into Markdown."""
    doc = re.sub(r":(?:py:)?(?:class|func|meth|mod|data|attr|exc):`~?([^`]+)`", r"`\1`", doc).replace(
        "``", "`"
    )
    lines = doc.splitlines()
    out: list[str] = []
    section = ""
    place = 0
    while place < len(lines):
        line = lines[place]
        underline = lines[place + 1] if place + 1 < len(lines) else ""
        if line.strip() and re.fullmatch(r"-{3,}", underline):
            section = line.strip()
            if section != "Notes":
                out += [f"**{section}**", ""]
            place += 2
            continue
        if section in _LISTED and line and not line.startswith(" "):
            name, _, kind = line.partition(" : ")
            kind = re.sub(r"\{.*?\}", r"`\g<0>`", kind)  # which would be attributes of the line
            out += ["", f"`{name}`" + (f" : {kind}" if kind else ""), ""]
            body: list[str] = []
            place += 1
            while place < len(lines) and (not lines[place] or lines[place].startswith(" ")):
                body.append(lines[place])
                place += 1
            out += _definition(inspect.cleandoc("\n".join(body)))
            continue
        if line.startswith(">>>"):
            example = list(takewhile(str.strip, lines[place:]))
            out += ["```python", *example, "```"]
            place += len(example)
            continue
        out.append(line)
        place += 1
    return "\n".join(out).strip()


def _definition(text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [f":   {first}", *(f"    {line}" if line else "" for line in rest), ""]
