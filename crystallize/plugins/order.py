"""Who implements which hook, in the order in which a run calls them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crystallize import hookspecs
from crystallize.discovery import EXECUTION, PLUGINS
from crystallize.plugins.base import HOOK_NAMES
from crystallize.plugins.collection import set_apart
from crystallize.plugins.manager import PluginManager

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize.plugins.collection import PluginRecord
    from crystallize.plugins.survey import Sight

Place = Literal["coordinator", "worker"]


class Implementer(NamedTuple):
    """One implementation of a hook: whose it is, and its ``@hookimpl`` options that move it."""

    plugin: str
    distribution: str
    version: str
    options: tuple[str, ...]


class Hook(NamedTuple):
    """A hook, and who implements it.

    Attributes
    ----------
    name : str
        Its name.
    arguments : tuple of str
        What it is called with.
    runs_in : {"coordinator", "worker"}
        Where.
    firstresult : bool
        Whether the first implementation that does not return None ends the call.
    summary : str
        When it is called.
    implementers : tuple of Implementer
        In the order of the calls; wrappers come first, and have the last word too.
    """

    name: str
    arguments: tuple[str, ...]
    runs_in: Place
    firstresult: bool
    summary: str
    implementers: tuple[Implementer, ...]

    @property
    def signature(self) -> str:
        """How it is written: ``before_step(experiment, step, ctx)``."""
        return f"{self.name}({', '.join(self.arguments)})"

    def as_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {**self._asdict(), "implementers": [each._asdict() for each in self.implementers]}


def hooks_of(records: Sequence[PluginRecord]) -> list[Hook]:
    """Return every hook in the order of a run, with its implementers among some plugins, as pluggy calls them.

    Parameters
    ----------
    records : sequence of PluginRecord
        The plugins of an experiment, in their order.
    """
    manager = PluginManager(records)
    hooks = []
    for name in HOOK_NAMES:
        caller = getattr(manager.hook, name)
        implementers = [
            Implementer(record.name, record.distribution or "", record.version or "", _options(each))
            for record, each in manager.implementers(name)
        ]
        specification = getattr(hookspecs, name)
        hooks.append(
            Hook(
                name,
                tuple(inspect.signature(specification).parameters),
                hookspecs.RUNS_IN[name],
                bool(caller.spec.opts["firstresult"]),
                inspect.cleandoc(specification.__doc__).partition("\n")[0],
                tuple(implementers),
            )
        )
    return hooks


def _options(implementation: Any) -> tuple[str, ...]:
    is_wrapper = implementation.wrapper or implementation.hookwrapper
    marks = {"wrapper": is_wrapper, "tryfirst": implementation.tryfirst, "trylast": implementation.trylast}
    return tuple(mark for mark, is_set in marks.items() if is_set)


def of_installed(sights: Iterable[Sight], strategy: Sight | None = None) -> list[PluginRecord]:
    """Return the records of an experiment that is built with nothing but what is installed.

    Parameters
    ----------
    sights : iterable of Sight
        The groups ``crystallize.plugins`` and ``crystallize.execution``.
    strategy : Sight, optional
        The strategy that is named; ``serial`` otherwise.
    """
    sights = list(sights)
    records = [sight.record for sight in sights if sight.found.group == PLUGINS and sight.record]
    if strategy is not None:
        return [set_apart(strategy.record, records), *records] if strategy.record else records
    strategies = [sight.record for sight in sights if sight.found.group == EXECUTION and sight.record]
    return records + [set_apart(record, records) for record in strategies if record.name == "serial"]


class Call(NamedTuple):
    """One hook of one plugin: where it runs, and its place among all implementations.

    Attributes
    ----------
    hook : str
        The hook.
    runs_in : {"coordinator", "worker"}
        Where.
    position, of : int or None
        Its place, counted from 1, and how many there are; None for a strategy that cannot be made without
        arguments, and so is not known well enough.
    options : tuple of str
        As in :class:`Implementer`.
    """

    hook: str
    runs_in: Place
    position: int | None
    of: int | None
    options: tuple[str, ...]


def calls_of(sight: Sight, sights: Iterable[Sight]) -> list[Call]:
    """Return the calls that a plugin or strategy gets, in the order of a run.

    Parameters
    ----------
    sight : Sight
        The plugin or strategy.
    sights : iterable of Sight
        The groups ``crystallize.plugins`` and ``crystallize.execution``.
    """
    if sight.record is None:
        return [Call(hook, hookspecs.RUNS_IN[hook], None, None, ()) for hook in sight.installed.hooks]
    is_strategy = sight.found.group == EXECUTION
    records = of_installed(sights, sight if is_strategy else None)
    name = records[0].name if is_strategy else sight.record.name
    return [
        Call(hook.name, hook.runs_in, position, len(hook.implementers), each.options)
        for hook in hooks_of(records)
        for position, each in enumerate(hook.implementers, start=1)
        if each.plugin == name
    ]
