"""Seed, plugins and execution strategy of a folder's experiment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crystallize.config.errors import KeyPath, Problem
from crystallize.config.signatures import Takes, blamed_argument, check_arguments, explained, reason_of
from crystallize.discovery import (
    CORE,
    PLUGINS,
    Found,
    cannot_load,
    classify,
    find,
    load,
    lookup,
    normalise,
    unknown,
    warn_once,
)
from crystallize.errors import CrystallizeError, PluginError
from crystallize.plugins.base import BasePlugin
from crystallize.plugins.collection import examine, flag, off_by_environment
from crystallize.plugins.execution.resolution import find_strategy, resolve_strategy
from crystallize.plugins.inspection import implementations, is_own, unmarked
from crystallize.plugins.seed import SeedPlugin
from crystallize.utils.failures import shown, told
from crystallize.utils.suggest import listed

if TYPE_CHECKING:
    from types import ModuleType

    from crystallize.config.modules import FolderModules
    from crystallize.config.reader import Draft

_ADDING_HOOKS = frozenset({"before_replicate", "before_step", "after_step"})


def hooks_of(module: ModuleType) -> object:
    """Return the functions of a folder's hooks.py as one plugin, ``hooks``.

    Not the module itself: that would travel to worker processes by its name, which they cannot import.
    """
    plugin: object = type("hooks", (), {"__module__": module.__name__})()
    for name, member in vars(module).items():
        if is_own(member, module, name):
            setattr(plugin, name, member)
    return plugin


def _fault(plugin: object) -> str:
    """Say why what a class or factory gave cannot be used as a plugin."""
    if plugin is None or isinstance(plugin, type):
        return f"it gives {shown(plugin)}, not an instance"
    try:
        is_plugin = bool(implementations(plugin) or unmarked(plugin)) or isinstance(plugin, BasePlugin)
        return "" if is_plugin else f"it gives {shown(plugin)}, which has no hook"
    except PluginError as error:
        return error.what
    except Exception as error:  # a foreign active_hooks() may raise anything
        return told(error)


class Settings:
    """What the file and the caller say about seed, plugins and execution.

    Parameters
    ----------
    draft : Draft
        The configuration; problems go to its document.
    modules : FolderModules
        The folder's modules, for hooks.py.
    seed, execution, disable_plugins, plugins
        The caller's; see :func:`crystallize.config.build.load_experiment`.

    Attributes
    ----------
    seed : int or None
        The master seed, if no plugin is given it.
    execution : object
        The strategy, or what the caller asked for; None for the default.
    disabled : set of str
        Names of plugins that are switched off.
    may_add_keys : bool
        Whether a plugin that is not ours may add entries to contexts.
    """

    def __init__(
        self,
        draft: Draft,
        modules: FolderModules,
        *,
        seed: int | None,
        execution: Any,
        disable_plugins: Collection[str],
        plugins: Sequence[object],
    ) -> None:
        self._draft = draft
        self._modules = modules
        self._document = draft.document
        self._passed = list(plugins)
        self._made: list[object] = []
        self.disabled = set(disable_plugins)
        self.seed = draft.config.seed if seed is None else seed
        if seed is None and any(isinstance(plugin, SeedPlugin) for plugin in self._passed):
            self.seed = None
        self._off = self._switched_off()
        self._read_plugins(seed)
        self.execution = self._read_execution()
        if execution is not None:
            self.execution = execution
        self._hooks = self._read_hooks()
        self.may_add_keys = self._hooks is not None or modules.failed("hooks") or self._has_strangers()

    def plugins(self) -> list[object]:
        """Return the plugins to pass to the experiment: the caller's take the place of the file's."""
        kinds = {type(plugin) for plugin in self._passed}
        kept = [plugin for plugin in self._made if type(plugin) not in kinds]
        return [*self._passed, *kept, *([self._hooks] if self._hooks is not None else [])]

    def _has_strangers(self) -> bool:
        if any(normalise(found.distribution) != CORE for found in find(PLUGINS)):
            return True
        return any(
            not type(plugin).__module__.startswith("crystallize.")
            and not _ADDING_HOOKS.isdisjoint(dir(plugin))
            for plugin in self._passed
        )

    # -- plugins ---------------------------------------------------------------------------------------------

    def _read_plugins(self, seed: int | None) -> None:
        off = self._off
        if seed is None and not off.isdisjoint({"seed", CORE}):
            self._drop_seed()
        places: dict[Found, KeyPath] = {}
        for name, setting in self._draft.config.plugins.items():
            path = ("plugins", name)
            if setting is False:
                self._switch_off(name, path)
                continue
            found = self._find(name, path)
            if found is None:
                continue
            if places.setdefault(found, path) != path:
                line = self._document.at(places[found])[0]
                self._document.add(
                    path, f"{name!r} names the plugin of line {line} again", "Remove one of the two", key=True
                )
            elif not self._is_off(found):
                arguments = {} if setting is True else setting
                self._read_plugin(found, arguments, path, seed, configured=setting is not True)

    def _switched_off(self) -> set[str]:
        """Return the folded names that are switched off from outside of the file, or anywhere in it."""
        file = [name for name, setting in self._draft.config.plugins.items() if setting is False]
        return {normalise(name) for name in [*self.disabled, *off_by_environment(), *file]}

    def _is_off(self, found: Found) -> bool:
        return not self._off.isdisjoint({normalise(found.name), normalise(found.distribution)})

    def _drop_seed(self) -> None:
        """Give no seed to a plugin that is switched off; in one file, the two contradict each other."""
        self.seed = None
        names = [name for name in self._draft.config.plugins if normalise(name) in ("seed", CORE)]
        path = ("plugins", *names[:1])
        if names and self._draft.config.plugins[names[0]] is False and self._draft.config.seed is not None:
            line = self._document.at(("seed",))[0]
            self._document.add(
                path,
                f"the plugin that seeds is switched off, and line {line} gives a seed",
                "Remove one of the two",
                key=True,
            )

    def _switch_off(self, name: str, path: KeyPath) -> None:
        known = {normalise(each) for found in find(PLUGINS) for each in (found.name, found.distribution)}
        if normalise(name) in known:
            self.disabled.add(name)
            return
        # No mistake: the file may come from a machine where it is installed.
        error = unknown(PLUGINS, name, "plugin")
        problem = self._document.problem(path, f"{error.what}, so none is switched off", error.hint, key=True)
        warn_once(str(problem))

    def _find(self, name: str, path: KeyPath) -> Found | None:
        """Return the plugin that is meant by its own name, or by that of its distribution if that has one only."""
        try:
            return lookup(PLUGINS, name, "plugin", self._is_off)
        except CrystallizeError as error:
            of_distribution = [
                found for found in find(PLUGINS) if normalise(found.distribution) == normalise(name)
            ]
            if len(of_distribution) == 1:
                return of_distribution[0]
            if of_distribution:
                names = listed(found.name for found in of_distribution)
                what, hint = f"the distribution {name!r} has several plugins", f"Name one of {names}"
            else:
                what, hint = error.what, error.hint
            self._document.add(path, what, hint, key=True)
            return None

    def _read_plugin(
        self, found: Found, arguments: dict[str, Any], path: KeyPath, seed: int | None, *, configured: bool
    ) -> None:
        try:
            if not configured:
                record = examine(found)
                if flag("CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD") and normalise(found.distribution) != CORE:
                    self._made.append(record.plugin)
                return
            make = load(found)
            takes = Takes.callable(make) if classify(make) in ("class", "factory") else None
        except CrystallizeError as error:
            self._document.add(path, *explained(error), key=True)
            return
        if takes is None:
            fault = _fault(make)
            if fault:
                self._document.add(path, cannot_load(found, fault).what, key=True)
            elif arguments:
                self._document.add(path, f"plugin {found.name!r} takes no arguments", "Write true or false")
            return
        if "seed" in takes.parameters and found.name == "seed":
            if "seed" in arguments and self._draft.config.seed is not None:
                line = self._document.at(("seed",))[0]
                self._document.add(
                    (*path, "seed"),
                    f"the seed is given here and in line {line}",
                    "Remove one of the two",
                    key=True,
                )
            if self.seed is not None:
                arguments = {**arguments, "seed": self.seed}
                self.seed = None
        if check_arguments(self._document, path, f"plugin {found.name!r}", takes, arguments):
            try:
                plugin = make(**arguments)
            except (Exception, SystemExit) as error:  # a stranger's constructor may raise anything
                self._refused(error, arguments, path)
                return
            fault = _fault(plugin)
            if fault:
                self._document.add(path, cannot_load(found, fault).what, key=True)
            else:
                self._made.append(plugin)

    def _refused(self, error: BaseException, arguments: Mapping[str, Any], path: KeyPath) -> None:
        reason, hint = reason_of(error)
        self._document.add((*path, *blamed_argument(arguments, reason)), reason, hint)

    # -- execution -------------------------------------------------------------------------------------------

    def _read_execution(self) -> Any:
        wanted = self._draft.config.execution
        if wanted is None:
            return None
        is_name = isinstance(wanted, str)
        name: str = wanted if isinstance(wanted, str) else wanted["strategy"]
        place: KeyPath = ("execution",) if is_name else ("execution", "strategy")
        arguments = (
            {} if isinstance(wanted, str) else {key: wanted[key] for key in wanted if key != "strategy"}
        )
        try:
            make = find_strategy(name)
            takes = Takes.callable(make) if classify(make) in ("class", "factory") else Takes({})
        except CrystallizeError as error:
            self._document.add(place, *explained(error))
            return None
        spelled = f"{{{{strategy: {name}, {{}}: value}}}}"
        what = f"strategy {name!r}"
        if not check_arguments(self._document, ("execution",), what, takes, arguments, spelled=spelled):
            return None
        try:
            return resolve_strategy(wanted)
        except PluginError as error:  # with the constructor's own error as the cause
            blamed = blamed_argument(arguments, told(error.__cause__ or error))
            self._document.add(("execution", *blamed), *explained(error))
        except Exception as error:
            self._refused(error, arguments, ("execution",))
        return None

    # -- hooks.py --------------------------------------------------------------------------------------------

    def _read_hooks(self) -> object | None:
        module = self._modules.load("hooks")
        if module is None:
            return None
        hooks = hooks_of(module)
        file = self._modules.file("hooks")
        try:
            found = implementations(hooks)
        except CrystallizeError as error:
            self._modules.problems.append(Problem(file, 0, 0, "", error.what, error.hint))
            return None
        classes = [
            name
            for name, member in vars(module).items()
            if isinstance(member, type)
            and issubclass(member, BasePlugin)
            and member.__module__ == module.__name__
        ]
        unused = f"the class {listed(classes)} is not used: hooks are functions here" if classes else ""
        if not found:
            bare = unmarked(hooks)
            message = (
                f"{listed(bare)} bears the name of a hook and is not marked"
                if bare
                else unused or "the module has no hook"
            )
            self._modules.problems.append(
                Problem(
                    file, 0, 0, "", message, "Mark hooks with @hookimpl: from crystallize import hookimpl"
                )
            )
            return None
        if unused:
            warn_once(f"{file}: {unused}")
        return hooks
