"""What of a stored run no longer applies, since what decides its outcomes has changed.

A run's metadata hold the *signature* of what was run, made of what JSON has: settings as they are, and a hash of each
part of the code. Two signatures are compared here, and the first difference is told in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crystallize.utils.code import changes_of_code
from crystallize.utils.json_text import is_same_json
from crystallize.utils.wording import shortened

_MISSING: Any = object()


def changed_conditions(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return for each condition of `now` whose stored outcomes do not apply any more what has changed.

    Conditions that are new are not among them.

    Parameters
    ----------
    before, now : mapping
        The signature of the stored run, and that of the one that goes on with it.
    """
    for_all = _change_for_all(before, now)
    conditions: Mapping[str, Any] = before.get("conditions", {})
    changed = {}
    for name, part in now["conditions"].items():
        if name in conditions:
            reason = for_all or _change(conditions[name], part, "")
            if reason:
                changed[name] = reason
    return changed


def _change_for_all(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe the first change that concerns every condition."""
    for key, what in (("python", "Python"), ("seed", "the master seed")):
        if before.get(key) != now.get(key):
            return _was(what, before.get(key), now.get(key))
    steps = [list(each.get("steps", {})) for each in (before, now)]
    if steps[0] != steps[1]:
        return f"the steps were {', '.join(steps[0])}, are {', '.join(steps[1])}"
    for key, kind in (("steps", "step"), ("outputs", "output"), ("plugins", "plugin")):
        reason = _change_of_parts(before.get(key, {}), now.get(key, {}), kind)
        if reason:
            return reason
    return _change_of_source(before.get("datasource", {}), now["datasource"]) or _change(
        before.get("initial_ctx", {}), now["initial_ctx"], " of initial_ctx"
    )


def _change_of_source(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if "sources" in before and "sources" in now:  # a bundle
        return _change_of_parts(before["sources"], now["sources"], "data source")
    return _change(before, now, " of the data source")


def _change_of_parts(before: Mapping[str, Any], now: Mapping[str, Any], kind: str) -> str:
    for name in dict.fromkeys((*before, *now)):
        part = f"{kind} {name!r}"
        if name not in before:
            return f"{part} is new"
        if name not in now:
            return f"{part} is gone"
        reason = _change(before[name], now[name], f" of {part}")
        if reason:
            return reason
    return ""


def _change(before: Any, now: Any, of: str) -> str:
    """Describe the first difference between two parts; empty if there is none."""
    if is_same_json(before, now):
        return ""
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return _was(of.removeprefix(" of ") or "it", before, now)
    for key in dict.fromkeys((*before, *now)):
        old, new = before.get(key, _MISSING), now.get(key, _MISSING)
        if is_same_json(old, new):
            continue
        if key == "code":
            return f"in the code{of}, {_changed_code(old, new)}"
        if (
            key in ("settings", "parameters", "defaults", "datasource", "depends_on")
            and old is not _MISSING
            and new is not _MISSING
        ):
            return _change(old, new, f" in depends_on{of}" if key == "depends_on" else of)
        return _was(f"{key}{of}", old, new)
    return ""


def _changed_code(before: Any, now: Any) -> str:
    if not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return "all of it is another"
    return ", ".join(changes_of_code(before, now))


def _was(what: str, before: Any, now: Any) -> str:
    if before is _MISSING:
        return f"{what} is new"
    if now is _MISSING:
        return f"{what} is gone"
    return f"{what} was {shortened(repr(before))}, is {shortened(repr(now))}"
