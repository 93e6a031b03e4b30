"""What is installed and whether it can be used: every entry point of every group, looked at as a use would.

A look imports the entry point, makes what an experiment would make of it and checks that. What is switched
off is not imported. Whatever a plugin does wrong, its entry is listed as failed and the next one is looked at.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crystallize.discovery import (
    COMMANDS,
    EXECUTION,
    GROUPS,
    KINDS,
    LOADERS,
    PLUGINS,
    VERIFIERS,
    Found,
    cannot_load,
    classify,
    find,
    hidden,
    lacking_argument,
    load,
    produce,
)
from crystallize.errors import InvalidTypeError, PluginError, PluginLoadError
from crystallize.plugins.base import HOOK_NAMES, BasePlugin
from crystallize.plugins.collection import PluginRecord, examine, is_off, switched_off
from crystallize.plugins.execution.resolution import fault_of
from crystallize.plugins.inspection import LOOP
from crystallize.utils.failures import error_text, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Status = Literal["active", "disabled", "failed", "shadowed"]


class Installed(NamedTuple):
    """One installed entry point, and what looking at it gave.

    Attributes
    ----------
    found : Found
        The entry point.
    status : {"active", "disabled", "failed", "shadowed"}
        Shadowed is what cannot be reached: the core keeps its name, or another copy of its distribution comes
        first on ``sys.path``.
    thing : object
        What the entry point refers to, if it is active.
    record : PluginRecord or None
        Its hooks, if it is a plugin, or a strategy that needs no arguments.
    documentation : str
        Its docstring, or a command's help; empty if it was not imported.
    error : PluginLoadError or None
        Why it failed or is shadowed.
    """

    found: Found
    status: Status
    thing: Any = None
    record: PluginRecord | None = None
    documentation: str = ""
    error: PluginLoadError | None = None

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hooks of a plugin or strategy, in the order of a run."""
        if self.record is not None:
            return self.record.hooks
        if self.thing is None or self.found.group != EXECUTION:
            return ()
        # A strategy that needs arguments cannot be made here; its class tells its hooks.
        own = {name: getattr(self.thing, name, None) for name in HOOK_NAMES}
        return tuple(
            name
            for name, method in own.items()
            if callable(method) and method is not getattr(BasePlugin, name)
        )

    def as_json(self) -> dict[str, Any]:
        """Return what a listing tells of it, as JSON can write it."""
        found = self.found
        first_line = self.documentation.strip().partition("\n")[0]
        return {
            "name": found.name,
            "kind": KINDS[found.group],
            "group": found.group,
            "status": self.status,
            "distribution": found.distribution,
            "version": found.version,
            "hooks": list(self.hooks),
            # No control characters: they reach the terminal.
            "summary": "".join(each if each.isprintable() else " " for each in first_line).strip(),
            "error": self.error.what if self.error else "",
        }


def list_installed(
    groups: Collection[str] = GROUPS,
    *,
    disabled: Collection[str] = (),
    with_hidden: bool = False,
    make_command: Callable[[Found], Any] = load,
    own_commands: Collection[str] = (),
) -> list[Installed]:
    """Look at the entry points of some groups, as an experiment of this process sees them.

    Parameters
    ----------
    groups : collection of str
        The groups.
    disabled : collection of str
        Names of plugins or distributions that are switched off, besides those that the environment names.
    with_hidden : bool
        Also return the entries of later copies of a distribution on ``sys.path``.
    make_command : callable
        Makes the command of an entry point, or raises :class:`PluginLoadError`; the command line knows how.
    own_commands : collection of str
        Names of commands that cannot be taken.

    Returns
    -------
    list of Installed
        In the order of group and name.
    """
    off = switched_off(disabled)
    uses = {**_USES, COMMANDS: make_command}
    # All at once: what is imported may change sys.path.
    every = [found for group in GROUPS if group in groups for found in find(group, partial(is_off, off=off))]
    if with_hidden:
        every += [found for found in hidden() if found.group in groups]
        every.sort(key=lambda found: (found.group, found.name))
    own = {
        found: f"{found.name!r} is a command of Crystallize's own"
        for found in every
        if found.group == COMMANDS and found.name in own_commands
    }
    every = [found._replace(fault=own[found], shadowed=True) if found in own else found for found in every]
    return [
        Installed(found, "disabled")
        if is_off(found, off) and not found.shadowed
        else _look_at(found, uses[found.group])
        for found in every
    ]


def _look_at(found: Found, use: Callable[[Found], Any]) -> Installed:
    try:
        thing = load(found)
        made = use(found)
    except PluginLoadError as error:
        return Installed(found, "shadowed" if found.shadowed else "failed", error=error)
    except Exception as error:  # one plugin's mistake must not take the listing down
        reason, place = (
            (error.what, "") if isinstance(error, PluginError) else (error_text(error), place_of(error))
        )
        refusal = cannot_load(found, reason, place)
        refusal.__cause__ = error
        return Installed(found, "failed", error=refusal)
    record = made if isinstance(made, PluginRecord) else None
    if found.group == COMMANDS:
        documentation = getattr(made, "help", None) or ""
    else:
        documentation = _docstring(thing) or _docstring(type(record.plugin if record else made))
    return Installed(found, "active", thing, record, documentation)


def _docstring(thing: Any) -> str:
    """Return a thing's own docstring: not an inherited one, and not the one that a dataclass gets."""
    if isinstance(thing, partial):
        thing = thing.func
    kind = thing if inspect.isclass(thing) else type(thing)
    doc = thing.__doc__
    if not isinstance(doc, str) or kind is object or doc.startswith(f"{kind.__name__}("):
        return ""
    return inspect.cleandoc(doc)


# -- what each group's use makes -----------------------------------------------------------------------------


def _strategy(found: Found) -> object:
    make = load(found)
    kind = classify(make)
    if kind == "class" and not callable(getattr(make, LOOP, None)):
        raise cannot_load(found, f"the class {make.__qualname__} has no method {LOOP}")
    if kind in ("class", "factory") and lacking_argument(make):
        return make
    made = produce(found)
    fault = fault_of(made)
    if fault:
        raise cannot_load(found, f"it is no execution strategy: {fault}")
    return PluginRecord.of(
        found.name, made, found.distribution, found.version, "entry point", is_strategy=True
    )


def _loader(found: Found) -> object:
    from crystallize.loaders.lookup import load_installed

    made = load_installed(found)
    return getattr(made, "function", made)


def _verifier(found: Found) -> object:
    from crystallize.statistics.verifier import VerifierFactory, check_verifier

    thing = load(found)
    try:
        if not isinstance(thing, VerifierFactory):
            check_verifier(thing)
    except InvalidTypeError as error:
        raise cannot_load(found, error.what) from error
    return thing


_USES: dict[str, Callable[[Found], Any]] = {
    EXECUTION: _strategy,
    LOADERS: _loader,
    PLUGINS: examine,
    VERIFIERS: _verifier,
}
