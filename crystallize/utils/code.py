"""The user's own code that things reach: a hash of each part, by its name.

A function is followed to the functions, classes and values that it names, through the modules of the user's project and
not into what is installed: a library counts by the name of what is used of it, and by its version elsewhere.

What counts is what Python compiled, not the text: a comment, a docstring, the layout and the place in the file change
nothing, an edit of the file after it was imported is not taken for what ran, and a notebook's cell is code like any
other. The hashes are the same in every process and on every machine; another minor version of Python compiles
other code, so whoever compares hashes compares that version first.

Parts refer to each other by name. Where several have one name, as lambdas do, they are told apart by what they are
made of and reach, and numbered in the order in which they are met: two walks with equal hashes have met equal code.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple

from crystallize.utils.bytecode import read_compiled
from crystallize.utils.fingerprint import fingerprint, is_array, is_derived_array
from crystallize.utils.own_code import (
    code_in,
    file_name,
    imports_of,
    is_own_class,
    is_own_file,
    is_own_module,
    loaded_otherwise,
    short_name,
)
from crystallize.utils.parts import closure_of, reduced
from crystallize.utils.shared_generators import is_own_generator, shared_generator
from crystallize.utils.sharing import SCALARS

_LEAVES = SCALARS | {complex, bytes, bytearray, memoryview}
_LRU_CACHE = type(functools.lru_cache(int))
_SLOTS = (MemberDescriptorType, GetSetDescriptorType)
_WRAPPER = frozenset(functools.WRAPPER_ASSIGNMENTS)  # what a decorator copies for the reader's sake
_READS_ITS_MODULE = frozenset({"globals", "eval", "exec"})
_NO_ATTRIBUTES = frozenset(
    {
        *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__firstlineno__"),
        *("__static_attributes__", "__orig_bases__", "__parameters__", "__abstractmethods__", "_abc_impl"),
        # Made when they are first needed, of what else is in the class; some hold the identity of an object.
        "__slotnames__",
        *("__protocol_attrs__", "__non_callable_proto_members__", "__signature__"),
        *("__pydantic_core_schema__", "__pydantic_validator__", "__pydantic_serializer__"),
    }
)


_IDENTITIES = frozenset({"cls_ref"})  # attributes of pydantic's objects that differ in every process


class ReachedCode(NamedTuple):
    """What things reach.

    Attributes
    ----------
    parts : dict of str to str
        Hashes of the user's own code: see :func:`code_of`.
    libraries : frozenset of str
        The modules of others that it uses, by their full names; without the standard library.
    generators : tuple of (str, object)
        The random generators that it holds, each with the name of the part that it is in; empty for one that is in
        `things`. Those that the whole process shares are not among them.
    """

    parts: dict[str, str]
    libraries: frozenset[str]
    generators: tuple[tuple[str, Any], ...]


def code_of(*things: Any, without_defaults_of: object = None) -> dict[str, str]:
    """Return a hash of each part of the user's own code that `things` reach, by name and file.

    Parameters
    ----------
    *things : object
        Functions, classes, or any objects and containers: their classes and what they hold are looked through.
    without_defaults_of : callable, optional
        The function among them whose own default values do not count.

    Returns
    -------
    dict of str to str
        Functions, classes, globals that are no code, and files that are imported inside of a function:
        ``{"fit() in steps.py": "9f2a…", "class Model in steps.py": "04c1…", "RATE in steps.py": "77b…"}``.
        A function's hash covers its compiled code, its defaults, the values that it closes over, and which things
        its names stand for; what those are made of has a hash of its own. A module that is imported inside of a
        function counts as a whole, with those that it imports.
    """
    return reached_code(*things, without_defaults_of=without_defaults_of).parts


def reached_code(*things: Any, without_defaults_of: object = None) -> ReachedCode:
    """Return the hashes that :func:`code_of` returns, and which libraries and generators the code uses."""
    walk = _Walk(without_defaults_of)
    return walk.through([thing for thing in things if type(thing) not in SCALARS])


def changes_of_code(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs between the hashes of two walks, a sentence each: ``"fit() in steps.py changed"``.

    What changed comes before what is new, and that before what is gone.
    """
    return [
        *(f"{name} changed" for name in now if name in before and now[name] != before[name]),
        *(f"{name} is new" for name in now if name not in before),
        *(f"{name} is gone" for name in before if name not in now),
    ]


def name_of_code(thing: Any) -> str:
    """Return module and qualified name of a function or class.

    The user's own are called the same in a script and where that is imported, from whichever folder.
    """
    module = _module_of(thing)
    return f"{short_name(module) if is_own_module(module) else module}.{thing.__qualname__}"


