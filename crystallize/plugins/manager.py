"""The plugins of one experiment, and the way to call their hooks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pluggy

from crystallize import hookspecs
from crystallize.discovery import EXECUTION, find, lookup
from crystallize.errors import InvalidTypeError, PluginError, PluginLoadError, ValidationError
from crystallize.plugins.base import HOOK_NAMES, kept_arguments
from crystallize.plugins.calling import (
    TO_THE_END,
    attributed,
    drove,
    error_of,
    in_a_row,
    kept_errors,
    raise_first_kept,
    raised_by,
    together,
)
from crystallize.plugins.collection import PluginRecord, collect, collect_only, record_of, refuse, set_apart
from crystallize.plugins.execution.resolution import make_strategy
from crystallize.plugins.inspection import LOOP
from crystallize.utils.failures import ADDRESSED_TO_THE_RUN, comparable_text, error_text, safe_repr
from crystallize.utils.masking import masked
from crystallize.utils.wording import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Sequence

T = TypeVar("T")


class PluginManager:
    """The plugins of one experiment: a typed facade over ``pluggy.PluginManager("crystallize")``.

    Calls run in the order of `records`; ``tryfirst``, ``trylast`` and wrappers move within it as pluggy does.
    It can be pickled: a copy is built again from the records.

    Parameters
    ----------
    records : sequence of PluginRecord
        The plugins in call order; :meth:`build` collects them.

    Attributes
    ----------
    records : tuple of PluginRecord
        The active plugins, in call order.
    hook : pluggy.HookRelay
        ``manager.hook.before_run(experiment=...)`` calls the hook as pluggy does, without blame.
    """

    def __init__(self, records: Sequence[PluginRecord]) -> None:
        self._pluggy = _Pluggy(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._innermost = _Innermost()
        # pluggy calls the last registered first.
        kept = [record for record in reversed(records) if self._register(record)]
        self.records = tuple(reversed(kept))
        self._pluggy.register(self._innermost, "innermost")
        self.hook = self._pluggy.hook
        self._callers: dict[str, pluggy.HookCaller | None] = {}
        for name in HOOK_NAMES:
            caller: pluggy.HookCaller = getattr(self.hook, name)
            self._callers[name] = caller if _in_order(caller) else None

    @classmethod
    def build(
        cls, passed: Sequence[object], *, disabled: Collection[str] = (), strategy: object | None = None
    ) -> PluginManager:
        """Collect the plugins of an experiment.

        Parameters
        ----------
        passed : sequence
            The plugins that the user passed, in order.
        disabled : collection of str
            Names of installed plugins, or distributions, that are switched off.
        strategy : object, optional
            The execution strategy that the user named, as an instance. Without one, and without one among
            `passed`, the strategy ``serial`` is taken if it is installed.

        Raises
        ------
        InvalidTypeError
            If something that is no plugin was passed.
        PluginError
            If a passed plugin has a mistake, or an installed one and ``CRYSTALLIZE_STRICT_PLUGINS`` is set.
        ValidationError
            If there are two execution strategies.
        """
        records = collect(passed, disabled, strategy)
        drivers = [record for record in records if record.source == "passed" and record.drives]
        if strategy is not None and not any(record.plugin is strategy for record in drivers):
            raise InvalidTypeError(
                f"{safe_repr(strategy)} is no execution strategy: it has no run_experiment_loop that drives",
                hint="Define run_experiment_loop(self, experiment, replicate_fn)",
            )
        if len(drivers) > 1:
            raise ValidationError(
                f"an experiment has one execution strategy, got {' and '.join(map(str, drivers))}",
                hint="Pass one in plugins=[...], or name one with execution=...",
            )
        if drivers:  # no installed plugin drives in its place, not even one that is `tryfirst`
            records = [each if each.source == "passed" else each.without_driving() for each in records]
        else:
            records += [set_apart(record, records) for record in _serial()]
        return cls(records)

    @classmethod
    def of(cls, *plugins: object) -> PluginManager:
        """Make the manager of these plugins and no others: nothing that is installed joins them.

        Raises
        ------
        InvalidTypeError, PluginError
            If one of them is no plugin, or has a mistake.
        """
        return cls(collect_only(plugins))

    def _register(self, record: PluginRecord) -> bool:
        registration = _Registration(record)
        try:
            self._pluggy.register(registration, record.name)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            if self._pluggy.get_name(registration) is not None:
                self._pluggy.unregister(registration)
            reason = f"{record} cannot be used: {error}"
            if record.source == "passed":
                raise PluginError(reason) from error
            refuse(PluginLoadError(reason))
            return False
        return True

    # -- calls -----------------------------------------------------------------------------------------------

    def direct(self, hook_name: str, but_for: type | None = None) -> Callable[..., None] | None:
        """Return a function that calls a hook with the arguments of its specification, by position.

        It does what :meth:`call` does, without the look at the implementations that pluggy takes in each call and
        that would be a tenth of a short outcome. None if nobody implements the hook but plugins of the class `but_for`.
        """
        caller = self._callers[hook_name]
        if caller is None:
            return None
        assert caller.spec is not None
        names = list(caller.spec.argnames)
        found = self.implementers(hook_name)
        if all(type(record.plugin) is but_for for record, _ in found):
            return None
        if any(each.wrapper or each.hookwrapper for _, each in found):
            return lambda *arguments: self.call(hook_name, **dict(zip(names, arguments, strict=True)))
        return in_a_row(
            hook_name,
            names,
            [(record, vars(each.function)["__wrapped__"], each.argnames) for record, each in found],
        )

    def call(self, hook_name: str, /, **arguments: Any) -> None:
        """Call a hook of all plugins: to the first error, or, if it is one of `TO_THE_END`, to the end.

        Raises
        ------
        PluginError
            If an implementation raises, with its error as the cause; further ones are notes.
        """
        caller = self._callers[hook_name]
        if caller is None:
            return
        errors: list[PluginError] = []
        token = kept_errors.set(errors)
        try:
            caller(**arguments)
        except ADDRESSED_TO_THE_RUN:
            raise
        except BaseException as error:
            raise together(self.error_of(hook_name, error), errors) from error
        finally:
            kept_errors.reset(token)

    def implements(self, hook_name: str) -> bool:
        """Tell whether any plugin implements a hook."""
        return self._callers[hook_name] is not None

    def error_of(self, hook_name: str, error: BaseException) -> PluginError:
        """Make the error that names the plugin whose hook raised `error`, which becomes its cause."""
        cause = error.__cause__
        if isinstance(cause, StopIteration) and raised_by(cause, hook_name) is not None:
            error = cause  # wrappers are generators, which make a RuntimeError of it
        return error_of(raised_by(error, hook_name), hook_name, error)

    @contextmanager
    def taking_in(self, take: Callable[[Any], None]) -> Iterator[None]:
        """While the block runs, give what the strategy returns to `take`, inside of all wrappers.

        If it is junk, and `take` raises, they see the run break off, as with a strategy that raises.
        """
        self._innermost.take = take
        try:
            yield
        finally:
            self._innermost.take = None

    # -- what there is ---------------------------------------------------------------------------------------

    @property
    def strategy(self) -> PluginRecord | None:
        """The execution strategy: the plugin that has driven the replicates, or before a run the first to be asked."""
        asked = (record for record, each in self.implementers(LOOP) if not (each.wrapper or each.hookwrapper))
        return self._innermost.driver or next(asked, None)

    def find(self, kind: type[T]) -> T | None:
        """Return the first plugin of a class, or None."""
        return next((record.plugin for record in self.records if isinstance(record.plugin, kind)), None)

    def name_of(self, plugin: object) -> str:
        """Return the name under which a plugin takes part.

        Parameters
        ----------
        plugin : object
            The plugin itself, or its name.

        Raises
        ------
        PluginError
            If it does not take part.
        """
        for record in self.records:
            name: str = record.name
            if record.plugin is plugin or (type(plugin) is str and name == plugin):
                return name
        raise PluginError(
            f"{safe_repr(plugin)} is no plugin of this experiment",
            hint=f"Its plugins are {listed(record.name for record in self.records)}",
        )

    def order(self) -> dict[str, list[str]]:
        """Return for each hook the names of the plugins that implement it, in the order of the calls.

        Wrappers come first; what they do after their ``yield`` comes after all others.
        """
        return {
            name: [record.name for record, _ in self.implementers(name)]
            for name in HOOK_NAMES
            if self.implements(name)
        }

    def implementers(self, hook_name: str) -> list[tuple[PluginRecord, pluggy.HookImpl]]:
        """Return the plugins that implement a hook, each with pluggy's record of how, in the order of the calls."""
        return [(_record_of(each), each) for each in _in_order(getattr(self.hook, hook_name))]

    def describe(self) -> list[dict[str, Any]]:
        """Return name, distribution, version and settings of each plugin, as JSON can write them."""
        return [
            {
                "name": record.name,
                "distribution": record.distribution,
                "version": record.version,
                "settings": _settings(record),
            }
            for record in self.records
        ]

    def __repr__(self) -> str:
        return f"PluginManager({', '.join(record.name for record in self.records)})"

    def __getstate__(self) -> tuple[PluginRecord, ...]:
        return self.records

    def __setstate__(self, records: tuple[PluginRecord, ...]) -> None:
        PluginManager.__init__(self, records)


