"""The user's own code that things reach: a hash of each part, by its name.

A function is followed to the functions, classes and values that it names, through the modules of the user's project and
not into what is installed: a library counts by the name of what is used of it, and by its version elsewhere.

What counts is what Python compiled, not the text: a comment, a docstring, the layout and the place in the file change
nothing, an edit of the file after it was imported is not taken for what ran, and a notebook's cell is code like any
other. The hashes are the same in every process and on every machine; another minor version of Python compiles
other code, so whoever compares hashes compares that version first.
"""

from __future__ import annotations

import contextlib
import dis
import enum
import hashlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from crystallize.utils.files import read_plain
from crystallize.utils.fingerprint import fingerprint, is_array, parts_of, safe_fingerprint
from crystallize.utils.sharing import SCALARS

_LARGEST_FILE = 1 << 26
_HAS_DOCSTRING = 0x4000000  # a flag of code objects since Python 3.13
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120
_INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
_CRYSTALLIZE = os.path.dirname(os.path.dirname(__file__)) + os.sep  # noqa: PTH120
_LEAVES = (str, bytes, bytearray, memoryview, BuiltinFunctionType, ModuleType)


def code_of(*things: Any, without_defaults_of: object = None) -> dict[str, str]:
    """Return a hash of each part of the user's own code that `things` reach, by module and name.

    Parameters
    ----------
    *things : object
        Functions, classes, or any objects and containers: their classes and what they hold are looked through.
    without_defaults_of : callable, optional
        The function among them whose own default values do not count.

    Returns
    -------
    dict of str to str
        Functions, methods, classes, and the globals that are no code: ``{"steps.fit": "9f2a…", "steps.RATE": "77b…"}``.
        A function's hash covers its compiled code, its defaults, the values that it closes over, and which things
        its names stand for; what those are made of has a hash of its own. A module that is imported inside of a
        function counts as a whole, with those that it imports.
    """
    waiting = [thing for thing in things if type(thing) not in SCALARS]
    return _Walk(without_defaults_of).through(waiting) if waiting else {}


def name_of_code(thing: Any) -> str:
    """Return module and qualified name of a function or class; a script is called the same when it is imported."""
    module = thing.__globals__.get("__name__") if isinstance(thing, FunctionType) else thing.__module__
    return f"{_short(str(module))}.{thing.__qualname__}"


