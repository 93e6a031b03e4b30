"""Where the step cache is, and whether it is used."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from crystallize.errors import InvalidTypeError, InvalidValueError

FOLDER = "CRYSTALLIZE_CACHE_DIR"
KEY = "CRYSTALLIZE_CACHE_KEY"
DEFAULT_FOLDER = ".cache"

Mode = Literal["use", "refresh", "off"]


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
    """

    folder: Path
    mode: Mode = "use"
    since: float = field(default_factory=time.time)

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
            If it is something else.
        """
        if isinstance(cache, bool):
            return cls(cache_folder(), "use" if cache else "off")
        if cache == "refresh":
            return cls(cache_folder(), "refresh")
        kind = InvalidValueError if isinstance(cache, str) else InvalidTypeError
        raise kind(f"cache is True, False or 'refresh', got {cache!r}")


def cache_folder() -> Path:
    """Return the root of the step cache: ``CRYSTALLIZE_CACHE_DIR``, or ``.cache`` in the working directory."""
    return Path(os.environ.get(FOLDER) or DEFAULT_FOLDER).absolute()
