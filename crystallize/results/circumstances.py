"""What two runs had in common but their numbers: settings, code, environment, as their metadata tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from crystallize.discovery.imported import installed_version
from crystallize.store.accounting import OURS
from crystallize.utils.json_text import is_same_json, to_json
from crystallize.utils.wording import shortened

SEED_SETTING = "plugins.seed.settings.seed"
"""A setting that says again what the seed itself says."""

_MISSING: Any = object()


@dataclass(frozen=True)
class Change:
    """What is not the same in two runs.

    Attributes
    ----------
    name : str
        Which part, from the outside in: ``"steps.FitStep.parameters.lr"``.
    before, after : object
        What it is in each run; None where the run does not have it.
    """

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Circumstances:
    """What has changed since a run, of all that may decide what it measures; what is equal is left out.

    Attributes
    ----------
    settings : list of Change
        Settings of steps, data sources, conditions, outputs and plugins.
    code : list of Change
        Functions, classes and modules whose hash differs; the commit, and what was not committed.
    environment : list of Change
        Python, the machine, variables; the numeric libraries and how many threads they use.
    packages : list of Change
        Packages that the run had imported, and that are of another version now, or gone.
    """

    settings: list[Change] = field(default_factory=list)
    code: list[Change] = field(default_factory=list)
    environment: list[Change] = field(default_factory=list)
    packages: list[Change] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain dicts and lists."""
        return asdict(self)


def compare_circumstances(
    before: Mapping[str, Any], after: Mapping[str, Any], *, with_hypotheses: bool = False
) -> Circumstances:
    """Return what has changed between a run and a later one that was to repeat it, from the metadata of both.

    Of a run that was resumed, what has changed since any of its sessions.

    Parameters
    ----------
    before, after : mapping
        The metadata of each.
    with_hypotheses : bool, default False
        Whether the hypotheses count, which measure nothing.
    """
    settings: list[Change] = []
    code = [Change("what ran", "not recorded", None)]
    if isinstance(before.get("signature"), dict):
        # The run is repeated with its own seed, and the environment tells more of Python.
        leaving_out = ("seed", "python", *(() if with_hypotheses else ("hypotheses",)))
        settings, code = signature_changes(_limited(before, after), after, leaving_out=leaving_out)
    sessions = [*before.get("earlier_sessions", ()), before]
    return Circumstances(
        [change for change in settings if change.name != SEED_SETTING],
        [*code, *_once(_git_changes(each, after) for each in sessions)],
        _once([*_environment_changes(each, after), *_library_changes(each, after)] for each in sessions),
        _once(_package_changes(each.get("packages") or {}, after.get("packages") or {}) for each in sessions),
    )


def _once(found: Iterable[list[Change]]) -> list[Change]:
    """Return the changes since each session of a run, without those that are there already."""
    kept: list[Change] = []
    for change in chain.from_iterable(found):
        if change not in kept:
            kept.append(change)
    return kept


def _limited(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the earlier metadata without the conditions that were not run again."""
    signature = before["signature"]
    again = (after.get("signature") or {}).get("conditions") or {}
    kept = {name: part for name, part in signature.get("conditions", {}).items() if name in again}
    return {**before, "signature": {**signature, "conditions": kept}}


def signature_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], *, leaving_out: Collection[str]
) -> tuple[list[Change], list[Change]]:
    """Return which settings, and which pieces of code, differ in the signatures of two runs.

    Parameters
    ----------
    before, after : mapping
        The metadata of each.
    leaving_out : collection of str
        Parts of the signature that are not compared.
    """
    old, new = (
        {name: part for name, part in (each.get("signature") or {}).items() if name not in leaving_out}
        for each in (before, after)
    )
    found = differing(old, new)
    order = list(old.get("steps", ())), list(new.get("steps", ()))
    if order[0] != order[1] and sorted(order[0]) == sorted(order[1]):
        found.append((("steps",), *order))
    settings = [Change(".".join(path), *values) for path, *values in found if "code" not in path]
    code = {path[-1]: Change(path[-1], *values) for path, *values in found if "code" in path}
    return settings, [code[name] for name in sorted(code)]


def changes(before: Any, after: Any) -> list[Change]:
    """Return the innermost parts of two mappings that differ."""
    return [Change(".".join(path), *values) for path, *values in differing(before or {}, after or {})]


def differing(before: Any, after: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any, Any]]:
    """Return ``(path, before, after)`` of the innermost parts that differ; a part that one side lacks is one."""
    if is_same_json(before, after):
        return []
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return [(path, None if before is _MISSING else before, None if after is _MISSING else after)]
    return [
        found
        for key in dict.fromkeys((*before, *after))
        for found in differing(before.get(key, _MISSING), after.get(key, _MISSING), (*path, key))
    ]


def value_text(value: Any, *, quoted: bool = False) -> str:
    """Return a value as a text that fits in a line; a text has its quotes if they are asked for."""
    if value is None:
        return "-"
    return shortened(value if isinstance(value, str) and not quoted else to_json(value))


# -- parts of the metadata -----------------------------------------------------------------------------------


def _git_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare the working trees: only they tell of files that steps read."""
    old, new = (each.get("code") or {} for each in (before, after))
    found = []
    if old.get("git_commit") and new.get("git_commit") and old["git_commit"] != new["git_commit"]:
        found.append(Change("git commit", old["git_commit"], new["git_commit"]))
    is_known = old.get("dirty") is not None and new.get("dirty") is not None
    if is_known and old.get("diff") != new.get("diff"):
        found.append(Change("uncommitted changes", old.get("diff"), new.get("diff")))
    return found


def _environment_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare the interpreter, the machine and the variables, but for ours: they decide how it is run."""
    compared: list[dict[str, Any]] = []
    for each in (before, after):
        environment = each.get("environment") or {}
        variables = environment.get("variables") or {}
        own = {name: value for name, value in variables.items() if not name.startswith(OURS)}
        keys = ("python", "implementation", "platform", "processor")
        compared.append({key: environment.get(key) for key in keys} | own)
    return changes(*compared) if before.get("environment") else []


def _library_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Compare the numeric libraries that both runs had loaded, and the threads that they used in the workers.

    There may be several builds of one library in a process, and one that only one of the runs had loaded tells nothing.
    """
    old, new = (_libraries(each) for each in (before, after))
    found = [
        Change(name, sorted(old[name]), sorted(new[name]))
        for name in old.keys() & new.keys()
        if old[name] - new[name] and new[name] - old[name]
    ]
    threads = [_threads(each) for each in (before, after)]
    if None not in threads and threads[0] != threads[1]:
        found.append(Change("threads of numeric libraries", *threads))
    return found


def _libraries(metadata: Mapping[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in metadata.get("numeric_libraries") or ():
        kind = f"{each.get('version')} {each.get('architecture') or ''}".rstrip()
        found.setdefault(str(each.get("library")), set()).add(kind)
    return found


def _threads(metadata: Mapping[str, Any]) -> int | None:
    """Return how many threads numeric libraries used where the replicates ran; None if that is not known."""
    settings = (metadata.get("execution") or {}).get("settings") or {}
    in_workers = settings.get("threads_per_worker")
    counts = [each.get("threads") for each in metadata.get("numeric_libraries") or ()]
    found = in_workers if in_workers is not None else max(filter(None, counts), default=None)
    return found if isinstance(found, int) else None


def _package_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """Compare the versions of the packages that the earlier run had imported with what is installed now."""
    now = {name: after.get(name) or installed_version(name) for name in before}
    return [Change(name, version, now[name]) for name, version in before.items() if version != now[name]]
