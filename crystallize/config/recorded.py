"""How an experiment was built for a stored run, so that it can be built so again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from crystallize.discovery import EXECUTION, PLUGINS, find
from crystallize.errors import InvalidValueError
from crystallize.experiments.treatment import Treatment
from crystallize.plugins.execution.resolution import find_strategy
from crystallize.results.load import coordinates_of
from crystallize.utils.masking import MASK
from crystallize.utils.signatures import takes_keyword
from crystallize.utils.wording import listed

_HASHED = re.compile(r"\w+ [0-9a-f]{16,}")
_TYPED = re.compile(r"(?:int|float|bool|NoneType|tuple|set|frozenset|Path|PurePath)\(.*\)")
_NO_NUMBERS_OF_JSON = frozenset({"nan", "inf", "-inf"})


def recorded_overrides(metadata: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what :func:`crystallize.config.build.load_nodes` was told for a run besides the folder, but for its seed.

    That is the entries of the context, the execution strategy, and which installed plugins took no part.

    Parameters
    ----------
    metadata : mapping
        The run's.
    given : mapping
        Entries of the context that take the place of those that are stored.

    Raises
    ------
    InvalidValueError
        If the value of an entry is not stored, and not given.
    """
    plugins = [each.get("name") for each in metadata.get("plugins") or () if isinstance(each, Mapping)]
    return {
        "context": recorded_context(metadata, given),
        "execution": _execution(metadata.get("execution")),
        "disable_plugins": [found.name for found in find(PLUGINS) if plugins and found.name not in plugins],
    }


def recorded_treatments(
    metadata: Mapping[str, Any], treatments: Iterable[Treatment]
) -> tuple[Treatment, ...]:
    """Return `treatments` and those cells of grids that a stored run had besides, which a command line may have named.

    Cells whose levels are not stored themselves are left out.
    """
    found = {each.name: each for each in treatments}
    for name, levels in coordinates_of(metadata).items():
        if name not in found and _is_stored(levels):
            found[name] = Treatment(name, levels, coordinates=levels)
    return tuple(found.values())


def recorded_context(metadata: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of the context that a stored run was given, those that are `given` now in their place.

    Raises
    ------
    InvalidValueError
        If the value of an entry is not stored, and not given.
    """
    signature = metadata.get("signature") or {}
    stored: Mapping[str, Any] = (signature.get("initial_ctx") or {}).get("settings") or {}
    lacking = [name for name, value in stored.items() if name not in given and not _is_stored(value)]
    if lacking:
        raise InvalidValueError(
            f"the run was given {listed(lacking)}, and what exactly is not stored",
            hint=f"Give it again: --set {lacking[0]}=VALUE",
        )
    return {**stored, **given}


def _is_stored(value: Any) -> bool:
    """Tell whether a value stands in the metadata itself, and not something that stands for it."""
    if isinstance(value, Mapping):
        return all(map(_is_stored, (*value, *value.values())))
    if isinstance(value, list):
        return all(map(_is_stored, value))
    if not isinstance(value, str):
        return True
    stands_for_another = _HASHED.fullmatch(value) or _TYPED.fullmatch(value)
    return MASK not in value and value not in _NO_NUMBERS_OF_JSON and not stands_for_another


def _execution(described: Any) -> dict[str, Any] | None:
    """Return the execution strategy that a run had, with its arguments; None if none of that name is installed."""
    name = described.get("name") if isinstance(described, Mapping) else None
    if name not in {found.name for found in find(EXECUTION)}:
        return None
    strategy = find_strategy(name)
    settings = described.get("settings") or {}
    return {"strategy": name} | {
        key: value for key, value in settings.items() if takes_keyword(strategy, key)
    }
