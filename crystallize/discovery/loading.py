"""Loading one entry point: importing it, and making what is used of it."""

from __future__ import annotations

import inspect
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from crystallize.discovery.entry_points import PLUGINS
from crystallize.errors import PluginLoadError
from crystallize.utils.failures import error_text, place_of
from crystallize.utils.references import UnreachableError, import_object
from crystallize.utils.signatures import mismatch

if TYPE_CHECKING:
    from crystallize.discovery.entry_points import Found

Kind = Literal["class", "factory", "instance", "module"]


def load(found: Found) -> Any:
    """Import what an entry point refers to.

    Raises
    ------
    PluginLoadError
        If it has a fault or cannot be imported; with entry point, distribution, version and reason.
    """
    if found.fault:
        raise cannot_load(found, found.fault)
    module, _, attribute = found.value.partition(":")
    try:
        return import_object(module, attribute)
    except UnreachableError as failure:
        cause = failure.__cause__
        hint = ""
        if isinstance(cause, ModuleNotFoundError) and found.extras:
            hint = f"Install what it needs: pip install '{found.distribution}[{found.extras}]'"
        raise cannot_load(found, str(failure), failure.place, hint) from cause


def cannot_load(found: Found, reason: str, place: str = "", hint: str = "") -> PluginLoadError:
    """Make the error for an entry point that cannot be used, for the reason given."""
    return PluginLoadError(
        f"{found} could not be loaded: {reason}",
        f"group {found.group}, value {found.value!r}" + (f", {place}" if place else ""),
        hint or f"Repair or uninstall {found.distribution}",
    )


def classify(thing: object) -> Kind:
    """Say what an entry point gave: a class, a factory, a module, or the instance itself."""
    if inspect.isclass(thing):
        return "class"
    if isinstance(thing, ModuleType):
        return "module"
    if inspect.isroutine(thing) or isinstance(thing, partial):
        return "factory"
    return "instance"


def produce(found: Found) -> Any:
    """Load an entry point and return its instance: classes and factories are called without arguments.

    Raises
    ------
    PluginLoadError
        As :func:`load`, or if the class or factory cannot be called without arguments.
    """
    thing = load(found)
    kind = classify(thing)
    if kind in ("instance", "module"):
        return thing
    try:
        made = thing()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        lacking = mismatch(thing)
        if lacking:
            reason = f"the {kind} cannot be called without arguments: {lacking}"
            is_plugin = found.group == PLUGINS
            hint = "Pass it in plugins=[...], or its arguments in config.yaml" if is_plugin else ""
            raise cannot_load(found, reason, hint=hint) from error
        raise cannot_load(found, f"the {kind} raised {error_text(error)}", place_of(error)) from error
    if made is None or inspect.isclass(made):
        what = "None" if made is None else f"the class {made.__qualname__}, not an instance"
        raise cannot_load(found, f"the {kind} gave {what}")
    return made
