"""Objects as bytes: how they travel to worker processes, and why one of them cannot."""

from __future__ import annotations

import importlib.machinery
import pickle
import sys
from functools import cached_property, lru_cache, partial, singledispatch
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from crystallize.errors import SerializationError
from crystallize.utils.arrays import array_reducers
from crystallize.utils.factories import is_sent_by_value
from crystallize.utils.own_code import script_file, work_for_script
from crystallize.utils.parts import closure_of
from crystallize.utils.shared_generators import generator_reducers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROTOCOL = 5
_DEEPEST = 12
_LRU_CACHE = type(lru_cache(int))
_DISPATCHING: CodeType = getattr(singledispatch(int), "__code__")  # noqa: B009 - of the function that it makes


class Packed(NamedTuple):
    """A pickled object whose large buffers (arrays) are not copied, but referred to.

    It can be pickled itself, by any pickler, which copies them.

    Attributes
    ----------
    body : bytes
        The pickle.
    buffers : list of memoryview
        The contents that the pickle refers to, in order, as flat views of the original memory.
    """

    body: bytes
    buffers: list[memoryview]

    def __reduce__(self) -> tuple[Any, ...]:
        copies = [bytes(buffer) if buffer.readonly else bytearray(buffer) for buffer in self.buffers]
        return _with_buffers, (self.body, copies)


def _with_buffers(body: bytes, buffers: Sequence[bytes | bytearray]) -> Packed:
    return Packed(body, [memoryview(buffer) for buffer in buffers])


def pack(obj: Any) -> Packed:
    """Pickle `obj`, with functions and classes by value where a fresh process could not import them.

    That is: lambdas, closures, whatever is defined in ``__main__`` or a notebook, and modules that were
    loaded from a file under a name that ``sys.path`` does not lead to.

    Raises
    ------
    Exception
        Whatever pickling raises; :func:`why_not_picklable` tells which part is to blame.
    """
    import io

    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    pickler = _Pickler(file, buffers.append)
    try:
        pickler.dump((obj, _names_by_module))
    finally:
        pickler.unregister()
    return Packed(file.getvalue(), [buffer.raw() for buffer in buffers])


def unpack(body: bytes | memoryview, buffers: Sequence[bytes | memoryview] = ()) -> Any:
    """Return the object that :func:`pack` packed.

    Its arrays use the memory of `buffers`: they can be written to if the buffers can.
    """
    return pickle.loads(body, buffers=buffers)[0]


def dump_result(result: Any) -> bytes:
    """Pickle what a worker sends back: plainly if that works, since it is faster, else with cloudpickle."""
    try:
        return pickle.dumps(result, PROTOCOL)
    except Exception:
        return bytes(cloudpickle.dumps(result, PROTOCOL))


