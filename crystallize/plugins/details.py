"""What ``crystallize plugins show`` tells of an entry point: settings, hooks, source, homepage."""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.discovery import COMMANDS, CORE, PLUGINS, Found, normalise
from crystallize.plugins.collection import switched_off
from crystallize.plugins.order import calls_of
from crystallize.plugins.survey import quietly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crystallize.plugins.order import Call
    from crystallize.plugins.survey import Installed, Sight

_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
_HOME_LABELS = ("homepage", "home", "repository", "source", "sourcecode", "github", "documentation")


class Page(NamedTuple):
    """All that is told of one entry point.

    Attributes
    ----------
    installed : Installed
        What the listing says.
    value : str
        What the entry point refers to.
    documentation : str
        Its docstring; empty if it was not imported.
    settings : list of Setting
        What its class or function takes.
    environment : dict of str to str
        The environment variables that it says it reads, and what each is for.
    calls : list of Call
        Its hooks, in the order of a run.
    switch_off : list of str
        The ways to switch it off.
    disabled_by : str
        The environment variable that has switched it off, if one has.
    source : tuple of (str, int) or None
        File and line.
    distribution_summary, homepage : str
        What the distribution says of itself.
    """

    installed: Installed
    value: str
    documentation: str
    settings: list[Setting]
    environment: dict[str, str]
    calls: list[Call]
    switch_off: list[str]
    disabled_by: str
    source: tuple[str, int] | None
    distribution_summary: str
    homepage: str

    def as_json(self) -> dict[str, Any]:
        """Return it as one JSON object: what the listing says, then the rest."""
        plain = {
            "settings": [each._asdict() for each in self.settings],
            "calls": [each._asdict() for each in self.calls],
            "source": None if self.source is None else {"file": self.source[0], "line": self.source[1]},
        }
        told = {**self.installed._asdict(), **self._asdict(), **plain}
        del told["installed"]
        return told


def page_of(sight: Sight, sights: Iterable[Sight]) -> Page:
    """Collect what is known of an entry point.

    Parameters
    ----------
    sight : Sight
        The entry point.
    sights : iterable of Sight
        The lifecycle plugins and the execution strategies, if it is one of them.
    """
    summary, homepage = quietly(lambda: _about(sight.found), ("", ""))
    return Page(
        sight.installed,
        sight.found.value,
        sight.documentation,
        quietly(lambda: _settings_of(sight), []),
        quietly(lambda: _environment_of(sight), {}),
        calls_of(sight, sights),
        _switches_of(sight.found),
        _disabled_by(sight),
        quietly(lambda: _source_of(sight), None),
        summary,
        homepage,
    )


# -- settings ------------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """A parameter of what makes a plugin.

    Attributes
    ----------
    name, type : str
        As they are written; an empty type if none is given.
    default : str or None
        As Python shows it; None if the parameter must be given.
    description : str
        What the docstring says of it.
    """

    name: str
    type: str
    default: str | None
    description: str


def _settings_of(sight: Sight) -> list[Setting]:
    """Return the settings of a plugin, strategy, loader or verifier: what its class or function takes."""
    thing = sight.thing
    if thing is None or inspect.ismodule(thing) or sight.found.group == COMMANDS:
        return []
    make = thing if inspect.isclass(thing) or callable(thing) else type(thing)
    parameters = list(inspect.signature(make).parameters.values())
    described: dict[str, tuple[str, str]] = quietly(lambda: _descriptions(make), {})
    return [
        Setting(
            each.name,
            _annotation(each.annotation) or described.get(each.name, ("", ""))[0],
            None if each.default is each.empty else _shown(each.default),
            described.get(each.name, ("", ""))[1],
        )
        for each in parameters
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _shown(value: object) -> str:
    shown = quietly(lambda: repr(value), f"<{type(value).__name__}>")
    return " ".join(re.sub(r" at 0x[0-9a-f]+", "", shown).split())


def _descriptions(make: Any) -> dict[str, tuple[str, str]]:
    """Read type and description of each parameter from the docstrings, as NumPy's style has them."""
    documented = [make, *getattr(make, "__mro__", ())]
    found: dict[str, tuple[str, str]] = {}
    for each in documented:
        for doc in (getattr(each, "__doc__", None), getattr(vars(each).get("__init__"), "__doc__", None)):
            if isinstance(doc, str):
                for name, described in _parameters(inspect.cleandoc(doc)):
                    found.setdefault(name, described)
    return found


def _parameters(doc: str) -> Iterator[tuple[str, tuple[str, str]]]:
    parts = _SECTION.split(doc)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    entry = re.compile(r"^(\S[^:\n]*?)(?: *: *(.*))?$((?:\n(?:[ \t]+.*|[ \t]*))*)", re.MULTILINE)
    for names, kind, description in entry.findall(sections.get("Parameters", "")):
        text = " ".join(description.split())
        for name in names.split(","):
            yield name.strip().lstrip("*"), (kind, text)


# -- the rest ------------------------------------------------------------------------------------------------


def _environment_of(sight: Sight) -> dict[str, str]:
    """Return the environment variables that a plugin says it reads, and what each is for."""
    declared = getattr(sight.made, "environment", None) or getattr(sight.thing, "environment", None) or {}
    return {str(name): " ".join(str(purpose).split()) for name, purpose in dict(declared).items()}


def _switches_of(found: Found) -> list[str]:
    """Return the ways to switch a lifecycle plugin off."""
    if found.group != PLUGINS:
        return []
    switches = [
        f'Experiment(disable_plugins=["{found.name}"])',
        f"plugins: {{{found.name}: false}} in config.yaml",
        f"crystallize run -p no:{found.name}",
        f"CRYSTALLIZE_DISABLE_PLUGINS={found.name}",
    ]
    if normalise(found.distribution) != CORE:
        switches.append(
            "CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD=1, with all others that are not Crystallize's own"
        )
    return switches


def _disabled_by(sight: Sight) -> str:
    if sight.status != "disabled":
        return ""
    names = {normalise(sight.found.name), normalise(sight.found.distribution)}
    return "CRYSTALLIZE_DISABLE_PLUGINS" if names & switched_off() else "CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD"


def _source_of(sight: Sight) -> tuple[str, int] | None:
    """Return file and line of what an entry point refers to, or None if that cannot be known."""
    thing = sight.thing
    if thing is None:
        return None
    module = sys.modules[sight.found.value.partition(":")[0]]
    target = inspect.unwrap(thing)
    if not inspect.isclass(target) and not inspect.isroutine(target):
        target = type(target)  # of an instance
        if target.__module__.partition(".")[0] != module.__name__.partition(".")[0]:
            target = module  # somebody else's class, as of a Typer app
    file = inspect.getsourcefile(target)
    line = 1 if inspect.ismodule(target) else inspect.getsourcelines(target)[1]
    return (file, line) if file else None


def _about(found: Found) -> tuple[str, str]:
    """Return what the metadata of an entry point's distribution says: its summary, and its homepage."""
    import importlib_metadata

    metadata = importlib_metadata.metadata(found.distribution)
    links = {
        re.sub(r"\W", "", label).lower(): link.strip()
        for label, _, link in (each.partition(",") for each in metadata.get_all("Project-URL") or ())
    }
    named = (links[label] for label in _HOME_LABELS if label in links)
    homepage = next(named, "") or metadata.get("Home-page") or next(iter(links.values()), "")
    return str(metadata.get("Summary") or ""), str(homepage)