class _Walk:
    """Goes from things to what they reach, and notes a hash of each part of the user's code."""

    def __init__(self, without_defaults_of: object) -> None:
        self._without_defaults_of = without_defaults_of
        self._found: dict[str, set[str]] = {}
        self._seen: dict[int, Any] = {}  # holds what was seen, so that no other object gets its identity
        self._looked_up: set[Any] = set()  # attributes of modules, and files
        self._waiting: list[Any] = []

    def through(self, things: list[Any]) -> dict[str, str]:
        self._waiting += things
        while self._waiting:
            thing = self._waiting.pop()
            if type(thing) not in SCALARS and id(thing) not in self._seen:
                self._seen[id(thing)] = thing
                self._look_at(thing)
        return {name: _merged(hashes) for name, hashes in sorted(self._found.items())}

    def _look_at(self, thing: Any) -> None:
        kind = type(thing)
        if kind is FunctionType:
            self._function(thing)
        elif kind is type or isinstance(thing, type):
            self._class(thing)
        elif kind is MethodType:
            self._waiting += (thing.__func__, thing.__self__)
        elif isinstance(thing, Mapping):
            self._waiting += thing.values()
        elif isinstance(thing, list | tuple | AbstractSet):
            self._waiting += thing
        elif not isinstance(thing, _LEAVES) and not is_array(thing):
            # `__wrapped__` is the function of a decorator's object, as of functools.lru_cache.
            self._waiting += (kind, getattr(thing, "__wrapped__", None), *parts_of(thing))

    def _function(self, function: FunctionType) -> None:
        code = function.__code__
        closure = _closure(function) if code.co_freevars else {}
        self._waiting += closure.values()
        if "__wrapped__" in function.__dict__:
            self._waiting.append(function.__dict__["__wrapped__"])
        if not _is_users(code.co_filename):  # a decorator of a library; what it decorates is in its closure
            return
        used = _names_in(code)
        module = function.__globals__
        label = _short(str(module.get("__name__")))
        stands_for = {
            name: self._global(label, name, module[name], used.attributes)
            for name in used.variables
            if name in module
        }
        parts = [_compiled(code), *(f"{name}={stands_for[name]}" for name in sorted(stands_for))]
        defaults = (function.__defaults__, function.__kwdefaults__)
        if any(defaults) and function is not self._without_defaults_of:
            self._waiting += defaults
            parts.append(safe_fingerprint(defaults))
        if closure:
            parts.append(safe_fingerprint(closure))
        # A decorator's wrapper has taken over the name of what it wraps; what a library generates has no other name.
        name = function.__qualname__ if code.co_filename == "<string>" else code.co_qualname
        self._note(f"{label}.{name}", *parts)
        for each in used.imports:
            self._import(*each, module.get("__package__"))

    def _class(self, kind: type) -> None:
        if not _is_users_module(kind.__module__):
            return
        self._waiting += kind.__bases__
        parts = [base.__qualname__ for base in kind.__bases__]
        if isinstance(kind, enum.EnumMeta):
            members: Mapping[str, Any] = kind.__members__
            parts.append(safe_fingerprint({name: member.value for name, member in members.items()}))
        for name, value in vars(kind).items():
            functions = _functions_of(value)
            if functions:
                self._waiting += functions
                parts += [f"{name}={name_of_code(function)}" for function in functions]
            elif not (name.startswith("__") or name == "_abc_impl" or isinstance(kind, enum.EnumMeta)):
                self._waiting.append(value)
                parts.append(f"{name}={safe_fingerprint(value)}")
        self._note(name_of_code(kind), *parts)

    def _global(self, label: str, name: str, value: Any, attributes: frozenset[str]) -> str:
        """Return what a global stands for: the name of code, or else nothing, and the value has a hash of its own."""
        if isinstance(value, FunctionType | type):
            self._waiting.append(value)
            return name_of_code(value)
        if isinstance(value, BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if not isinstance(value, ModuleType):
            self._waiting.append(value)
            self._note(f"{label}.{name}", safe_fingerprint(value))
            return ""
        if _is_users_module(value.__name__) and (value.__name__, attributes) not in self._looked_up:
            self._looked_up.add((value.__name__, attributes))
            members = vars(value)
            for attribute in attributes & members.keys():
                self._global(_short(value.__name__), attribute, members[attribute], attributes)
        return _short(value.__name__)

    def _import(self, name: str, members: tuple[str, ...], package: str | None) -> None:
        """Note the modules of the user's that a function imports when it is called, as they are on disk by now."""
        for module, file in _files_of(name, members, package):
            if file in self._looked_up:
                continue
            self._looked_up.add(file)
            code = _code_in(file)
            if code is not None:
                self._note(_short(module), _compiled(code))
                own_package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
                for each in _names_in(code).imports:
                    self._import(*each, own_package)

    def _note(self, name: str, *parts: str) -> None:
        self._found.setdefault(name, set()).add(_joined(parts))


class _Names(NamedTuple):
    """What the compiled code of a function, and of the functions in it, refers to by name."""

    variables: frozenset[str]
    attributes: frozenset[str]
    imports: frozenset[
        tuple[str, tuple[str, ...]]
    ]  # module, relative ones with their dots; and what is taken from it


@lru_cache(maxsize=1024)
def _names_in(code: CodeType) -> _Names:
    variables, attributes, imports = set[str](), set[str](), set[tuple[str, tuple[str, ...]]]()
    constants: list[Any] = [
        0,
        None,
    ]  # the last ones that were loaded: before an import, its level and its members
    for each in dis.get_instructions(code):
        if each.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
            variables.add(each.argval)
        elif each.opname == "IMPORT_NAME":
            level, members = constants[-2:]
            imports.add(("." * level + each.argval, members or ()))
        elif each.opname.startswith(("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")):
            attributes.add(each.argval)
        elif each.opname.startswith(("LOAD_CONST", "LOAD_SMALL_INT")):
            constants.append(each.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            names = _names_in(inner)
            variables |= names.variables
            attributes |= names.attributes
            imports |= names.imports
    return _Names(frozenset(variables), frozenset(attributes), frozenset(imports))


@lru_cache(maxsize=1024)
def _compiled(code: CodeType) -> str:
    """Return a hash of what Python compiled, without docstrings, names of files and numbers of lines."""
    constants = list(code.co_consts)
    if _has_docstring(code):
        constants[0] = None
    return fingerprint(
        (
            code.co_code,
            [_compiled(each) if isinstance(each, CodeType) else each for each in constants],
            (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
            code.co_exceptiontable,
        )
    )


def _has_docstring(code: CodeType) -> bool:
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & _HAS_DOCSTRING)
    # Until then a function's first constant was its docstring, or None. Lambdas and comprehensions have none.
    is_function = code.co_flags & inspect.CO_NEWLOCALS and not code.co_name.startswith("<")
    return bool(is_function and code.co_consts and isinstance(code.co_consts[0], str))


def _functions_of(attribute: Any) -> list[FunctionType]:
    """Return the functions that an attribute of a class consists of, if it is a method or a property."""
    if isinstance(attribute, property):
        parts = (attribute.fget, attribute.fset, attribute.fdel)
        return [part for part in parts if isinstance(part, FunctionType)]
    function = attribute.__func__ if isinstance(attribute, staticmethod | classmethod) else attribute
    return [function] if isinstance(function, FunctionType) else []


def _closure(function: FunctionType) -> dict[str, Any]:
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # nothing is in it yet
            values[name] = cell.cell_contents
    return values


def _merged(hashes: set[str]) -> str:
    """Return one hash for all that has one name."""
    return next(iter(hashes)) if len(hashes) == 1 else _joined(sorted(hashes))


def _joined(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


# -- whose code ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _is_users(file: str) -> bool:
    """Tell whether code of this file is the user's own, and not that of a library."""
    return not file.startswith(("<frozen ", _CRYSTALLIZE, _STANDARD_LIBRARY)) and not _INSTALLED.search(file)


def _is_users_module(name: str) -> bool:
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names:
        return False
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or getattr(sys.modules.get(root), "__file__", None)
    return file is None or _is_users(file)


def _short(module: str) -> str:
    """Return what to call a module: the last part of its name, a script's file without its suffix."""
    if module == "__main__":
        file = getattr(sys.modules.get(module), "__file__", None)
        return "__main__" if file is None else PurePath(file).stem
    return module.rpartition(".")[2]


def _files_of(name: str, members: tuple[str, ...], package: str | None) -> Iterator[tuple[str, str]]:
    """Yield name and file of each module of the user's that an import statement names; nothing is imported."""
    try:
        module = importlib.util.resolve_name(name, package)
        root, *inner = module.split(".")
        spec = None if root in sys.stdlib_module_names else importlib.util.find_spec(root)
    except (ImportError, ValueError):  # the statement would fail as well
        return
    if spec is not None and spec.origin is not None and not _is_users(spec.origin):
        return
    for part in inner:
        spec = _inside(spec, part)
    for each in (spec, *(_inside(spec, member) for member in members)):
        if each is not None and each.has_location and each.origin is not None and _is_users(each.origin):
            yield each.name, each.origin


def _inside(package: ModuleSpec | None, name: str) -> ModuleSpec | None:
    if package is None or package.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(f"{package.name}.{name}", package.submodule_search_locations)


def _code_in(file: str) -> CodeType | None:
    """Return what Python makes of a file; None if it is not there, or no Python."""
    try:
        content = read_plain(file, _LARGEST_FILE)
        return _compile(content)
    except (OSError, SyntaxError, ValueError):
        return None


@lru_cache(maxsize=64)
def _compile(content: bytes) -> CodeType:
    return compile(content, "", "exec", dont_inherit=True)


def libraries_of(*things):
    return {}
