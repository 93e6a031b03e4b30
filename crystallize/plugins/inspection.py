"""Which hooks an object implements, and what is wrong with them, before pluggy gets to see it.

pluggy lets some mistakes pass and finds others in the middle of a run. They are found here, when the plugin
is registered and its name is known.
"""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from functools import cache, lru_cache
from types import MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy

from crystallize import hookspecs
from crystallize.errors import PluginError
from crystallize.plugins.base import HOOK_NAMES, BasePlugin
from crystallize.utils.wording import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_NEAR = 0.85  # "before_runs", "after_steps", "beforeRun" are near; "run_experiment" and "after_train" are not
_UNMARKED: dict[str, Any] = {
    "wrapper": False,
    "hookwrapper": False,
    "optionalhook": False,
    "tryfirst": False,
    "trylast": False,
    "specname": None,
}
_MARK = f"{hookspecs.PROJECT}_impl"  # what @hookimpl leaves on a function

LOOP = "run_experiment_loop"
"""The hook of an execution strategy."""

_INHERITED = frozenset(dir(BasePlugin))
_reader = pluggy.PluginManager(hookspecs.PROJECT)


class Implementation(NamedTuple):
    """One hook of one plugin: the hook's name, the function to call, and its ``@hookimpl`` options."""

    hook: str
    function: Callable[..., Any]
    options: dict[str, Any]

    @property
    def is_wrapper(self) -> bool:
        """Whether it surrounds the other implementations instead of being one of them."""
        return bool(self.options["wrapper"] or self.options["hookwrapper"])


def implementations(plugin: object, *, is_strategy: bool = False) -> tuple[Implementation, ...]:
    """Return the hooks that a plugin takes part in.

    Of a :class:`BasePlugin`, the hook methods that its class overrides and whatever it marks besides; of any
    other object or module, what is marked with ``@hookimpl``.

    Parameters
    ----------
    plugin : object
        The plugin.
    is_strategy : bool
        Whether it was named as the execution strategy: then its ``run_experiment_loop`` needs no mark.

    Raises
    ------
    PluginError
        With the reasons why the plugin cannot be used: a misspelt hook, arguments that the hook does not
        have, an ``async def``, a generator that is no wrapper.
    """
    is_base = isinstance(plugin, BasePlugin)
    found = list(_overridden(plugin)) if isinstance(plugin, BasePlugin) else []
    for name in _own_names(type(plugin)) if is_base else _function_names(plugin):
        options = _marked(plugin, name)
        if options is not None:
            found.append(Implementation(options["specname"] or name, getattr(plugin, name), options))
    is_marked = is_base or any(each.hook == LOOP and not each.is_wrapper for each in found)
    if is_strategy and not is_marked and hasattr(plugin, LOOP) and _marked(plugin, LOOP) is None:
        found.append(Implementation(LOOP, getattr(plugin, LOOP), dict(_UNMARKED)))
    faults = []
    for implementation in found:
        try:
            _check(implementation)
        except PluginError as error:
            faults.append(error.what)
    if faults:
        raise PluginError("; ".join(faults))
    if is_base:
        _check_spelling(plugin, {implementation.function for implementation in found})
    return tuple(found)


def unmarked(plugin: object) -> list[str]:
    """Return the functions that bear a hook's name but lack ``@hookimpl``, so that nobody calls them."""
    if isinstance(plugin, BasePlugin):
        return []
    own = set(_function_names(plugin))
    return [name for name in HOOK_NAMES if name in own and _marked(plugin, name) is None]


def _overridden(plugin: BasePlugin) -> Iterator[Implementation]:
    active = plugin.active_hooks()
    unknown = sorted(set(active) - set(HOOK_NAMES))
    if unknown:
        raise PluginError(f"active_hooks() names {unknown[0]!r}: {_no_such_hook(unknown[0])}")
    for name in HOOK_NAMES:
        if name in active and getattr(plugin, name) is not None:
            options = _marked(plugin, name) or dict(_UNMARKED)
            yield Implementation(options["specname"] or name, getattr(plugin, name), options)


def _own_names(kind: type) -> Iterator[str]:
    return (name for name in dir(kind) if name not in _INHERITED and not name.startswith("__"))


def _function_names(plugin: object) -> Iterator[str]:
    if isinstance(plugin, ModuleType):
        return (name for name, member in vars(plugin).items() if is_own(member, plugin, name))
    names = (name for name in dir(plugin) if not name.startswith("__"))
    return (name for name in names if _is_function(plugin, name) or _bears_mark(plugin, name))


def is_own(member: object, module: ModuleType, name: str) -> bool:
    """Tell whether what stands in a module may be a hook of it: a function of its own, or a marked one."""
    if inspect.isfunction(member) and member.__module__ == module.__name__:
        return True
    mark = vars(member).get(_MARK) if hasattr(member, "__dict__") else None
    return isinstance(mark, dict) and (mark.get("specname") or name) in HOOK_NAMES


