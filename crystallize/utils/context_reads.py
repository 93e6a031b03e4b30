"""Which keys of the context a function reads, as far as its source tells."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable
from functools import lru_cache, partial
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeAlias

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_NO_ENTRIES = frozenset({"add", "artifacts", "logger", "metrics", "place", "record", "rng", "stream"})
"""What a context has besides its entries."""


def context_reads(fn: Callable[..., Any], parameter: str) -> frozenset[str] | None:
    """Return the keys that `fn` reads from the context that it is called with; None if that cannot be known.

    It is known where each mention of the context is ``ctx["key"]``, ``ctx.get("key")``, ``"key" in ctx``, something
    that is no entry (``ctx.rng``), or an argument of a function of which the same is true.

    Parameters
    ----------
    fn : callable
        A function, a method, or a ``functools.partial`` of one.
    parameter : str
        Name of the parameter that gets the context.
    """
    return _reads(fn, parameter, set())


def _reads(fn: Any, parameter: str, seen: set[tuple[CodeType, str]]) -> frozenset[str] | None:
    while isinstance(fn, partial | MethodType):
        fn = fn.func if isinstance(fn, partial) else fn.__func__
    if not isinstance(fn, FunctionType) or hasattr(fn, "__wrapped__"):  # a wrapper's own code tells nothing
        return None
    code = fn.__code__
    if parameter not in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        return None
    if (code, parameter) in seen:  # it calls itself
        return frozenset()
    seen.add((code, parameter))
    node = _definition(code)
    return None if node is None else _Reader(fn, node, parameter, seen).read()


class _Reader(ast.NodeVisitor):
    """Collects what the code of one function does with its context."""

    def __init__(
        self, fn: FunctionType, node: _Function, parameter: str, seen: set[tuple[CodeType, str]]
    ) -> None:
        self._node = node
        self._parameter = parameter
        self._seen = seen
        self._keys: set[str] = set()
        self._is_known = True
        code = fn.__code__
        self._local = {*code.co_varnames, *code.co_cellvars, *code.co_freevars} | _bound_inside(node)
        self._globals = fn.__globals__

    def _global(self, name: str) -> Any:
        """Return what a name stands for, if it is none of the function's own; else None."""
        return None if name in self._local else self._globals.get(name)

    def read(self) -> frozenset[str] | None:
        """Return the keys, or None if there may be others."""
        body = self._node.body
        for part in body if isinstance(body, list) else [body]:
            self.visit(part)
        return frozenset(self._keys) if self._is_known else None

    def visit_Name(self, node: ast.Name) -> None:
        """Meet the context in a place that is none of those below."""
        self._is_known = self._is_known and node.id != self._parameter

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Meet ``ctx.rng``."""
        if not (self._is_context(node.value) and node.attr in _NO_ENTRIES):
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Meet ``ctx["key"]``."""
        if not (self._is_context(node.value) and self._note(node.slice)):
            self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Meet ``"key" in ctx``."""
        is_test = len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn)
        if not (is_test and self._is_context(node.comparators[0]) and self._note(node.left)):
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Meet ``ctx.get("key")``, and ``helper(ctx)``."""
        called, arguments = node.func, list(node.args)
        is_get = isinstance(called, ast.Attribute) and called.attr == "get" and self._is_context(called.value)
        if is_get and arguments and self._note(arguments[0]):
            del arguments[0]
        else:
            self.visit(called)
        is_spread = any(isinstance(each, ast.Starred) for each in arguments)
        passed = [(None if is_spread else place, each) for place, each in enumerate(arguments)]
        for place, argument in [*passed, *((each.arg, each.value) for each in node.keywords)]:
            if self._is_context(argument):
                self._follow(called, place)
            else:
                self.visit(argument)

    def _follow(self, called: ast.expr, place: int | str | None) -> None:
        """Note what a function reads that is given the context as its argument number, or called, `place`."""
        helper = self._global(called.id) if isinstance(called, ast.Name) else None
        reads = None
        if isinstance(helper, FunctionType) and place is not None:
            names = helper.__code__.co_varnames[: helper.__code__.co_argcount]
            name = place if isinstance(place, str) else next(iter(names[place : place + 1]), "")
            reads = _reads(helper, name, self._seen)
        self._keys |= reads or frozenset()
        self._is_known = self._is_known and reads is not None

    def _is_context(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self._parameter

    def _note(self, node: ast.expr) -> bool:
        """Note the key that an expression stands for; tell whether it is a constant."""
        key = node.value if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.Name):
            key = self._global(node.id)
        if isinstance(key, str):
            self._keys.add(key)
        return isinstance(key, str)


@lru_cache(maxsize=256)
def _bound_inside(node: _Function) -> frozenset[str]:
    """Return the names that a definition binds; functions and comprehensions inside have names of their own."""
    arguments = (each.arg for each in ast.walk(node) if isinstance(each, ast.arg))
    stored = (
        each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    )
    return frozenset((*arguments, *stored))


def _definition(code: CodeType) -> _Function | None:
    """Return the definition that `code` was compiled from; None if it is not found, or not the only one there."""
    linecache.checkcache(code.co_filename)
    source = "".join(linecache.getlines(code.co_filename))
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    found = [
        node
        for node in _definitions(source).get((code.co_name, code.co_firstlineno), ())
        if tuple(each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs))
        == names
    ]
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=16)
def _definitions(source: str) -> dict[tuple[str, int], list[_Function]]:
    """Return the functions of a file by name and first line, which is that of the first decorator."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a notebook's cell with magics, say
        return {}
    found: dict[tuple[str, int], list[_Function]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            found.setdefault(("<lambda>", node.lineno), []).append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            line = min((each.lineno for each in node.decorator_list), default=node.lineno)
            found.setdefault((node.name, line), []).append(node)
    return found