def _module_of(thing: Any) -> str:
    if isinstance(thing, FunctionType):
        return str(thing.__globals__.get("__name__", "__main__"))
    is_nameless = isinstance(thing, type) and thing.__module__ == "builtins" and is_own_class(thing)
    return "__main__" if is_nameless else str(thing.__module__)


# -- the walk ------------------------------------------------------------------------------------------------


class _Part:
    """A piece of the user's code that has a hash of its own."""

    def __init__(self, name: str, describe: Callable[[_Description], None]) -> None:
        self.name = name
        self.describe = describe
        self.digest = ""  # of what it is made of, with the names of the parts that it refers to
        self.refers_to: list[_Part] = []


class _Walk:
    """Goes from things to the parts of the user's code that they reach."""

    def __init__(self, without_defaults_of: object) -> None:
        self._without_defaults_of = without_defaults_of
        self._parts: dict[object, _Part] = {}
        self._held: list[Any] = []  # so that no other object gets the identity of one that was met
        self._waiting: list[_Part] = []
        self.libraries: set[str] = set()
        self.generators: list[tuple[str, Any]] = []

    def through(self, things: list[Any]) -> ReachedCode:
        start = _Description(self, for_parts_only=True)
        for thing in things:
            start.add_value(thing)
        while self._waiting:
            part = self._waiting.pop()
            description = _Description(self, part.name)
            part.describe(description)
            part.digest, part.refers_to = description.digest(), description.refers_to
        parts = _hashes(start.refers_to, self._parts.values())
        return ReachedCode(parts, frozenset(self.libraries), tuple(self.generators))

    def hold(self, thing: Any) -> int:
        """Return the identity of an object, which is its own until the walk is over."""
        self._held.append(thing)
        return id(thing)

    def use(self, library: str) -> None:
        """Note that a library's module is used."""
        if library.partition(".")[0] not in sys.stdlib_module_names:
            self.libraries.add(library)

    # What is a part

    def function(self, function: FunctionType) -> _Part:
        # A decorator's wrapper has taken over the name of what it wraps; what a library generates has no other name.
        code = function.__code__
        name = function.__qualname__ if code.co_filename == "<string>" else code.co_qualname
        label = f"{name}() in {file_name(_module_of(function))}"
        return self._part(self.hold(function), label, functools.partial(self._describe_function, function))

    def kind(self, kind: type) -> _Part:
        label = f"class {kind.__qualname__} in {file_name(_module_of(kind))}"
        return self._part(self.hold(kind), label, functools.partial(_describe_class, kind))

    def variable(self, scope: dict[str, Any], name: str, module: str) -> _Part:
        def describe(description: _Description) -> None:
            description.add_value(scope[name])

        return self._part((self.hold(scope), name), f"{name} in {file_name(module)}", describe)

    def module(self, module: ModuleType) -> _Part:
        def describe(description: _Description) -> None:
            self._add_members(description, vars(module), module.__name__)

        return self._part(self.hold(module), file_name(module.__name__), describe)

    def file(self, module: str, file: str) -> _Part:
        def describe(description: _Description) -> None:
            code = code_in(file)
            if code is not None:
                compiled = read_compiled(code)
                description.add("file", compiled.digest)
                is_package = file.endswith("__init__.py")
                self._add_imports(
                    description, compiled.imports, module if is_package else module.rpartition(".")[0]
                )

        return self._part(file, file_name(module), describe)

    def _part(self, key: object, name: str, describe: Callable[[_Description], None]) -> _Part:
        if key not in self._parts:
            self._parts[key] = _Part(name, describe)
            self._waiting.append(self._parts[key])
        return self._parts[key]

    # What they are made of

    def _describe_function(self, function: FunctionType, description: _Description) -> None:
        compiled = read_compiled(function.__code__)
        description.add("function", compiled.digest)
        scope = function.__globals__
        for names in compiled.names:
            if names[0] in scope:
                self._add_global(description, scope, _module_of(function), names)
            elif names[0] in _READS_ITS_MODULE:
                self._add_members(description, scope, _module_of(function))
        for name, value in closure_of(function).items():
            description.add("closure", name)
            description.add_value(value)
        if function is not self._without_defaults_of:
            for defaults in (function.__defaults__, function.__kwdefaults__):
                if defaults:
                    description.add("defaults")
                    description.add_value(defaults)
        if function.__dict__:
            description.add_value(_without(function.__dict__, _WRAPPER))
        self._add_imports(description, compiled.imports, scope.get("__package__"))

    def _add_global(
        self, description: _Description, scope: dict[str, Any], module: str, names: tuple[str, ...]
    ) -> None:
        """Add what a global stands for, or what is taken of the module that it stands for."""
        name, *attributes = names
        description.add("global", *names)
        value = scope[name]
        while isinstance(value, ModuleType):
            scope, module = vars(value), value.__name__
            is_own = is_own_module(module)
            description.add("of", file_name(module) if is_own else module)
            if not attributes:
                description.add_value(value)
                return
            name, *attributes = attributes
            if name not in scope and "__getattr__" in scope:
                name = "__getattr__"
            value = scope.get(name)
            if not is_own:
                self.use(module)
                if not isinstance(value, FunctionType | ModuleType):  # the user may have put a function there
                    return
        if _is_known_by_name(value):
            description.add_value(value)
        elif name in scope:
            description.refer_to(self.variable(scope, name, module))

    def _add_members(self, description: _Description, scope: dict[str, Any], module: str) -> None:
        """Add all that a module defines."""
        for name in sorted(scope):
            if not name.startswith("__"):
                self._add_global(description, scope, module, (name,))

    def add_module(self, description: _Description, module: ModuleType) -> None:
        """Add a module that is used as a value: whatever is in it may be taken of it."""
        name = module.__name__
        description.add("module", name if not is_own_module(name) else file_name(name))
        if is_own_module(name):
            description.refer_to(self.module(module))
        else:
            self.use(name)

    def _add_imports(
        self, description: _Description, imports: Iterable[tuple[str, tuple[str, ...]]], package: str | None
    ) -> None:
        """Add the modules of the user's that are imported when a function is called, as that would give them."""
        for name, members in imports:
            for module, file in imports_of(name, members, package):
                if file is None:
                    self.use(module)
                elif (loaded := loaded_otherwise(module, file)) is not None:
                    description.refer_to(self.module(loaded))
                else:
                    description.refer_to(self.file(module, file))


