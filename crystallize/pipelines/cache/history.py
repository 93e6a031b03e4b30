"""Why an input was not found in the cache: what is different from what is stored there."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from crystallize.pipelines.cache.entry import SUFFIX, DamagedEntryError, read_about
from crystallize.pipelines.cache.reads import Question
from crystallize.pipelines.cache.step_folder import STEP, StepFolder
from crystallize.utils.files import read_plain

if TYPE_CHECKING:
    from crystallize.pipelines.cache.step_key import Part, StepCode

_MOST_ENTRIES = 200
_MOST_CHANGES = 3
_LARGEST = 1 << 24
_LABELS = {
    "value": "{}",
    "has": "{}",
    "keys": "the keys of the context",
    "rng": "the random numbers",
    "stream": "the random stream {!r}",
    "metrics": "the metrics recorded before",
    "artifacts": "the artifacts written before",
    "global": "the state of {}",
}
_DATA = "the data"
_STEP_KEYS = {"name": str, "file": str, "parts": dict, "made": float}


class History:
    """What is stored of one step, as far as it was when the run began.

    Parameters
    ----------
    folder : StepFolder
        The step's folder.
    code : StepCode
        The step's function or class.
    parts : dict
        What the step is made of, as :func:`~crystallize.pipelines.cache.step_key.step_parts` returns it.
    since : float
        When the run began.
    """

    def __init__(
        self, folder: StepFolder, code: StepCode, parts: Mapping[str, Mapping[str, Part]], since: float
    ) -> None:
        self._folder = folder
        self._code = code
        self._parts = parts
        self._since = since
        self._reading = threading.Lock()
        self._entries: list[dict[str, Part]] | None = None
        self._changes: list[str] | None = None  # of the step itself

    def describe(self) -> dict[str, Any]:
        """Return what is stored of the step beside its entries."""
        return {**self._code._asdict(), "parts": self._parts, "made": time.time()}

    def why(self, data: Part, answers: Mapping[Question, Part]) -> str:
        """Return what is different from the stored input that is most like this one."""
        with self._reading:
            if self._entries is None:
                self._entries = list(_entries(self._folder.path, self._since))
                if not self._entries:
                    self._changes = changes_since(
                        self._folder.path.parent, self._code, self._parts, self._since
                    )
        if not self._entries:
            return in_short(self._changes or ()) or "nothing is stored yet"
        now = as_parts(data, answers)
        changes = [differences(stored, now) for stored in self._entries]
        return in_short(min(changes, key=len)) or "what is stored for it cannot be used"


def as_parts(data: Part, answers: Mapping[Question, Part]) -> dict[str, Part]:
    """Return an input in words: what each part is called, with its hash and what to show of it."""
    # In the order of the questions, in which a key's value stands behind whether it is there.
    return {_DATA: data} | {_LABELS[kind].format(name): part for (kind, name), part in answers.items()}


def changes_since(
    root: Path, code: StepCode, parts: Mapping[str, Mapping[str, Part]], before: float = float("inf")
) -> list[str] | None:
    """Return what of a step has changed since outputs of it were stored last; None if none are stored."""
    stored = max(stored_steps(root, code, before), key=lambda each: float(each["made"]), default=None)
    return None if stored is None else differences(_flat(stored["parts"]), _flat(parts))


def stored_steps(
    root: Path, code: StepCode | None = None, before: float = float("inf")
) -> Iterator[dict[str, Any]]:
    """Yield what is stored of each step, or each with this `code`, beside its entries, with its ``folder``."""
    try:
        folders = sorted(each.path for each in os.scandir(root) if each.is_dir(follow_symlinks=False))
    except OSError:
        return
    for folder in folders:
        described = _json(Path(folder, STEP))
        if described is None or described["made"] >= before:
            continue
        if code is None or code == (described["name"], described["file"]):
            yield described | {"folder": Path(folder)}


def differences(before: Mapping[str, Part], now: Mapping[str, Part]) -> list[str]:
    """Return how two sets of parts differ, one change each: ``lr: 0.1 -> 0.2``."""
    return [
        _change(name, before.get(name), now.get(name))
        for name in sorted(before.keys() | now.keys())
        if (before[name][0] if name in before else None) != (now[name][0] if name in now else None)
    ]


def in_short(changes: Sequence[str]) -> str:
    """Return the first few changes in one line."""
    rest = len(changes) - _MOST_CHANGES
    return "; ".join(changes[:_MOST_CHANGES]) + (f"; and {rest} more" if rest > 0 else "")


def _change(label: str, before: Part | None, now: Part | None) -> str:
    if before is None:
        return f"{label} is new"
    if now is None:
        return f"{label} is gone"
    return f"{label} changed" if before[1] == now[1] else f"{label}: {before[1]} -> {now[1]}"


def _flat(parts: Mapping[str, Mapping[str, Part]]) -> dict[str, Part]:
    prefix = {"libraries": "library "}
    return {
        f"{prefix.get(kind, '')}{name}": part for kind, inner in parts.items() for name, part in inner.items()
    }


def _entries(folder: Path, since: float) -> Iterator[dict[str, Part]]:
    """Yield the inputs of entries that were stored before `since`: of those used last, those used since then behind."""
    try:
        files = [each for each in os.scandir(folder) if each.name.endswith(SUFFIX)]
        files.sort(key=lambda each: (each.stat().st_mtime >= since, -each.stat().st_mtime))
    except OSError:
        return
    for file in files[:_MOST_ENTRIES]:
        try:
            about = read_about(Path(file.path))
            if about["made"] >= since:
                continue
            answers = {Question(kind, name): part for kind, name, *part in about["answers"]}
            yield as_parts(about["data"], answers)
        except (DamagedEntryError, KeyError, TypeError, ValueError):
            continue  # whoever wants to use it tells


def _json(path: Path) -> dict[str, Any] | None:
    try:
        read = orjson.loads(read_plain(path, _LARGEST, follow_links=False))
        is_ours = all(isinstance(read[key], kind) for key, kind in _STEP_KEYS.items())
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return read if is_ours else None
