"""What is installed and whether it can be used: every entry point of every group, looked at as a use would.

A look imports the entry point, makes what an experiment would make of it and checks that. What is switched
off is not imported. Whatever a plugin does wrong, its entry is listed as failed and the next one is looked at.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from crystallize.discovery import (
    COMMANDS,
    EXECUTION,
    GROUPS,
    LOADERS,
    PLUGINS,
    VERIFIERS,
    Found,
    cannot_load,
    classify,
    find,
    hidden,
    load,
    produce,
)
from crystallize.errors import InvalidTypeError, PluginError, PluginLoadError
from crystallize.plugins.base import HOOK_NAMES, BasePlugin
from crystallize.plugins.collection import PluginRecord, examine, is_off, switched_off
from crystallize.plugins.execution.resolution import fault_of
from crystallize.plugins.inspection import LOOP
from crystallize.utils.failures import place_of, shown, told

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

T = TypeVar("T")
Kind = Literal["plugin", "strategy", "loader", "verifier", "command"]
Status = Literal["active", "disabled", "failed", "shadowed"]

KINDS: dict[str, Kind] = {
    COMMANDS: "command",
    EXECUTION: "strategy",
    LOADERS: "loader",
    PLUGINS: "plugin",
    VERIFIERS: "verifier",
}
"""What an entry of each group is called."""


class Installed(NamedTuple):
    """What is known of one installed entry point, whether it can be used or not.

    Attributes
    ----------
    name : str
        The name of the entry point.
    kind : {"plugin", "strategy", "loader", "verifier", "command"}
        What it is.
    group : str
        The entry point group.
    status : {"active", "disabled", "failed", "shadowed"}
        Shadowed is what cannot be reached: the core keeps its name, or another copy of its distribution comes
        first on ``sys.path``.
    distribution, version : str
        Where it comes from.
    hooks : tuple of str
        The hooks of a plugin or strategy, in the order of a run.
    summary : str
        The first line of its docstring; empty if it was not imported.
    error : str
        Why it failed or is shadowed.
    """

    name: str
    kind: Kind
    group: str
    status: Status
    distribution: str
    version: str
    hooks: tuple[str, ...] = ()
    summary: str = ""
    error: str = ""


class Sight(NamedTuple):
    """One entry point, and what looking at it gave.

    Attributes
    ----------
    found : Found
        The entry point.
    status : {"active", "disabled", "failed", "shadowed"}
        See :class:`Installed`.
    thing : object
        What the entry point refers to, if it is active.
    made : object
        What a use makes of it: the plugin, the loader, the command; the thing itself if it makes nothing.
    record : PluginRecord or None
        Its hooks, if it is a plugin or a strategy that needs no arguments.
    error : PluginLoadError or None
        Why it failed or is shadowed.
    """

    found: Found
    status: Status
    thing: Any = None
    made: Any = None
    record: PluginRecord | None = None
    error: PluginLoadError | None = None

    @property
    def hooks(self) -> tuple[str, ...]:
        """Its hooks, in the order of a run."""
        if self.record is not None:
            return self.record.hooks
        return quietly(lambda: _hooks_of_class(self.thing), ()) if self.found.group == EXECUTION else ()

    @property
    def documentation(self) -> str:
        """Its docstring; a command's help."""
        if self.thing is None:  # it was not imported; the class of None has a docstring, since Python 3.13
            return ""
        if self.found.group == COMMANDS:
            return str(getattr(self.made, "help", None) or "")
        return quietly(lambda: _docstring(self.thing) or _docstring(type(self.made)), "")

    @property
    def installed(self) -> Installed:
        """What a listing says of it."""
        found = self.found
        return Installed(
            found.name,
            KINDS[found.group],
            found.group,
            self.status,
            found.distribution,
            found.version,
            self.hooks,
            _first_line(self.documentation),
            self.error.what if self.error else "",
        )


def survey(disabled: Collection[str] = ()) -> list[Installed]:
    """Return every entry point of every group, with its status as an experiment of this process sees it."""
    return [sight.installed for sight in look(disabled=disabled)]


def look(
    groups: Iterable[str] = GROUPS,
    *,
    disabled: Collection[str] = (),
    uses: Mapping[str, Callable[[Found], Any]] | None = None,
    reserved: Collection[str] = (),
    with_hidden: bool = False,
) -> list[Sight]:
    """Look at the entry points of some groups, in order of group and name.

    Parameters
    ----------
    groups : iterable of str
        The groups.
    disabled : collection of str
        Names of plugins or distributions that are switched off, besides those that the environment names.
    uses : mapping of str to callable, optional
        For a group, what makes of an entry point that which is used; it raises if that cannot be done. Floors
        above know more of commands and verifiers than this one.
    reserved : collection of str
        Names of commands that cannot be taken.
    with_hidden : bool
        Also return the entries of later copies of a distribution on ``sys.path``.
    """
    off = switched_off(disabled)
    uses = {**_USES, **(uses or {})}
    wanted = set(groups)
    groups = [group for group in GROUPS if group in wanted]
    # All at once: what is imported may change sys.path.
    installed = [found for group in groups for found in find(group, partial(is_off, off=off))]
    sights = [look_at(found, off, uses[found.group], reserved) for found in installed]
    if with_hidden:
        copies = [found for found in hidden() if found.group in wanted]
        sights += [Sight(found, "shadowed", error=cannot_load(found, found.fault)) for found in copies]
        sights.sort(key=lambda sight: (sight.found.group, sight.found.name))
    return sights


