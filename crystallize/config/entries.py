"""What the values of a config.yaml become, and what is wrong with those that cannot.

Each function returns what it makes of a value and notes the faults that it finds: all of them, in our words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from crystallize.config.errors import KeyPath  # noqa: TC001 - pydantic looks at it
from crystallize.config.scalars import describe
from crystallize.errors import CrystallizeError
from crystallize.utils.context import RESERVED_KEYS
from crystallize.utils.names import check_condition_name, check_name
from crystallize.utils.suggest import did_you_mean, listed

_REFERENCE = re.compile(r"([^#]+)#([^#]+)")


class Call(NamedTuple):
    """The name of a factory, and its arguments."""

    name: str
    arguments: dict[str, Any]
    path: KeyPath = ()
    """Where it stands, relative to the value that it belongs to."""


class Reference(NamedTuple):
    """An output of another experiment: ``experiment#artifact``."""

    experiment: str
    artifact: str


class Source(NamedTuple):
    """One entry of ``datasource``.

    Attributes
    ----------
    alias : str
        The key of the dictionary that the pipeline gets, if it gets one.
    path : tuple
        Where the entry stands, relative to ``datasource``.
    meant : Reference or tuple of Call
        What it stands for. ``{a: {b: {...}}}`` may be factory ``b`` under the alias ``a``, or factory ``a``
        with the argument ``b``: both are there, and the factories decide.
    """

    alias: str
    path: KeyPath
    meant: Reference | tuple[Call, ...]


class Fault(NamedTuple):
    """A mistake in a value: where in it, what is wrong, what is allowed."""

    path: KeyPath
    message: str
    hint: str = ""
    key: bool = False


def call(value: Any, faults: list[Fault]) -> Call | None:
    """Return a factory by its name, or with arguments."""
    allowed = "a name, or {name: {argument: value}}"
    if isinstance(value, str) and value.strip():
        return Call(value, {})
    if isinstance(value, dict) and len(value) == 1:
        ((name, arguments),) = value.items()
        if arguments is None or isinstance(arguments, dict):
            return Call(name, arguments or {}, (name,))
        faults.append(
            Fault((name,), f"the arguments of {name!r} are {describe(arguments)}", "Write {argument: value}")
        )
    elif isinstance(value, dict):
        found = f"a mapping with the keys {listed(value)}" if value else "an empty mapping"
        hint = f"It is {allowed}" + ("; indent the arguments below the name" if value else "")
        faults.append(Fault((), f"found {found}", hint))
    else:
        faults.append(Fault((), f"found {describe(value)}", f"It is {allowed}"))
    return None


def sources_of(value: Any, faults: list[Fault]) -> tuple[Source, ...]:
    """Return what ``datasource`` holds."""
    allowed = (
        "a factory's name, {factory: {argument: value}}, experiment#artifact, or a mapping or list of these"
    )
    sources: list[Source] = []
    if isinstance(value, str) and value.strip():
        meant = _named(value, (), faults)
        sources.append(
            Source(meant.artifact if isinstance(meant, Reference) else value, (), _as_meant(meant))
        )
    elif isinstance(value, dict) and value:
        sources = [_source(alias, spec, (alias,), faults) for alias, spec in value.items()]
    elif isinstance(value, list) and value:
        for position, item in enumerate(value):
            if isinstance(item, dict) and item:
                sources += [_source(alias, spec, (position, alias), faults) for alias, spec in item.items()]
            else:
                faults.append(Fault((position,), f"found {describe(item)}", "It is {alias: data source}"))
    else:
        empty = " that is empty" if value in ("", [], {}) else ""
        faults.append(Fault((), f"found {describe(value)}{empty}", f"It is {allowed}"))
    seen: dict[str, Source] = {}
    for source in sources:
        if source.alias in seen:
            faults.append(
                Fault(
                    source.path, f"two data sources have the alias {source.alias!r}", "Rename one", key=True
                )
            )
        seen[source.alias] = source
    return tuple(sources)


def _source(alias: str, spec: Any, path: KeyPath, faults: list[Fault]) -> Source:
    if isinstance(spec, str) and spec.strip():
        return Source(alias, path, _as_meant(_named(spec, path, faults)))
    if spec is None:
        return Source(alias, path, (Call(alias, {}),))
    if isinstance(spec, dict):
        own = Call(alias, spec)
        if len(spec) == 1:
            ((name, arguments),) = spec.items()
            if arguments is None or isinstance(arguments, dict):
                return Source(alias, path, (Call(name, arguments or {}, (name,)), own))
        return Source(alias, path, (own,))
    faults.append(
        Fault(
            path,
            f"found {describe(spec)}",
            "It is a factory's name, {factory: {argument: value}}, or experiment#artifact",
        )
    )
    return Source(alias, path, ())