def dump_handed_back(name: str, value: Any) -> bytes:
    """Pickle what a hook hands back to the plugin `name`.

    Raises
    ------
    SerializationError
        If it cannot be pickled; the message names the part.
    """
    try:
        return dump_result(value)
    except Exception as error:
        raise SerializationError(
            f"what is handed back to plugin {name!r} cannot be pickled",
            why_not_picklable(value, "the value") or str(error),
            "Hand back plain data",
        ) from error


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """A pickler that sends unreachable modules' functions and classes by value."""

    def __init__(self, file: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> None:
        super().__init__(file, PROTOCOL, buffer_callback)
        self._reducers = array_reducers() | generator_reducers()
        self._checked: set[str] = set()
        self._travelling: dict[str, dict[str, Any]] = {}
        self._by_value: list[ModuleType] = []

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in self._reducers:
            return self._reducers[type(obj)](obj)
        if isinstance(obj, CodeType):  # cloudpickle leaves out which file it comes from
            make, arguments = self.dispatch_table[CodeType](obj)
            return _code_of_file, (obj.co_filename, make, arguments)
        if type(obj) is cached_property:  # before Python 3.12 it has a lock
            return cached_property, (obj.func,), {"attrname": obj.attrname, "__doc__": obj.__doc__}
        if obj is _names_by_module:
            return _publish, (self._travelling, script_file())
        if isinstance(obj, FunctionType | type | _LRU_CACHE):
            name = obj.__module__
            if name not in self._checked and isinstance(name, str):
                self._checked.add(name)
                module = sys.modules.get(name)
                if (
                    module is not None
                    and not _can_be_imported(name)
                    and name not in cloudpickle.list_registry_pickle_by_value()
                ):
                    cloudpickle.register_pickle_by_value(module)
                    self._by_value.append(module)
            is_by_value = name == "__main__" or (isinstance(name, str) and is_sent_by_value(name))
            if is_by_value:
                own_name = getattr(obj, "__qualname__", None)
                if own_name and getattr(sys.modules.get(name), own_name, None) is obj:
                    self._travelling.setdefault(name, {})[own_name] = obj
            if is_by_value and isinstance(obj, _LRU_CACHE):
                return _cached, (obj.__wrapped__, obj.cache_parameters())
            if is_by_value and isinstance(obj, FunctionType) and obj.__code__ is _DISPATCHING:
                return _dispatching, (vars(obj)["__wrapped__"], dict(vars(obj)["registry"]))
        return super().reducer_override(obj)

    def unregister(self) -> None:
        for module in self._by_value:
            cloudpickle.unregister_pickle_by_value(module)


_names_by_module = object()
"""Pickled by :class:`_Pickler` after all else: which functions and classes travelled by value, by module and name."""


def _publish(names_by_module: dict[str, dict[str, Any]], script: str | None) -> None:
    """Have a worker find what travelled by value under its name, as pickle looks for the class of an object.

    It is told which script is ``__main__`` where it was packed, too.
    """
    work_for_script(script)
    for module_name, names in names_by_module.items():
        module = sys.modules.setdefault(module_name, ModuleType(module_name))
        for name, value in names.items():
            if (module_name, name) in _published or not hasattr(module, name):
                _published.add((module_name, name))
                setattr(module, name, value)


_published: set[tuple[str, str]] = set()  # what is there by itself, as where this process packed it, stays


def _code_of_file(file: str, make: Callable[..., CodeType], arguments: tuple[Any, ...]) -> CodeType:
    """Make a code object that knows its file, so that tracebacks and debuggers show its lines."""
    return make(*arguments).replace(co_filename=file)


def _cached(function: Any, parameters: dict[str, Any]) -> Any:
    """Return a function with a cache of its own: each worker fills one, which its steps share."""
    return lru_cache(**parameters)(function)


def _dispatching(function: Any, registry: dict[type, Any]) -> Any:
    """Return a function of ``singledispatch``, which remembers in weak references what it has looked up."""
    made = singledispatch(function)
    for kind, implementation in registry.items():
        made.register(kind, implementation)
    return made


def _can_be_imported(module_name: str) -> bool:
    """Whether a fresh process with the same ``sys.path`` would find the package that a module belongs to."""
    root = module_name.partition(".")[0]
    if root == "__main__" or root in sys.stdlib_module_names:
        return True  # cloudpickle knows what to do with __main__
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(root, None)
        except Exception:  # a finder of somebody else
            return True
        if found is not None:
            return _holds_loaded_module(found, module_name)
    return False


def _holds_loaded_module(root: importlib.machinery.ModuleSpec, module_name: str) -> bool:
    """Whether the package that was found holds the loaded module, and not another one of the same name."""
    if root.name == module_name or root.submodule_search_locations is None:
        loaded = getattr(sys.modules.get(root.name), "__spec__", None)
        return loaded is None or loaded.origin == root.origin
    path: Any = root.submodule_search_locations
    name = root.name
    for part in module_name.split(".")[1:]:
        name = f"{name}.{part}"
        try:
            spec = importlib.machinery.PathFinder.find_spec(name, path)
        except Exception:
            return True
        if spec is None:
            # A module that its package makes at run time, like six.moves, comes with the package.
            return getattr(sys.modules.get(module_name), "__file__", None) is None
        path = spec.submodule_search_locations
        if path is None:
            break
    return True


def why_not_picklable(obj: Any, label: str) -> str:
    """Name the part of `obj` that cannot be pickled, and say why.

    Parameters
    ----------
    obj : object
        What could not be pickled.
    label : str
        What `obj` is to the reader, for example ``"step 'ModelStep'"``.

    Returns
    -------
    str
        For example ``"step 'ModelStep', attribute 'model.lock': cannot pickle '_thread.lock' object"``. Empty
        if `obj` can be pickled.
    """
    reason = _why_refused(obj)
    if reason is None:
        return ""
    places: list[str] = [label]
    seen = {id(obj)}
    for _ in range(_DEEPEST):
        part_to_blame = _first_unpicklable_part(obj, seen)
        if part_to_blame is None:
            break
        noun, expression, obj, reason = part_to_blame
        seen.add(id(obj))
        if expression.startswith((".", "[")) and len(places) > 1:
            places[-1] = f"{places[-1][:-1]}{expression}'"
        else:
            places.append(f"{noun} '{expression.removeprefix('.')}'")
    return f"{', '.join(places)}: {reason}"


def _first_unpicklable_part(obj: Any, seen: set[int]) -> tuple[str, str, Any, str] | None:
    """Return the first part of `obj` that cannot be pickled, as :func:`_parts` names it, and the reason."""
    for noun, expression, part in _parts(obj):
        if id(part) not in seen:
            refusal = _why_refused(part)
            if refusal is not None:
                return noun, expression, part, refusal
    return None


def _why_refused(obj: Any) -> str | None:
    """Return why `obj` cannot be pickled, or None if it can."""
    try:
        pack(obj)
    except RecursionError:
        return "it is nested too deeply"
    except Exception as error:
        return str(error) or type(error).__name__
    return None


def _parts(obj: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield what `obj` is made of: a noun, an expression that leads to it, the part."""
    if isinstance(obj, FunctionType):
        yield from _parts_of_function(obj)
    elif isinstance(obj, MethodType):
        yield "object", type(obj.__self__).__name__, obj.__self__
    elif isinstance(obj, partial):
        yield "function", getattr(obj.func, "__name__", "partial"), obj.func
        for position, value in enumerate(obj.args):
            yield "argument", str(position), value
        for name, value in obj.keywords.items():
            yield "argument", name, value
    elif isinstance(obj, dict):
        for key, value in obj.items():
            yield "item", f"[{key!r}]", value
            yield "item", f"[{key!r}]", key
    elif isinstance(obj, list | tuple | set | frozenset):
        for position, value in enumerate(obj):
            yield "item", f"[{position}]", value
    elif isinstance(obj, type):
        for name, value in vars(obj).items():
            yield "attribute", f".{name}", getattr(value, "__func__", value)
    else:
        yield from _parts_of_instance(obj)


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, str, Any]]:
    for name, value in closure_of(function).items():
        yield "variable", name, value
    for value in function.__defaults__ or ():
        yield "default", repr(value), value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield "default", name, value
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield "global", name, function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _parts_of_instance(obj: Any) -> Iterator[tuple[str, str, Any]]:
    try:
        state = obj.__getstate__()
    except Exception:  # then the object itself is all that can be named
        return
    for layer in state if isinstance(state, tuple) else (state,):
        if isinstance(layer, dict):
            for name, value in layer.items():
                yield "attribute", f".{name}", value
    yield "class", type(obj).__name__, type(obj)
