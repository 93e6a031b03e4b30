"""Seed, plugins and execution strategy of a folder's experiment."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

from crystallize.config.errors import KeyPath, Problem
from crystallize.config.signatures import Takes, blamed_argument, check_arguments, reason_of
from crystallize.discovery import CORE, EXECUTION, PLUGINS, Found, classify, find, load, lookup, normalise
from crystallize.errors import CrystallizeError
from crystallize.plugins.collection import examine, flag
from crystallize.plugins.inspection import implementations, unmarked
from crystallize.plugins.manager import resolve_strategy
from crystallize.plugins.seed import SeedPlugin
from crystallize.utils.suggest import did_you_mean, listed

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
        if isinstance(member, FunctionType) and member.__module__ == module.__name__:
            setattr(plugin, name, member)
    return plugin


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
        installed = {found.name: found for found in find(PLUGINS)}
        switched_off = os.environ.get("CRYSTALLIZE_DISABLE_PLUGINS", "").split(",")
        off = {normalise(name.strip()) for name in [*self.disabled, *switched_off]}
        distributions = {normalise(found.distribution) for found in installed.values()}
        for name, setting in self._draft.config.plugins.items():
            path = ("plugins", name)
            is_known = name in installed or (setting is False and normalise(name) in distributions)
            if not is_known:
                self._document.add(
                    path,
                    f"no plugin is called {name!r}",
                    f"{did_you_mean(name, installed)} Installed are {listed(installed)}".strip(),
                    key=True,
                )
            elif setting is False:
                self.disabled.add(name)
            elif normalise(name) not in off and normalise(installed[name].distribution) not in off:
                self._read_plugin(
                    installed[name],
                    {} if setting is True else setting,
                    path,
                    seed,
                    configured=setting is not True,
                )

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
            self._document.add(path, error.what, error.mend, key=True)
            return
        if takes is None:
            if arguments:
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
                self._made.append(make(**arguments))
            except Exception as error:  # a stranger's constructor may raise anything
                self._refused(error, arguments, path)

    def _refused(self, error: Exception, arguments: Mapping[str, Any], path: KeyPath) -> None:
        reason, mend = reason_of(error)
        self._document.add((*path, *blamed_argument(arguments, reason)), reason, mend)

    # -- execution -------------------------------------------------------------------------------------------

    def _read_execution(self) -> Any:
        wanted = self._draft.config.execution
        if wanted is None:
            return None
        is_name = isinstance(wanted, str)
        name: str = wanted if isinstance(wanted, str) else wanted["strategy"]
        place: KeyPath = ("execution",) if is_name else ("execution", "strategy")
        names = sorted({found.name for found in find(EXECUTION)})
        if name not in names:
            self._document.add(
                place,
                f"no execution strategy is called {name!r}",
                f"{did_you_mean(name, names)} Installed are {listed(names)}".strip(),
            )
            return None
        arguments = (
            {}
            if isinstance(wanted, str)
            else {key: value for key, value in wanted.items() if key != "strategy"}
        )
        try:
            takes = Takes.callable(load(lookup(EXECUTION, name, "execution strategy")))
        except CrystallizeError as error:
            self._document.add(place, error.what, error.mend)
            return None
        if not check_arguments(self._document, ("execution",), f"strategy {name!r}", takes, arguments):
            return None
        try:
            return resolve_strategy(wanted)
        except Exception as error:  # a stranger's constructor may raise anything
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
            self._modules.problems.append(Problem(file, 0, 0, "", error.what, error.mend))
            return None
        if not found:
            bare = unmarked(hooks)
            message = (
                f"{listed(bare)} bears the name of a hook and is not marked"
                if bare
                else "the module has no hook"
            )
            self._modules.problems.append(
                Problem(
                    file, 0, 0, "", message, "Mark hooks with @hookimpl, from crystallize.plugins.plugins"
                )
            )
            return None
        return hooks