def _record_of(implementation: pluggy.HookImpl) -> PluginRecord:
    assert isinstance(implementation.plugin, _Registration)
    return implementation.plugin.record


def _in_order(caller: pluggy.HookCaller) -> list[pluggy.HookImpl]:
    """Return the plugins' implementations of a hook, in the order of the calls."""
    return [each for each in reversed(caller.get_hookimpls()) if isinstance(each.plugin, _Registration)]


class _Registration:
    """What pluggy gets to see of a plugin: its hook functions, and an identity.

    The plugin itself may be unhashable or equal to another one (a dataclass is), which pluggy does not stand.
    """

    def __init__(self, record: PluginRecord) -> None:
        self.record = record
        self.options: dict[str, dict[str, Any]] = {}
        for implementation in record.implementations:
            attribute = f"{implementation.hook}_{len(self.options):03}"
            setattr(self, attribute, attributed(record, implementation))
            self.options[attribute] = {**implementation.options, "specname": implementation.hook}


class _Innermost:
    """Surrounds the implementations of a hook inside of all wrappers, which see what it makes of them."""

    _wrapper: ClassVar[dict[str, Any]] = {"wrapper": True, "trylast": True}
    options: ClassVar[dict[str, dict[str, Any]]] = dict.fromkeys((LOOP, *TO_THE_END), _wrapper)

    def __init__(self) -> None:
        self.take: Callable[[Any], None] | None = None
        self.driver: PluginRecord | None = None

    def run_experiment_loop(self) -> Generator[None, Any, Any]:
        results = yield
        self.driver = drove.get() if results is not None else None
        if self.take is not None:
            self.take(results)
        return results

    def after_run(self) -> Generator[None, Any, Any]:
        returned = yield
        raise_first_kept()
        return returned

    after_step = after_replicate = after_run