def look_at(
    found: Found, off: Collection[str], use: Callable[[Found], Any], reserved: Collection[str] = ()
) -> Sight:
    """Look at one entry point.

    Parameters
    ----------
    found : Found
        The entry point.
    off : collection of str
        What :func:`crystallize.plugins.collection.switched_off` returns.
    use : callable
        Makes of it what is used.
    reserved : collection of str
        Names of commands that cannot be taken.
    """
    if found.shadowed:
        return Sight(found, "shadowed", error=cannot_load(found, found.fault))
    if found.group == COMMANDS and found.name in reserved:
        reason = f"{found.name!r} is a command of Crystallize's own"
        return Sight(found, "shadowed", error=cannot_load(found, reason))
    if is_off(found, off):
        return Sight(found, "disabled")
    try:
        made = use(found)
        thing = load(found)
    except PluginLoadError as error:
        return Sight(found, "failed", error=error)
    except PluginError as error:
        refusal = cannot_load(found, error.what)
        refusal.__cause__ = error
        return Sight(found, "failed", error=refusal)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin's code may raise anything, wherever it is asked
        refusal = cannot_load(found, told(error), place_of(error))
        refusal.__cause__ = error
        return Sight(found, "failed", error=refusal)
    if isinstance(made, PluginRecord):
        return Sight(found, "active", thing, made.plugin, made)
    return Sight(found, "active", thing, made)


# -- what each group's use makes -----------------------------------------------------------------------------


def _strategy(found: Found) -> object:
    make = load(found)
    if classify(make) == "class" and not callable(getattr(make, LOOP, None)):
        raise cannot_load(found, f"the class {make.__qualname__} has no method {LOOP}")
    if classify(make) in ("class", "factory") and _needs_arguments(make):
        return make
    made = produce(found)
    fault = fault_of(made)
    if fault:
        raise cannot_load(found, f"it is no execution strategy: {fault}")
    return PluginRecord.of(
        found.name, made, found.distribution, found.version, "entry point", is_strategy=True
    )


def _loader(found: Found) -> object:
    from crystallize.loaders.lookup import get_loader

    made = produce(found)
    try:
        return get_loader(made)
    except InvalidTypeError as error:
        raise cannot_load(found, error.what) from error


def _callable(found: Found) -> object:
    thing = load(found)
    if not callable(thing):
        raise cannot_load(found, f"it gives {shown(thing)}, which cannot be called")
    return thing


_USES: dict[str, Callable[[Found], Any]] = {
    COMMANDS: _callable,
    EXECUTION: _strategy,
    LOADERS: _loader,
    PLUGINS: examine,
    VERIFIERS: _callable,
}


def _needs_arguments(make: Any) -> bool:
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # a class of an extension module may have none
        return False
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(each.default is each.empty and each.kind not in optional for each in parameters)


def _hooks_of_class(kind: Any) -> tuple[str, ...]:
    """Return the hooks of a strategy that cannot be made here, since it needs arguments."""
    inherits = inspect.isclass(kind) and issubclass(kind, BasePlugin)
    hooks = []
    for name in HOOK_NAMES:
        method = getattr(kind, name, None)
        is_own = inherits and method is not getattr(BasePlugin, name)
        is_marked = inspect.isfunction(method) and hasattr(method, "crystallize_impl")
        if is_own or is_marked or (name == LOOP and not inherits and callable(method)):
            hooks.append(name)
    return tuple(hooks)


# -- texts of strangers --------------------------------------------------------------------------------------


def _docstring(thing: Any) -> str:
    """Return a thing's own docstring: not an inherited one, and not the one that a dataclass gets."""
    if isinstance(thing, partial):
        thing = thing.func
    doc = getattr(thing, "__doc__", None)
    kind = thing if inspect.isclass(thing) else type(thing)
    if not isinstance(doc, str) or kind is object or doc.startswith(f"{kind.__name__}("):
        return ""
    return inspect.cleandoc(doc)


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return "".join(letter if letter.isprintable() else " " for letter in line).strip()


def quietly(ask: Callable[[], T], otherwise: T) -> T:
    """Return what a question to a stranger's object gives, or `otherwise` if that raises."""
    try:
        return ask()
    except KeyboardInterrupt:
        raise
    except BaseException:  # a property or a metaclass may raise anything, or try to exit
        return otherwise
