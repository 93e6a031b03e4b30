"""What ``crystallize plugins show`` and ``hooks`` tell: settings, source, homepage, and the order of the calls."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crystallize import hookspecs
from crystallize.discovery import COMMANDS, EXECUTION, PLUGINS, START, Found
from crystallize.plugins.base import HOOK_NAMES
from crystallize.plugins.collection import set_apart, switch_of
from crystallize.plugins.manager import PluginManager
from crystallize.utils.failures import safe_repr
from crystallize.utils.signatures import signature_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pluggy import HookImpl

    from crystallize.cli.plugins_listing import Installed
    from crystallize.plugins.collection import PluginRecord

_HOME_LABELS = ("homepage", "home", "repository", "source", "sourcecode", "github", "documentation")


# -- the order of the calls ----------------------------------------------------------------------------------


def records_of(installed: Iterable[Installed], strategy: PluginRecord | None = None) -> list[PluginRecord]:
    """Return the records of an experiment that is built with nothing but what is installed.

    Parameters
    ----------
    installed : iterable of Installed
        The groups ``crystallize.plugins`` and ``crystallize.execution``.
    strategy : PluginRecord, optional
        The strategy that is named, which then comes first; ``serial`` otherwise.
    """
    by_group = {
        group: [each.record for each in installed if each.found.group == group and each.record]
        for group in (PLUGINS, EXECUTION)
    }
    records = by_group[PLUGINS]
    if strategy is not None:
        return [set_apart(strategy, records), *records]
    return records + [set_apart(each, records) for each in by_group[EXECUTION] if each.name == "serial"]


def hooks_of(records: Sequence[PluginRecord]) -> list[dict[str, Any]]:
    """Return every hook in the order of a run, with who implements it among some plugins, as JSON can write it.

    The implementers are in the order in which pluggy calls them. Wrappers come first, and have the last word too.
    """
    manager = PluginManager(records)
    hooks = []
    for name in HOOK_NAMES:
        specification = getattr(hookspecs, name)
        hooks.append(
            {
                "name": name,
                "arguments": list(inspect.signature(specification).parameters),
                "runs_in": hookspecs.RUNS_IN[name],
                "firstresult": bool(getattr(manager.hook, name).spec.opts["firstresult"]),
                "summary": inspect.cleandoc(specification.__doc__).partition("\n")[0],
                "implementers": [
                    {
                        "plugin": record.name,
                        "distribution": record.distribution or "",
                        "version": record.version or "",
                        "options": _options(implementation),
                    }
                    for record, implementation in manager.implementers(name)
                ],
            }
        )
    return hooks


def _options(implementation: HookImpl) -> list[str]:
    is_wrapper = implementation.wrapper or implementation.hookwrapper
    marks = {"wrapper": is_wrapper, "tryfirst": implementation.tryfirst, "trylast": implementation.trylast}
    return [mark for mark, is_set in marks.items() if is_set]


# -- one plugin ----------------------------------------------------------------------------------------------


def page_of(each: Installed, installed: Iterable[Installed]) -> dict[str, Any]:
    """Return all that is known of an entry point, as JSON can write it: what the listing says, and more.

    Parameters
    ----------
    each : Installed
        The entry point.
    installed : iterable of Installed
        The lifecycle plugins and the execution strategies, if it is one of them.
    """
    summary, homepage = _about(each.found)
    return {
        **each.as_json(),
        "value": each.found.value,
        "documentation": each.documentation,
        "settings": _settings_of(each),
        "environment": _environment_of(each),
        "calls": _calls_of(each, installed),
        "switch_off": _switches_of(each.found),
        "disabled_by": switch_of(each.found) if each.status == "disabled" else "",
        "source": _source_of(each),
        "distribution_summary": summary,
        "homepage": homepage,
    }


def _settings_of(each: Installed) -> list[dict[str, str | None]]:
    """Return name, type and default of what its class or function takes; the default is None if it must be given."""
    make = each.thing
    if inspect.ismodule(make) or each.found.group in (COMMANDS, START):
        return []
    signature = signature_of(make if callable(make) else type(make))
    return [
        {
            "name": parameter.name,
            "type": _annotation(parameter.annotation),
            "default": None if parameter.default is parameter.empty else safe_repr(parameter.default),
        }
        for parameter in (signature.parameters.values() if signature else ())
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _environment_of(each: Installed) -> dict[str, str]:
    """Return the environment variables that a plugin says it reads, and what each is for."""
    declared = getattr(each.record.plugin if each.record else each.thing, "environment", None)
    return (
        {str(name): str(purpose) for name, purpose in declared.items()}
        if isinstance(declared, Mapping)
        else {}
    )


def _calls_of(each: Installed, installed: Iterable[Installed]) -> list[dict[str, Any]]:
    """Return the calls that a plugin or strategy gets, in the order of a run."""
    if each.record is None:  # where a strategy cannot be made without arguments, its place is not known
        unknown: dict[str, Any] = {"position": None, "of": None, "options": []}
        return [{"hook": hook, "runs_in": hookspecs.RUNS_IN[hook], **unknown} for hook in each.hooks]
    is_strategy = each.found.group == EXECUTION
    records = records_of(installed, each.record if is_strategy else None)
    name = records[0].name if is_strategy else each.record.name
    return [
        {
            "hook": hook["name"],
            "runs_in": hook["runs_in"],
            "position": position,
            "of": len(hook["implementers"]),
            "options": implementer["options"],
        }
        for hook in hooks_of(records)
        for position, implementer in enumerate(hook["implementers"], start=1)
        if implementer["plugin"] == name
    ]


def _switches_of(found: Found) -> list[str]:
    """Return the ways to switch off what acts without being named."""
    if found.group == START:
        return [f"CRYSTALLIZE_DISABLE_PLUGINS={found.name}"]
    if found.group != PLUGINS:
        return []
    switches = [
        f'Experiment(disable_plugins=["{found.name}"])',
        f"plugins: {{{found.name}: false}} in config.yaml",
        f"crystallize run -p no:{found.name}",
        f"CRYSTALLIZE_DISABLE_PLUGINS={found.name}",
    ]
    if not found.is_ours:
        switches.append(
            "CRYSTALLIZE_DISABLE_PLUGIN_AUTOLOAD=1, with all others that are not Crystallize's own"
        )
    return switches


def _source_of(each: Installed) -> dict[str, Any] | None:
    """Return file and line of what an entry point refers to, or None if that cannot be known."""
    if each.thing is None:
        return None
    module = sys.modules[each.found.value.partition(":")[0]]
    target = inspect.unwrap(each.thing)
    if not inspect.isclass(target) and not inspect.isroutine(target):
        target = type(target)  # of an instance
        if target.__module__.partition(".")[0] != module.__name__.partition(".")[0]:
            target = module  # somebody else's class, as of a Typer app
    try:
        file = inspect.getsourcefile(target)
        line = 1 if inspect.ismodule(target) else inspect.getsourcelines(target)[1]
    except (OSError, TypeError):  # there is no source
        return None
    return {"file": file, "line": line} if file else None


def _about(found: Found) -> tuple[str, str]:
    """Return what the metadata of an entry point's distribution says: its summary, and its homepage."""
    import importlib_metadata

    try:
        metadata = importlib_metadata.metadata(found.distribution)
    except (ImportError, OSError):  # there is none
        return "", ""
    links = {}
    for label, _, link in (each.partition(",") for each in metadata.get_all("Project-URL") or ()):
        links["".join(filter(str.isalnum, label)).lower()] = link.strip()
    named = (links[label] for label in _HOME_LABELS if label in links)
    homepage = next(named, "") or metadata.get("Home-page") or next(iter(links.values()), "")
    return str(metadata.get("Summary") or ""), str(homepage)