class _Pluggy(pluggy.PluginManager):
    def parse_hookimpl_opts(self, plugin: Any, name: str) -> pluggy.HookimplOpts | None:
        options: pluggy.HookimplOpts | None = plugin.options.get(name)
        return options

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> pluggy.HookspecOpts | None:
        # Each experiment has a manager: the rest of the module need not be looked at for each.
        return super().parse_hookspec_opts(module_or_class, name) if name in HOOK_NAMES else None


def _serial() -> list[PluginRecord]:
    if not any(found.name == "serial" for found in find(EXECUTION)):
        return []
    found = lookup(EXECUTION, "serial", "execution strategy")
    return [record_of(found, make_strategy("serial", {}))]


# -- settings ------------------------------------------------------------------------------------------------


def settings_of(record: PluginRecord, *, with_private: bool = False) -> dict[str, Any]:
    """Return the settings that a plugin tells of itself, or what it keeps of its constructor's arguments.

    Parameters
    ----------
    record : PluginRecord
        The plugin.
    with_private : bool
        Whether to add the arguments that it keeps behind an underscore: they count, and are not for others to see.
    """
    try:
        settings = getattr(record.plugin, "settings", None)
        if settings is None and not isinstance(record.plugin, ModuleType):
            settings = kept_arguments(record.plugin)
        private = kept_arguments(record.plugin, "_") if with_private else {}
        return {str(key): value for key, value in {**private, **dict(settings or {})}.items()}
    except ADDRESSED_TO_THE_RUN:
        raise
    except BaseException as error:  # a foreign property or key may raise anything
        return {"unreadable": error_text(error)}


def _settings(record: PluginRecord) -> dict[str, Any]:
    try:
        return {key: masked(key, _plain(value)) for key, value in settings_of(record).items()}
    except ADDRESSED_TO_THE_RUN:
        raise
    except BaseException as error:  # a foreign value may raise anything, or contain itself
        return {"unreadable": error_text(error)}


def _plain(value: Any) -> Any:
    """Turn a setting into what JSON can write: functions and classes by name, the unknown by its repr."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', None)}.{value.__qualname__}"
    return str(value) if hasattr(value, "__fspath__") else comparable_text(safe_repr(value))