class _Description:
    """What a part is made of, as one hash, and the parts that it refers to, in order.

    Parameters
    ----------
    walk : _Walk
        Where parts are noted.
    name : str, optional
        The part's name.
    for_parts_only : bool, optional
        Whether values are looked through for parts, and do not count themselves.
    """

    def __init__(self, walk: _Walk, name: str = "", for_parts_only: bool = False) -> None:
        self._walk = walk
        self._name = name
        self._for_parts_only = for_parts_only
        self._hash = hashlib.blake2b(digest_size=16)
        self._numbers: dict[int, int] = {}  # by identity: the objects that were added, in order
        self.refers_to: list[_Part] = []

    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, *words: str) -> None:
        if self._for_parts_only:  # nobody asks for its digest
            return
        for word in words:
            content = word.encode("utf-8", "surrogatepass")
            self._hash.update(b"%d:%b" % (len(content), content))

    def refer_to(self, part: _Part) -> None:
        self.add("part", part.name)
        self.refers_to.append(part)

    def add_value(self, value: Any) -> None:
        """Add what a value is made of; an object that was added before counts as that one."""
        waiting = [value]
        while waiting:
            each = waiting.pop()
            if _is_leaf(each):
                if type(each) not in _LEAVES:
                    self._walk.use(type(each).__module__)
                if not self._for_parts_only:
                    self.add("value", fingerprint(each))
            elif id(each) in self._numbers:
                self.add("again", str(self._numbers[id(each)]))
            elif not self._add_code(each):
                self._numbers[self._walk.hold(each)] = len(self._numbers)
                parts = self._taken_apart(each)
                self.add("parts", str(len(parts)))
                waiting += reversed(parts)

    def _add_code(self, value: Any) -> bool:
        """Add a class, function or module by its name, if `value` is one."""
        kind = type(value)
        if kind is FunctionType and is_own_file(value.__code__.co_filename):
            self.refer_to(self._walk.function(value))
        elif issubclass(kind, type):
            if is_own_class(value):
                self.refer_to(self._walk.kind(value))
            else:
                self._add_library(value)
        elif issubclass(kind, ModuleType):
            self._walk.add_module(self, value)
        else:
            return False
        return True

    def _add_library(self, thing: Any) -> None:
        module = str(getattr(thing, "__module__", None) or "builtins")
        self._walk.use(module)
        self.add("name", module, getattr(thing, "__qualname__", type(thing).__qualname__))

    def _taken_apart(self, value: Any) -> list[Any]:
        """Add the kind of an object, and return what it is made of."""
        kind = type(value)
        self.add(kind.__qualname__)
        if kind is list or kind is tuple:
            return list(value)
        if kind is dict or kind is MappingProxyType or kind is OrderedDict:
            return [part for pair in value.items() for part in pair]
        if kind is set or kind is frozenset:
            return sorted(value, key=_order_in_set)
        if kind is FunctionType:
            return self._library_function(value)
        if kind is BuiltinFunctionType:
            self._add_library(value)
            owner = value.__self__
            return [] if owner is None or isinstance(owner, ModuleType) else [owner]
        if kind is CodeType:
            self.add(read_compiled(value).digest)
            return []
        if isinstance(value, enum.Enum):
            return [kind, value.name, None if value.name in kind.__members__ else value.value]
        if is_own_generator(value):
            self._walk.generators.append((self._name, value))
        return _parts_of(value)

    def _library_function(self, function: FunctionType) -> list[Any]:
        """Add a function of a library by its name; and if it was made by a call, return what it closes over."""
        module, name = _module_of(function), function.__code__.co_qualname
        self._walk.use(module)
        self.add(module, name)
        registry = function.__dict__.get("registry")
        if registry is not None and name.startswith("singledispatch."):
            return [registry]  # what it has looked up is no part of it
        if _is_known_by_name(function):
            return []
        return [
            *closure_of(function).values(),
            function.__defaults__,
            _without(function.__kwdefaults__ or {}, ()),
            _without(function.__dict__, _WRAPPER),
        ]


