"""Seed, plugins, execution strategy and use of the cache of a folder's experiment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import Any

from crystallize import discovery
from crystallize.config.errors import KeyPath, Problem
from crystallize.config.lookup import Lookup, Takes
from crystallize.discovery import CORE, PLUGINS, Found, find, normalise, warn_once
from crystallize.errors import CrystallizeError
from crystallize.plugins.base import BasePlugin
from crystallize.plugins.collection import examine, loads_by_itself, off_by_environment, record_of
from crystallize.plugins.execution.resolution import find_strategy, resolve_strategy
from crystallize.plugins.inspection import implementations, is_own, unmarked
from crystallize.plugins.seed import SeedPlugin
from crystallize.utils.wording import listed

_ADDING_HOOKS = frozenset({"before_replicate", "before_step", "after_step"})


class Settings:
    """What the file and the caller say about seed, plugins, execution and the cache.

    Parameters
    ----------
    lookup : Lookup
        The configuration and the folder's modules.
    seed, execution, cache, disable_plugins, plugins
        The caller's; see :func:`crystallize.config.build.load_experiment`.

    Attributes
    ----------
    seed : int or None
        The master seed for the experiment to give to its plugin, if none is made here with it.
    master_seed : int or None
        The master seed, if the plugin that seeds is switched off.
    execution : object
        The strategy, or what the caller asked for; None for the default.
    cache : bool or "refresh"
        Whether the step cache is used.
    disabled : set of str
        Names of plugins that are switched off.
    plugins : list of object
        The plugins to pass to the experiment: the caller's take the place of the file's.
    may_add_keys : bool
        Whether a plugin that is not ours may add entries to contexts.
    """

    def __init__(
        self,
        lookup: Lookup,
        *,
        seed: int | None = None,
        execution: Any = None,
        cache: bool | str | None = None,
        disable_plugins: Collection[str] = (),
        plugins: Sequence[object] = (),
    ) -> None:
        self._lookup = lookup
        self.master_seed: int | None = None
        self.seed = lookup.config.seed if seed is None else seed
        if seed is None and any(isinstance(plugin, SeedPlugin) for plugin in plugins):
            self.seed = None
        self.cache = lookup.config.cache if cache is None else cache
        self.disabled = set(disable_plugins)
        kinds = {type(plugin) for plugin in plugins}
        made = [plugin for plugin in self._made() if type(plugin) not in kinds]
        from_file = self._strategy()
        self.execution = from_file if execution is None else execution
        hooks = hooks_of(lookup)
        self.plugins = [*plugins, *made, *([] if hooks is None else [hooks])]
        self.may_add_keys = (
            hooks is not None
            or lookup.modules.failed("hooks")
            or not all(found.is_ours for found in find(PLUGINS))
            or any(_may_add(plugin) for plugin in plugins)
        )

    # -- plugins ---------------------------------------------------------------------------------------------

    def _made(self) -> list[object]:
        """Return the plugins that the file configures."""
        settings = self._lookup.config.plugins
        off = [*self.disabled, *off_by_environment(), *(name for name in settings if settings[name] is False)]
        folded = {normalise(name) for name in off}

        def is_off(found: Found) -> bool:
            return found.is_among(folded)

        if not folded.isdisjoint({"seed", CORE}):
            self.master_seed, self.seed = self.seed, None
        made: list[object | None] = []
        places: dict[Found, str] = {}
        for name, setting in settings.items():
            path: KeyPath = ("plugins", name)
            if setting is False:
                self._switch_off(name)
                continue
            found = self._lookup.attempt(path, self._find, name, is_off, key=True)
            if found is None:
                continue
            if places.setdefault(found, name) != name:
                line = self._lookup.line_of("plugins", places[found])
                message = f"{name!r} names the plugin of line {line} again"
                self._lookup.note(path, message, "Remove one of the two", key=True)
            elif not is_off(found):
                made.append(self._lookup.attempt(path, self._make, found, setting, path, key=True))
        return [plugin for plugin in made if plugin is not None]

    def _switch_off(self, name: str) -> None:
        known = {normalise(each) for found in find(PLUGINS) for each in (found.name, found.distribution)}
        if normalise(name) in known:
            self.disabled.add(name)
            return
        # No mistake: the file may come from a machine where it is installed.
        error = discovery.unknown(PLUGINS, name, "plugin")
        message = f"{error.what}, so none is switched off"
        document = self._lookup.draft.document
        warn_once(str(document.problem(("plugins", name), message, error.hint, key=True)))

    def _find(self, name: str, is_off: Callable[[Found], bool]) -> Found:
        """Return the plugin that is meant by its own name, or by that of its distribution if that has one only."""
        try:
            return discovery.lookup(PLUGINS, name, "plugin", is_off)
        except CrystallizeError:
            owned = [found for found in find(PLUGINS) if normalise(found.distribution) == normalise(name)]
            if len(owned) == 1:
                return owned[0]
            if owned:
                hint = f"Name one of {listed(found.name for found in owned)}"
                message = f"the distribution {name!r} has several plugins"
                self._lookup.refuse(("plugins", name), message, hint, key=True)
            raise

    def _make(self, found: Found, setting: bool | dict[str, Any], path: KeyPath) -> object | None:
        """Return a plugin that is configured, or would not be loaded by itself; one that is wanted is checked."""
        if isinstance(setting, bool):
            wanted = examine(found)
            return None if loads_by_itself(found) else wanted.plugin
        arguments, what = setting, f"plugin {found.name!r}"
        make = discovery.load(found)
        if discovery.classify(make) not in ("class", "factory"):
            record_of(found, make)
            if arguments:
                self._lookup.refuse(path, f"{what} takes no arguments", "Write true or false")
            return None
        takes = Takes.callable(make)
        if found.name == "seed" and "seed" in takes.parameters:
            arguments = self._with_seed(arguments, path)
        self._lookup.check_arguments(path, what, takes, arguments)
        try:
            made = make(**arguments)
        except (Exception, SystemExit) as error:  # a stranger's constructor may raise anything
            self._lookup.refuse_call(path, arguments, error)
        record_of(found, made)
        return made  # type: ignore[no-any-return]

    def _with_seed(self, arguments: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        """Move the master seed to the arguments of the plugin that seeds."""
        if "seed" in arguments and self._lookup.config.seed is not None:
            message = f"the seed is given here and in line {self._lookup.line_of('seed')}"
            self._lookup.note((*path, "seed"), message, "Remove one of the two", key=True)
        seed, self.seed = self.seed, None
        return arguments if seed is None else {**arguments, "seed": seed}

    # -- execution -------------------------------------------------------------------------------------------

    def _strategy(self) -> object | None:
        wanted = self._lookup.config.execution
        if wanted is None:
            return None
        arguments: dict[str, Any] = {"strategy": wanted} if isinstance(wanted, str) else dict(wanted)
        name = arguments.pop("strategy")
        path: KeyPath = ("execution",)

        def make() -> object:
            kind = find_strategy(name)
            is_made = discovery.classify(kind) in ("class", "factory")
            takes = Takes.callable(kind) if is_made else Takes({})
            spelled = f"{{{{strategy: {name}, {{}}: value}}}}"
            self._lookup.check_arguments(path, f"strategy {name!r}", takes, arguments, spelled=spelled)
            try:
                return resolve_strategy({"strategy": name, **arguments})
            except Exception as error:
                self._lookup.refuse_call(path, arguments, error)

        return self._lookup.attempt(path if isinstance(wanted, str) else (*path, "strategy"), make)


def hooks_of(lookup: Lookup) -> object | None:
    """Return the functions of a folder's hooks.py as one plugin, ``hooks``; None if there is none to use.

    Not the module itself: that would travel to worker processes by its name, which they cannot import.
    """
    module = lookup.modules.load("hooks")
    if module is None:
        return None
    plugin: object = type("hooks", (), {"__module__": module.__name__})()
    for name, member in vars(module).items():
        if is_own(member, module, name):
            setattr(plugin, name, member)
    file = lookup.modules.file("hooks")
    try:
        found = implementations(plugin)
    except CrystallizeError as error:
        lookup.modules.problems.append(Problem.of_file(file, error.what, error.hint))
        return None
    classes = _own_plugin_classes(module)
    unused = f"the class {listed(classes)} is not used: hooks are functions here" if classes else ""
    if found:
        if unused:
            warn_once(f"{file}: {unused}")
        return plugin
    bare = unmarked(plugin)
    message = f"{listed(bare)} bears the name of a hook and is not marked" if bare else unused
    hint = "Mark hooks with @hookimpl: from crystallize import hookimpl"
    lookup.modules.problems.append(Problem.of_file(file, message or "the module has no hook", hint))
    return None


def _own_plugin_classes(module: ModuleType) -> list[str]:
    kinds = {name: member for name, member in vars(module).items() if isinstance(member, type)}
    return [
        name
        for name, kind in kinds.items()
        if issubclass(kind, BasePlugin) and kind.__module__ == module.__name__
    ]


def _may_add(plugin: object) -> bool:
    is_ours = type(plugin).__module__.startswith("crystallize.")
    return not is_ours and not _ADDING_HOOKS.isdisjoint(dir(plugin))
