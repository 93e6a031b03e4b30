"""What was switched on and off for an experiment's next run, kept between starts in a file beside its config.yaml."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from crystallize.store.layout import BASELINE
from crystallize.utils.files import atomic_write_bytes, read_plain

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

STATE = ".crystallize-tui.json"
"""The name of the file."""
_VERSION = 1
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Toggles:
    """What is switched for the next run.

    Attributes
    ----------
    cache : bool
        Whether the step cache is used at all.
    steps : dict of str to bool
        Steps that are cached, or not, whatever the experiment's files say.
    treatments_off : frozenset of str
        Treatments that are left out.
    """

    cache: bool = True
    steps: dict[str, bool] = field(default_factory=dict)
    treatments_off: frozenset[str] = frozenset()

    @property
    def strategy(self) -> str:
        """``"resume"`` when caching is on, ``"rerun"`` when it is off, for the experiment or for one of its steps."""
        return "resume" if self.cache and all(self.steps.values()) else "rerun"

    def of_steps(self, steps: Container[str]) -> Toggles:
        """Return these without the steps that there are no more: nobody could switch them back."""
        return replace(self, steps={step: on for step, on in self.steps.items() if step in steps})

    def with_cache_toggled(self) -> Toggles:
        """Return these with the experiment's caching the other way."""
        return replace(self, cache=not self.cache)

    def with_step_toggled(self, step: str) -> Toggles:
        """Return these with a step's caching changed: as its files say, on, off, and as its files say again."""
        steps = dict(self.steps)
        if step not in steps:
            steps[step] = True
        elif steps[step]:
            steps[step] = False
        else:
            del steps[step]
        return replace(self, steps=steps)

    def with_treatment_toggled(self, treatment: str) -> Toggles:
        """Return these with a treatment the other way."""
        return replace(self, treatments_off=self.treatments_off ^ {treatment})

    def arguments(self, steps: Iterable[str], treatments: Iterable[str], *, caches: bool = True) -> list[str]:
        """Return the options of ``crystallize run`` that say the same, of those steps and treatments that there are.

        Parameters
        ----------
        steps, treatments : iterable of str
            Those of the experiment, and of all that it depends on.
        caches : bool
            Whether config.yaml has the step cache on.
        """
        chosen = [f"--{self.strategy}"]
        if self.cache != caches:
            chosen.append("--use-cache" if self.cache else "--no-cache")
        for step in dict.fromkeys(steps):
            if self.cache and step in self.steps:
                chosen += ["--cache", step if self.steps[step] else f"no:{step}"]
        treatments = tuple(treatments)
        if self.treatments_off.intersection(treatments):
            on = [each for each in treatments if each not in self.treatments_off] or [BASELINE]
            chosen += [word for each in on for word in ("--treatment", each)]
        return chosen


def read_toggles(folder: Path, cache: bool = True) -> tuple[Toggles, str]:
    """Return what is kept in an experiment's folder, and what is wrong with it; nothing is wrong for most.

    Parameters
    ----------
    folder : pathlib.Path
        The experiment's folder.
    cache : bool
        Whether config.yaml has the step cache on, which holds until something else is kept.
    """
    default = Toggles(cache)
    try:
        kept = json.loads(read_plain(folder / STATE, _LARGEST))
        return _from_dict(kept), ""
    except FileNotFoundError:
        return default, ""
    except OSError as error:
        return default, f"{STATE} cannot be read, and is left out: {error.strerror or error}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return default, f"{STATE} is damaged, and is left out; the next switch writes it anew"


def write_toggles(folder: Path, toggles: Toggles) -> str:
    """Keep what is switched; return why it could not be kept, which most often is nothing."""
    kept = {
        "version": _VERSION,
        "cache": toggles.cache,
        "steps": toggles.steps,
        "treatments_off": sorted(toggles.treatments_off),
    }
    try:
        if not folder.is_dir():  # else it would be made anew
            raise FileNotFoundError(errno.ENOENT, "the folder is gone")
        atomic_write_bytes(folder / STATE, json.dumps(kept, indent=2).encode() + b"\n")
    except OSError as error:
        reason = error.strerror or error
        return f"{STATE} cannot be written, so that switches hold for this session only: {reason}"
    return ""


def _from_dict(kept: dict[str, Any]) -> Toggles:
    if kept["version"] != _VERSION or not isinstance(kept["cache"], bool):
        raise ValueError
    steps, treatments = kept["steps"], kept["treatments_off"]
    if not all(isinstance(on, bool) for on in steps.values()) or not isinstance(treatments, list):
        raise ValueError
    return Toggles(kept["cache"], dict(steps), frozenset(map(str, treatments)))