def _hashes(start: list[_Part], parts: Iterable[_Part]) -> dict[str, str]:
    """Return the final hash of each part, by a name that no other has."""
    alike = _classes_of_equals(list(parts))
    names: dict[str, str] = {}  # by class
    taken: dict[str, int] = {}
    first: dict[str, _Part] = {}
    waiting = list(reversed(start))
    while waiting:
        part = waiting.pop()
        if alike[part] not in names:
            taken[part.name] = taken.get(part.name, 0) + 1
            number = taken[part.name]
            names[alike[part]] = part.name if number == 1 else f"{part.name} ({number})"
            first[alike[part]] = part
            waiting += reversed(part.refers_to)
    return {
        names[which]: _joined([part.digest, *(names[alike[each]] for each in part.refers_to)])
        for which, part in sorted(first.items(), key=lambda item: names[item[0]])
    }


def _classes_of_equals(parts: list[_Part]) -> dict[_Part, str]:
    """Return for each part a text that is equal for parts that are made of the same and reach the same.

    Parts are told apart by their own content, then by that of those that they refer to, and so on, until that tells
    no more of them apart. It is how automata are minimised (E. F. Moore, 1956).
    """
    found = {part: _joined([part.name, part.digest]) for part in parts}
    while len(set(found.values())) < len(parts):
        finer = {part: _joined([found[part], *(found[each] for each in part.refers_to)]) for part in parts}
        if len(set(finer.values())) == len(set(found.values())):
            break
        found = finer
    return found


