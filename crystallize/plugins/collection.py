"""Which plugins an experiment gets: the passed ones and the installed ones that are not switched off.

In this order: the passed ones as listed, then the installed ones by name. A passed plugin takes the place of
an installed one of its class, or of a base class of it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crystallize.discovery import (
    EXECUTION,
    PLUGINS,
    START,
    Found,
    cannot_load,
    classify,
    find,
    normalise,
    owner,
    produce,
    warn_once,
)
from crystallize.errors import (
    CrystallizeError,
    InvalidTypeError,
    InvalidValueError,
    PluginError,
    PluginLoadError,
)
from crystallize.plugins.base import HOOK_NAMES, BasePlugin
from crystallize.plugins.inspection import LOOP, Implementation, implementations, unmarked
from crystallize.utils.failures import error_text, place_of, safe_repr
from crystallize.utils.imports import imported
from crystallize.utils.wording import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_SWITCH = "CRYSTALLIZE_DISABLE_PLUGINS"
_AUTOLOAD = "CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD"
_UNASKED = (PLUGINS, START)
"""The groups whose entries act without being named."""

Source = Literal["passed", "entry point"]


class PluginRecord(NamedTuple):
    """One active plugin of an experiment.

    Attributes
    ----------
    name : str
        The entry point's name, or the class's (the module's) for a plugin that has none; unique.
    plugin : object
        The instance, or module.
    distribution, version : str or None
        Where it comes from, if that is an installed distribution.
    source : {"passed", "entry point"}
        How it came in.
    implementations : tuple of Implementation
        Its hooks.
    """

    name: str
    plugin: Any
    distribution: str | None
    version: str | None
    source: Source
    implementations: tuple[Implementation, ...]

    @classmethod
    def of(
        cls,
        name: str,
        plugin: object,
        distribution: str | None,
        version: str | None,
        source: Source,
        *,
        is_strategy: bool = False,
    ) -> PluginRecord:
        """Make the record of a plugin, and warn of functions that lack ``@hookimpl``.

        Raises
        ------
        PluginError
            If a hook has a mistake; see :func:`implementations`, which says what `is_strategy` means, too.
        InvalidTypeError
            If there is no hook.
        """
        found = implementations(plugin, is_strategy=is_strategy)
        record = cls(name, plugin, distribution, version, source, found)
        bare = ", ".join(hook for hook in unmarked(plugin) if not (is_strategy and hook == LOOP))
        if bare:
            warn_once(f"{record}: {bare} bears a hook's name and lacks @hookimpl, so it is never called")
        elif not found and not isinstance(plugin, BasePlugin):
            raise InvalidTypeError(
                f"{safe_repr(plugin)} is no plugin: it has no hook",
                hint="Inherit from BasePlugin, or mark its hooks with @hookimpl",
            )
        return record

    @property
    def hooks(self) -> tuple[str, ...]:
        """The names of its hooks, in the order of a run."""
        own = {implementation.hook for implementation in self.implementations}
        return tuple(name for name in HOOK_NAMES if name in own)

    @property
    def drives(self) -> bool:
        """Whether it is an execution strategy: it runs the replicates and does not merely watch."""
        return any(
            implementation.hook == LOOP and not implementation.is_wrapper
            for implementation in self.implementations
        )

    def without_driving(self) -> PluginRecord:
        """Return the record of the plugin where it is not the execution strategy."""
        return self._replace(
            implementations=tuple(
                each for each in self.implementations if each.hook != LOOP or each.is_wrapper
            )
        )

    def __str__(self) -> str:
        origin = f" (distribution {self.distribution} {self.version})" if self.distribution else ""
        return f"plugin {self.name!r}{origin}"

    def __reduce__(self) -> tuple[Callable[..., PluginRecord], tuple[Any, ...]]:
        # Bound hook functions stay behind; a module goes by name, as plain pickle refuses modules.
        is_module = isinstance(self.plugin, ModuleType)
        plugin = self.plugin.__name__ if is_module else self.plugin
        origin = (self.distribution, self.version, self.source)
        return _restore, (self.name, plugin, is_module, origin, self.drives)


def _restore(
    name: str,
    plugin: Any,
    is_module: bool,
    origin: tuple[str | None, str | None, Source],
    is_strategy: bool,
) -> PluginRecord:
    if is_module:
        try:
            plugin = importlib.import_module(plugin)
        except ImportError as error:
            raise PluginError(
                f"plugin {name!r} is a module that this process cannot import: {error}",
                hint="Install it, or set PYTHONPATH to its folder",
            ) from error
    return PluginRecord(name, plugin, *origin, implementations(plugin, is_strategy=is_strategy))


def collect(
    passed: Sequence[object], disabled: Collection[str] = (), strategy: object | None = None
) -> list[PluginRecord]:
    """Return the records of an experiment's plugins, in call order.

    Parameters
    ----------
    passed : sequence
        The plugins that the user passed.
    disabled : collection of str
        Names of entry points or distributions that are switched off, besides those that the environment
        switches off.
    strategy : object, optional
        The execution strategy that was named; it counts as passed, last.

    Raises
    ------
    InvalidTypeError
        If something that is no plugin was passed.
    InvalidValueError
        If the environment has a setting of one of our plugins that cannot be used.
    PluginError
        If a passed plugin has a mistake, or an installed one and ``CRYSTALLIZE_STRICT_PLUGINS`` is set.
    """
    instances = [*_checked(passed), *([] if strategy is None else [strategy])]
    is_off = switched_off(disabled)
    switched_on = [found for found in find(PLUGINS, is_off) if not is_off(found)]
    installed = [record for found in switched_on if (record := _installed(found, instances)) is not None]
    taken = {record.name for record in installed}
    records = []
    for plugin in instances:
        module = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__module__
        name = _unique(_name_of(plugin), taken)
        is_strategy = strategy is not None and plugin is strategy
        records.append(_record(plugin, name, owner(module), is_strategy=is_strategy))
    return records + installed


def collect_only(plugins: Sequence[object]) -> list[PluginRecord]:
    """Return the records of these plugins and no others, without a look at what is installed.

    Raises
    ------
    InvalidTypeError, PluginError
        As :func:`collect`.
    """
    taken: set[str] = set()
    return [_record(plugin, _unique(_own_name(plugin), taken)) for plugin in _checked(plugins)]


# -- passed --------------------------------------------------------------------------------------------------


def _checked(passed: Sequence[object]) -> list[object]:
    if not isinstance(passed, list | tuple):
        raise InvalidTypeError(f"plugins is a list of plugin instances, got {passed!r}", hint="Write [...]")
    for position, plugin in enumerate(passed):
        where = f"plugins[{position}]"
        kind = classify(plugin)
        if kind in ("class", "factory"):
            name = getattr(plugin, "__qualname__", "") or safe_repr(plugin)
            what, hint = ("class", "") if kind == "class" else ("function", "?")
            raise InvalidTypeError(
                f"{where} is the {what} {name}, not {'an instance' if kind == 'class' else 'a plugin'}",
                hint=f"Write {name}(){hint}",
            )
        if any(plugin is other for other in passed[:position]):
            raise PluginError(
                f"{where} is in the list twice: {safe_repr(plugin)}", hint="Pass each plugin once"
            )
    return list(passed)


def _record(
    plugin: Any, name: str, origin: tuple[str, str] | None = None, *, is_strategy: bool = False
) -> PluginRecord:
    distribution, version = origin or (None, None)
    try:
        return PluginRecord.of(name, plugin, distribution, version, "passed", is_strategy=is_strategy)
    except PluginError as error:
        raise PluginError(f"plugin {name!r} cannot be used: {error.what}", error.where, error.hint) from error


def _name_of(plugin: object) -> str:
    """Return the name of the entry point that stands for a plugin, or that of its class or module."""
    for found in find((PLUGINS, EXECUTION)):
        is_module = isinstance(plugin, ModuleType) and found.value == plugin.__name__
        if is_module or _leads_to(found, type(plugin)):
            return found.name
    return _own_name(plugin)


def _leads_to(found: Found, kind: type) -> bool:
    """Tell whether an entry point refers to a class, in its own module or in one that passes it on."""
    module, _, attribute = found.value.partition(":")
    # Not getattr: the __getattr__ of a module may import what is switched off, or raise anything.
    known = imported(module)
    return known is not None and vars(known).get(attribute) is kind


def _own_name(plugin: object) -> str:
    return plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__name__


def _unique(name: str, taken: set[str]) -> str:
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name}-{number}"
    taken.add(unique)
    return unique


def set_apart(record: PluginRecord, others: Iterable[PluginRecord]) -> PluginRecord:
    """Return a record under a name that none of the others has: a strategy may be called like a plugin."""
    return record._replace(name=_unique(record.name, {other.name for other in others}))


# -- installed -----------------------------------------------------------------------------------------------


def switched_off(disabled: Collection[str] = ()) -> Callable[[Found], bool]:
    """Return what tells whether a plugin is switched off, by argument or environment, or not loaded by itself.

    So may be what opens without being named. Entries of other groups are not: they do nothing until they are named. A
    name that nothing has gets a warning.

    Raises
    ------
    InvalidTypeError
        If `disabled` is no list of names.
    """
    is_list = isinstance(disabled, Iterable) and not isinstance(disabled, str)
    if not is_list or not all(isinstance(name, str) for name in disabled):
        raise InvalidTypeError(f"disable_plugins is a list of names, got {disabled!r}")
    unasked = find(_UNASKED)
    known = {name: None for found in unasked for name in (found.name, found.distribution)}
    folded = {normalise(name) for name in known}
    names = dict.fromkeys(disabled, "") | dict.fromkeys(off_by_environment(), f"{_SWITCH}: ")
    for name, place in names.items():
        if normalise(name) not in folded:
            advice = did_you_mean(name.removeprefix("no:"), known)
            advice = advice or f"Installed are {listed({found.name for found in find(PLUGINS)})}"
            warn_once(f"{place}no installed plugin is called {name!r}, so it is not switched off. {advice}")
    off = {normalise(name) for name in names}
    return lambda found: found.group in _UNASKED and (found.is_among(off) or not loads_by_itself(found))


def off_by_environment() -> list[str]:
    """Return the names that an environment variable switches off, as they are written there."""
    return [name for each in os.environ.get(_SWITCH, "").split(",") if (name := each.strip())]


def loads_by_itself(found: Found) -> bool:
    """Tell whether an installed plugin is loaded without being named; the environment may forbid it to all but ours."""
    return found.is_ours or not flag(_AUTOLOAD)


def switch_of(found: Found) -> str:
    """Return the environment variable that switches a plugin off, if it is off by the environment."""
    return _SWITCH if found.is_among({normalise(name) for name in off_by_environment()}) else _AUTOLOAD


def flag(variable: str) -> bool:
    """Tell whether an environment variable is set to something that means yes."""
    return os.environ.get(variable, "").strip().lower() not in ("", "0", "false", "no", "off")


def _installed(found: Found, passed: Sequence[object]) -> PluginRecord | None:
    """Return the record of an installed plugin, or None if a passed one replaces it or it cannot be used."""
    kinds = {kind for plugin in passed for kind in type(plugin).__mro__} - {object}
    if any(_leads_to(found, kind) for kind in kinds):
        return None
    try:
        record = examine(found)
    except PluginLoadError as error:
        if found.is_ours and isinstance(error.__cause__, InvalidValueError):
            raise error.__cause__ from None  # a variable of the environment that it reads is set wrong
        refuse(error)
        return None
    own = type(record.plugin)
    is_replaced = any(record.plugin is plugin for plugin in passed) if own is ModuleType else own in kinds
    return None if is_replaced else record


def examine(found: Found) -> PluginRecord:
    """Load an installed plugin and look at its hooks.

    Raises
    ------
    PluginLoadError
        If it cannot be used, with the reason.
    """
    return record_of(found, produce(found))


def record_of(found: Found, plugin: Any, *, is_strategy: bool = False) -> PluginRecord:
    """Return the record of what an entry point made; raise as :func:`examine`."""
    if plugin is None or isinstance(plugin, type):
        raise cannot_load(found, f"it gives {safe_repr(plugin)}, not an instance")
    try:
        return PluginRecord.of(
            found.name, plugin, found.distribution, found.version, "entry point", is_strategy=is_strategy
        )
    except CrystallizeError as error:
        raise cannot_load(found, error.what) from error
    except Exception as error:  # a foreign active_hooks() may raise anything
        raise cannot_load(found, error_text(error), place_of(error)) from error


def refuse(error: PluginLoadError) -> None:
    """Warn, once, about an installed plugin that cannot be used; in strict mode, raise.

    Raises
    ------
    PluginLoadError
        The error itself, if ``CRYSTALLIZE_STRICT_PLUGINS`` is set.
    """
    if flag("CRYSTALLIZE_STRICT_PLUGINS"):
        raise error
    end = "" if error.what.endswith(("?", ".")) else "."
    warn_once(f"{error.what}{end} The run goes on without it")
