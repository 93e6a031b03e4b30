"""Where the step cache is, and whether it is used."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from crystallize.errors import InvalidTypeError, InvalidValueError
from crystallize.utils.checks import number_in_environment

FOLDER = "CRYSTALLIZE_CACHE_DIR"
KEY = "CRYSTALLIZE_CACHE_KEY"
MOST_MEGABYTES = "CRYSTALLIZE_CACHE_MAX_MB"
MOST_DAYS = "CRYSTALLIZE_CACHE_MAX_DAYS"
DEFAULT_FOLDER = ".cache"

MEGABYTE = 1_000_000
DAY = 86_400

Mode = Literal["use", "refresh", "off"]


class CacheLimits(NamedTuple):
    """How much the step cache may hold, and for how long; None where there is no limit.

    Attributes
    ----------
    size : float or None
        How many bytes all entries may have together.
    age : float or None
        For how many seconds an entry that nobody uses is kept.
    """

    size: float | None = None
    age: float | None = None

    @classmethod
    def of_environment(cls) -> Self:
        """Return the limits that the environment sets.

        Raises
        ------
        InvalidValueError
            If a variable is no number, or a negative one.
        """
        return cls(_limit(MOST_MEGABYTES, MEGABYTE), _limit(MOST_DAYS, DAY))


NO_LIMITS = CacheLimits()


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Where the step cache of a run is, and what the run does with it.

    Attributes
    ----------
    folder : Path
        Its root, in full, so that it is the same in the workers.
    mode : {"use", "refresh", "off"}
        Whether outputs are taken from it and put there, only put there, or neither.
    since : float
        When the run began, in seconds since 1970: what is stored later is not what the run found.
    limits : CacheLimits
        What is removed when the run has ended.
    """

    folder: Path
    mode: Mode = "use"
    since: float = field(default_factory=time.time)
    limits: CacheLimits = NO_LIMITS

    @classmethod
    def of(cls, cache: Any = True) -> Self:
        """Return the settings that a user asks for, in the folder that the environment names.

        Parameters
        ----------
        cache : bool or "refresh", default True
            Whether to use the cache; ``"refresh"`` runs every step and stores its output anew.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            If it is something else, or the environment has a limit that is no number.
        """
        if cache is False:
            return cls(cache_folder(), "off")
        if cache is True or cache == "refresh":
            mode: Mode = "use" if cache is True else "refresh"
            return cls(cache_folder(), mode, limits=CacheLimits.of_environment())
        kind = InvalidValueError if isinstance(cache, str) else InvalidTypeError
        raise kind(f"cache is True, False or 'refresh', got {cache!r}")


def cache_folder() -> Path:
    """Return the root of the step cache: ``CRYSTALLIZE_CACHE_DIR``, or ``.cache`` in the working directory."""
    return Path(os.environ.get(FOLDER) or DEFAULT_FOLDER).absolute()


def _limit(variable: str, unit: int) -> float | None:
    number = number_in_environment(variable, float)
    return None if number is None else number * unit