def _joined(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


# -- values --------------------------------------------------------------------------------------------------


def _is_leaf(value: Any) -> bool:
    """Tell whether a value counts by its content alone: no code is in it, and nothing that could hold code."""
    kind = type(value)
    if kind in _LEAVES:
        return True
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return all(type(each) in _LEAVES for each in value)
    return is_array(value)


def _order_in_set(item: Any) -> str:
    """Return what to sort the items of a set by, whose order differs from process to process."""
    if _is_leaf(item):
        return fingerprint(item)
    kind = type(item)
    if isinstance(item, FunctionType | type):
        return name_of_code(item)
    if isinstance(item, enum.Enum):
        return f"{kind.__qualname__}.{item.name}"
    if kind is tuple or kind is frozenset:
        inner = [_order_in_set(each) for each in item]
        return _joined(inner if kind is tuple else sorted(inner))
    plain = [fingerprint(leaf) for part in _parts_of(item) for leaf in _leaves_in(part)]
    return _joined([kind.__qualname__, *plain])


def _leaves_in(part: Any) -> Iterator[Any]:
    """Yield the leaves that one part of an object is or holds at once."""
    if _is_leaf(part):
        yield part
    elif type(part) is tuple or type(part) is list:
        yield from filter(_is_leaf, part)
    elif type(part) is dict:
        yield from filter(_is_leaf, part.values())


def _parts_of(value: Any) -> list[Any]:
    """Return what an object is made of: its class, and what is known to be in it."""
    kind = type(value)
    if kind is MethodType:
        return [value.__func__, value.__self__]
    if kind is _LRU_CACHE:  # what it has cached is no part of it
        return [value.__wrapped__]
    if isinstance(value, property):
        return [kind, value.fget, value.fset, value.fdel]
    if isinstance(value, staticmethod | classmethod):
        return [kind, value.__func__]
    return [kind, *_state_of(value)]


def _state_of(value: Any) -> list[Any]:
    """Return what pickle would store of an object, and the function that it has taken the place of, if any."""
    kind, wrapped = type(value), _wrapped_by(value)
    if wrapped and hasattr(value, "py_func") and not is_own_class(kind):
        # Numba's: what it pickles has a random identity.
        return [*wrapped, getattr(value, "targetoptions", None)]
    try:
        identity = getattr(value, "__crystallize_fingerprint__", None)
        if identity is not None:
            return [identity()]
        if (shared := shared_generator(value)) is not None:
            return [shared]
        if is_derived_array(kind):  # of which pickle leaves out the attributes
            return [value.view(sys.modules["numpy"].ndarray), getattr(value, "__dict__", None)]
        found = reduced(value)
    except Exception:  # whatever a foreign object raises: its class is all that is known of it
        return wrapped
    if isinstance(found.function, str):  # the name that pickle finds it by
        wrapped = wrapped or [found.state]
        return [found.function, *wrapped, _without(getattr(value, "__dict__", None), _WRAPPER)]
    hidden = {
        *(_WRAPPER if wrapped else ()),
        *_cached_properties(kind),  # type: ignore[arg-type]
        *(() if is_own_class(kind) else _IDENTITIES),
    }
    state = found.state if isinstance(found.state, tuple) else (found.state,)
    layers = [_without(each, hidden) for each in state]
    return [found.function, found.arguments, *layers, found.items, found.pairs, *wrapped]


def _wrapped_by(value: Any) -> list[Any]:
    """Return what a decorator's object calls, if it shows it: pickle may know the object by its name alone."""
    own = getattr(value, "__dict__", None)
    if type(own) is dict and "__wrapped__" in own:
        return [own["__wrapped__"]]
    if not callable(value):
        return []
    found = []
    for name in ("__wrapped__", "func", "_self_wrapper"):  # wrapt has the last
        with contextlib.suppress(Exception):  # a foreign object may raise anything
            found.append(getattr(value, name))
    return [each for each in found if type(each) is FunctionType]


@functools.lru_cache(maxsize=256)
def _cached_properties(kind: type[Any]) -> frozenset[str]:
    return frozenset(
        name
        for each in kind.__mro__
        for name, value in vars(each).items()
        if isinstance(value, functools.cached_property)
    )


def _without(state: Any, hidden: Iterable[str]) -> Any:
    """Return the attributes of an object by name, without those that are hidden; other state as it is."""
    if type(state) is not dict or not all(type(name) is str for name in state):
        return state
    return {name: state[name] for name in sorted(state.keys() - set(hidden))}


def _is_known_by_name(value: Any) -> bool:
    """Tell whether code is all that a value is, so that it needs no hash besides that of the code.

    Not so a function that a library's decorator made in a module of the user's.
    """
    if isinstance(value, BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, ModuleType)
    if type(value) is not FunctionType or is_own_file(value.__code__.co_filename):
        return isinstance(value, FunctionType | type | _LRU_CACHE)
    if "<locals>" not in value.__code__.co_qualname:
        return True
    if is_own_module(str(value.__module__)):
        return False
    try:
        found = attrgetter(value.__qualname__)(sys.modules[str(value.__module__)])
    except (KeyError, AttributeError):
        return False
    return found is value


# -- classes -------------------------------------------------------------------------------------------------


def _describe_class(kind: type, description: _Description) -> None:
    description.add("class")
    description.add_value([type(kind), *kind.__bases__])
    members: Mapping[str, Any] = kind.__members__ if isinstance(kind, enum.EnumMeta) else {}
    if isinstance(kind, enum.EnumMeta):
        description.add_value({name: member.value for name, member in members.items()})
    for name, value in sorted(vars(kind).items()):
        if name in _NO_ATTRIBUTES or name in members or isinstance(value, _SLOTS):
            continue
        is_private_to_enum = isinstance(kind, enum.EnumMeta) and name.startswith("_") and name.endswith("_")
        if not is_private_to_enum or isinstance(value, FunctionType | staticmethod | classmethod):
            description.add("attribute", name)
            description.add_value(value)
