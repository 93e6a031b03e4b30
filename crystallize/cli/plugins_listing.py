"""What is installed and whether it can be used: every entry point of every group, looked at as a use would.

A look imports the entry point, makes what an experiment would make of it and checks that. What is switched
off is not imported. Whatever a plugin does wrong, its entry is listed as failed and the next one is looked at.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crystallize.cli.commands import BUILT_IN, usable
from crystallize.cli.screen import stdout_kept_clean
from crystallize.discovery import (
    COMMANDS,
    EXECUTION,
    GROUPS,
    HASHERS,
    KINDS,
    LOADERS,
    PLUGINS,
    START,
    VERIFIERS,
    Found,
    cannot_load,
    classify,
    find,
    load,
    produce,
)
from crystallize.errors import CrystallizeError, PluginLoadError
from crystallize.plugins.base import HOOK_NAMES, BasePlugin
from crystallize.plugins.collection import PluginRecord, examine, record_of, switched_off
from crystallize.plugins.execution.resolution import fault_of
from crystallize.plugins.inspection import LOOP
from crystallize.utils.failures import error_text, place_of
from crystallize.utils.signatures import mismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

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
        not_its_own = {name: (None, getattr(BasePlugin, name)) for name in HOOK_NAMES}
        return tuple(name for name in HOOK_NAMES if getattr(self.thing, name, None) not in not_its_own[name])

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


def list_installed(groups: Collection[str] = GROUPS, unusable: Iterable[Found] = ()) -> list[Installed]:
    """Look at the entry points of some groups, as the commands, a config.yaml and an experiment would use them.

    Parameters
    ----------
    groups : collection of str
        The groups.
    unusable : iterable of Found
        Others to list too: what nobody reads, which has a fault.

    Returns
    -------
    list of Installed
        In the order of group and name.
    """
    is_off = switched_off()
    # All at once: what is imported may change sys.path.
    every = [*unusable, *(found for group in groups for found in find(group, is_off))]
    every.sort(key=lambda found: (found.group, found.name))
    with stdout_kept_clean():
        return [_look_at(found, is_off) for found in every]


def _look_at(found: Found, is_off: Callable[[Found], bool]) -> Installed:
    if found.group == COMMANDS and found.name in BUILT_IN:
        found = found._replace(fault=f"{found.name!r} is a command of Crystallize's own", shadowed=True)
    if is_off(found) and not found.shadowed:
        return Installed(found, "disabled")
    try:
        thing = load(found)
        made = _USES[found.group](found)
    except PluginLoadError as error:
        return Installed(found, "shadowed" if found.shadowed else "failed", error=error)
    except CrystallizeError as error:
        return _failed(found, error, error.what)
    except Exception as error:  # one plugin's mistake must not take the listing down
        return _failed(found, error, error_text(error), place_of(error))
    record = made if isinstance(made, PluginRecord) else None
    if found.group in (COMMANDS, START):
        documentation = getattr(made, "help", None) or ""
    else:
        documentation = _docstring(thing) or _docstring(type(record.plugin if record else made))
    return Installed(found, "active", thing, record, documentation)


def _failed(found: Found, cause: Exception, reason: str, place: str = "") -> Installed:
    error = cannot_load(found, reason, place)
    error.__cause__ = cause
    return Installed(found, "failed", error=error)


def _docstring(thing: Any) -> str:
    """Return a thing's own docstring: not an inherited one, one of Python's own kinds, or what a dataclass gets."""
    if isinstance(thing, partial):
        thing = thing.func
    kind = thing if inspect.isclass(thing) else type(thing)
    doc = thing.__doc__
    is_pythons = kind.__module__ == "builtins" and doc == kind.__doc__
    if not isinstance(doc, str) or is_pythons or doc.startswith(f"{kind.__name__}("):
        return ""
    return inspect.cleandoc(doc)


# -- what each group's use makes -----------------------------------------------------------------------------


def _strategy(found: Found) -> object:
    make = load(found)
    kind = classify(make)
    if kind == "class" and not callable(getattr(make, LOOP, None)):
        raise cannot_load(found, f"the class {make.__qualname__} has no method {LOOP}")
    if kind in ("class", "factory") and mismatch(make):
        return make
    made = produce(found)
    fault = fault_of(made)
    if fault:
        raise cannot_load(found, f"it is no execution strategy: {fault}")
    return record_of(found, made, is_strategy=True)


def _hasher(found: Found) -> object:
    from crystallize.hashing.lookup import load_installed

    return load_installed(found)


def _loader(found: Found) -> object:
    from crystallize.loaders.lookup import load_installed

    made = load_installed(found)
    return getattr(made, "function", made)


def _verifier(found: Found) -> object:
    from crystallize.statistics.verifier import VerifierFactory, check_verifier

    thing = load(found)
    if not isinstance(thing, VerifierFactory):
        check_verifier(thing)
    return thing


_USES: dict[str, Callable[[Found], Any]] = {
    COMMANDS: usable,
    EXECUTION: _strategy,
    HASHERS: _hasher,
    LOADERS: _loader,
    PLUGINS: examine,
    START: usable,
    VERIFIERS: _verifier,
}