def _is_function(plugin: object, name: str) -> bool:
    """Tell whether an attribute is a function or method, without running a property to find out."""
    static = inspect.getattr_static(plugin, name, None)
    return inspect.isfunction(static) or isinstance(static, MethodType | staticmethod | classmethod)


def _bears_mark(plugin: object, name: str) -> bool:
    """Tell whether an attribute that may be no function is marked with ``@hookimpl``."""
    return _MARK in getattr(inspect.getattr_static(plugin, name, None), "__dict__", ())


def _marked(plugin: object, name: str) -> dict[str, Any] | None:
    if not _is_function(plugin, name):
        if name in HOOK_NAMES and _bears_mark(plugin, name):  # pluggy would leave it out in silence
            kind = type(inspect.getattr_static(plugin, name)).__name__
            raise PluginError(f"{name} is a {kind}, and hooks are functions or methods")
        return None
    options = _reader.parse_hookimpl_opts(plugin, name)
    return None if options is None else {**_UNMARKED, **options}


# -- mistakes ------------------------------------------------------------------------------------------------


def _check(implementation: Implementation) -> None:
    hook, function = implementation.hook, implementation.function
    if hook not in HOOK_NAMES:
        if implementation.options["optionalhook"]:
            return
        raise PluginError(f"{function.__name__} is marked with @hookimpl: {_no_such_hook(hook)}")
    if not inspect.isroutine(function):
        raise PluginError(f"{hook} is a {type(function).__name__}, and hooks are functions or methods")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(f"{hook} is an async def, and hooks are called without await")
    if implementation.options["wrapper"] and implementation.options["hookwrapper"]:
        raise PluginError(f"{hook} has wrapper=True and hookwrapper=True, of which one can hold")
    if implementation.is_wrapper and not inspect.isgeneratorfunction(function):
        raise PluginError(f"{hook} is a wrapper and has no yield")
    if inspect.isgeneratorfunction(function) and not implementation.is_wrapper:
        if hook == LOOP:
            raise PluginError(f"{hook} has a yield, and returns a list; a wrapper is marked as one")
        raise PluginError(f"{hook} has a yield and is no wrapper; mark it with @hookimpl(wrapper=True)")
    if isinstance(function, MethodType) and inspect.isfunction(function.__func__):
        _check_method(hook, function.__func__, inspect.isclass(function.__self__))
    else:
        _check_arguments(hook, function)


@lru_cache(maxsize=256)  # each experiment has plugins of the same classes; a signature takes long to read
def _check_method(hook: str, function: Callable[..., Any], is_of_class: bool) -> None:
    """Check the arguments of a method, whatever the object that it is bound to."""
    _check_arguments(hook, MethodType(function, object if is_of_class else object()))


def _check_arguments(hook: str, function: Callable[..., Any]) -> None:
    known = _arguments(hook)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise PluginError(f"{hook} has no readable signature: {error}") from error
    _check_self(hook, function, known)
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        has_default = parameter.default is not parameter.empty
        if parameter.name in known:
            if has_default:
                raise PluginError(
                    f"{hook} gives its argument {parameter.name!r} a default, and would not be given it"
                )
            if parameter.kind is parameter.KEYWORD_ONLY:
                raise PluginError(f"{hook} has the keyword-only argument {parameter.name!r}; drop the '*'")
        elif not has_default:
            raise PluginError(f"{hook} has an argument {parameter.name!r}; it may have {listed(known)}")


def _check_self(hook: str, function: Callable[..., Any], known: Sequence[str]) -> None:
    """Refuse a method without ``self``, which would be given the plugin as its first argument."""
    if isinstance(function, MethodType) and not inspect.isclass(function.__self__):
        first = next(iter(inspect.signature(function.__func__).parameters), None)
        if first in known:
            raise PluginError(
                f"{hook} is a method and its first argument is {first!r}; write {hook}(self, ...)"
            )


@cache
def _arguments(hook: str) -> tuple[str, ...]:
    return tuple(inspect.signature(getattr(hookspecs, hook)).parameters)


def _check_spelling(plugin: object, hooks: set[Callable[..., Any]]) -> None:
    kind: type = type(plugin)
    for name, nearest in _near_misses(kind):
        if getattr(plugin, name) not in hooks:
            raise PluginError(
                f"the method {name} looks like the hook {nearest} misspelt; if it is not one, let its name "
                "start with an underscore"
            )


@lru_cache(maxsize=256)
def _near_misses(kind: type) -> tuple[tuple[str, str], ...]:
    misses = []
    for name in _own_names(kind):
        if not name.startswith("_") and _is_function(kind, name):
            nearest = get_close_matches(name.lower(), HOOK_NAMES, n=1, cutoff=_NEAR)
            if nearest and not name.endswith(nearest[0]):  # arun_experiment_loop is meant so
                misses.append((name, nearest[0]))
    return tuple(misses)


def _no_such_hook(name: str) -> str:
    return ". ".join(filter(None, (f"there is no hook {name!r}", did_you_mean(name, HOOK_NAMES))))
