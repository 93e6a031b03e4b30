"""Which plugins are installed: the entry points of every distribution, found, loaded and classified.

Three small steps. :func:`find` reads names only and imports nothing, :func:`load` imports one entry point,
:func:`classify` says what kind of thing it gave. Every group of Crystallize goes through this module.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import re
import sys
from functools import partial
from itertools import groupby
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from crystallize.errors import PluginLoadError, UnknownNameError
from crystallize.utils.distributions import Copy, Stamp, declaring, is_settled, stamps_of
from crystallize.utils.distributions import normalise as normalise  # noqa: PLC0414 - taken from here, by all
from crystallize.utils.failures import place_of, told
from crystallize.utils.references import UnreachableError, follow, search_hint
from crystallize.utils.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

CORE = "crystallize-lab"
"""The distribution that Crystallize itself comes in."""

COMMANDS = "crystallize.commands"
EXECUTION = "crystallize.execution"
LOADERS = "crystallize.loaders"
PLUGINS = "crystallize.plugins"
VERIFIERS = "crystallize.verifiers"
GROUPS = (COMMANDS, EXECUTION, LOADERS, PLUGINS, VERIFIERS)
"""The groups that are read, in alphabetical order."""

ADD_ONS = {(EXECUTION, "dask"): "crystallize-dask"}
"""What comes with distributions that may not be installed: group and name -> distribution."""

Kind = Literal["class", "factory", "instance", "module"]

_PREFIX = "crystallize."
_REFERENCE = re.compile(r"([\w.]+)\s*(:\s*[\w.]+)?\s*(?:\[(.*)\])?$")
_log = logging.getLogger("crystallize.plugins")
_warned: set[str] = set()


class Found(NamedTuple):
    """One entry point that is installed; nothing of it is imported.

    Attributes
    ----------
    name, value, group : str
        What its distribution declares: ``name = value`` in the section ``group``. The value is
        ``module:attribute``, or ``module``.
    distribution, version : str
        The distribution that declares it. Without metadata, the name is that of its folder and the version
        not known.
    fault : str
        Why it cannot be loaded: another one claims the same name, or its metadata has a mistake. Empty for
        most.
    shadowed : bool
        Whether the fault is that the name is one of the core's, which keeps it.
    extras : str
        The extras of its distribution that it says it needs: ``module:attribute [extras]``. Empty for most.
    """

    name: str
    value: str
    group: str
    distribution: str
    version: str
    fault: str = ""
    shadowed: bool = False
    extras: str = ""

    def __str__(self) -> str:
        return f"entry point {self.name!r} of {self.distribution} {self.version}"


# -- find ----------------------------------------------------------------------------------------------------


class _Catalogue(NamedTuple):
    paths: list[str]
    stamps: list[Stamp]
    settled: bool
    found: dict[str, tuple[Found, ...]]
    hidden: tuple[Found, ...]


_catalogue: dict[str, _Catalogue] = {}  # one entry at most: what the last scan found


def find(group: str) -> tuple[Found, ...]:
    """Return what is installed in a group, sorted by name and then distribution; import none of it.

    A distribution that is on ``sys.path`` twice counts once, the first, as Python imports it. If two
    distributions claim one name, both are returned with `fault` set; the core's own stays usable. What stands
    in broken metadata is returned, too, with `fault` set if it cannot be used.

    Parameters
    ----------
    group : str
        For example ``"crystallize.plugins"``.

    Notes
    -----
    The search is repeated when ``sys.path``, or a folder on it, has changed since: what is installed while
    a notebook runs is found.
    """
    return _current().found.get(group, ())


def hidden() -> tuple[Found, ...]:
    """Return what is declared by copies of a distribution that another copy on ``sys.path`` hides.

    The `fault` of each says which copy is used. They are sorted like what :func:`find` returns.
    """
    return _current().hidden


def _current() -> _Catalogue:
    known = _catalogue.get("last")
    stamps = stamps_of(sys.path)
    if known is None or not known.settled or known.stamps != stamps or known.paths != sys.path:
        if known is not None:
            importlib.invalidate_caches()
        known = _Catalogue(list(sys.path), stamps, is_settled(stamps), *_scan())
        _catalogue["last"] = known
    return known


def _scan() -> tuple[dict[str, tuple[Found, ...]], tuple[Found, ...]]:
    every: list[Found] = []
    hidden: list[Found] = []
    for used, *others in declaring(_PREFIX):
        every += _declared(used)
        why = f"{used.name} {used.version} in {used.folder} is used in its place"
        hidden += [found._replace(fault=why) for other in others for found in _declared(other)]
    every.sort(key=_in_order)
    by_group = groupby(every, key=lambda found: found.group)
    return {group: tuple(_judged(found)) for group, found in by_group}, tuple(sorted(hidden, key=_in_order))


def _in_order(found: Found) -> tuple[str, ...]:
    return found.group, found.name, normalise(found.distribution), found.value


def _declared(copy: Copy) -> Iterable[Found]:
    for entry in copy.entries:
        value, extras, fault = entry.value, "", entry.fault
        reference = _REFERENCE.match(value)
        if reference is not None:
            module, attribute, extras = (part or "" for part in reference.groups())
            value = module + re.sub(r"\s", "", attribute)
        elif not fault:
            fault = f"its value {value!r} is not of the form module:attribute"
        # What stands in no group of ours is told where it is seen most.
        yield Found(
            entry.name, value, entry.group or PLUGINS, copy.name, copy.version, fault, extras=extras.strip()
        )


def _judged(entries: Iterable[Found]) -> Iterable[Found]:
    """Yield the entries of a group, those with a fault whose name another one claims."""
    for name, claims in groupby(entries, key=lambda found: found.name):
        claimants = list(claims)
        sound = [found for found in claimants if not found.fault]
        if len(sound) < 2:
            yield from claimants
            continue
        who = " and ".join(f"{found.distribution} {found.version}" for found in sound)
        ours = next((found for found in sound if normalise(found.distribution) == CORE), None)
        fault = f"the name {name!r} is claimed by {who}"
        if ours is not None:
            fault += f", and stays with {ours.distribution}"
        for found in claimants:
            if found.fault or found is ours:
                yield found
            else:
                yield found._replace(fault=fault, shadowed=ours is not None)


# -- names ---------------------------------------------------------------------------------------------------


def lookup(group: str, name: str, what: str) -> Found:
    """Return the entry point of a name.

    Parameters
    ----------
    group : str
        The group to look in.
    name : str
        The name of the entry point; case, and ``-``, ``_`` and ``.``, make no difference where only one
        name can be meant. A distribution that claims a name of the core gets a warning.
    what : str
        What the group's entries are called in the error, for example ``"execution strategy"``.

    Raises
    ------
    UnknownNameError
        If nothing of that name is installed; see :func:`unknown`.
    """
    installed = find(group)
    matches = [found for found in installed if found.name == name]
    if not matches:
        folded = normalise(name)
        matches = [found for found in installed if normalise(found.name) == folded]
        if len({found.name for found in matches}) > 1:
            matches = []
    if not matches:
        raise unknown(group, name, what)
    for found in matches:
        if found.shadowed and group != PLUGINS:  # an experiment warns of those itself
            warn_once(cannot_load(found, found.fault).what)
    return next((found for found in matches if not found.fault), matches[0])


def warn_once(message: str) -> None:
    """Log a warning about what is installed, once in a process."""
    if message not in _warned:
        _warned.add(message)
        _log.warning("%s", message)


def forget_warnings() -> None:
    """Warn of everything once more, as in a new process: each test has its own installed plugins."""
    _warned.clear()


def unknown(group: str, name: str, what: str) -> UnknownNameError:
    """Make the error for a name that is not installed.

    It gives the nearest one, the distribution to install if we know one that brings it, and what is installed.
    """
    names = sorted({found.name for found in find(group)})
    return UnknownNameError(
        f"no {what} is called {name!r}",
        mend=f"{advice(group, name)} Installed: {', '.join(names) or 'none'}".strip(),
    )


def advice(group: str, name: str, others: Iterable[str] = ()) -> str:
    """Say what may have been meant by a name that is not installed, and how to get it.

    Parameters
    ----------
    group, name : str
        Where it was looked for.
    others : iterable of str, optional
        Names besides those of the group that could have been meant.
    """
    names = {found.name for found in find(group)}
    add_ons = {each: brings for (where, each), brings in ADD_ONS.items() if where == group} if name else {}
    folded = normalise(name)
    meant = folded if folded in add_ons else nearest(name, [*names, *others, *add_ons])
    hints = [f"Did you mean {meant!r}?"] if meant not in ("", folded) or meant in names else []
    if meant in add_ons and meant not in names:
        hints.append(f"It comes with {add_ons[meant]}: pip install {add_ons[meant]}.")
    if not meant and "." in name:
        hints.append("A dotted path is written 'package.module:Name'.")
    return " ".join(hints)


def resolve(group: str, name: str, what: str) -> Any:
    """Import what a user named: an entry point, or anything by its dotted path ``package.module:Name``.

    Parameters
    ----------
    group, name, what : str
        As for :func:`lookup`.

    Raises
    ------
    UnknownNameError
        If nothing of that name is installed, there is no such module, or the module has nothing of that name.
    PluginLoadError
        If the import fails; the error says where.
    """
    if ":" not in name:
        return load(lookup(group, name, what))
    module, _, attribute = name.partition(":")
    astray = f"{name!r} leads to no {what}"
    if not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
        raise UnknownNameError(f"{astray}: it is not of the form 'package.module:Name'")
    try:
        return follow(module, attribute)
    except UnreachableError as failure:
        cause = failure.__cause__
        if not failure.is_missing:
            raise PluginLoadError(f"{astray}: {failure}", failure.place, "Repair it") from cause
        mend = search_hint(module) if isinstance(cause, ImportError) else ""
        raise UnknownNameError(f"{astray}: {failure}", mend=mend) from cause


def owner(module: str) -> tuple[str, str] | None:
    """Return distribution and version of the plugin distribution that a module belongs to, if it is known."""
    package = module.partition(".")[0]
    best: Found | None = None
    for group in GROUPS:
        for found in find(group):
            target = found.value.partition(":")[0].strip()
            if target == module:
                return found.distribution, found.version
            if best is None and target.partition(".")[0] == package:
                best = found
    return (best.distribution, best.version) if best else None


# -- load ----------------------------------------------------------------------------------------------------


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
        return follow(module, attribute)
    except UnreachableError as failure:
        cause = failure.__cause__
        mend = ""
        if isinstance(cause, ModuleNotFoundError) and found.extras:
            mend = f"Install what it needs: pip install '{found.distribution}[{found.extras}]'"
        raise cannot_load(found, str(failure), failure.place, mend) from cause


def cannot_load(found: Found, reason: str, place: str = "", mend: str = "") -> PluginLoadError:
    """Make the error for an entry point that cannot be used, for the reason given."""
    return PluginLoadError(
        f"{found} could not be loaded: {reason}",
        f"group {found.group}, value {found.value!r}" + (f", {place}" if place else ""),
        mend or f"Repair or uninstall {found.distribution}",
    )


# -- classify ------------------------------------------------------------------------------------------------


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
        lacking = _lacking(thing)
        if lacking:
            reason = f"the {kind} cannot be called without arguments: {lacking}"
            raise cannot_load(
                found, reason, mend="Pass it in plugins=[...], or its arguments in config.yaml"
            ) from error
        raise cannot_load(found, f"the {kind} raised {told(error)}", place_of(error)) from error
    if made is None or inspect.isclass(made):
        what = "None" if made is None else f"the class {made.__qualname__}, not an instance"
        raise cannot_load(found, f"the {kind} gave {what}")
    return made


def _lacking(make: Any) -> str:
    """Say which argument a class or factory needs, if it needs one."""
    try:
        inspect.signature(make).bind()
    except TypeError as error:
        return str(error)
    except ValueError:  # a builtin without a signature
        pass
    return ""
