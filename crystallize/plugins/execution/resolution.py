"""Which execution strategy is meant: by name, by dotted path, with arguments, or as it is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from crystallize.discovery import EXECUTION, classify, find, lookup, resolve
from crystallize.errors import CrystallizeError, InvalidTypeError, PluginError
from crystallize.plugins.base import BasePlugin
from crystallize.plugins.inspection import LOOP, implementations
from crystallize.utils.failures import error_text, place_of, safe_repr
from crystallize.utils.wording import listed, name_hint

_WHAT = "execution strategy"
_DEFINE = f"Define {LOOP}(self, experiment, replicate_fn)"


def resolve_strategy(execution: object) -> object:
    """Return the execution strategy that a user asked for, as an instance.

    Parameters
    ----------
    execution : str, mapping or object
        The name of an installed strategy, or the dotted path ``"package.module:Class"`` of any;
        ``{"strategy": name, **arguments}`` for its constructor; or the instance itself.

    Raises
    ------
    UnknownNameError
        If no strategy of that name is installed, or the dotted path leads nowhere.
    InvalidTypeError
        If it is none of the three, or no strategy, or the strategy has no such argument or lacks one.
    PluginLoadError
        If the strategy cannot be imported.
    PluginError
        If its constructor raises something that is no error of ours.
    """
    if isinstance(execution, str):
        return make_strategy(execution, {})
    if isinstance(execution, Mapping):
        arguments = dict(execution)
        name = arguments.pop("strategy", None)
        if not isinstance(name, str):
            raise InvalidTypeError(
                f"execution={execution!r} does not name a strategy", hint='Write {"strategy": "process", ...}'
            )
        return make_strategy(name, arguments)
    if classify(execution) == "class":
        name = getattr(execution, "__qualname__", repr(execution))
        raise InvalidTypeError(f"execution is the class {name}, not an instance", hint=f"Write {name}()")
    if not _has_loop(execution):
        names = listed({found.name for found in find(EXECUTION)})
        raise InvalidTypeError(
            f"execution is a name, a mapping or an execution strategy, got {safe_repr(execution)}",
            hint=f"The names are {names}",
        )
    _check_strategy(execution)
    return execution


def find_strategy(name: str) -> Any:
    """Import what a name or dotted path stands for: a strategy's class, a factory, or an instance.

    Raises
    ------
    UnknownNameError, PluginLoadError
        As :func:`crystallize.discovery.resolve`.
    InvalidTypeError
        If it is no strategy.
    """
    make = resolve(EXECUTION, name, _WHAT)
    if classify(make) != "factory" and not _has_loop(make):
        raise InvalidTypeError(
            f"{_whose(name)} is no execution strategy: {safe_repr(make)} has no {LOOP}", hint=_DEFINE
        )
    return make


def make_strategy(name: str, arguments: Mapping[str, Any]) -> object:
    """Return the strategy of a name or dotted path, made with the arguments; raise as :func:`resolve_strategy`."""
    make = find_strategy(name)
    if classify(make) not in ("class", "factory"):
        if arguments:
            raise InvalidTypeError(
                f"{_whose(name)} is an instance and takes no arguments", hint="Name its class instead"
            )
        _check_strategy(make, name)
        return make
    _check_arguments(name, make, arguments)
    try:
        strategy = make(**arguments)
    except (CrystallizeError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a stranger's constructor may raise anything
        raise PluginError(
            f"{_whose(name)} could not be made: {error_text(error)}", place_of(error)
        ) from error
    _check_strategy(strategy, name)
    return strategy


def _check_arguments(name: str, make: Any, arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # a class of an extension module may have none
        return
    accepted = signature.parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        for argument in arguments:
            if argument not in accepted:
                advice = name_hint(argument, "It has", accepted)
                raise InvalidTypeError(f"{_whose(name)} has no argument {argument!r}", hint=advice)
    lacking = [
        each.name
        for each in accepted.values()
        if each.default is each.empty
        and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        and each.name not in arguments
    ]
    if lacking:
        spelled = ", ".join(f'"{each}": ...' for each in [*arguments, *lacking])
        raise InvalidTypeError(
            f"{_whose(name)} needs the argument {lacking[0]!r}",
            hint=f'Write execution={{"strategy": "{name}", {spelled}}}',
        )


def _has_loop(strategy: object) -> bool:
    inherited = BasePlugin.run_experiment_loop
    kind = strategy if isinstance(strategy, type) else type(strategy)
    loop = getattr(strategy, LOOP, None)
    return callable(loop) and getattr(kind, LOOP, None) is not inherited


def fault_of(strategy: object) -> str:
    """Say why an object cannot drive replicates; an empty text if it can.

    It needs neither :class:`BasePlugin` nor ``@hookimpl``: that it is the strategy is said by naming it.

    Raises
    ------
    PluginError
        If its hooks have a mistake.
    """
    if not _has_loop(strategy):
        return f"{safe_repr(strategy)} has no {LOOP}"
    loops = [each for each in implementations(strategy, is_strategy=True) if each.hook == LOOP]
    if not loops:
        return f"its active_hooks() leaves {LOOP} out"
    return f"its {LOOP} is a wrapper, which drives nothing" if all(each.is_wrapper for each in loops) else ""


def _check_strategy(strategy: object, name: str = "") -> None:
    try:
        fault = fault_of(strategy)
    except PluginError as error:
        who = _whose(name) if name else safe_repr(strategy)
        raise PluginError(f"{who} cannot be used: {error.what}", error.where, error.hint) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a foreign active_hooks() or __getattr__ may raise anything
        who = _whose(name) if name else safe_repr(strategy)
        raise PluginError(f"{who} cannot be used: {error_text(error)}", place_of(error)) from error
    if fault:
        who = _whose(name) if name else safe_repr(strategy)
        raise InvalidTypeError(f"{who} is no execution strategy: {fault}", hint=_DEFINE)


def _whose(name: str) -> str:
    """Return a strategy's name for messages, with the distribution that an installed one comes from."""
    if ":" in name:
        return f"execution strategy {name!r}"
    found = lookup(EXECUTION, name, _WHAT)
    return f"execution strategy {found.name!r} of {found.distribution} {found.version}"