def _named(text: str, path: KeyPath, faults: list[Fault]) -> Reference | Call:
    if "#" not in text:
        return Call(text, {})
    match = _REFERENCE.fullmatch(text)
    if match is None:
        faults.append(
            Fault(path, f"{text!r} is no reference", "Write experiment#artifact, with the alias of an output")
        )
        return Reference("", "")
    return Reference(match[1].strip(), match[2].strip())


def _as_meant(meant: Reference | Call) -> Reference | tuple[Call, ...]:
    return meant if isinstance(meant, Reference) else (meant,)


def experiment_name(value: Any, faults: list[Fault]) -> str:
    """Return a name that can be a folder's."""
    if not isinstance(value, str):
        faults.append(Fault((), f"found {describe(value)}", "It is text; put it in quotes"))
        return ""
    return _name(check_name, "experiment", value, faults)


def text(value: Any, faults: list[Fault]) -> str:
    """Return text that is not empty."""
    if isinstance(value, str) and value.strip():
        return value
    hint = "It is text; put it in quotes" if isinstance(value, bool | int | float) else "It is text"
    faults.append(Fault((), f"found {describe(value)}" if value != "" else "the text is empty", hint))
    return ""


def whole_number(value: Any, faults: list[Fault], least: int) -> int:
    """Return a number that is not below `least`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    hint = f"It is a whole number of at least {least}"
    if isinstance(value, str) and value.strip().isdigit():
        hint += "; write it without quotes"
    faults.append(Fault((), f"found {describe(value)}", hint))
    return least


def _name(check: Callable[..., str], kind: str, value: str, faults: list[Fault], path: KeyPath = ()) -> str:
    try:
        return check(kind, value) if kind else check(value)
    except CrystallizeError as error:
        faults.append(Fault(path, error.what, error.hint, key=bool(path)))
        return value


def treatments(value: Any, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    """Return settings by the names of the conditions."""
    if not isinstance(value, dict):
        faults.append(Fault((), f"found {describe(value)}", "It is {name: {key: value}}"))
        return {}
    made: dict[str, dict[str, Any]] = {}
    folded: dict[str, str] = {}
    for name, settings in value.items():
        _name(check_condition_name, "", name, faults, (name,))
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            faults.append(
                Fault(
                    (name,),
                    f"{name!r} and {other!r} would share a folder on some systems",
                    "Rename one",
                    True,
                )
            )
        if settings is not None and not isinstance(settings, dict):
            faults.append(
                Fault(
                    (name,),
                    f"found {describe(settings)}",
                    "A treatment is {key: value}: what it adds to the context",
                )
            )
            continue
        made[name] = settings or {}
        for key in made[name].keys() & RESERVED_KEYS:
            faults.append(
                Fault(
                    (name, key), f"the key {key!r} is set by the framework itself", "Choose another key", True
                )
            )
    return made


def plugins(value: Any, faults: list[Fault]) -> dict[str, bool | dict[str, Any]]:
    """Return switches and arguments by the names of plugins."""
    if not isinstance(value, dict):
        faults.append(Fault((), f"found {describe(value)}", "It is {name: true, false or {argument: value}}"))
        return {}
    for name, setting in value.items():
        if not isinstance(setting, bool | dict):
            faults.append(
                Fault(
                    (name,),
                    f"found {describe(setting)}",
                    "It is true, false, or {argument: value} for its constructor",
                )
            )
    return dict(value)


def execution(value: Any, faults: list[Fault]) -> str | dict[str, Any]:
    """Return the name of a strategy, or a mapping with its arguments."""
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, dict) and isinstance(value.get("strategy"), str):
        return dict(value)
    allowed = "It is the name of a strategy, or {strategy: name, argument: value}"
    if isinstance(value, dict):
        found = (
            f"the strategy is {describe(value['strategy'])}"
            if "strategy" in value
            else "the key 'strategy' is missing"
        )
        path: KeyPath = ("strategy",) if "strategy" in value else ()
        faults.append(
            Fault(
                path,
                found,
                f"{did_you_mean('strategy', value)} {allowed}".replace("Did you mean", "Is it").strip(),
            )
        )
    else:
        faults.append(Fault((), f"found {describe(value)}", allowed))
    return ""


def metrics(value: Any, faults: list[Fault]) -> str | list[str] | list[list[str]]:
    """Return one metric, several, or groups of them."""
    is_name = isinstance(value, str)
    is_names = isinstance(value, list) and all(isinstance(item, str) for item in value)
    is_groups = isinstance(value, list) and all(
        isinstance(group, list) and group and all(isinstance(item, str) for item in group) for group in value
    )
    if not value or not (is_name or is_names or is_groups):
        faults.append(
            Fault(
                (),
                f"found {describe(value)}",
                "It is a metric's name, a list of names, or a list of lists of names",
            )
        )
        return ""
    if not is_name:
        for group in [value] if is_names else value:
            twice = next((name for name in group if group.count(name) > 1), None)
            if twice is not None:
                faults.append(Fault((), f"the metric {twice!r} is named twice", "Name it once"))
    found: str | list[str] | list[list[str]] = value
    return found
