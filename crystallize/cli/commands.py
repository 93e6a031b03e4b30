"""Commands made of functions and Typer apps: our own, and those of installed distributions."""

from __future__ import annotations

from functools import cache, lru_cache, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperCommand

from crystallize.cli.errors import FAILED, fail
from crystallize.utils.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.discovery import Found


class _BuiltIn(NamedTuple):
    """One of our own commands: where its function or Typer app is, and what ``--help`` says of it."""

    module: str
    attribute: str
    summary: str


BUILT_IN = {
    "list": _BuiltIn("listing", "list_experiments", "List the experiments of this project."),
    "run": _BuiltIn("run", "run", "Run an experiment, after the experiments that it depends on."),
    "show": _BuiltIn("show", "show", "Show the stored results of an experiment."),
    "plan": _BuiltIn("plan", "plan", "Say how many replicates an experiment needs to find an effect."),
    "runs": _BuiltIn("runs", "app", "List, show, keep and remove stored runs."),
    "cache": _BuiltIn("cache", "app", "Look into the step cache, and remove what is in it."),
    "diff": _BuiltIn("diff", "diff", "Show what differs between two stored runs."),
    "export": _BuiltIn("export", "export", "Write a stored run as an RO-Crate, to share or to archive it."),
    "verify": _BuiltIn("verify", "verify", "Run a stored run again, and tell whether it measures the same."),
    "lock": _BuiltIn("lock", "lock", "Write down what an experiment is to be, before it is run."),
    "apply": _BuiltIn(
        "apply", "apply", "Run an experiment's pipeline once and print what the last step returns."
    ),
    "new": _BuiltIn("new", "new", "Make the folder of a new experiment, which runs as it is."),
    "graph": _BuiltIn("graph", "graph", "Draw an experiment and all that it depends on."),
    "check": _BuiltIn("check", "check", "Check experiments without running them."),
    "config": _BuiltIn("config", "app", "Look at what config.yaml may hold."),
    "plugins": _BuiltIn("plugins", "app", "Look at the installed plugins."),
    "demo": _BuiltIn("demo", "demo", "Copy the diabetes example into a new folder and run it."),
}
"""Our own commands by name, in the order of ``crystallize --help``."""


def installed() -> dict[str, Found]:
    """Return the installed commands by name; none is imported, and our own names cannot be taken."""
    from crystallize.discovery import COMMANDS, find

    return {found.name: found for found in find(COMMANDS) if found.name not in BUILT_IN}


def starting() -> list[Found]:
    """Return what is to open when ``crystallize`` is called without a command; none is imported."""
    from crystallize.discovery import START, find
    from crystallize.plugins.collection import switched_off

    is_off = switched_off() if find(START) else None  # looks at all plugins
    return [] if is_off is None else [found for found in find(START, is_off) if not is_off(found)]


@cache
def built_in(name: str) -> Any:
    """Import one of our own commands."""
    entry = BUILT_IN[name]
    return make(name, getattr(import_module(f"crystallize.cli.{entry.module}"), entry.attribute))


def borrow(found: Found) -> Any:
    """Return the command of an installed distribution; a broken one becomes a command that prints its error."""
    from crystallize.errors import PluginLoadError

    try:
        return usable(found)
    except PluginLoadError as error:
        return _broken(found.name, error)


@lru_cache(maxsize=64)
def usable(found: Found) -> Any:
    """Return the command of an installed distribution.

    Raises
    ------
    PluginLoadError
        If it cannot be imported, or Typer cannot make a command of it.
    """
    from crystallize.discovery import cannot_load, load

    thing = load(found)
    if not isinstance(thing, typer.Typer) and (isinstance(thing, type) or not callable(thing)):
        raise cannot_load(found, f"it gives {thing!r}, which is neither a Typer app nor a function")
    try:
        return make(found.name, thing)
    except Exception as error:  # Typer looks into foreign signatures, and raises whatever it meets
        raise cannot_load(found, f"Typer cannot use it: {type(error).__name__}: {error}") from error


def make(name: str, thing: Any) -> Any:
    """Make a command of a function or a Typer app.

    An app with one command and no callback is that command, as it is when it is called on its own. Functions
    with ``async def`` are awaited.
    """
    outer = typer.Typer(add_completion=False)
    if not isinstance(thing, typer.Typer):
        outer.command(name)(thing)
        return _awaited(typer.main.get_command(outer))
    outer.add_typer(thing, name=name)
    command: Any = _awaited(typer.main.get_command(outer))
    group = command.commands[name]
    lone = (
        len(thing.registered_commands) == 1
        and not thing.registered_groups
        and not thing.registered_callback
        and not callable(thing.info.callback)
    )
    if not lone:
        return group
    (only,) = group.commands.values()
    only.name = name
    return only


def _awaited(command: Any) -> Any:
    """Have a command, and those below it, await what their functions return if it is a coroutine."""
    if command.callback is not None:
        command.callback = _awaiting(command.callback)
    for each in getattr(command, "commands", {}).values():
        _awaited(each)
    return command


def _awaiting(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        from inspect import iscoroutine

        returned = function(*arguments, **keywords)
        if not iscoroutine(returned):
            return returned
        from crystallize.utils.aio import run_awaitable

        return run_awaitable(returned)

    return call


def _broken(name: str, error: Exception) -> Any:
    def complain() -> None:
        fail(error, FAILED)

    from rich.markup import escape

    return TyperCommand(
        name,
        callback=complain,
        help=escape(visible(f"Broken: {error}")),
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
